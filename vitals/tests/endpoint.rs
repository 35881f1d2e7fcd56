//! The endpoint as a collector, an orchestrator and an attacker meet it: over HTTP on loopback.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;
use vitals::Vitals;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

/// The process has one recorder, so all tests share one endpoint; nothing but the test of readiness
/// registers parts.
fn vitals() -> &'static Vitals {
    static VITALS: OnceLock<Vitals> = OnceLock::new();
    VITALS.get_or_init(|| Vitals::start(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap())
}

fn connect() -> TcpStream {
    let stream = TcpStream::connect(vitals().address().unwrap()).unwrap();
    stream.set_read_timeout(PATIENCE).unwrap();
    stream
}

/// Everything that is answered until the connection ends.
fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

fn get(path: &str) -> String {
    let mut stream = connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: feedplane\r\n\r\n").unwrap();
    answer(stream)
}

#[test]
fn what_was_counted_is_in_the_metrics() {
    vitals();
    metrics::counter!("feedplane_test_things_total", "kind" => "quoted \" and \\").increment(3);
    metrics::gauge!("feedplane_test_level_bytes").set(1.5);
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains(r#"feedplane_test_things_total{kind="quoted \" and \\"} 3"#), "{metrics}");
    assert!(metrics.contains("feedplane_test_level_bytes 1.5"), "{metrics}");
}

#[test]
fn it_is_ready_when_every_part_is_good_and_says_which_is_not_and_why() {
    assert!(get("/readyz").starts_with("HTTP/1.1 503"), "no part has said that it does its work");
    let (redis, workers) = (vitals().part("redis"), vitals().part("workers"));
    let starting = get("/readyz");
    assert!(starting.starts_with("HTTP/1.1 503") && starting.contains(r#""redis":"starting""#), "{starting}");
    redis.is_bad("connection refused");
    workers.is_good();
    let bad = get("/readyz");
    assert!(bad.starts_with("HTTP/1.1 503"), "{bad}");
    assert!(bad.contains(r#""redis":"connection refused""#) && bad.contains(r#""workers":"good""#), "{bad}");
    redis.is_good();
    let good = get("/readyz");
    assert!(good.starts_with("HTTP/1.1 200") && good.contains(r#""ready":true"#), "{good}");
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    redis.is_bad("gone");
    assert!(get("/readyz").starts_with("HTTP/1.1 503"));
}

#[test]
fn hostile_requests_are_refused_and_harm_nothing() {
    let huge_header = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(4 << 20));
    let many_headers = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let cases: [&[u8]; 7] = [
        b"\x00\xff\xfe garbage \r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        huge_header.as_bytes(),
        many_headers.as_bytes(),
        long_path.as_bytes(),
    ];
    for case in cases {
        let mut stream = connect();
        // It may hang up before it has all.
        let _ = stream.write_all(case);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = answer(stream);
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(
            refused,
            "{:?} was answered {answer:?}",
            String::from_utf8_lossy(&case[..case.len().min(40)])
        );
    }
    assert!(get("/no-such-page").starts_with("HTTP/1.1 404"));
    let mut post = connect();
    post.write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(answer(post).starts_with("HTTP/1.1 405"));
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
}

#[test]
fn peers_that_say_nothing_are_cut_off_and_others_served() {
    // More than are served at a time, and none of them ever asks.
    let silent: Vec<TcpStream> = (0..40).map(|_| connect()).collect();
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert_eq!(answer(silent.into_iter().next().unwrap()), "");
}

#[test]
fn a_port_that_another_has_is_a_clear_error() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let error = Vitals::start(Some(address)).err().unwrap().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("choose another port"), "{error}");
}
