//! A set of sequence numbers, kept as ranges. Numbers arrive nearly in order, so most inserts lengthen the
//! last range; memory grows with the number of holes, not of numbers.

use serde::Serialize;

/// Sequence numbers `from` to `to`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct SequenceRange {
    /// First.
    pub from: u64,
    /// Last.
    pub to: u64,
}

impl SequenceRange {
    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.to - self.from + 1
    }
}

/// A set of sequence numbers. Invariant: the ranges are in order and neither touch nor overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangeSet {
    ranges: Vec<SequenceRange>,
}

impl RangeSet {
    /// Adds `first .. first + count`.
    pub fn insert(&mut self, first: u64, count: u64) {
        if count == 0 {
            return;
        }
        let added = SequenceRange { from: first, to: first + (count - 1) };
        match self.ranges.last_mut() {
            Some(last) if added.from >= last.from && added.from <= last.to.saturating_add(1) => {
                last.to = last.to.max(added.to);
            }
            Some(last) if added.from <= last.to => self.insert_before_the_end(added),
            _ => self.ranges.push(added),
        }
    }

    fn insert_before_the_end(&mut self, added: SequenceRange) {
        let begin = self.ranges.partition_point(|range| range.to.saturating_add(1) < added.from);
        let end = self.ranges.partition_point(|range| range.from <= added.to.saturating_add(1));
        let touched = &self.ranges[begin..end];
        let merged = SequenceRange {
            from: touched.first().map_or(added.from, |first| first.from.min(added.from)),
            to: touched.last().map_or(added.to, |last| last.to.max(added.to)),
        };
        self.ranges.splice(begin..end, [merged]);
    }

    /// Whether all of `first .. first + count` are in the set.
    pub fn contains(&self, first: u64, count: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.to < first);
        count == 0
            || self.ranges.get(at).is_some_and(|range| range.from <= first && range.to - first >= count - 1)
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[SequenceRange] {
        &self.ranges
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(SequenceRange::count).sum()
    }

    /// The numbers that are in any of two sets.
    pub fn union(&self, other: &RangeSet) -> RangeSet {
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        let mut union = RangeSet::default();
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if a.from <= b.from => left.next(),
                (_, Some(_)) => right.next(),
                (Some(_), None) => left.next(),
                (None, None) => return union,
            };
            if let Some(range) = next {
                union.insert(range.from, range.count());
            }
        }
    }

    /// The numbers that are in this set and not in `other`.
    pub fn minus(&self, other: &RangeSet) -> RangeSet {
        let mut holes = other.ranges.iter().peekable();
        let mut left = RangeSet::default();
        for range in &self.ranges {
            let mut from = range.from;
            let mut open = true;
            while let Some(hole) = holes.peek() {
                if hole.to < from {
                    holes.next();
                    continue;
                }
                if hole.from > range.to {
                    break;
                }
                if hole.from > from {
                    left.insert(from, hole.from - from);
                }
                if hole.to >= range.to {
                    open = false;
                    break;
                }
                from = hole.to + 1;
            }
            if open {
                left.insert(from, range.to - from + 1);
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn members(set: &RangeSet) -> BTreeSet<u64> {
        set.ranges().iter().flat_map(|range| range.from..=range.to).collect()
    }

    #[test]
    fn sets_of_ranges_agree_with_sets_of_numbers() {
        bolero::check!().with_type::<(Vec<(u8, u8)>, Vec<(u8, u8)>)>().with_iterations(5_000).for_each(
            |(left, right)| {
                let build = |parts: &[(u8, u8)]| {
                    let (mut set, mut plain) = (RangeSet::default(), BTreeSet::new());
                    for &(first, count) in parts {
                        let (first, count) = (u64::from(first), u64::from(count % 9));
                        set.insert(first, count);
                        plain.extend(first..first + count);
                    }
                    assert_eq!(members(&set), plain);
                    assert_eq!(set.count(), plain.len() as u64);
                    assert!(set.ranges().windows(2).all(|pair| pair[0].to + 1 < pair[1].from));
                    (set, plain)
                };
                let ((left, plain_left), (right, plain_right)) = (build(left), build(right));
                assert_eq!(members(&left.union(&right)), &plain_left | &plain_right);
                assert_eq!(members(&left.minus(&right)), &plain_left - &plain_right);
                for range in right.ranges() {
                    let inside = (range.from..=range.to).all(|number| plain_left.contains(&number));
                    assert_eq!(left.contains(range.from, range.count()), inside);
                }
            },
        );
    }

    #[test]
    fn the_highest_sequence_number_is_a_number_like_any_other() {
        let mut set = RangeSet::default();
        set.insert(u64::MAX - 1, 2);
        set.insert(5, 1);
        set.insert(u64::MAX, 1);
        assert_eq!(set.count(), 3);
        assert_eq!(set.minus(&set).count(), 0);
    }
}
