//! The order of things: which packet goes out on which line at what time, and what was done to it.
//!
//! Pure: time comes in as a number, so the same seed and session give the same dispatches in a test, into a
//! file and on a wire. A line is a queue: skew and jitter delay, only [`Reorder`](crate::impair::Reorder)
//! overtakes. A packet's payload is kept once for both lines, until the last of its copies has gone.

use crate::account::{Account, ChannelReport};
use crate::impair::{Fate, Impairer, Impairment, Withheld};
use crate::session::{Channel, Line, LineAddress, Packet, Source, SourceError};
use std::collections::VecDeque;

/// Copies that wait for their time, at most: bounds memory when a skew is long and the rate high. When it is
/// reached, admission waits, and the session is late instead.
const MAX_WAITING: usize = 65_536;

/// When packets are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// With the session's own timing, so many times as fast.
    Recorded {
        /// 1 = as it was.
        speed: f64,
    },
    /// So many packets of the session a second, evenly; both lines' copies of one packet count once.
    PacketsPerSecond(f64),
    /// As fast as can be.
    FlatOut,
}

impl Pace {
    fn due_ns(self, packet: &Packet, index: u64, now_ns: u64) -> u64 {
        match self {
            Pace::Recorded { speed } => (packet.at_ns as f64 / speed) as u64,
            Pace::PacketsPerSecond(rate) => (index as f64 * 1e9 / rate) as u64,
            Pace::FlatOut => now_ns,
        }
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Next<'s> {
    /// Send this now.
    Send(Dispatch<'s>),
    /// Nothing before this time, ns since the session began.
    Wait(u64),
    /// The session is over.
    End,
}

/// One copy of a packet, on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch<'s> {
    /// The time it was to go out, ns since the session began.
    pub due_ns: u64,
    /// The line.
    pub line: Line,
    /// From and to.
    pub address: LineAddress,
    /// The UDP payload, whole.
    pub payload: &'s [u8],
    /// What is to be done to it: [`Withheld::Corrupt`] or [`Withheld::Truncate`].
    pub damage: Option<(Withheld, u64)>,
}

/// A session being played.
pub struct Script<S> {
    source: S,
    pace: Pace,
    lines: [LineQueue; 2],
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The slot whose packet comes next, read ahead; `None` at the end.
    upcoming: Option<usize>,
    upcoming_due_ns: u64,
    /// The slot that the last dispatch borrowed.
    dispatched: Option<usize>,
    started: bool,
    admitted: u64,
    dispatches: u64,
    account: Account,
    source_error: Option<SourceError>,
}

#[derive(Default)]
struct Slot {
    packet: Packet,
    copies_left: u32,
}

#[derive(Clone, Copy)]
struct Pending {
    slot: usize,
    due_ns: u64,
    damage: Option<(Withheld, u64)>,
}

struct Held {
    copy: Pending,
    overtaken_by: u32,
    duplicated: bool,
}

/// Invariant: `ready` is in order of time, and nothing in `held` is due before its last.
struct LineQueue {
    impairer: Impairer,
    ready: VecDeque<Pending>,
    held: Vec<Held>,
    last_ns: u64,
}

impl<S: Source> Script<S> {
    /// A session on lines impaired so (A, B), with this seed.
    pub fn new(source: S, pace: Pace, impairments: [Impairment; 2], seed: u64) -> Script<S> {
        let [a, b] = impairments;
        let queue = |impairment, line| LineQueue {
            impairer: Impairer::new(impairment, seed, line),
            ready: VecDeque::new(),
            held: Vec::new(),
            last_ns: 0,
        };
        let account = Account::new(source.channels().len());
        Script {
            source,
            pace,
            lines: [queue(a, Line::A), queue(b, Line::B)],
            slots: Vec::new(),
            free: Vec::new(),
            upcoming: None,
            upcoming_due_ns: 0,
            dispatched: None,
            started: false,
            admitted: 0,
            dispatches: 0,
            account,
            source_error: None,
        }
    }

    /// What is to be done at `now_ns`, ns since the session began.
    pub fn next(&mut self, now_ns: u64) -> Next<'_> {
        if let Some(slot) = self.dispatched.take() {
            self.release(slot);
        }
        if !self.started {
            self.started = true;
            self.read_ahead();
        }
        loop {
            let earliest = self.earliest();
            let admit = self.upcoming.is_some()
                && self.waiting() < MAX_WAITING
                && earliest.is_none_or(|(_, due_ns)| self.upcoming_due(now_ns) < due_ns);
            if admit {
                let due_ns = self.upcoming_due(now_ns);
                if due_ns > now_ns {
                    return Next::Wait(due_ns);
                }
                self.admit(due_ns);
                continue;
            }
            let Some((line, due_ns)) = earliest else { return Next::End };
            if due_ns > now_ns {
                return Next::Wait(due_ns);
            }
            return Next::Send(self.dispatch(line));
        }
    }

    /// Ends the session early: the source says its last words, and what was admitted still goes out.
    pub fn stop(&mut self) {
        self.source.end_early();
    }

    /// The session's channels.
    pub fn channels(&self) -> &[Channel] {
        self.source.channels()
    }

    /// The session's source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The session's source, for one that makes packets out of what it is told. Call [`Script::resume`] when it may
    /// have new ones.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Asks a source again that had no packet, as a live one may have by now. Without this, a source that had none is
    /// at its end.
    pub fn resume(&mut self) {
        if self.started && self.upcoming.is_none() {
            self.read_ahead();
        }
    }

    /// The account per channel; exact once [`Next::End`] was given.
    pub fn account(&self) -> Vec<ChannelReport> {
        self.account.report(self.source.channels())
    }

    /// Copies given out to be sent.
    pub fn dispatches(&self) -> u64 {
        self.dispatches
    }

    /// Why the source ended early, if it did.
    pub fn source_error(&self) -> Option<&SourceError> {
        self.source_error.as_ref()
    }

    fn upcoming_due(&self, now_ns: u64) -> u64 {
        if self.pace == Pace::FlatOut { now_ns } else { self.upcoming_due_ns }
    }

    fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.ready.len() + line.held.len()).sum()
    }

    fn earliest(&self) -> Option<(Line, u64)> {
        let due = |line: Line| self.lines[line.index()].next_ns().map(|due_ns| (line, due_ns));
        match (due(Line::A), due(Line::B)) {
            (Some(a), Some(b)) => Some(if b.1 < a.1 { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    fn read_ahead(&mut self) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let packet = &mut self.slots[slot].packet;
        match self.source.next(packet) {
            Ok(true) => {
                // A capture's times may step back; the session's do not.
                let due_ns = self.pace.due_ns(packet, self.admitted, 0);
                self.upcoming_due_ns = self.upcoming_due_ns.max(due_ns);
                self.upcoming = Some(slot);
            }
            Ok(false) => self.free.push(slot),
            Err(error) => {
                self.source_error = Some(error);
                self.free.push(slot);
            }
        }
    }

    fn admit(&mut self, due_ns: u64) {
        let Some(slot) = self.upcoming.take() else { return };
        let packet = &self.slots[slot].packet;
        let addresses = &self.source.channels()[packet.channel].lines;
        let mut fates = [None; 2];
        let mut copies = 0;
        for (at, queue) in self.lines.iter_mut().enumerate() {
            if packet.on_lines[at] && addresses[at].is_some() {
                let fate = queue.admit(slot, packet, due_ns);
                copies += u32::from(fate.is_sent()) + u32::from(fate.duplicated);
                fates[at] = Some(fate);
            }
        }
        self.account.enter(packet, fates);
        self.admitted += 1;
        if copies == 0 {
            self.free.push(slot);
        }
        self.slots[slot].copies_left = copies;
        self.read_ahead();
    }

    fn dispatch(&mut self, line: Line) -> Dispatch<'_> {
        let copy = self.lines[line.index()].pop();
        self.dispatched = Some(copy.slot);
        self.dispatches += 1;
        let packet = &self.slots[copy.slot].packet;
        let address = self.source.channels()[packet.channel].lines[line.index()];
        Dispatch {
            due_ns: copy.due_ns,
            line,
            address: address.expect("only admitted to lines that the channel has"),
            payload: &packet.payload,
            damage: copy.damage,
        }
    }

    fn release(&mut self, slot: usize) {
        self.slots[slot].copies_left -= 1;
        if self.slots[slot].copies_left == 0 {
            self.free.push(slot);
        }
    }
}

impl LineQueue {
    fn admit(&mut self, slot: usize, packet: &Packet, due_ns: u64) -> Fate {
        let mut fate = self.impairer.decide(packet.at_ns);
        if packet.closing {
            fate = Fate { jitter_ns: fate.jitter_ns, ..Fate::CLEAN };
        }
        if !fate.is_sent() {
            return fate;
        }
        let due_ns = self.last_ns.max(due_ns + self.impairer.impairment().skew_ns + fate.jitter_ns);
        self.release_held_until(due_ns);
        self.last_ns = due_ns;
        let damage = fate.withheld.map(|reason| (reason, fate.damage));
        let copy = Pending { slot, due_ns, damage };
        if fate.overtaken_by > 0 {
            let Fate { overtaken_by, duplicated, .. } = fate;
            self.held.push(Held { copy, overtaken_by, duplicated });
        } else {
            self.push(copy, fate.duplicated);
            self.overtake(due_ns);
        }
        fate
    }

    fn push(&mut self, copy: Pending, duplicated: bool) {
        self.ready.push_back(copy);
        if duplicated {
            self.ready.push_back(copy);
        }
    }

    /// A packet went past those that are held; who was overtaken often enough follows it.
    fn overtake(&mut self, now_ns: u64) {
        let mut at = 0;
        while at < self.held.len() {
            self.held[at].overtaken_by -= 1;
            if self.held[at].overtaken_by == 0 {
                let Held { copy, duplicated, .. } = self.held.remove(at);
                self.push(Pending { due_ns: now_ns, ..copy }, duplicated);
            } else {
                at += 1;
            }
        }
    }

    fn hold_ns(&self) -> u64 {
        self.impairer.impairment().reorder.map_or(0, |reorder| reorder.hold_ns)
    }

    /// When the packet that was held back first is sent even if no other comes.
    fn held_until_ns(&self) -> Option<u64> {
        self.held.first().map(|held| held.copy.due_ns + self.hold_ns())
    }

    fn release_held_until(&mut self, due_ns: u64) {
        while let Some(release_ns) = self.held_until_ns()
            && release_ns <= due_ns
        {
            self.release_first_held(release_ns);
        }
    }

    fn release_first_held(&mut self, release_ns: u64) {
        let Held { copy, duplicated, .. } = self.held.remove(0);
        self.push(Pending { due_ns: release_ns, ..copy }, duplicated);
    }

    fn next_ns(&self) -> Option<u64> {
        self.ready.front().map(|copy| copy.due_ns).or_else(|| self.held_until_ns())
    }

    fn pop(&mut self) -> Pending {
        if self.ready.is_empty()
            && let Some(release_ns) = self.held_until_ns()
        {
            self.release_first_held(release_ns);
            self.last_ns = self.last_ns.max(release_ns);
        }
        self.ready.pop_front().expect("popped only when something is due")
    }
}
