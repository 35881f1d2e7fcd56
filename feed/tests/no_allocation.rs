//! After `Channel::new` the arbiter allocates nothing, whatever arrives. A test binary of its own, because it
//! replaces the allocator.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use feed::{Channel, ChannelConfig, Line, PacketKind, Protocol, Sink};
use lab::allocations::{Counting, of_this_thread};
use support::{Mdp, Mold, Wire, at};
use tick::{Instrument, Tick};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts, keeps nothing.
#[derive(Default)]
struct Count {
    ticks: u64,
    missing: u64,
}

impl Sink for Count {
    fn tick(&mut self, _tick: &Tick) {
        self.ticks += 1;
    }
    fn instrument(&mut self, _instrument: &Instrument) {}
    fn missing(&mut self, _line: Line, from: u64, to: u64) {
        self.missing += to - from + 1;
    }
}

/// Plays packets (µs, line, packet) and gives the allocations made meanwhile.
fn allocations<P: Protocol + Default>(packets: &[(u64, Line, Wire)]) -> (u64, Channel<P>, Count) {
    let config = ChannelConfig { window_packets: 16, gap_timeout_ns: 50_000, ..ChannelConfig::new(1, 7) };
    let mut channel = Channel::new(config, P::default()).unwrap();
    let mut sink = Count::default();
    let bytes: Vec<_> = packets.iter().map(|(us, line, wire)| (us * 1_000, *line, wire.bytes())).collect();
    let before = of_this_thread();
    for (now_ns, line, bytes) in &bytes {
        channel.on_time(*now_ns, &mut sink);
        channel.on_packet(*line, at(*now_ns), bytes, &mut sink);
    }
    channel.finish(&mut sink);
    (of_this_thread() - before, channel, sink)
}

#[test]
fn the_counter_counts() {
    let before = of_this_thread();
    drop(Box::new(std::hint::black_box(1u64)));
    assert!(of_this_thread() > before);
}

#[test]
fn nothing_is_allocated_in_order_in_gaps_and_in_full_windows() {
    let mut packets = Vec::new();
    for at in 0..300_000u64 {
        let first = 1 + at * 3;
        let (a_lost, b_lost) = (at % 97 < 2, at % 97 == 1 || at % 1009 < 20);
        for (line, lost) in [(Line::A, a_lost), (Line::B, b_lost)] {
            if !lost {
                packets.push((at * 2 + line as u64, line, Wire::data(1, first..first + 3)));
            }
        }
        if at % 50 == 0 {
            packets.push((at * 2 + 1, Line::B, Wire::empty(1, first + 3, PacketKind::Heartbeat)));
        }
    }
    let (allocations, channel, sink) = allocations::<Mold>(&packets);
    let stats = channel.stats();
    assert!(stats.gaps > 1_000 && stats.window_packets_max == 16 && sink.ticks > 800_000 && sink.missing > 0);
    assert_eq!(allocations, 0);
}

#[test]
fn nothing_is_allocated_in_restarts_jumps_resets_and_damage() {
    let mut packets = Vec::new();
    let mut us = 0;
    for session in 1..200u64 {
        for (line, first) in
            [(Line::A, 2), (Line::B, 5), (Line::A, 8), (Line::A, 9_000_000), (Line::B, 9_000_005)]
        {
            us += 3;
            packets.push((us, line, Wire::data(session, first..first + 3)));
        }
        packets.push((us, Line::B, Wire::data(session - 1, 50..51)));
        packets.push((us, Line::B, Wire { messages: vec![0; 400], ..Wire::data(session, 1..2) }));
        packets.push((us, Line::A, Wire::data(session * 1000, 77..78)));
        packets.push((us, Line::A, Wire::empty(session, 9_000_020, PacketKind::EndOfSession)));
    }
    let (count, channel, _) = allocations::<Mold>(&packets);
    assert!(channel.stats().resets > 100 && channel.stats().gaps > 100);
    assert_eq!(count, 0);

    let mut packets = Vec::new();
    for epoch in 0..200u64 {
        for first in 1..60u64 {
            us += 3;
            let sent = us * 1_000;
            let reset = first % 20 == 19;
            let wire =
                Wire { send_ns: sent, reset, ..Wire::data(0, first + epoch % 2..first + 1 + epoch % 2) };
            packets.push((us, if first % 3 == 0 { Line::B } else { Line::A }, wire));
        }
    }
    let (count, channel, _) = allocations::<Mdp>(&packets);
    assert!(channel.stats().resets > 300, "{:?}", channel.stats());
    assert_eq!(count, 0);
}
