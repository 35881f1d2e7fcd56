//! The arbiter again, as plain as it can be said: maps of single messages, every question answered by
//! looking at everything. It knows the truth (which count a packet is of), so it recognises nothing; that
//! the arbiter recognises restarts right is what the comparison shows.

use super::session::{Kind, Packet, Session};
use super::support::{Out, identity};
use feed::{Line, PacketKind};
use std::collections::{BTreeMap, BTreeSet};

/// A run of new messages of one packet that waits, or (when empty) what a heartbeat revealed.
#[derive(Clone)]
struct Waiting {
    end: u64,
    packet: Packet,
}

/// What the arbiter should have counted on one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub packets: u64,
    pub won: u64,
    pub duplicates: u64,
    pub late: u64,
    pub stale: u64,
    pub unconfirmed: u64,
    pub empty: u64,
    /// How often it led, and by how much at most, ns.
    pub led: u64,
    pub led_max_ns: u64,
}

pub struct Reference {
    kind: Kind,
    window_packets: usize,
    gap_timeout_ns: u64,
    epoch: Option<usize>,
    ended: bool,
    /// `None` while the start is held.
    next: Option<u64>,
    /// First number of the count; 0 while it is held.
    start: u64,
    waiting: BTreeMap<u64, Waiting>,
    marks: Vec<(u64, u64)>,
    seen: BTreeMap<u64, [bool; 2]>,
    first_ns: BTreeMap<u64, u64>,
    given_up: BTreeSet<u64>,
    line_heard: [bool; 2],
    aside: Option<Packet>,
    bad_book: bool,
    pub counts: [Counts; 2],
    pub out: Vec<Out>,
    /// Per finished count: the numbers that one line brought and this one did not.
    pub missing: Vec<[BTreeSet<u64>; 2]>,
}

impl Reference {
    pub fn new(session: &Session) -> Reference {
        Reference {
            kind: session.kind,
            window_packets: session.window_packets,
            gap_timeout_ns: session.gap_timeout_ns,
            epoch: None,
            ended: false,
            next: session.next_sequence,
            start: session.next_sequence.unwrap_or(0),
            waiting: BTreeMap::new(),
            marks: Vec::new(),
            seen: BTreeMap::new(),
            first_ns: BTreeMap::new(),
            given_up: BTreeSet::new(),
            line_heard: [false; 2],
            aside: None,
            bad_book: false,
            counts: [Counts::default(), Counts::default()],
            out: Vec::new(),
            missing: Vec::new(),
        }
    }

    pub fn on_packet(&mut self, packet: &Packet) {
        let line = packet.line.index();
        self.counts[line].packets += 1;
        let epoch = *self.epoch.get_or_insert(packet.epoch);
        if packet.epoch == epoch {
            return self.take(packet);
        }
        let proof = packet.first == 1 || packet.reset || self.ended;
        let unheard = self.kind == Kind::Mold && !self.line_heard[line] && !proof;
        if packet.epoch < epoch || unheard {
            self.counts[line].stale += 1;
            return;
        }
        let aside = self.aside.take();
        let confirmed = aside.filter(|aside| {
            let copy = (aside.line, aside.first, aside.count) == (packet.line, packet.first, packet.count);
            let agrees = aside.epoch == packet.epoch && !copy;
            self.counts[aside.line.index()].unconfirmed += u64::from(!agrees);
            agrees
        });
        if !proof && confirmed.is_none() {
            self.aside = Some(packet.clone());
            return;
        }
        let resets_itself = packet.reset && packet.first == 1;
        self.restart(packet.epoch, !resets_itself);
        for packet in confirmed.iter().chain([packet]) {
            self.take(packet);
        }
    }

    fn restart(&mut self, epoch: usize, clear: bool) {
        self.finish();
        self.epoch = Some(epoch);
        self.ended = false;
        self.line_heard = [false; 2];
        self.next = Some(1);
        self.start = 1;
        if clear {
            self.clear(1);
        }
    }

    fn clear(&mut self, sequence: u64) {
        self.out.push(Out::Clear(sequence));
        self.bad_book = false;
    }

    fn take(&mut self, packet: &Packet) {
        let line = packet.line.index();
        self.line_heard[line] = true;
        self.ended |= packet.kind == PacketKind::EndOfSession;
        if packet.count == 0 {
            self.counts[line].empty += 1;
            let last_end = self.waiting.values().map(|w| w.end).chain(self.marks.iter().map(|m| m.0)).max();
            let ahead = self.next.is_none_or(|next| packet.first > next);
            if ahead && last_end.is_none_or(|end| end < packet.first) && self.marks.len() < 16 {
                self.marks.push((packet.first, packet.recv_ns));
            }
            return;
        }
        let mut brought = false;
        for sequence in packet.first..packet.end() {
            let new = self.next.is_none_or(|next| sequence >= next) && !self.seen.contains_key(&sequence);
            if new {
                // A run of new messages: as far as the next known one.
                let end =
                    (sequence..packet.end()).find(|s| self.seen.contains_key(s)).unwrap_or(packet.end());
                (sequence..end).for_each(|s| {
                    self.seen.insert(s, [false; 2]);
                });
                self.place(sequence, end, packet);
                brought = true;
            }
        }
        let given_up = |sequence| sequence < self.start || self.given_up.contains(&sequence);
        let late = (packet.first..packet.end()).any(given_up);
        let other_led = (packet.first..packet.end())
            .find(|sequence| self.seen.get(sequence).is_some_and(|by| by[1 - line] && !by[line]));
        if let Some(sequence) = other_led {
            let other = &mut self.counts[1 - line];
            other.led += 1;
            other.led_max_ns = other.led_max_ns.max(packet.recv_ns - self.first_ns[&sequence]);
        }
        for sequence in packet.first..packet.end() {
            self.seen.entry(sequence).or_default()[line] = true;
            self.first_ns.entry(sequence).or_insert(packet.recv_ns);
        }
        if brought {
            self.counts[line].won += 1;
        } else if late {
            self.counts[line].late += 1;
        } else {
            self.counts[line].duplicates += 1;
        }
    }

    fn place(&mut self, from: u64, end: u64, packet: &Packet) {
        while self.next != Some(from) && self.waiting.len() == self.window_packets {
            let oldest = self.front().map_or(from, |front| front.min(from));
            self.go_on(oldest);
        }
        self.waiting.insert(from, Waiting { end, packet: packet.clone() });
        if self.next == Some(from) {
            self.drain();
        }
    }

    /// Where the first hole ends.
    fn front(&self) -> Option<u64> {
        self.waiting.keys().copied().chain(self.marks.iter().map(|mark| mark.0)).min()
    }

    fn go_on(&mut self, to: u64) {
        if let Some(from) = self.next
            && from < to
        {
            self.out.push(Out::Gap { from, to: to - 1 });
            self.given_up.extend(from..to);
            self.bad_book = true;
        } else if self.next.is_none() {
            self.start = to;
        }
        self.next = Some(to);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let next = self.next.unwrap();
            self.marks.retain(|mark| mark.0 > next);
            let Some(run) = self.waiting.remove(&next) else { return };
            for sequence in next..run.end {
                if run.packet.reset && sequence == run.packet.first {
                    self.clear(sequence);
                }
                self.out.push(Out::Message {
                    sequence,
                    identity: identity(run.packet.epoch as u64 + 1, sequence),
                    line: run.packet.line,
                    recv_ns: run.packet.recv_ns,
                    bad_book: self.bad_book,
                });
            }
            self.next = Some(run.end);
        }
    }

    pub fn on_time(&mut self, now_ns: u64) {
        while let Some(front) = self.front() {
            // All that waits is beyond the first hole: it was seen when the earliest of it came.
            let waiting = self.waiting.values().map(|waiting| waiting.packet.recv_ns);
            let seen_ns = waiting.chain(self.marks.iter().map(|mark| mark.1)).min().unwrap();
            if now_ns - seen_ns < self.gap_timeout_ns {
                return;
            }
            self.go_on(front);
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The end of a count.
    pub fn finish(&mut self) {
        while let Some(front) = self.front() {
            self.go_on(front);
        }
        let missing = Line::BOTH.map(|line| {
            let seen = self.seen.iter().filter(|(_, by)| !by[line.index()] && by[1 - line.index()]);
            seen.map(|(&sequence, _)| sequence).collect()
        });
        self.missing.push(missing);
        self.seen.clear();
        self.first_ns.clear();
        self.given_up.clear();
    }

    pub fn drop_aside(&mut self) {
        if let Some(aside) = self.aside.take() {
            self.counts[aside.line.index()].unconfirmed += 1;
        }
    }
}
