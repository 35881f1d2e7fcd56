//! What a change answers, in a form that can be kept for its idempotency key, and what stops it.

use crate::api::Problem;
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// An answer to a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// 200, 201 …
    pub status: StatusCode,
    /// JSON; nothing is sent when it is null.
    pub body: Value,
    /// The version, for `ETag`.
    pub version: Option<u64>,
    /// Where what was made is found.
    pub location: Option<String>,
}

/// Why a change ends before it is made.
#[derive(Debug)]
pub enum Stopped {
    /// It is refused.
    Refused(Box<Problem>),
    /// The same request was answered before: with this.
    Answered(Box<Answer>),
}

impl Answer {
    /// 200 with this body.
    pub fn ok(body: Value) -> Answer {
        Answer { status: StatusCode::OK, body, version: None, location: None }
    }

    /// With the `ETag` of this version.
    #[must_use]
    pub fn with_version(self, version: u64) -> Answer {
        Answer { version: Some(version), ..self }
    }
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Stopped {
        Stopped::Refused(Box::new(problem))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        let mut insert = |name, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        };
        if let Some(version) = self.version {
            insert(ETAG, format!("\"{version}\""));
        }
        if let Some(location) = self.location {
            insert(LOCATION, location);
        }
        if self.body.is_null() {
            return (self.status, headers).into_response();
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (self.status, headers, serde_json::to_vec(&self.body).unwrap_or_default()).into_response()
    }
}

impl IntoResponse for Stopped {
    fn into_response(self) -> Response {
        match self {
            Stopped::Refused(problem) => problem.into_response(),
            Stopped::Answered(answer) => answer.into_response(),
        }
    }
}
