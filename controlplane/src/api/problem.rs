//! Every error of the API: `application/problem+json` (RFC 9457), with the field's path where a field is at fault.

use axum::http::header::{CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most problems that one answer lists: a hostile document can have a million.
pub const PROBLEM_ERRORS_MAX: usize = 100;
/// Longest detail or message, bytes. They can quote what was sent.
const TEXT_BYTES_MAX: usize = 2_048;

/// Why a request was refused (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, and what to do about it.
    pub detail: String,
    /// Each field that is at fault, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldProblem>,
    /// With 412: the version that is there now; 0 when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u64>,
    /// Seconds until it may be asked again (429, 503).
    #[serde(skip)]
    #[schema(ignore)]
    pub retry_after_s: Option<u64>,
}

/// One field that is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// The document, when the request has several or another one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The field, as `strategies[2].rules`.
    pub path: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Problem {
    /// A problem with this status; `detail` says what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: cut(detail.into()),
            errors: Vec::new(),
            current_version: None,
            retry_after_s: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401.
    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// 412, with the version that is there now.
    pub fn stale(detail: impl Into<String>, current_version: u64) -> Problem {
        let problem = Problem::new(StatusCode::PRECONDITION_FAILED, detail);
        Problem { current_version: Some(current_version), ..problem }
    }

    /// 422: understood, and cannot be meant.
    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 428.
    pub fn precondition_required(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PRECONDITION_REQUIRED, detail)
    }

    /// 503: something that the request needs is not there now.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem { retry_after_s: Some(1), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// 500, and an entry in the log: the caller does not learn more than that.
    pub fn internal(error: impl std::fmt::Display) -> Problem {
        tracing::error!("a request failed: {error:#}");
        metrics::counter!("feedplane_controlplane_internal_errors_total").increment(1);
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the control plane failed; its log says why")
    }

    /// With the fields that are at fault; those beyond [`PROBLEM_ERRORS_MAX`] are left out.
    #[must_use]
    pub fn with_errors(mut self, errors: impl IntoIterator<Item = FieldProblem>) -> Problem {
        let room = PROBLEM_ERRORS_MAX.saturating_sub(self.errors.len());
        let errors = errors.into_iter().take(room).map(|error| FieldProblem {
            path: cut(error.path),
            message: cut(error.message),
            ..error
        });
        self.errors.extend(errors);
        self
    }
}

impl FieldProblem {
    /// A field's problem in the document that the request is about.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> FieldProblem {
        FieldProblem { service: None, path: path.into(), message: message.into() }
    }
}

impl From<bus::config::Problem> for FieldProblem {
    fn from(problem: bus::config::Problem) -> FieldProblem {
        FieldProblem::new(problem.path, problem.message)
    }
}

/// The text, cut to [`TEXT_BYTES_MAX`] at a character.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"feedplane\""));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(version) = self.current_version
            && let Ok(etag) = HeaderValue::from_str(&format!("\"{version}\""))
        {
            headers.insert(ETAG, etag);
        }
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, headers, body).into_response();
        // For the middleware, which enters refusals of changes in the audit.
        response.extensions_mut().insert(self);
        response
    }
}
