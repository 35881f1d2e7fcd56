//! One entry of `model_scores`: what a model says about an instrument at a record of its features. Flat, readable
//! fields.
//!
//! A score is written for the models whose word is acted on and for those in shadow alike, so that two models can be held
//! against each other on the same records, and against what the market did after.

use crate::entry::{parse_decimal, pick};
use crate::model::check_model_name;
use crate::order::ORDER_NAME_BYTES_MAX;

/// What a model's word counts for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ScoreRole {
    /// Orders are made by it.
    Acting,
    /// It is only published.
    Shadow,
}

impl ScoreRole {
    /// Both.
    pub const ALL: &'static [ScoreRole] = &[ScoreRole::Acting, ScoreRole::Shadow];

    /// The word in the field.
    pub const fn word(self) -> &'static str {
        match self {
            ScoreRole::Acting => "acting",
            ScoreRole::Shadow => "shadow",
        }
    }
}

/// One score.
#[derive(Clone, PartialEq, Debug)]
pub struct Score {
    /// `strategy`: whose model it is.
    pub strategy: String,
    /// `model`: its name.
    pub model: String,
    /// `version`: its version, from 1.
    pub version: u64,
    /// `role`.
    pub role: ScoreRole,
    /// `p`: the instrument's publisher.
    pub publisher_id: u16,
    /// `i`: the instrument.
    pub instrument_id: u32,
    /// `t`: time of the record of features, ns since the epoch.
    pub time_ns: u64,
    /// `k`: number of that record in its stream (its `n`).
    pub number: u64,
    /// `score`: finite, in the unit of the model's card. Written as the shortest decimal that reads back as the same number.
    pub score: f64,
}

/// Why an entry of `model_scores` was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScoreError {
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field is there twice.
    #[error("field `{0}` is there twice")]
    Twice(&'static str),
    /// A field cannot be read or is out of range.
    #[error("field `{field}`: {wanted}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

const FIELDS: [&str; 9] = ["strategy", "model", "version", "role", "p", "i", "t", "k", "score"];

impl Score {
    /// Calls `visit` with each field's name and value, in the contract's order.
    pub fn for_each_field(&self, mut visit: impl FnMut(&str, &[u8])) {
        visit("strategy", self.strategy.as_bytes());
        visit("model", self.model.as_bytes());
        visit("version", self.version.to_string().as_bytes());
        visit("role", self.role.word().as_bytes());
        visit("p", self.publisher_id.to_string().as_bytes());
        visit("i", self.instrument_id.to_string().as_bytes());
        visit("t", self.time_ns.to_string().as_bytes());
        visit("k", self.number.to_string().as_bytes());
        visit("score", self.score.to_string().as_bytes());
    }

    /// Reads an entry. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract.
    pub fn parse<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Score, ScoreError> {
        let found = pick(&FIELDS, fields).map_err(ScoreError::Twice)?;
        let wrong = |place: usize, wanted| ScoreError::Value { field: FIELDS[place], wanted };
        let bytes = |place: usize| found[place].ok_or(ScoreError::Missing(FIELDS[place]));
        let text = |place: usize| std::str::from_utf8(bytes(place)?).map_err(|_| wrong(place, "text"));
        let number = |place: usize| {
            parse_decimal(bytes(place)?).ok_or_else(|| wrong(place, "a decimal number in range"))
        };
        let strategy = text(0)?;
        if strategy.is_empty()
            || strategy.len() > ORDER_NAME_BYTES_MAX
            || !strategy.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(wrong(0, "at most 32 printable ASCII characters without a space"));
        }
        let model = text(1)?;
        check_model_name(model).map_err(|_| wrong(1, "1 to 32 letters, digits, `-` or `_`"))?;
        let version = number(2)?;
        if version == 0 {
            return Err(wrong(2, "a version counts from 1"));
        }
        let word = text(3)?;
        let role = ScoreRole::ALL.iter().copied().find(|role| role.word() == word);
        let score = text(8)?.parse().ok().filter(|score: &f64| score.is_finite());
        Ok(Score {
            strategy: strategy.to_owned(),
            model: model.to_owned(),
            version,
            role: role.ok_or_else(|| wrong(3, "acting or shadow"))?,
            publisher_id: u16::try_from(number(4)?).map_err(|_| wrong(4, "a decimal number in range"))?,
            instrument_id: u32::try_from(number(5)?).map_err(|_| wrong(5, "a decimal number in range"))?,
            time_ns: number(6)?,
            number: number(7)?,
            score: score.ok_or_else(|| wrong(8, "a finite decimal number"))?,
        })
    }
}
