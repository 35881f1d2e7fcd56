//! Parts of documents as resources. A part has no life of its own: changing one makes the next version of its document.

use super::Kind;
use crate::api::Problem;
use serde_json::{Map, Value};

/// Longest name of a part, bytes.
pub const PART_NAME_BYTES_MAX: usize = 64;

/// A kind of part.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Its path below `/v1/`.
    pub path: &'static str,
    /// What one is called, for descriptions: `a feed`.
    pub called: &'static str,
    /// Whose part it is.
    pub kind: Kind,
    /// Where in the document it is.
    pub place: Place,
    /// What of its processes' statistics is shown with it.
    pub shows: Shows,
}

/// What of the processes' statistics is of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A channel in the data plane's status.
    Channel,
    /// A filter in the data plane's status, on each interface.
    Filter,
    /// A worker in the data plane's status.
    Worker,
    /// Figures of the process with its name in this label.
    Labelled(&'static str),
    /// Figures of this metric.
    Metric(&'static str),
    /// All figures of the process.
    Figures,
}

/// Where in a document a part is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// One of a list.
    Listed {
        /// The list's field.
        list: &'static str,
        /// The field by which one is called.
        name: &'static str,
    },
    /// A field of the document.
    Field(&'static str),
    /// The whole document.
    Whole,
}

/// All kinds of parts.
pub static PARTS: [Part; 8] = [
    Part {
        path: "feeds",
        called: "a feed",
        kind: Kind::Feeds,
        place: Place::Listed { list: "feeds", name: "name" },
        shows: Shows::Channel,
    },
    Part {
        path: "filters",
        called: "a filter",
        kind: Kind::Feeds,
        place: Place::Listed { list: "filters", name: "name" },
        shows: Shows::Filter,
    },
    Part {
        path: "workers",
        called: "a worker",
        kind: Kind::Dataplane,
        place: Place::Listed { list: "workers", name: "name" },
        shows: Shows::Worker,
    },
    Part {
        path: "features",
        called: "a feature set",
        kind: Kind::Features,
        place: Place::Listed { list: "sets", name: "name" },
        shows: Shows::Labelled("set"),
    },
    Part {
        path: "strategies",
        called: "a strategy",
        kind: Kind::Strategy,
        place: Place::Listed { list: "strategies", name: "name" },
        shows: Shows::Labelled("strategy"),
    },
    Part {
        path: "risk-limits",
        called: "the risk limits",
        kind: Kind::Strategy,
        place: Place::Field("risk"),
        shows: Shows::Metric("feedplane_strategy_denials"),
    },
    Part {
        path: "gateway/sessions",
        called: "a session of the gateway",
        kind: Kind::Gateway,
        place: Place::Listed { list: "sessions", name: "venue" },
        shows: Shows::Labelled("venue"),
    },
    Part {
        path: "archiver",
        called: "the archiver",
        kind: Kind::Archiver,
        place: Place::Whole,
        shows: Shows::Figures,
    },
];

impl Part {
    /// The parts of a document, with their names; one without a name where there is only one.
    pub fn all<'a>(&self, document: &'a Value) -> Vec<(&'a str, &'a Value)> {
        match self.place {
            Place::Listed { list, name } => {
                let items = document[list].as_array().into_iter().flatten();
                items.map(|item| (item[name].as_str().unwrap_or_default(), item)).collect()
            }
            Place::Field(field) => document.get(field).map(|value| ("", value)).into_iter().collect(),
            Place::Whole => vec![("", document)],
        }
    }

    /// One part of a document.
    pub fn one<'a>(&self, document: &'a Value, name: &str) -> Option<&'a Value> {
        self.all(document).into_iter().find(|(called, _)| *called == name).map(|(_, value)| value)
    }

    /// The part's value with its name in it, as the path says.
    ///
    /// # Errors
    /// 422 when it has another name.
    pub fn with_name(&self, name: &str, mut value: Value) -> Result<Value, Problem> {
        let Place::Listed { name: field, .. } = self.place else { return Ok(value) };
        let Some(fields) = value.as_object_mut() else {
            return Err(Problem::invalid(format!("{} is a JSON object", self.called)));
        };
        match fields.get(field) {
            None => {
                fields.insert(field.to_owned(), Value::from(name));
            }
            Some(said) if said == name => {}
            Some(_) => {
                let message =
                    format!("`{field}` is not the path's {name:?}; to rename, delete one and make the other");
                return Err(Problem::invalid(message));
            }
        }
        Ok(value)
    }

    /// The document with this part in it, or without it.
    ///
    /// # Errors
    /// 404 when it is to go and is not there.
    pub fn put(&self, document: &Value, name: &str, value: Option<Value>) -> Result<Value, Problem> {
        let mut document = match document {
            Value::Object(_) => document.clone(),
            _ => Value::Object(Map::new()),
        };
        match (&self.place, value) {
            (Place::Whole, Some(value)) => return Ok(value),
            (Place::Field(field), Some(value)) => document[*field] = value,
            (Place::Whole | Place::Field(_), None) => {
                return Err(Problem::conflict(format!("{} cannot be deleted", self.called)));
            }
            (Place::Listed { list, name: field }, value) => {
                if !document[*list].is_array() {
                    document[*list] = Value::Array(Vec::new());
                }
                let Some(items) = document[*list].as_array_mut() else { return Ok(document) };
                let at = items.iter().position(|item| item[*field] == name);
                match (at, value) {
                    (Some(at), Some(value)) => items[at] = value,
                    (None, Some(value)) => items.push(value),
                    (Some(at), None) => {
                        items.remove(at);
                    }
                    (None, None) => return Err(self.missing(name)),
                }
            }
        }
        Ok(document)
    }

    /// 404.
    pub fn missing(&self, name: &str) -> Problem {
        match self.place {
            Place::Listed { .. } => Problem::not_found(format!("there is no {} {name:?}", self.path)),
            _ => Problem::not_found(format!("{} has no version yet", self.kind)),
        }
    }

    /// The part's schema in the schema of its document.
    pub fn schema(&self) -> Option<&'static Value> {
        let schema = self.kind.schema();
        match self.place {
            Place::Listed { list, .. } => schema.pointer(&format!("/properties/{list}/items")),
            Place::Field(field) => schema.pointer(&format!("/properties/{field}")),
            Place::Whole => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_part_has_a_schema_in_its_document() {
        for part in &PARTS {
            assert!(part.schema().is_some() || part.place == Place::Whole, "{}", part.path);
        }
    }

    #[test]
    fn a_part_is_put_in_its_place_and_taken_out() {
        let feeds = &PARTS[0];
        let document = feeds.put(&Value::Null, "es", Some(json!({"name": "es", "x": 1}))).unwrap();
        assert_eq!(document, json!({"feeds": [{"name": "es", "x": 1}]}));
        let more = feeds.put(&document, "nq", Some(json!({"name": "nq"}))).unwrap();
        let changed = feeds.put(&more, "es", Some(json!({"name": "es", "x": 2}))).unwrap();
        assert_eq!(feeds.one(&changed, "es"), Some(&json!({"name": "es", "x": 2})));
        let gone = feeds.put(&changed, "es", None).unwrap();
        assert_eq!(gone, json!({"feeds": [{"name": "nq"}]}));
        assert_eq!(feeds.put(&gone, "es", None).unwrap_err().status, 404);
    }

    #[test]
    fn a_part_has_the_name_of_its_path() {
        let sessions = &PARTS[6];
        assert_eq!(sessions.with_name("sim", json!({"a": 1})).unwrap(), json!({"a": 1, "venue": "sim"}));
        assert_eq!(sessions.with_name("sim", json!({"venue": "other"})).unwrap_err().status, 422);
        assert_eq!(sessions.with_name("sim", json!([])).unwrap_err().status, 422);
    }
}
