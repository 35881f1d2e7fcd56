//! All routes, with the gate in front of each operation and the guard around everything.

use super::{Problem, config, describe, health, parts, tokens};
use crate::access::{Operations, OperationsError, gate, guard};
use crate::app::App;
use crate::console;
use crate::live::PartLive;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Schemas that no handler's own description refers to: those of parts are made from the documents.
#[derive(OpenApi)]
#[openapi(components(schemas(PartLive)))]
struct Schemas;

/// The description of the API, and its routes without anything in front of them.
fn described() -> (Router<App>, Value) {
    let (router, openapi) = OpenApiRouter::with_openapi(Schemas::openapi())
        .merge(config::router())
        .merge(tokens::router())
        .merge(health::router())
        .merge(super::live::router())
        .split_for_parts();
    let mut description = serde_json::to_value(&openapi).unwrap_or_default();
    let mut paths = Map::new();
    let router = router.merge(parts::routes(&mut paths));
    paths.insert("/v1/openapi.json".to_owned(), json!({"get": {
        "operationId": "get_openapi", "summary": "This description.", "tags": ["health"], "x-feedplane-role": "none",
        "responses": {"200": {"description": "OpenAPI 3.1.",
            "content": {"application/json": {"schema": {"type": "object"}}}}}}}));
    if let Some(all) = description["paths"].as_object_mut() {
        all.extend(paths);
    }
    describe::complete(&mut description);
    (router, description)
}

/// The description of the API, as it is served.
pub fn description() -> Value {
    described().1
}

/// Everything that is served.
///
/// # Errors
/// When an operation does not say who may call it.
pub fn router(app: App) -> Result<Router, OperationsError> {
    let (router, description) = described();
    let operations = Arc::new(Operations::of(&description)?);
    let text = Bytes::from(description.to_string());
    let openapi = get(move || async move { ([(CONTENT_TYPE, "application/json")], text) });
    let (of_gate, of_guard) = (app.clone(), app.clone());
    let gated = router.route("/v1/openapi.json", openapi).route_layer(from_fn(
        move |request: Request, next: Next| gate(of_gate.clone(), Arc::clone(&operations), request, next),
    ));
    Ok(gated
        .merge(console::routes())
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn(move |request: Request, next: Next| guard(of_guard.clone(), request, next)))
        .with_state(app))
}

async fn nothing(uri: Uri) -> impl IntoResponse {
    Problem::not_found(format!("there is no {}; the API is described at /v1/openapi.json", uri.path()))
}

async fn not_so(method: Method, uri: Uri) -> impl IntoResponse {
    let message = format!("{} is not for {method}; see the header Allow", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
