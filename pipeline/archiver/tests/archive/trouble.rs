//! What goes wrong is named and counted, and what is right beside it is archived.

use crate::rig::{Rig, add, add_ticks, entry_fields, skip, tick};
use bus::Entry;
use bus::names::RAW_MARKET_DATA;
use lab::postgres::PostgresOptions;
use sqlx::Row;
use std::process::Command;
use tick::GapReason;

/// Rows of gaps as text: `first..last reason before row`.
fn gaps(rig: &Rig) -> Vec<String> {
    let rows =
        rig.rows("SELECT first, last, reason, before_row FROM gaps ORDER BY before_row, entry_id").unwrap();
    let text = |row: &sqlx::postgres::PgRow| {
        let (first, last): (Option<i64>, Option<i64>) = (row.get(0), row.get(1));
        let range = first.zip(last).map_or_else(String::new, |(first, last)| format!("{first}..{last} "));
        format!("{range}{} before {}", row.get::<String, _>(2), row.get::<i64, _>(3))
    };
    rows.iter().map(text).collect()
}

#[test]
fn a_malformed_entry_costs_itself_only_and_leaves_a_row() {
    let Some(mut rig) = Rig::new() else { return };
    let mut redis = rig.redis();
    let mut fields = entry_fields(&Entry::of_ticks(7, 11, 11, &[tick(11)]));
    fields[4].1.pop();
    let unknown_reason = [("c", "7"), ("s", "22"), ("l", "23"), ("g", "eaten")];
    let unknown_reason = unknown_reason.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
    add_ticks(&mut redis, 1, 10).unwrap();
    add(&mut redis, RAW_MARKET_DATA, &fields).unwrap();
    add_ticks(&mut redis, 12, 10).unwrap();
    add(&mut redis, RAW_MARKET_DATA, &unknown_reason).unwrap();
    add(&mut redis, RAW_MARKET_DATA, &[(b"x\0".to_vec(), vec![0xff; 100])]).unwrap();
    add_ticks(&mut redis, 24, 1).unwrap();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM ticks", 21);
    rig.wait_for_log(0, "d holds 63 bytes");
    let wanted = [
        "malformed before 11",
        "11..11 malformed before 11",
        "malformed before 21",
        "malformed before 21",
        "22..23 malformed before 21",
    ];
    assert_eq!(gaps(&rig), wanted);
    let detail = rig.rows("SELECT detail FROM gaps WHERE before_row = 11 AND first IS NULL").unwrap();
    assert!(detail[0].get::<String, _>(0).contains("n says 1 ticks, d holds 63 bytes"));
    let metrics = rig.http(0, "/metrics");
    assert!(metrics.contains("feedplane_archiver_refused_total{stream=\"raw_market_data\"} 3"), "{metrics}");
}

#[test]
fn declared_gaps_and_channel_clears_are_archived() {
    let Some(mut rig) = Rig::new() else { return };
    let mut redis = rig.redis();
    add_ticks(&mut redis, 1, 10).unwrap();
    let clear = [tick::Tick::channel_clear(2, 7, 1, tick(20).ts_recv)];
    let entries = [Entry::of_gap(7, 11, 19, GapReason::RingFull), Entry::of_ticks(7, 1, 1, &clear)];
    for entry in &entries {
        add(&mut redis, RAW_MARKET_DATA, &entry_fields(entry)).unwrap();
    }
    add_ticks(&mut redis, 2, 3).unwrap();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM ticks", 14);
    assert_eq!(gaps(&rig), ["11..19 ring_full before 11"]);
    assert_eq!(rig.number("SELECT count(*) FROM ticks WHERE action = 'R'"), 1);
}

#[test]
fn what_was_trimmed_before_it_was_archived_is_a_gap_row() {
    let Some(mut rig) = Rig::new() else { return };
    let mut redis = rig.redis();
    rig.start(0);
    add_ticks(&mut redis, 1, 10).unwrap();
    rig.wait_for("SELECT count(*) FROM ticks", 10);
    rig.end(0, libc::SIGKILL);
    for first in [11, 21, 31] {
        add_ticks(&mut redis, first, 10).unwrap();
    }
    redis::cmd("XTRIM").arg(RAW_MARKET_DATA).arg("MAXLEN").arg(1).exec(&mut redis).unwrap();
    rig.start(0);
    rig.wait_for("SELECT count(*) FROM ticks", 20);
    assert_eq!(gaps(&rig), ["11..30 trimmed before 11"]);
}

#[test]
fn what_an_emptied_redis_has_lost_is_a_gap_row_and_the_rest_goes_on() {
    let Some(mut rig) = Rig::new() else { return };
    rig.start(0);
    add_ticks(&mut rig.redis(), 1, 10).unwrap();
    rig.wait_for("SELECT count(*) FROM ticks", 10);
    rig.signal(0, libc::SIGSTOP);
    // A read that waits would be answered while it is stopped.
    let mut redis = rig.redis();
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .exec(&mut redis)
        .unwrap();
    add_ticks(&mut redis, 11, 10).unwrap();
    rig.redis.restart_empty().unwrap();
    add_ticks(&mut rig.redis(), 21, 10).unwrap();
    rig.signal(0, libc::SIGCONT);
    rig.wait_for("SELECT count(*) FROM ticks", 20);
    assert_eq!(gaps(&rig), ["11..20 redis_lost before 11"]);
    add_ticks(&mut rig.redis(), 31, 10).unwrap();
    rig.wait_for("SELECT count(*) FROM ticks", 30);
    assert_eq!(rig.number("SELECT count(*) FROM gaps"), 1);
}

#[test]
fn a_user_who_may_not_write_is_told_what_is_missing_and_goes_on_when_he_may() {
    let Some(mut rig) = Rig::new() else { return };
    rig.sql("CREATE ROLE reader LOGIN");
    rig.user = "reader";
    rig.start(0);
    rig.wait_for_log(0, "database: the database refuses (42501)");
    let ready = rig.http(0, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("42501") && ready.contains("schema"),
        "{ready}"
    );
    add_ticks(&mut rig.redis(), 1, 10).unwrap();
    rig.sql("CREATE SCHEMA feedplane AUTHORIZATION reader");
    rig.wait_for("SELECT count(*) FROM ticks", 10);
    // The rows can be seen a moment before the archiver has its answer.
    rig.wait_for_log(0, "database: good");
    let ready = rig.http(0, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
}

#[test]
fn a_database_that_is_not_there_is_named_and_waited_for() {
    let Some(mut rig) = Rig::new() else { return };
    rig.postgres.kill().unwrap();
    rig.start(0);
    rig.wait_for_log(0, "database: the database cannot be reached");
    add_ticks(&mut rig.redis(), 1, 10).unwrap();
    rig.postgres.start_again().unwrap();
    rig.wait_for("SELECT count(*) FROM ticks", 10);
}

#[test]
fn a_full_disk_is_named_and_archiving_goes_on_when_there_is_room() {
    if let Some(why) = lab::postgres::timescaledb_unavailable() {
        return skip(&why);
    }
    let options = PostgresOptions { small_bytes: Some(24 << 20), ..PostgresOptions::default() };
    let Some(mut rig) = Rig::with(options) else { return };
    rig.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", rig.postgres.small_folder()));
    rig.sql("CREATE TABLE public.ballast TABLESPACE small AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)");
    rig.sql("ALTER ROLE feedplane SET default_tablespace = small");
    rig.start(0);
    rig.wait_for_start();
    let mut redis = rig.redis();
    let last = 300 * 500;
    for first in (1..last).step_by(500) {
        add_ticks(&mut redis, first, 500).unwrap();
    }
    rig.wait_for_log(0, "53100");
    let ready = rig.http(0, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("free or add disk space"), "{ready}");
    let before = rig.number("SELECT count(*) FROM ticks");
    assert!(before < last as i64);
    // Room: the ballast goes, and new chunks may lie elsewhere.
    rig.sql("DROP TABLE public.ballast");
    rig.sql(
        "SET search_path = feedplane, public; ALTER ROLE feedplane RESET default_tablespace;
        ALTER TABLE ticks SET TABLESPACE pg_default",
    );
    rig.wait_for("SELECT count(*) FROM ticks", last as i64);
    assert!(rig.archived() == (1..=last as i64).collect::<Vec<_>>());
}

#[test]
fn a_wrong_document_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archiver.yaml");
    let good = "redis: unix:///a\ndatabase: postgres:///b\nhealth: {listen: '127.0.0.1:0'}\n";
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane-archiver"));
        let output = command.arg("--config").arg(&file).arg("--check").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(check(good).0);
    let (ok, said) = check(&good.replace("unix:///a", "a"));
    assert!(!ok && said.contains("archiver.yaml") && said.contains("redis: is \"a\""), "{said}");
    let (ok, said) = check(&good.replace("database", "databse"));
    assert!(!ok && said.contains("line 2"), "{said}");
    let (ok, said) = check("\u{0}");
    assert!(!ok && said.contains("archiver.yaml"), "{said}");
}
