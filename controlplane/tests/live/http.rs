//! Over HTTP, with a real server: who may do what, and clients that listen, are slow, or lose their right.

use crate::rig::{Rig, ask, until};
use bus::names::TRADING_STATE;
use controlplane::access::{Access, Intent, Role};
use controlplane::api::{self, Answer};
use controlplane::app::App;
use controlplane::live::{Live, Topic};
use controlplane::server::Server;
use controlplane::store::Done;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use vitals::Stop;

/// A control plane that serves.
pub(crate) struct Served {
    pub(crate) rig: Rig,
    pub(crate) live: Live,
    address: SocketAddr,
    stop: Stop,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn etag(&self) -> String {
        let line = self.head.lines().find_map(|line| line.strip_prefix("etag: "));
        line.unwrap_or_else(|| panic!("no ETag: {}", self.head)).to_owned()
    }
}

impl Served {
    async fn start() -> Served {
        Served::with(Rig::new().await).await
    }

    pub(crate) async fn with(mut rig: Rig) -> Served {
        rig.document.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = &mut rig.document.limits;
        (limits.requests_per_second, limits.address_requests_per_second) = (100_000, 100_000);
        let live = rig.live();
        let access = Access::new(rig.store.clone(), &rig.document.limits);
        let document = Arc::new(rig.document.clone());
        let app = App { document, store: rig.store.clone(), access, live: live.clone() };
        let server = Server::bind(&rig.document).await.unwrap();
        let address = server.address().unwrap();
        let stop = Stop::default();
        let (router, asked) = (api::router(app).unwrap(), stop.clone());
        tokio::spawn(async move { server.run(router, &asked).await });
        Served { rig, live, address, stop }
    }

    pub(crate) async fn token(&self, role: Role) -> (String, String) {
        let mut change = self.rig.store.begin(&Intent::internal("test", "make_token")).await.unwrap();
        let made = change.add_token(role.word(), role, "test", None).await.unwrap();
        let answer = Answer::ok(Value::Null);
        let done =
            Done { target: "token".into(), before: Value::Null, after: Value::Null, answer, kept: None };
        change.commit(done).await.unwrap();
        (made.text, made.token.id)
    }

    pub(crate) async fn ask(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {length}\r\n{kind}{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Reply { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.ask(token, "GET", path, "", "").await
    }

    /// A client that listens and has got the head of the answer.
    async fn listen(&self, token: &str, query: &str, receive_bytes: u32) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(receive_bytes).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let request =
            format!("GET /v1/events{query} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

/// Reads until the text is there.
async fn hear(stream: &mut TcpStream, text: &str) {
    let heard = async {
        let mut all = Vec::new();
        let mut buffer = [0; 16_384];
        loop {
            let got = stream.read(&mut buffer).await.unwrap();
            assert!(got > 0, "the stream ended before {text:?}");
            all.extend_from_slice(&buffer[..got]);
            if String::from_utf8_lossy(&all).contains(text) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.unwrap_or_else(|_| panic!("no {text:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_halts_and_only_risk_resumes_with_what_it_saw() {
    let served = Served::start().await;
    let (viewer, _) = served.token(Role::Viewer).await;
    let (operator, _) = served.token(Role::Operator).await;
    let (risk, _) = served.token(Role::Risk).await;
    let reason = r#"{"reason": "drill"}"#;
    for path in ["/v1/halt", "/v1/reduce", "/v1/resume"] {
        assert_eq!(served.ask(&viewer, "POST", path, "", reason).await.status, 403, "{path}");
        assert_eq!(served.ask("fp_no", "POST", path, "", reason).await.status, 401, "{path}");
    }
    assert_eq!(served.ask(&operator, "POST", "/v1/halt", "", "").await.status, 422, "no reason");
    assert_eq!(served.ask(&operator, "POST", "/v1/halt", "", r#"{"reason": "a\nb"}"#).await.status, 422);
    assert_eq!(served.ask(&operator, "POST", "/v1/halt?dry_run=true", "", reason).await.status, 400);
    let key = "Idempotency-Key: once\r\n";
    let first = served.ask(&operator, "POST", "/v1/halt", key, reason).await;
    assert_eq!((first.status, &first.json()["mode"]), (200, &json!("halted")));
    let again = served.ask(&operator, "POST", "/v1/halt", key, reason).await;
    assert_eq!(again.json()["revision"], first.json()["revision"], "the same request is one halt");
    let entries: i64 = ask(&mut served.rig.connection(), &["XLEN", TRADING_STATE]);
    assert_eq!(entries, 1);
    assert_eq!(served.ask(&operator, "POST", "/v1/resume", "", reason).await.status, 403);
    assert_eq!(served.ask(&risk, "POST", "/v1/resume", "", reason).await.status, 428);
    let trading = served.get(&viewer, "/v1/trading").await;
    assert_eq!((trading.status, &trading.json()["by"]), (200, &json!("operator")));
    let etag = trading.etag();
    served.ask(&operator, "POST", "/v1/halt?reason=again", "", "").await;
    let stale = served.ask(&risk, "POST", "/v1/resume", &format!("If-Match: {etag}\r\n"), reason).await;
    assert_eq!((stale.status, &stale.json()["current_version"]), (412, &json!(2)));
    let etag = served.get(&viewer, "/v1/trading").await.etag();
    let resumed = served.ask(&risk, "POST", "/v1/resume", &format!("If-Match: {etag}\r\n"), reason).await;
    assert_eq!((resumed.status, &resumed.json()["mode"]), (200, &json!("active")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_what_lives_is_answered_or_refused_with_a_problem() {
    let served = Served::start().await;
    let (viewer, _) = served.token(Role::Viewer).await;
    let (operator, _) = served.token(Role::Operator).await;
    until("a picture", || !served.live.sampler().picture().is_empty()).await;
    for path in [
        "/v1/status",
        "/v1/trading",
        "/v1/orders",
        "/v1/orders?state=open&limit=5",
        "/v1/denials",
        "/v1/positions",
        "/v1/models",
        "/v1/instruments?query=aa",
        "/v1/instruments/2/7/book",
        "/v1/instruments/2/7/tape",
        "/v1/instruments/2/7/features",
    ] {
        let reply = served.get(&viewer, path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert!(reply.json().is_object(), "{path}");
    }
    for (path, status) in [
        ("/v1/orders?limit=0", 400),
        ("/v1/orders?cursor=%00", 404),
        ("/v1/orders?state=closed", 400),
        ("/v1/orders/none", 404),
        ("/v1/orders/%2e%2e", 404),
        ("/v1/models/none", 404),
        ("/v1/models/a:b", 404),
        ("/v1/models/none/1", 404),
        ("/v1/models/none/x", 404),
        ("/v1/instruments/2/7", 404),
        ("/v1/instruments/70000/7/book", 404),
        ("/v1/events?topics=weather", 400),
        ("/v1/events?instrument=1:1,1:2,1:3,1:4,1:5", 400),
        ("/v1/nics", 503),
        ("/v1/nics/eth1", 503),
        ("/v1/clock", 503),
    ] {
        let reply = served.get(&viewer, path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert!(reply.head.contains("application/problem+json"), "{path}");
    }
    assert_eq!(served.ask(&operator, "POST", "/v1/nics/eth1/attach", "", "").await.status, 503);
    assert_eq!(served.ask(&operator, "POST", "/v1/nics/a%2Fb/detach", "", "").await.status, 404);
    assert_eq!(served.ask(&viewer, "POST", "/v1/nics/replace-programs", "", "").await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_client_is_dropped_and_two_hundred_others_hear_everything() {
    let served = Served::start().await;
    let (viewer, _) = served.token(Role::Viewer).await;
    let (operator, _) = served.token(Role::Operator).await;
    let stuck = served.listen(&viewer, "?topics=status", 4_096).await;
    let mut others = Vec::new();
    for _ in 0..200 {
        others.push(served.listen(&viewer, "?topics=trading", 65_536).await);
    }
    assert_eq!(served.live.hub().clients(), 201);
    assert_eq!(
        served.ask(&operator, "POST", "/v1/halt", "", r#"{"reason": "all hear it"}"#).await.status,
        200
    );
    for stream in &mut others {
        hear(stream, "all hear it").await;
    }
    // More than lies in the sockets between.
    let large = format!("{{\"time_ns\":1,\"padding\":\"{}\"}}", "x".repeat(200_000));
    let hub = Arc::clone(served.live.hub());
    until("the stuck one is dropped", || {
        hub.show(Topic::Status, large.as_bytes());
        hub.clients() == 200
    })
    .await;
    drop(stuck);
    drop(others);
    until("all places are free", || hub.clients() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_token_is_revoked_hears_nothing_more() {
    let served = Served::start().await;
    let (viewer, id) = served.token(Role::Viewer).await;
    let mut stream = served.listen(&viewer, "?topics=status", 65_536).await;
    hear(&mut stream, "event: status").await;
    let mut change = served.rig.store.begin(&Intent::internal("test", "revoke_token")).await.unwrap();
    change.revoke_token(&id).await.unwrap();
    let answer = Answer::ok(Value::Null);
    let done = Done { target: "token".into(), before: Value::Null, after: Value::Null, answer, kept: None };
    change.commit(done).await.unwrap();
    let ended = async {
        let mut buffer = [0; 16_384];
        // The end of the body, then of the connection or the silence of one that is kept.
        while let Ok(got) = stream.read(&mut buffer).await {
            if got == 0 || buffer[..got].ends_with(b"0\r\n\r\n") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), ended).await.expect("the stream ends");
    assert_eq!(served.live.hub().clients(), 0);
}
