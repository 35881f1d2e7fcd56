//! The contract between the arbiter and a venue's protocol.

use tick::{Clock, Flags, Instrument, Source, Tick};

/// One of the two lines on which an exchange sends the same data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Line {
    /// Line A.
    A = 0,
    /// Line B.
    B = 1,
}

impl Line {
    /// Both lines, in index order.
    pub const BOTH: [Line; 2] = [Line::A, Line::B];

    /// 0 for A, 1 for B: the place in per-line arrays.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The line beside this one.
    #[inline]
    pub const fn other(self) -> Line {
        match self {
            Line::A => Line::B,
            Line::B => Line::A,
        }
    }

    /// The code in a tick's `source`.
    #[inline]
    pub const fn source(self) -> Source {
        match self {
            Line::A => Source::A,
            Line::B => Source::B,
        }
    }
}

/// When a packet arrived, and by which clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// ns since the Unix epoch, UTC.
    pub recv_ns: u64,
    /// Where that time was read.
    pub clock: Clock,
}

/// What a packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketKind {
    /// Messages.
    Data,
    /// Nothing but a sign of life. MoldUDP64's names the next sequence and covers none; MDP 3.0's
    /// occupies a sequence number of its own.
    Heartbeat,
    /// The sender's session is over.
    EndOfSession,
}

/// A packet's transport header, checked: the packet's framing is whole when one of these exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The sender's session, opaque; two headers of one sender run have the same. 0 where the protocol has none.
    pub session: u128,
    /// Sequence number of the first message, as on the wire (not unwrapped).
    pub first: u64,
    /// Sequence numbers that this packet covers: `first .. first + count`. MDP 3.0: 1.
    pub count: u32,
    /// The exchange's send time, ns since the Unix epoch; 0 = none.
    pub send_ns: u64,
    /// What the packet is for.
    pub kind: PacketKind,
    /// The packet carries the sender's word that the channel starts over (MDP 3.0 channel reset).
    pub reset: bool,
}

/// Why bytes were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, thiserror::Error)]
#[repr(u8)]
pub enum MalformedReason {
    /// The packet is shorter than its transport header.
    #[error("packet shorter than its header")]
    ShortHeader = 0,
    /// A message or block runs past the end of the packet, or its length cannot be right.
    #[error("message length runs past the packet or is too small")]
    BadLength = 1,
    /// Bytes are left after the last message that the header announced.
    #[error("bytes left after the last message")]
    TrailingBytes = 2,
    /// A message type or template that the protocol does not name.
    #[error("unknown message type or template")]
    UnknownMessage = 3,
    /// A known message of the wrong size or version.
    #[error("known message of the wrong size")]
    WrongSize = 4,
    /// A field holds a value that cannot be carried (a price that does not fit, a quantity out of range).
    #[error("field value out of range")]
    BadValue = 5,
    /// The payload is larger than the channel keeps.
    #[error("payload larger than the configured maximum")]
    Oversized = 6,
}

impl MalformedReason {
    /// How many reasons there are.
    pub const COUNT: usize = 7;
}

/// Bytes that were refused: why, and where in the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct Malformed {
    /// The reason.
    pub reason: MalformedReason,
    /// Offset in the payload, bytes.
    pub offset: u32,
}

/// A packet whose turn has come, on its way from the arbiter to the decoder.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The UDP payload.
    pub payload: &'a [u8],
    /// Its header, as [`Protocol::header`] gave it.
    pub header: Header,
    /// Unwrapped sequence number of the packet's first message.
    pub sequence: u64,
    /// Messages at the front of the packet that were delivered before, by another packet.
    pub skip: u32,
    /// Messages to deliver after the skipped ones (the rest was delivered before, too).
    pub take: u32,
    /// The line it came from.
    pub source: Source,
    /// When it arrived.
    pub stamp: Stamp,
    /// Flags that every tick of it carries (`MAYBE_BAD_BOOK`, `BAD_TS_RECV`).
    pub flags: Flags,
}

/// Where the core's output goes.
pub trait Sink {
    /// Takes a tick, a declared gap ([`Tick::gap`]) or a channel clear, in channel order.
    fn tick(&mut self, tick: &Tick);
    /// Takes an instrument definition.
    fn instrument(&mut self, instrument: &Instrument);
    /// Takes the sequence numbers `from..=to` that `line` never brought while the other line did: of one
    /// count, in ascending order per line, told when they leave the arbiter's history and at its end.
    fn missing(&mut self, line: Line, from: u64, to: u64) {
        let _ = (line, from, to);
    }
}

/// A venue's protocol: how a packet names its place in the sequence, and what its messages mean.
pub trait Protocol {
    /// Width of the sequence number on the wire; narrower than 64 bits wraps and is unwrapped.
    const SEQUENCE_BITS: u32;

    /// Reads the transport header and checks that the packet's framing is whole.
    ///
    /// # Errors
    /// The first thing wrong, and its offset. Nothing of a malformed packet is delivered, so that the
    /// other line's good copy can be.
    fn header(&self, payload: &[u8]) -> Result<Header, Malformed>;

    /// Turns the messages of a packet that came up for delivery into ticks.
    ///
    /// A message that cannot be read is reported to `malformed` and passed over; those beside it are
    /// delivered.
    fn decode(
        &mut self,
        delivery: &Delivery<'_>,
        sink: &mut impl Sink,
        malformed: &mut impl FnMut(Malformed),
    );

    /// The channel started over: forget what earlier messages said about order and instrument state.
    fn reset(&mut self);

    /// Calls `visit` with the name of each message type or template seen and how many were delivered.
    fn message_counts(&self, visit: &mut dyn FnMut(&str, u64));
}
