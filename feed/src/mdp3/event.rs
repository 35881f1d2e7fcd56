//! What has to be remembered between ticks and between packets: the open event, and trades whose order
//! details are still to come. Both are of fixed size and made at start.

use crate::Sink;
use tick::{Action, Flags, Side, Tick};

/// The ticks of the open event, held so that the last one of each instrument can be marked.
///
/// Invariant: `held[..len]` are the ticks held; `open` has each instrument once and never grows past its
/// capacity.
#[derive(Debug)]
pub(super) struct Event {
    held: Box<[Tick; Event::HELD_MAX]>,
    len: usize,
    /// Instruments whose ticks of the open event have left unmarked.
    open: Vec<u32>,
    /// Instruments marked while an event is closed.
    marked: Vec<u32>,
}

impl Clone for Event {
    /// A copy with the same capacity, which a derived one would not have.
    fn clone(&self) -> Event {
        let mut copy = Event::new();
        copy.held.clone_from(&self.held);
        copy.len = self.len;
        copy.open.extend_from_slice(&self.open);
        copy
    }
}

impl Event {
    /// Ticks held. A packet of 1,500 bytes has at most 90; a larger packet's leave earlier.
    const HELD_MAX: usize = 256;
    /// Instruments that an event may touch over several packets. One more than that is marked at once,
    /// early rather than never.
    const OPEN_MAX: usize = 1024;

    pub(super) fn new() -> Event {
        Event {
            held: Box::new([Tick::EMPTY; Event::HELD_MAX]),
            len: 0,
            open: Vec::with_capacity(Event::OPEN_MAX),
            marked: Vec::with_capacity(Event::HELD_MAX),
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.open.clear();
    }

    /// Adds a tick to the open event.
    #[inline(always)]
    pub(super) fn push(&mut self, tick: Tick, sink: &mut impl Sink) {
        if self.len >= Event::HELD_MAX {
            self.leave(sink);
        }
        self.held[self.len] = tick;
        self.len += 1;
    }

    /// Lets the held ticks go though the event goes on.
    pub(super) fn leave(&mut self, sink: &mut impl Sink) {
        for tick in &mut self.held[..self.len] {
            if self.open.last() != Some(&tick.instrument_id) && !self.open.contains(&tick.instrument_id) {
                if self.open.len() == Event::OPEN_MAX {
                    tick.flags |= Flags::LAST;
                } else {
                    self.open.push(tick.instrument_id);
                }
            }
            sink.tick(tick);
        }
        self.len = 0;
    }

    /// Ends the event: marks the last tick of each instrument and lets all go. `closing` is what a tick
    /// carries that only ends the event for an instrument whose ticks have left before.
    #[inline]
    pub(super) fn close(&mut self, closing: &Tick, sink: &mut impl Sink) {
        let held = &mut self.held[..self.len];
        if let Some((last, before)) = held.split_last_mut() {
            last.flags |= Flags::LAST;
            if !self.open.is_empty() || before.iter().any(|tick| tick.instrument_id != last.instrument_id) {
                self.mark_each();
            }
        }
        for tick in &self.held[..self.len] {
            sink.tick(tick);
        }
        self.len = 0;
        if !self.open.is_empty() {
            self.close_open(closing, sink);
        }
    }

    /// Marks the last held tick of each instrument.
    fn mark_each(&mut self) {
        self.marked.clear();
        for tick in self.held[..self.len].iter_mut().rev() {
            if self.marked.last() != Some(&tick.instrument_id) && !self.marked.contains(&tick.instrument_id) {
                self.marked.push(tick.instrument_id);
                tick.flags |= Flags::LAST;
            }
        }
        let marked = &self.marked;
        self.open.retain(|instrument| !marked.contains(instrument));
    }

    fn close_open(&mut self, closing: &Tick, sink: &mut impl Sink) {
        for &instrument_id in &self.open {
            let flags = closing.flags | Flags::LAST;
            sink.tick(&Tick { instrument_id, action: Action::None, flags, ..*closing });
        }
        self.open.clear();
    }
}

/// A trade whose order details were not in its own packet: CME may split a trade summary, all trades first,
/// then all details in the same order ("MDP 3.0 - Trade Summary", Client Systems Wiki).
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenTrade {
    pub(super) instrument_id: u32,
    pub(super) price: i64,
    /// Side of the resting orders.
    pub(super) resting: Side,
    /// Details still to come.
    pub(super) details: u32,
    /// The next detail is the aggressor's own.
    pub(super) aggressor_next: bool,
}

/// The trades of the open trade summary that wait for order details, oldest first.
#[derive(Debug)]
pub(super) struct Trades {
    open: Vec<OpenTrade>,
    next: usize,
    transact_time: u64,
    /// More trades waited than can: the details of this event cannot be told apart any more.
    overflowed: bool,
}

impl Clone for Trades {
    fn clone(&self) -> Trades {
        let mut copy = Trades::new();
        copy.open.extend_from_slice(&self.open);
        Trades { next: self.next, transact_time: self.transact_time, overflowed: self.overflowed, ..copy }
    }
}

impl Trades {
    /// Trades that may wait. An aggressor that sweeps more levels than this is not known; past it the details
    /// are refused, as none of them could be given to the right trade.
    const OPEN_MAX: usize = 1024;

    pub(super) fn new() -> Trades {
        let open = Vec::with_capacity(Trades::OPEN_MAX);
        Trades { open, next: 0, transact_time: 0, overflowed: false }
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.next = 0;
        self.overflowed = false;
    }

    /// Begins a message: trades of another event wait in vain, a packet between was lost.
    #[inline]
    pub(super) fn begin(&mut self, transact_time: u64) {
        if self.transact_time != transact_time {
            self.clear();
            self.transact_time = transact_time;
        }
    }

    pub(super) fn push(&mut self, trade: OpenTrade) {
        self.overflowed |= self.open.len() == Trades::OPEN_MAX;
        if !self.overflowed {
            self.open.push(trade);
        }
    }

    /// The trade that the next order detail belongs to.
    #[inline]
    pub(super) fn next_mut(&mut self) -> Option<&mut OpenTrade> {
        if self.overflowed {
            return None;
        }
        while self.open.get(self.next)?.details == 0 {
            self.next += 1;
        }
        self.open.get_mut(self.next)
    }
}
