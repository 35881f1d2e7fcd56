//! A control plane inside the test: its store in a folder of its own, nobody at its Redis unless the test has one.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, Request, StatusCode};
use bus::config::ControlplaneDocument;
use controlplane::access::{Access, Intent, Role};
use controlplane::api::{self, Answer};
use controlplane::app::App;
use controlplane::live::Live;
use controlplane::store::{Done, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;
use vitals::Stop;

/// Largest answer that a test reads, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A control plane without a server.
pub(crate) struct Plane {
    pub(crate) app: App,
    pub(crate) router: Router,
    pub(crate) folder: tempfile::TempDir,
    stop: Stop,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn etag(&self) -> &str {
        self.header(ETAG.as_str())
    }

    /// The problem's detail, after a look at its form.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16(), "{self:?}");
        assert!(json["title"].is_string() && json["type"].is_string(), "{self:?}");
        json["detail"].as_str().unwrap().to_owned()
    }
}

impl Plane {
    pub(crate) async fn start() -> Plane {
        Plane::with("unix:///nonexistent/redis.sock", json!({})).await
    }

    /// With this Redis, and these limits.
    pub(crate) async fn with(redis: &str, limits: Value) -> Plane {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.sqlite");
        Plane::on(folder, store.to_str().unwrap(), redis, limits).await
    }

    pub(crate) async fn on(folder: tempfile::TempDir, store: &str, redis: &str, limits: Value) -> Plane {
        let mut whole = json!({"requests_per_second": 100_000, "address_requests_per_second": 100_000,
            "wrong_tokens_per_minute": 100_000});
        whole.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        let document: ControlplaneDocument = serde_json::from_value(json!({"redis": redis, "store": store,
            "health": {"listen": "127.0.0.1:0"}, "limits": whole}))
        .unwrap();
        let store = Store::open(&document.store, document.limits.store_mib).await.unwrap();
        let access = Access::new(store.clone(), &document.limits);
        let stop = Stop::default();
        let live = Live::start(&document, store.clone(), stop.clone()).unwrap();
        let app = App { document: Arc::new(document), store, access, live };
        let router = api::router(app.clone()).unwrap();
        Plane { app, router, folder, stop }
    }

    /// A token of a role.
    pub(crate) async fn token(&self, role: Role) -> String {
        self.token_until(role, None).await
    }

    pub(crate) async fn token_until(&self, role: Role, expires_ns: Option<u64>) -> String {
        let intent = Intent::internal("test", "make_token");
        let mut change = self.app.store.begin(&intent).await.unwrap();
        let made = change.add_token(role.word(), role, "test", expires_ns).await.unwrap();
        let answer = Answer::ok(Value::Null);
        let done =
            Done { target: "token".into(), before: Value::Null, after: Value::Null, answer, kept: None };
        change.commit(done).await.unwrap();
        made.text
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, ANSWER_BYTES_MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.call(request("GET", token, path, &[], Body::empty())).await
    }

    /// A change with a JSON body.
    pub(crate) async fn send(
        &self,
        method: &str,
        token: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Reply {
        let mut all = vec![(CONTENT_TYPE.as_str(), "application/json")];
        all.extend(headers);
        self.call(request(method, token, path, &all, Body::from(body.to_string()))).await
    }

    /// Every entry of the audit, oldest first.
    pub(crate) async fn audit(&self) -> Vec<controlplane::store::AuditEntry> {
        let query = controlplane::store::AuditQuery { limit: 100_000, ..Default::default() };
        let mut entries = self.app.store.audit(&query).await.unwrap();
        entries.reverse();
        entries
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

pub(crate) fn request(
    method: &str,
    token: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

pub(crate) fn feed(name: &str, channel: u16) -> Value {
    json!({"name": name, "channel_id": channel, "publisher_id": 2, "protocol": "itch50",
        "lines": {"a": {"group": "239.1.1.1", "port": 5_000 + channel}}})
}

pub(crate) fn feeds(names: &[&str]) -> Value {
    let feeds: Vec<Value> = names.iter().zip(1..).map(|(name, channel)| feed(name, channel)).collect();
    json!({"feeds": feeds})
}

pub(crate) fn dataplane(feeds: &[&str]) -> Value {
    json!({"workers": [{"name": "w0", "interface_a": "eth1", "interface_b": "eth2", "feeds": feeds}],
        "publisher": {"shards": 1}})
}

pub(crate) fn features() -> Value {
    json!({"sets": [{"name": "flow", "bars": {"time_ms": 1_000}, "publish": {"every_ms": 1_000},
        "features": ["mid", {"ofi": {"bars": 10}}]}]})
}

pub(crate) fn gateway() -> Value {
    json!({"sessions": [{"venue": "sim", "limits": {"order_quantity_max": 100, "order_notional_max": 1_000_000,
        "open_orders_max": 10, "messages_per_second": 100, "message_burst": 100},
        "ouch": {"address": "localhost:1", "user": "u", "password_file": "/run/secrets/ouch"}}]})
}

pub(crate) fn risk() -> Value {
    json!({"total": {"position_max": 1_000, "exposure_max": 1_000_000, "open_orders_max": 20,
        "messages_per_second": 50, "message_burst": 50, "drawdown_max": 10_000},
        "sessions": [{"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "open": "13:30", "close": "20:00"}]})
}

/// A strategy whose one rule has this condition.
pub(crate) fn strategy(when: &str, venue: &str) -> Value {
    json!({"risk": risk(), "strategies": [{"name": "rules", "venue": venue, "instruments": "all", "rules": {"rules": [
        {"name": "buy", "when": when, "do": {"buy": {"quantity": 1, "price": {"join": 0}}}}]}}]})
}
