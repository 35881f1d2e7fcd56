//! MoldUDP64 1.00: how Nasdaq carries sequenced messages in UDP.
//!
//! A downstream packet is a 20-byte header and `count` message blocks, each a big-endian length and that
//! many bytes. The sequence number counts messages, not packets: the packet covers
//! `sequence .. sequence + count`. Nothing is copied: [`Packet`] and [`Messages`] borrow the payload, and
//! [`PacketWriter`] writes into memory that the caller owns.
//!
//! Invariant: the block chain of a [`Packet`] is whole. It ends exactly where the payload ends.

use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a downstream header, and of a request.
pub const HEADER_BYTES: usize = 20;
/// Bytes of the length in front of each message.
pub const BLOCK_LENGTH_BYTES: usize = 2;
/// Most messages one packet can announce.
pub const MAX_COUNT: u16 = END_OF_SESSION - 1;
/// A `count` that says: the session is over (section "End of Session").
const END_OF_SESSION: u16 = 0xFFFF;

/// The header of a downstream packet (section "Downstream Packet").
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DownstreamHeader {
    /// The session, ASCII as a rule. A new one means that the sender counts from 1 again.
    pub session: [u8; 10],
    /// Sequence number of the first message; in a heartbeat and at the end of the session the next expected.
    pub sequence: U64,
    /// Messages in this packet; 0 in a heartbeat, 0xFFFF at the end of the session.
    pub count: U16,
}

/// A request for retransmission (section "Request Packet"); the answer is a downstream packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Request {
    /// The session to which the messages belong.
    pub session: [u8; 10],
    /// First message wanted.
    pub sequence: U64,
    /// How many messages are wanted.
    pub count: U16,
}

const _: () = assert!(size_of::<DownstreamHeader>() == HEADER_BYTES && size_of::<Request>() == HEADER_BYTES);

impl Request {
    /// A request for `count` messages from `sequence` on. Its bytes are [`IntoBytes::as_bytes`].
    pub const fn new(session: [u8; 10], sequence: u64, count: u16) -> Request {
        Request { session, sequence: U64::new(sequence), count: U16::new(count) }
    }

    /// Reads a request in place.
    ///
    /// # Errors
    /// [`FrameError::ShortHeader`] or [`FrameError::TrailingBytes`] when the payload is not 20 bytes.
    pub fn parse(payload: &[u8]) -> Result<&Request, FrameError> {
        let (request, rest) = Request::ref_from_prefix(payload).map_err(|_| FrameError::ShortHeader)?;
        if rest.is_empty() {
            Ok(request)
        } else {
            Err(FrameError::TrailingBytes { offset: HEADER_BYTES as u32 })
        }
    }
}

/// What a downstream packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// This many messages, at least one.
    Data(u16),
    /// A sign of life that names the next expected sequence number.
    Heartbeat,
    /// The session is over; the sequence number is the one after the last message.
    EndOfSession,
}

/// Why a payload is not a whole packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Shorter than the 20-byte header.
    #[error("shorter than the 20-byte header")]
    ShortHeader,
    /// A block's length, or the block itself, runs past the end of the payload.
    #[error("message block at byte {offset} runs past the end")]
    BlockPastEnd {
        /// Where the block begins.
        offset: u32,
    },
    /// Bytes are left after the last announced block.
    #[error("bytes left at {offset}, after the last message block")]
    TrailingBytes {
        /// Where they begin.
        offset: u32,
    },
    /// The sequence number of the last message does not fit 64 bits.
    #[error("sequence number too large for the count")]
    SequenceOverflow,
}

/// A downstream packet, checked and borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    header: &'a DownstreamHeader,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks the whole block chain of a UDP payload. Messages without bytes are allowed, as the
    /// specification says.
    ///
    /// # Errors
    /// The first thing wrong, with its offset.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<Packet<'a>, FrameError> {
        let (header, _) = DownstreamHeader::ref_from_prefix(payload).map_err(|_| FrameError::ShortHeader)?;
        let packet = Packet { header, payload };
        let mut messages = packet.messages();
        if header.sequence.get().checked_add(u64::from(messages.left)).is_none() {
            return Err(FrameError::SequenceOverflow);
        }
        while messages.next().is_some() {}
        let offset = messages.offset() as u32;
        if messages.left != 0 {
            Err(FrameError::BlockPastEnd { offset })
        } else if offset as usize != payload.len() {
            Err(FrameError::TrailingBytes { offset })
        } else {
            Ok(packet)
        }
    }

    /// The session.
    #[inline]
    pub fn session(&self) -> [u8; 10] {
        self.header.session
    }

    /// Sequence number of the first message, or the next expected one.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.header.sequence.get()
    }

    /// What the packet is for.
    #[inline]
    pub fn kind(&self) -> Kind {
        match self.header.count.get() {
            0 => Kind::Heartbeat,
            END_OF_SESSION => Kind::EndOfSession,
            count => Kind::Data(count),
        }
    }

    /// The messages, first to last.
    #[inline]
    pub fn messages(&self) -> Messages<'a> {
        Messages::of(self.payload)
    }
}

/// The messages of a packet, first to last, each without its length. Stops where the chain is broken, so
/// it never reads outside the payload; [`Packet::parse`] says beforehand whether the chain is whole.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    payload: &'a [u8],
    rest: &'a [u8],
    left: u16,
}

impl<'a> Messages<'a> {
    /// The messages of a UDP payload whose chain was checked before. No message at all when the payload
    /// is shorter than a header.
    #[inline]
    pub fn of(payload: &'a [u8]) -> Messages<'a> {
        let (left, rest) = match DownstreamHeader::ref_from_prefix(payload) {
            Ok((header, rest)) if header.count.get() != END_OF_SESSION => (header.count.get(), rest),
            Ok((_, rest)) => (0, rest),
            Err(_) => (0, &payload[payload.len()..]),
        };
        Messages { payload, rest, left }
    }

    /// Offset in the payload of the block that comes next.
    #[inline]
    pub fn offset(&self) -> usize {
        self.payload.len() - self.rest.len()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let (length, rest) = self.rest.split_first_chunk::<BLOCK_LENGTH_BYTES>()?;
        let (message, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.rest = rest;
        self.left -= 1;
        Some(message)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.left)))
    }
}

/// The buffer has no room for another message, or the packet announces [`MAX_COUNT`] already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room for the message in this packet")]
pub struct PacketFull;

/// Writes a downstream packet into the caller's buffer. Finished without a message it is a heartbeat.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    buffer: &'a mut [u8],
    used: usize,
    count: u16,
}

impl<'a> PacketWriter<'a> {
    /// Begins a packet whose first message has the number `sequence`. The buffer's length bounds the packet.
    ///
    /// # Errors
    /// [`PacketFull`] when the buffer is shorter than a header.
    pub fn new(
        buffer: &'a mut [u8],
        session: [u8; 10],
        sequence: u64,
    ) -> Result<PacketWriter<'a>, PacketFull> {
        let header = DownstreamHeader { session, sequence: U64::new(sequence), count: U16::ZERO };
        header.write_to_prefix(buffer).map_err(|_| PacketFull)?;
        Ok(PacketWriter { buffer, used: HEADER_BYTES, count: 0 })
    }

    /// Appends a message; on an error the packet is as it was.
    ///
    /// # Errors
    /// [`PacketFull`] when the message does not fit.
    pub fn push(&mut self, message: &[u8]) -> Result<(), PacketFull> {
        let length = u16::try_from(message.len()).map_err(|_| PacketFull)?;
        let end = self.used + BLOCK_LENGTH_BYTES + message.len();
        let block = self.buffer.get_mut(self.used..end).ok_or(PacketFull)?;
        if self.count == MAX_COUNT {
            return Err(PacketFull);
        }
        let (prefix, body) = block.split_at_mut(BLOCK_LENGTH_BYTES);
        prefix.copy_from_slice(&length.to_be_bytes());
        body.copy_from_slice(message);
        self.used = end;
        self.count += 1;
        Ok(())
    }

    /// How many messages the packet has so far.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Completes the header and gives the packet's bytes.
    pub fn finish(self) -> &'a [u8] {
        let count = self.count;
        self.close(count)
    }

    /// The packet that ends a session. Messages pushed before are left out.
    pub fn end_of_session(mut self) -> &'a [u8] {
        self.used = HEADER_BYTES;
        self.close(END_OF_SESSION)
    }

    fn close(self, count: u16) -> &'a [u8] {
        self.buffer[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&count.to_be_bytes());
        &self.buffer[..self.used]
    }
}
