//! Documents as they are sent: JSON or YAML, no field twice, bounded.

use crate::api::{Problem, bytes, media_type, unsupported};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use std::fmt;

/// JSON from any format, in which no object has a field twice: of two that say different things neither is obeyed.
struct Strict;

/// A value that was written with no field twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Written(pub Value);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        Strict.deserialize(deserializer).map(Written)
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Strict)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("is no number that JSON has"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Strict)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Strict)?;
            if fields.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the field {name:?} is there twice")));
            }
        }
        Ok(Value::Object(fields))
    }
}

/// JSON in which no field is there twice.
///
/// # Errors
/// 400 with line and column.
pub fn json_without_doubles(bytes: &[u8]) -> Result<Value, Problem> {
    let read: Result<Written, _> = serde_json::from_slice(bytes);
    read.map(|written| written.0)
        .map_err(|error| Problem::bad_request(format!("the body is no JSON: {error}")))
}

/// YAML of one document, in which no field is there twice.
pub(super) fn yaml_without_doubles(bytes: &[u8]) -> Result<Value, Problem> {
    let refused = |error: &dyn fmt::Display| Problem::bad_request(format!("the body is no YAML: {error}"));
    let text = std::str::from_utf8(bytes).map_err(|error| refused(&error))?;
    let read: Result<Written, _> = serde_saphyr::from_str(text);
    read.map(|written| written.0).map_err(|error| {
        let at = error.location().map(|at| format!(" (line {}, column {})", at.line(), at.column()));
        let said = error.to_string();
        let first = said.lines().next().unwrap_or_default();
        refused(&format!("{first}{}", at.unwrap_or_default()))
    })
}

/// A body that is a document: JSON, or YAML as `application/yaml`.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for DocumentBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<DocumentBody, Problem> {
        let read = match media_type(request.headers()) {
            Some("application/json") => json_without_doubles,
            Some("application/yaml" | "application/x-yaml" | "text/yaml") => yaml_without_doubles,
            _ => return Err(unsupported("send a document as application/json or application/yaml")),
        };
        read(&bytes(request, state).await?).map(DocumentBody)
    }
}

/// An answer in YAML.
pub fn to_yaml(value: &Value) -> Response {
    match serde_saphyr::to_string(value) {
        Ok(text) => {
            (StatusCode::OK, [(axum::http::header::CONTENT_TYPE, "application/yaml")], text).into_response()
        }
        Err(error) => {
            Problem::internal(format!("a document cannot be written as YAML: {error}")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_give_the_same_document() {
        let json = br#"{"a": [1, -2, 1.5, "x", null, true], "b": {"c": {}}}"#;
        let yaml = b"a: [1, -2, 1.5, x, null, true]\nb: {c: {}}";
        assert_eq!(json_without_doubles(json).unwrap(), yaml_without_doubles(yaml).unwrap());
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        for text in [r#"{"a": 1, "a": 2}"#, r#"[{"x": {"a": 1, "b": 2, "a": 1}}]"#] {
            assert_eq!(json_without_doubles(text.as_bytes()).unwrap_err().status, 400, "{text}");
            assert_eq!(yaml_without_doubles(text.as_bytes()).unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused_and_nothing_is_built_from_it() {
        let deep = "[".repeat(100_000);
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n\
                    f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n\
                    h: [*g,*g,*g,*g,*g,*g,*g,*g,*g]";
        for text in ["", "{", "{]", deep.as_str(), "{\"a\": 1} x", "\u{0}", "{\"a\": 1e999}"] {
            assert!(json_without_doubles(text.as_bytes()).is_err(), "{text:.20}");
        }
        for text in [deep.as_str(), bomb, "a: [", "a: 1\n---\nb: 2", "\t- x: :", "a: .nan", "a: .inf"] {
            assert!(yaml_without_doubles(text.as_bytes()).is_err(), "{text:.20}");
        }
        assert!(json_without_doubles(b"\"\xff\"").is_err() && yaml_without_doubles(b"\xff").is_err());
        assert_eq!(yaml_without_doubles(b"a: 0x10").unwrap(), json!({"a": 16}));
    }
}
