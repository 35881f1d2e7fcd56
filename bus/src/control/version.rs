//! A version of a document as it stands in `config:<service>`.

use crate::config::DOCUMENT_BYTES_MAX;
use crate::entry::{parse_decimal, pick};
use crate::names::{CONFIG_CHANGES, config_key};
use crate::{MODEL_VERSION_MAX, Sha256Sum};

/// Longest `by` and `reason`, bytes.
pub const CONFIG_TEXT_BYTES_MAX: usize = 1_024;
/// Changes kept in `config_changes` (`MAXLEN ~`). It only wakes who follows: the hash says what holds.
pub const CONFIG_CHANGES_ENTRIES_MAX: u64 = 10_000;

/// A version of one service's document. Whoever holds one need not ask again whether its bytes are those of its sum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigVersion {
    version: u64,
    sha256: Sha256Sum,
    document: String,
    by: String,
    reason: String,
    time_ns: u64,
}

/// Why what stands in `config:<service>` cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigVersionError {
    /// A field is not there.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field is there twice.
    #[error("field `{0}` is there twice")]
    Twice(&'static str),
    /// No number, or out of range.
    #[error("field `{0}`: a decimal number in range")]
    Number(&'static str),
    /// No text, or too long.
    #[error("field `{field}`: at most {bytes_max} bytes of text")]
    Text {
        /// Which.
        field: &'static str,
        /// As long as it may be.
        bytes_max: usize,
    },
    /// `sha256` is none.
    #[error("field `sha256`: 64 hexadecimal digits")]
    Sum,
    /// The document's bytes are others than those that were accepted.
    #[error("the document's SHA-256 is {found}, `sha256` says {said}; write the version again")]
    Checksum {
        /// By the hash.
        said: Sha256Sum,
        /// Of the bytes.
        found: Sha256Sum,
    },
}

impl ConfigVersion {
    /// The fields of the hash.
    pub const FIELDS: [&'static str; 6] = ["version", "sha256", "document", "by", "reason", "time_ns"];

    /// Longest value of each field, in [`ConfigVersion::FIELDS`]' order, bytes.
    pub const FIELD_BYTES_MAX: [usize; 6] =
        [20, 64, DOCUMENT_BYTES_MAX, CONFIG_TEXT_BYTES_MAX, CONFIG_TEXT_BYTES_MAX, 20];

    /// A version (from 1 on) of a document that was accepted, in JSON.
    ///
    /// # Errors
    /// What cannot stand in the hash.
    pub fn new(
        version: u64,
        document: String,
        by: &str,
        reason: &str,
        time_ns: u64,
    ) -> Result<ConfigVersion, ConfigVersionError> {
        let sha256 = Sha256Sum::of(document.as_bytes());
        ConfigVersion { version, sha256, document, by: by.into(), reason: reason.into(), time_ns }.checked()
    }

    fn checked(self) -> Result<ConfigVersion, ConfigVersionError> {
        if !(1..=MODEL_VERSION_MAX).contains(&self.version) {
            return Err(ConfigVersionError::Number("version"));
        }
        let texts = [
            ("document", self.document.len(), DOCUMENT_BYTES_MAX),
            ("by", self.by.len(), CONFIG_TEXT_BYTES_MAX),
            ("reason", self.reason.len(), CONFIG_TEXT_BYTES_MAX),
        ];
        match texts.into_iter().find(|(_, bytes, bytes_max)| bytes > bytes_max) {
            Some((field, _, bytes_max)) => Err(ConfigVersionError::Text { field, bytes_max }),
            None => Ok(self),
        }
    }

    /// Reads the hash's fields, and compares the sum with the document's bytes. Fields that this version does not know
    /// are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract.
    pub fn parse<'a>(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<ConfigVersion, ConfigVersionError> {
        let found = pick(&Self::FIELDS, fields).map_err(ConfigVersionError::Twice)?;
        let bytes = |place: usize| found[place].ok_or(ConfigVersionError::Missing(Self::FIELDS[place]));
        let number = |place: usize| {
            parse_decimal(bytes(place)?).ok_or(ConfigVersionError::Number(Self::FIELDS[place]))
        };
        let text = |place: usize| {
            let (field, bytes_max) = (Self::FIELDS[place], Self::FIELD_BYTES_MAX[place]);
            let text = std::str::from_utf8(bytes(place)?).ok().filter(|text| text.len() <= bytes_max);
            text.ok_or(ConfigVersionError::Text { field, bytes_max })
        };
        let said: Sha256Sum = text(1)
            .map_err(|error| match error {
                missing @ ConfigVersionError::Missing(_) => missing,
                _ => ConfigVersionError::Sum,
            })?
            .parse()
            .map_err(|_| ConfigVersionError::Sum)?;
        let document = text(2)?;
        let version = ConfigVersion::new(number(0)?, document.to_owned(), text(3)?, text(4)?, number(5)?)?;
        if version.sha256 != said {
            return Err(ConfigVersionError::Checksum { said, found: version.sha256 });
        }
        Ok(version)
    }

    /// Calls `visit` with each field's name and value.
    pub fn for_each_field(&self, mut visit: impl FnMut(&str, &[u8])) {
        visit("version", self.version.to_string().as_bytes());
        visit("sha256", self.sha256.to_string().as_bytes());
        visit("document", self.document.as_bytes());
        visit("by", self.by.as_bytes());
        visit("reason", self.reason.as_bytes());
        visit("time_ns", self.time_ns.to_string().as_bytes());
    }

    /// Adds the commands that give this version to `service`'s processes: the hash, and the entry of `config_changes`
    /// that tells of it. The pipeline must be atomic.
    pub fn distribute(&self, service: &str, transaction: &mut redis::Pipeline) {
        let set = transaction.cmd("HSET").arg(config_key(service));
        self.for_each_field(|name, value| {
            set.arg(name).arg(value);
        });
        set.ignore();
        let told = transaction.cmd("XADD").arg(CONFIG_CHANGES).arg("MAXLEN").arg("~");
        told.arg(CONFIG_CHANGES_ENTRIES_MAX).arg("*").arg("service").arg(service);
        self.for_each_field(|name, value| {
            if !matches!(name, "document" | "reason") {
                told.arg(name).arg(value);
            }
        });
        told.ignore();
    }

    /// From 1 on.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Of the document's bytes.
    pub fn sha256(&self) -> Sha256Sum {
        self.sha256
    }

    /// JSON, without the fields of one process. Not parsed yet: what it holds its type checks
    /// ([`ManagedDocument::with_version`](super::ManagedDocument::with_version)).
    pub fn document(&self) -> &str {
        &self.document
    }

    /// Who made it.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// When, ns since the epoch, UTC.
    pub fn time_ns(&self) -> u64 {
        self.time_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn written() -> (ConfigVersion, BTreeMap<String, Vec<u8>>) {
        let version = ConfigVersion::new(7, r#"{"shards":2}"#.into(), "anna", "drill", 5).unwrap();
        let mut fields = BTreeMap::new();
        version.for_each_field(|name, value| {
            fields.insert(name.to_owned(), value.to_vec());
        });
        (version, fields)
    }

    fn parse(fields: &BTreeMap<String, Vec<u8>>) -> Result<ConfigVersion, ConfigVersionError> {
        ConfigVersion::parse(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (version, mut fields) = written();
        fields.insert("later".into(), b"field".to_vec());
        assert_eq!(parse(&fields), Ok(version));
    }

    #[test]
    fn what_breaks_the_contract_is_named() {
        use ConfigVersionError::{Checksum, Missing, Number, Sum, Text};
        let (version, fields) = written();
        for field in ConfigVersion::FIELDS {
            let mut without = fields.clone();
            without.remove(field);
            assert_eq!(parse(&without), Err(Missing(field)));
        }
        let other = Sha256Sum::of(b"other");
        let huge = "x".repeat(DOCUMENT_BYTES_MAX + 1).into_bytes();
        let cases = [
            ("version", b"0".to_vec(), Number("version")),
            ("version", b"-1".to_vec(), Number("version")),
            ("version", b"99999999999999999999".to_vec(), Number("version")),
            ("version", b"18446744073709551615".to_vec(), Number("version")),
            ("sha256", b"abc".to_vec(), Sum),
            ("sha256", vec![0xff; 64], Sum),
            ("sha256", other.to_string().into_bytes(), Checksum { said: other, found: version.sha256() }),
            ("document", vec![0xff, 0xfe], Text { field: "document", bytes_max: DOCUMENT_BYTES_MAX }),
            ("document", huge, Text { field: "document", bytes_max: DOCUMENT_BYTES_MAX }),
            ("by", vec![b'x'; 2_000], Text { field: "by", bytes_max: CONFIG_TEXT_BYTES_MAX }),
            ("reason", vec![0xc3], Text { field: "reason", bytes_max: CONFIG_TEXT_BYTES_MAX }),
            ("time_ns", b"soon".to_vec(), Number("time_ns")),
        ];
        for (field, value, expected) in cases {
            let mut changed = fields.clone();
            changed.insert(field.into(), value);
            assert_eq!(parse(&changed), Err(expected), "{field}");
        }
        let twice = [(b"version".as_slice(), b"1".as_slice()), (b"version", b"2")];
        assert_eq!(ConfigVersion::parse(twice), Err(ConfigVersionError::Twice("version")));
    }

    #[test]
    fn a_changed_document_is_found_out() {
        let (_, mut fields) = written();
        fields.insert("document".into(), br#"{"shards":3}"#.to_vec());
        let error = parse(&fields).unwrap_err();
        assert!(matches!(error, ConfigVersionError::Checksum { .. }), "{error}");
    }

    #[test]
    fn no_hash_whatever_it_holds_panics() {
        bolero::check!().with_type::<Vec<(u8, Vec<u8>)>>().for_each(|fields| {
            let named = fields.iter().map(|(name, value)| {
                let name = ConfigVersion::FIELDS[usize::from(*name) % ConfigVersion::FIELDS.len()];
                (name.as_bytes(), value.as_slice())
            });
            let _ = ConfigVersion::parse(named);
        });
    }
}
