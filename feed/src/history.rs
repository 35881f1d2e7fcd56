//! Which line brought which of the recent sequence numbers, and when the first copy came.
//!
//! One bit per sequence number and line, in rings over the last [`History::SEQUENCES`] numbers of the
//! present count: `tail..tail + SEQUENCES`. The channel makes room before it marks, so a bit always belongs
//! to the number that is asked for. What leaves at the tail is reported: numbers that one line brought and
//! the other did not.

use crate::{Line, LineStats};

/// Sequence numbers in one word of a bitmap.
const WORD: u64 = 64;
const WORDS: usize = (History::SEQUENCES / WORD) as usize;

pub(crate) struct History {
    seen: [Box<[u64; WORDS]>; 2],
    lost: Box<[u64; WORDS]>,
    first_ns: Box<[u64; History::TIMES as usize]>,
    tail: u64,
    /// One past the highest number marked in the present count.
    top: u64,
    /// Per line, the missing range that may still grow.
    open: [Option<(u64, u64)>; 2],
}

/// What marking a packet found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marked {
    /// When the other line brought the first number of this packet that it had brought before this line did.
    pub(crate) other_first_ns: Option<u64>,
    /// A number of the packet was declared lost before, or is older than the history.
    pub(crate) lost: bool,
}

impl History {
    /// How far back a late copy is still matched with the first: 262,144 sequence numbers, a quarter of a
    /// second at a million messages a second. 96 KiB a channel.
    pub(crate) const SEQUENCES: u64 = 1 << 18;
    /// How far back the arrival time of the first copy is known: 16,384 sequence numbers, 16 ms at a million
    /// messages a second. 128 KiB a channel; a longer lead is not sampled.
    pub(crate) const TIMES: u64 = 1 << 14;

    pub(crate) fn new() -> History {
        History {
            seen: [zeroed(), zeroed()],
            lost: zeroed(),
            first_ns: zeroed(),
            tail: 0,
            top: 0,
            open: [None; 2],
        }
    }

    /// Begins a new count at `sequence`. Everything must have been flushed.
    pub(crate) fn begin(&mut self, sequence: u64) {
        self.tail = sequence - sequence % WORD;
        self.top = self.tail;
        self.mark_lost(self.tail, sequence);
    }

    /// Whether numbers below `end` fit without dropping old ones.
    #[inline]
    pub(crate) fn has_room(&self, end: u64) -> bool {
        end <= self.tail + History::SEQUENCES
    }

    /// Drops old numbers until those below `end` fit, and reports what one line alone brought among them.
    #[cold]
    #[inline(never)]
    pub(crate) fn make_room(&mut self, end: u64, missing: &mut impl FnMut(Line, u64, u64)) {
        let tail = (end - History::SEQUENCES).next_multiple_of(WORD);
        self.sweep(tail.min(self.top.next_multiple_of(WORD)), missing);
        self.tail = tail;
        self.top = self.top.max(tail);
    }

    /// Reports and forgets everything.
    pub(crate) fn flush(&mut self, missing: &mut impl FnMut(Line, u64, u64)) {
        self.sweep(self.top.next_multiple_of(WORD), missing);
        for line in Line::BOTH {
            if let Some((from, to)) = self.open[line.index()].take() {
                missing(line, from, to);
            }
        }
    }

    fn sweep(&mut self, to: u64, missing: &mut impl FnMut(Line, u64, u64)) {
        while self.tail < to {
            let word = word_of(self.tail);
            let seen = [self.seen[0][word], self.seen[1][word]];
            for line in Line::BOTH {
                let mut bits = seen[1 - line.index()] & !seen[line.index()];
                while bits != 0 {
                    let start = bits.trailing_zeros();
                    let length = (bits >> start).trailing_ones();
                    let from = self.tail + u64::from(start);
                    self.extend_open(line, from, from + u64::from(length) - 1, missing);
                    bits &= !mask(start, u64::from(length));
                }
            }
            self.seen[0][word] = 0;
            self.seen[1][word] = 0;
            self.lost[word] = 0;
            self.tail += WORD;
        }
    }

    fn extend_open(&mut self, line: Line, from: u64, to: u64, missing: &mut impl FnMut(Line, u64, u64)) {
        let open = &mut self.open[line.index()];
        match open {
            Some((_, end)) if *end + 1 == from => *end = to,
            _ => {
                if let Some((from, to)) = open.replace((from, to)) {
                    missing(line, from, to);
                }
            }
        }
    }

    /// The first run of numbers in `at..end` that no line has brought.
    pub(crate) fn next_unseen(&self, at: u64, end: u64) -> Option<(u64, u64)> {
        let first = self.scan(at, end, 0);
        (first < end).then(|| (first, self.scan(first, end, u64::MAX)))
    }

    /// The first number of `at..end` whose seen bit differs from those of `flip`: seen when `flip` is all
    /// ones, unseen when it is 0. `end` when there is none.
    fn scan(&self, mut at: u64, end: u64, flip: u64) -> u64 {
        while at < end {
            let word = word_of(at);
            let wanted = !(self.seen[0][word] | self.seen[1][word]) ^ flip;
            let found = wanted >> (at % WORD);
            if found != 0 {
                return (at + u64::from(found.trailing_zeros())).min(end);
            }
            at = (at | (WORD - 1)) + 1;
        }
        end
    }

    /// Notes that `line` brought `first..end` at `recv_ns`, and keeps [`LineStats::missing`] up to date.
    #[inline]
    pub(crate) fn mark(
        &mut self,
        line: Line,
        first: u64,
        end: u64,
        recv_ns: u64,
        lines: &mut [LineStats; 2],
    ) -> Marked {
        debug_assert!(first < end && self.has_room(end));
        let mut marked = Marked { other_first_ns: None, lost: first < self.tail };
        if end > self.top {
            self.top = end;
        }
        let mut at = first.max(self.tail);
        while at < end {
            let length = (WORD - at % WORD).min(end - at);
            self.mark_word(line, at, length, recv_ns, lines, &mut marked);
            at += length;
        }
        marked
    }

    /// The part of [`History::mark`] that lies in one word: `at..at + length`.
    #[inline]
    fn mark_word(
        &mut self,
        line: Line,
        at: u64,
        length: u64,
        recv_ns: u64,
        lines: &mut [LineStats; 2],
        marked: &mut Marked,
    ) {
        let (mine, other) = (line.index(), line.other().index());
        let (word, mask) = (word_of(at), mask((at % WORD) as u32, length));
        let before = self.seen[mine][word];
        let theirs = self.seen[other][word];
        self.seen[mine][word] = before | mask;
        marked.lost |= self.lost[word] & mask != 0;
        let (second, first_copies) = (mask & !before & theirs, mask & !before & !theirs);
        if first_copies == mask {
            lines[other].missing += length;
            self.note_times(at, length, mask, mask, recv_ns);
        } else if second == mask {
            lines[mine].missing -= length;
            self.note_second(at, marked);
        } else {
            lines[other].missing += u64::from(first_copies.count_ones());
            lines[mine].missing -= u64::from(second.count_ones());
            if second != 0 {
                self.note_second(at - at % WORD + u64::from(second.trailing_zeros()), marked);
            }
            self.note_times(at, length, mask, first_copies, recv_ns);
        }
    }

    #[inline]
    fn note_second(&self, sequence: u64, marked: &mut Marked) {
        if marked.other_first_ns.is_none() && sequence + History::TIMES > self.top {
            marked.other_first_ns = Some(self.first_ns[time_of(sequence)]);
        }
    }

    /// Notes when those of `at..at + length` came that are in `first_copies`, and still have a place.
    #[inline]
    fn note_times(&mut self, at: u64, length: u64, mask: u64, first_copies: u64, recv_ns: u64) {
        if first_copies == mask && at + History::TIMES > self.top {
            if length == 1 {
                self.first_ns[time_of(at)] = recv_ns;
            } else {
                self.first_ns[time_of(at)..][..length as usize].fill(recv_ns);
            }
            return;
        }
        for sequence in at..at + length {
            if first_copies >> (sequence % WORD) & 1 != 0 && sequence + History::TIMES > self.top {
                self.first_ns[time_of(sequence)] = recv_ns;
            }
        }
    }

    /// Notes that `from..to` was given up.
    pub(crate) fn mark_lost(&mut self, from: u64, to: u64) {
        let mut at = from.max(self.tail);
        while at < to {
            let length = (WORD - at % WORD).min(to - at);
            self.lost[word_of(at)] |= mask((at % WORD) as u32, length);
            at += length;
        }
        self.top = self.top.max(to);
    }
}

/// Zeroes straight from the heap: not by way of the stack, and not touched before they are used.
fn zeroed<const N: usize>() -> Box<[u64; N]> {
    vec![0; N].into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("of the length asked for"))
}

#[inline]
fn word_of(sequence: u64) -> usize {
    (sequence / WORD) as usize % WORDS
}

#[inline]
fn time_of(sequence: u64) -> usize {
    (sequence % History::TIMES) as usize
}

/// `length` ones (1 to 64) from bit `start` up.
#[inline]
fn mask(start: u32, length: u64) -> u64 {
    (u64::MAX >> (WORD - length)) << start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignore() -> impl FnMut(Line, u64, u64) {
        |_, _, _| {}
    }

    fn flushed(history: &mut History) -> Vec<(Line, u64, u64)> {
        let mut ranges = Vec::new();
        history.flush(&mut |line, from, to| ranges.push((line, from, to)));
        ranges
    }

    #[test]
    fn a_line_that_never_brought_anything_misses_everything_in_one_range() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        history.begin(1000);
        for first in (1000..1400).step_by(7) {
            history.mark(Line::A, first, first + 7, 1, &mut lines);
        }
        assert_eq!((lines[0].missing, lines[1].missing), (0, 406));
        assert_eq!(flushed(&mut history), [(Line::B, 1000, 1405)]);
    }

    #[test]
    fn the_copy_of_the_other_line_takes_back_what_was_missing() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        history.begin(1);
        history.mark(Line::A, 1, 200, 10, &mut lines);
        let marked = history.mark(Line::B, 50, 60, 25, &mut lines);
        assert_eq!(marked, Marked { other_first_ns: Some(10), lost: false });
        let again = history.mark(Line::B, 50, 60, 30, &mut lines);
        assert_eq!(again.other_first_ns, None, "a line's own repetition is no second copy");
        assert_eq!((lines[0].missing, lines[1].missing), (0, 189));
        assert_eq!(flushed(&mut history), [(Line::B, 1, 49), (Line::B, 60, 199)]);
    }

    #[test]
    fn ranges_that_leave_at_the_tail_are_joined_across_words_and_sweeps() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        let mut ranges = Vec::new();
        history.begin(0);
        let mut note = |line, from, to| ranges.push((line, from, to));
        for first in 0..2 * History::SEQUENCES {
            if !history.has_room(first + 1) {
                history.make_room(first + 1, &mut note);
            }
            history.mark(Line::A, first, first + 1, 1, &mut lines);
            if first % 100_000 == 7 {
                history.mark(Line::B, first, first + 1, 1, &mut lines);
            }
        }
        history.flush(&mut note);
        let end = 2 * History::SEQUENCES - 1;
        let starts = [0, 8, 100_008, 200_008, 300_008, 400_008, 500_008];
        let ends = [6, 100_006, 200_006, 300_006, 400_006, 500_006, end];
        let expected: Vec<_> = starts.into_iter().zip(ends).map(|(from, to)| (Line::B, from, to)).collect();
        assert_eq!(ranges, expected);
        assert_eq!(lines[1].missing, end + 1 - 6);
    }

    #[test]
    fn unseen_runs_are_found_across_word_borders() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        history.begin(0);
        history.mark(Line::A, 10, 20, 1, &mut lines);
        history.mark(Line::B, 60, 140, 1, &mut lines);
        assert_eq!(history.next_unseen(0, 200), Some((0, 10)));
        assert_eq!(history.next_unseen(10, 200), Some((20, 60)));
        assert_eq!(history.next_unseen(60, 200), Some((140, 200)));
        assert_eq!(history.next_unseen(60, 140), None);
        assert_eq!(history.next_unseen(15, 18), None);
    }

    #[test]
    fn what_was_given_up_is_remembered_until_it_leaves() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        history.begin(0);
        history.mark_lost(100, 300);
        assert!(history.mark(Line::A, 250, 260, 1, &mut lines).lost);
        assert!(history.mark(Line::B, 250, 251, 1, &mut lines).lost);
        assert!(!history.mark(Line::B, 300, 310, 1, &mut lines).lost);
        history.make_room(History::SEQUENCES + 1000, &mut ignore());
        assert!(history.mark(Line::A, 250, 260, 1, &mut lines).lost, "too old to tell counts as lost");
        assert!(!history.mark(Line::A, 1100, 1110, 1, &mut lines).lost);
    }

    #[test]
    fn a_jump_past_the_whole_ring_leaves_it_clean() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        history.begin(0);
        history.mark(Line::A, 0, 100, 1, &mut lines);
        let mut ranges = Vec::new();
        let far = 50 * History::SEQUENCES + 17;
        history.make_room(far, &mut |line, from, to| ranges.push((line, from, to)));
        assert_eq!(history.next_unseen(far - 1000, far), Some((far - 1000, far)));
        history.flush(&mut |line, from, to| ranges.push((line, from, to)));
        assert_eq!(ranges, [(Line::B, 0, 99)]);
    }

    #[test]
    fn a_lead_older_than_the_time_ring_is_not_sampled() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        history.begin(0);
        history.mark(Line::A, 0, 1, 77, &mut lines);
        history.mark(Line::A, History::TIMES, History::TIMES + 1, 88, &mut lines);
        assert_eq!(history.mark(Line::B, 0, 1, 99, &mut lines).other_first_ns, None);
        let kept = history.mark(Line::B, History::TIMES, History::TIMES + 1, 99, &mut lines);
        assert_eq!(kept.other_first_ns, Some(88));
    }

    #[test]
    fn numbers_that_have_left_the_time_ring_do_not_overwrite_the_times_of_newer_ones() {
        let mut history = History::new();
        let mut lines = <[LineStats; 2]>::default();
        history.begin(0);
        history.mark(Line::A, History::TIMES, History::TIMES + 8, 10, &mut lines);
        // Numbers 0 to 8 have left, 9 to 15 have not.
        history.mark(Line::A, 0, 16, 20, &mut lines);
        assert_eq!(history.mark(Line::B, 0, 9, 90, &mut lines).other_first_ns, None);
        assert_eq!(history.mark(Line::B, 9, 16, 90, &mut lines).other_first_ns, Some(20));
        let newer = history.mark(Line::B, History::TIMES, History::TIMES + 8, 90, &mut lines);
        assert_eq!(newer.other_first_ns, Some(10));
    }
}
