//! QuickFIX as the venue: its process, and what it says of what it got.
#![allow(dead_code)] // Each of the tests that share it uses a part.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The interpreter with QuickFIX; says so when there is none.
fn python() -> Option<PathBuf> {
    let Some(python) = std::env::var_os("FEEDPLANE_PYTHON").map(PathBuf::from) else {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON is not set, no QuickFIX to trade with");
        return None;
    };
    let has = Command::new(&python).args(["-c", "import quickfix"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON has no quickfix; scripts/setup.sh compiles it");
        return None;
    }
    Some(python)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The venue's process.
pub(crate) struct Venue {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    /// What it got, oldest first.
    pub(crate) got: Vec<Value>,
    pub(crate) port: u16,
    folder: TempDir,
    settings: Vec<String>,
}

impl Venue {
    pub(crate) fn start(settings: &[&str]) -> Option<Venue> {
        let folder = tempfile::tempdir().unwrap();
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        let port = free_port();
        let (child, stdin, lines) = launch(&python()?, folder.path(), port, &settings);
        let mut venue = Venue { child, stdin, lines, got: Vec::new(), port, folder, settings };
        venue.wait(|line| line["event"] == "ready");
        Some(venue)
    }

    /// Ends the process as a crash does, and starts it again on what it stored.
    pub(crate) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let python = python().unwrap();
        (self.child, self.stdin, self.lines) = launch(&python, self.folder.path(), self.port, &self.settings);
        self.wait(|line| line["event"] == "ready");
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
    }

    /// Reads what the process says until it is this.
    pub(crate) fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("the venue never said it; it got {:#?}", self.got),
                Err(RecvTimeoutError::Disconnected) => panic!("the venue ended; it got {:#?}", self.got),
            };
            assert!(line["event"] != "failed" && line["event"] != "unknown command", "{line}");
            if let Some(got) = line.get("got") {
                self.got.push(got.clone());
            }
            if wanted(&line) {
                return line;
            }
        }
    }

    pub(crate) fn state(&mut self) -> Value {
        self.tell("state");
        self.wait(|line| line.get("state").is_some())["state"].clone()
    }

    /// Messages of a type that came so far.
    pub(crate) fn got(&mut self, kind: &str) -> Vec<Value> {
        self.state();
        self.got.iter().filter(|got| got["35"] == kind).cloned().collect()
    }

    /// No order, cancel or replacement came twice.
    pub(crate) fn assert_nothing_came_twice(&mut self) {
        let twice = self.state()["twice"].clone();
        assert_eq!(twice, serde_json::json!([]));
        let is_order = |got: &&Value| ["D", "F", "G"].iter().any(|kind| got["35"] == *kind);
        let mut ids: Vec<_> = self.got.iter().filter(is_order).map(|got| got["11"].to_string()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}

fn launch(
    python: &Path,
    folder: &Path,
    port: u16,
    settings: &[String],
) -> (Child, ChildStdin, Receiver<Value>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fix/acceptor.py");
    let mut child = Command::new(python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg(folder)
        .arg(port.to_string())
        .args(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(value) = serde_json::from_str(&line) else { continue };
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    (child, stdin, lines)
}

impl Drop for Venue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
