//! `feedplane decode` on MDP 3.0 captures that are made here with the project's own template file.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::{CaptureFile, START_NS, feedplane, stderr};
use wire::mdp3::encode::{BookEntry, PacketWriter};
use wire::mdp3::{FIXTURE, Schema};

const A: std::net::SocketAddrV4 = std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(224, 0, 31, 1), 14310);
const B: std::net::SocketAddrV4 = std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(224, 0, 32, 1), 15310);

fn schema_file(folder: &Path) -> PathBuf {
    let path = folder.join("templates.xml");
    std::fs::write(&path, FIXTURE).unwrap();
    path
}

fn book(writer: &mut PacketWriter<'_>, sequence: u32) -> Vec<u8> {
    let entry = BookEntry {
        price: Some(4_500_250_000_000),
        size: sequence,
        security_id: 77,
        rpt_seq: sequence,
        number_of_orders: 1,
        level: 1,
        update_action: 1,
        entry_type: b'0',
    };
    let time_ns = START_NS + u64::from(sequence);
    writer.begin(sequence, time_ns);
    writer.book(time_ns, 0x84, &[entry], &[]).unwrap();
    writer.bytes().to_vec()
}

fn heartbeat(writer: &mut PacketWriter<'_>, sequence: u32) -> Vec<u8> {
    writer.begin(sequence, START_NS + u64::from(sequence));
    writer.heartbeat().unwrap();
    writer.bytes().to_vec()
}

/// Packets 101 to 110 on A, 104 to 110 without 107 on B; 105 is a heartbeat.
fn late_joiner(folder: &Path) -> PathBuf {
    let schema = Schema::parse(FIXTURE).unwrap();
    let mut writer = PacketWriter::new(&schema);
    let mut capture = CaptureFile::new();
    for sequence in 101..=110_u32 {
        let payload =
            if sequence == 105 { heartbeat(&mut writer, sequence) } else { book(&mut writer, sequence) };
        let at_us = u64::from(sequence) * 1_000;
        capture.udp(at_us, A, &payload);
        if sequence >= 104 && sequence != 107 {
            capture.udp(at_us + 20, B, &payload);
        }
    }
    capture.save(folder, "late.pcap")
}

fn with_feeds(folder: &Path, capture: &Path, more: &str) -> Value {
    schema_file(folder);
    let feeds = folder.join("feeds.yaml");
    let text = format!(
        "feeds:
  - name: es
    channel_id: 310
    publisher_id: 1
    protocol: mdp3
    schema: templates.xml
    lines:
      a: {{ group: {}, port: {} }}
      b: {{ group: {}, port: {} }}
{more}",
        A.ip(),
        A.port(),
        B.ip(),
        B.port()
    );
    std::fs::write(&feeds, text).unwrap();
    let args = ["decode", capture.to_str().unwrap(), "--json", "--feeds", feeds.to_str().unwrap()];
    support::json(&feedplane(args))["channels"][0].clone()
}

#[test]
fn heartbeats_own_a_sequence_number_and_are_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let channel = with_feeds(folder.path(), &late_joiner(folder.path()), "");
    assert_eq!(channel["heartbeats"], 1);
    let messages = channel["messages"].as_object().unwrap();
    assert_eq!(messages.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 10);
    assert_eq!(channel["ticks"], 9);
}

#[test]
fn what_was_sent_before_a_line_joined_is_not_missed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let channel = with_feeds(folder.path(), &late_joiner(folder.path()), "");
    assert_eq!(channel["missing"], json!({"a": [], "b": [107]}));
}

#[test]
fn where_the_feeds_file_names_the_start_a_line_misses_from_there_on() {
    let folder = tempfile::tempdir().unwrap();
    let capture = late_joiner(folder.path());
    let channel = with_feeds(folder.path(), &capture, "    first_sequence: 100\n");
    assert_eq!(channel["missing"], json!({"a": [], "b": [101, 102, 103, 107]}));
    assert_eq!(channel["gaps"], json!([{"from": 100, "to": 100}]));
}

#[test]
fn a_line_that_is_silent_throughout_misses_everything() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Schema::parse(FIXTURE).unwrap();
    let mut writer = PacketWriter::new(&schema);
    let mut capture = CaptureFile::new();
    for sequence in 1..=3 {
        capture.udp(u64::from(sequence), A, &book(&mut writer, sequence));
    }
    let channel = with_feeds(folder.path(), &capture.save(folder.path(), "silent.pcap"), "");
    assert_eq!(channel["packets"], json!({"a": 3, "b": 0}));
    assert_eq!(channel["missing"], json!({"a": [], "b": [1, 2, 3]}));
}

#[test]
fn a_guess_takes_the_schema_from_the_command_line_and_names_it_in_the_feeds_file() {
    let folder = tempfile::tempdir().unwrap();
    let schema = schema_file(folder.path());
    let capture = late_joiner(folder.path());
    let args = ["decode", capture.to_str().unwrap(), "--json", "--schema", schema.to_str().unwrap()];
    let output = feedplane(args);
    let report = support::json(&output);
    assert_eq!(report["channels"][0]["channel"], "mdp3-224.0.31.1-14310");
    assert_eq!(report["channels"][0]["missing"], json!({"a": [], "b": [107]}));
    assert!(
        stderr(&output).contains(&format!("schema: {:?}", schema.to_str().unwrap())),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_schema_that_is_none_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let capture = late_joiner(folder.path());
    let not_xml = folder.path().join("wrong.xml");
    std::fs::write(&not_xml, "<messageSchema>").unwrap();
    for path in [not_xml, folder.path().join("absent.xml")] {
        let args = ["decode", capture.to_str().unwrap(), "--schema", path.to_str().unwrap()];
        let output = feedplane(args);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(path.to_str().unwrap()), "{}", stderr(&output));
    }
}

#[test]
fn records_out_of_time_order_are_taken_in_the_order_of_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Schema::parse(FIXTURE).unwrap();
    let mut writer = PacketWriter::new(&schema);
    let mut capture = CaptureFile::new();
    for sequence in 1..=20 {
        let payload = book(&mut writer, sequence);
        // In the file A stands first, by its time B was.
        capture.udp(u64::from(sequence) * 100 + 1, A, &payload);
        capture.udp(u64::from(sequence) * 100, B, &payload);
    }
    let channel = with_feeds(folder.path(), &capture.save(folder.path(), "merged.pcap"), "");
    assert_eq!(channel["won"], json!({"a": 0, "b": 20}));
}
