//! One record of `calculated_features`, and the schema that names its values.
//!
//! Records of a stream are numbered without a hole (`n`), so that a reader knows exactly what it missed. The
//! number is a function of the ticks alone: an engine that starts again at a saved state numbers as before,
//! and publishes only what is not there yet.

use crate::entry::{parse_decimal, pick};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tick::{Flags, Tick};

/// Doubts about the values of a record: a set of bits. A value that cannot be computed is NaN besides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Quality(pub u8);

impl Quality {
    /// No doubt.
    pub const GOOD: Quality = Quality(0);
    /// The book cannot be relied on: a gap that was not recovered, or what the book itself contradicts.
    pub const BAD_BOOK: Quality = Quality(1);
    /// A gap lies within the window that values are made from.
    pub const GAP_IN_WINDOW: Quality = Quality(2);
    /// Not enough was seen yet for every value.
    pub const WARMING_UP: Quality = Quality(4);
    /// The time of the ticks cannot be relied on ([`Flags::BAD_TS_RECV`]).
    pub const BAD_TIME: Quality = Quality(8);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Quality) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Quality) -> Quality {
        Quality(self.0 | other.0)
    }

    /// What a tick's flags alone say.
    pub fn of(tick: &Tick) -> Quality {
        let mut quality = Quality::GOOD;
        if tick.flags.contains(Flags::MAYBE_BAD_BOOK) {
            quality = quality.with(Quality::BAD_BOOK);
        }
        if tick.flags.contains(Flags::BAD_TS_RECV) {
            quality = quality.with(Quality::BAD_TIME);
        }
        quality
    }
}

/// The values of one feature set of one instrument at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FeatureRecord<'a> {
    /// `n`: number in its stream, from 1, without a hole.
    pub number: u64,
    /// `p`: the instrument's publisher (venue and dataset).
    pub publisher_id: u16,
    /// `i`: the instrument.
    pub instrument_id: u32,
    /// `t`: `ts_recv` of the tick that brought it about, ns since the epoch, UTC.
    pub time_ns: u64,
    /// `c`: the channel of that tick.
    pub channel_id: u16,
    /// `s`: its sequence number there.
    pub sequence: u64,
    /// `k`: which schema the values follow; hexadecimal.
    pub schema_id: u64,
    /// `q`: doubts.
    pub quality: Quality,
    /// `v`: the values, each 8 bytes, `f64` little-endian, in the schema's order.
    pub values: &'a [u8],
}

/// Why a record of `calculated_features` was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FeatureError {
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field is there twice.
    #[error("field `{0}` is there twice")]
    Twice(&'static str),
    /// A number is not a number or out of range.
    #[error("field `{0}` is not a number in range")]
    Number(&'static str),
    /// `v` is not a whole number of values.
    #[error("v holds {0} bytes, which is no whole number of values (8 bytes each)")]
    Length(usize),
}

impl<'a> FeatureRecord<'a> {
    /// Calls `visit` with each field's name and value, in the contract's order.
    pub fn for_each_field(&self, mut visit: impl FnMut(&str, &[u8])) {
        visit("n", self.number.to_string().as_bytes());
        visit("p", self.publisher_id.to_string().as_bytes());
        visit("i", self.instrument_id.to_string().as_bytes());
        visit("t", self.time_ns.to_string().as_bytes());
        visit("c", self.channel_id.to_string().as_bytes());
        visit("s", self.sequence.to_string().as_bytes());
        visit("k", format!("{:016x}", self.schema_id).as_bytes());
        visit("q", self.quality.0.to_string().as_bytes());
        visit("v", self.values);
    }

    /// Reads a record from its fields. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract.
    pub fn parse(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<FeatureRecord<'a>, FeatureError> {
        const NAMES: [&str; 9] = ["n", "p", "i", "t", "c", "s", "k", "q", "v"];
        let found = pick(&NAMES, fields).map_err(FeatureError::Twice)?;
        let text = |place: usize| found[place].ok_or(FeatureError::Missing(NAMES[place]));
        let number = |place: usize| parse_decimal(text(place)?).ok_or(FeatureError::Number(NAMES[place]));
        let values = text(8)?;
        if values.len() % size_of::<f64>() != 0 {
            return Err(FeatureError::Length(values.len()));
        }
        Ok(FeatureRecord {
            number: number(0)?,
            publisher_id: u16::try_from(number(1)?).map_err(|_| FeatureError::Number("p"))?,
            instrument_id: u32::try_from(number(2)?).map_err(|_| FeatureError::Number("i"))?,
            time_ns: number(3)?,
            channel_id: u16::try_from(number(4)?).map_err(|_| FeatureError::Number("c"))?,
            sequence: number(5)?,
            schema_id: hexadecimal(text(6)?).ok_or(FeatureError::Number("k"))?,
            quality: Quality(u8::try_from(number(7)?).map_err(|_| FeatureError::Number("q"))?),
            values,
        })
    }

    /// The values.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> + 'a {
        self.values.chunks_exact(8).map(|bytes| bytes.try_into().map_or(f64::NAN, f64::from_le_bytes))
    }
}

fn hexadecimal(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok()
}

/// What the values of a record are: published as JSON in the hash `calculated_features:schemas`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureSchema {
    /// The feature set's name in the configuration.
    pub set: String,
    /// The values, in order.
    pub features: Vec<FeatureSpec>,
}

/// One value of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureSpec {
    /// Its name with all that decides it, as `ema_20` or `imbalance_5`.
    pub name: String,
    /// Its unit, as `price`, `1`, `quantity`, `1/s`.
    pub unit: String,
}

impl FeatureSchema {
    /// The schema's id: FNV-1a (64 bits) over its JSON. Two schemas with one id say the same.
    pub fn id(&self) -> u64 {
        // Strings and lists of strings: nothing in it can fail to serialise.
        serde_json::to_vec(self).unwrap_or_default().iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(record: &FeatureRecord<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut fields = Vec::new();
        record.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
        fields
    }

    fn parse(fields: &[(Vec<u8>, Vec<u8>)]) -> Result<FeatureRecord<'_>, FeatureError> {
        FeatureRecord::parse(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
    }

    const VALUES: [u8; 16] = [0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
    const RECORD: FeatureRecord<'_> = FeatureRecord {
        number: 7,
        publisher_id: 2,
        instrument_id: 42,
        time_ns: u64::MAX,
        channel_id: 310,
        sequence: 9,
        schema_id: 0xabc,
        quality: Quality(5),
        values: &VALUES,
    };

    #[test]
    fn a_record_is_read_back_as_written_and_unknown_fields_are_passed_over() {
        let mut written = fields(&RECORD);
        written.insert(3, (b"future".to_vec(), b"x".to_vec()));
        let read = parse(&written).unwrap();
        assert_eq!(read, RECORD);
        let values: Vec<f64> = read.values().collect();
        assert_eq!(values[0].to_bits(), 1f64.to_bits());
        assert!(values[1].is_nan());
    }

    #[test]
    fn what_is_missing_twice_or_no_number_is_named() {
        let whole = fields(&RECORD);
        for at in 0..whole.len() {
            let name = String::from_utf8(whole[at].0.clone()).unwrap();
            let mut without = whole.clone();
            without.remove(at);
            assert_eq!(parse(&without).unwrap_err().to_string(), format!("field `{name}` is missing"));
            let mut twice = whole.clone();
            twice.push(whole[at].clone());
            assert_eq!(parse(&twice).unwrap_err().to_string(), format!("field `{name}` is there twice"));
            let mut wrong = whole.clone();
            wrong[at].1 = b"+1x".to_vec();
            assert!(parse(&wrong).is_err(), "{name}");
        }
    }

    #[test]
    fn a_schemas_id_follows_its_content() {
        let schema = |name: &str| FeatureSchema {
            set: "fast".into(),
            features: vec![FeatureSpec { name: name.into(), unit: "price".into() }],
        };
        assert_eq!(schema("mid").id(), schema("mid").id());
        assert_ne!(schema("mid").id(), schema("micro").id());
    }
}
