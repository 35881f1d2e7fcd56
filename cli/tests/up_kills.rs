//! Under a steady feed, features, archiver, Redis and PostgreSQL are killed in turn: the archive holds every
//! published tick exactly once, and the features go on.
//!
//! Short: each is killed once. `FEEDPLANE_SOAK=1`: five minutes, one killed every 15 s.
#![allow(clippy::unwrap_used)]

mod up_support;

use std::time::{Duration, Instant};
use tick::Tick;
use up_support::{Archive, Folder, Up, is_skipped};

const VICTIMS: [&str; 4] = ["features", "archiver", "redis", "postgres"];
const ALL: [&str; 5] = ["redis", "postgres", "dataplane", "features", "archiver"];

#[test]
fn the_archive_holds_every_published_tick_once_whoever_is_killed() {
    let name = "the_archive_holds_every_published_tick_once_whoever_is_killed";
    if is_skipped(name, &["dataplane", "features", "archiver"]) {
        return;
    }
    if let Some(why) = lab::postgres::unavailable() {
        eprintln!("SKIPPED: {name}: {why}");
        return;
    }
    let soak = std::env::var_os("FEEDPLANE_SOAK").is_some();
    let (kills, every, duration) = if soak { (19, 15, "300s") } else { (4, 7, "36s") };
    let folder = Folder::new();
    folder.up("features: {}\narchiver: {}");
    let mut up = Up::start(&folder);
    up.wait_ready(&ALL);
    let mut venue = folder.play("3000", duration);
    let begun = Instant::now();
    for (kill, victim) in (1..=kills).zip(VICTIMS.iter().cycle()) {
        let at = begun + Duration::from_secs(kill * every);
        up.wait("the next kill", |_| Instant::now() >= at);
        up.wait_ready(&ALL);
        up.kill(victim);
    }
    up.wait_ready(&ALL);
    assert!(venue.wait().unwrap().success());
    up.wait("the end of the session in the stream", |_| folder.has_all());

    let stream = folder.stream();
    let ticks: Vec<Tick> =
        stream.iter().filter_map(|(.., ticks)| ticks.as_deref()).flatten().copied().collect();
    let published = |folder: &Folder| folder.status()["publisher"]["published"].as_u64();
    up.wait("the data plane to say the same", |_| published(&folder) == Some(ticks.len() as u64));
    assert_eq!(folder.status()["publisher"]["lost"], 0);
    assert_eq!(folder.status()["publisher"]["rollbacks"], 0, "Redis is durable");
    up.wait("all of it in the archive", |_| {
        let features = folder.features().len() as i64;
        folder.archived() == Some((ticks.len() as i64, features))
    });
    let archive = folder.archive();
    same_ticks(&archive, &ticks);
    same_gaps(&archive, &stream);
    features_went_on(&folder, &archive, &ticks);
    up.stop();
}

fn same_ticks(archive: &Archive, ticks: &[Tick]) {
    let published: Vec<(i64, i64, i64, i64, i64)> = ticks
        .iter()
        .map(|tick| {
            let [sequence, ts_recv, order] =
                [tick.sequence, tick.ts_recv, tick.order_id].map(u64::cast_signed);
            (sequence, ts_recv, order, tick.price, i64::from(tick.size))
        })
        .collect();
    let differs =
        archive.ticks.iter().zip(&published).position(|(archived, published)| archived != published);
    assert_eq!((archive.ticks.len(), differs), (published.len(), None));
    assert!(archive.rows.iter().copied().eq(1..=published.len() as i64), "rows are numbered without a hole");
}

fn same_gaps(archive: &Archive, stream: &[(u16, u64, u64, Option<Vec<Tick>>)]) {
    let declared: Vec<(Option<i64>, Option<i64>)> = stream
        .iter()
        .filter(|(.., ticks)| ticks.is_none())
        .map(|(_, first, last, _)| (Some(first.cast_signed()), Some(last.cast_signed())))
        .collect();
    let archived: Vec<_> = archive.gaps.iter().map(|(first, last, _)| (*first, *last)).collect();
    assert_eq!(archived, declared, "{:?}", archive.gaps);
}

fn features_went_on(folder: &Folder, archive: &Archive, ticks: &[Tick]) {
    let features = folder.features();
    assert!(features.iter().map(|(number, _)| *number).eq(1..=features.len() as u64), "each once, in order");
    assert!(archive.features.iter().copied().eq(1..=features.len() as i64));
    let last_tick_ns = ticks.iter().map(|tick| tick.ts_recv).max().unwrap();
    let last_ns = features.last().unwrap().1;
    let behind_s = last_tick_ns.saturating_sub(last_ns) / 1_000_000_000;
    assert!(behind_s < 3, "the last record is of {behind_s} s before the session's end");
}
