//! `/v1/models`: the registry.

use crate::api::Page;
use crate::api::{Path, Problem};
use crate::app::App;
use crate::live::lookups::{ModelCardView, ModelView};
use axum::Json;
use axum::extract::State;

/// Every model with its versions.
#[utoipa::path(
    get, path = "/v1/models", operation_id = "list_models", tag = "models",
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The models", body = Page<ModelView>),
              (status = 503, description = "Redis cannot be asked", body = Problem))
)]
pub(super) async fn list_models(State(app): State<App>) -> Result<Json<Page<ModelView>>, Problem> {
    let items = app.live.lookups().models().await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// One model with its versions.
#[utoipa::path(
    get, path = "/v1/models/{name}", operation_id = "get_model", tag = "models",
    params(("name" = String, Path, description = "Its name")),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The model", body = ModelView),
              (status = 404, description = "No model of this name is registered", body = Problem),
              (status = 503, description = "Redis cannot be asked", body = Problem))
)]
pub(super) async fn get_model(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<ModelView>, Problem> {
    check_name(&name)?;
    let found = app.live.lookups().model(&name).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("no model of this name is registered"))
}

/// A version's card.
#[utoipa::path(
    get, path = "/v1/models/{name}/{version}", operation_id = "get_model_version", tag = "models",
    params(("name" = String, Path, description = "Its name"), ("version" = u64, Path, description = "Its version")),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The card", body = ModelCardView),
              (status = 404, description = "There is no such version", body = Problem),
              (status = 503, description = "Redis cannot be asked", body = Problem))
)]
pub(super) async fn get_model_version(
    State(app): State<App>,
    Path((name, version)): Path<(String, u64)>,
) -> Result<Json<ModelCardView>, Problem> {
    check_name(&name)?;
    let found = app.live.lookups().model_card(&name, version).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("there is no such version, or its card cannot be read"))
}

/// A name that no model can have is none in the registry; it does not become a part of a key.
fn check_name(name: &str) -> Result<(), Problem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > bus::MODEL_NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        return Err(Problem::not_found("no model has such a name"));
    }
    Ok(())
}
