//! `/v1/trading`, `/v1/halt`, `/v1/reduce`, `/v1/resume`.

use crate::access::Intent;
use crate::api::{Answer, Problem, Stopped};
use crate::app::App;
use crate::live::TradingView;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use bus::TradingMode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// 1 to 256 bytes on one line, for those who will read it. May be in the query or the header Feedplane-Reason instead.
    #[schema(max_length = 256, min_length = 1)]
    pub reason: Option<String>,
}

/// A body that may be left out, where the reason is in the query or a header.
#[derive(Clone, Debug, Default)]
pub(super) struct MaybeReason(Option<String>);

impl<S: Send + Sync> FromRequest<S> for MaybeReason {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<MaybeReason, Problem> {
        if request.headers().contains_key(CONTENT_TYPE) {
            let crate::api::Body(Reason { reason }) = crate::api::Body::from_request(request, state).await?;
            return Ok(MaybeReason(reason));
        }
        let bytes = Bytes::from_request(request, state).await;
        match bytes {
            Ok(bytes) if bytes.is_empty() => Ok(MaybeReason(None)),
            _ => Err(Problem::new(axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json")),
        }
    }
}

/// The trading state, and who follows it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TradingNow {
    /// The state.
    #[serde(flatten)]
    pub state: TradingView,
    /// What each process that follows it says that it is in. A gateway says it for each of its sessions.
    pub followers: Vec<Follower>,
}

/// A process that follows the trading state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Follower {
    /// `strategy`, `gateway`.
    pub service: String,
    /// Its name among the processes of its service.
    pub member: String,
    /// `active`, `reducing`, `halted`: as its metrics said within the last seconds.
    pub mode: String,
}

/// What was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TradingAnswer {
    /// Counts every change: the `ETag`.
    pub revision: u64,
    /// `active`, `reducing`, `halted`.
    pub mode: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, ns since the epoch.
    pub since_ns: u64,
    /// Redis does not have it yet: it is said as soon as Redis is there. Until then gateways send nothing new in any case.
    pub pending: bool,
}

/// Whether there is trading, by whom and why.
#[utoipa::path(
    get, path = "/v1/trading", operation_id = "get_trading", tag = "trading",
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The trading state", body = TradingNow,
               headers(("ETag" = String, description = "The revision, for If-Match"))))
)]
pub(super) async fn get_trading(State(app): State<App>) -> Response {
    let state = app.live.trading().view();
    let followers = app.live.sampler().followers().into_iter();
    let followers = followers.map(|(service, member, mode)| Follower { service, member, mode }).collect();
    let etag = format!("\"{}\"", state.revision);
    ([(ETAG, etag)], axum::Json(TradingNow { state, followers })).into_response()
}

/// Stops trading: gateways cancel everything open and refuse all but cancels.
#[utoipa::path(
    post, path = "/v1/halt", operation_id = "halt", tag = "trading",
    extensions(("x-feedplane-role" = json!("operator"))),
    request_body(content = Option<Reason>, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored, and said to Redis", body = TradingAnswer),
        (status = 202, description = "Stored; said as soon as Redis is there", body = TradingAnswer),
    )
)]
pub(super) async fn halt(
    State(app): State<App>,
    mut intent: Intent,
    MaybeReason(reason): MaybeReason,
) -> Result<Answer, Stopped> {
    let reason = intent.demand_reason(reason.as_deref())?;
    app.live.trading().halt(&intent, reason).await
}

/// Lets only what lowers a position pass, and cancels. Where trading is halted this lifts the halt: it needs the role risk
/// and If-Match then.
#[utoipa::path(
    post, path = "/v1/reduce", operation_id = "reduce", tag = "trading",
    extensions(("x-feedplane-role" = json!("operator"))),
    request_body(content = Option<Reason>, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored, and said to Redis", body = TradingAnswer),
        (status = 412, description = "Somebody has set the state since it was looked at", body = Problem),
        (status = 428, description = "A halt is lifted only by who says which: If-Match", body = Problem),
    )
)]
pub(super) async fn reduce(
    State(app): State<App>,
    mut intent: Intent,
    MaybeReason(reason): MaybeReason,
) -> Result<Answer, Stopped> {
    let reason = intent.demand_reason(reason.as_deref())?;
    app.live.trading().loosen(&intent, TradingMode::Reducing, reason).await
}

/// Lets everything pass that passes the checks.
#[utoipa::path(
    post, path = "/v1/resume", operation_id = "resume", tag = "trading",
    extensions(("x-feedplane-role" = json!("risk"))),
    request_body(content = Option<Reason>, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored, and said to Redis", body = TradingAnswer),
        (status = 412, description = "Somebody has set the state since it was looked at", body = Problem),
        (status = 428, description = "Say which state you lift: If-Match", body = Problem),
    )
)]
pub(super) async fn resume(
    State(app): State<App>,
    mut intent: Intent,
    MaybeReason(reason): MaybeReason,
) -> Result<Answer, Stopped> {
    let reason = intent.demand_reason(reason.as_deref())?;
    app.live.trading().loosen(&intent, TradingMode::Active, reason).await
}
