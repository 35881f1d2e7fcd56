//! `feedplane venue` as its operator meets it: ready file, report, feeds file, an order over TCP, and the stop.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{feedplane, stderr};
use wire::ouch50::{Appendage, EnterOrder, Inbound, Price};
use wire::soupbintcp::{LoginRequest, Number, Packet, left_padded, right_padded};

const PATIENCE: Duration = Duration::from_secs(20);

/// The file, once it is there and `so`.
fn wait_for(path: &Path, so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        // Always whole: what can be read can be parsed.
        if let Ok(bytes) = std::fs::read(path) {
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            if so(&value) {
                return value;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start(folder: &Path, more: &[&str]) -> Child {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    Command::new(env!("CARGO_BIN_EXE_feedplane"))
        .args(["venue", "--udp", "--user", "alice:secret", "--user", "bob:hidden"])
        .args(["--ready-file", &path("ready.json"), "--report", &path("report.json")])
        .args(["--group-a", "239.77.1.7:31071", "--group-b", "239.77.2.7:32071"])
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn packet(packet: Packet<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 256];
    let bytes = packet.write(&mut buffer).unwrap();
    buffer.truncate(bytes);
    buffer
}

fn login(port: u64) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port as u16)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = LoginRequest {
        username: right_padded("alice").unwrap(),
        password: right_padded("secret").unwrap(),
        session: left_padded("").unwrap(),
        next_sequence: Number::sequence(1),
    };
    stream.write_all(&packet(Packet::LoginRequest(&request, None))).unwrap();
    stream
}

fn order(number: u32, symbol: [u8; 8]) -> Vec<u8> {
    let order = EnterOrder {
        user_ref_num: number.into(),
        side: b'B',
        quantity: 100.into(),
        symbol,
        price: Price::new(10_000),
        time_in_force: b'0',
        display: b'Y',
        capacity: b'P',
        intermarket_sweep: b'N',
        cross_type: b'N',
        cl_ord_id: *b"one           ",
    };
    let mut buffer = [0; 128];
    let bytes = Inbound::EnterOrder(&order).write(Appendage::ABSENT, &mut buffer).unwrap();
    packet(Packet::UnsequencedData(&buffer[..bytes]))
}

#[test]
fn it_is_ready_takes_an_order_reports_it_and_ends_in_order_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let feeds = folder.path().join("feeds.yaml");
    let more = ["--rate", "2000", "--symbols", "3", "--feeds-out", feeds.to_str().unwrap()];
    let mut venue = start(folder.path(), &more);
    let ready = wait_for(&folder.path().join("ready.json"), |_| true);
    assert_eq!(ready["symbols"], serde_json::json!(["S1", "S2", "S3"]));
    assert_eq!(ready["users"], serde_json::json!(["alice", "bob"]));
    let checked = feedplane(["feeds", "check", feeds.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    let mut alice = login(ready["order_port"].as_u64().unwrap());
    alice.write_all(&order(1, *b"S1      ")).unwrap();
    let report_path = folder.path().join("report.json");
    let during = wait_for(&report_path, |report| report["users"][0]["total"]["accepted"] == 1);
    assert_eq!(during["over"], false);
    assert_eq!(during["session"], ready["session"]);
    assert_eq!(during["users"][0]["symbols"]["S1"]["entered"], 1);
    assert_eq!(during["users"][0]["open_orders"], 1);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(venue.id() as i32).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let mut heard = Vec::new();
    alice.read_to_end(&mut heard).unwrap();
    assert_eq!(heard[heard.len() - 3..], packet(Packet::EndOfSession));
    let status = venue.wait().unwrap();
    let mut said = String::new();
    venue.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{said}");
    assert!(said.contains("alice: 1 orders entered, 1 accepted"), "{said}");
    let report = wait_for(&report_path, |report| report["over"] == true);
    assert_eq!(report["users"][0]["total"]["shares_cancelled"], 100);
    assert_eq!(report["order_entry"]["closed"]["end_of_session"], 1);
    assert_eq!(report["books"]["symbols"].as_array().unwrap().len(), 3);
    assert!(report["books"]["symbols"][0]["bids"].as_array().unwrap().len() <= 5);
    assert!(report["feed"]["channels"][0]["last_sequence"].as_u64() > report["books"]["sequence"].as_u64());
}

#[test]
fn a_file_of_itch_is_the_background_and_the_day_ends_by_itself() {
    let Some(captures) = support::captures() else { return };
    let file = captures.join("nasdaq_itch50/12302019_SNIPPET.NASDAQ_ITCH50");
    let folder = tempfile::tempdir().unwrap();
    let more = ["--background", file.to_str().unwrap(), "--duration", "1500ms"];
    let mut venue = start(folder.path(), &more);
    assert!(venue.wait().unwrap().success());
    let report = wait_for(&folder.path().join("report.json"), |report| report["over"] == true);
    assert_eq!(report["background"]["done"], true);
    assert_eq!(report["background"]["messages"], 1_000);
    let ready = wait_for(&folder.path().join("ready.json"), |_| true);
    assert!(ready["symbols"].as_array().unwrap().len() > 50);
}

#[test]
fn what_cannot_be_is_refused_before_it_listens() {
    for (more, error) in [
        (&["--user", "ALICE:again"][..], "user ALICE is given twice"),
        (&["--impair", "a:corrupt=0.1"], "corruption needs raw frames"),
        (&["--background", "/nowhere/at.all"], "/nowhere/at.all"),
        (&["--rate=-1"], "background flow"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = start(folder.path(), more).wait_with_output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(error), "{said}");
        assert!(!folder.path().join("ready.json").exists());
    }
}
