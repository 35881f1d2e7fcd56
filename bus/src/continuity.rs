//! How a reader notices that something is missing.
//!
//! One [`Continuity`] a stream (a shard is a stream). It is told every entry in stream order and says how
//! the entry joins to what came before on its channel. It holds one number a channel and trusts only the
//! entries' ranges, so that trimming, a Redis that lost its data and a writer's mistake all show the same.

use crate::Entry;
use std::collections::BTreeMap;

/// How an entry joins to what came before on its channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The first entry of this channel that this reader sees.
    Begins,
    /// Nothing is missing.
    Follows,
    /// The sender's count starts over: every book of the channel is empty, the entry is the first of the
    /// new count.
    Restarts,
    /// Sequence numbers that no entry covers: trimmed before they were read, or lost by Redis. The entry
    /// itself is good.
    Missing {
        /// First number not covered.
        from: u64,
        /// Last number not covered.
        to: u64,
    },
    /// Numbers that were covered before. Ticks in this range were seen already.
    Repeats {
        /// First number covered again.
        from: u64,
        /// Last number covered again.
        to: u64,
    },
}

/// Follows the channels of one stream.
#[derive(Clone, Debug, Default)]
pub struct Continuity {
    covered_to: BTreeMap<u16, u64>,
}

impl Continuity {
    /// Knows no channel yet.
    pub fn new() -> Continuity {
        Continuity::default()
    }

    /// Goes on after a position that was stored with the reader's own results.
    pub fn resume(&mut self, channel_id: u16, last: u64) {
        self.covered_to.insert(channel_id, last);
    }

    /// The last sequence number covered on a channel.
    pub fn last(&self, channel_id: u16) -> Option<u64> {
        self.covered_to.get(&channel_id).copied()
    }

    /// Every channel with the last sequence number covered: what is stored beside a reader's cursor, and given
    /// back with [`Continuity::resume`].
    pub fn channels(&self) -> impl ExactSizeIterator<Item = (u16, u64)> {
        self.covered_to.iter().map(|(&channel_id, &last)| (channel_id, last))
    }

    /// Takes the next entry of the stream.
    ///
    /// Entries join when the next `s` is the previous `l` (one sequence number's ticks lie in two entries)
    /// or the number after it. A gap entry covers its range like any other.
    pub fn check(&mut self, entry: &Entry<'_>) -> Verdict {
        if entry.restarts() {
            self.covered_to.insert(entry.channel_id, entry.last);
            return Verdict::Restarts;
        }
        let Some(covered_to) = self.covered_to.get_mut(&entry.channel_id) else {
            self.covered_to.insert(entry.channel_id, entry.last);
            return Verdict::Begins;
        };
        let before = *covered_to;
        *covered_to = before.max(entry.last);
        if entry.first < before {
            Verdict::Repeats { from: entry.first, to: before.min(entry.last) }
        } else if entry.first > before.saturating_add(1) {
            Verdict::Missing { from: before + 1, to: entry.first - 1 }
        } else {
            Verdict::Follows
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tick::{GapReason, Tick};

    fn gap(first: u64, last: u64) -> Entry<'static> {
        Entry::of_gap(7, first, last, GapReason::Lost)
    }

    #[test]
    fn entries_that_touch_or_share_a_number_follow_each_other() {
        let mut continuity = Continuity::new();
        let verdicts: Vec<_> = [(10, 12), (13, 13), (13, 20), (21, 21)]
            .map(|(first, last)| continuity.check(&Entry::of_ticks(7, first, last, &[])))
            .into();
        assert_eq!(verdicts, [Verdict::Begins, Verdict::Follows, Verdict::Follows, Verdict::Follows]);
        assert_eq!(continuity.last(7), Some(21));
    }

    #[test]
    fn a_declared_gap_is_covered_and_an_undeclared_one_is_missing() {
        let mut continuity = Continuity::new();
        continuity.check(&Entry::of_ticks(7, 1, 5, &[]));
        assert_eq!(continuity.check(&gap(6, 9)), Verdict::Follows);
        assert_eq!(continuity.check(&Entry::of_ticks(7, 12, 12, &[])), Verdict::Missing { from: 10, to: 11 });
        assert_eq!(continuity.check(&Entry::of_ticks(7, 13, 13, &[])), Verdict::Follows);
    }

    #[test]
    fn what_was_covered_before_is_called_a_repeat_and_does_not_move_the_place_back() {
        let mut continuity = Continuity::new();
        continuity.check(&Entry::of_ticks(7, 1, 10, &[]));
        assert_eq!(continuity.check(&Entry::of_ticks(7, 3, 4, &[])), Verdict::Repeats { from: 3, to: 4 });
        assert_eq!(continuity.check(&Entry::of_ticks(7, 8, 12, &[])), Verdict::Repeats { from: 8, to: 10 });
        assert_eq!(continuity.check(&Entry::of_ticks(7, 13, 13, &[])), Verdict::Follows);
    }

    #[test]
    fn a_channel_clear_starts_a_new_count_and_channels_do_not_mix() {
        let mut continuity = Continuity::new();
        continuity.check(&Entry::of_ticks(7, 1, 1000, &[]));
        continuity.check(&Entry::of_ticks(8, 1, 3, &[]));
        let clear = [Tick::channel_clear(1, 7, 1, 99)];
        assert_eq!(continuity.check(&Entry::of_ticks(7, 1, 1, &clear)), Verdict::Restarts);
        assert_eq!(continuity.check(&Entry::of_ticks(7, 1, 2, &[])), Verdict::Follows);
        assert_eq!(continuity.check(&Entry::of_ticks(8, 4, 4, &[])), Verdict::Follows);
    }

    #[test]
    fn the_end_of_the_number_range_is_no_overflow() {
        let mut continuity = Continuity::new();
        continuity.resume(7, u64::MAX);
        assert_eq!(continuity.check(&gap(u64::MAX, u64::MAX)), Verdict::Follows);
        assert_eq!(continuity.check(&gap(0, 1)), Verdict::Repeats { from: 0, to: 1 });
    }
}
