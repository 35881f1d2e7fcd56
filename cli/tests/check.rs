//! `feedplane check`: what it says of this machine, for a document and without one.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{feedplane, json, stderr, stdout};

fn document(folder: &std::path::Path, backend: &str, interface: &str) -> String {
    let path = folder.join("dataplane.yaml");
    let text = format!(
        "feeds: feeds.yaml\nworkers: [{{name: w, interface_a: {interface}, interface_b: {interface}}}]\n\
         receive: {{backend: {backend}}}\npublisher: {{redis: 'unix:///x'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn verdict<'a>(report: &'a Value, what: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["what"] == what);
    &found.unwrap_or_else(|| panic!("{what} is not in {report:#}"))["verdict"]
}

#[test]
fn every_line_has_a_verdict_and_what_is_not_well_says_what_to_do() {
    let report = json(&feedplane(["check", "-o", "json"]));
    for finding in report["findings"].as_array().unwrap() {
        assert!(["ok", "warning", "wrong"].contains(&finding["verdict"].as_str().unwrap()), "{finding}");
        assert_eq!(finding["verdict"] != "ok", finding["todo"].is_string(), "{finding}");
        assert!(!finding["told"].as_str().unwrap().is_empty(), "{finding}");
    }
    for what in [
        "kernel",
        "BTF",
        "capabilities",
        "load XDP program",
        "memlock",
        "huge pages",
        "cpuset",
        "system clock",
    ] {
        verdict(&report, what);
    }
    let table = feedplane(["check"]);
    assert!(table.status.success() && stdout(&table).contains("kernel"), "{}", stderr(&table));
}

#[test]
fn a_data_plane_on_sockets_asks_little_and_an_interface_that_is_not_there_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let good = document(folder.path(), "socket", "lo");
    let report = json(&feedplane(["check", "-o", "json", "--config", &good]));
    assert_eq!(
        (verdict(&report, "load XDP program"), verdict(&report, "interface lo")),
        (&"ok".into(), &"ok".into())
    );

    let bad = document(folder.path(), "xdp", "no-such-thing");
    let output = feedplane(["check", "--config", &bad]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("wrong    interface no-such-thing"), "{}", stdout(&output));
    assert!(stderr(&output).contains("checks are wrong"), "{}", stderr(&output));

    std::fs::write(&bad, "workers: 5").unwrap();
    let output = feedplane(["check", "--config", &bad]);
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("dataplane.yaml: line 1"),
        "{}",
        stderr(&output)
    );
}
