//! Parts of documents as resources: `/v1/feeds/{name}` and its like, one set of handlers for all of [`PARTS`].

use crate::access::{Intent, Precondition};
use crate::api::config::proposed;
use crate::api::{Answer, Page, PageQuery, Path, Problem, Query, Stopped};
use crate::app::App;
use crate::config::{
    DocumentBody, Edit, Expected, NewDocument, PART_NAME_BYTES_MAX, PARTS, Part, Place, Proposal,
};
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

/// The routes, and their operations entered into the description's `paths`.
pub(super) fn routes(paths: &mut Map<String, Value>) -> Router<App> {
    let mut router = Router::new();
    for part in &PARTS {
        let listed = format!("/v1/{}", part.path);
        if matches!(part.place, Place::Listed { .. }) {
            let one = format!("{listed}/{{name}}");
            paths.insert(listed.clone(), json!({"get": list_operation(part)}));
            paths.insert(
                one.clone(),
                json!({"get": get_operation(part), "put": put_operation(part),
                "delete": delete_operation(part)}),
            );
            router = router.route(&listed, list_route(part)).route(&one, one_route(part));
        } else {
            paths.insert(listed.clone(), json!({"get": get_operation(part), "put": put_operation(part)}));
            router = router.route(&listed, only_route(part));
        }
    }
    router
}

fn list_route(part: &'static Part) -> MethodRouter<App> {
    get(move |State(app): State<App>, Query(query): Query<PageQuery>| list(app, part, query))
}

fn one_route(part: &'static Part) -> MethodRouter<App> {
    get(move |State(app): State<App>, Path(name): Path<String>| one(app, part, name))
        .put(
            move |State(app): State<App>,
                  Path(name): Path<String>,
                  intent: Intent,
                  DocumentBody(value): DocumentBody| change(app, part, name, intent, Some(value)),
        )
        .delete(move |State(app): State<App>, Path(name): Path<String>, intent: Intent| {
            change(app, part, name, intent, None)
        })
}

fn only_route(part: &'static Part) -> MethodRouter<App> {
    get(move |State(app): State<App>| one(app, part, String::new())).put(
        move |State(app): State<App>, intent: Intent, DocumentBody(value): DocumentBody| {
            change(app, part, String::new(), intent, Some(value))
        },
    )
}

type Tagged = ([(axum::http::HeaderName, String); 1], Json<Value>);

fn tagged(version: u64, body: Value) -> Tagged {
    ([(axum::http::header::ETAG, format!("\"{version}\""))], Json(body))
}

/// One as it is shown: what it is to be, and what it does.
fn shown(app: &App, part: &Part, name: &str, config: &Value) -> Value {
    json!({"name": name, "config": config, "live": app.live.part(part, name)})
}

async fn list(app: App, part: &'static Part, query: PageQuery) -> Result<Tagged, Problem> {
    let limit = query.limit()?;
    let after: Option<String> = query.cursor()?;
    let newest = app.store.newest(part.kind.service()).await?;
    let (version, document) = newest.map_or((0, Value::Null), |it| (it.head.version, it.document));
    let mut all = part.all(&document);
    all.sort_by_key(|(name, _)| *name);
    let later = all.into_iter().filter(|(name, _)| after.as_deref().is_none_or(|after| *name > after));
    let page: Page<(&str, &Value)> =
        Page::cut(later.take(limit + 1).collect(), limit, |(name, _)| (*name).to_owned());
    let items: Vec<Value> = page.items.iter().map(|(name, config)| shown(&app, part, name, config)).collect();
    Ok(tagged(version, json!({"items": items, "version": version, "next_cursor": page.next_cursor})))
}

async fn one(app: App, part: &'static Part, name: String) -> Result<Tagged, Problem> {
    let newest = app.store.newest(part.kind.service()).await?.ok_or_else(|| part.missing(&name))?;
    let config = part.one(&newest.document, &name).ok_or_else(|| part.missing(&name))?;
    let mut body = shown(&app, part, &name, config);
    body["version"] = json!(newest.head.version);
    Ok(tagged(newest.head.version, body))
}

async fn change(
    app: App,
    part: &'static Part,
    name: String,
    intent: Intent,
    value: Option<Value>,
) -> Result<Answer, Stopped> {
    if name.len() > PART_NAME_BYTES_MAX {
        let message = format!("the name has {} bytes; at most {PART_NAME_BYTES_MAX}", name.len());
        return Err(Problem::invalid(message).into());
    }
    let listed = matches!(part.place, Place::Listed { .. });
    let expected = match intent.precondition {
        Precondition::Absent if value.is_none() => {
            let newest = app.store.newest_head(part.kind.service()).await;
            let head = newest.map_err(Problem::from)?;
            let message = "nothing is deleted that must not be there; send If-Match: \"<version>\"";
            return Err(Problem::stale(message, head.map_or(0, |head| head.version)).into());
        }
        Precondition::Absent if listed => Expected::PartAbsent,
        _ => Expected::Version(intent.demand_version()?),
    };
    let edit = Edit { kind: part.kind, expected, new: NewDocument::Part { part, name, value } };
    proposed(&app, &intent, Proposal { edits: vec![edit], several: false }).await
}

/// Where the part's schema will be; [`describe`](crate::api::describe) puts it there.
fn schema_of(part: &Part) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", schema_name(part))})
}

/// The name of the part's schema: `Part` and its path.
pub(super) fn schema_name(part: &Part) -> String {
    match part.place {
        Place::Whole => part.kind.schema_name().to_owned(),
        _ => format!("Part-{}", part.path.replace('/', "-")),
    }
}

fn operation(part: &Part, verb: &str, summary: String, changes: bool) -> Value {
    let id = format!("{verb}_{}", part.path.replace(['/', '-'], "_"));
    let role = if changes { part.kind.role().word() } else { "viewer" };
    let mut operation = json!({
        "operationId": id, "summary": summary, "tags": ["parts"], "x-feedplane-role": role, "responses": {},
        "parameters": [],
    });
    if changes {
        operation["x-feedplane-versioned"] = json!(true);
        operation["parameters"] = json!([{"name": "dry_run", "in": "query", "schema": {"type": "boolean"},
            "description": "Check, answer with the difference, and change nothing."}]);
        operation["responses"]["507"] = json!({"description": "The store has reached its size."});
        operation["responses"]["200"] = json!({"description": "What became of the document.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}}});
    }
    if verb != "list" && matches!(part.place, Place::Listed { .. }) {
        let name = json!({"name": "name", "in": "path", "required": true, "description": "Its name.",
            "schema": {"type": "string", "minLength": 1, "maxLength": PART_NAME_BYTES_MAX}});
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.push(name);
        }
    }
    operation
}

fn item(part: &Part) -> Value {
    json!({"type": "object", "required": ["name", "config", "live"], "properties": {
        "name": {"type": "string"}, "config": schema_of(part),
        "live": {"$ref": "#/components/schemas/PartLive"}}})
}

fn list_operation(part: &Part) -> Value {
    let mut operation = operation(part, "list", format!("All of {}, by name.", part.path), false);
    operation["parameters"] = json!([
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
        {"name": "cursor", "in": "query", "schema": {"type": "string"}},
    ]);
    let schema = json!({"type": "object", "required": ["items", "version", "next_cursor"], "properties": {
        "items": {"type": "array", "items": item(part)},
        "version": {"type": "integer", "minimum": 0, "description": "Of the document; 0 when there is none."},
        "next_cursor": {"type": ["string", "null"]}}});
    operation["responses"]["200"] = json!({"description": "One page.",
        "content": {"application/json": {"schema": schema}}});
    operation
}

fn get_operation(part: &Part) -> Value {
    let mut operation =
        operation(part, "get", format!("What {} is to be, and what it does.", part.called), false);
    let mut schema = item(part);
    schema["properties"]["version"] = json!({"type": "integer", "description": "Of the document."});
    schema["required"] = json!(["name", "config", "live", "version"]);
    operation["responses"]["200"] = json!({"description": "It.",
        "content": {"application/json": {"schema": schema}}});
    operation["responses"]["404"] = json!({"description": "It is not there."});
    operation
}

fn put_operation(part: &Part) -> Value {
    let mut operation = operation(
        part,
        "put",
        format!("Makes or changes {}: the next version of {}.", part.called, part.kind),
        true,
    );
    let schema = schema_of(part);
    operation["requestBody"] = json!({"required": true, "content": {
        "application/json": {"schema": schema}, "application/yaml": {"schema": schema}}});
    operation["responses"]["201"] = operation["responses"]["200"].clone();
    operation
}

fn delete_operation(part: &Part) -> Value {
    operation(part, "delete", format!("Takes {} out: the next version of {}.", part.called, part.kind), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_change_a_document_may_change_its_parts() {
        let mut paths = Map::new();
        let _ = routes(&mut paths);
        for part in &PARTS {
            let path = match part.place {
                Place::Listed { .. } => format!("/v1/{}/{{name}}", part.path),
                _ => format!("/v1/{}", part.path),
            };
            assert_eq!(paths[&path]["put"]["x-feedplane-role"], part.kind.role().word(), "{path}");
        }
    }
}
