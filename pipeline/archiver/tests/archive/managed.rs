//! An archiver whose versions come from the control plane: whatever it is told, each row is there once.

use crate::rig::{Feed, Rig, add, soak};
use bus::control::{ProcessReport, ProcessState};
use bus::names::{DROP_COPY, config_key};
use std::time::Duration;

fn is_refused(report: &ProcessReport) -> bool {
    report.state == ProcessState::Refused
}

#[test]
fn versions_change_while_data_flows_and_each_row_is_there_once() {
    let Some(mut rig) = Rig::new() else { return };
    rig.start_managed(0);
    rig.report(0, |report| report.state == ProcessState::Running && report.version == 0);
    let feed = Feed::start(rig.redis.url(), Duration::from_millis(1));
    rig.wait_for_start();
    // Small batches and large ones, and a lease that only a new membership takes.
    let rounds = u64::from(3 * soak(20));
    for version in 1..=rounds {
        let (rows, wait, lease) = (1 + version * 37 % 500, 1 + version * 13 % 90, 400 + version % 2 * 100);
        rig.distribute(
            version,
            &format!(
                r#"{{"lease_ms": {lease}, "batch": {{"rows_max": {rows}, "wait_ms": {wait}}},
                    "retention": {{"ticks_days": 36500}}}}"#
            ),
        );
        let report = rig.report(0, |report| report.version == version);
        assert_eq!((report.state, report.reason), (ProcessState::Running, None));
    }
    // What is wrong is refused, and what runs goes on.
    rig.distribute(rounds + 1, r#"{"batch": {"rows_max": 0}}"#);
    let report = rig.report(0, is_refused);
    assert_eq!((report.version, report.wanted), (rounds, Some(rounds + 1)));
    assert!(report.reason.unwrap().contains("batch.rows_max: is 0"));
    rig.signal(0, libc::SIGHUP);
    rig.wait_for_log(0, "SIGHUP is refused");
    // Drop copies are archived from the version on that says so, from the stream's beginning.
    let copy = [("venue", "SIM"), ("way", "sent"), ("protocol", "fix44"), ("time_ns", "1"), ("bytes", "x")];
    let copy = copy.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    add(&mut rig.redis(), DROP_COPY, &copy).unwrap();
    rig.distribute(rounds + 2, r#"{"lease_ms": 500, "drop_copy": true}"#);
    rig.report(0, |report| report.version == rounds + 2);
    rig.wait_for("SELECT count(*) FROM drop_copy", 1);
    // A killed one begins with the newest.
    rig.end(0, libc::SIGKILL);
    rig.distribute(rounds + 3, r#"{"lease_ms": 500, "batch": {"rows_max": 100}}"#);
    rig.start_managed(0);
    let report = rig.report(0, |report| report.version == rounds + 3);
    assert_eq!((report.state, report.wanted), (ProcessState::Running, None));
    let last = feed.end();
    rig.wait_for("SELECT max(sequence) FROM ticks", last as i64);
    assert_eq!(rig.archived(), (1..=last as i64).collect::<Vec<_>>());
    assert_eq!(rig.number("SELECT count(*) FROM gaps"), 0);
    assert_eq!(rig.end(0, libc::SIGTERM), Some(0));
}

#[test]
fn a_first_version_that_cannot_be_used_leaves_it_to_its_own_document() {
    let Some(mut rig) = Rig::new() else { return };
    rig.distribute(5, r#"{"lease_ms": 400}"#);
    let mut spoil = redis::cmd("HSET");
    spoil.arg(config_key("archiver")).arg("document").arg(r#"{"lease_ms": 401}"#);
    spoil.exec(&mut rig.redis()).unwrap();
    rig.start_managed(0);
    let report = rig.report(0, is_refused);
    assert_eq!((report.version, report.wanted), (0, Some(5)));
    assert!(report.reason.unwrap().contains("SHA-256"));
    let feed = Feed::start(rig.redis.url(), Duration::from_millis(1));
    rig.wait_for_start();
    for hostile in ["x".repeat(4 << 20), "[".repeat(200_000)] {
        let mut write = redis::cmd("HSET");
        write.arg(config_key("archiver")).arg("document").arg(hostile).arg("version").arg("6");
        write.exec(&mut rig.redis()).unwrap();
        rig.report(0, |report| is_refused(report) && report.version == 0);
    }
    rig.distribute(7, r#"{"lease_ms": 400}"#);
    rig.report(0, |report| report.state == ProcessState::Running && report.version == 7);
    let last = feed.end();
    rig.wait_for("SELECT max(sequence) FROM ticks", last as i64);
    assert_eq!(rig.archived(), (1..=last as i64).collect::<Vec<_>>());
    rig.end(0, libc::SIGTERM);
}
