//! Redis's own consumer groups, measured and tried on what a book needs: order. See
//! `docs/decisions/consumers-own-streams.md`.

#![allow(clippy::unwrap_used)]

use bus::Entry;
use lab::redis_server::RedisServer;
use redis::Value;
use std::time::Instant;
use tick::{Action, Tick};

const STREAM: &str = "raw_market_data";
const ENTRIES: u64 = 200_000;

fn fill(connection: &mut redis::Connection, entries: u64) {
    for chunk in 0..entries.div_ceil(1000) {
        let mut pipe = redis::pipe();
        for sequence in chunk * 1000 + 1..=((chunk + 1) * 1000).min(entries) {
            let tick =
                [Tick { channel_id: 7, instrument_id: 42, sequence, action: Action::Add, ..Tick::EMPTY }];
            let add = pipe.cmd("XADD").arg(STREAM).arg("*");
            Entry::of_ticks(7, sequence, sequence, &tick).for_each_field(|name, value| {
                add.arg(name).arg(value);
            });
            add.ignore();
        }
        pipe.exec(connection).unwrap();
    }
}

fn read_group(connection: &mut redis::Connection, member: &str, count: usize) -> Vec<(String, u64)> {
    let reply: Value = redis::cmd("XREADGROUP")
        .arg(&["GROUP", "g", member, "COUNT"])
        .arg(count)
        .arg(&["STREAMS", STREAM, ">"])
        .query(connection)
        .unwrap();
    let streams = bus::entries_of_read(&reply).unwrap();
    let entries = streams.into_iter().flat_map(|(_, entries)| entries);
    entries.map(|entry| (entry.id.to_string(), entry.entry.unwrap().first)).collect()
}

#[test]
fn two_members_of_a_redis_group_get_one_instruments_ticks_interleaved() {
    let server = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    fill(&mut connection, 100);
    redis::cmd("XGROUP").arg(&["CREATE", STREAM, "g", "0"]).exec(&mut connection).unwrap();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        a.extend(read_group(&mut connection, "a", 10).into_iter().map(|(_, sequence)| sequence));
        b.extend(read_group(&mut connection, "b", 10).into_iter().map(|(_, sequence)| sequence));
    }
    let mut all = [a.clone(), b.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=100).collect::<Vec<_>>());
    // Neither has the instrument's history, nor a part of it without holes.
    assert_eq!(a[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 21, 22]);
    assert_eq!(b[..2], [11, 12]);
    // What a dead member left comes to the other after what was written later.
    let reply: Value =
        redis::cmd("XAUTOCLAIM").arg(&[STREAM, "g", "b", "0", "0"]).query(&mut connection).unwrap();
    let Value::Array(parts) = reply else { panic!("{reply:?}") };
    let claimed = bus::entries_of_range(&parts[1]).unwrap();
    assert!(claimed[0].entry.as_ref().unwrap().first < *b.last().unwrap());
}

/// Entries a second, one reader that reads what is there, 512 at a time.
#[test]
#[ignore = "a measurement: run with --ignored --nocapture"]
fn rate_of_reading_with_a_cursor_and_with_a_group() {
    let server = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    fill(&mut connection, ENTRIES);
    let rate = |from: Instant| ENTRIES as f64 / from.elapsed().as_secs_f64() / 1e3;
    for round in 0..3 {
        let started = Instant::now();
        let mut reader = bus::consumer::Reader::new(&server.url(), 512).unwrap();
        reader.follow(STREAM, bus::StreamId::default());
        let mut read = 0;
        while read < ENTRIES {
            let batch = reader.read(std::time::Duration::ZERO).unwrap();
            read += batch.streams().unwrap().iter().map(|(_, records)| records.len() as u64).sum::<u64>();
        }
        let cursor = rate(started);

        let group = |acknowledge: bool, connection: &mut redis::Connection| {
            redis::cmd("XGROUP").arg(&["CREATE", STREAM, "g", "0"]).exec(connection).unwrap();
            let started = Instant::now();
            let mut read = 0;
            while read < ENTRIES {
                let entries = read_group(connection, "a", 512);
                read += entries.len() as u64;
                if acknowledge {
                    let ids: Vec<_> = entries.iter().map(|(id, _)| id).collect();
                    redis::cmd("XACK").arg(STREAM).arg("g").arg(ids).exec(connection).unwrap();
                }
            }
            let rate = rate(started);
            redis::cmd("XGROUP").arg(&["DESTROY", STREAM, "g"]).exec(connection).unwrap();
            rate
        };
        let acknowledged = group(true, &mut connection);
        println!(
            "round {round}: XREAD {cursor:.0} k entries/s, XREADGROUP + XACK {acknowledged:.0} k/s ({:.2} of it)",
            acknowledged / cursor
        );
    }
}
