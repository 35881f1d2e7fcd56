//! Which fields belong to one process and not to a version, and taking them out of documents and schemas.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The fields of `service`'s document that each process has in its own file, as JSON pointers (RFC 6901). None for a
/// service that is not known.
pub fn local_fields(service: &str) -> &'static [&'static str] {
    match service {
        "dataplane" => &["/feeds", "/publisher/redis", "/status", "/control", "/health"],
        "features" | "strategy" => &["/redis", "/member", "/health"],
        "gateway" => &["/redis", "/member", "/health", "/journal"],
        "archiver" => &["/redis", "/member", "/health", "/database"],
        _ => &[],
    }
}

/// The parent's steps and the field's name. Names in [`local_fields`] need no escapes.
fn steps(pointer: &str) -> (Vec<&str>, &str) {
    let mut steps: Vec<&str> = pointer.split('/').skip(1).collect();
    let name = steps.pop().unwrap_or_default();
    (steps, name)
}

/// Takes the local fields out of a document. What is no object is left as it is.
pub fn strip_local_fields(service: &str, document: &mut Value) {
    for pointer in local_fields(service) {
        let (parents, name) = steps(pointer);
        let parent = parents.into_iter().try_fold(&mut *document, |at, step| at.get_mut(step));
        if let Some(Value::Object(parent)) = parent {
            parent.remove(name);
        }
    }
}

/// A process's own document with a version laid over it: local fields are `own`'s, present or not, everything else is
/// the version's. A version that is no object comes back as it is, for its type to refuse.
pub fn lay_over(service: &str, own: &Value, version: Value) -> Value {
    let mut laid = version;
    strip_local_fields(service, &mut laid);
    if !laid.is_object() {
        return laid;
    }
    for pointer in local_fields(service) {
        let Some(value) = own.pointer(pointer) else { continue };
        let (parents, name) = steps(pointer);
        let parent = parents.into_iter().try_fold(&mut laid, |at, step| match at {
            Value::Object(fields) => Some(fields.entry(step).or_insert_with(|| Value::Object(Map::new()))),
            _ => None,
        });
        if let Some(Value::Object(parent)) = parent {
            parent.insert(name.to_owned(), value.clone());
        }
    }
    laid
}

/// Takes the local fields out of a document's JSON Schema (as `schemars` makes it, with `$defs`), and the definitions
/// that nothing names any more.
pub fn strip_local_schema(service: &str, schema: &mut Value) {
    for pointer in local_fields(service) {
        let (parents, name) = steps(pointer);
        let Some(place) = place_of(schema, &parents) else { continue };
        let Some(Value::Object(object)) = schema.pointer_mut(&place) else { continue };
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            properties.remove(name);
        }
        if let Some(Value::Array(required)) = object.get_mut("required") {
            required.retain(|field| field != name);
        }
    }
    drop_unnamed_definitions(schema);
}

/// Where the schema of a nested object stands: `$ref` is followed.
fn place_of(schema: &Value, parents: &[&str]) -> Option<String> {
    let mut place = String::new();
    for step in parents {
        place = format!("{place}/properties/{step}");
        if let Some(Value::String(reference)) = schema.pointer(&place)?.get("$ref") {
            place = reference.strip_prefix('#')?.to_owned();
        }
    }
    Some(place)
}

fn drop_unnamed_definitions(schema: &mut Value) {
    // A definition may be named by one that goes: as often as there are definitions at most.
    loop {
        let mut named = BTreeSet::new();
        references(schema, &mut named);
        let Some(Value::Object(definitions)) = schema.get_mut("$defs") else { return };
        let before = definitions.len();
        definitions.retain(|name, _| named.contains(&format!("#/$defs/{name}")));
        if definitions.len() == before {
            return;
        }
    }
}

fn references(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                named.insert(reference.clone());
            }
            fields.values().for_each(|value| references(value, named));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, named)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DataplaneDocument, FeaturesDocument, FeedsDocument, GatewayDocument};
    use serde_json::json;

    const DATAPLANE: &str = "
feeds: feeds.yaml
workers: [{name: w0, interface_a: eth1, interface_b: eth2}]
publisher: {redis: 'unix:///run/redis.sock', shards: 2}
status: {file: status.json}
health: {listen: '127.0.0.1:9101'}
";

    #[test]
    fn a_nested_local_field_is_taken_out_and_laid_back() {
        let own = serde_json::to_value(DataplaneDocument::parse(DATAPLANE.as_bytes()).unwrap()).unwrap();
        let mut version = own.clone();
        strip_local_fields("dataplane", &mut version);
        for pointer in local_fields("dataplane") {
            assert!(version.pointer(pointer).is_none(), "{pointer}");
        }
        assert_eq!(version.pointer("/publisher/shards"), Some(&json!(2)));
        assert_eq!(lay_over("dataplane", &own, version), own);
        let laid = lay_over("dataplane", &own, json!({"workers": []}));
        assert_eq!(laid.pointer("/publisher/redis"), Some(&json!("unix:///run/redis.sock")));
    }

    #[test]
    fn an_optional_local_field_that_the_process_has_not_is_not_taken_from_a_version() {
        let own = json!({"redis": "unix:///a", "health": {}});
        let laid = lay_over("features", &own, json!({"member": "theirs", "sets": []}));
        assert_eq!(laid, json!({"redis": "unix:///a", "health": {}, "sets": []}));
    }

    #[test]
    fn a_version_of_another_shape_comes_back_for_its_type_to_refuse() {
        let own = json!({"publisher": {"redis": "unix:///a"}});
        for version in [json!(null), json!([1]), json!("x"), json!(7)] {
            assert_eq!(lay_over("dataplane", &own, version.clone()), version);
        }
        let laid = lay_over("dataplane", &own, json!({"publisher": [1]}));
        assert_eq!(laid, json!({"publisher": [1]}));
    }

    #[test]
    fn a_schema_without_local_fields_accepts_a_version() {
        let mut schema = serde_json::to_value(schemars::schema_for!(DataplaneDocument)).unwrap();
        strip_local_schema("dataplane", &mut schema);
        let text = schema.to_string();
        assert!(schema.pointer("/properties/feeds").is_none());
        assert!(schema.pointer("/properties/workers").is_some());
        assert!(!text.contains("StatusSection") && !text.contains("HealthSection"), "{text}");
        assert!(schema.pointer("/$defs/PublisherSection/properties/redis").is_none(), "{text}");
        assert!(schema.pointer("/$defs/PublisherSection/properties/shards").is_some());
        assert!(!schema["required"].as_array().unwrap().contains(&json!("feeds")));
        let publisher = schema.pointer("/$defs/PublisherSection/required");
        assert!(publisher.is_none_or(|required| !required.as_array().unwrap().contains(&json!("redis"))));
    }

    #[test]
    fn every_local_field_is_a_field_of_its_schema() {
        let schemas = [
            ("features", serde_json::to_value(schemars::schema_for!(FeaturesDocument)).unwrap()),
            ("gateway", serde_json::to_value(schemars::schema_for!(GatewayDocument)).unwrap()),
            ("feeds", serde_json::to_value(schemars::schema_for!(FeedsDocument)).unwrap()),
        ];
        for (service, schema) in schemas {
            for pointer in local_fields(service) {
                let field = format!("/properties{pointer}");
                assert!(schema.pointer(&field).is_some(), "{service} has no {pointer}");
            }
        }
    }

    #[test]
    fn a_hostile_schema_or_document_is_left_alone() {
        for mut value in
            [json!(null), json!({"$defs": 7}), json!({"properties": {"publisher": {"$ref": "x"}}})]
        {
            let before = value.clone();
            strip_local_schema("dataplane", &mut value);
            assert_eq!(value, before);
            strip_local_fields("dataplane", &mut value);
            assert_eq!(value, before);
        }
        assert!(local_fields("unknown").is_empty());
    }
}
