//! The pcapng format: blocks, each with its length in front and behind; sections of their own byte order;
//! interfaces of their own link type and time resolution.
//! Source: draft-ietf-opsawg-pcapng section 3 and 4.

use super::input::Input;
use super::{ByteOrder, CaptureErrorKind, Found, LinkType, MAX_PACKET_BYTES};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;

/// Type and length.
const BLOCK_FRONT_BYTES: usize = 8;
/// Smallest block: front and the length again.
const MIN_BLOCK_BYTES: u32 = 12;
/// A block that is read whole: the largest packet, with its header and room for options.
const MAX_BLOCK_BYTES: u32 = MAX_PACKET_BYTES as u32 + 65_536;
/// A section has at most this many interfaces; more is damage (each costs memory).
const MAX_INTERFACES: usize = 65_536;

struct Interface {
    link: LinkType,
    kept_bytes_max: u32,
    resolution: Resolution,
    offset_ns: i128,
}

#[derive(Clone, Copy)]
enum Resolution {
    /// Units of 10^-n s.
    Decimal(u8),
    /// Units of 2^-n s.
    Binary(u8),
}

pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
}

impl Pcapng {
    /// Whether a section header stands at the front; at least 4 bytes are buffered. It is read with the
    /// first packet.
    pub(super) fn recognise(input: &Input) -> Option<Pcapng> {
        (ByteOrder::Little.u32(input.buffered(), 0) == SECTION_HEADER)
            .then(|| Pcapng { order: ByteOrder::Little, interfaces: Vec::new() })
    }

    pub(super) fn next(&mut self, input: &mut Input) -> Result<Option<Found>, CaptureErrorKind> {
        loop {
            if !input.have(MIN_BLOCK_BYTES as usize)? {
                return if input.buffered().is_empty() { Ok(None) } else { Err(cut(input, MIN_BLOCK_BYTES)) };
            }
            let front = input.buffered();
            let kind = self.order.u32(front, 0);
            if kind == SECTION_HEADER {
                self.order = byte_order(ByteOrder::Little.u32(front, BLOCK_FRONT_BYTES))?;
            }
            let length = self.order.u32(front, 4);
            if length < MIN_BLOCK_BYTES || !length.is_multiple_of(4) {
                return Err(CaptureErrorKind::BadLength { length: u64::from(length) });
            }
            let known =
                [SECTION_HEADER, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET];
            if !known.contains(&kind) {
                skip_block(input, length)?;
                continue;
            }
            self.buffer_block(input, length)?;
            let body = &input.buffered()[BLOCK_FRONT_BYTES..length as usize - 4];
            match kind {
                SECTION_HEADER => self.interfaces.clear(),
                INTERFACE_DESCRIPTION => self.describe_interface(body)?,
                _ => return self.packet(kind, body, length as usize).map(Some),
            }
            input.consume(length as usize);
        }
    }

    fn buffer_block(&self, input: &mut Input, length: u32) -> Result<(), CaptureErrorKind> {
        if length > MAX_BLOCK_BYTES {
            return Err(CaptureErrorKind::BadLength { length: u64::from(length) });
        }
        if !input.have(length as usize)? {
            return Err(cut(input, length));
        }
        let back = self.order.u32(input.buffered(), length as usize - 4);
        if back != length {
            return Err(CaptureErrorKind::LengthsDiffer { front: length, back });
        }
        Ok(())
    }

    fn describe_interface(&mut self, body: &[u8]) -> Result<(), CaptureErrorKind> {
        if body.len() < 8 {
            return Err(CaptureErrorKind::BadBlock("an interface description shorter than its fields"));
        }
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(CaptureErrorKind::BadBlock("more than 65536 interfaces in a section"));
        }
        let mut interface = Interface {
            link: LinkType::from_code(self.order.u16(body, 0)),
            kept_bytes_max: self.order.u32(body, 4),
            resolution: Resolution::Decimal(6),
            offset_ns: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let (code, length) = (self.order.u16(options, 0), self.order.u16(options, 2) as usize);
            let Some(value) = options.get(4..4 + length) else {
                return Err(CaptureErrorKind::BadBlock("an interface option runs past its block"));
            };
            match (code, length) {
                (0, _) => break,
                (OPTION_TIME_RESOLUTION, 1) => interface.resolution = resolution(value[0])?,
                (OPTION_TIME_OFFSET, 8) => interface.offset_ns = self.offset_ns(value),
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn offset_ns(&self, value: &[u8]) -> i128 {
        let (first, second) = (self.order.u32(value, 0), self.order.u32(value, 4));
        let (high, low) = match self.order {
            ByteOrder::Little => (second, first),
            ByteOrder::Big => (first, second),
        };
        i128::from(((u64::from(high) << 32) | u64::from(low)) as i64) * 1_000_000_000
    }

    fn packet(&self, kind: u32, body: &[u8], block_bytes: usize) -> Result<Found, CaptureErrorKind> {
        let header_bytes = if kind == SIMPLE_PACKET { 4 } else { 20 };
        if body.len() < header_bytes {
            return Err(CaptureErrorKind::BadBlock("a packet block shorter than its fields"));
        }
        let field = |at| self.order.u32(body, at);
        let index = match kind {
            ENHANCED_PACKET => field(0),
            OBSOLETE_PACKET => u32::from(self.order.u16(body, 0)),
            _ => 0,
        };
        let interface =
            self.interfaces.get(index as usize).ok_or(CaptureErrorKind::UnknownInterface(index))?;
        let (ts_ns, kept, wire_bytes) = if kind == SIMPLE_PACKET {
            let wire_bytes = field(0);
            let limit = if interface.kept_bytes_max == 0 { u32::MAX } else { interface.kept_bytes_max };
            (0, wire_bytes.min(limit), wire_bytes)
        } else {
            let ticks = u64::from(field(4)) << 32 | u64::from(field(8));
            (interface.ts_ns(ticks), field(12), field(16))
        };
        if kept as usize > (body.len() - header_bytes).min(MAX_PACKET_BYTES) {
            return Err(CaptureErrorKind::BadLength { length: u64::from(kept) });
        }
        let start = BLOCK_FRONT_BYTES + header_bytes;
        let frame = start..start + kept as usize;
        Ok(Found { ts_ns, link: interface.link, wire_bytes, frame, record_bytes: block_bytes })
    }
}

impl Interface {
    fn ts_ns(&self, ticks: u64) -> u64 {
        let ticks = u128::from(ticks) * 1_000_000_000;
        let ns = match self.resolution {
            Resolution::Decimal(power) => ticks / 10u128.pow(u32::from(power)),
            Resolution::Binary(power) => ticks >> power,
        };
        (ns as i128 + self.offset_ns).clamp(0, i128::from(u64::MAX)) as u64
    }
}

fn resolution(code: u8) -> Result<Resolution, CaptureErrorKind> {
    match code {
        0..=20 => Ok(Resolution::Decimal(code)),
        128.. => Ok(Resolution::Binary(code & 0x7f)),
        _ => Err(CaptureErrorKind::BadBlock("a time resolution finer than 10^-20 s")),
    }
}

fn byte_order(magic: u32) -> Result<ByteOrder, CaptureErrorKind> {
    match magic {
        BYTE_ORDER_MAGIC => Ok(ByteOrder::Little),
        magic if magic.swap_bytes() == BYTE_ORDER_MAGIC => Ok(ByteOrder::Big),
        _ => Err(CaptureErrorKind::BadBlock("a section without a byte-order magic")),
    }
}

/// Passes a block over that is of no interest (statistics, names, secrets, a vendor's own).
fn skip_block(input: &mut Input, length: u32) -> Result<(), CaptureErrorKind> {
    let have = input.skip(u64::from(length))?;
    if have < u64::from(length) {
        return Err(CaptureErrorKind::Cut { have, need: u64::from(length) });
    }
    Ok(())
}

fn cut(input: &Input, need: u32) -> CaptureErrorKind {
    CaptureErrorKind::Cut { have: input.buffered().len() as u64, need: u64::from(need) }
}
