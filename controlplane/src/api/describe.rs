//! The served description: what `utoipa` made of the handlers, completed by what holds for every operation, and the
//! documents' own schemas.

use super::parts::schema_name;
use crate::access::{IDEMPOTENCY_KEY_BYTES_MAX, REASON_BYTES_MAX};
use crate::config::{Kind, PARTS};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What says that a change needs `If-Match`.
const VERSIONED: &str = "x-feedplane-versioned";

/// Completes a description.
pub(super) fn complete(description: &mut Value) {
    description["openapi"] = json!("3.1.0");
    description["info"] = json!({
        "title": "feedplane", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0"},
        "description": "One API for the whole pipeline. The contract in words is docs/controlplane.md.",
    });
    description["jsonSchemaDialect"] = json!("https://json-schema.org/draft/2020-12/schema");
    description["components"]["securitySchemes"] = json!({"token": {"type": "http", "scheme": "bearer",
        "description": "fp_<id>_<secret>, from POST /v1/tokens."}});
    description["components"]["responses"] = json!({"Problem": {
        "description": "Refused, or failed: `detail` says why and what to do, `errors` which field.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}});
    let names = documents(description);
    bodies(description, &names);
    let paths = description["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            standard(path, method, operation);
        }
    }
}

/// The documents' schemas among the components, each definition once; by kind what its definitions are called there.
fn documents(description: &mut Value) -> BTreeMap<Kind, BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    let mut taken: BTreeMap<String, Value> = BTreeMap::new();
    let Some(schemas) = description["components"]["schemas"].as_object_mut() else { return names };
    for kind in Kind::ALL {
        let mut schema = kind.schema().clone();
        let definitions = schema.as_object_mut().and_then(|schema| {
            schema.remove("$schema");
            schema.remove("$defs")
        });
        let definitions = match definitions {
            Some(Value::Object(definitions)) => definitions,
            _ => Map::new(),
        };
        let called: BTreeMap<String, String> = definitions
            .iter()
            .map(|(name, definition)| {
                let same = taken.get(name).is_some_and(|other| other == definition);
                let free = !taken.contains_key(name) && !schemas.contains_key(name);
                let called =
                    if same || free { name.clone() } else { format!("{}-{name}", kind.schema_name()) };
                (name.clone(), called)
            })
            .collect();
        for (name, mut definition) in definitions {
            let called_here = called[&name].clone();
            taken.insert(called_here.clone(), definition.clone());
            rename(&mut definition, &called);
            schemas.insert(called_here, definition);
        }
        rename(&mut schema, &called);
        schemas.insert(kind.schema_name().to_owned(), schema);
        names.insert(kind, called);
    }
    names
}

/// References into a schema's own definitions, as references to components.
fn rename(schema: &mut Value, called: &BTreeMap<String, String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                let name = called.get(name).map_or(name, String::as_str);
                *reference = format!("#/components/schemas/{name}");
            }
            fields.values_mut().for_each(|value| rename(value, called));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, called)),
        _ => {}
    }
}

/// What the bodies of documents and parts are.
fn bodies(description: &mut Value, names: &BTreeMap<Kind, BTreeMap<String, String>>) {
    for part in &PARTS {
        if let Some(schema) = part.schema() {
            let mut schema = schema.clone();
            if let Some(called) = names.get(&part.kind) {
                rename(&mut schema, called);
            }
            description["components"]["schemas"][schema_name(part)] = schema;
        }
    }
    let of = |kind: Kind| json!({"$ref": format!("#/components/schemas/{}", kind.schema_name())});
    let any = json!({"anyOf": Kind::ALL.map(of)});
    let put = &mut description["paths"]["/v1/config/{service}"]["put"]["requestBody"];
    *put = json!({"required": true, "content": {
        "application/json": {"schema": any}, "application/yaml": {"schema": any}}});
    let schemas = &mut description["components"]["schemas"];
    schemas["ConfigVersion"]["allOf"][1]["properties"]["document"] = any;
    let by_service: Map<String, Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let one = json!({"type": "object", "additionalProperties": false, "required": ["base_version", "document"],
                "properties": {"base_version": {"type": "integer", "minimum": 0, "maximum": i64::MAX,
                    "description": "The version that is changed; 0 for the first."}, "document": of(kind)}});
            (kind.service().to_owned(), one)
        })
        .collect();
    schemas["Several"]["properties"]["documents"] = json!({"type": "object", "minProperties": 1,
        "additionalProperties": false, "properties": by_service,
        "description": "By service. All of them are changed, or none."});
}

/// Answers and parameters that every operation of its sort has.
fn standard(path: &str, method: &str, operation: &mut Value) {
    let open = operation["x-feedplane-role"] == "none";
    let changes = !matches!(method, "get" | "head");
    let versioned = operation[VERSIONED] == true;
    let has_body = operation.get("requestBody").is_some();
    operation["security"] = if open { json!([]) } else { json!([{"token": []}]) };
    let mut parameters = match operation["parameters"].take() {
        Value::Array(parameters) => parameters,
        _ => Vec::new(),
    };
    let paged = parameters.iter().any(|parameter| parameter["name"] == "cursor");
    let mut header = |name: &str, length_max: usize, text: &str| {
        parameters
            .push(json!({"name": name, "in": "header", "description": text, "schema": {"type": "string",
            "minLength": 1, "maxLength": length_max, "pattern": "^[!-~]([ -~]*[!-~])?$"}}));
    };
    if changes && !open {
        header(
            "Idempotency-Key",
            IDEMPOTENCY_KEY_BYTES_MAX,
            "The same key and request again get the first answer (24 h).",
        );
        header("Feedplane-Reason", REASON_BYTES_MAX, "Why, for the audit.");
        parameters.push(json!({"name": "reason", "in": "query", "description": "Why, for the audit.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 256}}));
    }
    if versioned {
        parameters
            .push(json!({"name": "If-Match", "in": "header", "description": "The version that is changed.",
            "schema": {"type": "string", "minLength": 1, "pattern": "^(\"[0-9]{1,18}\"|[0-9]{1,18})$"}}));
        parameters.push(
            json!({"name": "If-None-Match", "in": "header", "description": "* when it is not there yet.",
            "schema": {"const": "*"}}),
        );
    }
    operation["parameters"] = Value::Array(parameters);
    let mut statuses = vec![400, 429];
    if !open {
        statuses.extend([401, 403, 503]);
    }
    if path.contains('{') || paged {
        statuses.push(404);
    }
    if changes && !open {
        statuses.push(422);
    }
    if has_body {
        statuses.extend([408, 413, 415]);
    }
    if versioned {
        statuses.extend([404, 409, 412, 428]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let declared = responses.keys().filter_map(|status| status.parse().ok()).filter(|status| *status >= 400);
    statuses.extend(declared.collect::<Vec<u16>>());
    for status in statuses {
        responses.insert(status.to_string(), json!({"$ref": "#/components/responses/Problem"}));
    }
}
