//! `/v1/status`.

use crate::api::Problem;
use crate::app::App;
use crate::live::Status;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// One picture of everything, at most a second old: `time_ns` says when it was made.
#[utoipa::path(
    get, path = "/v1/status", operation_id = "get_status", tag = "status",
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The picture", body = Status),
              (status = 503, description = "None was made yet", body = Problem))
)]
pub(super) async fn get_status(State(app): State<App>) -> Result<Response, Problem> {
    let picture = app.live.sampler().picture();
    if picture.is_empty() {
        return Err(Problem::unavailable("the control plane has just been started; ask again"));
    }
    Ok(([(CONTENT_TYPE, "application/json")], picture).into_response())
}
