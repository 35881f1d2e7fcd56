//! The journal under a session: of the day before, lost, on a full disk.

use crate::rig::*;
use bus::{OrderAction, ReportKind, StreamId};
use gateway::journal::{Begin, Folder};
use gateway::orders::{Book, Input, Went};
use std::process::Command;
use std::time::Duration;

#[test]
fn orders_of_the_day_before_are_over_and_reports_are_numbered_on() {
    let mut rig = Rig::new();
    let folder = Folder::new(rig.folder.path(), "sim");
    let begin = Begin {
        venue: "sim".into(),
        day: "2020-01-01".into(),
        token: 1,
        numbers: vec![0],
        base: vec![0],
        cursors: vec![StreamId::default()],
        ..Begin::default()
    };
    let mut journal = folder.begin(&begin).unwrap();
    let mut book = Book::of(&begin, 1);
    let entry = StreamId { ms: 1, seq: 0 };
    let taken = instruction("old", buy(100));
    let taken = Input::Taken { shard: 0, entry, wire_ref: 1, instruction: taken, own: None };
    for input in [taken, Input::Went { id: id("old"), how: Went::Sent }] {
        let mut reports = Vec::new();
        book.apply(7, &input, &mut reports);
        journal.append(7, &input, &reports);
    }
    journal.commit().unwrap();
    let _gateway = rig.start("a");
    let over = rig.report(ReportKind::Cancelled, "old");
    assert_eq!((over.reason.as_str(), over.number, over.leaves), ("day_over", 2, 0));
    rig.instruct("new", buy(1));
    assert_eq!(rig.report(ReportKind::Sent, "new").number, 3);
    // The references on the wire begin again with the day.
    assert_eq!(rig.venue(|venue| venue.sent[0].1.wire_ref), 1);
}

#[test]
fn after_a_lost_journal_nothing_new_is_sent_until_someone_starts_the_gateway_again() {
    let mut rig = Rig::new();
    let mut gateway = rig.start("a");
    rig.instruct("o1", buy(1));
    rig.report(ReportKind::Accepted, "o1");
    gateway.stop();
    let known = rig.reports().len();
    std::fs::remove_dir_all(rig.folder.path().join("sim")).unwrap();
    let mut gateway = rig.start("b");
    rig.instruct("o2", buy(1));
    assert_eq!(rig.report(ReportKind::Denied, "o2").reason, "journal_behind");
    gateway.stop();
    assert!(rig.reports().len() > known);
    let _gateway = rig.start("c");
    rig.instruct("o3", buy(1));
    rig.report(ReportKind::Accepted, "o3");
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_orders_are_denied_cancels_pass_and_trades_are_reported() {
    let mut rig = Rig::new();
    let place = rig.folder.path().to_owned();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(&place).output();
    if !mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
        return eprintln!("SKIPPED: no small disk can be mounted: {mounted:?}");
    }
    let _mounted = Mounted(place.clone());
    let gateway = rig.start("a");
    rig.instruct("o1", buy(100));
    rig.report(ReportKind::Accepted, "o1");
    let ballast = place.join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 1 << 20]);
    // The last page of the journal's file may have room: until it has not.
    let mut tries = 0;
    until("a denial", || {
        tries += 1;
        rig.instruct(&format!("f{tries}"), buy(1));
        std::thread::sleep(Duration::from_millis(50));
        rig.reports().iter().any(|report| report.reason == "journal_failed")
    });
    rig.instruct("c1", OrderAction::Cancel { of: id("o1") });
    assert_eq!(rig.report(ReportKind::Cancelled, "c1").of, Some(id("o1")));
    std::fs::remove_file(&ballast).unwrap();
    until("orders again", || {
        tries += 1;
        rig.instruct(&format!("f{tries}"), buy(1));
        std::thread::sleep(Duration::from_millis(200));
        rig.reports().last().is_some_and(|report| report.kind == ReportKind::Accepted)
    });
    // What was in memory came to the disk, whole and in order.
    drop(gateway);
    let folder = Folder::new(&place, "sim");
    let day = folder.newest_day("9999-12-31").unwrap().unwrap();
    let mut numbers = Vec::new();
    let read = folder.read_day(&day, |record| {
        if let gateway::journal::Record::Entry { reports, .. } = record {
            numbers.extend(reports.iter().map(|(_, report)| report.number));
        }
        Ok(())
    });
    assert_eq!(read.unwrap().unwrap().torn, 0);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(numbers.len(), rig.reports().len());
}
