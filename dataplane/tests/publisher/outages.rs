//! Redis slow, stopped, killed, full or emptied.

use crate::rig::*;
use dataplane::publisher::{PublisherConfig, PublisherError, SpoolConfig};
use lab::redis_server::RedisServer;
use std::time::Duration;
use tick::{Flags, GapReason, Instrument, Tick};

const STREAM: &str = "raw_market_data";

#[test]
fn a_killed_redis_that_comes_back_with_its_data_has_everything_once() {
    let mut server = RedisServer::start_durable().unwrap();
    let mut rig = Rig::start(&server.url());
    let mut sent = 0;
    for round in 0..6 {
        rig.send(&ticks(1, sent + 1..=sent + 5_000));
        sent += 5_000;
        if round % 2 == 0 {
            server.kill().unwrap();
        } else {
            server.stop().unwrap();
        }
        rig.send(&ticks(1, sent + 1..=sent + 20_000));
        sent += 20_000;
        server.start_again().unwrap();
        rig.wait_until("reconnected", |stats| stats.reconnects > round);
    }
    let stats = rig.stop();
    assert!(stats.reconnects >= 6, "{stats:#?}");
    assert_eq!((stats.published, stats.lost, stats.rollbacks), (sent, 0, 0));
    assert!(stats.spool_high_water > 0);
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, sent), 0);
}

#[test]
fn a_frozen_redis_loses_nothing_and_needs_no_new_connection() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=1_000));
    server.pause();
    rig.send(&ticks(1, 1_001..=100_000));
    rig.wait_until("spooled", |stats| stats.spooled > 50_000);
    server.go_on();
    let stats = rig.stop();
    assert_eq!((stats.published, stats.lost, stats.reconnects), (100_000, 0, 0));
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 100_000), 0);
}

#[test]
fn ticks_wait_for_a_redis_that_is_not_there_yet() {
    let mut server = RedisServer::start().unwrap();
    server.kill().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=10_000));
    let stats = rig.wait_until("an error", |stats| stats.last_error.is_some());
    assert!(!stats.connected && stats.last_error.unwrap().contains("cannot reach Redis"));
    server.start_again().unwrap();
    assert_eq!(rig.stop().published, 10_000);
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 10_000), 0);
}

#[test]
fn a_redis_that_comes_back_empty_gets_what_follows_and_the_instruments_again() {
    let mut server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server.url());
    let mut instrument = Instrument::new(2, 1, 42);
    instrument.set_symbol(b"AAPL");
    rig.instruments.push(instrument).unwrap();
    rig.send(&ticks(1, 1..=1_000));
    rig.wait_until("all written", |stats| stats.published == 1_000 && stats.instruments == 1);
    server.restart_empty().unwrap();
    rig.send(&ticks(1, 1_001..=2_000));
    rig.wait_until("instruments again", |stats| stats.instruments == 2);
    let stats = rig.stop();
    assert_eq!((stats.published, stats.rollbacks, stats.lost), (2_000, 1, 0));
    let entries = read(&server.url(), STREAM);
    assert_nothing_undeclared(&entries);
    assert_eq!(entries[0].first, 1_001);
    assert_eq!(ticks_of(&entries, 1).len(), 1_000);
    assert!(hash(&server.url(), "instruments:2").contains_key("42"));
}

#[test]
fn past_the_memory_spool_the_loss_is_declared_exactly() {
    let mut server = RedisServer::start_durable().unwrap();
    let mut rig = Rig::with(PublisherConfig {
        spool: SpoolConfig { memory_ticks: 5_000, disk: None },
        ..config(&server.url())
    });
    rig.send(&ticks(1, 1..=100));
    rig.published(100);
    server.kill().unwrap();
    let mixed: Vec<Tick> = (101..=20_000).flat_map(|n| [tick(1, n), tick(2, n - 100)]).collect();
    rig.send(&mixed);
    rig.wait_until("overflow", |stats| stats.lost > 0 && stats.records_in == 39_900);
    server.start_again().unwrap();
    rig.wait_until("drained", |stats| stats.waiting == 0);
    rig.send(&ticks(1, 20_001..=20_010));
    let stats = rig.stop();
    let entries = read(&server.url(), STREAM);
    let declared = assert_adds_up(&entries, 1, 20_010) + assert_adds_up(&entries, 2, 19_900);
    assert_eq!(declared, stats.lost);
    assert_eq!(stats.published + declared, 20_010 + 19_900);
    assert!(gaps_of(&entries, 1).iter().all(|gap| gap.2 == GapReason::SpoolFull));
    let last = ticks_of(&entries, 1).pop().unwrap();
    assert!(last.flags.contains(Flags::MAYBE_BAD_BOOK), "the book has been doubtful since the loss");
}

#[test]
fn memory_first_then_disk_and_everything_comes_out_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool");
    let mut server = RedisServer::start_durable().unwrap();
    let mut rig = Rig::with(PublisherConfig {
        spool: SpoolConfig { memory_ticks: 5_000, disk: Some((file.clone(), 64 << 20)) },
        ..config(&server.url())
    });
    rig.send(&ticks(1, 1..=100));
    server.kill().unwrap();
    rig.send(&ticks(1, 101..=200_000));
    rig.wait_until("spooled", |stats| stats.spooled > 190_000);
    assert!(file.metadata().unwrap().len() > 10 << 20);
    server.start_again().unwrap();
    let stats = rig.stop();
    assert_eq!((stats.published, stats.lost), (200_000, 0));
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 200_000), 0);
    assert!(!file.exists());
}

#[test]
fn a_damaged_spool_file_costs_what_was_in_it_and_it_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool");
    let mut server = RedisServer::start_durable().unwrap();
    let mut rig = Rig::with(PublisherConfig {
        spool: SpoolConfig { memory_ticks: 1_000, disk: Some((file.clone(), 64 << 20)) },
        ..config(&server.url())
    });
    server.kill().unwrap();
    rig.send(&ticks(1, 1..=50_000));
    rig.wait_until("spooled", |stats| stats.waiting == 50_000 && stats.spooled > 45_000);
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(300_000).unwrap();
    server.start_again().unwrap();
    let stats = rig.stop();
    let declared = assert_adds_up(&read(&server.url(), STREAM), 1, 50_000);
    assert!(declared > 30_000 && declared == stats.lost, "{declared} of {}", stats.lost);
}

#[test]
fn a_redis_without_memory_is_waited_for() {
    let server =
        RedisServer::start_with(&["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"]).unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=200_000));
    let stats = rig.wait_until("refused", |stats| stats.last_error.is_some());
    let error = stats.last_error.unwrap();
    assert!(error.contains("OOM") && error.contains("entries_max"), "{error}");
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let _: () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1gb").query(&mut connection).unwrap();
    let stats = rig.stop();
    assert_eq!((stats.published, stats.lost), (200_000, 0));
    assert_eq!(assert_adds_up(&read(&server.url(), STREAM), 1, 200_000), 0);
}

#[test]
fn what_cannot_be_published_in_time_is_told_at_the_end_and_declared_by_the_next_run() {
    let mut server = RedisServer::start_durable().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 1..=10));
    rig.published(10);
    server.kill().unwrap();
    rig.send(&ticks(1, 11..=30));
    let error = rig.publisher.stop(Duration::from_millis(300)).unwrap_err();
    let PublisherError::Undelivered { ticks: left, last_error } = error else { panic!("{error}") };
    assert_eq!(left, 20);
    assert!(last_error.unwrap().contains("cannot reach"));
    server.start_again().unwrap();
    let mut rig = Rig::start(&server.url());
    rig.send(&ticks(1, 31..=40));
    rig.stop();
    let entries = read(&server.url(), STREAM);
    assert_eq!(gaps_of(&entries, 1), [(11, 30, GapReason::Offline)]);
    assert_eq!(assert_adds_up(&entries, 1, 40), 20);
}

#[test]
fn a_publisher_that_is_dropped_ends_at_once_and_what_it_stored_is_true() {
    let server = RedisServer::start().unwrap();
    let mut next = 1;
    for _ in 0..20 {
        let mut rig = Rig::start(&server.url());
        rig.send(&ticks(1, next..=next + 3_000));
        drop(rig);
        let stored = dataplane::publisher::read_positions(&server.url(), STREAM, 1).unwrap();
        let covered = read(&server.url(), STREAM).last().map(|entry| entry.last);
        assert_eq!(stored.get(&1).map(|position| position.last), covered);
        next += 3_100;
    }
    assert_nothing_undeclared(&read(&server.url(), STREAM));
}
