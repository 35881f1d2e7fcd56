//! The documents that have versions, as types, and how one is read from JSON.

use super::local::lay_over;
use crate::config::{
    ArchiverDocument, DOCUMENT_BYTES_MAX, DataplaneDocument, DocumentError, FeaturesDocument, FeedsDocument,
    GatewayDocument, Problem, StrategyDocument,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The services whose documents have versions, as they are called in keys and addresses.
pub const SERVICES: [&str; 6] = ["feeds", "dataplane", "features", "strategy", "gateway", "archiver"];

/// The place of a problem that no field has.
const WHOLE: &str = "document";

/// A document that has versions.
pub trait ManagedDocument: Serialize + DeserializeOwned + JsonSchema + Clone + PartialEq {
    /// One of [`SERVICES`].
    const SERVICE: &'static str;

    /// Everything that is wrong with the document; nothing when it can be used.
    fn problems(&self) -> Vec<Problem>;

    /// This process's own document with a version laid over it: the version says everything but the fields of one
    /// process ([`local_fields`](super::local_fields)), which stay.
    ///
    /// # Errors
    /// When `version` is too large, is no JSON, has not the document's shape, or cannot be meant; the field is named.
    fn with_version(&self, version: &str) -> Result<Self, DocumentError> {
        if version.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge);
        }
        let version: Value = serde_json::from_str(version).map_err(|error| DocumentError::Syntax {
            line: error.line() as u64,
            column: error.column() as u64,
            message: format!("no JSON: {error}"),
        })?;
        let own = serde_json::to_value(self).map_err(|error| shape(WHOLE, error.to_string()))?;
        parse_document(lay_over(Self::SERVICE, &own, version))
    }
}

/// A whole document from JSON, checked. Unlike a document's `parse`, it names the place by the field's path, as in
/// `strategies[2].rules`: JSON from a program has no lines that a person knows.
///
/// # Errors
/// [`DocumentError::Invalid`].
pub fn parse_document<T: ManagedDocument>(document: Value) -> Result<T, DocumentError> {
    // A type would take a list for an object, its items for the fields in their order.
    if !document.is_object() {
        return Err(shape(WHOLE, "is no JSON object".into()));
    }
    let document: T = serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        // A single dot is how the outermost place is written.
        shape(if path == "." { WHOLE } else { &path }, error.into_inner().to_string())
    })?;
    let problems = document.problems();
    if problems.is_empty() { Ok(document) } else { Err(DocumentError::Invalid(problems)) }
}

fn shape(path: &str, message: String) -> DocumentError {
    DocumentError::Invalid(vec![Problem { path: path.to_owned(), message }])
}

macro_rules! managed {
    ($($document:ty: $service:literal),* $(,)?) => {$(
        impl ManagedDocument for $document {
            const SERVICE: &'static str = $service;

            fn problems(&self) -> Vec<Problem> {
                self.validate()
            }
        }
    )*};
}

managed! {
    FeedsDocument: "feeds",
    DataplaneDocument: "dataplane",
    FeaturesDocument: "features",
    StrategyDocument: "strategy",
    GatewayDocument: "gateway",
    ArchiverDocument: "archiver",
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "
redis: unix:///run/redis.sock
database: postgres:///feedplane
member: here
shards: 4
health: {listen: '127.0.0.1:9103'}
";

    fn own() -> ArchiverDocument {
        ArchiverDocument::parse(OWN.as_bytes()).unwrap()
    }

    #[test]
    fn a_version_says_everything_but_the_fields_of_the_process() {
        let version = r#"{"shards": 2, "lease_ms": 500, "batch": {"rows_max": 7}}"#;
        let taken = own().with_version(version).unwrap();
        assert_eq!((taken.shards, taken.lease_ms, taken.batch.rows_max), (2, 500, 7));
        assert_eq!(taken.redis, "unix:///run/redis.sock");
        assert_eq!(
            (taken.database.as_str(), taken.member.as_deref()),
            ("postgres:///feedplane", Some("here"))
        );
        assert_eq!(taken.health.listen.port(), 9103);
    }

    #[test]
    fn a_version_cannot_move_a_process_to_another_redis_or_database() {
        let version = r#"{"redis": "redis://elsewhere", "database": "postgres://elsewhere/x", "member": "other",
            "health": {"listen": "0.0.0.0:80"}, "shards": 4}"#;
        assert_eq!(own().with_version(version).unwrap(), own());
    }

    #[test]
    fn a_version_that_cannot_be_used_is_refused_with_the_field() {
        let cases = [
            ("", "no JSON"),
            ("{", "no JSON"),
            ("[]", "document: is no JSON object"),
            ("null", "document: is no JSON object"),
            (r#"{"shards": 0}"#, "shards: is 0"),
            (r#"{"shards": "four"}"#, "shards: invalid type"),
            (r#"{"batch": {"rows_max": -1}}"#, "batch.rows_max: invalid value"),
            (r#"{"batch": {"rows": 1}}"#, "unknown field `rows`"),
            (r#"{"shard": 2}"#, "unknown field `shard`"),
            (r#"{"lease_ms": 1e400}"#, "no JSON"),
        ];
        for (version, expected) in cases {
            let error = own().with_version(version).unwrap_err().to_string();
            assert!(error.contains(expected), "{version}: {error:?} should name {expected:?}");
        }
        let deep = format!("{{\"batch\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(own().with_version(&deep).unwrap_err().to_string().contains("recursion"));
        let huge = format!("{{\"shards\": 2, \"x\": \"{}\"}}", "y".repeat(DOCUMENT_BYTES_MAX));
        assert!(matches!(own().with_version(&huge), Err(DocumentError::TooLarge)));
    }

    #[test]
    fn each_service_is_one_of_the_list() {
        let services = [
            FeedsDocument::SERVICE,
            DataplaneDocument::SERVICE,
            FeaturesDocument::SERVICE,
            StrategyDocument::SERVICE,
            GatewayDocument::SERVICE,
            ArchiverDocument::SERVICE,
        ];
        assert_eq!(services, SERVICES);
    }

    #[test]
    fn no_version_whatever_it_holds_panics() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let _ = own().with_version(&String::from_utf8_lossy(bytes));
        });
    }
}
