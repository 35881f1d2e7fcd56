//! `feedplane decode --dbn`: what Databento's own readers find in the file.
#![allow(clippy::unwrap_used)]

mod support;

use dbn::decode::{DbnMetadata, DecodeRecord};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{CaptureFile, feedplane, group, orders, python, stderr, stdout};

/// 100 orders, of which both lines lose the 50th.
fn capture(folder: &Path) -> PathBuf {
    let mut capture = CaptureFile::new();
    for sequence in (1..=100_u64).filter(|&sequence| sequence != 50) {
        let payload = orders(sequence, &[sequence as u32]);
        capture.udp(sequence * 1_000, group(111, 26477), &payload);
        capture.udp(sequence * 1_000 + 5, group(112, 26478), &payload);
    }
    capture.save(folder, "orders.pcap")
}

fn write_dbn(capture: &Path, more: &[&str]) -> PathBuf {
    let path = capture.with_extension("dbn");
    let mut args = vec!["decode", capture.to_str().unwrap(), "--dbn", path.to_str().unwrap()];
    args.extend(more);
    let output = feedplane(args);
    assert!(output.status.success(), "{}", stderr(&output));
    path
}

#[test]
fn the_records_are_the_ticks_without_the_gap() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_dbn(&capture(folder.path()), &["--json"]);
    let mut decoder = dbn::decode::dbn::Decoder::from_file(path).unwrap();
    let metadata = decoder.metadata();
    assert_eq!((metadata.dataset.as_str(), metadata.schema), ("XNAS.ITCH", Some(dbn::Schema::Mbo)));
    assert_eq!(metadata.start, support::START_NS + 1_000_000);
    let mut sequences = Vec::new();
    while let Some(record) = decoder.decode_record::<dbn::MboMsg>().unwrap() {
        assert_eq!((record.order_id, record.size), (u64::from(record.sequence), record.sequence));
        assert_eq!(record.flags.is_maybe_bad_book(), record.sequence > 50);
        sequences.push(record.sequence);
    }
    let expected: Vec<u32> = (1..=100).filter(|&sequence| sequence != 50).collect();
    assert_eq!(sequences, expected);
}

#[test]
fn a_capture_that_makes_no_tick_gives_a_file_without_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = CaptureFile::new();
    capture.udp(0, group(111, 26477), &support::heartbeat(1));
    let path = write_dbn(&capture.save(folder.path(), "quiet.pcap"), &[]);
    let mut decoder = dbn::decode::dbn::Decoder::from_file(path).unwrap();
    assert!(decoder.decode_record::<dbn::MboMsg>().unwrap().is_none());
}

#[test]
fn a_file_that_cannot_be_created_is_an_error_before_anything_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let capture = capture(folder.path());
    let output = feedplane(["decode", capture.to_str().unwrap(), "--json", "--dbn", "/nonexistent/x.dbn"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    assert!(stderr(&output).contains("/nonexistent/x.dbn"), "{}", stderr(&output));
}

/// Databento's Python reader, and the sums that it finds.
const READ_BACK: &str = r#"
import collections, sys
import databento_dbn as dbn
decoder = dbn.DBNDecoder()
decoder.write(open(sys.argv[1], "rb").read())
metadata, *records = decoder.decode()
print(metadata.dataset, metadata.schema)
print(sum(record.size for record in records), sum(record.price for record in records))
print(dict(sorted(collections.Counter(str(record.action) for record in records).items())))
"#;

fn read_by_python(interpreter: &Path, path: &Path) -> String {
    let output = Command::new(interpreter).arg("-c").arg(READ_BACK).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).to_owned()
}

#[test]
fn databentos_python_reader_finds_the_same_records_as_the_csv_rows() {
    let Some(interpreter) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let capture = capture(folder.path());
    let path = capture.with_extension("dbn");
    let args = ["decode", capture.to_str().unwrap(), "--ticks", "--dbn", path.to_str().unwrap()];
    let csv = feedplane(args);
    let mut actions = BTreeMap::new();
    let (mut size, mut price) = (0_u64, 0_i64);
    for row in stdout(&csv).lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
        if row[11] != "G" {
            size += row[6].parse::<u64>().unwrap();
            price += row[5].parse::<i64>().unwrap();
            *actions.entry(row[11].to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(actions["A"], 99);
    let expected = format!("XNAS.ITCH mbo\n{size} {price}\n{{'A': 99}}\n");
    assert_eq!(read_by_python(&interpreter, &path), expected);
}

#[test]
fn databentos_python_reader_finds_every_book_entry_of_the_real_cme_capture() {
    let (Some(interpreter), Some(captures)) = (python(), support::captures()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v6.dbn");
    let capture = captures.join("cme_mdp3/Cme.Mdp3.Sbe.v6.1.pcap");
    let schema = captures.join("cme_mdp3/Cme.Futures.Mdp3.Sbe.v1.6.xml");
    let file = |path: &Path| path.to_str().unwrap().to_owned();
    let args =
        ["decode".into(), file(&capture), "--schema".into(), file(&schema), "--dbn".into(), file(&path)];
    assert!(feedplane(args).status.success());
    let text = read_by_python(&interpreter, &path);
    assert!(text.starts_with("GLBX.MDP3 mbo\n"), "{text}");
    // Template 32's 14,574 entries are the adds, modifies and cancels.
    assert!(text.contains("'A': 5086, 'C': 2509, 'F': 365, 'M': 6979,"), "{text}");
}
