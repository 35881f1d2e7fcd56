//! Tokens, who one is, and the audit.

use crate::access::{Caller, Intent, Role};
use crate::api::{Answer, Body, Page, PageQuery, Path, Problem, Query, Stopped, cursor, limit};
use crate::app::App;
use crate::store::{AuditEntry, AuditQuery, Chain, Done, Token};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Longest name of a token, bytes: it is `by` of what it does.
const NAME_BYTES_MAX: usize = 64;
/// How long a token is good when nothing is said, s: 90 days.
const EXPIRES_IN_S: u64 = 90 * 86_400;
/// At most, s: a year.
const EXPIRES_IN_S_MAX: u64 = 366 * 86_400;
const NS_PER_S: u64 = 1_000_000_000;

/// The routes.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(whoami))
        .routes(routes!(list_tokens, make_token))
        .routes(routes!(revoke_token))
        .routes(routes!(get_audit))
}

/// Whose token asks.
#[derive(Serialize, ToSchema)]
struct WhoAmI {
    /// The token's name.
    name: String,
    /// What it may do.
    role: Role,
    /// The token's id.
    token_id: String,
    /// When it expires, ns since the epoch; never when null.
    #[schema(required)]
    expires_ns: Option<u64>,
}

/// A token that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenWanted {
    /// Whose it is, or what it is for: letters, digits, `-`, `_`, `.`, `@`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    name: String,
    /// What it may do.
    role: Role,
    /// How long it is good, s: 60 to a year. 90 days when left out.
    #[schema(minimum = 60, maximum = 31622400)]
    expires_in_s: Option<u64>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "the description of an answer")]
struct TokenMade {
    #[serde(flatten)]
    made: Token,
    /// `fp_<id>_<secret>`. It is shown this once; null when the answer is given again for its idempotency key.
    #[schema(required)]
    token: Option<String>,
}

/// Which entries of the audit.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditParams {
    /// Only of this token name.
    who: Option<String>,
    /// Only of this operation.
    action: Option<String>,
    /// Only from this time on, ns since the epoch.
    since_ns: Option<u64>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Entries, and whether they are as they were written.
#[derive(Serialize, ToSchema)]
struct AuditPage {
    /// The entries, newest first.
    items: Vec<AuditEntry>,
    /// What `cursor` is to be for the next page; null when this is the last one.
    #[schema(required)]
    next_cursor: Option<String>,
    /// How far the chain was verified at the start of this control plane.
    chain: Chain,
}

/// Whose token asks.
#[utoipa::path(get, path = "/v1/whoami", operation_id = "whoami", tag = "access",
    responses((status = 200, body = WhoAmI)), extensions(("x-feedplane-role" = json!("viewer"))))]
async fn whoami(caller: Caller) -> Json<WhoAmI> {
    let Caller { token_id, name, role, expires_ns, .. } = caller;
    Json(WhoAmI { name, role, token_id, expires_ns })
}

/// Tokens that let in, and those that did until 30 days ago; never their secrets.
#[utoipa::path(get, path = "/v1/tokens", operation_id = "list_tokens", tag = "access", params(PageQuery),
    responses((status = 200, body = Page<Token>)), extensions(("x-feedplane-role" = json!("risk"))))]
async fn list_tokens(
    State(app): State<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Token>>, Problem> {
    let limit = query.limit()?;
    let after: String = query.cursor()?.unwrap_or_default();
    let tokens = app.store.tokens(&after, limit + 1).await?;
    Ok(Json(Page::cut(tokens, limit, |token| token.id.clone())))
}

/// Makes a token. Its secret is in this answer, and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", operation_id = "make_token", tag = "access", request_body = TokenWanted,
    responses((status = 201, body = TokenMade), (status = 409)), extensions(("x-feedplane-role" = json!("risk"))))]
async fn make_token(
    State(app): State<App>,
    intent: Intent,
    Body(wanted): Body<TokenWanted>,
) -> Result<Answer, Stopped> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if wanted.name.is_empty() || wanted.name.len() > NAME_BYTES_MAX || !wanted.name.bytes().all(known) {
        let message = format!("name: use 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.` or `@`");
        return Err(Problem::invalid(message).into());
    }
    let expires_in_s = wanted.expires_in_s.unwrap_or(EXPIRES_IN_S);
    if !(60..=EXPIRES_IN_S_MAX).contains(&expires_in_s) {
        let message = format!("expires_in_s: is {expires_in_s}; choose 60 to {EXPIRES_IN_S_MAX} (a year)");
        return Err(Problem::invalid(message).into());
    }
    let mut change = app.store.begin(&intent).await?;
    let expires_ns = change.time_ns + expires_in_s * NS_PER_S;
    let made = change.add_token(&wanted.name, wanted.role, &intent.caller.name, Some(expires_ns)).await?;
    let mut body = serde_json::to_value(&made.token).map_err(Problem::internal)?;
    let after = body.clone();
    body["token"] = Value::Null;
    let location = Some(format!("/v1/tokens/{}", made.token.id));
    let kept = Answer { status: StatusCode::CREATED, body: body.clone(), version: None, location };
    body["token"] = json!(made.text);
    let answer = Answer { body, ..kept.clone() };
    let target = format!("token {}", made.token.id);
    change.commit(Done { target, before: Value::Null, after, answer, kept: Some(kept) }).await
}

/// Revokes a token, at once.
#[utoipa::path(delete, path = "/v1/tokens/{id}", operation_id = "revoke_token", tag = "access",
    params(("id" = String, Path, description = "The token's id.")),
    responses((status = 200, body = Token), (status = 409)), extensions(("x-feedplane-role" = json!("risk"))))]
async fn revoke_token(
    State(app): State<App>,
    Path(id): Path<String>,
    intent: Intent,
) -> Result<Answer, Stopped> {
    let mut change = app.store.begin(&intent).await?;
    let Some(token) = change.revoke_token(&id).await? else {
        return Err(Problem::not_found("there is no such token, or it is revoked or has expired").into());
    };
    if token.role == Role::Risk && !change.has_risk_token().await? {
        let message = "it is the last token of the role risk; make another one first";
        return Err(Problem::conflict(message).into());
    }
    let revoked = Token { revoked_ns: Some(change.time_ns), ..token.clone() };
    let written = |token: &Token| serde_json::to_value(token).map_err(Problem::internal);
    let (before, after) = (written(&token)?, written(&revoked)?);
    let answer = Answer::ok(after.clone());
    change.commit(Done { target: format!("token {id}"), before, after, answer, kept: None }).await
}

/// Who did what, newest first.
#[utoipa::path(get, path = "/v1/audit", operation_id = "get_audit", tag = "access", params(AuditParams),
    responses((status = 200, body = AuditPage)), extensions(("x-feedplane-role" = json!("viewer"))))]
async fn get_audit(
    State(app): State<App>,
    Query(params): Query<AuditParams>,
) -> Result<Json<AuditPage>, Problem> {
    let limit = limit(params.limit)?;
    let query = AuditQuery {
        who: params.who,
        action: params.action,
        since_ns: params.since_ns,
        before_seq: cursor(params.cursor.as_deref())?,
        limit: limit + 1,
    };
    let page = Page::cut(app.store.audit(&query).await?, limit, |entry| entry.seq.to_string());
    Ok(Json(AuditPage { items: page.items, next_cursor: page.next_cursor, chain: app.store.chain() }))
}
