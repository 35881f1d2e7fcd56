//! Whether there is trading: an entry of `trading_state`. The last one holds.

use crate::entry::{parse_decimal, pick};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest text of an entry, bytes.
const TEXT_BYTES_MAX: usize = 256;

/// What may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TradingMode {
    /// All that passes the checks.
    Active,
    /// Only what lowers a position, and cancels.
    Reducing,
    /// Cancels only; everything open is cancelled.
    Halted,
}

impl TradingMode {
    /// All of them.
    pub const ALL: [TradingMode; 3] = [TradingMode::Active, TradingMode::Reducing, TradingMode::Halted];

    /// The word in the field.
    pub const fn word(self) -> &'static str {
        match self {
            TradingMode::Active => "active",
            TradingMode::Reducing => "reducing",
            TradingMode::Halted => "halted",
        }
    }
}

impl fmt::Display for TradingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for TradingMode {
    type Err = TradingError;

    fn from_str(word: &str) -> Result<TradingMode, TradingError> {
        TradingMode::ALL.into_iter().find(|mode| mode.word() == word).ok_or(TradingError::Mode)
    }
}

/// Who set which mode, when and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TradingState {
    /// `mode`.
    pub mode: TradingMode,
    /// `by`: who.
    pub by: String,
    /// `reason`.
    pub reason: String,
    /// `time_ns`: when, ns since the epoch, UTC.
    pub time_ns: u64,
}

/// Why an entry of `trading_state` was refused. Whoever reads one that is refused takes it as halted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TradingError {
    /// No mode, or an unknown one.
    #[error("field `mode`: active, reducing or halted")]
    Mode,
    /// No time, or not a number.
    #[error("field `time_ns`: a decimal number in range")]
    Time,
    /// A text that is too long or no text.
    #[error("field `{0}`: at most {TEXT_BYTES_MAX} bytes of text")]
    Text(&'static str),
    /// A field is there twice.
    #[error("field `{0}` is there twice")]
    Twice(&'static str),
}

impl TradingState {
    /// Calls `visit` with each field's name and value.
    pub fn for_each_field(&self, mut visit: impl FnMut(&str, &[u8])) {
        visit("mode", self.mode.word().as_bytes());
        visit("by", self.by.as_bytes());
        visit("reason", self.reason.as_bytes());
        visit("time_ns", self.time_ns.to_string().as_bytes());
    }

    /// Reads an entry. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract.
    pub fn parse<'a>(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<TradingState, TradingError> {
        const NAMES: [&str; 4] = ["mode", "by", "reason", "time_ns"];
        let found = pick(&NAMES, fields).map_err(TradingError::Twice)?;
        let text = |place: usize| {
            let bytes = found[place].unwrap_or_default();
            let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= TEXT_BYTES_MAX);
            text.map(str::to_owned).ok_or(TradingError::Text(NAMES[place]))
        };
        Ok(TradingState {
            mode: text(0).map_err(|_| TradingError::Mode)?.parse()?,
            by: text(1)?,
            reason: text(2)?,
            time_ns: found[3].and_then(parse_decimal).ok_or(TradingError::Time)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &[(&str, &str)]) -> Result<TradingState, TradingError> {
        TradingState::parse(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn what_is_written_is_read_back() {
        for mode in TradingMode::ALL {
            let state =
                TradingState { mode, by: "operator".into(), reason: "drill, 5 min".into(), time_ns: 7 };
            let mut fields = Vec::new();
            state.for_each_field(|name, value| fields.push((name.to_owned(), value.to_vec())));
            let read = TradingState::parse(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())));
            assert_eq!(read, Ok(state));
        }
    }

    #[test]
    fn what_breaks_the_contract_is_named() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let cases: [(&[(&str, &str)], TradingError); 6] = [
            (&[("time_ns", "1")], TradingError::Mode),
            (&[("mode", "paused"), ("time_ns", "1")], TradingError::Mode),
            (&[("mode", "active")], TradingError::Time),
            (&[("mode", "active"), ("time_ns", "-1")], TradingError::Time),
            (&[("mode", "active"), ("reason", &long), ("time_ns", "1")], TradingError::Text("reason")),
            (&[("mode", "active"), ("mode", "halted")], TradingError::Twice("mode")),
        ];
        for (fields, expected) in cases {
            assert_eq!(parse(fields), Err(expected), "{fields:?}");
        }
        assert!(parse(&[("mode", "halted"), ("time_ns", "1"), ("later", "field")]).is_ok());
    }
}
