//! `feedplane demo`: it adds up, and leaves nothing behind, also when it is interrupted.
#![allow(clippy::unwrap_used)]

mod up_support;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use up_support::is_skipped;

/// Starts a demo whose temporary files go into this folder.
fn demo(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
    command.arg("demo").args(arguments).env("TMPDIR", folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// PostgreSQL, which is never root, must be able to go through.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("fp-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    folder
}

#[test]
fn the_report_adds_up_to_the_archive_and_nothing_is_left() {
    if is_skipped("the_report_adds_up_to_the_archive", &["dataplane", "features", "archiver", "controlplane"])
    {
        return;
    }
    let folder = folder();
    let output = demo(folder.path(), &["--rate", "4000", "--seconds", "4"]).wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for expected in [
        "console     http://127.0.0.1:",
        "token fp_",
        "sent = published + declared lost",
        "Wire to Redis",
        "the book rebuilt from the stream",
        "microprice",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    let archived = said.contains("every published tick is in the archive exactly once");
    assert!(archived || said.contains("No archive:"), "{said}");
    assert!(is_empty(folder.path()));
}

#[test]
fn an_interrupt_ends_it_in_order_with_its_report_and_nothing_is_left() {
    if is_skipped("an_interrupt_ends_it", &["dataplane", "features", "archiver", "controlplane"]) {
        return;
    }
    let folder = folder();
    let mut demo = demo(folder.path(), &["--rate", "2000", "--seconds", "1000"]);
    let mut out = BufReader::new(demo.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("packets/s in") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended by itself");
    }
    let pid = rustix::process::Pid::from_child(&demo);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(demo.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("stopped early, as asked") && rest.contains("adds up"), "{rest}");
    assert!(is_empty(folder.path()));
}
