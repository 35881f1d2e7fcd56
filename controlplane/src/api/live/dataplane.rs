//! `/v1/nics` and `/v1/clock`: asked of the data plane over its socket.

use crate::access::Intent;
use crate::api::{Answer, Path, Problem, Stopped};
use crate::app::App;
use crate::link::{Client, LinkError};
use crate::store::Done;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bus::link::{FaultCode, Nic};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The interfaces of all workers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NicList {
    /// Each with `interface`, `worker`, `driver`, `receive_queues`, `attached`, `sockets`, `capabilities`, `counters` …: as
    /// `bus::link::Nic` has it.
    pub items: Vec<Value>,
    /// There are no more.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Each hardware clock, as the data plane reads it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClockList {
    /// Now at the data plane, ns since the epoch.
    pub time_ns: u64,
    /// The kernel says that UTC is disciplined.
    pub utc_in_sync: bool,
    /// TAI − UTC in the kernel, ns; 0 where nobody told it.
    pub tai_minus_utc_ns: i64,
    /// One for each line of each worker: `worker`, `line`, `interface`, `path`, `minus_utc_ns`, `window_ns`, `source`, `age_ms`.
    pub items: Vec<Value>,
}

/// The interfaces of all workers: driver, queues, mode in force, capabilities, counters.
#[utoipa::path(
    get, path = "/v1/nics", operation_id = "list_nics", tag = "dataplane",
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The interfaces", body = NicList),
              (status = 503, description = "No data plane answers", body = Problem))
)]
pub(super) async fn list_nics(State(app): State<App>) -> Result<Json<NicList>, Problem> {
    let nics = client(&app)?.nics().await?;
    Ok(Json(NicList { items: nics.iter().map(shown).collect(), next_cursor: None }))
}

/// One interface.
#[utoipa::path(
    get, path = "/v1/nics/{name}", operation_id = "get_nic", tag = "dataplane",
    params(("name" = String, Path, description = "The interface")),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The interface", body = Value),
              (status = 404, description = "No worker has it", body = Problem),
              (status = 503, description = "No data plane answers", body = Problem))
)]
pub(super) async fn get_nic(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let nics = client(&app)?.nics().await?;
    let found = nics.iter().find(|nic| nic.interface == name).map(shown);
    found.map(Json).ok_or_else(|| Problem::not_found("no worker of the data plane has this interface"))
}

/// Puts the interface's steering program to work again.
#[utoipa::path(
    post, path = "/v1/nics/{name}/attach", operation_id = "attach_nic", tag = "dataplane",
    params(("name" = String, Path, description = "The interface")),
    extensions(("x-feedplane-role" = json!("operator"))),
    responses((status = 200, description = "The interface as it is then", body = Value),
              (status = 404, description = "No worker has it", body = Problem),
              (status = 409, description = "The kernel or a worker refused", body = Problem),
              (status = 503, description = "No data plane answers", body = Problem))
)]
pub(super) async fn attach_nic(
    State(app): State<App>,
    intent: Intent,
    Path(name): Path<String>,
) -> Result<Answer, Stopped> {
    check_interface(&name)?;
    let client = client(&app)?.clone();
    let target = format!("nic {name}");
    change(&app, &intent, target, async move { Ok(shown(&client.attach(&name).await?)) }).await
}

/// Takes the interface's steering program off: its packets go to the kernel, the feeds on it stop.
#[utoipa::path(
    post, path = "/v1/nics/{name}/detach", operation_id = "detach_nic", tag = "dataplane",
    params(("name" = String, Path, description = "The interface")),
    extensions(("x-feedplane-role" = json!("operator"))),
    responses((status = 200, description = "The interface as it is then", body = Value),
              (status = 404, description = "No worker has it", body = Problem),
              (status = 409, description = "The kernel or a worker refused", body = Problem),
              (status = 503, description = "No data plane answers", body = Problem))
)]
pub(super) async fn detach_nic(
    State(app): State<App>,
    intent: Intent,
    Path(name): Path<String>,
) -> Result<Answer, Stopped> {
    check_interface(&name)?;
    let client = client(&app)?.clone();
    let target = format!("nic {name}");
    change(&app, &intent, target, async move { Ok(shown(&client.detach(&name).await?)) }).await
}

/// Loads all steering programs anew and puts them in the place of those that run, without losing a packet.
#[utoipa::path(
    post, path = "/v1/nics/replace-programs", operation_id = "replace_programs", tag = "dataplane",
    extensions(("x-feedplane-role" = json!("operator"))),
    responses((status = 200, description = "How many were loaded", body = Value),
              (status = 409, description = "The kernel or a worker refused", body = Problem),
              (status = 503, description = "No data plane answers", body = Problem))
)]
pub(super) async fn replace_programs(State(app): State<App>, intent: Intent) -> Result<Answer, Stopped> {
    let client = client(&app)?.clone();
    let work = async move { Ok(json!({"programs": client.replace_programs().await?.programs})) };
    change(&app, &intent, "nics".to_owned(), work).await
}

/// Each hardware clock: path, offset and quality.
#[utoipa::path(
    get, path = "/v1/clock", operation_id = "get_clock", tag = "dataplane",
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The clocks", body = ClockList),
              (status = 503, description = "No data plane answers", body = Problem))
)]
pub(super) async fn get_clock(State(app): State<App>) -> Result<Json<ClockList>, Problem> {
    let clocks = client(&app)?.clock().await?;
    Ok(Json(ClockList {
        time_ns: clocks.time_ns,
        utc_in_sync: clocks.utc_in_sync,
        tai_minus_utc_ns: clocks.tai_minus_utc_ns,
        items: clocks.clocks.iter().map(|clock| serde_json::to_value(clock).unwrap_or_default()).collect(),
    }))
}

fn client(app: &App) -> Result<&Client, Problem> {
    app.live.dataplane().ok_or_else(|| {
        Problem::unavailable(
            "no data plane is spoken to; name its socket as `dataplane` in controlplane.yaml",
        )
    })
}

fn shown(nic: &Nic) -> Value {
    // Strings and numbers under string keys: nothing in it can fail to serialise.
    serde_json::to_value(nic).unwrap_or_default()
}

/// A name that Linux would take; no other reaches the data plane.
fn check_interface(name: &str) -> Result<(), Problem> {
    let bytes_max = bus::link::INTERFACE_NAME_BYTES_MAX;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    if name.is_empty() || name.len() > bytes_max || !name.bytes().all(is_plain) {
        return Err(Problem::not_found("no interface has such a name"));
    }
    Ok(())
}

/// Has the data plane do it, and enters it in the audit. What was done there is done, whether or not it can be entered: both
/// may be said again.
async fn change(
    app: &App,
    intent: &Intent,
    target: String,
    work: impl Future<Output = Result<Value, LinkError>>,
) -> Result<Answer, Stopped> {
    let after = work.await.map_err(Problem::from)?;
    let change = app.store.begin(intent).await?;
    let answer = Answer::ok(after.clone());
    change.commit(Done { target, before: Value::Null, after, answer, kept: None }).await
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Problem {
        let LinkError::Refused(fault) = &error else { return Problem::unavailable(error.to_string()) };
        let status = match fault.code {
            FaultCode::NoInterface => StatusCode::NOT_FOUND,
            FaultCode::Busy => return Problem::unavailable(error.to_string()),
            _ => StatusCode::CONFLICT,
        };
        Problem::new(status, error.to_string())
    }
}
