//! The gate of each operation: token, role, query, body, preconditions, idempotency key. A handler behind it finds a
//! [`Caller`] and, when the operation changes something, an [`Intent`].

use super::caller::check_reason;
use super::{Caller, IDEMPOTENCY_KEY_BYTES_MAX, Intent, Operation, Operations, Peer, Precondition};
use crate::api::Problem;
use crate::app::App;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Largest body, bytes: as large as a document may be.
pub const BODY_BYTES_MAX: usize = bus::config::DOCUMENT_BYTES_MAX;
/// Longest time in which a body arrives.
const BODY_WITHIN: Duration = Duration::from_secs(15);

const REASON: HeaderName = HeaderName::from_static("feedplane-reason");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Lets a request through to its handler, or answers why not.
pub async fn gate(app: App, operations: Arc<Operations>, request: Request, next: Next) -> Response {
    match admitted(&app, &operations, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn admitted(
    app: &App,
    operations: &Operations,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let template = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let template = template.unwrap_or_default();
    let Some(operation) = operations.find(parts.method.as_str(), &template) else {
        // Its method router answers that the method is not allowed; what is not described is not reached.
        let message = format!("there is no {} {}", parts.method, parts.uri.path());
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, message));
    };
    let address = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    let Some(least) = operation.role else {
        known_query(operation, &parts)?;
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let caller = app.access.caller(&parts.headers, address).await?;
    let as_caller = caller.clone();
    let response = async {
        app.access.take_token(&caller)?;
        let needed = match operation.by_service.is_empty() {
            true => least,
            false => needed_role(operation, least, &mut parts).await?,
        };
        if caller.role < needed {
            let message =
                format!("this needs the role {needed}; the token {:?} is {}", caller.name, caller.role);
            return Err(Problem::forbidden(message));
        }
        known_query(operation, &parts)?;
        parts.extensions.insert(caller.clone());
        if matches!(parts.method, Method::GET | Method::HEAD) {
            return Ok(next.run(Request::from_parts(parts, Body::empty())).await);
        }
        changed(operation, caller, parts, body, next).await
    };
    // The guard enters refusals with their caller.
    let mut response = response.await.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(as_caller);
    response.extensions_mut().insert(OperationId(operation.id.clone()));
    Ok(response)
}

/// The operation that answered, for the guard.
#[derive(Clone)]
pub(super) struct OperationId(pub(super) String);

/// The role for the service that the path names, decoded as the handler will see it.
async fn needed_role(
    operation: &Operation,
    least: super::Role,
    parts: &mut Parts,
) -> Result<super::Role, Problem> {
    let read = RawPathParams::from_request_parts(parts, &()).await;
    let params = read.map_err(|_| Problem::not_found("the path is no UTF-8"))?;
    let named = params.iter().find(|(name, _)| *name == "service").map(|(_, value)| value);
    Ok(named.and_then(|service| operation.by_service.get(service).copied()).unwrap_or(least))
}

/// A parameter that is not described, or longer than it says, is refused: `?dryrun=true` must not change anything.
fn known_query(operation: &Operation, parts: &Parts) -> Result<(), Problem> {
    for (name, value) in pairs(parts)? {
        let Some(length_max) = operation.query.get(&name) else {
            let known = operation.query.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(Problem::bad_request(format!("the query has {name:?}; known here: {known}")));
        };
        let length = value.chars().count();
        if length > *length_max {
            let message = format!("{name} has {length} characters; at most {length_max}");
            return Err(Problem::bad_request(message));
        }
    }
    Ok(())
}

/// The query's parameters, decoded; each once.
fn pairs(parts: &Parts) -> Result<Vec<(String, String)>, Problem> {
    let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let pairs = read.map_err(|error| Problem::bad_request(error.body_text()))?.0;
    let mut seen = std::collections::BTreeSet::new();
    if let Some((twice, _)) = pairs.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        return Err(Problem::bad_request(format!("the query has {twice:?} twice")));
    }
    Ok(pairs)
}

/// Runs the handler of a change to its end, whether or not the caller waits for it.
async fn changed(
    operation: &Operation,
    caller: Caller,
    mut parts: Parts,
    body: Body,
    next: Next,
) -> Result<Response, Problem> {
    let bytes = whole(body).await?;
    if !operation.has_body && !bytes.is_empty() {
        return Err(Problem::bad_request("this operation takes no body; send none"));
    }
    let intent = intent(operation, caller, &parts, &bytes)?;
    parts.extensions.insert(intent);
    let request = Request::from_parts(parts, Body::from(bytes));
    let run = tokio::spawn(async move { next.run(request).await });
    let response = run.await.map_err(|error| Problem::internal(format!("a handler died: {error}")))?;
    Ok(response)
}

/// The body, bounded in size and time.
async fn whole(body: Body) -> Result<Bytes, Problem> {
    let collected = tokio::time::timeout(BODY_WITHIN, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match collected {
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 15 s")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {BODY_BYTES_MAX} bytes"),
        )),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body did not arrive whole: {error}"))),
    }
}

fn intent(operation: &Operation, caller: Caller, parts: &Parts, body: &[u8]) -> Result<Intent, Problem> {
    let pairs = pairs(parts)?;
    let of_query = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let dry_run = match of_query("dry_run") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(Problem::bad_request(format!("dry_run is {other:?}; say true or false")));
        }
    };
    let in_header = header(&parts.headers, &REASON)?.map(check_reason).transpose()?;
    let reason = of_query("reason").map(check_reason).transpose()?.or(in_header);
    let key = header(&parts.headers, &IDEMPOTENCY_KEY)?;
    if key.is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        let message = format!("Idempotency-Key: use 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
        return Err(Problem::bad_request(message));
    }
    let precondition = precondition(&parts.headers)?;
    let mut hash = Sha256::new();
    for piece in [
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        parts.uri.query().unwrap_or_default().as_bytes(),
        format!("{precondition:?}").as_bytes(),
        body,
    ] {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
    Ok(Intent {
        caller,
        action: operation.id.clone(),
        reason,
        precondition,
        dry_run,
        key: key.map(str::to_owned),
        fingerprint: hash.finalize().into(),
    })
}

/// A header that may be there once, as text.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_request(format!("the header {name} is there twice")));
    }
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some).map_err(|_| Problem::bad_request(format!("the header {name} is no UTF-8")))
}

fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    match (header(headers, &IF_MATCH)?, header(headers, &IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (Some(etag), None) => {
            // Without quotes, too: some clients take them off.
            let etag = etag.trim();
            let bare = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag);
            let digits = Some(bare).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let version = digits.and_then(|digits| digits.parse().ok());
            version.map(Precondition::Version).ok_or_else(|| {
                Problem::bad_request("If-Match: send one version as its ETag was, If-Match: \"7\"")
            })
        }
        (None, Some(star)) if star.trim() == "*" => Ok(Precondition::Absent),
        (None, Some(_)) => Err(Problem::bad_request("If-None-Match: only * is understood with a change")),
        (Some(_), Some(_)) => {
            // No state can be both a version and none (RFC 9110, 13.2.2).
            let message = "If-Match and If-None-Match cannot both hold; send one of them";
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, message))
        }
    }
}
