//! What is in the stream, entry by entry.

use crate::rig::*;
use bus::Verdict;
use dataplane::publisher::{PublisherConfig, read_positions};
use lab::redis_server::RedisServer;
use tick::{Action, Flags, GapReason, Instrument, Price, Tick};

const STREAM: &str = "raw_market_data";

#[test]
fn ticks_of_several_channels_are_published_once_and_in_order() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    let mixed: Vec<Tick> = (1..=30_000).flat_map(|n| [tick(1, n), tick(2, n), tick(7, n)]).collect();
    rig.send(&mixed);
    let stats = rig.stop();
    assert_eq!((stats.published, stats.lost, stats.waiting), (90_000, 0, 0));
    let entries = read(&server.url(), STREAM);
    assert_eq!(stats.entries, entries.len() as u64);
    assert!(entries.iter().all(|entry| entry.ticks.len() <= PublisherConfig::BATCH_TICKS));
    for channel in [1, 2, 7] {
        assert_eq!(assert_adds_up(&entries, channel, 30_000), 0);
    }
    let published: Vec<_> =
        stats.channels.iter().map(|c| (c.channel_id, c.published, c.last_sequence)).collect();
    assert_eq!(published, [(1, 30_000, 30_000), (2, 30_000, 30_000), (7, 30_000, 30_000)]);
    assert_eq!(stats.latency.count, stats.entries);
}

#[test]
fn the_bytes_in_redis_are_those_of_the_ticks() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    let sent = ticks(3, 1..=1000);
    rig.send(&sent);
    rig.stop();
    assert_eq!(ticks_of(&read(&server.url(), STREAM), 3), sent);
}

#[test]
fn sequence_numbers_without_a_tick_are_covered_and_not_missing() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    for (count, sequence) in [10u64, 14, 14, 14, 30, 31].into_iter().enumerate() {
        rig.send(&[tick(1, sequence)]);
        rig.published(count as u64 + 1);
    }
    rig.stop();
    let entries = read(&server.url(), STREAM);
    let ranges: Vec<_> = entries.iter().map(|entry| (entry.first, entry.last)).collect();
    assert_eq!(ranges, [(10, 10), (11, 14), (14, 14), (14, 14), (15, 30), (31, 31)]);
    assert_nothing_undeclared(&entries);
}

#[test]
fn a_gap_is_an_entry_of_its_own_in_its_place() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&[
        tick(1, 1),
        tick(2, 1),
        Tick::gap(1, 1, 4, 9, 5, GapReason::Lost),
        tick(1, 10),
        Tick::gap(1, 1, 11, 11, 5, GapReason::RingFull),
        Tick::gap(1, 1, 15, 16, 5, GapReason::Lost),
    ]);
    let stats = rig.stop();
    let entries = read(&server.url(), STREAM);
    assert_nothing_undeclared(&entries);
    assert_eq!(
        gaps_of(&entries, 1),
        [(4, 9, GapReason::Lost), (11, 11, GapReason::RingFull), (15, 16, GapReason::Lost)]
    );
    let of_one: Vec<_> = entries.iter().filter(|e| e.channel_id == 1).map(|e| (e.first, e.last)).collect();
    assert_eq!(of_one, [(1, 3), (4, 9), (10, 10), (11, 11), (12, 14), (15, 16)]);
    assert_eq!(stats.channels[0].declared, [8, 1, 0, 0]);
    assert_eq!(stats.gaps, 3);
}

#[test]
fn a_channel_clear_begins_an_entry_and_a_new_count() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 500..=510));
    rig.send(&[Tick::channel_clear(1, 1, 1, 777)]);
    rig.send(&ticks(1, 1..=5));
    rig.stop();
    let entries = read(&server.url(), STREAM);
    assert_nothing_undeclared(&entries);
    let clear = entries.iter().find(|entry| entry.verdict == Verdict::Restarts).unwrap();
    assert_eq!((clear.ticks[0].action, clear.first), (Action::Clear, 1));
    let position = read_positions(&server.url(), STREAM, 1).unwrap()[&1];
    assert_eq!((position.epoch, position.last), (777, 5));
}

#[test]
fn the_stored_position_is_the_last_number_that_is_covered() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=99));
    rig.send(&ticks(2, 5..=6));
    rig.send(&[Tick::gap(1, 2, 7, 20, 5, GapReason::Lost)]);
    rig.stop();
    let positions = read_positions(&server.url(), STREAM, 1).unwrap();
    assert_eq!(positions.iter().map(|(c, p)| (*c, p.last)).collect::<Vec<_>>(), [(1, 99), (2, 20)]);
}

#[test]
fn a_new_run_declares_the_hole_since_the_last_and_only_that() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=10));
    rig.send(&ticks(2, 1..=10));
    rig.stop();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 21..=25));
    rig.send(&ticks(2, 11..=12));
    rig.stop();
    let entries = read(&server.url(), STREAM);
    assert_nothing_undeclared(&entries);
    assert_eq!(gaps_of(&entries, 1), [(11, 20, GapReason::Offline)]);
    assert_eq!(gaps_of(&entries, 2), []);
}

#[test]
fn a_count_that_started_over_between_two_runs_is_a_clear_and_not_a_repeat() {
    let server = RedisServer::start().unwrap();
    for _ in 0..2 {
        let mut rig = Rig::start(&server.url());
        rig.send(&ticks(1, 1..=10));
        rig.stop();
    }
    let entries = read(&server.url(), STREAM);
    assert_nothing_undeclared(&entries);
    assert_eq!(entries.iter().filter(|entry| entry.verdict == Verdict::Restarts).count(), 1);
}

#[test]
fn a_tick_behind_the_count_is_published_and_seen_as_a_repeat() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&[tick(1, 10), tick(1, 11), tick(1, 4), tick(1, 12)]);
    rig.stop();
    let entries = read(&server.url(), STREAM);
    let verdicts: Vec<_> = entries.iter().map(|entry| entry.verdict).collect();
    assert_eq!(verdicts, [Verdict::Begins, Verdict::Repeats { from: 4, to: 4 }, Verdict::Follows]);
}

#[test]
fn a_packet_that_was_handed_over_whole_is_in_one_write() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::with(PublisherConfig { batch_ticks_max: 10, ..config(&server.url()) });
    for sequence in 1..=500u64 {
        let packet = vec![tick(1, sequence); (sequence % 7) as usize + 1];
        while rig.ring.push_entire_slice(&packet).is_err() {
            std::thread::yield_now();
        }
    }
    rig.stop();
    let entries = read(&server.url(), STREAM);
    assert_nothing_undeclared(&entries);
    for pair in entries.windows(2) {
        assert_eq!(pair[1].first, pair[0].last + 1);
    }
    // One with more ticks than a write holds is divided all the same.
    let mut rig = Rig::with(PublisherConfig { batch_ticks_max: 10, ..config(&server.url()) });
    rig.send(&[tick(9, 1); 25]);
    rig.stop();
    let lengths: Vec<_> =
        read(&server.url(), STREAM).iter().filter(|e| e.channel_id == 9).map(|e| e.ticks.len()).collect();
    assert_eq!(lengths, [10, 10, 5]);
}

#[test]
fn a_reader_sees_that_entries_were_trimmed() {
    let server = RedisServer::start().unwrap();
    let mut rig =
        Rig::with(PublisherConfig { entries_max: 100, batch_ticks_max: 1, ..config(&server.url()) });
    rig.send(&ticks(1, 1..=50));
    rig.published(50);
    let before = read(&server.url(), STREAM);
    rig.send(&ticks(1, 51..=5_000));
    rig.stop();
    let after = read(&server.url(), STREAM);
    assert!(after.len() < 500 && after.len() >= 100, "{}", after.len());
    let mut continuity = bus::Continuity::new();
    continuity.resume(1, before.last().unwrap().last);
    let first = &after[0];
    let entry = bus::Entry::of_ticks(1, first.first, first.last, &first.ticks);
    assert_eq!(continuity.check(&entry), Verdict::Missing { from: 51, to: first.first - 1 });
}

#[test]
fn an_instrument_is_written_when_it_says_something_new() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    let mut instrument = Instrument::new(2, 3, 42);
    instrument.set_symbol(b"AAPL    ");
    instrument.tick_size = Price(10_000_000);
    for _ in 0..5 {
        rig.instruments.push(instrument).unwrap();
    }
    rig.wait_until("row written", |stats| stats.instruments == 1);
    let row = hash(&server.url(), "instruments:2");
    assert_eq!(row.len(), 1);
    assert!(row["42"].contains(r#""symbol":"AAPL""#), "{row:?}");
    instrument.lot_size = 100;
    rig.instruments.push(instrument).unwrap();
    let stats = rig.wait_until("row changed", |stats| stats.instruments == 2);
    assert_eq!((stats.published, stats.entries), (0, 0));
    assert!(hash(&server.url(), "instruments:2")["42"].contains(r#""lot_size":100"#));
    rig.stop();
}

#[test]
fn rings_of_a_worker_that_comes_later_are_taken_too() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=100));
    let (ring, ticks_out) = rtrb::RingBuffer::new(1024);
    let (instruments, rows) = rtrb::RingBuffer::new(16);
    rig.publisher.add_rings(ticks_out, rows).unwrap();
    drop(std::mem::replace(&mut rig.ring, ring));
    drop(instruments);
    rig.send(&ticks(2, 1..=100));
    let stats = rig.stop();
    assert_eq!(stats.published, 200);
}

#[test]
fn a_sequence_at_the_end_of_its_range_is_no_overflow() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&[
        tick(1, u64::MAX - 1),
        Tick::gap(1, 1, u64::MAX, u64::MAX, 5, GapReason::Lost),
        Tick::gap(1, 2, 0, u64::MAX, 5, GapReason::Lost),
        Tick::channel_clear(1, 3, 0, 5),
        tick(3, 0),
    ]);
    rig.stop();
    assert_nothing_undeclared(&read(&server.url(), STREAM));
    let flags = ticks_of(&read(&server.url(), STREAM), 3)[1].flags;
    assert_eq!(flags, Flags::NONE);
}
