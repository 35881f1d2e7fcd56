//! Books as bytes, and back.
//!
//! Little-endian, without padding; a count is a `u32` before what it counts:
//!
//! ```text
//! "FPBOOKS\n"  version u32
//! channels: id u16, why u8, bits u8                                (ids rise)
//! books:    publisher u16, channel u16, instrument u32             (in the order of first sight)
//!           by order, by price: why u8, bits u8
//!           cancelled: sequence u64, side u8;  unpriced: sequence u64, size u32
//!           by order, bids then asks: levels, worst first: price i64, orders in queue order: id u64, size u32
//!           by price, bids then asks: levels, worst first: price i64, size u32
//! checksum u64: FNV-1a of everything before it
//! ```
//!
//! Invariant: what [`Books::restore`] accepts are books that the same ticks lead to the same answers as those
//! that were saved; anything else is refused with the offset and the reason, and nothing is allocated by
//! what the bytes claim.

use crate::books::{Books, Channel, Entry, Half, Limits};
use crate::ladders::{key, ladder};
use crate::orders::{NIL, Node};
use crate::state::{Kind, Why};
use tick::{Price, Side, Tick};

const MAGIC: &[u8; 8] = b"FPBOOKS\n";
const VERSION: u32 = 1;
const CHECKSUM_BYTES: usize = 8;

const FLAGGED: u8 = 1;
const STARTED: u8 = 2;
const CROSSED: u8 = 1;
const SEEN: u8 = 2;

/// Why bytes are not saved books, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("saved books, byte {offset}: {reason}; discard them and start from the stream")]
pub struct RestoreError {
    /// Of the first byte of what is wrong.
    pub offset: usize,
    /// What is wrong.
    pub reason: RestoreReason,
}

/// Why bytes are not saved books.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreReason {
    /// They do not begin as saved books do.
    #[error("not saved books")]
    NotBooks,
    /// Another version wrote them.
    #[error("version {0}, this program reads version 1")]
    Version(u32),
    /// They end too early.
    #[error("ends too early")]
    Truncated,
    /// They go on behind the end.
    #[error("bytes behind the end")]
    Trailing,
    /// They are not the bytes that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// A number that does not stand for anything.
    #[error("a value without a meaning")]
    BadValue,
    /// An instrument, channel, level or order that is there twice or out of order.
    #[error("repeated or out of order")]
    Order,
    /// More than the limits allow.
    #[error("more than the limits allow")]
    Full,
}

impl Books {
    /// Appends the books' state to `out`: all that a later answer depends on, but not the limits.
    pub fn save(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let known = || (0..=u16::MAX).zip(&self.channels).filter(|(_, channel)| **channel != Channel::NEW);
        put_count(out, known().count());
        for (id, channel) in known() {
            out.extend_from_slice(&id.to_le_bytes());
            out.push(why_code(channel.why));
            out.push(u8::from(channel.flagged) * FLAGGED + u8::from(channel.started) * STARTED);
        }
        put_count(out, self.entries.len());
        for (book, entry) in (0..).zip(&self.entries) {
            save_entry(out, entry);
            for side in [Side::Bid, Side::Ask] {
                self.save_orders(out, ladder(book, Kind::ByOrder as usize, side));
            }
            for side in [Side::Bid, Side::Ask] {
                let rungs = self.ladders.rungs(ladder(book, Kind::ByPrice as usize, side));
                put_count(out, rungs.len());
                for level in rungs.iter().map(|rung| self.ladders.level(rung.level)) {
                    out.extend_from_slice(&level.price.to_le_bytes());
                    out.extend_from_slice(&(level.size as u32).to_le_bytes());
                }
            }
        }
        let checksum = checksum(&out[begin..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    fn save_orders(&self, out: &mut Vec<u8>, ladder: u32) {
        let rungs = self.ladders.rungs(ladder);
        put_count(out, rungs.len());
        for level in rungs.iter().map(|rung| self.ladders.level(rung.level)) {
            out.extend_from_slice(&level.price.to_le_bytes());
            put_count(out, level.orders as usize);
            let mut at = level.head;
            while at != NIL {
                let node = self.orders.node(at);
                out.extend_from_slice(&node.id.to_le_bytes());
                out.extend_from_slice(&node.size.to_le_bytes());
                at = node.next;
            }
        }
    }

    /// The books that were saved, with these limits.
    ///
    /// # Errors
    /// The bytes are not what [`Books::save`] wrote, or hold more than the limits allow.
    pub fn restore(bytes: &[u8], limits: Limits) -> Result<Books, RestoreError> {
        let mut reader = Reader { bytes, at: 0 };
        reader.check(|reader| {
            (reader.take::<8>()? == *MAGIC).then_some(()).ok_or(RestoreReason::NotBooks)?;
            let version = reader.u32()?;
            (version == VERSION).then_some(()).ok_or(RestoreReason::Version(version))
        })?;
        let Some(end) = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= reader.at) else {
            return Err(RestoreError { offset: bytes.len(), reason: RestoreReason::Truncated });
        };
        let (body, written) = bytes.split_at(end);
        if checksum(body).to_le_bytes() != *written {
            return Err(RestoreError { offset: end, reason: RestoreReason::Checksum });
        }
        reader.bytes = body;
        let mut books = Books::new(limits);
        books.restore_channels(&mut reader)?;
        for _ in 0..reader.check(Reader::u32)? {
            books.restore_book(&mut reader)?;
        }
        if reader.at != end {
            return Err(RestoreError { offset: reader.at, reason: RestoreReason::Trailing });
        }
        Ok(books)
    }

    fn restore_channels(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        let mut next = 0;
        for _ in 0..reader.check(Reader::u32)? {
            let (id, channel) = reader.check(|reader| {
                let id = reader.u16()?;
                if u32::from(id) < next {
                    return Err(RestoreReason::Order);
                }
                let (why, bits) = (reader.why()?, reader.bits()?);
                Ok((id, Channel { why, flagged: bits & FLAGGED != 0, started: bits & STARTED != 0 }))
            })?;
            next = u32::from(id) + 1;
            self.channels[usize::from(id)] = channel;
        }
        Ok(())
    }

    fn restore_book(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        let book = reader.check(|reader| {
            let entry = reader.entry()?;
            if self.find(entry.publisher_id, entry.instrument_id).is_some() {
                return Err(RestoreReason::Order);
            }
            let book = self
                .find_or_add(entry.publisher_id, entry.instrument_id, entry.channel_id)
                .ok_or(RestoreReason::Full)?;
            self.entries[book as usize] = entry;
            self.choose_shown(book);
            Ok(book)
        })?;
        for kind in [Kind::ByOrder, Kind::ByPrice] {
            for side in [Side::Bid, Side::Ask] {
                let ladder = ladder(book, kind as usize, side);
                for place in 0..reader.check(Reader::u32)? as usize {
                    self.restore_level(reader, book, kind, ladder, place)?;
                }
            }
        }
        Ok(())
    }

    fn restore_level(
        &mut self,
        reader: &mut Reader<'_>,
        book: u32,
        kind: Kind,
        ladder: u32,
        place: usize,
    ) -> Result<(), RestoreError> {
        let (level, orders) = reader.check(|reader| {
            let price = i64::from_le_bytes(reader.take()?);
            let size = if kind == Kind::ByPrice { reader.size()? } else { 0 };
            let orders = if kind == Kind::ByOrder { reader.u32()? } else { 0 };
            if !Price(price).is_defined() || (kind == Kind::ByOrder && orders == 0) {
                return Err(RestoreReason::BadValue);
            }
            let rises = self.ladders.best(ladder).is_none_or(|before| before.key < key(ladder, price));
            if kind == Kind::ByOrder && !rises {
                return Err(RestoreReason::Order);
            }
            let level = self.ladders.insert(ladder, place, price).ok_or(RestoreReason::Full)?;
            self.ladders.level_mut(level).size = u64::from(size);
            Ok((level, orders))
        })?;
        for _ in 0..orders {
            reader.check(|reader| {
                let (id, size) = (u64::from_le_bytes(reader.take()?), reader.size()?);
                let slot = self.orders.find(book, id).err().ok_or(RestoreReason::Order)?;
                let node = Node { id, book, level, next: NIL, prev: NIL, size };
                let at = self.orders.insert(slot, node).ok_or(RestoreReason::Full)?;
                self.append(at, level);
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn save_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(&entry.publisher_id.to_le_bytes());
    out.extend_from_slice(&entry.channel_id.to_le_bytes());
    out.extend_from_slice(&entry.instrument_id.to_le_bytes());
    for half in entry.halves {
        out.push(why_code(half.why));
        out.push(u8::from(half.crossed) * CROSSED + u8::from(half.seen) * SEEN);
    }
    out.extend_from_slice(&entry.cancelled.0.to_le_bytes());
    out.push(entry.cancelled.1.0);
    out.extend_from_slice(&entry.unpriced.0.to_le_bytes());
    out.extend_from_slice(&entry.unpriced.1.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

fn why_code(why: Option<Why>) -> u8 {
    why.map_or(0, |why| why as u8)
}

/// FNV-1a, 64 bits: finds damage, not malice.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Names the place where `read` began when it fails; where the bytes end, when they end too early.
    fn check<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, RestoreReason>,
    ) -> Result<T, RestoreError> {
        let begin = self.at;
        read(self).map_err(|reason| match reason {
            RestoreReason::Truncated => RestoreError { offset: self.bytes.len(), reason },
            _ => RestoreError { offset: begin, reason },
        })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RestoreReason> {
        let rest = &self.bytes[self.at..];
        let taken = rest.first_chunk().ok_or(RestoreReason::Truncated)?;
        self.at += N;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, RestoreReason> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, RestoreReason> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RestoreReason> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RestoreReason> {
        self.take().map(u64::from_le_bytes)
    }

    /// A size that something in a book can have.
    fn size(&mut self) -> Result<u32, RestoreReason> {
        let size = self.u32()?;
        if matches!(size, 0 | Tick::SIZE_UNDEFINED) { Err(RestoreReason::BadValue) } else { Ok(size) }
    }

    fn why(&mut self) -> Result<Option<Why>, RestoreReason> {
        match self.u8()? {
            0 => Ok(None),
            code => match Why::from_code(code) {
                None | Some(Why::Crossed) => Err(RestoreReason::BadValue),
                why => Ok(why),
            },
        }
    }

    fn bits(&mut self) -> Result<u8, RestoreReason> {
        let bits = self.u8()?;
        if bits > 3 { Err(RestoreReason::BadValue) } else { Ok(bits) }
    }

    fn half(&mut self) -> Result<Half, RestoreReason> {
        let (why, bits) = (self.why()?, self.bits()?);
        Ok(Half { why, crossed: bits & CROSSED != 0, seen: bits & SEEN != 0 })
    }

    fn entry(&mut self) -> Result<Entry, RestoreReason> {
        let (publisher_id, channel_id, instrument_id) = (self.u16()?, self.u16()?, self.u32()?);
        let halves = [self.half()?, self.half()?];
        let cancelled = (self.u64()?, Side(self.u8()?));
        let unpriced = (self.u64()?, self.u32()?);
        let side_known = matches!(cancelled.1, Side::Bid | Side::Ask | Side::None);
        if instrument_id == 0 || !side_known {
            return Err(RestoreReason::BadValue);
        }
        let shown = Kind::ByOrder;
        Ok(Entry { publisher_id, channel_id, instrument_id, halves, shown, cancelled, unpriced })
    }
}
