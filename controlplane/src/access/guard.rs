//! Around everything that is served: limits by address, headers that make a browser careful, refused changes into the
//! audit, counts.

use super::gate::OperationId;
use super::{Caller, Peer};
use crate::api::Problem;
use crate::app::App;
use crate::store::Refusal;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv4Addr};

/// For answers of the API, which are no pages. The console's pages bring their own.
const CONTENT_POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Longest path that is quoted in the audit, bytes.
const TARGET_BYTES_MAX: usize = 256;
/// Longest explanation that is quoted in the audit, bytes.
const WHY_BYTES_MAX: usize = 512;

/// Answers a request within its address's limits.
pub async fn guard(app: App, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match app.access.take_address(address) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let status = response.status();
    let class = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status.as_u16() / 100).clamp(1, 5) - 1];
    metrics::counter!("feedplane_controlplane_requests_total", "status" => class).increment(1);
    let reads = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    let failed = status.is_client_error() || status.is_server_error();
    if !reads
        && failed
        && let Some(refusal) = refusal(&app, &response, &method, &path, address)
        && let Err(error) = app.store.refused(refusal).await
    {
        tracing::warn!(%error, %address, "a refused change is not in the audit");
    }
    secure(&app, &mut response);
    response
}

/// The refusal of a change as the audit has it; none when it is only counted.
fn refusal(app: &App, response: &Response, method: &Method, path: &str, address: IpAddr) -> Option<Refusal> {
    let caller = response.extensions().get::<Caller>();
    let uncounted = app.access.record_refusal(caller.map(|caller| caller.token_id.as_str()))?;
    let operation = response.extensions().get::<OperationId>();
    let problem = response.extensions().get::<Problem>();
    Some(Refusal {
        who: caller.map(|caller| (caller.name.clone(), caller.role.word().to_owned())),
        address: address.to_string(),
        action: operation.map_or_else(|| cut(method.as_str(), 32), |operation| operation.0.clone()),
        target: cut(path, TARGET_BYTES_MAX),
        status: response.status().as_u16(),
        why: problem.map(|problem| cut(&why(problem), WHY_BYTES_MAX)).unwrap_or_default(),
        uncounted,
    })
}

fn why(problem: &Problem) -> String {
    let fields = problem.errors.iter().take(3).map(|error| format!("{}: {}", error.path, error.message));
    std::iter::once(problem.detail.clone()).chain(fields).collect::<Vec<_>>().join("; ")
}

fn cut(text: &str, bytes_max: usize) -> String {
    let text = text.replace(char::is_control, "?");
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

fn secure(app: &App, response: &mut Response) {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(CONTENT_SECURITY_POLICY, CONTENT_POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    set(CACHE_CONTROL, "no-store");
    if app.document.tls.is_some() {
        set(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}
