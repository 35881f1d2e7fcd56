//! Versions reach Redis, whatever happens to it.

use crate::rig::{Rig, ask, until, version_in};
use bus::Sha256Sum;
use bus::control::{ConfigVersion, ProcessReport, ProcessState};
use bus::names::{CONFIG_CHANGES, config_key, processes_key};
use serde_json::json;
use std::time::Duration;

/// What a process that starts now finds.
fn found(rig: &Rig, service: &str) -> Option<ConfigVersion> {
    let fields: std::collections::HashMap<String, Vec<u8>> =
        ask(&mut rig.connection(), &["HGETALL", &config_key(service)]);
    if fields.is_empty() {
        return None;
    }
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
    Some(ConfigVersion::parse(fields).unwrap())
}

fn runs(rig: &Rig, service: &str, version: u64) -> bool {
    found(rig, service).is_some_and(|found| found.version() == version)
}

fn report(version: &ConfigVersion) -> ProcessReport {
    ProcessReport {
        service: "features".into(),
        member: "m1".into(),
        host: "here".into(),
        pid: 7,
        software: "0".into(),
        state: ProcessState::Running,
        version: version.version(),
        sha256: Some(version.sha256()),
        wanted: None,
        reason: None,
        health: None,
        started_ns: 1,
        time_ns: controlplane::store::now_ns(),
    }
}

fn write_report(rig: &Rig, report: &ProcessReport) {
    let key = processes_key(&report.service);
    let _: i64 = ask(&mut rig.connection(), &["HSET", &key, &report.member, &report.to_json()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_reaches_redis_with_an_entry_that_tells_of_it() {
    let rig = Rig::new().await;
    let live = rig.live();
    let stored = rig.version("features", &json!({"sets": [], "text": "é\n"})).await;
    until("version 1", || runs(&rig, "features", 1)).await;
    let there = found(&rig, "features").unwrap();
    assert_eq!(there.document(), stored.text);
    assert_eq!((there.by(), there.reason()), ("ann", "for a test"));
    assert_eq!(there.sha256(), Sha256Sum::of(stored.text.as_bytes()));
    rig.version("features", &json!({"sets": [1]})).await;
    live.changed();
    until("version 2", || runs(&rig, "features", 2)).await;
    let told: i64 = ask(&mut rig.connection(), &["XLEN", CONFIG_CHANGES]);
    assert_eq!(told, 2);
    // Nothing more is written while nothing changes.
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    let told: i64 = ask(&mut rig.connection(), &["XLEN", CONFIG_CHANGES]);
    assert_eq!(told, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_without_its_memory_gets_every_version_again() {
    let mut rig = Rig::new().await;
    let _live = rig.live();
    for service in ["features", "strategy", "gateway", "archiver"] {
        rig.version(service, &json!({"of": service})).await;
    }
    until("the first", || runs(&rig, "archiver", 1)).await;
    rig.redis.kill().unwrap();
    rig.version("strategy", &json!({"of": "strategy, while Redis was gone"})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.redis.start_again().unwrap();
    for (service, version) in [("features", 1), ("strategy", 2), ("gateway", 1), ("archiver", 1)] {
        until(service, || runs(&rig, service, version)).await;
    }
    assert!(found(&rig, "strategy").unwrap().document().contains("while Redis was gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_was_changed_in_redis_is_written_again() {
    let rig = Rig::new().await;
    let _live = rig.live();
    rig.version("features", &json!({"sets": []})).await;
    until("version 1", || runs(&rig, "features", 1)).await;
    let _: i64 = ask(&mut rig.connection(), &["HSET", &config_key("features"), "document", "{}"]);
    until("it is whole again", || {
        let document: String = ask(&mut rig.connection(), &["HGET", &config_key("features"), "document"]);
        document == "{\"sets\":[]}"
    })
    .await;
    // A key of another kind is told, and holds up no other document.
    let _: i64 = ask(&mut rig.connection(), &["DEL", &config_key("features")]);
    let _: i64 = ask(&mut rig.connection(), &["LPUSH", &config_key("features"), "x"]);
    rig.version("gateway", &json!({})).await;
    until("gateway", || runs(&rig, "gateway", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_version_never_takes_the_place_of_a_newer_one() {
    let rig = Rig::new().await;
    let other = rig.other_store().await;
    version_in(&other, "features", &json!({"from": "elsewhere"})).await;
    let third = ConfigVersion::new(3, "{\"newer\":true}".into(), "bob", "newer", 5).unwrap();
    let mut transaction = redis::pipe();
    third.distribute("features", transaction.atomic());
    transaction.exec(&mut rig.connection()).unwrap();
    let live = rig.live_with(&other);
    until("it is told", || live.convergence("features").problem.is_some()).await;
    let problem = live.convergence("features").problem.unwrap();
    assert!(problem.contains("version 3, newer than 1"), "{problem}");
    assert!(runs(&rig, "features", 3));
    // As soon as the store has a newer one, it is distributed.
    for _ in 0..3 {
        version_in(&other, "features", &json!({"from": "elsewhere", "again": true})).await;
    }
    until("version 4", || runs(&rig, "features", 4)).await;
    until("nothing is the matter", || live.convergence("features").problem.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_control_planes_of_one_store_do_not_write_over_each_other() {
    let rig = Rig::new().await;
    let (_one, _two) = (rig.live(), rig.live());
    for n in 1..=20 {
        rig.version("strategy", &json!({"n": n})).await;
    }
    until("version 20", || runs(&rig, "strategy", 20)).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(runs(&rig, "strategy", 20));
    let entries: redis::Value = ask(&mut rig.connection(), &["XRANGE", CONFIG_CHANGES, "-", "+"]);
    let records = bus::records_of_range(&entries).unwrap();
    let versions: Vec<u64> = records
        .iter()
        .map(|record| {
            let fields = record.fields.as_ref().unwrap();
            let version = fields.iter().find(|(name, _)| *name == b"version").unwrap().1;
            std::str::from_utf8(version).unwrap().parse().unwrap()
        })
        .collect();
    assert!(versions.is_sorted(), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn convergence_is_what_the_processes_report() {
    let rig = Rig::new().await;
    let live = rig.live();
    rig.version("features", &json!({"sets": []})).await;
    until("version 1", || runs(&rig, "features", 1)).await;
    until("it is known", || live.convergence("features").version == 1).await;
    assert!(live.convergence("features").converged, "nobody runs anything, so nobody runs another");
    let version = found(&rig, "features").unwrap();
    write_report(&rig, &ProcessReport { version: 0, sha256: None, ..report(&version) });
    until("it is seen", || !live.convergence("features").converged).await;
    let refused = ProcessReport {
        version: 0,
        sha256: None,
        state: ProcessState::Refused,
        wanted: Some(1),
        reason: Some("sets: is empty".into()),
        ..report(&version)
    };
    write_report(&rig, &refused);
    until("it is refused", || {
        live.convergence("features").processes.first().is_some_and(|process| process.state == "refused")
    })
    .await;
    assert_eq!(live.convergence("features").processes[0].reason.as_deref(), Some("sets: is empty"));
    write_report(&rig, &report(&version));
    until("it has converged", || live.convergence("features").converged).await;
    // Who has not reported for five seconds does not hold it up.
    let old = report(&version).time_ns - 6_000_000_000;
    write_report(&rig, &ProcessReport { member: "m2".into(), version: 0, time_ns: old, ..report(&version) });
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let convergence = live.convergence("features");
    assert!(convergence.processes.len() <= 1, "{convergence:?}");
}
