//! What a session is to the venue: channels, each on one or two lines, and packets in the order of time.

use serde::Serialize;
use std::net::SocketAddrV4;

/// One of the two lines on which an exchange sends the same data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Line A.
    A = 0,
    /// Line B.
    B = 1,
}

impl Line {
    /// Both, in index order.
    pub const BOTH: [Line; 2] = [Line::A, Line::B];

    /// 0 for A, 1 for B: the place in per-line arrays.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// `a` or `b`.
    pub const fn name(self) -> &'static str {
        match self {
            Line::A => "a",
            Line::B => "b",
        }
    }
}

/// What is spoken on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// CME MDP 3.0.
    Mdp3,
    /// Nasdaq TotalView-ITCH 5.0 over MoldUDP64.
    Itch50,
}

/// Where one line of a channel is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineAddress {
    /// Receiver: a multicast group as a rule.
    pub destination: SocketAddrV4,
    /// Sender as it stands in raw frames. A UDP socket has its own.
    pub source: SocketAddrV4,
}

/// One channel of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    /// Its name in reports and feeds files.
    pub name: String,
    /// Its number in reports and feeds files.
    pub channel_id: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where line A and line B are sent; `None` = the channel has no such line.
    pub lines: [Option<LineAddress>; 2],
}

/// One packet of a session, with its place in the sequence.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    /// When it is sent, ns since the session's first packet, before any impairment.
    pub at_ns: u64,
    /// The channel: an index into [`Source::channels`].
    pub channel: usize,
    /// Whether line A and line B carry it.
    pub on_lines: [bool; 2],
    /// Counts the sender's restarts on this channel: sequence numbers of two runs have nothing in common.
    pub run: u32,
    /// Sequence number of the first message; the next expected one when `count` is 0.
    pub first: u64,
    /// Sequence numbers that it covers: messages for MoldUDP64, 1 for MDP 3.0.
    pub count: u32,
    /// Messages in it.
    pub messages: u32,
    /// One of the packets that end a synthetic session and tell the receiver how far it went. It is never
    /// withheld: a loss that nothing follows could not be known.
    pub closing: bool,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Where a session comes from: a capture, or a generator.
pub trait Source {
    /// The session's channels.
    fn channels(&self) -> &[Channel];

    /// Overwrites `packet` with the next one, in the order of time; false when the session is over.
    ///
    /// # Errors
    /// The capture is damaged; what came before is whole.
    fn next(&mut self, packet: &mut Packet) -> Result<bool, SourceError>;

    /// Come to the end now: a generator closes its session, a capture just ends.
    fn end_early(&mut self);

    /// Packets of a capture that belong to none of the channels.
    fn passed_over(&self) -> u64 {
        0
    }
}

/// Why a session ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The capture is cut or damaged.
    #[error(transparent)]
    Capture(#[from] crate::capture::CaptureError),
}
