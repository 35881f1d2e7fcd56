//! `feedplane decode` on captures that exchanges made. The expected numbers were counted by other tools.
#![allow(clippy::unwrap_used)]

mod support;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use support::{captures, feedplane, stderr, stdout};

fn cme(captures: &Path, version: &str) -> (PathBuf, PathBuf) {
    let (capture, schema) = match version {
        "v6.1" => ("Cme.Mdp3.Sbe.v6.1.pcap", "Cme.Futures.Mdp3.Sbe.v1.6.xml"),
        _ => ("Cme.Mdp3.Sbe.v9.1.Example.pcap", "Cme.Futures.Mdp3.Sbe.v1.9.xml"),
    };
    (captures.join("cme_mdp3").join(capture), captures.join("cme_mdp3").join(schema))
}

fn decode(capture: &Path, more: &[&str]) -> Value {
    let mut args = vec!["decode", capture.to_str().unwrap(), "--json"];
    args.extend(more);
    support::json(&feedplane(args))
}

/// A feeds file of CME channels: the last bytes of the addresses and the ports of both lines.
fn feeds_file(folder: &Path, schema: &Path, lines: &[(&str, u16, &str, u16)]) -> PathBuf {
    let mut text = "feeds:\n".to_owned();
    for (index, (a, a_port, b, b_port)) in lines.iter().enumerate() {
        text += &format!(
            "  - name: cme-{a_port}
    channel_id: {}
    publisher_id: 1
    protocol: mdp3
    schema: {}
    lines: {{ a: {{ group: {a}, port: {a_port} }}, b: {{ group: {b}, port: {b_port} }} }}\n",
            index + 1,
            schema.display()
        );
    }
    let path = folder.join("feeds.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn both_lines_of_cmes_v6_capture_become_one_stream_without_a_gap() {
    let Some(captures) = captures() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (capture, schema) = cme(&captures, "v6.1");
    let feeds = feeds_file(folder.path(), &schema, &[("224.0.31.64", 14340, "224.0.32.64", 15340)]);
    let report = decode(&capture, &["--feeds", feeds.to_str().unwrap()]);
    let channel = &report["channels"][0];
    assert_eq!(channel["channel"], "cme-14340");
    assert_eq!(channel["packets"], json!({"a": 5000, "b": 5000}));
    assert_eq!(channel["won"], json!({"a": 193, "b": 4807}), "B's time is the earlier one 4,807 times");
    assert_eq!(channel["duplicates"], 5000);
    assert_eq!(channel["missing"], json!({"a": [], "b": []}));
    assert_eq!(channel["gaps"], json!([]));
    assert_eq!((&channel["resets"], &channel["malformed"]), (&json!(0), &json!(0)));
    assert_eq!(channel["heartbeats"], 9);
    // Half of what both lines hold.
    assert_eq!(channel["messages"], json!({"12": 9, "32": 9569, "35": 307, "37": 194, "42": 194}));
}

#[test]
fn every_book_entry_of_cmes_v6_capture_is_a_tick_with_its_price_and_size() {
    let Some(captures) = captures() else { return };
    let (capture, schema) = cme(&captures, "v6.1");
    let output = feedplane([
        "decode",
        capture.to_str().unwrap(),
        "--schema",
        schema.to_str().unwrap(),
        "--ticks=json",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (mut entries, mut size, mut mantissa) = (0, 0, 0);
    let mut last_sequence = 0;
    for line in stdout(&output).lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        // Template 32 makes all adds, modifies and cancels of this capture and nothing else.
        if ["A", "M", "C"].contains(&row["action"].as_str().unwrap()) {
            entries += 1;
            size += row["size"].as_u64().unwrap();
            // The wire counts 1e-7.
            mantissa += row["price"].as_i64().unwrap() / 100;
        }
        let sequence = row["sequence"].as_u64().unwrap();
        assert!(sequence >= last_sequence);
        last_sequence = sequence;
    }
    assert_eq!((entries, size, mantissa), (29_148 / 2, 2_930_378 / 2, 64_327_835_000_000 / 2));
}

/// The nine pairs of the v9 capture: the group's last byte and the port's last two digits, line A.
const V9_PAIRS: [(u8, u16); 9] =
    [(3, 12), (4, 13), (5, 14), (6, 15), (7, 16), (8, 17), (29, 48), (19, 60), (20, 61)];

fn check_v9(report: &Value, name: impl Fn(u8, u16) -> String) {
    let channels = report["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 9);
    let mut messages: BTreeMap<String, u64> = BTreeMap::new();
    for (channel, (host, port)) in channels.iter().zip(V9_PAIRS) {
        assert_eq!(channel["channel"], name(host, port));
        let missing = match host {
            6 => json!({"a": [1160085], "b": []}),
            19 => json!({"a": [911523], "b": []}),
            20 => json!({"a": [1028099], "b": []}),
            29 => json!({"a": [], "b": [579465]}),
            _ => json!({"a": [], "b": []}),
        };
        assert_eq!(channel["missing"], missing, "{}", channel["channel"]);
        assert_eq!((&channel["gaps"], &channel["malformed"]), (&json!([]), &json!(0)));
        for (template, count) in channel["messages"].as_object().unwrap() {
            *messages.entry(template.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    assert_eq!(messages.keys().collect::<Vec<_>>(), ["37", "46", "47", "48"]);
}

#[test]
fn the_four_real_losses_of_cmes_v9_capture_are_filled_and_named() {
    let Some(captures) = captures() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (capture, schema) = cme(&captures, "v9.1");
    let names: Vec<_> = V9_PAIRS
        .iter()
        .map(|&(host, port)| {
            (format!("224.0.28.{host}"), 14_300 + port, format!("224.0.28.{}", host + 127), 15_300 + port)
        })
        .collect();
    let lines: Vec<_> = names.iter().map(|(a, a_port, b, b_port)| (&**a, *a_port, &**b, *b_port)).collect();
    let feeds = feeds_file(folder.path(), &schema, &lines);
    let told = decode(&capture, &["--feeds", feeds.to_str().unwrap()]);
    check_v9(&told, |_, port| format!("cme-{}", 14_300 + port));

    let mut guessed = decode(&capture, &["--schema", schema.to_str().unwrap()]);
    check_v9(&guessed, |host, port| format!("mdp3-224.0.28.{host}-{}", 14_300 + port));
    for (guessed, told) in
        guessed["channels"].as_array_mut().unwrap().iter_mut().zip(told["channels"].as_array().unwrap())
    {
        guessed["channel"] = told["channel"].clone();
    }
    assert_eq!(guessed, told, "the guess is the feeds file");
}

#[test]
fn the_nine_real_moldudp64_packets_are_recognised_and_counted() {
    let Some(captures) = captures() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut messages: BTreeMap<String, u64> = BTreeMap::new();
    let mut packets = 0;
    for path in unpack(&captures, "/Nasdaq.Equities.TotalView.Itch.v5.0/", folder.path()) {
        let report = decode(&path, &[]);
        let channel = &report["channels"][0];
        assert_eq!(channel["channel"], "itch50-233.54.12.111-26477");
        assert_eq!((&channel["malformed"], &channel["packets"]["b"]), (&json!(0), &json!(0)));
        packets += channel["packets"]["a"].as_u64().unwrap();
        for (letter, count) in channel["messages"].as_object().unwrap() {
            *messages.entry(letter.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    assert_eq!(packets, 9);
    assert_eq!(messages.values().sum::<u64>(), 46);
    for letter in ["A", "D", "E", "H", "I", "L", "U"] {
        assert!(messages.contains_key(letter), "{letter}: {messages:?}");
    }
}

#[test]
fn other_protocols_are_not_taken_for_feeds() {
    let Some(captures) = captures() else { return };
    // 121,314 packets of another exchange in a file that is cut.
    let output = feedplane(["decode", captures.join("iex/DEEP10.pcap.gz").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no feed recognised"), "{}", stderr(&output));
    assert!(stderr(&output).contains("after 121314 whole packets"), "{}", stderr(&output));
}

/// Writes those files of the packed collection whose names contain `part` into `folder`.
fn unpack(captures: &Path, part: &str, folder: &Path) -> Vec<PathBuf> {
    const BLOCK: usize = 512;
    let archive = captures.join("omi_packets/omi-data-packets_288c0ea.tar.gz");
    let mut tar = Vec::new();
    GzDecoder::new(std::fs::File::open(archive).unwrap()).read_to_end(&mut tar).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned();
    let mut paths = Vec::new();
    let mut at = 0;
    while at + BLOCK <= tar.len() && tar[at] != 0 {
        let header = &tar[at..at + BLOCK];
        let name = text(&header[345..500]) + &text(&header[..100]);
        let size = usize::from_str_radix(text(&header[124..135]).trim(), 8).unwrap();
        let body = at + BLOCK;
        if name.contains(part) && name.ends_with(".pcap") {
            let path = folder.join(format!("{}.pcap", paths.len()));
            std::fs::write(&path, &tar[body..body + size]).unwrap();
            paths.push(path);
        }
        at = body + size.next_multiple_of(BLOCK);
    }
    assert!(!paths.is_empty(), "no {part} in the collection");
    paths
}
