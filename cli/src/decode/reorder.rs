//! Brings datagrams into the order of their capture times.
//!
//! A capture of two interfaces is merged from two threads, and its records are now and then out of order by
//! a few hundred nanoseconds; which line was first is told by the times. So each datagram is held until one
//! is seen that is [`HOLD_NS`] younger, or [`HELD_MAX`] are held. Times that go back further are left as they
//! are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddrV4;
use venue::frame::Datagram;

/// How far back in time a record may stand and still be put in its place, ns.
const HOLD_NS: u64 = 1_000_000;
/// Datagrams held at most: at a jumbo frame each, 37 MB.
const HELD_MAX: usize = 4_096;

/// A datagram that owns its payload.
pub(super) struct Held {
    pub(super) ts_ns: u64,
    pub(super) source: SocketAddrV4,
    pub(super) destination: SocketAddrV4,
    pub(super) payload: Vec<u8>,
}

/// The datagrams that wait for older ones.
#[derive(Default)]
pub(super) struct Reorder {
    /// Capture time, place in the file, slot: equal times stay in the file's order.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Held>,
    free: Vec<usize>,
    newest_ns: u64,
    taken: u64,
}

impl Reorder {
    /// Takes the next datagram of the file.
    pub(super) fn push(&mut self, ts_ns: u64, datagram: &Datagram<'_>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let (source, destination) = (datagram.source, datagram.destination);
            self.slots.push(Held { ts_ns, source, destination, payload: Vec::new() });
            self.slots.len() - 1
        });
        let held = &mut self.slots[slot];
        (held.ts_ns, held.source, held.destination) = (ts_ns, datagram.source, datagram.destination);
        held.payload.clear();
        held.payload.extend_from_slice(datagram.payload);
        self.order.push(Reverse((ts_ns, self.taken, slot)));
        self.taken += 1;
        self.newest_ns = self.newest_ns.max(ts_ns);
    }

    /// The oldest datagram, when its turn has come.
    pub(super) fn pop_due(&mut self) -> Option<&Held> {
        let &Reverse((ts_ns, ..)) = self.order.peek()?;
        let due = self.newest_ns - ts_ns >= HOLD_NS || self.order.len() > HELD_MAX;
        if due { self.pop() } else { None }
    }

    /// The oldest datagram.
    pub(super) fn pop(&mut self) -> Option<&Held> {
        let Reverse((_, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        Some(&self.slots[slot])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// The times and payloads that come out.
    fn reordered(times_ns: &[u64]) -> Vec<(u64, u8)> {
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let mut reorder = Reorder::default();
        let mut out = Vec::new();
        for (place, &ts_ns) in times_ns.iter().enumerate() {
            let payload = [place as u8];
            let datagram =
                Datagram { source: at, destination: at, vlan: None, payload: &payload, checksum: 0 };
            reorder.push(ts_ns, &datagram);
            while let Some(held) = reorder.pop_due() {
                out.push((held.ts_ns, held.payload[0]));
            }
        }
        while let Some(held) = reorder.pop() {
            out.push((held.ts_ns, held.payload[0]));
        }
        out
    }

    #[test]
    fn records_out_of_order_by_less_than_the_hold_are_put_right() {
        assert_eq!(
            reordered(&[100, 50, 900_000, 60, 2_000_000]),
            [(50, 1), (60, 3), (100, 0), (900_000, 2), (2_000_000, 4)]
        );
    }

    #[test]
    fn equal_times_keep_the_order_of_the_file() {
        assert_eq!(reordered(&[7, 7, 7]), [(7, 0), (7, 1), (7, 2)]);
    }

    #[test]
    fn a_time_that_goes_back_further_stays_where_it_is() {
        assert_eq!(
            reordered(&[5_000_000, 9_000_000, 1_000_000]),
            [(5_000_000, 0), (1_000_000, 2), (9_000_000, 1)]
        );
    }

    #[test]
    fn no_more_than_the_bound_is_held() {
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let datagram = Datagram { source: at, destination: at, vlan: None, payload: b"", checksum: 0 };
        let mut reorder = Reorder::default();
        for _ in 0..3 * HELD_MAX {
            reorder.push(0, &datagram);
            while reorder.pop_due().is_some() {}
        }
        assert_eq!((reorder.order.len(), reorder.slots.len()), (HELD_MAX, HELD_MAX + 1));
    }
}
