//! What the arbiter counts. Plain fixed-size values owned by the channel: cloning them allocates nothing,
//! so a worker can hand a snapshot to another thread at any time. Counters only grow, `missing` excepted.

use crate::{Line, Malformed, MalformedReason};

/// The counts of one channel since it was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChannelStats {
    /// Per line, in [`Line::index`] order.
    pub lines: [LineStats; 2],
    /// Packets handed to the decoder. A packet of which two parts were new, with messages between them that
    /// another packet brought, counts twice.
    pub delivered_packets: u64,
    /// Sequence numbers handed to the decoder.
    pub delivered_sequences: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Sequence numbers declared lost.
    pub lost: u64,
    /// Times the sender started over: a new session, the count back at its beginning, or a channel reset.
    pub resets: u64,
    /// Sessions that the sender said are over.
    pub sessions_ended: u64,
    /// Most packets that waited in the window at one time.
    pub window_packets_max: u32,
}

/// The counts of one line.
///
/// Every packet is in exactly one of `won`, `duplicates`, `late`, `stale`, `unconfirmed`, `empty` and
/// `malformed`; one packet that still waits for confirmation may be in none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LineStats {
    /// Packets that arrived.
    pub packets: u64,
    /// Packets that brought at least one sequence number first.
    pub won: u64,
    /// Packets of which every sequence number was known already.
    pub duplicates: u64,
    /// Packets wholly behind the channel, with sequence numbers that were never delivered: declared lost
    /// before, from before the start, or too old to tell.
    pub late: u64,
    /// Packets of a count or session that the channel has left behind.
    pub stale: u64,
    /// Packets far from the count, or of another session, that no second packet confirmed. Not delivered.
    pub unconfirmed: u64,
    /// Packets that cover no sequence number: MoldUDP64 heartbeats and ends of session.
    pub empty: u64,
    /// Heartbeats accepted, those that occupy a sequence number (MDP 3.0) included.
    pub heartbeats: u64,
    /// End-of-session packets accepted, each repetition included.
    pub ends_of_session: u64,
    /// Packets refused for their framing, by [`MalformedReason`].
    pub malformed: [u64; MalformedReason::COUNT],
    /// Messages passed over inside delivered packets, by [`MalformedReason`].
    pub malformed_messages: [u64; MalformedReason::COUNT],
    /// The last thing refused on this line, packet or message.
    pub malformed_last: Option<Malformed>,
    /// Sequence numbers that the other line brought and this line has not, or not yet: what is in flight on
    /// the slower line is in here too. It shrinks when the copy comes.
    pub missing: u64,
    /// By how much this line led: one sample for each packet of the slower line, the time between the two
    /// copies of its first sequence number that the other line had brought.
    pub lead: LeadHistogram,
}

impl LineStats {
    /// Packets refused for their framing, all reasons.
    pub fn malformed_total(&self) -> u64 {
        self.malformed.iter().sum()
    }

    /// Messages passed over inside delivered packets, all reasons.
    pub fn malformed_messages_total(&self) -> u64 {
        self.malformed_messages.iter().sum()
    }
}

impl ChannelStats {
    /// The counts of one line.
    #[inline]
    pub fn line(&self, line: Line) -> &LineStats {
        &self.lines[line.index()]
    }
}

/// Buckets in each doubling of the value: a bucket is at most an eighth of its value wide.
const SUB_BITS: u32 = 3;
/// The largest value told apart: 2^37 − 1 ns, 137 s. Larger ones are counted in the last bucket.
const VALUE_BITS: u32 = 37;
const BUCKETS: usize = ((VALUE_BITS - SUB_BITS + 1) << SUB_BITS) as usize;

/// A histogram of times in ns, exact to an eighth, in a fixed array (2.3 kB).
///
/// It is not `hdrhistogram`'s, because that one lives on the heap: a worker could not copy it out without
/// allocating.
#[derive(Clone, PartialEq, Eq)]
pub struct LeadHistogram {
    counts: [u64; BUCKETS],
    total: u64,
    max_ns: u64,
}

impl Default for LeadHistogram {
    fn default() -> Self {
        LeadHistogram { counts: [0; BUCKETS], total: 0, max_ns: 0 }
    }
}

impl core::fmt::Debug for LeadHistogram {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LeadHistogram")
            .field("count", &self.total)
            .field("p50_ns", &self.quantile_ns(0.5))
            .field("max_ns", &self.max_ns)
            .finish()
    }
}

impl LeadHistogram {
    /// Counts one value.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.total += 1;
        if ns > self.max_ns {
            self.max_ns = ns;
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The largest value, exact; 0 when there is none.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The value below or at which the share `quantile` (0 to 1) of all values lies, rounded up to its
    /// bucket's upper end; 0 when there is none.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let rank = ((quantile.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (upper_ns, count) in self.buckets() {
            below += count;
            if below >= rank {
                return upper_ns.min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// The buckets that hold something, in ascending order: the largest value of the bucket, ns, and how
    /// many values are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count > 0)
            .map(|(at, &count)| (upper_of(at), count))
    }

    /// Adds the values of another histogram.
    pub fn merge(&mut self, other: &LeadHistogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

#[inline]
fn bucket_of(ns: u64) -> usize {
    let value = ns.min((1 << VALUE_BITS) - 1);
    // The exponent of the value's octave; the first two octaves are counted one by one.
    let octave = (value | (1 << SUB_BITS)).ilog2() - SUB_BITS;
    ((octave as usize) << SUB_BITS) + (value >> octave) as usize
}

fn upper_of(bucket: usize) -> u64 {
    let sub = 1 << SUB_BITS;
    if bucket < 2 * sub {
        return bucket as u64;
    }
    let octave = (bucket >> SUB_BITS) - 1;
    let lowest = (sub + (bucket & (sub - 1))) as u64;
    ((lowest + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_never_wider_than_an_eighth_of_its_value() {
        let mut value = 0u64;
        while value < 1 << VALUE_BITS {
            let upper = upper_of(bucket_of(value));
            assert!(upper >= value && upper - value <= value / 8, "{value} lies in a bucket up to {upper}");
            value += 1 + value / 97;
        }
    }

    #[test]
    fn buckets_ascend_without_a_hole() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(upper_of(bucket)), bucket);
            assert_eq!(bucket_of(upper_of(bucket) + 1), bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values_within_an_eighth() {
        let mut values: Vec<u64> = (0..1000u64).map(|i| i * i * 37 % 1_000_003).collect();
        let mut histogram = LeadHistogram::default();
        values.iter().for_each(|&value| histogram.record(value));
        values.sort_unstable();
        for (quantile, rank) in [(0.0, 0), (0.5, 499), (0.99, 989), (1.0, 999)] {
            let (exact, told) = (values[rank], histogram.quantile_ns(quantile));
            assert!(told >= exact && told - exact <= exact / 8, "{quantile}: {told} for {exact}");
        }
        assert_eq!((histogram.count(), histogram.max_ns()), (1000, values[999]));
    }

    #[test]
    fn an_empty_histogram_has_no_values_and_merging_adds_them() {
        let mut sum = LeadHistogram::default();
        assert_eq!((sum.quantile_ns(0.5), sum.max_ns(), sum.count()), (0, 0, 0));
        let mut other = LeadHistogram::default();
        other.record(5);
        other.record(u64::MAX);
        sum.merge(&other);
        sum.merge(&other);
        assert_eq!((sum.count(), sum.max_ns(), sum.quantile_ns(0.5)), (4, u64::MAX, 5));
    }
}
