//! Two small made-up protocols for tests of the arbiter, and a sink that keeps what comes out.
//!
//! `Mold` counts messages, many to a packet, in 64 bits under a session id, without a send time, as
//! MoldUDP64 does. `Mdp` counts packets of one message in 32 bits with a send time and no session, as MDP
//! 3.0 does. Both share one layout: session (u64), first (u64), send time (u64), count (u16), kind (u8),
//! reset (u8), and for each message its identity (u64); little-endian.
#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part")]

use feed::{
    Channel, ChannelConfig, Delivery, Header, Line, Malformed, MalformedReason, PacketKind, Protocol, Sink,
    Stamp,
};
use tick::{Action, Clock, ClockSource, Flags, Instrument, Source, Tick};

/// Bytes before the messages.
pub const HEADER_BYTES: usize = 28;
const MESSAGE_BYTES: usize = 8;

/// A packet to be, readable in a test.
#[derive(Clone, Debug)]
pub struct Wire {
    pub session: u64,
    pub first: u64,
    pub send_ns: u64,
    pub kind: PacketKind,
    pub reset: bool,
    pub messages: Vec<u64>,
}

impl Wire {
    /// A packet of messages `range` of `session`; a message's identity is its session and number.
    pub fn data(session: u64, range: std::ops::Range<u64>) -> Wire {
        Wire {
            session,
            first: range.start,
            send_ns: 0,
            kind: PacketKind::Data,
            reset: false,
            messages: range.map(|sequence| identity(session, sequence)).collect(),
        }
    }

    /// A packet without messages that names the next number.
    pub fn empty(session: u64, next: u64, kind: PacketKind) -> Wire {
        Wire { kind, ..Wire::data(session, next..next) }
    }

    /// The bytes of it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + MESSAGE_BYTES * self.messages.len());
        self.write(&mut bytes);
        bytes
    }

    /// Appends the bytes of it.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.session.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.send_ns.to_le_bytes());
        bytes.extend_from_slice(&(self.messages.len() as u16).to_le_bytes());
        bytes.push(match self.kind {
            PacketKind::Data => 0,
            PacketKind::Heartbeat => 1,
            PacketKind::EndOfSession => 2,
        });
        bytes.push(u8::from(self.reset));
        for message in &self.messages {
            bytes.extend_from_slice(&message.to_le_bytes());
        }
    }
}

/// What tells a message from all others: who sent it, and its number.
pub fn identity(session: u64, sequence: u64) -> u64 {
    session.wrapping_mul(1 << 40).wrapping_add(sequence)
}

/// The made-up protocol, with sequence numbers of this width.
#[derive(Debug, Default)]
pub struct Made<const BITS: u32> {
    /// How often the arbiter said that the channel starts over.
    pub resets: u64,
}

/// Like MoldUDP64.
pub type Mold = Made<64>;
/// Like MDP 3.0.
pub type Mdp = Made<32>;

impl<const BITS: u32> Protocol for Made<BITS> {
    const SEQUENCE_BITS: u32 = BITS;

    fn header(&self, payload: &[u8]) -> Result<Header, Malformed> {
        let malformed = |reason, offset| Err(Malformed { reason, offset });
        if payload.len() < HEADER_BYTES {
            return malformed(MalformedReason::ShortHeader, 0);
        }
        let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
        let count = u32::from(u16::from_le_bytes([payload[24], payload[25]]));
        let whole = HEADER_BYTES + count as usize * MESSAGE_BYTES;
        if payload.len() < whole {
            return malformed(MalformedReason::BadLength, payload.len() as u32);
        }
        if payload.len() > whole {
            return malformed(MalformedReason::TrailingBytes, whole as u32);
        }
        let kind = match payload[26] {
            0 => PacketKind::Data,
            1 => PacketKind::Heartbeat,
            2 => PacketKind::EndOfSession,
            _ => return malformed(MalformedReason::UnknownMessage, 26),
        };
        let first = if BITS < 64 { word(8) & ((1 << BITS) - 1) } else { word(8) };
        Ok(Header {
            session: u128::from(word(0)),
            first,
            count,
            send_ns: word(16),
            kind,
            reset: payload[27] == 1,
        })
    }

    fn decode(
        &mut self,
        delivery: &Delivery<'_>,
        sink: &mut impl Sink,
        malformed: &mut impl FnMut(Malformed),
    ) {
        let messages = delivery.payload[HEADER_BYTES..].chunks_exact(MESSAGE_BYTES);
        for (at, message) in messages.enumerate().skip(delivery.skip as usize).take(delivery.take as usize) {
            let order_id = u64::from_le_bytes(message.try_into().unwrap());
            if order_id == u64::MAX {
                let offset = (HEADER_BYTES + at * MESSAGE_BYTES) as u32;
                malformed(Malformed { reason: MalformedReason::BadValue, offset });
                continue;
            }
            sink.tick(&Tick {
                ts_recv: delivery.stamp.recv_ns,
                sequence: delivery.sequence + at as u64,
                order_id,
                flags: delivery.flags,
                source: delivery.source,
                clock: delivery.stamp.clock,
                ..Tick::EMPTY
            });
        }
    }

    fn reset(&mut self) {
        self.resets += 1;
    }

    fn message_counts(&self, _visit: &mut dyn FnMut(&str, u64)) {}
}

/// What came out of a channel, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Out {
    /// A message.
    Message { sequence: u64, identity: u64, line: Line, recv_ns: u64, bad_book: bool },
    /// A declared gap.
    Gap { from: u64, to: u64 },
    /// The channel was cleared at this number.
    Clear(u64),
}

/// Keeps everything.
#[derive(Debug, Default)]
pub struct Kept {
    pub out: Vec<Out>,
    pub missing: Vec<(Line, u64, u64)>,
}

impl Sink for Kept {
    fn tick(&mut self, tick: &Tick) {
        self.out.push(match tick.action {
            Action::Gap => Out::Gap { from: tick.sequence, to: tick.order_id },
            Action::Clear => Out::Clear(tick.sequence),
            _ => Out::Message {
                sequence: tick.sequence,
                identity: tick.order_id,
                line: if tick.source == Source::A { Line::A } else { Line::B },
                recv_ns: tick.ts_recv,
                bad_book: tick.flags.contains(Flags::MAYBE_BAD_BOOK),
            },
        });
    }

    fn instrument(&mut self, _instrument: &Instrument) {}

    fn missing(&mut self, line: Line, from: u64, to: u64) {
        self.missing.push((line, from, to));
    }
}

/// A time in sync.
pub fn at(recv_ns: u64) -> Stamp {
    Stamp { recv_ns, clock: Clock::new(ClockSource::Hardware, true) }
}

/// A channel and its sink, and a clock that goes on by 1 µs a packet.
pub struct Desk<P> {
    pub channel: Channel<P>,
    pub kept: Kept,
    pub now_ns: u64,
}

impl<P: Protocol + Default> Desk<P> {
    pub fn new(config: ChannelConfig) -> Desk<P> {
        Desk {
            channel: Channel::new(config, P::default()).unwrap(),
            kept: Kept::default(),
            now_ns: 1_000_000,
        }
    }

    /// A channel that expects this number first, with a window of 64 packets and a timeout of 1 ms.
    pub fn from(next: u64) -> Desk<P> {
        Desk::new(ChannelConfig { next_sequence: Some(next), ..config() })
    }

    pub fn packet(&mut self, line: Line, wire: &Wire) -> &mut Self {
        self.bytes(line, &wire.bytes())
    }

    pub fn bytes(&mut self, line: Line, bytes: &[u8]) -> &mut Self {
        self.now_ns += 1_000;
        self.channel.on_time(self.now_ns, &mut self.kept);
        self.channel.on_packet(line, at(self.now_ns), bytes, &mut self.kept);
        self
    }

    pub fn after(&mut self, ns: u64) -> &mut Self {
        self.now_ns += ns;
        self.channel.on_time(self.now_ns, &mut self.kept);
        self
    }

    /// Ends the input and gives everything that came out, short: `1-5 gap 6-7 8! clear 1`; `!` marks a
    /// book that may be bad.
    pub fn done(&mut self) -> String {
        self.channel.finish(&mut self.kept);
        self.so_far()
    }

    pub fn so_far(&self) -> String {
        let mut runs: Vec<(String, u64, u64, &str)> = Vec::new();
        for out in &self.kept.out {
            match *out {
                Out::Message { sequence, bad_book, .. } => {
                    let mark = if bad_book { "!" } else { "" };
                    match runs.last_mut() {
                        Some((kind, _, to, last))
                            if kind.is_empty() && *to + 1 == sequence && *last == mark =>
                        {
                            *to = sequence;
                        }
                        _ => runs.push((String::new(), sequence, sequence, mark)),
                    }
                }
                Out::Gap { from, to } => runs.push(("gap ".into(), from, to, "")),
                Out::Clear(sequence) => runs.push(("clear ".into(), sequence, sequence, "")),
            }
        }
        let texts = runs.into_iter().map(|(kind, from, to, mark)| {
            if from == to { format!("{kind}{from}{mark}") } else { format!("{kind}{from}-{to}{mark}") }
        });
        texts.collect::<Vec<_>>().join(" ")
    }
}

/// A window of 64 packets and a timeout of 1 ms.
pub fn config() -> ChannelConfig {
    ChannelConfig { window_packets: 64, gap_timeout_ns: 1_000_000, ..ChannelConfig::new(1, 7) }
}
