//! `feedplane play`: what it says must be declared lost is exactly what a receiver declares; and what it refuses.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{feedplane, stderr, stdout};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_both_lines_withheld_is_what_decode_declares_lost_and_nothing_else() {
    for (protocol, messages) in [("itch50", 200_000), ("mdp3", 100_000)] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (capture, feeds, report) = (path("session.pcap"), path("feeds.yaml"), path("sent.json"));
        let messages = messages.to_string();
        let played = feedplane([
            "play",
            "--synthetic",
            protocol,
            "--messages",
            &messages,
            "--rate",
            "50000",
            "--channels",
            "2",
            "--write",
            &capture,
            "--feeds-out",
            &feeds,
            "--report",
            &report,
            "--impair",
            "a:loss=0.02,reorder=0.05/3,duplicate=0.01",
            "--impair",
            "b:loss=0.02,burst=0.001/8,skew=200us,jitter=50us,truncate=0.01",
        ]);
        assert!(played.status.success(), "{}", stderr(&played));
        let decoded = feedplane(["decode", &capture, "--feeds", &feeds, "--json"]);
        assert!(decoded.status.success(), "{}", stderr(&decoded));
        let (sent, decoded): (Value, Value) =
            (json(Path::new(&report)), serde_json::from_slice(&decoded.stdout).unwrap());
        for (sent, got) in
            sent["channels"].as_array().unwrap().iter().zip(decoded["channels"].as_array().unwrap())
        {
            assert!(!sent["must_be_declared"].as_array().unwrap().is_empty());
            assert_eq!(got["gaps"], sent["must_be_declared"], "{protocol}");
            for line in ["a", "b"] {
                assert_eq!(got["packets"][line], sent["lines"][line]["sent"]);
            }
            assert_eq!(got["malformed"], sent["lines"]["b"]["withheld"]["truncate"]);
            assert_eq!((&got["resets"], &sent["unknowable"]), (&Value::from(0), &Value::Array(Vec::new())));
        }
    }
}

#[test]
fn a_real_capture_without_a_feeds_file_is_played_on_the_lines_that_it_holds() {
    let Some(captures) = support::captures() else { return };
    let capture = captures.join("cme_mdp3/Cme.Mdp3.Sbe.v9.1.Example.pcap");
    let schema = capture.with_file_name("Cme.Futures.Mdp3.Sbe.v1.9.xml");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (again, feeds, report) = (path("again.pcap"), path("feeds.yaml"), path("sent.json"));
    let played = feedplane([
        "play",
        "--capture",
        capture.to_str().unwrap(),
        "--write",
        &again,
        "--feeds-out",
        &feeds,
        "--schema",
        schema.to_str().unwrap(),
        "--report",
        &report,
    ]);
    assert!(played.status.success(), "{}", stderr(&played));
    let sent = json(Path::new(&report));
    assert_eq!((&sent["packets_sent"], &sent["not_of_a_feed"]), (&Value::from(99), &Value::from(1)));
    let channels = sent["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 9);
    assert!(channels.iter().all(|channel| channel["must_be_declared"].as_array().unwrap().is_empty()));
    let checked = feedplane(["feeds", "check", &feeds]);
    assert!(stdout(&checked).contains("9 feeds"), "{}", stderr(&checked));
}

#[test]
fn an_interrupt_ends_the_session_in_order_and_with_its_report() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let to = socket.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("sent.json");
    let mut playing = Command::new(env!("CARGO_BIN_EXE_feedplane"))
        .args(["play", "--synthetic", "itch50", "--udp", "--duration", "1000s", "--rate", "100"])
        .args(["--group-a", &to, "--group-b", &to, "--report", report.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    socket.recv(&mut [0; 2048]).expect("the session has begun");
    let process = rustix::process::Pid::from_child(&playing);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    assert!(playing.wait().unwrap().success());
    let sent = json(&report);
    assert_eq!(sent["interrupted"], Value::from(true));
    assert_eq!(sent["channels"][0]["delivered"], sent["channels"][0]["sequences"]);
}

#[test]
fn the_feeds_file_lets_a_receiver_wait_longer_than_the_skew() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (capture, feeds) = (path("session.pcap"), path("feeds.yaml"));
    let skew = "b:skew=30ms,jitter=1ms,reorder=0.1/2/2ms";
    let played = feedplane(
        [
            &["play", "--synthetic", "itch50", "--messages", "1000", "--write", &capture][..],
            &["--feeds-out", &feeds, "--impair", skew],
        ]
        .concat(),
    );
    assert!(played.status.success(), "{}", stderr(&played));
    let written = std::fs::read_to_string(feeds).unwrap();
    assert!(written.contains("gap_timeout_us: 66000"), "{written}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let made_up = ["play", "--synthetic", "itch50", "--messages", "10"];
    let cases: [(&[&str], &str); 9] = [
        (&[], "--interface-a"),
        (&["--udp", "--write", "file"], "cannot be used with"),
        (&["--udp", "--interface-a", "lo"], "cannot be used with"),
        (&["--udp", "--capture", "file"], "cannot be used with"),
        (&["--udp", "--duration", "1s"], "cannot be used with"),
        (&["--udp", "--impair", "a:loss=2"], "loss=0.01,burst="),
        (&["--udp", "--impair", "a:loss=0.1", "--impair", "both:skew=1us"], "twice for one line"),
        (&["--udp", "--impair", "a:corrupt=0.1"], "corruption needs raw frames"),
        (&["--interface-a", "absent0"], "no interface absent0"),
    ];
    for (arguments, expected) in cases {
        let output = feedplane([&made_up, arguments].concat());
        assert!(!output.status.success(), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
