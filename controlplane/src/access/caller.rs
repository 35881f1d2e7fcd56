//! Who asks, and what they intend: made by the gate before a handler runs, taken by handlers as extractors.

use crate::access::Role;
use crate::api::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::net::{IpAddr, Ipv4Addr};

/// Longest reason, bytes: as long as one in `trading_state` may be.
pub const REASON_BYTES_MAX: usize = 256;
/// Longest idempotency key, bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's id.
    pub token_id: String,
    /// The token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where the request came from.
    pub address: IpAddr,
    /// When the token expires, ns since the epoch; never when none.
    pub expires_ns: Option<u64>,
}

/// What a change demands of the state that it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// No header was sent.
    #[default]
    None,
    /// `If-None-Match: *`: nothing is there yet.
    Absent,
    /// `If-Match: "7"`: this version is there.
    Version(u64),
}

/// What a caller intends to change: everything that the audit and the idempotency key need. An extractor for handlers
/// of operations that change something; those that only read take a [`Caller`] or nothing.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Who.
    pub caller: Caller,
    /// The operation's id in the OpenAPI description.
    pub action: String,
    /// `?reason=` or `Feedplane-Reason`.
    pub reason: Option<String>,
    /// `If-Match` or `If-None-Match`.
    pub precondition: Precondition,
    /// `?dry_run=true`: check, and change nothing.
    pub dry_run: bool,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// SHA-256 over method, path, query, preconditions and body: what "the same request" means for the key.
    pub fingerprint: [u8; 32],
}

impl Intent {
    /// What the control plane itself does, or takes over from `who` without a token: in the audit with the role `process`.
    pub fn internal(who: &str, action: &str) -> Intent {
        Intent {
            caller: Caller {
                token_id: String::new(),
                name: who.to_owned(),
                role: Role::Risk,
                address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                expires_ns: None,
            },
            action: action.to_owned(),
            reason: None,
            precondition: Precondition::None,
            dry_run: false,
            key: None,
            fingerprint: [0; 32],
        }
    }

    /// The reason given in the body, or else in query or header.
    ///
    /// # Errors
    /// 422 when there is none, or one that is too long.
    pub fn demand_reason(&mut self, in_body: Option<&str>) -> Result<String, Problem> {
        if let Some(reason) = in_body {
            self.reason = Some(check_reason(reason)?);
        }
        self.reason.clone().ok_or_else(|| {
            Problem::invalid("say why: `reason` in the body, `?reason=` or the header Feedplane-Reason")
        })
    }

    /// The version that must be there: `0` for none.
    ///
    /// # Errors
    /// 428 when the request does not say.
    pub fn demand_version(&self) -> Result<u64, Problem> {
        match self.precondition {
            Precondition::Version(version) => Ok(version),
            Precondition::Absent => Ok(0),
            Precondition::None => Err(Problem::precondition_required(
                "say which version you change: If-Match: \"<version>\", or If-None-Match: * for the first",
            )),
        }
    }
}

/// A reason that can be kept: 1 to [`REASON_BYTES_MAX`] bytes, no control characters.
///
/// # Errors
/// 422.
pub fn check_reason(reason: &str) -> Result<String, Problem> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        let message = format!("reason: use 1 to {REASON_BYTES_MAX} bytes of text on one line");
        return Err(Problem::invalid(message));
    }
    Ok(reason.to_owned())
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let found = parts.extensions.get::<Caller>().cloned();
        found.ok_or_else(|| Problem::internal("a handler wants a caller and its route has no gate"))
    }
}

impl<S: Sync> FromRequestParts<S> for Intent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Intent, Problem> {
        let found = parts.extensions.get::<Intent>().cloned();
        found.ok_or_else(|| Problem::internal("a handler wants an intent and its operation is a reading one"))
    }
}
