//! Nothing lost, nothing twice, whatever is killed or put to sleep.

use crate::rig::{Dice, FEATURES, RAW, Reference, Rig, Session, add, assert_same, is_soak};
use bus::{FeatureSchema, StreamId};
use lab::redis_server::RedisServer;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tick::{GapReason, Tick};

/// Writes entries at a steady pace on another thread until told to end; gives what was written.
fn write_meanwhile<T>(
    url: &str,
    session: &mut Session,
    act: impl FnOnce() -> T,
) -> (Vec<crate::rig::OwnedEntry>, T) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = Vec::new();
            let client = redis::Client::open(url).unwrap();
            let mut connection = None;
            let mut at = 0;
            while !ended.load(Ordering::Relaxed) {
                if connection.is_none() {
                    connection = client.get_connection().ok().filter(|connection| {
                        connection.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
                    });
                    // A write whose answer was lost may have been carried out.
                    let length = connection
                        .as_mut()
                        .and_then(|connection| redis::cmd("XLEN").arg(RAW).query::<usize>(connection).ok());
                    match length {
                        Some(length) => at = length,
                        None => connection = None,
                    }
                }
                let Some(open) = &mut connection else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                if at == written.len() {
                    written.push(session.entry());
                }
                match add(open, &written[at]) {
                    Ok(()) => at += 1,
                    Err(_) => connection = None,
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            // The last one may not have been written.
            written.truncate(at);
            written
        });
        let result = act();
        ended.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), result)
    })
}

#[test]
fn a_service_killed_again_and_again_publishes_what_an_uninterrupted_engine_gives() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(1);
    let url = rig.server.url();
    let mut dice = Dice(7);
    let (written, last) = write_meanwhile(&url, &mut session, || {
        let kills = if is_soak() { 200 } else { 12 };
        for _ in 0..kills {
            let service = rig.service("a");
            // Before, while and after it takes the lease and publishes.
            std::thread::sleep(Duration::from_millis(20 + dice.below(600)));
            service.kill();
        }
        rig.service("a")
    });
    let reference = Reference::of(&written);
    let found = rig.wait_for_features(reference.records.len());
    assert_same(&found, &reference.fields());
    for ((key, field), value) in reference.latest() {
        let found: Vec<u8> = redis::cmd("HGET").arg(&key).arg(&field).query(rig.connection()).unwrap();
        assert_eq!(found, value, "{key} {}", String::from_utf8_lossy(&field));
    }
    last.stop();
}

#[test]
fn a_redis_killed_with_its_data_kept_loses_and_doubles_nothing() {
    let mut rig = Rig::new(RedisServer::start_durable().unwrap());
    let mut session = Session::new(2);
    let url = rig.server.url();
    let service = rig.service("a");
    let mut dice = Dice(8);
    let (written, ()) = write_meanwhile(&url, &mut session, || {
        for _ in 0..if is_soak() { 40 } else { 4 } {
            std::thread::sleep(Duration::from_millis(200 + dice.below(400)));
            rig.server.kill().unwrap();
            std::thread::sleep(Duration::from_millis(dice.below(800)));
            rig.server.start_again().unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
    });
    let reference = Reference::of(&written);
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    service.stop();
}

#[test]
fn a_redis_that_lost_its_memory_is_gone_on_with_and_the_loss_is_a_gap() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(3);
    let service = rig.service("a");
    let before = session.entries(300);
    rig.write(&before);
    let mut reference = Reference::of(&before);
    let count = reference.records.len();
    assert_same(&rig.wait_for_features(count), &reference.fields());

    rig.server.restart_empty().unwrap();
    rig.connect_again();
    // The data plane went on meanwhile; these never reached this Redis.
    let lost = session.entries(20);
    let after = session.entries(300);
    rig.write(&after);
    for channel_id in [1, 2] {
        let of = |entries: &[crate::rig::OwnedEntry]| -> Vec<(u64, u64)> {
            let entries = entries.iter().filter(|entry| entry.channel_id == channel_id);
            entries.map(|entry| (entry.first, entry.last)).collect()
        };
        assert!(of(&after)[0].0 > of(&before).last().unwrap().1 + 1, "there is a hole on {channel_id}");
        assert!(!of(&lost).is_empty());
    }
    let mut seen: std::collections::BTreeMap<u16, u64> =
        before.iter().map(|entry| (entry.channel_id, entry.last)).collect();
    let mut newest = before.iter().flat_map(|entry| &entry.ticks).map(|tick| tick.ts_recv).max().unwrap();
    for entry in &after {
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
        newest = newest.max(entry.ticks.iter().map(|tick| tick.ts_recv).max().unwrap());
    }
    let found = rig.wait_for_features(reference.records.len() - count);
    assert_eq!(found, reference.fields()[count..]);
    assert_eq!(
        service.metric("feedplane_features_holes_total{stream=\"raw_market_data\",why=\"redis_lost\"}"),
        Some(2.0)
    );
    // What a new Redis must be told again.
    let schemas: std::collections::BTreeMap<String, String> =
        rig.ask(&["HGETALL", bus::names::FEATURE_SCHEMAS]);
    assert_eq!(schemas.len(), 2);
    for (id, text) in schemas {
        let schema: FeatureSchema = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{:016x}", schema.id()), id);
    }
    service.stop();
}

#[test]
fn of_two_processes_one_publishes_and_one_that_slept_doubles_nothing() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(4);
    let url = rig.server.url();
    let (a, b) = (rig.service("a"), rig.service("b"));
    let (written, ()) = write_meanwhile(&url, &mut session, || {
        for _ in 0..if is_soak() { 30 } else { 3 } {
            for sleeper in [&a, &b] {
                sleeper.signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(700));
                sleeper.signal(Signal::CONT);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    let reference = Reference::of(&written);
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    let owners = [&a, &b].map(|service| service.log().matches("goes on at the kept state").count());
    assert!(owners.iter().all(|&times| times > 0), "both had the shard in turn: {owners:?}");
    a.stop();
    b.stop();
}

#[test]
fn a_service_that_is_asked_to_end_leaves_nothing_undone() {
    let mut rig = Rig::new(RedisServer::start().unwrap());
    let mut session = Session::new(5);
    let service = rig.service("a");
    let first = session.entries(500);
    rig.write(&first);
    let reference = Reference::of(&first);
    rig.wait_for_features(reference.records.len());
    service.stop();
    assert_eq!(rig.ask::<u64>(&["EXISTS", "lease:features:raw_market_data", "members:features"]), 0);
    let state: Vec<u8> = rig.ask(&["GET", "features:state:raw_market_data"]);
    let last: Vec<(String, redis::Value)> = rig.ask(&["XREVRANGE", RAW, "+", "-", "COUNT", "1"]);
    let last = StreamId::parse(last[0].0.as_bytes()).unwrap();
    assert_eq!(state[20..28], last.ms.to_le_bytes());
    assert_eq!(state[28..36], last.seq.to_le_bytes());

    // The next one goes on at once, and there.
    let second = session.entries(100);
    rig.write(&second);
    let reference = Reference::of(&[first, second].concat());
    let service = rig.service("another");
    assert_same(&rig.wait_for_features(reference.records.len()), &reference.fields());
    assert_eq!(rig.ask::<u64>(&["XLEN", FEATURES]), reference.records.len() as u64);
    service.stop();
}
