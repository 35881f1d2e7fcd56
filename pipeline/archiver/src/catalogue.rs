//! What is beside the streams in Redis: instruments and schemas of features.
//!
//! Read now and then, and only what says something new is handed on. Bounded: a hash is read in parts, and of
//! each row only a checksum is remembered.

use bus::consumer::{ConsumerError, Link};
use bus::names::{FEATURE_SCHEMAS, instruments_key};
use bus::{FeatureSchema, InstrumentRow};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Rows of a hash that are read at a time.
const ROWS: usize = 1_000;
/// Most instruments and schemas that are remembered, 24 bytes each; beyond, all are handed on every time.
const REMEMBERED_MAX: usize = 1 << 21;

/// A hash's field and its value.
type Field = (Vec<u8>, Vec<u8>);

/// An instrument that is new or says something new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instrument {
    /// The venue.
    pub publisher_id: u16,
    /// The venue's id.
    pub instrument_id: u32,
    /// What is said about it.
    pub row: InstrumentRow,
}

/// A schema that is new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    /// Its id, as in the records.
    pub id: u64,
    /// What it says.
    pub schema: FeatureSchema,
}

/// News of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct News {
    /// Instruments.
    pub instruments: Vec<Instrument>,
    /// Schemas.
    pub schemas: Vec<Schema>,
    /// What could not be read, each told once.
    pub refused: Vec<String>,
}

/// Looks after the catalogue over a connection of its own.
pub struct Catalogue {
    link: Link,
    known: HashMap<(u16, u64), u64>,
}

impl Catalogue {
    /// The catalogue of a Redis; nothing is connected yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(url: &str) -> Result<Catalogue, ConsumerError> {
        Ok(Catalogue { link: Link::new(url)?, known: HashMap::new() })
    }

    /// What is new about the instruments of these venues and the schemas. `hand_on` is given it in parts.
    ///
    /// # Errors
    /// When Redis does not answer. What was handed on until then is not told again.
    pub fn look(
        &mut self,
        publishers: &BTreeSet<u16>,
        mut hand_on: impl FnMut(News),
    ) -> Result<(), ConsumerError> {
        let hashes = publishers.iter().map(|&publisher| (publisher, instruments_key(publisher), false));
        for (publisher, key, is_schema) in hashes.chain([(0, FEATURE_SCHEMAS.to_owned(), true)]) {
            let mut cursor = 0u64;
            loop {
                let mut scan = redis::cmd("HSCAN");
                scan.arg(&key).arg(cursor).arg("COUNT").arg(ROWS);
                let (next, rows): (u64, Vec<Field>) = self.link.ask(&scan)?;
                let mut news = News::default();
                for (field, value) in &rows {
                    self.row(publisher, &key, is_schema, field, value, &mut news);
                }
                if news != News::default() {
                    hand_on(news);
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// Forgets what was handed on, so that all is told again: it did not get to where it was to go.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    fn row(
        &mut self,
        publisher: u16,
        key: &str,
        is_schema: bool,
        field: &[u8],
        value: &[u8],
        news: &mut News,
    ) {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let mut name = DefaultHasher::new();
        (is_schema, field).hash(&mut name);
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        if self.known.insert((publisher, name.finish()), hasher.finish()) == Some(hasher.finish()) {
            return;
        }
        let text = String::from_utf8_lossy(field);
        let read = if is_schema {
            let id = u64::from_str_radix(&text, 16).map_err(|error| error.to_string());
            let schema = serde_json::from_slice(value).map_err(|error| error.to_string());
            id.and_then(|id| {
                news.schemas.push(Schema { id, schema: schema? });
                Ok(())
            })
        } else {
            let id = text.parse().map_err(|_| "the field is no instrument id".to_owned());
            let row = serde_json::from_slice(value).map_err(|error| error.to_string());
            id.and_then(|instrument_id| {
                news.instruments.push(Instrument { publisher_id: publisher, instrument_id, row: row? });
                Ok(())
            })
        };
        if let Err(error) = read {
            news.refused.push(format!("{key} {text}: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once_and_what_cannot_be_read_is_named() {
        let mut catalogue = Catalogue::new("unix:///nowhere").unwrap();
        let mut tell = |is_schema, field: &str, value: &str| {
            let mut news = News::default();
            catalogue.row(2, "instruments:2", is_schema, field.as_bytes(), value.as_bytes(), &mut news);
            news
        };
        let row = r#"{"symbol":"A","tick_size":1,"multiplier":null,"lot_size":0,"kind":"equity","group":"","currency":"","channel_id":3}"#;
        assert_eq!(tell(false, "7", row).instruments[0].instrument_id, 7);
        assert_eq!(tell(false, "7", row), News::default());
        assert_eq!(tell(false, "7", &row.replace("\"A\"", "\"B\"")).instruments[0].row.symbol, "B");
        assert!(tell(false, "x", row).refused[0].contains("instruments:2 x: the field is no instrument id"));
        assert!(tell(false, "8", "{").refused[0].contains("instruments:2 8: EOF"));
        let schema = r#"{"set":"fast","features":[{"name":"mid","unit":"price"}]}"#;
        assert_eq!(tell(true, "00ab", schema).schemas[0].id, 0xab);
    }
}
