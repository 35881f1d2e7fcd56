//! `feedplane decode` on captures that are made here: what it counts, prints and writes, and how it fails.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{CaptureFile, feedplane, group, heartbeat, orders, stderr, stdout};

/// Ten packets of one message on each line, B 10 µs behind A; A loses 3, B loses 5, both lose 7; a heartbeat
/// on both lines; then, long after the gap's time is over, an eleventh.
fn impaired(folder: &Path) -> PathBuf {
    let (a, b) = (group(111, 26477), group(112, 26478));
    let mut capture = CaptureFile::new();
    for sequence in 1..=10_u64 {
        let payload = orders(sequence, &[100 * sequence as u32]);
        if ![3, 7].contains(&sequence) {
            capture.udp(sequence * 100, a, &payload);
        }
        if ![5, 7].contains(&sequence) {
            capture.udp(sequence * 100 + 10, b, &payload);
        }
    }
    capture.udp(2_000, a, &heartbeat(11));
    capture.udp(2_010, b, &heartbeat(11));
    capture.udp(50_000, a, &orders(11, &[1100]));
    capture.udp(50_010, b, &orders(11, &[1100]));
    capture.save(folder, "impaired.pcap")
}

fn feeds_file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("feeds.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

const FEEDS: &str = "
feeds:
  - name: totalview
    channel_id: 5
    publisher_id: 2
    protocol: itch50
    lines:
      a: { group: 233.54.12.111, port: 26477 }
      b: { group: 233.54.12.112, port: 26478 }
";

fn decode_json(capture: &Path, more: &[&str]) -> Value {
    let mut args = vec!["decode", capture.to_str().unwrap(), "--json"];
    args.extend(more);
    support::json(&feedplane(args))
}

#[test]
fn what_either_line_brought_is_counted_once_and_what_none_brought_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let feeds = feeds_file(folder.path(), FEEDS);
    let report = decode_json(&impaired(folder.path()), &["--feeds", feeds.to_str().unwrap()]);
    assert_eq!(report["channels"].as_array().unwrap().len(), 1);
    let channel = &report["channels"][0];
    assert_eq!(channel["channel"], "totalview");
    assert_eq!(channel["packets"], json!({"a": 10, "b": 10}));
    assert_eq!(channel["won"], json!({"a": 9, "b": 1}));
    assert_eq!(channel["duplicates"], 8);
    assert_eq!(channel["missing"], json!({"a": [3], "b": [5]}));
    assert_eq!(channel["gaps"], json!([{"from": 7, "to": 7}]));
    assert_eq!(channel["resets"], 0);
    assert_eq!(channel["heartbeats"], 2);
    assert_eq!(channel["malformed"], 0);
    assert_eq!(channel["messages"], json!({"A": 10}));
    assert_eq!(channel["ticks"], 10);
}

#[test]
fn a_guess_finds_the_pair_and_gives_the_same_counts_as_the_feeds_file() {
    let folder = tempfile::tempdir().unwrap();
    let feeds = feeds_file(folder.path(), FEEDS);
    let capture = impaired(folder.path());
    let mut told = decode_json(&capture, &["--feeds", feeds.to_str().unwrap()]);
    let mut guessed = decode_json(&capture, &[]);
    assert_eq!(guessed["channels"][0]["channel"], "itch50-233.54.12.111-26477");
    for report in [&mut told, &mut guessed] {
        report["channels"][0]["channel"] = Value::Null;
    }
    assert_eq!(told, guessed);
}

#[test]
fn the_assumed_feeds_file_can_be_saved_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let capture = impaired(folder.path());
    let guessing = feedplane(["decode", capture.to_str().unwrap(), "--json"]);
    let feeds = feeds_file(folder.path(), stderr(&guessing));
    let using =
        feedplane(["decode", capture.to_str().unwrap(), "--json", "--feeds", feeds.to_str().unwrap()]);
    assert_eq!(support::json(&guessing), support::json(&using));
    assert_eq!(stderr(&using), "", "nothing was assumed, nothing is wrong");
}

#[test]
fn without_json_the_assumed_feeds_file_and_the_tables_are_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let output = feedplane(["decode", impaired(folder.path()).to_str().unwrap()]);
    assert!(output.status.success());
    let text = stdout(&output);
    for part in
        ["feeds:", "name: itch50-233.54.12.111-26477", "missing on A      3\n", "gaps              7\n"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(stderr(&output), "");
}

#[test]
fn csv_rows_are_in_sequence_with_the_gap_where_it_was_declared() {
    let folder = tempfile::tempdir().unwrap();
    let output = feedplane(["decode", impaired(folder.path()).to_str().unwrap(), "--ticks"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut lines = stdout(&output).lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let column = |name: &str| {
        let at = names.iter().position(|&known| known == name).unwrap();
        rows.iter().map(|row| row[at]).collect::<Vec<_>>()
    };
    assert_eq!(column("sequence"), ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
    assert_eq!(column("action").concat(), "AAAAAAGAAAA");
    assert_eq!(column("source").concat(), "AABAAALAAAA");
    assert_eq!(column("size")[9], "1000");
    assert_eq!(column("price")[0], "100010000000");
    assert_eq!(column("ts_recv")[0], (support::START_NS + 100_000).to_string());
}

#[test]
fn json_rows_carry_the_same_ticks_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let capture = impaired(folder.path());
    let rows = |format: &str| feedplane(["decode", capture.to_str().unwrap(), format]);
    let (csv, json) = (rows("--ticks=csv"), rows("--ticks=json"));
    let names: Vec<&str> = stdout(&csv).lines().next().unwrap().split(',').collect();
    let from_json: Vec<String> = stdout(&json)
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let cell = |name: &&str| match &row[*name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            names.iter().map(cell).collect::<Vec<_>>().join(",")
        })
        .collect();
    let from_csv: Vec<&str> = stdout(&csv).lines().skip(1).collect();
    assert_eq!(from_json, from_csv);
    assert!(stderr(&json).contains("missing on A"), "the report is on standard error");
}

#[test]
fn a_destination_of_its_own_stays_a_feed_of_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = CaptureFile::new();
    for sequence in 1..=5 {
        capture.udp(sequence * 100, group(111, 26477), &orders(sequence, &[1]));
        capture.udp(sequence * 100 + 1, group(113, 26479), &orders(sequence, &[2]));
    }
    let report = decode_json(&capture.save(folder.path(), "two.pcap"), &[]);
    let channels = report["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 2);
    for channel in channels {
        assert_eq!(channel["packets"], json!({"a": 5, "b": 0}));
        assert_eq!(
            channel["missing"],
            json!({"a": [], "b": []}),
            "there is no line B that could miss anything"
        );
    }
}

#[test]
fn a_restart_of_the_sender_is_a_reset_and_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = CaptureFile::new();
    for (round, session) in [*b"0000000001", *b"0000000002"].into_iter().enumerate() {
        for sequence in 1..=20_u64 {
            let mut payload = orders(sequence, &[1]);
            payload[..10].copy_from_slice(&session);
            let at_us = round as u64 * 1_000_000 + sequence * 100;
            capture.udp(at_us, group(111, 26477), &payload);
            capture.udp(at_us + 10, group(112, 26478), &payload);
        }
    }
    let report = decode_json(&capture.save(folder.path(), "restart.pcap"), &[]);
    let channel = &report["channels"][0];
    assert_eq!((&channel["resets"], &channel["gaps"]), (&json!(1), &json!([])));
    assert_eq!(channel["messages"], json!({"A": 40}));
    assert_eq!(channel["missing"], json!({"a": [], "b": []}));
}

#[test]
fn a_malformed_packet_is_counted_and_the_other_lines_copy_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = CaptureFile::new();
    for sequence in 1..=5_u64 {
        let whole = orders(sequence, &[1]);
        let broken = if sequence == 3 { &whole[..whole.len() - 1] } else { &whole };
        capture.udp(sequence * 100, group(111, 26477), broken);
        capture.udp(sequence * 100 + 10, group(112, 26478), &whole);
    }
    let report = decode_json(&capture.save(folder.path(), "malformed.pcap"), &[]);
    let channel = &report["channels"][0];
    assert_eq!(channel["malformed"], 1);
    assert_eq!(channel["malformed_reasons"].as_object().unwrap().values().collect::<Vec<_>>(), [1]);
    assert_eq!(channel["won"], json!({"a": 4, "b": 1}));
    assert_eq!((&channel["gaps"], &channel["messages"]), (&json!([]), &json!({"A": 5})));
}

#[test]
fn a_gzip_capture_reads_as_the_plain_one() {
    let folder = tempfile::tempdir().unwrap();
    let plain = impaired(folder.path());
    // The name says nothing; the content does.
    let packed = folder.path().join("impaired");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    encoder.write_all(&std::fs::read(&plain).unwrap()).unwrap();
    encoder.finish().unwrap();
    assert_eq!(decode_json(&plain, &[]), decode_json(&packed, &[]));
}

#[test]
fn a_cut_file_is_decoded_to_its_last_whole_packet_and_the_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = impaired(folder.path());
    let bytes = std::fs::read(&whole).unwrap();
    let cut = folder.path().join("cut.pcap");
    std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let output = feedplane(["decode", cut.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report = support::json(&output);
    assert_eq!(report["channels"][0]["packets"], json!({"a": 10, "b": 9}));
    let warning = stderr(&output).lines().find(|line| line.starts_with("warning:")).unwrap().to_owned();
    assert!(warning.contains("after 19 whole packets, at byte"), "{warning}");
    assert!(report["capture"]["damage"].as_str().unwrap().contains("cut"));
}

#[test]
fn a_damaged_file_gives_its_report_and_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(impaired(folder.path())).unwrap();
    bytes.extend_from_slice(&[0xff; 40]);
    let damaged = folder.path().join("damaged.pcap");
    std::fs::write(&damaged, bytes).unwrap();
    let output = feedplane(["decode", damaged.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["channels"][0]["packets"], json!({"a": 10, "b": 10}));
    assert!(stderr(&output).contains("damaged"), "{}", stderr(&output));
}

#[test]
fn no_cut_of_a_capture_makes_the_program_crash() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(impaired(folder.path())).unwrap();
    for length in (0..bytes.len().min(400)).step_by(13) {
        let path = folder.path().join("cut.pcap");
        std::fs::write(&path, &bytes[..length]).unwrap();
        let output = feedplane(["decode", path.to_str().unwrap(), "--json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{length} bytes: {}", stderr(&output));
    }
}

#[test]
fn a_frame_that_the_capture_cut_is_named_and_not_taken_for_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = CaptureFile::new();
    capture.udp(100, group(111, 26477), &orders(1, &[1]));
    let mut whole = CaptureFile::new();
    whole.udp(0, group(111, 26477), &orders(2, &[1]));
    capture.record(200, &whole.0[40..], 60);
    let output = feedplane(["decode", capture.save(folder.path(), "short.pcap").to_str().unwrap(), "--json"]);
    let report = support::json(&output);
    assert_eq!((&report["capture"]["cut"], &report["channels"][0]["packets"]["a"]), (&json!(1), &json!(1)));
    assert!(stderr(&output).contains("snapshot length"), "{}", stderr(&output));
}

#[test]
fn a_snapshot_length_beyond_all_bounds_is_only_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let plain = impaired(folder.path());
    let mut bytes = std::fs::read(&plain).unwrap();
    bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    let huge = folder.path().join("huge-snaplen.pcap");
    std::fs::write(&huge, bytes).unwrap();
    assert_eq!(decode_json(&huge, &[]), decode_json(&plain, &[]));
}

#[test]
fn what_is_no_capture_or_holds_no_feed_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut dns = CaptureFile::new();
    dns.udp(0, group(1, 53), b"not a feed at all");
    let mut huge = CaptureFile::new();
    huge.0.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    let cases = [
        (file("empty.pcap", b""), "neither pcap nor pcapng"),
        (file("text.pcap", b"this is a text and no capture at all"), "neither pcap nor pcapng"),
        (file("header-only.pcap", &CaptureFile::new().0), "no feed"),
        (file("dns.pcap", &dns.0), "no feed"),
        (file("huge.pcap", &huge.0), "2147483647"),
        (folder.path().join("absent.pcap"), "absent.pcap"),
        (folder.path().to_path_buf(), "read"),
    ];
    for (path, message) in cases {
        let output = feedplane(["decode", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{}", path.display());
        assert!(stderr(&output).contains(message), "{}: {}", path.display(), stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn mdp3_without_a_schema_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = CaptureFile::new();
    for sequence in 1..5_u32 {
        // A packet header and one message of template 12 without a root block.
        let mut payload = [&sequence.to_le_bytes()[..], &[0; 8]].concat();
        for word in [10_u16, 0, 12, 1, 9] {
            payload.extend_from_slice(&word.to_le_bytes());
        }
        capture.udp(u64::from(sequence), group(1, 14310), &payload);
    }
    let output = feedplane(["decode", capture.save(folder.path(), "mdp.pcap").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--schema"), "{}", stderr(&output));
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let cases: [&[&str]; 4] =
        [&["decode"], &["decode", "x", "--json", "--ticks"], &["decode", "x", "--ticks=xml"], &["nonsense"]];
    for args in cases {
        assert_eq!(feedplane(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let output = feedplane(["decode", "--help"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("Exit codes:"), "{}", stdout(&output));
}

#[test]
fn a_reader_that_goes_away_ends_the_program_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = CaptureFile::new();
    for sequence in 0..5_000_u64 {
        capture.udp(sequence, group(111, 26477), &orders(sequence * 10 + 1, &[1; 10]));
    }
    let path = capture.save(folder.path(), "long.pcap");
    let mut child = Command::new(env!("CARGO_BIN_EXE_feedplane"))
        .args(["decode", path.to_str().unwrap(), "--ticks"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("channel,"), "{first}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"));
}

#[test]
fn no_progress_is_drawn_where_standard_error_is_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let output = feedplane(["decode", impaired(folder.path()).to_str().unwrap()]);
    assert!(!stderr(&output).contains("packets/s"));
}
