//! A packet's framing: the chain of messages, the blocks of a message, the entries of its groups.
//!
//! Everything here borrows the packet. A [`Message`] exists only when its size fits the packet and its root
//! block fits its size, a [`Group`] only when all its entries fit the message; so a [`Block`] always lies
//! inside its message, and at least eight bytes of the packet lie in front of it, which is what
//! [`crate::mdp3::Int`] reads by.

use super::{GroupDef, MESSAGE_HEADER_BYTES, PACKET_HEADER_BYTES};

/// The packet header. Specification: CME Client Systems Wiki, "MDP 3.0 - Packet Structure".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// Packet sequence number on its channel; one per packet.
    pub sequence: u32,
    /// When the gateway sent it, ns since the Unix epoch, UTC.
    pub sending_time_ns: u64,
}

impl PacketHeader {
    /// Reads the first 12 bytes; `None` when there are fewer.
    #[inline]
    pub fn read(payload: &[u8]) -> Option<PacketHeader> {
        let bytes = payload.first_chunk::<PACKET_HEADER_BYTES>()?;
        let [s0, s1, s2, s3, time @ ..] = *bytes;
        Some(PacketHeader {
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
            sending_time_ns: u64::from_le_bytes(time),
        })
    }
}

/// What is wrong with a packet's framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameReason {
    /// A message size is smaller than a message header or larger than what is left, or a block or group runs
    /// past its message.
    #[error("a length runs past its container or is too small")]
    Length,
    /// Fewer bytes than a message header are left after the last message.
    #[error("bytes left after the last message")]
    Trailing,
}

/// A fault in the framing, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct FrameError {
    /// The fault.
    pub reason: FrameReason,
    /// Offset in the payload, bytes.
    pub offset: usize,
}

/// The messages of one packet, in order. Ends after the first fault.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Messages<'a> {
    /// The messages behind the packet header. A payload shorter than the header has none.
    #[inline]
    pub fn new(payload: &'a [u8]) -> Messages<'a> {
        Messages { payload, at: PACKET_HEADER_BYTES.min(payload.len()) }
    }

    #[cold]
    fn fault(&mut self, reason: FrameReason) -> Option<Result<Message<'a>, FrameError>> {
        let offset = self.at;
        self.at = self.payload.len();
        Some(Err(FrameError { reason, offset }))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let left = &self.payload[self.at..];
        let Some(header) = left.first_chunk::<MESSAGE_HEADER_BYTES>() else {
            return if left.is_empty() { None } else { self.fault(FrameReason::Trailing) };
        };
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let (size, block_length) = (usize::from(word(0)), word(2));
        if size > left.len() || size < MESSAGE_HEADER_BYTES + usize::from(block_length) {
            return self.fault(FrameReason::Length);
        }
        let at = self.at;
        self.at += size;
        Some(Ok(Message {
            packet: &self.payload[..self.at],
            at,
            block_length,
            template_id: word(4),
            schema_id: word(6),
            version: word(8),
        }))
    }
}

/// One message. Its header is read, its size and root block fit.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The packet up to this message's end.
    packet: &'a [u8],
    at: usize,
    block_length: u16,
    /// Template id.
    pub template_id: u16,
    /// Id of the schema that the sender used.
    pub schema_id: u16,
    /// Version of the schema that the sender used.
    pub version: u16,
}

impl<'a> Message<'a> {
    /// Where the message starts in the payload, bytes.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The whole message, its size field included.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.packet[self.at..]
    }

    /// The root block.
    #[inline]
    pub fn root(&self) -> Block<'a> {
        let start = self.at + MESSAGE_HEADER_BYTES;
        Block::new(self.packet, start, usize::from(self.block_length), self.version)
    }

    /// The message's groups, as the template orders them.
    #[inline]
    pub fn groups(&self) -> Groups<'a> {
        let at = self.at + MESSAGE_HEADER_BYTES + usize::from(self.block_length);
        Groups { packet: self.packet, at, next: 0, version: self.version }
    }
}

/// A block of fields: a root block or one entry of a group.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The eight bytes in front of the block, then the block.
    pub(super) window: &'a [u8],
    /// Version of the schema that the sender used.
    pub(super) version: u16,
}

impl<'a> Block<'a> {
    #[inline]
    fn new(packet: &'a [u8], start: usize, length: usize, version: u16) -> Block<'a> {
        Block { window: &packet[start - 8..start + length], version }
    }

    /// The block's bytes.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.window[8..]
    }

    /// The schema version of the sender.
    #[inline]
    pub fn version(&self) -> u16 {
        self.version
    }
}

/// A cursor over the groups of a message.
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    packet: &'a [u8],
    at: usize,
    /// Place of the group that starts at `at`.
    next: usize,
    version: u16,
}

impl<'a> Groups<'a> {
    /// Opens the group at `place` of the template's groups and stands behind it. A group that the sender's
    /// version does not have is empty, and so is one that lies behind the cursor.
    ///
    /// # Errors
    /// Its dimension or its entries, or those of a group in front of it, run past the message; or it has
    /// entries without a byte.
    #[inline]
    pub fn open(&mut self, groups: &[GroupDef], place: usize) -> Result<Group<'a>, FrameError> {
        let mut group =
            Group { packet: self.packet, at: self.at, block_length: 0, count: 0, version: self.version };
        for def in groups.get(self.next..=place).unwrap_or_default() {
            group = self.step(def)?;
        }
        self.next = self.next.max(place + 1);
        Ok(group)
    }

    #[inline(always)]
    fn step(&mut self, def: &GroupDef) -> Result<Group<'a>, FrameError> {
        let (packet, version) = (self.packet, self.version);
        if def.since > version {
            return Ok(Group { packet, at: self.at, block_length: 0, count: 0, version });
        }
        let fault = FrameError { reason: FrameReason::Length, offset: self.at };
        let window = packet.get(self.at - 8..self.at + def.dimension.bytes).ok_or(fault)?;
        let dimension = Block { window, version: u16::MAX };
        let block_length = def.dimension.block_length.read.get(&dimension).unwrap_or(0) as usize;
        let count = def.dimension.count.read.get(&dimension).unwrap_or(0) as usize;
        let at = self.at + def.dimension.bytes;
        // Entries without a byte would make the count a promise that costs nothing to make.
        let empty_entries = block_length == 0 && count > 0;
        if empty_entries || block_length as u64 * count as u64 > (packet.len() - at) as u64 {
            return Err(fault);
        }
        self.at = at + block_length * count;
        Ok(Group { packet, at, block_length, count, version })
    }
}

/// The entries of one group; all of them lie inside the message.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    packet: &'a [u8],
    at: usize,
    block_length: usize,
    count: usize,
    version: u16,
}

impl<'a> Group<'a> {
    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entry at `index`, counted from 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Block<'a>> {
        (index < self.count).then(|| {
            Block::new(self.packet, self.at + index * self.block_length, self.block_length, self.version)
        })
    }

    /// Offset in the payload of the entry at `index`, bytes.
    #[inline]
    pub fn offset(&self, index: usize) -> usize {
        self.at + index * self.block_length
    }

    /// The entries in order.
    #[inline]
    pub fn blocks(&self) -> Blocks<'a> {
        Blocks { group: *self, next: 0 }
    }
}

/// Iterator over a group's entries; see [`Group::blocks`].
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    group: Group<'a>,
    next: usize,
}

impl Blocks<'_> {
    /// Offset in the payload of the entry that comes next, bytes.
    #[inline]
    pub fn offset(&self) -> usize {
        self.group.offset(self.next)
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    #[inline]
    fn next(&mut self) -> Option<Block<'a>> {
        let block = self.group.get(self.next)?;
        self.next += 1;
        Some(block)
    }
}
