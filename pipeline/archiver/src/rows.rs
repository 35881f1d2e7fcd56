//! Rows in PostgreSQL's binary COPY format: what goes over the wire, made by hand, because it is most of the
//! work that an archiver does.
//!
//! A row is a count of columns and, for each, its length and its big-endian bytes (PostgreSQL documentation,
//! COPY, "Binary Format"). A tick's row has a fixed length, so it is one array with every value at a known
//! offset. Unsigned numbers go into signed columns of the same width, bit for bit: `2^64 - 1` reads as `-1`.
//!
//! Invariant: the order of the columns here is that of the statements here; the migration makes those tables.

use bus::{FeatureRecord, StreamId};
use tick::Tick;

/// The statement that takes rows of ticks.
pub const COPY_TICKS: &str = "COPY ticks (time, row, ts_event, ts_recv, sequence, order_id, price, size, \
     instrument_id, ts_in_delta, publisher_id, channel_id, stream, flags, depth, clock, reserved, action, side, \
     source) FROM STDIN (FORMAT binary)";
/// The statement that takes rows of features.
pub const COPY_FEATURES: &str = "COPY features (time, row, number, time_ns, instrument_id, sequence, \
     schema_id, publisher_id, channel_id, stream, quality, values) FROM STDIN (FORMAT binary)";
/// The statement that takes rows of gaps.
pub const COPY_GAPS: &str = "COPY gaps (time, stream, before_row, channel_id, first, last, reason, entry_id, \
     detail, venue) FROM STDIN (FORMAT binary)";

/// What COPY's data begins with: a signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub const TRAILER: &[u8] = &(-1i16).to_be_bytes();

/// From the Unix epoch to PostgreSQL's, 2000-01-01, µs.
const EPOCH_US: i64 = 946_684_800_000_000;

/// PostgreSQL's time, µs, of a time in ns since the Unix epoch; what is below a µs is cut off.
pub const fn timestamp_us(ns: u64) -> i64 {
    (ns / 1_000) as i64 - EPOCH_US
}

const I64S: usize = 9;
const I32S: usize = 3;
const I16S: usize = 5;
const CHARS: usize = 3;
/// Bytes of a tick's row.
pub const TICK_ROW_BYTES: usize = 2 + I64S * 12 + I32S * 8 + I16S * 6 + CHARS * 5;

/// Lays values one behind the other into a row of known length.
struct Fixed<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Fixed<N> {
    #[inline(always)]
    fn put<const W: usize>(&mut self, value: [u8; W]) {
        self.bytes[self.at..self.at + 4].copy_from_slice(&(W as u32).to_be_bytes());
        self.bytes[self.at + 4..self.at + 4 + W].copy_from_slice(&value);
        self.at += 4 + W;
    }
}

/// Appends a tick's row. `stream` is the stream's number in the archive, `row` the row's number in it.
#[inline]
pub fn push_tick(out: &mut Vec<u8>, stream: i16, row: u64, tick: &Tick) {
    let mut fixed = Fixed { bytes: [0u8; TICK_ROW_BYTES], at: 2 };
    fixed.bytes[..2].copy_from_slice(&((I64S + I32S + I16S + CHARS) as u16).to_be_bytes());
    fixed.put(timestamp_us(tick.ts_recv).to_be_bytes());
    fixed.put(row.to_be_bytes());
    fixed.put(tick.ts_event.to_be_bytes());
    fixed.put(tick.ts_recv.to_be_bytes());
    fixed.put(tick.sequence.to_be_bytes());
    fixed.put(tick.order_id.to_be_bytes());
    fixed.put(tick.price.to_be_bytes());
    fixed.put(u64::from(tick.size).to_be_bytes());
    fixed.put(u64::from(tick.instrument_id).to_be_bytes());
    fixed.put(tick.ts_in_delta.to_be_bytes());
    fixed.put(u32::from(tick.publisher_id).to_be_bytes());
    fixed.put(u32::from(tick.channel_id).to_be_bytes());
    fixed.put(stream.to_be_bytes());
    fixed.put(u16::from(tick.flags.0).to_be_bytes());
    fixed.put(u16::from(tick.depth).to_be_bytes());
    fixed.put(u16::from(tick.clock.0).to_be_bytes());
    fixed.put(tick.reserved.to_be_bytes());
    fixed.put([tick.action.0]);
    fixed.put([tick.side.0]);
    fixed.put([tick.source.0]);
    out.extend_from_slice(&fixed.bytes);
}

/// Appends a value of any length.
pub(crate) fn put(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
    }
}

/// Appends the row of a record of features.
pub fn push_feature(out: &mut Vec<u8>, stream: i16, row: u64, record: &FeatureRecord<'_>) {
    /// The type `float8` in PostgreSQL's catalogue.
    const FLOAT8_OID: u32 = 701;
    out.extend_from_slice(&12u16.to_be_bytes());
    put(out, Some(&timestamp_us(record.time_ns).to_be_bytes()));
    for value in [row, record.number, record.time_ns, u64::from(record.instrument_id), record.sequence] {
        put(out, Some(&value.to_be_bytes()));
    }
    put(out, Some(&record.schema_id.to_be_bytes()));
    put(out, Some(&u32::from(record.publisher_id).to_be_bytes()));
    put(out, Some(&u32::from(record.channel_id).to_be_bytes()));
    put(out, Some(&stream.to_be_bytes()));
    put(out, Some(&u16::from(record.quality.0).to_be_bytes()));
    // An array: dimensions (none when it is empty), no NULL in it, its type; then length and lower bound.
    let count = record.values().len() as u32;
    let header = if count == 0 { 12 } else { 20 };
    out.extend_from_slice(&(header + count * 12).to_be_bytes());
    for part in [u32::from(count > 0), 0, FLOAT8_OID] {
        out.extend_from_slice(&part.to_be_bytes());
    }
    if count > 0 {
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&1u32.to_be_bytes());
    }
    for value in record.values() {
        put(out, Some(&value.to_bits().to_be_bytes()));
    }
}

/// Something that is not in the archive as it should be, and where in the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GapRow<'a> {
    /// The entry that tells: the place, and by Redis's clock the time.
    pub entry: StreamId,
    /// The row that follows.
    pub before_row: u64,
    /// The channel, for ticks.
    pub channel_id: Option<u16>,
    /// First and last number that it is about: sequence numbers of ticks, numbers of records and reports.
    pub range: Option<(u64, u64)>,
    /// Why, in a word.
    pub reason: &'static str,
    /// What else there is to say; empty when nothing.
    pub detail: &'a str,
    /// The venue, for reports.
    pub venue: Option<&'a str>,
}

/// Longest detail that is kept, bytes.
pub const DETAIL_BYTES_MAX: usize = 512;

/// Appends the row of a gap.
pub fn push_gap(out: &mut Vec<u8>, stream: i16, gap: &GapRow<'_>) {
    out.extend_from_slice(&10u16.to_be_bytes());
    let time = timestamp_us(gap.entry.ms.saturating_mul(1_000_000));
    put(out, Some(&time.to_be_bytes()));
    put(out, Some(&stream.to_be_bytes()));
    put(out, Some(&gap.before_row.to_be_bytes()));
    put(out, gap.channel_id.map(|channel| u32::from(channel).to_be_bytes()).as_ref().map(|bytes| &bytes[..]));
    for end in [gap.range.map(|range| range.0), gap.range.map(|range| range.1)] {
        put(out, end.map(u64::to_be_bytes).as_ref().map(|bytes| &bytes[..]));
    }
    put(out, Some(gap.reason.as_bytes()));
    put(out, Some(gap.entry.to_string().as_bytes()));
    // Text of PostgreSQL holds no zero byte.
    let detail = gap.detail.replace('\0', "\u{fffd}");
    let end = detail.floor_char_boundary(DETAIL_BYTES_MAX.min(detail.len()));
    put(out, Some(&detail.as_bytes()[..end]));
    put(out, gap.venue.map(str::as_bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticks_row_fills_its_fixed_length_exactly() {
        let mut out = Vec::new();
        push_tick(&mut out, 1, 2, &Tick { ts_recv: 946_684_800_000_001_999, ..Tick::EMPTY });
        assert_eq!(out.len(), TICK_ROW_BYTES);
        assert_eq!(out[..2], [0, 20]);
        assert_eq!(out[2..14], [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1], "one µs after 2000");
        assert_eq!(out[TICK_ROW_BYTES - 5..], [0, 0, 0, 1, b'L']);
    }

    #[test]
    fn times_before_2000_and_far_after_are_in_range() {
        assert_eq!(timestamp_us(0), -946_684_800_000_000);
        assert_eq!(timestamp_us(u64::MAX), 17_500_059_273_709_551);
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let detail = "é\0".repeat(DETAIL_BYTES_MAX);
        let gap = GapRow {
            entry: StreamId { ms: 1, seq: 2 },
            before_row: 3,
            channel_id: None,
            range: None,
            reason: "malformed",
            detail: &detail,
            venue: None,
        };
        let mut out = Vec::new();
        push_gap(&mut out, 0, &gap);
        // Behind the detail is the length of no venue.
        let at = out.len() - DETAIL_BYTES_MAX - 4;
        assert!(std::str::from_utf8(&out[at..out.len() - 4]).is_ok_and(|text| !text.contains('\0')));
    }
}
