//! Processes that die and come back: the data plane, and Redis.

use crate::expected::{assert_adds_up, feeds_of, ticks_of};
use crate::rig::{Kept, Rig, play_in};
use crate::sessions::{bad_lines, messages, spec};
use lab::redis_server::RedisServer;
use std::time::{Duration, Instant};
use tick::GapReason;
use venue::impair::Impairment;
use venue::script::Pace;
use venue::session::{Protocol, Source};
use venue::synthetic::Synthetic;

#[test]
fn a_killed_data_plane_comes_back_and_declares_the_hole() {
    let Some(mut rig) = Rig::new("a_killed_data_plane_comes_back_and_declares_the_hole") else { return };
    let spec = spec(Protocol::Itch50, 2, messages() * 6, 21);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    let network = rig.network.clone();
    let clean = [Impairment::default(), Impairment::default()];
    let player =
        std::thread::spawn(move || play_in(&network, session, Pace::Recorded { speed: 1.0 }, clean, 3));
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(400));
        rig.kill();
        let killed = Instant::now();
        rig.start();
        rig.wait("ticks to be published again", |status| {
            status["publisher"]["published"].as_u64().is_some_and(|ticks| ticks > 0)
        });
        println!("published again {:?} after the kill", killed.elapsed());
    }
    assert!(!player.is_finished(), "it must be killed while packets flow");
    let report = player.join().unwrap();
    rig.stop();
    let expected = ticks_of(Synthetic::new(&spec).unwrap(), &feeds);
    let records = rig.stream();
    // The only losses are the two holes of each channel, and they are declared as what they are. With them
    // taken for withheld, everything adds up.
    let mut with_holes = report;
    for channel in &mut with_holes.channels {
        assert!(channel.must_be_declared.is_empty());
        let holes = records.iter().filter(|record| record.channel_id == channel.channel_id);
        for hole in holes.filter(|record| matches!(record.content, Kept::Gap(_))) {
            assert!(matches!(hole.content, Kept::Gap(GapReason::Offline)), "{hole:?}");
            let range = venue::ranges::SequenceRange { from: hole.first, to: hole.last };
            channel.must_be_declared.push(range);
        }
        assert_eq!(channel.must_be_declared.len(), 2, "channel {}", channel.channel_id);
    }
    assert_adds_up(&with_holes, &records, &expected);
}

#[test]
fn redis_stopped_and_started_loses_nothing_within_the_spool() {
    let name = "redis_stopped_and_started_loses_nothing_within_the_spool";
    let Some(mut rig) = Rig::with_redis(name, RedisServer::start_durable().unwrap()) else { return };
    let spec = spec(Protocol::Itch50, 2, messages() * 5, 22);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    let network = rig.network.clone();
    let player = std::thread::spawn(move || {
        play_in(&network, session, Pace::Recorded { speed: 1.0 }, bad_lines(0.01), 3)
    });
    for turn in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        match turn {
            0 => rig.redis.stop().unwrap(),
            1 => rig.redis.kill().unwrap(),
            _ => rig.redis.pause(),
        }
        std::thread::sleep(Duration::from_millis(300));
        if turn == 2 {
            rig.redis.go_on();
        } else {
            rig.redis.start_again().unwrap();
        }
    }
    assert!(!player.is_finished(), "Redis must be gone while packets flow");
    let report = player.join().unwrap();
    rig.stop();
    assert_adds_up(&report, &rig.stream(), &ticks_of(Synthetic::new(&spec).unwrap(), &feeds));
}

#[test]
fn a_data_plane_starts_while_redis_is_away() {
    let Some(mut rig) = Rig::new("a_data_plane_starts_while_redis_is_away") else { return };
    let spec = spec(Protocol::Itch50, 1, messages() / 4, 23);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.redis.stop().unwrap();
    rig.start();
    let clean = [Impairment::default(), Impairment::default()];
    let report = rig.play(session, Pace::Recorded { speed: 1.0 }, clean, 3);
    rig.redis.start_again().unwrap();
    rig.wait("the spool to empty", |status| {
        let publisher = &status["publisher"];
        publisher["waiting"] == 0 && publisher["published"].as_u64() > Some(0)
    });
    rig.stop();
    assert_adds_up(&report, &rig.stream(), &ticks_of(Synthetic::new(&spec).unwrap(), &feeds));
}
