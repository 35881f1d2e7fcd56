//! What is wrong is named, counted and survived.

use crate::rig::{FEATURES, Fields, RAW, Reference, Rig, SETS, Session, assert_same};
use lab::redis_server::RedisServer;
use std::process::Command;
use tick::{GapReason, Tick};

fn text(fields: &Fields, name: &str) -> String {
    let (_, value) = fields.iter().find(|(field, _)| field == name.as_bytes()).unwrap();
    String::from_utf8(value.clone()).unwrap()
}

#[test]
fn a_malformed_entry_is_counted_by_reason_and_makes_its_channel_doubtful_and_nothing_else() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(11);
    let service = rig.service("a");
    let (first, second) = (session.entries(200), session.entries(200));
    rig.write(&first);
    // Nobody's, of channel 1 without a range, of channel 2 with one and a wrong length.
    rig.ask::<String>(&["XADD", RAW, "*", "some", "thing"]);
    rig.ask::<String>(&["XADD", RAW, "*", "c", "1", "s", "x", "l", "1"]);
    rig.ask::<String>(&["XADD", RAW, "*", "c", "2", "s", "5", "l", "6", "n", "1", "d", "short"]);
    rig.write(&second);

    let mut reference = Reference::of(&first);
    let newest = first.last().unwrap().ticks.last().unwrap().ts_recv;
    let next = first.iter().filter(|entry| entry.channel_id == 1).map(|entry| entry.last).max().unwrap() + 1;
    reference.tick(&Tick::gap(0, 1, next, next, newest, GapReason::Lost));
    reference.tick(&Tick::gap(0, 2, 5, 6, newest, GapReason::Lost));
    second.iter().for_each(|entry| reference.take(entry));
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    for reason in ["missing", "number", "length"] {
        let metric = format!(
            "feedplane_features_refused_entries_total{{stream=\"raw_market_data\",reason=\"{reason}\"}}"
        );
        assert_eq!(service.metric(&metric), Some(1.0), "{metric}");
    }
    service.wait_for_log("n says 1 ticks, d holds 5 bytes");
    service.stop();
}

#[test]
fn what_was_trimmed_before_it_was_read_is_a_gap() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(12);
    let service = rig.service("a");
    let first = session.entries(100);
    rig.write(&first);
    let mut reference = Reference::of(&first);
    rig.wait_for_features(reference.records.len());
    service.stop();
    let (trimmed, third) = (session.entries(100), session.entries(100));
    rig.write(&trimmed);
    rig.ask::<u64>(&["XTRIM", RAW, "MAXLEN", "0"]);
    rig.write(&third);
    let service = rig.service("a");

    let mut seen: std::collections::BTreeMap<u16, u64> =
        first.iter().map(|entry| (entry.channel_id, entry.last)).collect();
    let mut newest = first.last().unwrap().ticks.last().unwrap().ts_recv;
    for entry in &third {
        let covered = seen.insert(entry.channel_id, entry.last).unwrap();
        if entry.first > covered + 1 {
            reference.tick(&Tick::gap(
                0,
                entry.channel_id,
                covered + 1,
                entry.first - 1,
                newest,
                GapReason::Lost,
            ));
        }
        reference.take(entry);
        newest = newest.max(entry.ticks.last().unwrap().ts_recv);
    }
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    assert_eq!(
        service.metric("feedplane_features_holes_total{stream=\"raw_market_data\",why=\"trimmed\"}"),
        Some(2.0)
    );
    service.stop();
}

#[test]
fn a_stream_trimmed_before_it_was_first_read_makes_its_channels_doubtful() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(15);
    let (trimmed, rest) = (session.entries(50), session.entries(100));
    rig.write(&trimmed);
    rig.ask::<u64>(&["XTRIM", RAW, "MAXLEN", "0"]);
    rig.write(&rest);
    let service = rig.service("a");
    let mut reference = Reference::new();
    let (mut seen, mut newest) = (std::collections::BTreeSet::new(), 0);
    for entry in &rest {
        if seen.insert(entry.channel_id) {
            reference.tick(&Tick::gap(0, entry.channel_id, 1, entry.first - 1, newest, GapReason::Lost));
        }
        reference.take(entry);
        newest = entry.ticks.last().unwrap().ts_recv;
    }
    let found = rig.wait_for_features(reference.records.len());
    assert_same(&found, &reference.fields());
    let quality: u8 = text(found.last().unwrap(), "q").parse().unwrap();
    assert!(bus::Quality(quality).contains(bus::Quality::BAD_BOOK));
    service.stop();
}

#[test]
fn a_count_that_starts_over_is_taken_although_redis_lost_its_clear() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let service = rig.service("a");
    let first = Session::new(16).entries(200);
    rig.write(&first);
    let mut reference = Reference::of(&first);
    let count = reference.records.len();
    rig.wait_for_features(count);
    rig.server.restart_empty().unwrap();
    rig.connect_again();
    service.wait_for_log("Redis has lost what was read");
    // The sender's new count, but for its first entries.
    let second = Session::new(17).entries(100).split_off(10);
    rig.write(&second);
    let (mut seen, newest) =
        (std::collections::BTreeSet::new(), first.last().unwrap().ticks.last().unwrap().ts_recv);
    for entry in &second {
        if seen.insert(entry.channel_id) {
            let number = (entry.first - 1).max(1);
            reference.tick(&Tick::gap(0, entry.channel_id, number, number, newest, GapReason::Lost));
        }
        reference.take(entry);
    }
    assert_eq!(rig.wait_for_features(reference.records.len() - count), reference.fields()[count..]);
    service.stop();
}

#[test]
fn entries_that_come_again_are_passed_over() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(18);
    let service = rig.service("a");
    let (first, second) = (session.entries(50), session.entries(50));
    rig.write(&first);
    rig.write(&first[10..30]);
    rig.write(&second);
    let reference = Reference::of(&[first, second].concat());
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    service.stop();
}

#[test]
fn a_state_that_cannot_be_used_is_refused_and_numbers_go_on_behind_the_newest_record() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(13);
    let service = rig.service("a");
    let first = session.entries(200);
    rig.write(&first);
    let before = rig.wait_for_features(Reference::of(&first).records.len());
    service.stop();
    rig.ask::<()>(&["SET", "features:state:raw_market_data", "FPSHRD02 or so"]);
    let service = rig.service("a");
    service.wait_for_log("the kept state cannot be used");
    let second = session.entries(200);
    rig.write(&second);
    // The same stream from its beginning, so the same numbers.
    let reference = Reference::of(&[first, second].concat());
    let found = rig.wait_for_features(reference.records.len());
    assert_same(&found, &reference.fields());
    assert_eq!(found[..before.len()], before);
    assert_eq!(service.metric("feedplane_features_refused_states_total"), Some(1.0));
    service.stop();
}

#[test]
fn other_sets_in_the_document_go_on_at_the_kept_state_and_the_numbers_with_them() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(17);
    let service = rig.service("a");
    let first = session.entries(200);
    rig.write(&first);
    let before = rig.wait_for_features(Reference::of(&first).records.len());
    // Killed, so that the state is older than what is published.
    service.kill();
    let service = rig.service_with("a", &SETS.replace("rsi: {bars: 5}", "rsi: {bars: 6}"));
    service.wait_for_log("the feature sets are changed");
    let second = session.entries(200);
    rig.write(&second);
    // The set that is unchanged has exactly its records.
    let reference = Reference::of(&[first, second].concat());
    let fast = text(&before[0], "k");
    let of_fast = |records: &[Fields]| -> Vec<Fields> {
        let its = records.iter().filter(|fields| text(fields, "k") == fast);
        its.map(|fields| fields[1..].to_vec()).collect()
    };
    let want = of_fast(&reference.fields());
    rig.wait(|rig| of_fast(&rig.features()).len() >= want.len());
    std::thread::sleep(std::time::Duration::from_millis(200));
    let found = rig.features();
    assert!(of_fast(&found) == want, "a record of the unchanged set differs");
    assert_eq!(found[..before.len()], before);
    for (place, fields) in found.iter().enumerate() {
        assert_eq!(text(fields, "n"), (place + 1).to_string());
    }
    service.stop();
}

#[test]
fn a_redis_that_refuses_is_told_in_readiness_and_gone_on_with_when_it_does_not() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(14);
    rig.ask::<()>(&["SET", FEATURES, "mine"]);
    let mut service = rig.service("a");
    let first = session.entries(100);
    rig.write(&first);
    rig.wait(|_| service.get("/readyz").contains("another program uses this key"));
    assert!(service.get("/readyz").starts_with("HTTP/1.1 503"));
    assert!(service.is_running());
    rig.ask::<()>(&["DEL", FEATURES]);
    let reference = Reference::of(&first);
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    rig.wait(|_| service.get("/readyz").starts_with("HTTP/1.1 200"));

    // The next writes find no memory, then some.
    rig.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    service.wait_for_log("Redis is at maxmemory");
    rig.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    let second = session.entries(100);
    rig.write(&second);
    let reference = Reference::of(&[first, second].concat());
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    service.stop();
}

#[test]
fn the_rights_that_the_page_lists_are_enough_and_missing_ones_are_named() {
    let page = include_str!("../../../../docs/consumers.md").replace("<group>", "features");
    let rights = |who: &str| -> Vec<String> {
        let line = page.lines().find(|line| line.starts_with(who)).unwrap();
        line.split_whitespace().filter(|word| word.starts_with(['~', '+'])).map(str::to_owned).collect()
    };
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut user = redis::cmd("ACL");
    user.arg(&["SETUSER", "features", "on", ">x"]);
    user.arg([rights("reading "), rights("leases "), rights("features ")].concat());
    user.exec(rig.connection()).unwrap();
    rig.user = Some("?user=features&pass=x");
    let first = Session::new(19).entries(100);
    rig.write(&first);
    let reference = Reference::of(&first);
    let service = rig.service("a");
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    rig.ask::<()>(&["ACL", "SETUSER", "features", "-xread"]);
    service.wait_for_log("docs/consumers.md");
    service.wait_for_log("XREAD");
    service.stop();
}

#[test]
fn shards_are_divided_and_each_has_its_own_numbers() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let more = format!("shards: 4\n{SETS}");
    let (a, b) = (rig.service_with("a", &more), rig.service_with("b", &more));
    let held = |service: &crate::rig::Service| {
        let metrics = service.get("/metrics");
        let held = metrics.lines().filter(|line| line.starts_with("feedplane_features_lease_held"));
        held.filter(|line| line.ends_with(" 1")).count()
    };
    rig.wait(|_| held(&a) == 2 && held(&b) == 2);
    let mut references = Vec::new();
    for shard in 0..4 {
        let entries = Session::new(20 + shard).entries(50);
        for entry in &entries {
            let mut add = redis::cmd("XADD");
            add.arg(format!("raw_market_data:{{{shard}}}")).arg("*");
            entry.entry().for_each_field(|name, value| {
                add.arg(name).arg(value);
            });
            add.exec(rig.connection()).unwrap();
        }
        references.push(Reference::of(&entries));
    }
    for (shard, reference) in references.iter().enumerate() {
        let stream = format!("calculated_features:{{{shard}}}");
        let count = reference.records.len() as u64;
        rig.wait(|rig| rig.ask::<u64>(&["XLEN", &stream]) >= count);
        let reply: redis::Value = rig.ask(&["XRANGE", &stream, "-", "+"]);
        let records = bus::records_of_range(&reply).unwrap();
        let numbers: Vec<_> = records
            .into_iter()
            .map(|record| bus::FeatureRecord::parse(record.fields.unwrap()).unwrap().number)
            .collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    }
    a.stop();
    b.stop();
}

#[test]
fn a_wrong_document_is_refused_with_the_place_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("features.yaml");
    let run = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let program = env!("CARGO_BIN_EXE_feedplane-features");
        let output = Command::new(program).arg("--config").arg(&config).arg("--check").output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let good = format!("redis: unix:///x\nhealth: {{listen: '127.0.0.1:0'}}\n{SETS}");
    let (success, log) = run(&good);
    assert!(success && log.contains("the configuration is good"), "{log}");
    for (text, expected) in [
        (good.replace("levels: 5", "levels: 500"), "sets[0].features[2].levels: is 500"),
        (good.replace("publish:", "publsih:"), "line 6, column 5: unknown field `publsih`"),
        ("shards: 2\n".to_owned(), "missing field"),
    ] {
        let (success, log) = run(&text);
        assert!(!success && log.contains(expected), "{log} should say {expected:?}");
    }
    let program = env!("CARGO_BIN_EXE_feedplane-features");
    let output = Command::new(program).args(["--config", "/does/not/exist"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read /does/not/exist"));
}
