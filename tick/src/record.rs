//! The 64 bytes.

use crate::{Action, Clock, ClockSource, Flags, GapReason, Price, Side, Source};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `depth` of a record about one order.
pub const DEPTH_BY_ORDER: u8 = 0;
/// `depth` of an aggregated record without a price level.
pub const DEPTH_NO_LEVEL: u8 = 255;

/// One market event, 64 bytes, little-endian, without padding. Times are ns since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tick {
    /// The exchange's own event time; 0 = none.
    pub ts_event: u64,
    /// Arrival of the first copy.
    pub ts_recv: u64,
    /// Transport sequence number on the channel.
    pub sequence: u64,
    /// The venue's order id; 0 for by-price feeds.
    pub order_id: u64,
    /// Price in 1e-9 units; `i64::MAX` = undefined.
    pub price: i64,
    /// Quantity in the venue's units; [`Tick::SIZE_UNDEFINED`] = not known. Of a `Status` the
    /// [`StatusAction`](crate::StatusAction).
    pub size: u32,
    /// The venue's own instrument id; symbols are in the instrument table.
    pub instrument_id: u32,
    /// `ts_recv` − the exchange's send time, ns, saturating.
    pub ts_in_delta: i32,
    /// Venue and dataset (DBN publisher id).
    pub publisher_id: u16,
    /// The channel it came on.
    pub channel_id: u16,
    /// What happened.
    pub action: Action,
    /// Side of the book.
    pub side: Side,
    /// DBN flag bits.
    pub flags: Flags,
    /// 0 by order; 1–254 price level, 1 = best; 255 by price without a level.
    pub depth: u8,
    /// The line it came from.
    pub source: Source,
    /// Where `ts_recv` is from, and whether that clock was in sync.
    pub clock: Clock,
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Tick>() == Tick::SIZE && align_of::<Tick>() == 8);

impl Tick {
    /// Bytes in a tick.
    pub const SIZE: usize = 64;
    /// `size` when it is not known: DBN's `UNDEF_ORDER_SIZE`. In a `Cancel` it is all that is left of the order.
    pub const SIZE_UNDEFINED: u32 = u32::MAX;

    /// A tick with nothing in it: undefined price, no action, no side.
    pub const EMPTY: Tick = Tick {
        ts_event: 0,
        ts_recv: 0,
        sequence: 0,
        order_id: 0,
        price: Price::UNDEFINED.0,
        size: 0,
        instrument_id: 0,
        ts_in_delta: 0,
        publisher_id: 0,
        channel_id: 0,
        action: Action::None,
        side: Side::None,
        flags: Flags::NONE,
        depth: DEPTH_BY_ORDER,
        source: Source::Local,
        clock: Clock::new(ClockSource::User, false),
        reserved: 0,
    };

    /// A record that declares the sequence numbers `from..=to` of a channel missing.
    ///
    /// It travels through the same rings as ticks, so order is kept: `sequence` is the first and
    /// `order_id` the last missing number, `depth` holds the [`GapReason`].
    pub const fn gap(
        publisher_id: u16,
        channel_id: u16,
        from: u64,
        to: u64,
        ts_recv: u64,
        why: GapReason,
    ) -> Tick {
        Tick {
            ts_recv,
            sequence: from,
            order_id: to,
            publisher_id,
            channel_id,
            action: Action::Gap,
            flags: Flags::MAYBE_BAD_BOOK,
            depth: why.0,
            ..Tick::EMPTY
        }
    }

    /// A record that empties every book of the channel: the sender restarted or reset it.
    /// `sequence` is the first number of the new count.
    pub const fn channel_clear(publisher_id: u16, channel_id: u16, sequence: u64, ts_recv: u64) -> Tick {
        Tick { ts_recv, sequence, publisher_id, channel_id, action: Action::Clear, ..Tick::EMPTY }
    }

    /// The missing range and the reason, when this record declares a gap.
    pub fn as_gap(&self) -> Option<(u64, u64, GapReason)> {
        (self.action == Action::Gap).then_some((self.sequence, self.order_id, GapReason(self.depth)))
    }

    /// The price as a typed value.
    #[inline]
    pub const fn price(&self) -> Price {
        Price(self.price)
    }

    /// `ts_recv − send_ns`, saturated to 32 bits.
    #[inline]
    pub const fn in_delta(ts_recv_ns: u64, send_ns: u64) -> i32 {
        let delta = ts_recv_ns.wrapping_sub(send_ns) as i64;
        if delta > i32::MAX as i64 {
            i32::MAX
        } else if delta < i32::MIN as i64 {
            i32::MIN
        } else {
            delta as i32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn every_field_is_at_the_offset_the_contract_names() {
        let offsets = [
            (offset_of!(Tick, ts_event), 0),
            (offset_of!(Tick, ts_recv), 8),
            (offset_of!(Tick, sequence), 16),
            (offset_of!(Tick, order_id), 24),
            (offset_of!(Tick, price), 32),
            (offset_of!(Tick, size), 40),
            (offset_of!(Tick, instrument_id), 44),
            (offset_of!(Tick, ts_in_delta), 48),
            (offset_of!(Tick, publisher_id), 52),
            (offset_of!(Tick, channel_id), 54),
            (offset_of!(Tick, action), 56),
            (offset_of!(Tick, side), 57),
            (offset_of!(Tick, flags), 58),
            (offset_of!(Tick, depth), 59),
            (offset_of!(Tick, source), 60),
            (offset_of!(Tick, clock), 61),
            (offset_of!(Tick, reserved), 62),
        ];
        for (actual, expected) in offsets {
            assert_eq!(actual, expected);
        }
    }

    #[test]
    fn a_tick_is_read_in_place_from_its_bytes() {
        let tick = Tick { sequence: 7, price: -5, ..Tick::EMPTY };
        let bytes = tick.as_bytes();
        assert_eq!(bytes[16..24], 7u64.to_le_bytes());
        assert_eq!(*Tick::ref_from_bytes(bytes).unwrap(), tick);
        assert!(Tick::ref_from_bytes(&bytes[..63]).is_err());
    }

    #[test]
    fn a_gap_record_gives_back_its_range_and_reason() {
        let gap = Tick::gap(1, 2, 10, 12, 99, GapReason::Lost);
        assert_eq!(gap.as_gap(), Some((10, 12, GapReason::Lost)));
        assert_eq!(Tick::EMPTY.as_gap(), None);
    }

    #[test]
    fn the_delta_to_the_send_time_saturates_on_both_sides() {
        assert_eq!(Tick::in_delta(10, 7), 3);
        assert_eq!(Tick::in_delta(7, 10), -3);
        assert_eq!(Tick::in_delta(u64::MAX / 4, 0), i32::MAX);
        assert_eq!(Tick::in_delta(0, u64::MAX / 4), i32::MIN);
    }
}
