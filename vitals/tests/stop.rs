//! A process that is asked to end: this test program starts itself again as that process.
#![allow(clippy::unwrap_used)]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use vitals::Stop;

const AS_SERVICE: &str = "FEEDPLANE_VITALS_TEST_SERVICE";

/// Not a test of its own: the service that the others start. `patient` ends when it is asked to, `stubborn`
/// never does.
#[test]
fn service() {
    let Ok(kind) = std::env::var(AS_SERVICE) else { return };
    let stop = Stop::on_signals().unwrap();
    let say = |line: &str| std::io::stderr().write_all(line.as_bytes()).unwrap();
    say("running\n");
    while !stop.is_asked() {
        std::thread::sleep(Duration::from_millis(1));
    }
    say("asked\n");
    if kind == "stubborn" {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    std::process::exit(7);
}

struct Service {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Service {
    fn start(kind: &str) -> Service {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "service", "--nocapture"])
            .env(AS_SERVICE, kind)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut service = Service { child, lines };
        service.wait_for("running");
        service
    }

    fn wait_for(&mut self, line: &str) {
        assert!(self.lines.by_ref().any(|said| said.unwrap() == line), "the service never said {line:?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn either_signal_asks_and_the_process_ends_in_its_own_way() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = Service::start("patient");
        service.signal(signal);
        service.wait_for("asked");
        assert_eq!(service.child.wait().unwrap().code(), Some(7));
    }
}

#[test]
fn a_second_signal_ends_a_process_that_does_not_end() {
    let mut service = Service::start("stubborn");
    service.signal(Signal::TERM);
    service.wait_for("asked");
    service.signal(Signal::INT);
    assert_eq!(service.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_stop_is_shared_by_its_copies() {
    let stop = Stop::default();
    let copy = stop.clone();
    assert!(!copy.is_asked());
    stop.ask();
    assert!(copy.is_asked());
}
