//! More than one shard: each is a stream that a reader can check by itself.

use crate::rig::*;
use bus::names::{shard_of, shard_stream};
use dataplane::publisher::{PublisherConfig, read_positions};
use lab::redis_server::RedisServer;
use proptest::prelude::*;
use tick::{GapReason, Tick};

const STREAM: &str = "raw_market_data";

fn sharded(url: &str, shards: u16) -> PublisherConfig {
    PublisherConfig { shards, batch_ticks_max: 50, ..config(url) }
}

fn read_shards(url: &str, shards: u16) -> Vec<Vec<ReadEntry>> {
    (0..shards).map(|shard| read(url, &shard_stream(STREAM, shard, shards))).collect()
}

/// Each shard holds its instruments' ticks in order, and is continuous by itself.
fn check(shards: &[Vec<ReadEntry>], sent: &[Tick]) {
    for (shard, entries) in shards.iter().enumerate() {
        assert_nothing_undeclared(entries);
        for channel in [1, 2] {
            let expected: Vec<Tick> = sent
                .iter()
                .filter(|tick| tick.channel_id == channel && tick.as_gap().is_none())
                .filter(|tick| {
                    bus::is_channel_clear(tick)
                        || usize::from(shard_of(tick.instrument_id, shards.len() as u16)) == shard
                })
                .copied()
                .collect();
            assert_eq!(ticks_of(entries, channel), expected);
            let gaps: Vec<_> =
                sent.iter().filter(|t| t.channel_id == channel).filter_map(Tick::as_gap).collect();
            assert_eq!(gaps_of(entries, channel), gaps);
        }
    }
}

#[test]
fn each_shard_is_continuous_and_gaps_and_clears_are_in_all() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::with(sharded(&server.url(), 4));
    let mut sent = ticks(1, 1..=3_000);
    sent.extend(ticks(2, 100..=120));
    sent.push(Tick::gap(1, 1, 3_001, 3_010, 5, GapReason::Lost));
    sent.extend(ticks(1, 3_011..=3_020));
    sent.push(Tick::channel_clear(1, 1, 1, 99));
    sent.push(Tick::gap(1, 2, 121, 121, 5, GapReason::Lost));
    sent.extend(ticks(1, 1..=40));
    rig.send(&sent);
    let stats = rig.stop();
    let shards = read_shards(&server.url(), 4);
    check(&shards, &sent);
    assert!(read(&server.url(), STREAM).is_empty());
    assert_eq!(stats.gaps, 2);
    let positions = read_positions(&server.url(), STREAM, 4).unwrap();
    assert_eq!((positions[&1].epoch, positions[&1].last, positions[&2].last), (99, 40, 121));
}

#[test]
fn a_new_run_joins_every_shard() {
    let server = RedisServer::start().unwrap();
    let mut sent = Vec::new();
    for run in 0..20u64 {
        let from = run * 10 + 1;
        let mut rig = Rig::with(sharded(&server.url(), 4));
        let records = ticks(1, from..=from + 6);
        rig.send(&records);
        rig.stop();
        sent.extend(records);
        sent.push(Tick::gap(1, 1, from + 7, from + 9, 5, GapReason::Offline));
    }
    sent.pop();
    check(&read_shards(&server.url(), 4), &sent);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_mix_of_ticks_gaps_and_clears_is_continuous_in_every_shard(
        steps in proptest::collection::vec((0u8..20, 1u16..3, 0u64..4, 0u32..50), 1..400),
        shards in 1u16..6,
        batch in 1usize..40,
    ) {
        let server = RedisServer::start().unwrap();
        let mut next = [1u64; 3];
        let mut sent = Vec::new();
        for (n, (kind, channel, step, instrument_id)) in steps.into_iter().enumerate() {
            let sequence = &mut next[usize::from(channel)];
            match kind {
                0 => {
                    let (from, to) = (*sequence + 1, *sequence + 1 + step);
                    sent.push(Tick::gap(1, channel, from, to, 5, GapReason::Lost));
                    *sequence = to;
                }
                1 => {
                    *sequence = step;
                    sent.push(Tick::channel_clear(1, channel, step, 1_000 + n as u64));
                }
                _ => {
                    *sequence += step;
                    sent.push(Tick { instrument_id: instrument_id + 1, ..tick(channel, *sequence) });
                }
            }
        }
        let mut rig = Rig::with(PublisherConfig { batch_ticks_max: batch, ..sharded(&server.url(), shards) });
        rig.send(&sent);
        rig.stop();
        check(&read_shards(&server.url(), shards), &sent);
    }
}
