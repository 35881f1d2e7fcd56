//! Exactly once, whatever is killed.

use crate::rig::{Feed, Rig, soak};
use rand::RngExt;
use std::time::Duration;

fn everything_once(rig: &Rig, last: u64) {
    rig.wait_for("SELECT count(*) FROM ticks", last as i64);
    let wanted: Vec<i64> = (1..=last as i64).collect();
    assert!(rig.archived() == wanted, "the archive is the stream");
}

fn pause(from_ms: u64, to_ms: u64) {
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(from_ms..to_ms)));
}

#[test]
fn an_archiver_killed_at_any_moment_leaves_no_hole_and_no_repeat() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "batch: {rows_max: 50, wait_ms: 5}\n".into();
    let feed = Feed::start(rig.redis.url(), Duration::from_micros(300));
    for _ in 0..12 * soak(50) {
        rig.start(0);
        pause(20, 900);
        rig.end(0, libc::SIGKILL);
    }
    let last = feed.end();
    rig.start(0);
    everything_once(&rig, last);
    assert_eq!(rig.number("SELECT count(*) FROM gaps"), 0);
}

#[test]
fn a_killed_database_comes_back_to_every_tick_once() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "batch: {rows_max: 200, wait_ms: 10}\n".into();
    rig.start(0);
    rig.wait_for_start();
    let feed = Feed::start(rig.redis.url(), Duration::from_micros(300));
    for _ in 0..4 * soak(50) {
        pause(100, 800);
        rig.postgres.kill().unwrap();
        pause(0, 300);
        rig.postgres.start_again().unwrap();
    }
    everything_once(&rig, feed.end());
    rig.wait_for_log(0, "database: the database cannot be reached");
    assert_eq!(rig.end(0, libc::SIGTERM), Some(0));
}

#[test]
fn a_killed_redis_that_keeps_its_data_costs_nothing() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "batch: {rows_max: 200, wait_ms: 10}\n".into();
    rig.start(0);
    let feed = Feed::start(rig.redis.url(), Duration::from_micros(300));
    for _ in 0..4 * soak(50) {
        pause(100, 800);
        rig.redis.kill().unwrap();
        pause(0, 300);
        rig.redis.start_again().unwrap();
    }
    everything_once(&rig, feed.end());
    assert_eq!(rig.number("SELECT count(*) FROM gaps"), 0);
}

#[test]
fn two_archivers_that_sleep_and_die_in_turn_archive_everything_once() {
    let Some(mut rig) = Rig::new() else { return };
    rig.document = "batch: {rows_max: 50, wait_ms: 5}\n".into();
    let feed = Feed::start(rig.redis.url(), Duration::from_micros(300));
    rig.start(0);
    rig.start(1);
    for turn in 0..6 * soak(50) as usize {
        let which = turn % 2;
        pause(50, 600);
        if turn % 3 == 0 {
            rig.end(which, libc::SIGKILL);
            pause(0, 700);
            rig.start(which);
        } else {
            // Asleep for longer than its lease: when it wakes, what it holds is another's.
            rig.signal(which, libc::SIGSTOP);
            pause(600, 1_200);
            rig.signal(which, libc::SIGCONT);
        }
    }
    let last = feed.end();
    everything_once(&rig, last);
    assert_eq!(rig.number("SELECT count(*) FROM gaps"), 0);
    for which in 0..2 {
        assert_eq!(rig.end(which, libc::SIGTERM), Some(0), "{}", rig.log(which));
    }
    everything_once(&rig, last);
}

#[test]
fn what_was_read_is_stored_before_an_orderly_end() {
    let Some(mut rig) = Rig::new() else { return };
    // Neither size nor time would store it.
    rig.document = "batch: {rows_max: 1000000, wait_ms: 60000}\n".into();
    rig.start(0);
    rig.wait_for_start();
    let mut redis = rig.redis();
    for first in [1, 11, 21] {
        crate::rig::add_ticks(&mut redis, first, 10).unwrap();
    }
    rig.wait_for_log(0, "archiving from here on");
    pause(300, 301);
    assert_eq!(rig.end(0, libc::SIGTERM), Some(0), "{}", rig.log(0));
    assert_eq!(rig.archived(), (1..=30).collect::<Vec<i64>>());
}
