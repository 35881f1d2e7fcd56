//! The kinds of documents: their types, schemas, and who may change them.

use crate::access::Role;
use crate::api::FieldProblem;
use bus::config::{
    ArchiverDocument, DataplaneDocument, DocumentError, FeaturesDocument, FeedsDocument, GatewayDocument,
    StrategyDocument,
};
use bus::control::{ManagedDocument, lay_over, local_fields, parse_document, strip_local_schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::sync::LazyLock;
use utoipa::ToSchema;

/// One of the documents that have versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The data plane's feeds and filters.
    Feeds,
    /// The data plane's workers.
    Dataplane,
    /// The feature sets.
    Features,
    /// Strategies and risk limits.
    Strategy,
    /// Sessions at venues.
    Gateway,
    /// The archiver.
    Archiver,
}

/// A document as its own type, with placeholders where each process has its own fields.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Typed {
    Feeds(FeedsDocument),
    Dataplane(Box<DataplaneDocument>),
    Features(Box<FeaturesDocument>),
    Strategy(Box<StrategyDocument>),
    Gateway(Box<GatewayDocument>),
    Archiver(Box<ArchiverDocument>),
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Feeds, Kind::Dataplane, Kind::Features, Kind::Strategy, Kind::Gateway, Kind::Archiver];

    /// The service, as in paths and keys.
    pub const fn service(self) -> &'static str {
        match self {
            Kind::Feeds => "feeds",
            Kind::Dataplane => "dataplane",
            Kind::Features => "features",
            Kind::Strategy => "strategy",
            Kind::Gateway => "gateway",
            Kind::Archiver => "archiver",
        }
    }

    /// The kind of a service.
    pub fn of(service: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.service() == service)
    }

    /// The least role that may change it: what decides about orders is the risk officer's.
    pub const fn role(self) -> Role {
        match self {
            Kind::Strategy | Kind::Gateway => Role::Risk,
            Kind::Feeds | Kind::Dataplane | Kind::Features | Kind::Archiver => Role::Operator,
        }
    }

    /// The name of its schema.
    pub const fn schema_name(self) -> &'static str {
        match self {
            Kind::Feeds => "FeedsDocument",
            Kind::Dataplane => "DataplaneDocument",
            Kind::Features => "FeaturesDocument",
            Kind::Strategy => "StrategyDocument",
            Kind::Gateway => "GatewayDocument",
            Kind::Archiver => "ArchiverDocument",
        }
    }

    /// Its JSON Schema (draft 2020-12), made from its type, without the fields of one process.
    pub fn schema(self) -> &'static Value {
        static SCHEMAS: LazyLock<Vec<Value>> =
            LazyLock::new(|| Kind::ALL.into_iter().map(Kind::make_schema).collect());
        &SCHEMAS[self as usize]
    }

    fn make_schema(self) -> Value {
        fn of<T: JsonSchema>() -> Value {
            schemars::schema_for!(T).to_value()
        }
        let mut schema = match self {
            Kind::Feeds => of::<FeedsDocument>(),
            Kind::Dataplane => of::<DataplaneDocument>(),
            Kind::Features => of::<FeaturesDocument>(),
            Kind::Strategy => of::<StrategyDocument>(),
            Kind::Gateway => of::<GatewayDocument>(),
            Kind::Archiver => of::<ArchiverDocument>(),
        };
        strip_local_schema(self.service(), &mut schema);
        drop_passwords(&mut schema);
        schema
    }

    /// Checks one document by itself.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(self, document: &Value) -> Result<Typed, Vec<FieldProblem>> {
        let mut problems: Vec<FieldProblem> = local_fields(self.service())
            .iter()
            .filter(|pointer| document.pointer(pointer).is_some())
            .map(|pointer| {
                let path = pointer.trim_start_matches('/').replace('/', ".");
                FieldProblem::new(path, "belongs to each process's own file; leave it out of the version")
            })
            .collect();
        passwords(document, &mut String::new(), &mut problems);
        let whole = lay_over(self.service(), &self.placeholders(), document.clone());
        let typed = match self {
            Kind::Feeds => parse_document(whole).map(Typed::Feeds),
            Kind::Dataplane => boxed(whole).map(Typed::Dataplane),
            Kind::Features => boxed(whole).map(Typed::Features),
            Kind::Strategy => boxed(whole).map(Typed::Strategy),
            Kind::Gateway => boxed(whole).map(Typed::Gateway),
            Kind::Archiver => boxed(whole).map(Typed::Archiver),
        };
        match typed {
            Ok(typed) if problems.is_empty() => Ok(typed),
            Ok(_) => Err(problems),
            Err(DocumentError::Invalid(found)) => {
                problems.extend(found.into_iter().map(FieldProblem::from));
                Err(problems)
            }
            Err(error) => {
                problems.push(FieldProblem::new("document", error.to_string()));
                Err(problems)
            }
        }
    }

    /// What stands for the fields that each process has itself, so that the type can be read.
    fn placeholders(self) -> Value {
        let redis = "unix:///placeholder";
        let health = json!({"listen": "127.0.0.1:0"});
        match self {
            Kind::Feeds => json!({}),
            Kind::Dataplane => json!({"feeds": "placeholder", "publisher": {"redis": redis}}),
            Kind::Features | Kind::Strategy => json!({"redis": redis, "health": health}),
            Kind::Gateway => json!({"redis": redis, "health": health, "journal": "placeholder"}),
            Kind::Archiver => {
                json!({"redis": redis, "health": health, "database": "postgres:///placeholder"})
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.service())
    }
}

fn boxed<T: ManagedDocument>(whole: Value) -> Result<Box<T>, DocumentError> {
    parse_document(whole).map(Box::new)
}

/// Whether a field of this name is a secret: it stands in the versions for ever, and everybody who reads them sees it.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["password", "passwd", "secret", "token", "private_key"];
    secret.iter().any(|word| name.contains(word)) && !name.ends_with("_file")
}

/// Fields that hold a password, and addresses that carry one.
fn passwords(value: &Value, path: &mut String, problems: &mut Vec<FieldProblem>) {
    let base = path.len();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                if is_secret(name) && !value.is_null() {
                    let message = "is a password; put it into a file and name that: `password_file`";
                    problems.push(FieldProblem::new(path.clone(), message));
                } else {
                    passwords(value, path, problems);
                }
                path.truncate(base);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                passwords(value, path, problems);
                path.truncate(base);
            }
        }
        Value::String(text) if carries_password(text) => {
            problems.push(FieldProblem::new(path.clone(), "carries a password in an address; take it out"));
        }
        _ => {}
    }
}

/// `scheme://user:password@host`.
fn carries_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// Takes fields of passwords out of a schema, so that no form offers them.
fn drop_passwords(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get_mut("properties") {
                properties.retain(|name, _| !is_secret(name));
            }
            fields.values_mut().for_each(drop_passwords);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_passwords),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_a_service_of_the_bus() {
        assert_eq!(Kind::ALL.map(Kind::service), bus::control::SERVICES);
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert_eq!(Kind::of(kind.service()), Some(kind));
        }
    }

    #[test]
    fn placeholders_stand_for_every_local_field_that_must_be_there() {
        for kind in Kind::ALL {
            // Nothing but the placeholders is read: what is missing then is the document's own.
            let problems = kind.check(&json!({})).err().unwrap_or_default();
            for problem in problems {
                for local in local_fields(kind.service()) {
                    let name = format!("`{}`", local.rsplit('/').next().unwrap());
                    assert!(!problem.message.contains(&name), "{kind}: {problem:?}");
                }
            }
        }
    }

    #[test]
    fn a_field_of_one_process_and_a_password_are_refused_with_their_place() {
        let document = json!({"shards": 1, "redis": "unix:///x", "sets": []});
        let problems = Kind::Features.check(&document).unwrap_err();
        assert!(problems.iter().any(|problem| problem.path == "redis"), "{problems:?}");
        let session = json!({"venue": "v", "limits": {"order_quantity_max": 1, "order_notional_max": 1,
            "open_orders_max": 1, "messages_per_second": 1, "message_burst": 1},
            "ouch": {"address": "a:1", "user": "u", "password": "p"}});
        let problems = Kind::Gateway.check(&json!({"sessions": [session]})).unwrap_err();
        assert!(problems.iter().any(|problem| problem.path == "sessions[0].ouch.password"), "{problems:?}");
        assert!(carries_password("redis://me:secret@host/0") && !carries_password("redis://host:6379/0"));
        assert!(!carries_password("a: b@c"));
    }

    #[test]
    fn schemas_offer_no_password_and_no_local_field() {
        for kind in Kind::ALL {
            let text = kind.schema().to_string();
            assert!(!text.contains("\"password\":"), "{kind}");
            for pointer in local_fields(kind.service()).iter().filter(|pointer| !pointer[1..].contains('/')) {
                assert!(
                    kind.schema().pointer(&format!("/properties{pointer}")).is_none(),
                    "{kind} {pointer}"
                );
            }
        }
    }
}
