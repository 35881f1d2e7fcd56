//! The whole pipeline run from the control plane: `feedplane up` trades on `feedplane venue`; trading is halted and resumed over the
//! API and everything survives being killed; every document is changed again and again while the feed is at its full rate.
//!
//! Short: 60 changes. `FEEDPLANE_SOAK=1`: a thousand.
#![allow(clippy::unwrap_used)]

mod up_support;

use bus::{Report, ReportKind};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use up_support::venue::{TRADING, Venue, free_port};
use up_support::{Folder, PATIENCE, Up, is_skipped};

const SERVICES: [&str; 6] = ["dataplane", "features", "strategy", "gateway", "archiver", "controlplane"];
const ALL: [&str; 8] =
    ["redis", "postgres", "dataplane", "features", "strategy", "gateway", "archiver", "controlplane"];

/// The API as one caller sees it.
struct Api {
    port: u16,
    token: String,
}

struct Answer {
    status: u16,
    etag: Option<String>,
    body: Value,
}

impl Api {
    fn first(folder: &Folder, port: u16) -> Api {
        let token = fs::read_to_string(folder.path("run/controlplane/first-token")).unwrap();
        Api { port, token: token.trim().to_owned() }
    }

    fn as_role(&self, role: &str) -> Api {
        let made = self.call("POST", "/v1/tokens", &[], Some(&json!({"name": role, "role": role})));
        assert_eq!(made.status, 201, "{}", made.body);
        Api { port: self.port, token: made.body["token"].as_str().unwrap().to_owned() }
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            self.token,
            body.len()
        );
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        write!(stream, "{request}\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let etag = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("etag").then(|| value.to_owned())
        });
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, etag, body: serde_json::from_str(body).unwrap_or_else(|_| body.into()) }
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, &[], None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    fn mode(&self) -> Value {
        self.get("/v1/trading")["mode"].clone()
    }

    /// The newest version of a document that every process runs; none while one does not.
    fn converged(&self, service: &str) -> Option<u64> {
        let config = self.get("/v1/config");
        let items = config["items"].as_array().unwrap();
        let item = items.iter().find(|item| item["service"] == service)?;
        (item["convergence"]["converged"] == true).then(|| item["version"].as_u64())?
    }
}

fn skipped(name: &str) -> bool {
    if is_skipped(name, &SERVICES) {
        return true;
    }
    let why = lab::postgres::unavailable();
    if let Some(why) = &why {
        eprintln!("SKIPPED: {name}: {why}");
    }
    why.is_some()
}

fn reports(folder: &Folder) -> Vec<Report> {
    let mut connection = folder.redis().unwrap();
    let mut range = redis::cmd("XRANGE");
    range.arg(bus::names::EXECUTION_REPORTS).arg("-").arg("+");
    let reply: redis::Value = range.query(&mut connection).unwrap();
    let page = bus::records_of_range(&reply).unwrap();
    page.iter().map(|r| Report::parse(r.fields.as_ref().unwrap().iter().copied()).unwrap()).collect()
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn a_halt_over_the_api_cancels_what_is_open_outlives_every_process_and_is_lifted_by_risk_alone() {
    let name = "a_halt_over_the_api_cancels_what_is_open_outlives_every_process_and_is_lifted_by_risk_alone";
    if skipped(name) {
        return;
    }
    let folder = Folder::new();
    Venue::write_feeds(&folder);
    let (orders, port) = (free_port(), free_port());
    folder.up(&format!("{}controlplane: {{port: {port}}}\n", TRADING.replace("PORT", &orders.to_string())));
    let mut up = Up::start(&folder);
    up.wait_ready(&["redis", "postgres", "dataplane", "features", "strategy", "archiver", "controlplane"]);
    let venue = Venue::open(&folder, orders);
    up.wait_ready(&ALL);
    let risk = Api::first(&folder, port);
    let (viewer, operator) = (risk.as_role("viewer"), risk.as_role("operator"));
    assert_eq!(risk.mode(), "active");

    let reason = json!({"reason": "a drill"});
    assert_eq!(viewer.call("POST", "/v1/halt", &[], Some(&reason)).status, 403);
    assert_eq!(risk.mode(), "active");
    // Several, of which the halt finds one: the market may take some just before.
    up.wait("quotes at the venue", |_| {
        let orders = risk.get("/v1/orders?state=open&strategy=quoter");
        orders["items"].as_array().unwrap().iter().filter(|order| order["state"] == "open").count() > 2
    });
    let asked = now_ns();
    let halted = operator.call("POST", "/v1/halt", &[], Some(&reason));
    assert_eq!(halted.status, 200, "{}", halted.body);
    let cancelled = |folder: &Folder| {
        let reports = reports(folder).into_iter();
        reports.filter(|r| r.kind == ReportKind::Cancelled).map(|r| r.time_ns).find(|&at| at >= asked)
    };
    up.wait("what is open to be cancelled", |_| cancelled(&folder).is_some());
    let took = Duration::from_nanos(cancelled(&folder).unwrap() - asked);
    eprintln!("from the request to the first cancel confirmed by the venue: {took:?}");
    up.wait("nothing to be open at the venue", |_| Venue::report(&folder)["users"][0]["open_orders"] == 0);

    for victim in ALL {
        up.kill(victim);
    }
    up.wait_ready(&ALL);
    let before = reports(&folder).iter().filter(|report| report.kind == ReportKind::Sent).count();
    assert_eq!(risk.mode(), "halted");
    assert_eq!(risk.get("/v1/trading")["reason"], "a drill");

    let trading = operator.call("GET", "/v1/trading", &[], None);
    let seen = trading.etag.unwrap();
    let resume = |api: &Api| api.call("POST", "/v1/resume", &[("If-Match", &seen)], Some(&reason));
    assert_eq!(resume(&operator).status, 403);
    assert_eq!(risk.mode(), "halted");
    let sent = reports(&folder).iter().filter(|report| report.kind == ReportKind::Sent).count();
    assert_eq!(sent, before, "nothing is sent while it is halted");
    let resumed = resume(&risk);
    assert_eq!(resumed.status, 200, "{}", resumed.body);
    assert_eq!(risk.mode(), "active");

    let audit = risk.get("/v1/audit?limit=100");
    let tried = |who: &str, outcome: &str| {
        audit["items"].as_array().unwrap().iter().any(|entry| {
            entry["who"] == who && entry["outcome"] == outcome && entry["action"].as_str().is_some()
        })
    };
    assert!(tried("viewer", "refused") && tried("operator", "refused"), "{audit}");
    venue.close();
    up.stop();
}

#[test]
fn documents_change_again_and_again_at_the_full_rate_of_the_feed_and_no_packet_is_lost() {
    let name = "documents_change_again_and_again_at_the_full_rate_of_the_feed_and_no_packet_is_lost";
    if skipped(name) {
        return;
    }
    let soak = std::env::var_os("FEEDPLANE_SOAK").is_some();
    let (changes, duration) = if soak { (1_000, "600s") } else { (60, "45s") };
    let folder = Folder::new();
    let port = free_port();
    folder.up(&format!("features: {{}}\narchiver: {{}}\ncontrolplane: {{port: {port}}}\n"));
    let mut up = Up::start(&folder);
    let ready = ["redis", "postgres", "dataplane", "features", "archiver", "controlplane"];
    up.wait_ready(&ready);
    let api = Api::first(&folder, port);
    let mut player = folder.play("20000", duration);

    up.wait("the feed to flow", |_| folder.published() > 0);

    let begun = Instant::now();
    for change in 0..changes {
        // Over a part of the session, not in one moment of it.
        std::thread::sleep(Duration::from_millis(100));
        let service = ["features", "feeds", "archiver"][change % 3];
        let newest = api.call("GET", &format!("/v1/config/{service}"), &[], None);
        assert_eq!(newest.status, 200, "{service}: {}", newest.body);
        let mut document = newest.body["document"].clone();
        let turn = (change / 3) as u64;
        match service {
            "features" => document["state"] = json!({"every_ms": 500 + turn}),
            "feeds" => document["feeds"][0]["gap_timeout_us"] = (5_000 + turn).into(),
            _ => document["batch"] = json!({"wait_ms": 100 + turn}),
        }
        let headers = [("If-Match", newest.etag.as_deref().unwrap()), ("Feedplane-Reason", "a change")];
        let changed = api.call("PUT", &format!("/v1/config/{service}"), &headers, Some(&document));
        assert_eq!(changed.status, 200, "{service}: {}", changed.body);
    }
    eprintln!("{changes} changes in {:?}", begun.elapsed());
    for service in ["features", "feeds", "archiver"] {
        let newest = api.get(&format!("/v1/config/{service}"))["version"].as_u64();
        up.wait("every process to run the newest version", |_| api.converged(service) == newest);
    }
    assert!(player.wait().unwrap().success());
    up.wait("everything to be published", |_| folder.has_all());
    let stream = folder.stream();
    assert!(stream.iter().all(|(.., ticks)| ticks.is_some()), "no gap was declared");
    let ticks: i64 = stream.iter().map(|(.., ticks)| ticks.as_ref().map_or(0, Vec::len) as i64).sum();
    up.wait("everything to be archived", |_| folder.archived().is_some_and(|(rows, _)| rows == ticks));
    up.stop();
}
