//! Whether the control plane lives, and can do its work.

use crate::api::Problem;
use crate::app::App;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(healthz)).routes(routes!(readyz))
}

/// It lives.
#[derive(Serialize, ToSchema)]
struct Alive {
    /// True.
    alive: bool,
}

/// It can do its work.
#[derive(Serialize, ToSchema)]
struct Ready {
    /// True.
    ready: bool,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "health",
    responses((status = 200, body = Alive)), extensions(("x-feedplane-role" = json!("none"))))]
async fn healthz() -> Json<Alive> {
    Json(Alive { alive: true })
}

/// Whether it can take changes: the store answers. Redis may be gone: a halt is kept until it is there again.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "health",
    responses((status = 200, body = Ready), (status = 503)), extensions(("x-feedplane-role" = json!("none"))))]
async fn readyz(State(app): State<App>) -> Result<Json<Ready>, Problem> {
    match app.store.size().await {
        Ok(_) => Ok(Json(Ready { ready: true })),
        Err(_) => Err(Problem::unavailable("the store does not answer")),
    }
}
