//! Random bytes and random sequences of well-formed packets: nothing panics, what comes out stays in order,
//! what waits stays bounded, and every packet is counted.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use feed::{Channel, ChannelConfig, Itch50, Line, Mdp3, PacketKind, Protocol, Sink};
use std::sync::{Arc, LazyLock};
use support::{Mdp, Mold, Wire, at};
use tick::{Action, Instrument, Tick};
use wire::mdp3::{FIXTURE, Schema};

const WINDOW: usize = 8;
static SCHEMA: LazyLock<Arc<Schema>> =
    LazyLock::new(|| Arc::new(Schema::parse(FIXTURE).expect("schema of the fixtures")));

/// Checks order as it takes records: within a count, numbers never go back and gaps meet their neighbours.
#[derive(Default)]
struct Order {
    last: Option<u64>,
    lost: u64,
    missing: [u64; 2],
}

impl Sink for Order {
    fn tick(&mut self, tick: &Tick) {
        match tick.action {
            Action::Clear if tick.instrument_id == 0 && tick.order_id == 0 => self.last = None,
            Action::Gap => {
                assert!(self.last.is_none_or(|last| tick.sequence > last) && tick.order_id >= tick.sequence);
                self.lost += tick.order_id - tick.sequence + 1;
                self.last = Some(tick.order_id);
            }
            _ => {
                assert!(self.last.is_none_or(|last| tick.sequence >= last), "{tick:?} after {:?}", self.last);
                self.last = Some(tick.sequence);
            }
        }
    }
    fn instrument(&mut self, _instrument: &Instrument) {}
    fn missing(&mut self, line: Line, from: u64, to: u64) {
        assert!(from <= to);
        self.missing[line.index()] += to - from + 1;
    }
}

struct Bench<P> {
    channel: Channel<P>,
    order: Order,
    now_ns: u64,
}

impl<P: Protocol> Bench<P> {
    fn new(protocol: P, next_sequence: Option<u64>) -> Bench<P> {
        let config = ChannelConfig {
            window_packets: WINDOW,
            payload_bytes_max: 256,
            gap_timeout_ns: 1_000,
            next_sequence,
            ..ChannelConfig::new(1, 7)
        };
        Bench { channel: Channel::new(config, protocol).unwrap(), order: Order::default(), now_ns: 1_000_000 }
    }

    fn packet(&mut self, line: Line, recv_ns: u64, bytes: &[u8]) {
        self.channel.on_packet(line, at(recv_ns), bytes, &mut self.order);
        assert!(self.channel.waiting() <= WINDOW);
    }

    fn time(&mut self, now_ns: u64) {
        self.channel.on_time(now_ns, &mut self.order);
    }

    fn finish(mut self) {
        self.channel.finish(&mut self.order);
        assert_eq!(self.channel.waiting(), 0);
        let stats = self.channel.stats();
        assert_eq!(self.order.lost, stats.lost);
        for line in Line::BOTH {
            let counts = stats.line(line);
            let sum = counts.won
                + counts.duplicates
                + counts.late
                + counts.stale
                + counts.unconfirmed
                + counts.empty
                + counts.malformed_total();
            assert_eq!(counts.packets, sum, "{counts:?}");
            assert_eq!(counts.missing, self.order.missing[line.index()]);
        }
    }
}

/// One step of a hostile sender.
type Step = (bool, u8, u16, u8, u8, u8, u8);

/// Well-formed packets with numbers, sessions and times of the sender's choice, near and far.
fn packets<P: Protocol>(protocol: P, bits: u32, start: Option<u64>, steps: &[Step]) {
    let mut bench = Bench::new(protocol, start.map(|start| start & ((1 << 63) - 1)));
    let mut base = 1_000u64;
    for &(b, how, offset, count, session, kind, pause) in steps {
        let line = if b { Line::B } else { Line::A };
        base = match how % 16 {
            0 => 1,
            1 => base.wrapping_add(1 << 20),
            2 => base.wrapping_sub(1 << 20),
            3 => 1 << 32,
            4 => u64::MAX - u64::from(offset),
            5 => base.wrapping_add(u64::from(offset) << 8),
            _ => base.wrapping_add(u64::from(count % 4)),
        };
        let first = base.wrapping_add(u64::from(offset % 16)).wrapping_sub(8);
        let first = if bits < 64 { first & 0xffff_ffff } else { first };
        bench.now_ns += u64::from(pause) * if how % 32 == 9 { 100_000_000 } else { 10 };
        let wire = Wire {
            session: u64::from(session % 4),
            first,
            send_ns: if how % 8 == 7 { 0 } else { bench.now_ns - u64::from(offset >> 4) },
            kind: [PacketKind::Data, PacketKind::Data, PacketKind::Heartbeat, PacketKind::EndOfSession]
                [usize::from(kind % 4)],
            reset: kind > 250,
            messages: vec![u64::from(how); usize::from(count % 24)],
        };
        let now_ns = bench.now_ns;
        bench.packet(line, if kind == 77 { u64::MAX } else { now_ns }, &wire.bytes());
        if pause % 3 == 0 {
            bench.time(now_ns);
        }
        if kind == 78 {
            bench.channel.finish(&mut bench.order);
        }
    }
    bench.finish();
}

#[test]
fn no_order_of_well_formed_packets_breaks_an_invariant() {
    bolero::check!().with_type::<(Option<u64>, Vec<Step>)>().with_iterations(20_000).for_each(
        |(start, steps)| {
            packets(Mold::default(), 64, *start, steps);
            packets(Mdp::default(), 32, *start, steps);
        },
    );
}

#[test]
fn random_bytes_break_no_invariant() {
    bolero::check!().with_type::<Vec<(bool, u32, Vec<u8>)>>().with_iterations(10_000).for_each(|packets| {
        let mut mold = Bench::new(Mold::default(), None);
        let mut itch = Bench::new(Itch50::new(2, 40), None);
        let mut mdp = Bench::new(Mdp3::new(1, 310, Arc::clone(&SCHEMA)), None);
        for (b, pause, bytes) in packets {
            let line = if *b { Line::B } else { Line::A };
            let now_ns = mold.now_ns + u64::from(*pause);
            mold.now_ns = now_ns;
            mold.packet(line, now_ns, bytes);
            itch.packet(line, now_ns, bytes);
            mdp.packet(line, now_ns, bytes);
            itch.packet(line, now_ns, &mold_frame(bytes));
            mdp.packet(line, now_ns, &mdp_frame(bytes));
            mold.time(now_ns);
            itch.time(now_ns);
            mdp.time(now_ns);
        }
        mold.finish();
        itch.finish();
        mdp.finish();
    });
}

/// Random bytes as the messages of a whole MoldUDP64 packet, with a random number out of a few.
fn mold_frame(bytes: &[u8]) -> Vec<u8> {
    let seed = bytes.first().copied().unwrap_or(0);
    let messages: Vec<&[u8]> = bytes.chunks(20).take(8).collect();
    let mut frame = vec![b'S', seed % 2, 0, 0, 0, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&u64::from(seed).to_be_bytes());
    frame.extend_from_slice(&(messages.len() as u16).to_be_bytes());
    for message in messages {
        frame.extend_from_slice(&(message.len() as u16).to_be_bytes());
        frame.extend_from_slice(message);
    }
    frame
}

/// Random bytes as the body of one message of a known template in an MDP 3.0 packet.
fn mdp_frame(bytes: &[u8]) -> Vec<u8> {
    let seed = bytes.first().copied().unwrap_or(0);
    let template = [4u16, 12, 30, 37, 42, 46, 48, 52, 53][usize::from(seed) % 9];
    let mut frame = u32::from(seed).to_le_bytes().to_vec();
    frame.extend_from_slice(&(1_000_000 + u64::from(seed)).to_le_bytes());
    frame.extend_from_slice(&(10 + bytes.len() as u16).to_le_bytes());
    for word in [bytes.len() as u16 / 2, template, 1, 9] {
        frame.extend_from_slice(&word.to_le_bytes());
    }
    frame.extend_from_slice(bytes);
    frame
}
