//! Sessions made up from a seed: chosen rate, symbols and channels, byte for byte the same each time.
//!
//! Packets are generated one by one as they are asked for; memory depends on symbols and channels, not on
//! the session's length. A channel opens with its instruments, trades, and closes with packets that tell a
//! receiver how far it went.

mod itch50;
mod market;
mod mdp3;

use crate::session::{Channel, LineAddress, Packet, Protocol, Source, SourceError};
use itch50::ItchFeed;
use mdp3::Mdp3Feed;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A channel that was quiet for this long sends a heartbeat, ns.
const HEARTBEAT_NS: u64 = 1_000_000_000;
/// Between the packets that open a channel, ns.
const OPENING_SPACING_NS: u64 = 20_000;
/// Between the packets that close a channel, ns: beyond the usual gap timeout, so that each is a second
/// chance to notice what is missing.
const CLOSING_SPACING_NS: u64 = 10_000_000;
/// Channels, at most: as many as a feeds file may have.
const CHANNELS_MAX: u16 = 1024;
/// How many packets close a channel.
const CLOSING_PACKETS: u32 = 3;

/// The made-up day: when its first packet is sent, ns since the Unix epoch. 2026-01-05 14:30 UTC, which is
/// 09:30 in New York.
pub const SESSION_BEGIN_NS: u64 = 1_767_623_400_000_000_000;

/// What a made-up session is to be.
#[derive(Clone, PartialEq, Debug)]
pub struct SyntheticSpec {
    /// What is spoken.
    pub protocol: Protocol,
    /// Channels, 1 to 1024.
    pub channels: u16,
    /// Symbols on each channel, at least 1.
    pub symbols: u16,
    /// Messages a second, over all channels.
    pub messages_per_s: f64,
    /// Messages in a packet, on average, at least 1.
    pub messages_per_packet: f64,
    /// When it ends.
    pub end: SessionEnd,
    /// What decides everything else.
    pub seed: u64,
    /// Where line A and line B of the first channel are sent. Further channels count address (of a group)
    /// and port up.
    pub destinations: [Option<SocketAddrV4>; 2],
    /// The sender's address in raw frames.
    pub source: Ipv4Addr,
}

/// When a made-up session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionEnd {
    /// After so many messages over all channels, opening and closing ones included, heartbeats not. A channel
    /// sends its opening and closing messages even when they are more, and MDP 3.0 may send one more for
    /// each channel, because a trade takes two.
    Messages(u64),
    /// After so much session time, ns.
    Duration(u64),
}

impl SyntheticSpec {
    /// A session of ITCH 5.0 on one channel: 100 symbols, 10,000 messages a second, three in a packet.
    pub fn new(end: SessionEnd, seed: u64) -> SyntheticSpec {
        let destination = |third, port| Some(SocketAddrV4::new(Ipv4Addr::new(239, 77, third, 1), port));
        SyntheticSpec {
            protocol: Protocol::Itch50,
            channels: 1,
            symbols: 100,
            messages_per_s: 10_000.0,
            messages_per_packet: 3.0,
            end,
            seed,
            destinations: [destination(1, 31_001), destination(2, 32_001)],
            source: Ipv4Addr::new(198, 18, 0, 1),
        }
    }

    fn check(&self) -> Result<(), SpecError> {
        let counts_up = |to: &Option<SocketAddrV4>| {
            to.is_none_or(|to| u32::from(to.port()) + u32::from(self.channels) <= 65_536)
        };
        match self {
            _ if !(1..=CHANNELS_MAX).contains(&self.channels) => Err(SpecError("1 to 1024 channels")),
            _ if self.symbols == 0 => Err(SpecError("at least one symbol")),
            _ if self.protocol == Protocol::Itch50
                && u32::from(self.channels) * u32::from(self.symbols) > u32::from(u16::MAX) =>
            {
                Err(SpecError("ITCH numbers at most 65535 symbols, over all channels"))
            }
            _ if !(self.messages_per_s > 0.0 && self.messages_per_s <= 1e9) => {
                Err(SpecError("the rate must be above 0 and at most 1e9 messages/s"))
            }
            _ if !(1.0..=1e3).contains(&self.messages_per_packet) => {
                Err(SpecError("a packet has 1 to 1000 messages on average"))
            }
            _ if self.destinations == [None, None] => Err(SpecError("no line has a destination")),
            _ if !self.destinations.iter().all(counts_up) => {
                Err(SpecError("the ports do not suffice for the channels"))
            }
            _ => Ok(()),
        }
    }

    fn channel(&self, index: u16) -> Channel {
        let address = |line: usize| {
            self.destinations[line].map(|first| {
                let ip = *first.ip();
                let ip = if ip.is_multicast() {
                    Ipv4Addr::from(u32::from(ip).wrapping_add(u32::from(index)))
                } else {
                    ip
                };
                LineAddress {
                    destination: SocketAddrV4::new(ip, first.port() + index),
                    source: SocketAddrV4::new(self.source, first.port() + index),
                }
            })
        };
        Channel {
            name: format!("synthetic-{}", index + 1),
            channel_id: index + 1,
            protocol: self.protocol,
            lines: [address(0), address(1)],
        }
    }
}

/// What is wrong with a [`SyntheticSpec`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(&'static str);

/// A made-up session.
pub struct Synthetic {
    channels: Vec<Channel>,
    feeds: Vec<ChannelFeed>,
    /// When each channel speaks next.
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    ending: bool,
    now_ns: u64,
}

/// What a protocol says on one channel. Each call fills in the packet's sequence and payload; its time is set.
trait Speaker {
    /// How many opening and closing messages there are.
    fn fixed_messages(&self) -> u64;
    /// The next packet of the opening; true when it is the last.
    fn open(&mut self, packet: &mut Packet) -> bool;
    /// About `wanted` messages of trading, fewer when the packet is full.
    fn trade(&mut self, packet: &mut Packet, wanted: u32);
    /// The packet that ends trading.
    fn close(&mut self, packet: &mut Packet);
    /// A sign of life.
    fn heartbeat(&mut self, packet: &mut Packet);
    /// A packet after the end, which tells how far the sequence went.
    fn closed(&mut self, packet: &mut Packet);
}

/// One channel: the pace of its packets around what its protocol says.
struct ChannelFeed {
    speaker: Box<dyn Speaker + Send>,
    random: ChaCha8Rng,
    phase: Phase,
    packet_gap_ns: f64,
    messages_per_packet: f64,
    /// Messages that may still come before the closing ones; `u64::MAX` when time ends the session.
    messages_left: u64,
    end_ns: u64,
    /// When messages come next; heartbeats fill the time until then.
    data_ns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Trading,
    Closing,
    /// So many closing packets are left.
    Closed(u32),
}

impl Synthetic {
    /// Makes the session's beginning.
    ///
    /// # Errors
    /// The spec asks for what cannot be.
    pub fn new(spec: &SyntheticSpec) -> Result<Synthetic, SpecError> {
        spec.check()?;
        let feeds: Vec<_> = (0..spec.channels).map(|index| ChannelFeed::new(spec, index)).collect();
        Ok(Synthetic {
            channels: (0..spec.channels).map(|index| spec.channel(index)).collect(),
            agenda: (0..feeds.len()).map(|index| Reverse((0, index))).collect(),
            feeds,
            ending: false,
            now_ns: 0,
        })
    }
}

impl Source for Synthetic {
    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn next(&mut self, packet: &mut Packet) -> Result<bool, SourceError> {
        let Some(Reverse((due_ns, index))) = self.agenda.pop() else { return Ok(false) };
        let at_ns = if self.ending { self.now_ns } else { due_ns };
        self.now_ns = at_ns;
        packet.at_ns = at_ns;
        packet.channel = index;
        packet.on_lines = [true; 2];
        packet.run = 0;
        if let Some(next_ns) = self.feeds[index].speak(packet, self.ending) {
            self.agenda.push(Reverse((next_ns, index)));
        }
        Ok(true)
    }

    fn end_early(&mut self) {
        self.ending = true;
    }
}

impl ChannelFeed {
    fn new(spec: &SyntheticSpec, index: u16) -> ChannelFeed {
        let channels = u64::from(spec.channels);
        let mut random = ChaCha8Rng::seed_from_u64(spec.seed);
        // Streams 1 and 2 are the lines' impairments.
        random.set_stream(16 + 2 * u64::from(index));
        let mut market = random.clone();
        market.set_stream(17 + 2 * u64::from(index));
        let speaker: Box<dyn Speaker + Send> = match spec.protocol {
            Protocol::Itch50 => Box::new(ItchFeed::new(spec.seed, index, spec.symbols, market)),
            Protocol::Mdp3 => Box::new(Mdp3Feed::new(index, spec.symbols, market)),
        };
        let (messages_left, end_ns) = match spec.end {
            SessionEnd::Messages(total) => {
                let share = total / channels + u64::from(u64::from(index) < total % channels);
                (share.saturating_sub(speaker.fixed_messages()), u64::MAX)
            }
            SessionEnd::Duration(ns) => (u64::MAX, ns),
        };
        let rate = spec.messages_per_s / f64::from(spec.channels);
        ChannelFeed {
            speaker,
            random,
            phase: Phase::Opening,
            packet_gap_ns: spec.messages_per_packet / rate * 1e9,
            messages_per_packet: spec.messages_per_packet,
            messages_left,
            end_ns,
            data_ns: 0,
        }
    }

    /// Fills in the channel's next packet; gives back when it speaks next, `None` after its last.
    fn speak(&mut self, packet: &mut Packet, ending: bool) -> Option<u64> {
        let at_ns = packet.at_ns;
        packet.closing = false;
        if self.phase == Phase::Trading && (ending || self.messages_left == 0 || at_ns >= self.end_ns) {
            self.phase = Phase::Closing;
        }
        match self.phase {
            Phase::Opening => {
                if !self.speaker.open(packet) {
                    return Some(at_ns + OPENING_SPACING_NS);
                }
                self.phase = Phase::Trading;
                self.data_ns = at_ns + self.gap_ns();
                Some(self.next_ns(at_ns))
            }
            Phase::Trading if at_ns < self.data_ns => {
                self.speaker.heartbeat(packet);
                Some(self.next_ns(at_ns))
            }
            Phase::Trading => {
                let wanted = u64::from(self.packet_messages()).min(self.messages_left);
                self.speaker.trade(packet, wanted as u32);
                if self.messages_left < u64::MAX {
                    self.messages_left = self.messages_left.saturating_sub(packet.messages.into());
                }
                self.data_ns = at_ns + self.gap_ns();
                Some(self.next_ns(at_ns))
            }
            Phase::Closing => {
                self.speaker.close(packet);
                self.phase = Phase::Closed(CLOSING_PACKETS);
                Some(at_ns + CLOSING_SPACING_NS)
            }
            Phase::Closed(left) => {
                self.speaker.closed(packet);
                packet.closing = true;
                self.phase = Phase::Closed(left - 1);
                (left > 1).then_some(at_ns + CLOSING_SPACING_NS)
            }
        }
    }

    fn next_ns(&self, at_ns: u64) -> u64 {
        let over = self.messages_left == 0;
        if over { at_ns } else { self.data_ns.min(at_ns + HEARTBEAT_NS).min(self.end_ns.max(at_ns)) }
    }

    /// Packets arrive at random, independently of each other: exponential gaps.
    fn gap_ns(&mut self) -> u64 {
        (-self.unit().ln() * self.packet_gap_ns) as u64
    }

    /// Geometric around the wanted average.
    fn packet_messages(&mut self) -> u32 {
        let unit = self.unit();
        if self.messages_per_packet <= 1.0 {
            return 1;
        }
        let more = 1.0 - 1.0 / self.messages_per_packet;
        1 + (unit.ln() / more.ln()) as u32
    }

    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        f64::from((self.random.next_u32() >> 8) + 1) / f64::from(1u32 << 24)
    }
}
