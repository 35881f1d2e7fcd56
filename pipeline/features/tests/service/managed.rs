//! A feature process whose versions come from the control plane: sets come and go, and what is unchanged goes on.

use crate::rig::{Dice, FEATURES, Fields, Reference, Rig, SETS, Session, add, assert_same, is_soak};
use bus::FeatureSchema;
use bus::config::{FeatureSet, FeaturesDocument};
use bus::control::{ProcessReport, ProcessState};
use bus::names::{FEATURE_SCHEMAS, config_key};
use lab::redis_server::RedisServer;
use rustix::process::Signal;
use std::time::Duration;

const EXTRA: &str = "{name: extra, publish: {every_ms: 5}, features: [mid, microprice]}";
const OTHER: &str = "{name: fast, publish: {every_ms: 10}, features: [spread]}";

fn sets_of(text: &str) -> Vec<FeatureSet> {
    let text = format!("redis: unix:///x\nhealth: {{listen: '127.0.0.1:0'}}\n{text}");
    FeaturesDocument::parse(text.as_bytes()).unwrap().sets
}

/// A version with the own document's sets of these places and further ones.
fn version(own: &[usize], more: &[&str]) -> String {
    let of_own = sets_of(SETS);
    let mut sets: Vec<FeatureSet> = own.iter().map(|&at| of_own[at].clone()).collect();
    if !more.is_empty() {
        sets.extend(sets_of(&format!("sets: [{}]", more.join(", "))));
    }
    serde_json::json!({"lease_ms": 300, "state": {"every_ms": 20}, "sets": sets}).to_string()
}

fn text(fields: &Fields, name: &str) -> String {
    let (_, value) = fields.iter().find(|(field, _)| field == name.as_bytes()).unwrap();
    String::from_utf8(value.clone()).unwrap()
}

/// The records of one schema, but for their numbers.
fn of_schema(records: &[Fields], schema: &FeatureSchema) -> Vec<Fields> {
    let id = format!("{:016x}", schema.id());
    let its = records.iter().filter(|fields| text(fields, "k") == id);
    its.map(|fields| fields.iter().filter(|(name, _)| name != b"n").cloned().collect()).collect()
}

fn assert_numbered(records: &[Fields]) {
    for (at, fields) in records.iter().enumerate() {
        assert_eq!(text(fields, "n"), (at + 1).to_string(), "the numbers have no hole and no repeat");
    }
}

fn is_refused(report: &ProcessReport) -> bool {
    report.state == ProcessState::Refused
}

#[test]
fn sets_change_while_ticks_flow_and_an_unchanged_one_loses_and_doubles_nothing() {
    let mut rig = Rig::new(RedisServer::start_durable().unwrap());
    let mut service = rig.managed("a");
    rig.report("a", |report| report.state == ProcessState::Running && report.version == 0);
    let (mut session, mut dice) = (Session::new(51), Dice(52));
    let stop = vitals::Stop::default();
    let (asked, url) = (stop.clone(), rig.server.url());
    let writing = std::thread::spawn(move || {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let mut written = Vec::new();
        while !asked.is_asked() {
            let entry = session.entry();
            add(&mut connection, &entry).unwrap();
            written.push(entry);
            std::thread::sleep(Duration::from_micros(500));
        }
        written
    });
    // The set `slow` is in all of them.
    let versions = [
        version(&[0, 1], &[EXTRA]),
        version(&[1], &[]),
        version(&[1], &[OTHER]),
        version(&[1], &[EXTRA, OTHER]),
        version(&[1, 0], &[]),
        version(&[1], &[EXTRA]),
    ];
    let rounds = if is_soak() { 120 } else { 12 };
    for number in 1..=rounds {
        std::thread::sleep(Duration::from_millis(dice.below(120)));
        rig.distribute(number, &versions[number as usize % versions.len()]);
        if dice.below(3) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(60)));
            service.kill();
            service = rig.managed("a");
        }
        let report = rig.report("a", |report| report.version == number);
        assert_eq!((report.state, report.reason), (ProcessState::Running, None));
    }
    // What is wrong is refused, and what runs goes on.
    rig.distribute(rounds + 1, &versions[0].replace("\"mid\",\"microprice\"", "\"middle\""));
    let report = rig.report("a", is_refused);
    assert_eq!((report.version, report.wanted), (rounds, Some(rounds + 1)));
    assert!(report.reason.as_ref().unwrap().contains("sets[2].features[0]"), "{report:?}");
    rig.distribute(rounds + 2, &versions[0].replace("\"lease_ms\":300", "\"lease_ms\":400"));
    let report = rig.report("a", |report| report.state == ProcessState::RestartNeeded);
    assert!(report.reason.as_ref().unwrap().starts_with("lease_ms:"), "{report:?}");
    service.signal(Signal::HUP);
    service.wait_for_log("SIGHUP is refused");
    stop.ask();
    let written = writing.join().unwrap();

    let reference = Reference::of(&written);
    let slow = sets_of(SETS)[1].schema();
    let want = of_schema(&reference.fields(), &slow);
    rig.wait(|rig| {
        let found = rig.features();
        of_schema(&found, &slow).len() >= want.len()
    });
    std::thread::sleep(Duration::from_millis(200));
    let found = rig.features();
    assert_numbered(&found);
    assert_eq!(of_schema(&found, &slow).len(), want.len());
    assert!(of_schema(&found, &slow) == want, "a record of the unchanged set differs");
    let extra = sets_of(&format!("sets: [{EXTRA}]"))[0].schema();
    assert!(!of_schema(&found, &extra).is_empty(), "a new set gives nothing");
    assert!(rig.ask::<bool>(&["HEXISTS", FEATURE_SCHEMAS, &format!("{:016x}", extra.id())]));
    service.stop();
}

#[test]
fn a_first_version_that_cannot_be_used_leaves_the_kept_state_for_one_that_can() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    rig.distribute(1, &version(&[0, 1], &[]));
    let mut session = Session::new(61);
    let service = rig.managed("a");
    let first = session.entries(200);
    rig.write(&first);
    rig.wait_for_features(Reference::of(&first).records.len());
    service.kill();
    // Its checksum is another's.
    let key = config_key("features");
    rig.ask::<u64>(&["HSET", &key, "version", "2", "document", &version(&[1], &[])]);
    let second = session.entries(200);
    rig.write(&second);
    let service = rig.managed("a");
    let report = rig.report("a", is_refused);
    assert_eq!((report.version, report.wanted), (0, Some(2)));
    assert!(service.get("/readyz").contains("SHA-256"));
    let before = rig.ask::<u64>(&["XLEN", FEATURES]);
    for hostile in ["x".repeat(4 << 20), "[".repeat(100_000), "{}".into(), "null".into()] {
        rig.ask::<u64>(&["HSET", &key, "document", &hostile]);
        rig.report("a", |report| is_refused(report) && report.version == 0);
    }
    assert_eq!(rig.ask::<u64>(&["XLEN", FEATURES]), before, "nothing runs");
    rig.distribute(3, &version(&[0, 1], &[]));
    rig.report("a", |report| report.state == ProcessState::Running && report.version == 3);
    let whole: Vec<_> = first.into_iter().chain(second).collect();
    let reference = Reference::of(&whole);
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    service.stop();
}
