//! Who is let in: tokens, roles and limits, checked before any handler runs.
//!
//! [`guard`] is around everything: limits by address, security headers, refused changes into the audit. [`gate`] is around
//! each operation of the API: which token, which role, which query parameters, how large a body. What an operation needs
//! is read from the served description ([`Operations`]) and nowhere else.

mod caller;
mod gate;
mod guard;
mod limits;
mod operations;
mod role;

pub use caller::{Caller, IDEMPOTENCY_KEY_BYTES_MAX, Intent, Precondition, REASON_BYTES_MAX, check_reason};
pub use gate::{BODY_BYTES_MAX, gate};
pub use guard::guard;
pub use operations::{Operation, Operations, OperationsError};
pub use role::Role;

use crate::api::Problem;
use crate::store::{Store, now_ns, secret_matches};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use bus::config::ControlplaneLimits;
use limits::Buckets;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Refused changes without a valid token that are entered in the audit: so many at once, then one in ten seconds; the
/// others are counted, and the next entry says how many. 9,000 a day at most, about 6 MiB.
const UNKNOWN_REFUSALS: (u64, u64) = (60, 10_000_000_000);
/// The same for each token: its owner is known, and is more than once refused when he tries things out.
const TOKEN_REFUSALS: (u64, u64) = (300, 1_000_000_000);

/// Tokens and limits. Cheap to copy.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    store: Store,
    by_token: Buckets<String>,
    by_address: Buckets<IpAddr>,
    wrong_tokens: Buckets<IpAddr>,
    unknown_refusals: Buckets<()>,
    token_refusals: Buckets<String>,
    uncounted: AtomicU64,
}

/// Whom a request comes from, as the server knows: an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Access {
    /// Tokens of this store, within these limits.
    pub fn new(store: Store, limits: &ControlplaneLimits) -> Access {
        let wrong = u64::from(limits.wrong_tokens_per_minute);
        Access(Arc::new(Shared {
            store,
            by_token: Buckets::a_second(limits.requests_per_second),
            by_address: Buckets::a_second(limits.address_requests_per_second),
            wrong_tokens: Buckets::new(wrong, 60_000_000_000 / wrong.max(1)),
            unknown_refusals: Buckets::new(UNKNOWN_REFUSALS.0, UNKNOWN_REFUSALS.1),
            token_refusals: Buckets::new(TOKEN_REFUSALS.0, TOKEN_REFUSALS.1),
            uncounted: AtomicU64::new(0),
        }))
    }

    /// Who this is, by the token in the headers.
    ///
    /// # Errors
    /// 401; 429 after too many of them from one address; 400 for headers that nobody means.
    async fn caller(&self, headers: &HeaderMap, address: IpAddr) -> Result<Caller, Problem> {
        let Some(text) = bearer(headers)? else {
            return Err(self.wrong_token(address, "send a token: Authorization: Bearer fp_…"));
        };
        let Some((id, secret)) = split(text) else {
            return Err(self.wrong_token(address, "this is no token; a token begins with fp_"));
        };
        let Some(token) = self.0.store.token(id).await? else {
            return Err(self.wrong_token(address, "there is no such token"));
        };
        if !secret_matches(&token, secret) {
            return Err(self.wrong_token(address, "there is no such token"));
        }
        if token.revoked_ns.is_some() {
            return Err(self.wrong_token(address, "the token is revoked; ask for another"));
        }
        if !token.is_good(now_ns()) {
            return Err(self.wrong_token(address, "the token has expired; ask for another"));
        }
        Ok(Caller {
            token_id: token.id,
            name: token.name,
            role: token.role,
            address,
            expires_ns: token.expires_ns,
        })
    }

    fn wrong_token(&self, address: IpAddr, detail: &str) -> Problem {
        metrics::counter!("feedplane_controlplane_wrong_tokens_total").increment(1);
        match self.0.wrong_tokens.take(network(address), now_ns()) {
            Ok(()) => Problem::unauthorized(detail),
            Err(wait_ns) => too_many("too many requests without a valid token from this address", wait_ns),
        }
    }

    /// Whether a caller that was let in still would be: for streams, which outlive their first moment. A store that does
    /// not answer leaves it as it was.
    pub async fn is_still_good(&self, caller: &Caller) -> bool {
        match self.0.store.token(&caller.token_id).await {
            Ok(token) => token.is_some_and(|token| token.is_good(now_ns())),
            Err(_) => true,
        }
    }

    fn take_address(&self, address: IpAddr) -> Result<(), Problem> {
        let taken = self.0.by_address.take(network(address), now_ns());
        taken.map_err(|wait_ns| too_many("too many requests from this address", wait_ns))
    }

    fn take_token(&self, caller: &Caller) -> Result<(), Problem> {
        let taken = self.0.by_token.take(caller.token_id.clone(), now_ns());
        taken.map_err(|wait_ns| too_many("too many requests with this token", wait_ns))
    }

    /// Whether a refusal is entered in the audit; `None` when it is only counted, else how many were before it.
    fn record_refusal(&self, token_id: Option<&str>) -> Option<u64> {
        let now_ns = now_ns();
        let taken = match token_id {
            Some(id) => self.0.token_refusals.take(id.to_owned(), now_ns),
            None => self.0.unknown_refusals.take((), now_ns),
        };
        if taken.is_ok() {
            return Some(self.0.uncounted.swap(0, Ordering::Relaxed));
        }
        self.0.uncounted.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("feedplane_controlplane_refusals_only_counted_total").increment(1);
        None
    }
}

fn too_many(detail: &str, wait_ns: u64) -> Problem {
    metrics::counter!("feedplane_controlplane_limited_requests_total").increment(1);
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
    Problem { retry_after_s: Some(wait_ns.div_ceil(1_000_000_000)), ..problem }
}

/// What limits count by: of IPv6 the network that one customer has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four => four,
    }
}

/// The token's text; none without the header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_request("the header Authorization is there twice"));
    }
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    Ok(text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim()))
}

/// `fp_<id>_<secret>`.
fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.strip_prefix("fp_")?.split_once('_')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (id.len() == 12 && secret.len() == 64 && plain(id) && plain(secret)).then_some((id, secret))
}
