//! A publisher on a private Redis, fed from the test, and its stream read back.

use bus::{Content, Continuity, Entry, StreamId, Verdict, entries_of_range};
use dataplane::publisher::{Publisher, PublisherConfig, PublisherStats, SpoolConfig};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tick::{Action, GapReason, Instrument, Tick};

/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);
pub const DRAIN: Duration = Duration::from_secs(60);

pub struct Rig {
    pub publisher: Publisher,
    pub ring: rtrb::Producer<Tick>,
    pub instruments: rtrb::Producer<Instrument>,
}

pub fn config(url: &str) -> PublisherConfig {
    PublisherConfig {
        redis_url: url.to_owned(),
        entries_max: 10_000_000,
        spool: SpoolConfig { memory_ticks: 1 << 20, disk: None },
        ..PublisherConfig::default()
    }
}

impl Rig {
    pub fn start(url: &str) -> Rig {
        Rig::with(config(url))
    }

    pub fn with(config: PublisherConfig) -> Rig {
        let (ring, ticks) = rtrb::RingBuffer::new(4096);
        let (instruments, rows) = rtrb::RingBuffer::new(1024);
        let publisher = Publisher::start(config, vec![ticks], vec![rows]).unwrap();
        Rig { publisher, ring, instruments }
    }

    /// Puts records into the ring, waiting while it is full.
    pub fn send(&mut self, records: &[Tick]) {
        let end = Instant::now() + PATIENCE;
        let mut rest = records;
        while !rest.is_empty() {
            rest = self.ring.push_partial_slice(rest).1;
            assert!(Instant::now() < end, "the publisher takes nothing");
            if !rest.is_empty() {
                std::thread::yield_now();
            }
        }
    }

    pub fn wait_until(&self, what: &str, holds: impl Fn(&PublisherStats) -> bool) -> PublisherStats {
        let end = Instant::now() + PATIENCE;
        loop {
            let stats = PublisherStats { latency_histogram: None, ..self.publisher.stats() };
            if holds(&stats) {
                return stats;
            }
            assert!(Instant::now() < end, "never: {what}; {stats:#?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn published(&self, ticks: u64) -> PublisherStats {
        self.wait_until("published", |stats| stats.published >= ticks)
    }

    pub fn stop(self) -> PublisherStats {
        PublisherStats { latency_histogram: None, ..self.publisher.stop(DRAIN).unwrap() }
    }
}

pub fn tick(channel_id: u16, sequence: u64) -> Tick {
    let instrument_id = (sequence % 97) as u32 + 1;
    Tick {
        ts_event: sequence / 2,
        ts_recv: sequence.wrapping_add(1_700_000_000_000_000_000),
        order_id: sequence ^ 0xabcd,
        price: (sequence as i64).wrapping_neg(),
        publisher_id: 1,
        channel_id,
        sequence,
        instrument_id,
        action: Action::Add,
        ..Tick::EMPTY
    }
}

pub fn ticks(channel_id: u16, sequences: std::ops::RangeInclusive<u64>) -> Vec<Tick> {
    sequences.map(|sequence| tick(channel_id, sequence)).collect()
}

/// An entry read back, with its ticks.
#[derive(Clone, Debug)]
pub struct ReadEntry {
    pub id: StreamId,
    pub channel_id: u16,
    pub first: u64,
    pub last: u64,
    pub ticks: Vec<Tick>,
    pub gap: Option<GapReason>,
    pub verdict: Verdict,
}

/// Every entry of a stream, with what the continuity check says of it.
pub fn read(url: &str, stream: &str) -> Vec<ReadEntry> {
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let mut continuity = Continuity::new();
    let mut out: Vec<ReadEntry> = Vec::new();
    let mut from = "-".to_owned();
    loop {
        let reply: redis::Value = redis::cmd("XRANGE")
            .arg(stream)
            .arg(&from)
            .arg("+")
            .arg("COUNT")
            .arg(2000)
            .query(&mut connection)
            .unwrap();
        let entries = entries_of_range(&reply).unwrap();
        let Some(last) = entries.last() else { return out };
        from = format!("({}", last.id);
        for read in entries {
            let entry: Entry<'_> = read.entry.unwrap();
            out.push(ReadEntry {
                id: read.id,
                channel_id: entry.channel_id,
                first: entry.first,
                last: entry.last,
                ticks: entry.ticks().collect(),
                gap: match entry.content {
                    Content::Gap(why) => Some(why),
                    Content::Ticks(_) => None,
                },
                verdict: continuity.check(&entry),
            });
        }
    }
}

/// The ticks of a channel, in stream order.
pub fn ticks_of(entries: &[ReadEntry], channel_id: u16) -> Vec<Tick> {
    entries
        .iter()
        .filter(|entry| entry.channel_id == channel_id)
        .flat_map(|entry| entry.ticks.clone())
        .collect()
}

/// The declared gaps of a channel: range and reason.
pub fn gaps_of(entries: &[ReadEntry], channel_id: u16) -> Vec<(u64, u64, GapReason)> {
    entries
        .iter()
        .filter(|entry| entry.channel_id == channel_id)
        .filter_map(|entry| Some((entry.first, entry.last, entry.gap?)))
        .collect()
}

pub fn assert_nothing_undeclared(entries: &[ReadEntry]) {
    for entry in entries {
        let fine = matches!(entry.verdict, Verdict::Begins | Verdict::Follows | Verdict::Restarts);
        assert!(fine, "{entry:?}");
    }
}

/// Checks a channel that was sent one tick for each of `1..=sent`: each number is published once and in
/// order, or declared once. Gives how many were declared.
pub fn assert_adds_up(entries: &[ReadEntry], channel_id: u16, sent: u64) -> u64 {
    assert_nothing_undeclared(entries);
    let mut next = 1;
    let mut declared = 0;
    for entry in entries.iter().filter(|entry| entry.channel_id == channel_id) {
        if entry.gap.is_some() {
            assert_eq!(entry.first, next);
            declared += entry.last - entry.first + 1;
            next = entry.last + 1;
        }
        for tick in &entry.ticks {
            assert_eq!(tick.sequence, next);
            assert_eq!(tick.order_id, next ^ 0xabcd);
            next += 1;
        }
    }
    assert_eq!(next, sent + 1, "channel {channel_id}: sent = published + declared");
    declared
}

/// A hash as a map.
pub fn hash(url: &str, key: &str) -> BTreeMap<String, String> {
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    redis::cmd("HGETALL").arg(key).query(&mut connection).unwrap()
}
