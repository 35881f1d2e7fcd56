//! Table (b): the arbiter, ns a packet, against arbiters as one writes them with the standard collections.
//!
//! Packets of 100 bytes arrive on two lines that each lead at times. The protocol is the smallest possible
//! (a sequence number, one tick a packet), so that what is measured is arbitration. An arena of under a
//! megabyte is gone through again and again, the protocol adding a base to its sequence numbers, so that the
//! packets are in cache as they are behind a NIC. Every copy counts as a packet.

use crate::harness::{Contender, Effort, Kind, Metric, Row, Table, Target, measure};
use anyhow::Result;
use feed::{
    Channel, ChannelConfig, Delivery, Header, Line, Malformed, MalformedReason, PacketKind, Protocol, Sink,
    Stamp,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hint::black_box;
use std::time::Instant;
use tick::{Action, Clock, ClockSource, Instrument, Tick};

/// Sequence numbers in one pass over the arena.
const PASS: u64 = 4_096;
const PAYLOAD_BYTES: usize = 100;
/// One packet a microsecond on each line.
const PACKET_NS: u64 = 1_000;
/// The lines lead each other by up to so much.
const SKEW_NS: u64 = 2_500;
/// Packets that the worker takes before it looks at the clock.
const ROUND: usize = 64;
const WINDOW_PACKETS: usize = 1_024;
const REFERENCE: &str = "HashMap and BTreeMap";

/// One packet on its way: line, arrival within the pass, bytes.
struct Packet {
    line: Line,
    at_ns: u64,
    payload: [u8; PAYLOAD_BYTES],
}

/// What goes wrong on each line, independently, in 1/1000 of its packets.
#[derive(Clone, Copy)]
struct Impairment {
    lost: u32,
    late: u32,
}

fn arena(impairment: Impairment) -> Vec<Packet> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut packets = Vec::new();
    for line in Line::BOTH {
        let mut clock_ns = 0;
        for sequence in 0..PASS {
            if random.random_range(0..1000) < impairment.lost {
                continue;
            }
            // A line keeps its order unless a packet is late.
            clock_ns = (sequence * PACKET_NS + random.random_range(0..SKEW_NS)).max(clock_ns + 1);
            let late = random.random_range(0..1000) < impairment.late;
            let at_ns = clock_ns + if late { 3 * PACKET_NS } else { 0 };
            let mut payload = [0; PAYLOAD_BYTES];
            payload[..8].copy_from_slice(&sequence.to_le_bytes());
            packets.push(Packet { line, at_ns, payload });
        }
    }
    packets.sort_by_key(|packet| packet.at_ns);
    packets
}

/// A sequence number in the first eight bytes, plus the base of the pass.
#[derive(Default)]
struct Counter {
    base: Cell<u64>,
}

impl Counter {
    #[inline]
    fn sequence(&self, payload: &[u8]) -> Option<u64> {
        payload.first_chunk().map(|first| u64::from_le_bytes(*first) + self.base.get())
    }
}

impl Protocol for Counter {
    const SEQUENCE_BITS: u32 = 64;

    #[inline]
    fn header(&self, payload: &[u8]) -> Result<Header, Malformed> {
        let first =
            self.sequence(payload).ok_or(Malformed { reason: MalformedReason::ShortHeader, offset: 0 })?;
        Ok(Header { session: 1, first, count: 1, send_ns: 0, kind: PacketKind::Data, reset: false })
    }

    #[inline]
    fn decode(&mut self, delivery: &Delivery<'_>, sink: &mut impl Sink, _: &mut impl FnMut(Malformed)) {
        sink.tick(&Tick { sequence: delivery.sequence, ..Tick::EMPTY });
    }

    fn reset(&mut self) {}

    fn message_counts(&self, _: &mut dyn FnMut(&str, u64)) {}
}

/// Counts what comes out, in order or declared lost.
#[derive(Default)]
struct Count {
    delivered: u64,
    lost: u64,
}

impl Sink for Count {
    #[inline]
    fn tick(&mut self, tick: &Tick) {
        if tick.action == Action::Gap {
            self.lost += tick.order_id - tick.sequence + 1;
        } else {
            black_box(tick);
            self.delivered += 1;
        }
    }

    fn instrument(&mut self, _: &Instrument) {}
}

/// An arbiter under test.
trait Arbiter {
    fn begin_pass(&mut self, base: u64);
    fn packet(&mut self, line: Line, recv_ns: u64, payload: &[u8], count: &mut Count);
    fn time(&mut self, now_ns: u64, count: &mut Count);
}

impl Arbiter for Channel<Counter> {
    fn begin_pass(&mut self, base: u64) {
        self.protocol().base.set(base);
    }

    #[inline]
    fn packet(&mut self, line: Line, recv_ns: u64, payload: &[u8], count: &mut Count) {
        self.on_packet(line, Stamp { recv_ns, clock: Clock::new(ClockSource::Xdp, true) }, payload, count);
    }

    #[inline]
    fn time(&mut self, now_ns: u64, count: &mut Count) {
        self.on_time(now_ns, count);
    }
}

/// In order, first copy wins; what is early waits in a tree, and past the window a gap is declared.
#[derive(Default)]
struct Tree {
    protocol: Counter,
    next: u64,
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl Tree {
    fn deliver(&mut self, payload: &[u8], count: &mut Count) {
        black_box(payload);
        black_box(Tick { sequence: self.next, ..Tick::EMPTY });
        count.delivered += 1;
        self.next += 1;
    }

    fn drain(&mut self, count: &mut Count) {
        while let Some(payload) = self.waiting.remove(&self.next) {
            self.deliver(&payload, count);
        }
    }
}

impl Arbiter for Tree {
    fn begin_pass(&mut self, base: u64) {
        self.protocol.base.set(base);
    }

    #[inline]
    fn packet(&mut self, _: Line, _: u64, payload: &[u8], count: &mut Count) {
        let Some(sequence) = self.protocol.sequence(payload) else { return };
        if sequence < self.next {
            return;
        }
        if sequence == self.next {
            self.deliver(payload, count);
            return self.drain(count);
        }
        self.waiting.entry(sequence).or_insert_with(|| payload.to_vec());
        if self.waiting.len() > WINDOW_PACKETS
            && let Some((&first, _)) = self.waiting.first_key_value()
        {
            count.lost += first - self.next;
            self.next = first;
            self.drain(count);
        }
    }

    fn time(&mut self, _: u64, _: &mut Count) {}
}

/// The tree, and what an operator asks of a channel besides: which line won how often and by how much, how many
/// copies were dropped. A map remembers each number's first arrival until the other line's comes.
#[derive(Default)]
struct Accounted {
    tree: Tree,
    first: HashMap<u64, (Line, u64)>,
    order: VecDeque<u64>,
    won: [u64; 2],
    duplicates: [u64; 2],
    leads_ns: [u64; 2],
}

impl Arbiter for Accounted {
    fn begin_pass(&mut self, base: u64) {
        self.tree.begin_pass(base);
    }

    #[inline]
    fn packet(&mut self, line: Line, recv_ns: u64, payload: &[u8], count: &mut Count) {
        let Some(sequence) = self.tree.protocol.sequence(payload) else { return };
        match self.first.entry(sequence) {
            Entry::Occupied(first) => {
                let (winner, at_ns) = *first.get();
                self.duplicates[line.index()] += 1;
                self.leads_ns[winner.index()] += recv_ns - at_ns;
            }
            Entry::Vacant(free) => {
                free.insert((line, recv_ns));
                self.won[line.index()] += 1;
                self.order.push_back(sequence);
                if self.order.len() > 4 * WINDOW_PACKETS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.first.remove(&oldest);
                }
                self.tree.packet(line, recv_ns, payload, count);
            }
        }
    }

    fn time(&mut self, _: u64, _: &mut Count) {}
}

/// Only drops the second copy: a set of numbers seen, forgotten in the order they came. No order, no gaps.
#[derive(Default)]
struct Seen {
    protocol: Counter,
    seen: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Arbiter for Seen {
    fn begin_pass(&mut self, base: u64) {
        self.protocol.base.set(base);
    }

    #[inline]
    fn packet(&mut self, _: Line, _: u64, payload: &[u8], count: &mut Count) {
        let Some(sequence) = self.protocol.sequence(payload) else { return };
        if !self.seen.insert(sequence) {
            return;
        }
        self.order.push_back(sequence);
        if self.order.len() > 4 * WINDOW_PACKETS
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        black_box(payload);
        black_box(Tick { sequence, ..Tick::EMPTY });
        count.delivered += 1;
    }

    fn time(&mut self, _: u64, _: &mut Count) {}
}

/// Goes through the arena `passes` times and gives ns a packet.
fn run(
    packets: &[Packet],
    passes: usize,
    arbiter: &mut impl Arbiter,
    count: &mut Count,
    pass: &mut u64,
) -> f64 {
    let mut ns = 0;
    for _ in 0..passes {
        let (base, base_ns) = (*pass * PASS, *pass * PASS * PACKET_NS);
        arbiter.begin_pass(base);
        let began = Instant::now();
        for round in packets.chunks(ROUND) {
            for packet in round {
                arbiter.packet(packet.line, base_ns + packet.at_ns, black_box(&packet.payload), count);
            }
            arbiter.time(base_ns + round[round.len() - 1].at_ns, count);
        }
        ns += began.elapsed().as_nanos();
        *pass += 1;
    }
    ns as f64 / (passes * packets.len()) as f64
}

/// A contender that keeps its arbiter between rounds, as a worker does.
fn contender<'a, A: Arbiter + 'a>(
    row: Row,
    packets: &'a [Packet],
    passes: usize,
    mut arbiter: A,
) -> Contender<'a> {
    let (mut count, mut pass) = (Count::default(), 0);
    Contender::new(row, move || Ok(run(packets, passes, &mut arbiter, &mut count, &mut pass)))
}

fn metric(name: &str, impairment: Impairment, effort: Effort) -> Result<Vec<Metric>> {
    let packets = arena(impairment);
    let passes = effort.scaled(300);
    let config =
        ChannelConfig { window_packets: WINDOW_PACKETS, next_sequence: Some(0), ..ChannelConfig::new(1, 1) };
    let channel = Channel::new(config, Counter::default())?;
    let contenders = vec![
        contender(
            Row::new(
                "feed::Channel",
                "in order, gaps by time and window, restarts, per-line counts and lead histogram",
            )
            .aiming(&[Target::Figure(15.0)]),
            &packets,
            passes,
            channel,
        ),
        contender(
            Row::new(REFERENCE, "in order, gaps by window, per-line counts and lead; no time, no restarts"),
            &packets,
            passes,
            Accounted::default(),
        ),
        contender(
            Row::new(
                "BTreeMap alone",
                "in order, gaps by window; cannot say what each line missed or by how much it led",
            ),
            &packets,
            passes,
            Tree::default(),
        ),
        contender(
            Row::new("HashSet alone", "drops second copies; no order, no gaps, no statistics"),
            &packets,
            passes,
            Seen::default(),
        ),
    ];
    Ok(measure(&[Kind::lower(name, "ns/packet")], REFERENCE, effort, contenders))
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let mut metrics = metric("both lines whole", Impairment { lost: 0, late: 0 }, effort)?;
    metrics.extend(metric("1 % lost and 1 % late on each line", Impairment { lost: 10, late: 10 }, effort)?);
    Ok(Table { id: 'b', title: "arbiter", metrics })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(mut arbiter: impl Arbiter, impairment: Impairment) -> (u64, u64) {
        let (mut count, mut pass) = (Count::default(), 0);
        run(&arena(impairment), 3, &mut arbiter, &mut count, &mut pass);
        (count.delivered, count.lost)
    }

    fn channel() -> Channel<Counter> {
        let config = ChannelConfig { next_sequence: Some(0), ..ChannelConfig::new(1, 1) };
        Channel::new(config, Counter::default()).unwrap()
    }

    #[test]
    fn all_contenders_deliver_every_packet_of_whole_lines_once() {
        let whole = Impairment { lost: 0, late: 0 };
        assert_eq!(account(channel(), whole), (3 * PASS, 0));
        assert_eq!(account(Tree::default(), whole), (3 * PASS, 0));
        assert_eq!(account(Accounted::default(), whole), (3 * PASS, 0));
        assert_eq!(account(Seen::default(), whole), (3 * PASS, 0));
    }

    #[test]
    fn on_impaired_lines_the_ordering_arbiters_account_for_every_number_and_agree() {
        let impaired = Impairment { lost: 100, late: 10 };
        let (delivered, lost) = account(channel(), impaired);
        assert!(lost > 0);
        // What still waits at the end is not out yet, in either.
        let (tree_delivered, tree_lost) = account(Tree::default(), impaired);
        assert_eq!(account(Accounted::default(), impaired), (tree_delivered, tree_lost));
        assert!(delivered + lost <= 3 * PASS && tree_delivered + tree_lost <= 3 * PASS);
        assert!(delivered.abs_diff(tree_delivered) <= WINDOW_PACKETS as u64);
    }
}
