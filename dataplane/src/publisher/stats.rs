//! What the publisher has done, as a snapshot that the thread makes between two rounds.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Counters since the start, and states at the time of asking.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PublisherStats {
    /// Whether there is a working connection to Redis.
    pub connected: bool,
    /// Records taken from the workers' rings: ticks, clears and declared gaps.
    pub records_in: u64,
    /// Ticks and clears that Redis has acknowledged; a clear counts in each shard.
    pub published: u64,
    /// Entries that Redis has acknowledged (in all shards).
    pub entries: u64,
    /// Writes (transactions) that Redis has acknowledged.
    pub writes: u64,
    /// Bytes of those writes.
    pub bytes: u64,
    /// Gaps declared (each once, however many shards say it).
    pub gaps: u64,
    /// Ticks given up because the spool was full or the disk damaged; declared in the stream.
    pub lost: u64,
    /// Records in rings, spool and unacknowledged writes.
    pub waiting: u64,
    /// Records in the spool.
    pub spooled: u64,
    /// Most records that were in the spool at once.
    pub spool_high_water: u64,
    /// Blocks that the spool's disk refused.
    pub disk_refusals: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Writes sent again because the connection broke before their answer and they had not been carried out.
    pub resent: u64,
    /// Writes not sent again because they had been carried out although the answer was lost.
    pub found_done: u64,
    /// Connections at which Redis held less than it had acknowledged: it was emptied or went back.
    pub rollbacks: u64,
    /// Rows written to the instrument table.
    pub instruments: u64,
    /// Instrument definitions given up because too many waited.
    pub instruments_dropped: u64,
    /// The last thing that went wrong with Redis.
    pub last_error: Option<String>,
    /// By channel, in the order in which they were first seen.
    pub channels: Vec<ChannelPublished>,
    /// From arrival (`ts_recv` of an entry's oldest tick) to Redis's answer.
    pub latency: Latency,
    /// The same, whole.
    #[serde(skip)]
    pub latency_histogram: Option<Histogram<u64>>,
}

/// What is published of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChannelPublished {
    /// The channel.
    pub channel_id: u16,
    /// Ticks and clears acknowledged.
    pub published: u64,
    /// Last sequence number covered.
    pub last_sequence: u64,
    /// Sequence numbers declared missing, by reason: lost, ring full, spool full, offline. Shards declare
    /// the same gap each; it is counted once.
    pub declared: [u64; 4],
    /// Number of the last acknowledged write that moved this channel.
    #[serde(skip)]
    pub(super) write: u64,
}

/// A latency distribution, ns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Entries measured.
    pub count: u64,
    /// Shortest.
    pub min_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// Entries by power of two: (at most this many ns, entries).
    pub buckets: Vec<(u64, u64)>,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Latency {
        if histogram.is_empty() {
            return Latency::default();
        }
        let buckets = histogram
            .iter_log(1024, 2.0)
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration()))
            .filter(|&(_, count)| count > 0);
        Latency {
            count: histogram.len(),
            min_ns: histogram.min(),
            p50_ns: histogram.value_at_quantile(0.5),
            p90_ns: histogram.value_at_quantile(0.9),
            p99_ns: histogram.value_at_quantile(0.99),
            p999_ns: histogram.value_at_quantile(0.999),
            max_ns: histogram.max(),
            buckets: buckets.collect(),
        }
    }
}

/// 1 µs to one minute; longer is counted as a minute.
pub(super) fn latency_histogram() -> Histogram<u64> {
    // The bounds are constants for which the constructor cannot fail.
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap_or_else(|_| unreachable!())
}
