//! The present count of a channel: which session, which number comes next, and what a packet that does not
//! fit means. Pure judgement: nothing is delivered, counted or kept here.
//!
//! Only [`Epoch::place`] is on the hot path; it accepts what belongs to the count and lies within
//! [`REACH`]. Everything else is judged by [`Epoch::judge`].

use crate::{Header, Line};

/// Sequence numbers around the next one within which a packet is believed without a second packet: 65,536.
/// Far more than a skew of two lines (5 ms at a million messages a second are 5,000), far less than a
/// damaged number in a header would ask for. A corruption can cost at most this many numbers.
pub(crate) const REACH: u64 = 1 << 16;
/// How near a second packet must be to confirm one that was far off: 1,024 sequence numbers, some ten full
/// packets, so that a few losses in between do not matter.
pub(crate) const CONFIRM_REACH: u64 = 1 << 10;
/// How far below the first packet seen older ones are taken while the start is held: half of [`REACH`].
pub(crate) const START_BACK: u64 = REACH / 2;
/// 3 s, three missed heartbeats of MoldUDP64. A session or count that has been silent for so long no longer
/// defends itself against another, what is left of the old count is over, and a packet that was not
/// confirmed is forgotten.
pub(crate) const SILENCE_NS: u64 = 3_000_000_000;
/// Sequence numbers are below 2^63, so that sums and differences fit.
pub(crate) const SEQUENCE_MAX: u64 = (1 << 63) - 1;
/// Sessions left behind that are still recognised: 8.
const RETIRED_MAX: usize = 8;

/// What a packet outside the count means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Of this count after all, at this unwrapped sequence number.
    Near(u64),
    /// Left over from a count or session that is over.
    Stale,
    /// Of this count, but behind all that is still known.
    Old,
    /// Of this count and too far ahead for the window, but not far from what waits in it.
    PastWindow,
    /// Of a new place in the count, or of a new count.
    Turn {
        /// What would happen.
        turn: Turn,
        /// The packet itself is proof; otherwise a second one is wanted.
        sure: bool,
    },
}

/// A change of the count that is more than the next number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// The same count, far ahead.
    Jump,
    /// A new count.
    Restart,
}

/// What is left of the count before, while its stragglers may still come.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// One past its last number; 0 when it was of another session.
    end: u64,
    /// Its latest send time, ns.
    send_max_ns: u64,
    /// Lowest number of the present count when it began, and its send time: a higher number that was sent
    /// earlier is none of this count.
    low_first: u64,
    low_send_ns: u64,
    /// When stragglers stop coming.
    until_ns: u64,
}

/// The present count.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    bits: u32,
    /// A packet was seen, or a session was given: `session` is known.
    pub(crate) started: bool,
    pub(crate) session: u128,
    /// The sequence number to be delivered next.
    pub(crate) next: u64,
    /// One past the highest number known to exist; `next` or above.
    known_end: u64,
    /// The start is still held: `next` is only the lowest number that would be taken.
    pub(crate) unanchored: bool,
    /// The sender said that the session is over.
    pub(crate) ended: bool,
    /// Send times below this need a closer look; 0 when there is nothing before this count.
    send_floor_ns: u64,
    /// The latest send time in this count, ns.
    send_max_ns: u64,
    /// Per line, one past the highest number it brought in this count; 0 = nothing.
    line_end: [u64; 2],
    /// When a packet of this count last arrived, ns.
    pub(crate) last_ns: u64,
    before: Before,
    retired: [Option<u128>; RETIRED_MAX],
    retired_next: usize,
}

impl Epoch {
    pub(crate) fn new(bits: u32, next: Option<u64>, session: Option<u128>) -> Epoch {
        Epoch {
            bits,
            started: session.is_some(),
            session: session.unwrap_or(0),
            next: next.unwrap_or(0),
            known_end: next.unwrap_or(0),
            unanchored: next.is_none(),
            ended: false,
            send_floor_ns: 0,
            send_max_ns: 0,
            line_end: [0; 2],
            last_ns: 0,
            before: Before::default(),
            retired: [None; RETIRED_MAX],
            retired_next: 0,
        }
    }

    /// The unwrapped sequence number of a packet that belongs to this count and is near.
    #[inline]
    pub(crate) fn place(&self, header: &Header) -> Option<u64> {
        if header.session != self.session || header.send_ns < self.send_floor_ns || !self.started {
            return None;
        }
        self.near(header.first)
    }

    /// The unwrapped sequence number of a wire number within [`REACH`] of the next.
    #[inline]
    pub(crate) fn near(&self, wire: u64) -> Option<u64> {
        let ahead = self.ahead(wire);
        if ahead.unsigned_abs() <= REACH { self.next.checked_add_signed(ahead) } else { None }
    }

    /// How far a wire number is ahead of the next one, by serial arithmetic (RFC 1982) on its width.
    #[inline]
    fn ahead(&self, wire: u64) -> i64 {
        self.signed(wire.wrapping_sub(self.next))
    }

    #[inline]
    fn signed(&self, difference: u64) -> i64 {
        let unused = 64 - self.bits;
        (difference << unused) as i64 >> unused
    }

    /// Whether a packet that begins at `first` has only numbers that were known to exist, but was sent after
    /// all that is known: then it is no late copy, the count has gone back.
    #[inline]
    pub(crate) fn went_back(&self, first: u64, header: &Header) -> bool {
        first < self.known_end && first + u64::from(header.count) <= self.known_end && self.sent_later(header)
    }

    #[inline]
    fn sent_later(&self, header: &Header) -> bool {
        self.send_max_ns != 0 && header.send_ns > self.send_max_ns
    }

    /// Notes that a packet of this count arrived on `line`.
    #[inline]
    pub(crate) fn note(&mut self, line: Line, end: u64, recv_ns: u64) {
        self.last_ns = recv_ns;
        self.note_end(end);
        let line_end = &mut self.line_end[line.index()];
        if end > *line_end {
            *line_end = end;
        }
    }

    /// Notes that all numbers below `end` exist.
    #[inline]
    pub(crate) fn note_end(&mut self, end: u64) {
        if end > self.known_end {
            self.known_end = end;
        }
    }

    /// Whether only one line has brought packets of this count.
    pub(crate) fn one_line(&self) -> bool {
        self.line_end.contains(&0)
    }

    /// Notes the send time of a packet that brought something new.
    #[inline]
    pub(crate) fn note_sent(&mut self, send_ns: u64) {
        if send_ns > self.send_max_ns {
            self.send_max_ns = send_ns;
        }
    }

    /// The first packet ever: its session is the channel's, and without a given start it sets that, too.
    pub(crate) fn start(&mut self, header: &Header) {
        self.started = true;
        self.session = header.session;
        if self.unanchored {
            self.hold_start(header);
        }
    }

    /// Holds the start for packets up to [`START_BACK`] below this one.
    pub(crate) fn hold_start(&mut self, header: &Header) {
        self.next = header.first.saturating_sub(START_BACK);
        self.known_end = self.next;
        self.line_end = [0; 2];
        self.send_max_ns = 0;
    }

    /// Judges a packet that [`Epoch::place`] refused. `lone_start`: a single packet has set the start, and
    /// it is still held.
    pub(crate) fn judge(&mut self, line: Line, recv_ns: u64, header: &Header, lone_start: bool) -> Verdict {
        if recv_ns > self.before.until_ns {
            self.before = Before::default();
            self.send_floor_ns = 0;
        }
        if header.session != self.session {
            self.judge_session(line, recv_ns, header)
        } else if self.sent_before_this_count(header) {
            Verdict::Stale
        } else {
            self.judge_position(line, header, lone_start)
        }
    }

    fn judge_session(&self, line: Line, recv_ns: u64, header: &Header) -> Verdict {
        let heard = self.line_end != [0; 2];
        let silent = !heard || recv_ns.saturating_sub(self.last_ns) > SILENCE_NS;
        let retired = self.retired.contains(&Some(header.session));
        if retired && !silent {
            return Verdict::Stale;
        }
        let sure = !retired && (header.first <= 1 || self.ended);
        // A line that was never in this session cannot say that it is over: it may be the slower one, with
        // the tail of the session before.
        if !sure && !silent && self.line_end[line.index()] == 0 {
            return Verdict::Stale;
        }
        Verdict::Turn { turn: Turn::Restart, sure }
    }

    fn sent_before_this_count(&self, header: &Header) -> bool {
        header.send_ns != 0
            && header.send_ns < self.send_floor_ns
            && (header.send_ns <= self.before.send_max_ns || header.first >= self.before.low_first)
    }

    fn judge_position(&self, line: Line, header: &Header, lone_start: bool) -> Verdict {
        if let Some(first) = self.near(header.first)
            && !self.went_back(first, header)
        {
            return Verdict::Near(first);
        }
        let ahead = self.ahead(header.first);
        let far = ahead.unsigned_abs() > REACH;
        let line_end = self.line_end[line.index()];
        // Far ahead in serial arithmetic but a smaller number on the wire is a count that began again.
        if far && ahead > 0 && header.first > self.wire(self.next) {
            let first = self.unwrap_ahead(header.first);
            return if first <= self.known_end + REACH {
                Verdict::PastWindow
            } else if line_end == 0 && first.abs_diff(self.before.end) <= REACH {
                Verdict::Stale
            } else {
                Verdict::Turn { turn: Turn::Jump, sure: false }
            };
        }
        let untouched = self.line_end == [0; 2] || lone_start;
        let line_back = line_end as i64 - self.next as i64 - ahead;
        let went_back = far && (untouched || line_end != 0 && (ahead > 0 || line_back > REACH as i64));
        if self.sent_later(header) || went_back {
            Verdict::Turn { turn: Turn::Restart, sure: header.first <= 1 || header.reset }
        } else {
            Verdict::Old
        }
    }

    /// The unwrapped sequence number of a wire number that is far ahead.
    pub(crate) fn unwrap_ahead(&self, wire: u64) -> u64 {
        self.next + self.ahead(wire).unsigned_abs()
    }

    /// The lower of two packets that are close together.
    pub(crate) fn lower<'a>(&self, one: &'a Header, other: &'a Header) -> &'a Header {
        if self.signed(one.first.wrapping_sub(other.first)) <= 0 { one } else { other }
    }

    fn wire(&self, sequence: u64) -> u64 {
        sequence & (u64::MAX >> (64 - self.bits))
    }

    /// Whether `second` confirms what `first` said: another packet, of the same session, close by. A heartbeat
    /// has the number of the data after it, so on one line the number alone does not say that it is a copy.
    pub(crate) fn confirms(&self, first: (Line, &Header), second: (Line, &Header)) -> bool {
        let ((first_line, first), (second_line, second)) = (first, second);
        let apart = self.signed(second.first.wrapping_sub(first.first));
        first.session == second.session
            && apart.unsigned_abs() <= CONFIRM_REACH
            && (first_line != second_line || first.first != second.first || first.count != second.count)
    }

    /// Begins a new count of which `low` is the lowest packet known, and returns its first number.
    ///
    /// A count begins at 1 (or 0), wherever it is first heard.
    pub(crate) fn restart(&mut self, low: &Header, recv_ns: u64) -> u64 {
        let same_session = self.session == low.session;
        if !same_session {
            self.retired[self.retired_next] = Some(self.session);
            self.retired_next = (self.retired_next + 1) % RETIRED_MAX;
        }
        self.before = Before {
            end: if same_session { self.next } else { 0 },
            send_max_ns: self.send_max_ns,
            low_first: low.first,
            low_send_ns: low.send_ns,
            until_ns: recv_ns.saturating_add(SILENCE_NS),
        };
        self.send_floor_ns = self.before.low_send_ns;
        self.send_max_ns = low.send_ns;
        self.session = low.session;
        self.next = low.first.min(1);
        self.known_end = self.next;
        self.unanchored = false;
        self.ended = false;
        self.line_end = [0; 2];
        self.last_ns = recv_ns;
        self.next
    }
}
