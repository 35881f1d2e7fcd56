//! A process that follows its configuration in a real Redis: what it is offered, what it says, and what it does with keys
//! that hold something else.

#![allow(clippy::unwrap_used)]

use bus::config::ArchiverDocument;
use bus::control::{
    AtStart, Begin, ConfigVersion, Follower, FollowerConfig, ManagedDocument, Offered, ProcessReport,
    ProcessState,
};
use bus::names::{CONFIG_CHANGES, config_key, processes_key};
use lab::redis_server::RedisServer;
use std::time::{Duration, Instant};

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const SERVICE: &str = ArchiverDocument::SERVICE;

struct Rig {
    server: RedisServer,
    connection: redis::Connection,
}

impl Rig {
    fn new() -> Rig {
        let server = RedisServer::start().unwrap();
        let connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        Rig { server, connection }
    }

    fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.connection).unwrap()
    }

    fn write(&mut self, version: u64, document: &str) -> ConfigVersion {
        let written = ConfigVersion::new(version, document.into(), "anna", "drill", 5).unwrap();
        let mut transaction = redis::pipe();
        written.distribute(SERVICE, transaction.atomic());
        transaction.exec(&mut self.connection).unwrap();
        written
    }

    fn own(&self) -> ArchiverDocument {
        let text = format!(
            "redis: {}\ndatabase: postgres:///none\nmember: m1\nhealth: {{listen: '127.0.0.1:9103'}}",
            self.server.url()
        );
        ArchiverDocument::parse(text.as_bytes()).unwrap()
    }

    fn start(&self) -> (Follower<ArchiverDocument>, AtStart<ArchiverDocument>) {
        let own = self.own();
        let config = FollowerConfig {
            redis: own.redis.clone(),
            member: "m1".into(),
            health: Some(own.health.listen),
            software: "1.2.3",
        };
        Follower::start(&own, config, || false).unwrap().unwrap()
    }

    fn report(&mut self) -> Option<ProcessReport> {
        let json: Option<Vec<u8>> = self.ask(&["HGET", &processes_key(SERVICE), "m1"]);
        json.map(|json| ProcessReport::parse(&json).unwrap())
    }

    fn report_when(&mut self, is_it: impl Fn(&ProcessReport) -> bool) -> ProcessReport {
        let end = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            match report {
                Some(report) if is_it(&report) => return report,
                other => assert!(Instant::now() < end, "the report stays {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn offered(follower: &Follower<ArchiverDocument>) -> Offered<ArchiverDocument> {
    let end = Instant::now() + PATIENCE;
    loop {
        match follower.take() {
            Some(offered) => return offered,
            None => assert!(Instant::now() < end, "nothing is offered"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_refused(report: &ProcessReport) -> bool {
    report.state == ProcessState::Refused
}

#[test]
fn without_a_version_its_own_document_is_version_0() {
    let mut rig = Rig::new();
    let (follower, at_start) = rig.start();
    assert_eq!(at_start, AtStart::Own);
    let report = rig.report_when(|_| true);
    assert_eq!((report.state, report.version, report.sha256), (ProcessState::Running, 0, None));
    assert_eq!((report.service.as_str(), report.pid), (SERVICE, std::process::id()));
    assert_eq!(report.health.as_deref(), Some("127.0.0.1:9103"));
    assert_eq!(report.software, "1.2.3");
    assert!(follower.take().is_none());
}

#[test]
fn a_version_that_is_there_is_found_at_the_start() {
    let mut rig = Rig::new();
    rig.write(1, r#"{"lease_ms": 500}"#);
    let written = rig.write(2, r#"{"lease_ms": 600}"#);
    let (follower, AtStart::Version(found)) = rig.start() else { panic!("not found") };
    assert_eq!((found.version, found.sha256, found.document.lease_ms), (2, written.sha256(), 600));
    assert_eq!((found.by.as_str(), found.reason.as_str()), ("anna", "drill"));
    assert_eq!(found.document.member.as_deref(), Some("m1"));
    follower.ran(&found);
    let report = rig.report_when(|report| report.version == 2);
    assert!(report.runs(2, written.sha256()) && report.wanted.is_none());
}

#[test]
fn a_change_is_offered_once_and_its_answer_is_in_the_report() {
    let mut rig = Rig::new();
    let (follower, _) = rig.start();
    for version in 1..=5 {
        let written = rig.write(version, &format!(r#"{{"lease_ms": {}}}"#, 500 + version));
        let found = offered(&follower);
        assert_eq!((found.version, found.document.lease_ms), (version, 500 + version));
        assert!(follower.take().is_none());
        follower.ran(&found);
        assert!(rig.report_when(|report| report.version == version).runs(version, written.sha256()));
    }
    rig.write(6, r#"{"lease_ms": 700, "shards": 2}"#);
    let found = offered(&follower);
    follower.restart_needed(&found, "shards: only a start can change it");
    let report = rig.report_when(|report| report.state == ProcessState::RestartNeeded);
    assert_eq!((report.version, report.wanted), (5, Some(6)));
    assert_eq!(report.reason.as_deref(), Some("shards: only a start can change it"));
    rig.write(7, r#"{"lease_ms": 800}"#);
    let found = offered(&follower);
    follower.refused(&found, "not today");
    let report = rig.report_when(is_refused);
    assert_eq!((report.version, report.wanted, report.reason.as_deref()), (5, Some(7), Some("not today")));
    std::thread::sleep(Duration::from_millis(1_300));
    assert!(follower.take().is_none(), "what was refused is not offered again");
    // What runs comes back: nothing is to be done.
    rig.write(5, r#"{"lease_ms": 505}"#);
    rig.report_when(|report| report.state == ProcessState::Running && report.wanted.is_none());
    assert!(follower.take().is_none());
}

#[test]
fn only_the_newest_of_many_versions_is_offered() {
    let mut rig = Rig::new();
    let (follower, _) = rig.start();
    for version in 1..=1_000 {
        rig.write(version, &format!(r#"{{"lease_ms": {}}}"#, 100 + version));
    }
    let mut last = 0;
    while last < 1_000 {
        let found = offered(&follower);
        assert!(found.version > last);
        last = found.version;
        follower.ran(&found);
    }
    rig.report_when(|report| report.version == 1_000 && report.wanted.is_none());
}

#[test]
fn what_is_no_version_is_refused_with_the_reason_and_what_runs_goes_on() {
    let mut rig = Rig::new();
    let good = rig.write(1, r#"{"lease_ms": 500}"#);
    let (follower, AtStart::Version(found)) = rig.start() else { panic!("not found") };
    follower.ran(&found);
    let key = config_key(SERVICE);
    let refused = |rig: &mut Rig, expected: &str| {
        let report =
            rig.report_when(|report| report.reason.as_ref().is_some_and(|reason| reason.contains(expected)));
        assert_eq!((report.state, report.version), (ProcessState::Refused, 1), "{expected}");
        assert!(follower.take().is_none());
        report
    };
    let huge = "x".repeat(2 << 20);
    for (field, value, expected) in [
        ("sha256", "00", "64 hexadecimal digits"),
        ("version", "zero", "field `version`"),
        ("by", huge.as_str(), "field `by`: at most"),
    ] {
        rig.write(2, r#"{"lease_ms": 600}"#);
        let found = offered(&follower);
        follower.refused(&found, "not now");
        let _: () = rig.ask(&["HSET", &key, field, value]);
        refused(&mut rig, expected);
    }
    let _: () = rig.ask(&["DEL", &key]);
    rig.report_when(|report| report.state == ProcessState::Running && report.version == 1);
    // A document whose sum is another's.
    rig.write(3, r#"{"lease_ms": 600}"#);
    offered(&follower);
    let _: () = rig.ask(&["HSET", &key, "version", "4", "document", r#"{"lease_ms": 601}"#]);
    assert_eq!(refused(&mut rig, "the document's SHA-256 is").wanted, Some(4));
    let _: () = rig.ask(&["HSET", &key, "document", &huge]);
    refused(&mut rig, "field `document`: at most");
    let _: () = rig.ask(&["HDEL", &key, "document"]);
    refused(&mut rig, "field `document` is missing");
    for (version, document, expected) in [
        (5, "no json", "no JSON"),
        (6, "[]", "is no JSON object"),
        (7, r#"{"lease_ms": 1}"#, "lease_ms: is 1; choose"),
        (8, r#"{"lease": 500}"#, "unknown field `lease`"),
    ] {
        rig.write(version, document);
        assert_eq!(refused(&mut rig, expected).wanted, Some(version));
    }
    for command in [&["SET", &key, "text"][..], &["RPUSH", &key, "a"], &["SADD", &key, "a"]] {
        let _: () = rig.ask(&["DEL", &key]);
        rig.report_when(|report| report.state == ProcessState::Running);
        let _: redis::Value = rig.ask(command);
        refused(&mut rig, "another program uses this key");
    }
    let _: () = rig.ask(&["DEL", &key]);
    rig.write(9, good.document());
    let found = offered(&follower);
    follower.ran(&found);
    rig.report_when(|report| report.state == ProcessState::Running && report.version == 9);
}

#[test]
fn a_stream_of_changes_that_is_something_else_only_makes_it_slower() {
    let mut rig = Rig::new();
    let _: () = rig.ask(&["SET", CONFIG_CHANGES, "text"]);
    let (follower, _) = rig.start();
    let written = ConfigVersion::new(1, r#"{"lease_ms": 500}"#.into(), "anna", "", 5).unwrap();
    let mut set = redis::cmd("HSET");
    set.arg(config_key(SERVICE));
    written.for_each_field(|name, value| {
        set.arg(name).arg(value);
    });
    set.exec(&mut rig.connection).unwrap();
    let found = offered(&follower);
    follower.ran(&found);
    rig.report_when(|report| report.version == 1);
}

#[test]
fn a_version_that_cannot_be_used_at_the_start_is_told() {
    let mut rig = Rig::new();
    rig.write(4, r#"{"lease_ms": 1}"#);
    let (follower, at_start) = rig.start();
    let AtStart::Refused(reason) = at_start else { panic!("{at_start:?}") };
    assert!(reason.contains("lease_ms: is 1"), "{reason}");
    let report = rig.report_when(is_refused);
    assert_eq!((report.version, report.wanted), (0, Some(4)));
    rig.write(5, r#"{"lease_ms": 500}"#);
    let found = offered(&follower);
    follower.ran(&found);
    rig.report_when(|report| report.version == 5);
}

#[test]
fn a_redis_that_goes_and_comes_back_without_its_memory_changes_nothing() {
    let mut rig = Rig::new();
    rig.write(3, r#"{"lease_ms": 500}"#);
    let (follower, AtStart::Version(found)) = rig.start() else { panic!("not found") };
    follower.ran(&found);
    rig.report_when(|report| report.version == 3);
    rig.server.restart_empty().unwrap();
    rig.connection = redis::Client::open(rig.server.url()).unwrap().get_connection().unwrap();
    let report = rig.report_when(|_| true);
    assert_eq!((report.state, report.version), (ProcessState::Running, 3));
    assert!(follower.take().is_none());
    // Who has missed it gets it again; it runs already.
    rig.write(3, r#"{"lease_ms": 500}"#);
    std::thread::sleep(Duration::from_millis(1_300));
    assert!(follower.take().is_none());
    rig.write(4, r#"{"lease_ms": 501}"#);
    assert_eq!(offered(&follower).version, 4);
}

#[test]
fn the_start_waits_for_redis_and_ends_when_it_is_asked_to() {
    let mut rig = Rig::new();
    rig.write(1, r#"{"lease_ms": 500}"#);
    rig.server.stop().unwrap();
    let own = rig.own();
    let config =
        FollowerConfig { redis: own.redis.clone(), member: "m1".into(), health: None, software: "1.2.3" };
    let asked = Instant::now() + Duration::from_millis(300);
    let ended = Follower::start(&own, config.clone(), || Instant::now() > asked).unwrap();
    assert!(ended.is_none());
    let starting = std::thread::spawn(move || Follower::start(&own, config, || false).unwrap().unwrap().1);
    std::thread::sleep(Duration::from_millis(200));
    rig.server.start_again().unwrap();
    assert_eq!(starting.join().unwrap(), AtStart::Own, "this Redis kept nothing");
}

#[test]
fn an_orderly_end_takes_the_report_back_and_old_ones_go_by_themselves() {
    let mut rig = Rig::new();
    let (follower, _) = rig.start();
    rig.report_when(|_| true);
    drop(follower);
    assert_eq!(rig.report(), None);
}

#[test]
fn who_must_not_run_its_own_document_stands_still_until_a_version_can_be_used() {
    let mut rig = Rig::new();
    rig.write(1, "no json");
    let (follower, at_start) = rig.start();
    let told = std::sync::Mutex::new(Vec::new());
    let (begun, _follower) = std::thread::scope(|scope| {
        let told = &told;
        let beginning = scope.spawn(move || {
            let check = |document: &ArchiverDocument| match document.lease_ms {
                600 => Err("600 is not wanted here".to_owned()),
                _ => Ok(()),
            };
            let told = |why: &str| told.lock().unwrap().push(why.to_owned());
            (follower.begin(at_start, check, told, || false), follower)
        });
        rig.report_when(|report| is_refused(report) && report.wanted == Some(1));
        rig.write(2, r#"{"lease_ms": 600}"#);
        let report = rig.report_when(|report| report.wanted == Some(2) && is_refused(report));
        assert_eq!(report.reason.as_deref(), Some("600 is not wanted here"));
        assert!(!beginning.is_finished());
        rig.write(3, r#"{"lease_ms": 700}"#);
        beginning.join().unwrap()
    });
    let Begin::Version(found) = begun else { panic!("{begun:?}") };
    assert_eq!((found.version, found.document.lease_ms), (3, 700));
    let told = told.into_inner().unwrap();
    assert!(told.len() == 2 && told[0].contains("no JSON") && told[1].contains("600"), "{told:?}");
}
