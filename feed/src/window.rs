//! Packets that came before their turn, in slots that were allocated once.
//!
//! `order` lists what waits by sequence number, without overlap: a run of messages, each with the slot that
//! holds its packet, or a mark where a heartbeat said that messages below it exist. A slot is free, or in one
//! entry of `order`, or in the hand of the caller who took it with [`Window::keep`].

use crate::{Header, Line, PacketKind, Stamp};
use std::collections::VecDeque;
use tick::{Clock, ClockSource};

/// Heartbeat marks that may wait: one for each hole at the channel's end that a heartbeat reveals. More are
/// forgotten, the next heartbeat names them again.
pub(crate) const MARKS_MAX: usize = 16;

/// A packet's place in the arbiter: what was read of it, and its unwrapped first sequence number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) line: Line,
    pub(crate) stamp: Stamp,
    pub(crate) header: Header,
    pub(crate) first: u64,
}

impl Arrived {
    const NOTHING: Arrived = Arrived {
        line: Line::A,
        stamp: Stamp { recv_ns: 0, clock: Clock::new(ClockSource::User, false) },
        header: Header { session: 0, first: 0, count: 0, send_ns: 0, kind: PacketKind::Data, reset: false },
        first: 0,
    };

    /// One past the packet's last sequence number.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.header.count)
    }
}

/// Something that waits for the numbers before it.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// First sequence number of the run.
    pub(crate) first: u64,
    /// One past its last; equal to `first` for a mark.
    pub(crate) end: u64,
    /// When the hole before it was first seen, ns.
    pub(crate) revealed_ns: u64,
    /// Where its packet lies; `None` for a mark.
    pub(crate) slot: Option<Slot>,
}

/// A slot in use. Neither `Copy` nor `Clone`: it goes back exactly once.
#[derive(Debug)]
pub(crate) struct Slot(u32);

pub(crate) struct Window {
    order: VecDeque<Waiting>,
    free: Vec<u32>,
    arrived: Box<[Arrived]>,
    lengths: Box<[u32]>,
    bytes: Box<[u8]>,
    slot_bytes: usize,
    packets_max: usize,
    packets: usize,
}

impl Window {
    /// Room for `packets_max` runs of at most `slot_bytes` each, and for one more packet that is kept aside.
    pub(crate) fn new(packets_max: usize, slot_bytes: usize) -> Window {
        let slots = packets_max + 1;
        Window {
            order: VecDeque::with_capacity(packets_max + MARKS_MAX),
            free: (0..slots as u32).rev().collect(),
            arrived: vec![Arrived::NOTHING; slots].into_boxed_slice(),
            lengths: vec![0; slots].into_boxed_slice(),
            bytes: vec![0; slots * slot_bytes].into_boxed_slice(),
            slot_bytes,
            packets_max,
            packets: 0,
        }
    }

    /// Whether nothing waits, neither a packet nor a mark.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Everything that waits, marks included.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.packets == self.packets_max
    }

    /// Runs that wait, marks not counted.
    pub(crate) fn packets(&self) -> usize {
        self.packets
    }

    pub(crate) fn front(&self) -> Option<&Waiting> {
        self.order.front()
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Waiting> {
        self.order.front_mut()
    }

    /// One past the highest number that is known to exist.
    pub(crate) fn end(&self) -> Option<u64> {
        self.order.back().map(|last| last.end)
    }

    /// Copies a packet into a free slot. The caller sees to it that there is one.
    pub(crate) fn keep(&mut self, arrived: &Arrived, payload: &[u8]) -> Slot {
        let index =
            self.free.pop().expect("a slot is free unless the window is full and a packet is kept aside");
        let at = index as usize;
        self.arrived[at] = *arrived;
        self.lengths[at] = payload.len() as u32;
        self.bytes[at * self.slot_bytes..][..payload.len()].copy_from_slice(payload);
        Slot(index)
    }

    /// The packet in a slot.
    pub(crate) fn packet(&self, slot: &Slot) -> (&Arrived, &[u8]) {
        let at = slot.0 as usize;
        (&self.arrived[at], &self.bytes[at * self.slot_bytes..][..self.lengths[at] as usize])
    }

    pub(crate) fn packet_mut(&mut self, slot: &Slot) -> &mut Arrived {
        &mut self.arrived[slot.0 as usize]
    }

    /// Gives a slot back.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.free.push(slot.0);
    }

    /// Lets the run `first..end` of a kept packet wait. It overlaps nothing that waits already.
    pub(crate) fn insert(&mut self, first: u64, end: u64, slot: Slot, recv_ns: u64) {
        debug_assert!(first < end && !self.is_full());
        self.packets += 1;
        self.insert_in_order(first, end, Some(slot), recv_ns);
    }

    /// Notes that every number below `first` exists. Does nothing when something that waits says so already.
    pub(crate) fn insert_mark(&mut self, first: u64, recv_ns: u64) {
        let known = self.end().is_some_and(|end| end >= first);
        if !known && self.order.len() - self.packets < MARKS_MAX {
            self.insert_in_order(first, first, None, recv_ns);
        }
    }

    fn insert_in_order(&mut self, first: u64, end: u64, slot: Option<Slot>, recv_ns: u64) {
        let at = match self.order.back() {
            Some(last) if last.first > first => self.order.partition_point(|waiting| waiting.first <= first),
            _ => self.order.len(),
        };
        // The hole before this run is part of the hole that what waits behind it had revealed before.
        let revealed_ns = self.order.get(at).map_or(recv_ns, |next| next.revealed_ns.min(recv_ns));
        self.order.insert(at, Waiting { first, end, revealed_ns, slot });
    }

    /// Takes what waits first, if it is next in turn.
    pub(crate) fn pop_due(&mut self, next: u64) -> Option<Waiting> {
        if self.order.front()?.first > next {
            return None;
        }
        let waiting = self.order.pop_front()?;
        self.packets -= usize::from(waiting.slot.is_some());
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(window: &mut Window, first: u64, end: u64, recv_ns: u64) {
        let slot = window.keep(&Arrived { first, ..Arrived::NOTHING }, &first.to_le_bytes());
        window.insert(first, end, slot, recv_ns);
    }

    #[test]
    fn what_waits_comes_out_by_sequence_with_its_own_bytes() {
        let mut window = Window::new(4, 8);
        for first in [30, 10, 40, 20] {
            hold(&mut window, first, first + 10, 1);
        }
        assert!(window.is_full() && window.pop_due(9).is_none());
        for first in [10, 20, 30, 40] {
            let waiting = window.pop_due(first).unwrap();
            let slot = waiting.slot.unwrap();
            assert_eq!((waiting.first, waiting.end), (first, first + 10));
            assert_eq!(window.packet(&slot).1, first.to_le_bytes());
            window.release(slot);
        }
        assert!(window.is_empty() && window.packets() == 0 && window.free.len() == 5);
    }

    #[test]
    fn a_hole_is_as_old_as_the_first_thing_seen_behind_it() {
        let mut window = Window::new(4, 8);
        hold(&mut window, 30, 31, 100);
        hold(&mut window, 20, 21, 200);
        hold(&mut window, 40, 41, 300);
        let ages: Vec<_> = window.order.iter().map(|waiting| waiting.revealed_ns).collect();
        assert_eq!(ages, [100, 100, 300]);
    }

    #[test]
    fn a_mark_is_kept_only_where_it_reveals_something() {
        let mut window = Window::new(4, 8);
        hold(&mut window, 30, 35, 100);
        window.insert_mark(35, 200);
        window.insert_mark(20, 200);
        assert_eq!(window.order.len(), 1);
        window.insert_mark(40, 200);
        window.insert_mark(40, 300);
        assert_eq!((window.order.len(), window.packets(), window.end()), (2, 1, Some(40)));
        for more in 41..100 {
            window.insert_mark(more, 300);
        }
        assert_eq!(window.order.len(), 1 + MARKS_MAX);
        hold(&mut window, 40, 45, 400);
        let ages: Vec<_> = window.order.iter().map(|w| (w.first, w.revealed_ns)).take(3).collect();
        assert_eq!(ages, [(30, 100), (40, 200), (40, 300)]);
    }
}
