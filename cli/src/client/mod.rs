//! Speaking to the control plane's API (`docs/controlplane.md`): where it is, who we are, and what its answers mean.
//!
//! Whatever comes back is foreign input: bounded in size and time, and an answer that is none of the contract's is an
//! error that says so. A failure knows the exit code by which a script tells it from others.

mod events;
mod failure;
mod find;
mod tls;

pub(crate) use events::{Event, Events};
pub(crate) use failure::{Failure, Why};
pub(crate) use find::{Api, Found, RUN_FOLDER, UP_DOCUMENT};

use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

/// Longest wait for a connection, and for each part of an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Largest answer, bytes: a page of a thousand documents' parts is below a tenth of it.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// Largest header of an answer, bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// On which version of what is there a change is based.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// On none: a new thing, or one that has no versions.
    Nothing,
    /// There must be none yet.
    Absent,
    /// On this version.
    Version(u64),
    /// On what an answer called by this ETag.
    Tag(String),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) etag: Option<String>,
    pub(crate) body: Value,
}

/// A change to be asked for.
pub(crate) struct Change<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<&'a Value>,
    pub(crate) base: Base,
}

/// A control plane.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of what was found; nothing is sent yet.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub(crate) fn new(found: &Found) -> Result<Client, Failure> {
        Client::answered_within(found, ANSWER_WITHIN)
    }

    /// One that gives up after this time.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub(crate) fn answered_within(found: &Found, within: Duration) -> Result<Client, Failure> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The token is for this server, and no other: neither by a redirect nor by a proxy.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("feedplane/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_response_header_size(HEADER_BYTES_MAX)
            .tls_config(tls::config(&found.tls)?)
            .timeout_resolve(Some(within))
            .timeout_connect(Some(within))
            .timeout_per_read(Some(within))
            .timeout_per_write(Some(within))
            .timeout_recv_response(Some(within))
            .build();
        Ok(Client { agent: config.into(), base: found.base.clone(), token: found.token.clone() })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.base
    }

    /// What is at a path.
    ///
    /// # Errors
    /// Not reached, or what it refuses.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let request = self.request("GET", path, query).header("accept", "application/json");
        self.ask(request.body(Vec::new()), path)
    }

    /// What is at a path, or nothing when there is no such thing.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) fn find(&self, path: &str) -> Result<Option<Answer>, Failure> {
        match self.get(path, &[]) {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Every item of a list, page by page where it is `paged`.
    ///
    /// # Errors
    /// As [`Client::get`]; pages that do not end; an answer that is no list is its only item.
    pub(crate) fn list(
        &self,
        path: &str,
        query: &[(&str, &str)],
        paged: bool,
        most: usize,
    ) -> Result<Value, Failure> {
        let limit = most.clamp(1, PAGE_ITEMS).to_string();
        let mut all: Option<Value> = None;
        let mut cursor: Option<String> = None;
        loop {
            let mut with: Vec<(&str, &str)> = query.to_vec();
            with.extend(paged.then_some(("limit", limit.as_str())));
            with.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = self.get(path, &with)?.body;
            if !page["items"].is_array() {
                return Ok(page);
            }
            let next = page["next_cursor"].as_str().map(str::to_owned);
            let whole = match &mut all {
                None => all.insert(page),
                Some(whole) => {
                    if let (Some(to), Value::Array(from)) = (whole["items"].as_array_mut(), &page["items"]) {
                        to.extend(from.iter().cloned());
                    }
                    whole
                }
            };
            let items = whole["items"].as_array_mut().ok_or_else(|| Failure::shape(path, "items"))?;
            items.truncate(most);
            let full = items.len() >= most;
            if full || next.is_none() {
                whole["next_cursor"] = next.into();
                return Ok(all.unwrap_or_default());
            }
            if next == cursor {
                return Err(Failure::shape(path, "next_cursor, which does not move"));
            }
            cursor = next;
        }
    }

    /// Asks for a change, under a key of its own: should the answer be lost on its way, it is asked for once more, and done
    /// once.
    ///
    /// # Errors
    /// Not reached, what it refuses, or that it is not known whether it was done.
    pub(crate) fn change(&self, change: &Change<'_>) -> Result<Answer, Failure> {
        let key = idempotency_key()?;
        match self.ask_for(change, &key) {
            Err(failure) if failure.is_in_doubt() => self.ask_for(change, &key),
            answered => answered,
        }
    }

    /// Asks for a change, once.
    ///
    /// # Errors
    /// As [`Client::change`].
    pub(crate) fn change_once(&self, change: &Change<'_>) -> Result<Answer, Failure> {
        self.ask_for(change, &idempotency_key()?)
    }

    fn ask_for(&self, change: &Change<'_>, key: &str) -> Result<Answer, Failure> {
        let mut request = self
            .request(change.method, change.path, change.query)
            .header("accept", "application/json")
            .header("idempotency-key", key);
        let body = change.body.map(|body| body.to_string().into_bytes());
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        request = match &change.base {
            Base::Nothing => request,
            Base::Absent => request.header("if-none-match", "*"),
            Base::Version(version) => request.header("if-match", format!("\"{version}\"")),
            Base::Tag(tag) => request.header("if-match", tag),
        };
        self.ask(request.body(body.unwrap_or_default()), change.path)
    }

    /// The stream of events on these topics.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) fn events(&self, topics: &str) -> Result<Events, Failure> {
        let path = "/v1/events";
        let request = self.request("GET", path, &[("topics", topics)]).header("accept", "text/event-stream");
        let response = self.run(request.body(Vec::new()))?;
        if response.status() != 200 {
            return Err(self.failed(path, response));
        }
        if !content_type(&response).starts_with("text/event-stream") {
            return Err(Failure::shape(path, "text/event-stream"));
        }
        Ok(Events::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> ureq::http::request::Builder {
        let mut uri = format!("{}{path}", self.base);
        for (at, (name, value)) in query.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            // Writing into memory cannot fail.
            let _ = write!(uri, "{mark}{name}={}", escaped(value));
        }
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request
    }

    fn run(&self, request: ureq::http::Result<Request<Vec<u8>>>) -> Result<Response<Body>, Failure> {
        let request =
            request.map_err(|error| Failure::other(format!("a request cannot be made: {error}")))?;
        self.agent.run(request).map_err(|error| Failure::of_transport(&self.base, &error))
    }

    fn ask(&self, request: ureq::http::Result<Request<Vec<u8>>>, path: &str) -> Result<Answer, Failure> {
        let mut response = self.run(request)?;
        if !response.status().is_success() {
            return Err(self.failed(path, response));
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = header("etag").map(str::to_owned);
        let kind = content_type(&response).to_owned();
        let bytes = self.body(&mut response)?;
        if bytes.is_empty() {
            return Ok(Answer { etag, body: Value::Null });
        }
        if !is_json(&kind) {
            return Err(Failure::shape(path, "JSON"));
        }
        let body = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::shape(path, &format!("JSON ({error})")))?;
        Ok(Answer { etag, body })
    }

    fn body(&self, response: &mut Response<Body>) -> Result<Vec<u8>, Failure> {
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        body.read_to_vec().map_err(|error| Failure::of_transport(&self.base, &error))
    }

    fn failed(&self, path: &str, mut response: Response<Body>) -> Failure {
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let json = is_json(content_type(&response));
        let problem = match self.body(&mut response) {
            Ok(bytes) if json => serde_json::from_slice(&bytes).unwrap_or_default(),
            _ => Value::Null,
        };
        Failure::of_answer(status, path, &problem, retry_after.as_deref())
    }
}

/// Items of one page, the most that the API gives.
const PAGE_ITEMS: usize = 1_000;

fn content_type(response: &Response<Body>) -> &str {
    response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind == "application/json" || kind.ends_with("+json")
}

/// A text as a part of a path or a query: all but RFC 3986's unreserved characters as their bytes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A key that nobody else uses.
fn idempotency_key() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Failure::other(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().fold("feedplane-".to_owned(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        assert_eq!(escaped("a/../b?c=1&d #é"), "a%2F..%2Fb%3Fc%3D1%26d%20%23%C3%A9");
        assert_eq!(escaped("quoter-1_x.y~"), "quoter-1_x.y~");
    }

    #[test]
    fn json_is_known_by_its_type() {
        for json in ["application/json", "application/problem+json; charset=utf-8", "application/json;q=1"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "text/html", "application/jsonp", "text/event-stream"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
