//! The classic pcap format: a 24-byte file header, then records of a 16-byte header and the packet.
//! Source: the pcap-savefile(5) manual page, and draft-ietf-opsawg-pcap section 4 and 5.

use super::input::Input;
use super::{ByteOrder, CaptureErrorKind, Found, LinkType, MAX_PACKET_BYTES};

const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;
const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;

pub(super) struct Pcap {
    order: ByteOrder,
    /// ns in one unit of a record's second time field.
    fraction_ns: u64,
    link: LinkType,
}

impl Pcap {
    /// Reads the file header; `None` when the magic number is another's. At least 4 bytes are buffered.
    pub(super) fn read_header(input: &mut Input) -> Result<Option<Pcap>, CaptureErrorKind> {
        let magic = |order: ByteOrder| order.u32(input.buffered(), 0);
        let (order, fraction_ns) = match (magic(ByteOrder::Little), magic(ByteOrder::Big)) {
            (MAGIC_MICROS, _) => (ByteOrder::Little, 1_000),
            (MAGIC_NANOS, _) => (ByteOrder::Little, 1),
            (_, MAGIC_MICROS) => (ByteOrder::Big, 1_000),
            (_, MAGIC_NANOS) => (ByteOrder::Big, 1),
            _ => return Ok(None),
        };
        if !input.have(FILE_HEADER_BYTES)? {
            return Err(cut(input, FILE_HEADER_BYTES));
        }
        // The upper half of the field holds the length of a frame check sequence, where there is one.
        let link = LinkType::from_code((order.u32(input.buffered(), 20) & 0xffff) as u16);
        input.consume(FILE_HEADER_BYTES);
        Ok(Some(Pcap { order, fraction_ns, link }))
    }

    pub(super) fn next(&mut self, input: &mut Input) -> Result<Option<Found>, CaptureErrorKind> {
        if !input.have(RECORD_HEADER_BYTES)? {
            return if input.buffered().is_empty() { Ok(None) } else { Err(cut(input, RECORD_HEADER_BYTES)) };
        }
        let header = input.buffered();
        let field = |at| self.order.u32(header, at);
        let ts_ns = u64::from(field(0)) * 1_000_000_000 + u64::from(field(4)) * self.fraction_ns;
        let (kept, wire_bytes) = (field(8) as usize, field(12));
        if kept > MAX_PACKET_BYTES {
            return Err(CaptureErrorKind::BadLength { length: kept as u64 });
        }
        let record_bytes = RECORD_HEADER_BYTES + kept;
        if !input.have(record_bytes)? {
            return Err(cut(input, record_bytes));
        }
        let frame = RECORD_HEADER_BYTES..record_bytes;
        Ok(Some(Found { ts_ns, link: self.link, wire_bytes, frame, record_bytes }))
    }
}

fn cut(input: &Input, need: usize) -> CaptureErrorKind {
    CaptureErrorKind::Cut { have: input.buffered().len() as u64, need: need as u64 }
}
