//! Ticks as Databento's market-by-order records ([`MboMsg`], schema `mbo`) and back.
//!
//! The MBO record is DBN's carrier for both kinds of feed: an order, or, with the flag `MBP`, an aggregated
//! price level of a venue that sends no orders (`order_id` 0; the price names the level). What the record
//! has no room for is lost on the way out:
//!
//! | tick | record |
//! |---|---|
//! | `depth` | the flag `MBP` when it is not 0 |
//! | `source`, `clock` | nothing |
//! | `sequence` | its low 32 bits |
//! | `channel_id` above 255 | [`CHANNEL_UNDEFINED`] |
//! | `Gap`, `Status` | no record: DBN says a gap by the flag `MAYBE_BAD_BOOK` behind it |
//!
//! Invariant: a record made into a tick is made back into the same record.

use crate::{Action, Clock, ClockSource, DEPTH_BY_ORDER, DEPTH_NO_LEVEL, Flags, Side, Source, Tick};
use ::dbn::{FlagSet, MboMsg, RecordHeader, UNDEF_TIMESTAMP, rtype};
use core::ffi::c_char;

/// A record's channel when the tick's does not fit 8 bits.
pub const CHANNEL_UNDEFINED: u8 = u8::MAX;

/// The record of a tick; `None` for a declared gap and a status change, which the schema has no record for.
pub fn to_mbo(tick: &Tick) -> Option<MboMsg> {
    if matches!(tick.action, Action::Gap | Action::Status) {
        return None;
    }
    let mut flags = tick.flags;
    if tick.depth != DEPTH_BY_ORDER {
        flags |= Flags::MBP;
    }
    let ts_event = if tick.ts_event == 0 { UNDEF_TIMESTAMP } else { tick.ts_event };
    Some(MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, tick.publisher_id, tick.instrument_id, ts_event),
        order_id: tick.order_id,
        price: tick.price,
        size: tick.size,
        flags: FlagSet::new(flags.0),
        channel_id: u8::try_from(tick.channel_id).unwrap_or(CHANNEL_UNDEFINED),
        action: tick.action.0 as c_char,
        side: tick.side.0 as c_char,
        ts_recv: tick.ts_recv,
        ts_in_delta: tick.ts_in_delta,
        sequence: tick.sequence as u32,
    })
}

/// The tick of a record. Its clock is a capture's, in sync unless the record says `BAD_TS_RECV`; no line is
/// known, so the source is [`Source::Local`], or [`Source::Snapshot`] by the flag.
pub fn from_mbo(record: &MboMsg) -> Tick {
    let flags = Flags(record.flags.raw());
    let snapshot = flags.contains(Flags::SNAPSHOT);
    Tick {
        ts_event: if record.hd.ts_event == UNDEF_TIMESTAMP { 0 } else { record.hd.ts_event },
        ts_recv: record.ts_recv,
        sequence: u64::from(record.sequence),
        order_id: record.order_id,
        price: record.price,
        size: record.size,
        instrument_id: record.hd.instrument_id,
        ts_in_delta: record.ts_in_delta,
        publisher_id: record.hd.publisher_id,
        channel_id: u16::from(record.channel_id),
        action: Action(record.action as u8),
        side: Side(record.side as u8),
        flags,
        depth: if flags.contains(Flags::MBP) { DEPTH_NO_LEVEL } else { DEPTH_BY_ORDER },
        source: if snapshot { Source::Snapshot } else { Source::Local },
        clock: Clock::new(ClockSource::Capture, !flags.contains(Flags::BAD_TS_RECV)),
        reserved: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GapReason, PRICE_SCALE, Price, StatusAction};
    use ::dbn::decode::{DbnMetadata, DecodeRecord};

    const ORDER: Tick = Tick {
        ts_event: 1,
        ts_recv: 2,
        sequence: 3,
        order_id: 4,
        price: 5,
        size: 6,
        instrument_id: 7,
        ts_in_delta: -8,
        publisher_id: 9,
        channel_id: 10,
        action: Action::Add,
        side: Side::Bid,
        flags: Flags::LAST,
        clock: Clock::new(ClockSource::Capture, true),
        ..Tick::EMPTY
    };

    #[test]
    fn the_constants_are_dbns_own() {
        let flags = [
            (Flags::LAST, ::dbn::flags::LAST),
            (Flags::TOB, ::dbn::flags::TOB),
            (Flags::SNAPSHOT, ::dbn::flags::SNAPSHOT),
            (Flags::MBP, ::dbn::flags::MBP),
            (Flags::BAD_TS_RECV, ::dbn::flags::BAD_TS_RECV),
            (Flags::MAYBE_BAD_BOOK, ::dbn::flags::MAYBE_BAD_BOOK),
            (Flags::PUBLISHER_SPECIFIC, ::dbn::flags::PUBLISHER_SPECIFIC),
        ];
        for (ours, theirs) in flags {
            assert_eq!(ours.0, theirs);
        }
        assert_eq!(Price::UNDEFINED.0, ::dbn::UNDEF_PRICE);
        assert_eq!(PRICE_SCALE, ::dbn::FIXED_PRICE_SCALE);
        assert_eq!(Tick::SIZE_UNDEFINED, ::dbn::UNDEF_ORDER_SIZE);
    }

    #[test]
    fn the_letters_and_state_numbers_are_dbns_own() {
        use ::dbn::enums::{Action as DbnAction, Side as DbnSide, StatusAction as DbnStatus};
        let actions = [
            (Action::Add, DbnAction::Add),
            (Action::Modify, DbnAction::Modify),
            (Action::Cancel, DbnAction::Cancel),
            (Action::Clear, DbnAction::Clear),
            (Action::Trade, DbnAction::Trade),
            (Action::Fill, DbnAction::Fill),
            (Action::None, DbnAction::None),
        ];
        for (ours, theirs) in actions {
            assert_eq!(ours.0, theirs as u8);
        }
        let sides = [(Side::Bid, DbnSide::Bid), (Side::Ask, DbnSide::Ask), (Side::None, DbnSide::None)];
        for (ours, theirs) in sides {
            assert_eq!(ours.0, theirs as u8);
        }
        let states = [
            (StatusAction::None, DbnStatus::None),
            (StatusAction::PreOpen, DbnStatus::PreOpen),
            (StatusAction::PreCross, DbnStatus::PreCross),
            (StatusAction::Quoting, DbnStatus::Quoting),
            (StatusAction::Cross, DbnStatus::Cross),
            (StatusAction::Rotation, DbnStatus::Rotation),
            (StatusAction::NewPriceIndication, DbnStatus::NewPriceIndication),
            (StatusAction::Trading, DbnStatus::Trading),
            (StatusAction::Halt, DbnStatus::Halt),
            (StatusAction::Pause, DbnStatus::Pause),
            (StatusAction::Suspend, DbnStatus::Suspend),
            (StatusAction::PreClose, DbnStatus::PreClose),
            (StatusAction::Close, DbnStatus::Close),
            (StatusAction::PostClose, DbnStatus::PostClose),
            (StatusAction::SsrChange, DbnStatus::SsrChange),
            (StatusAction::NotAvailableForTrading, DbnStatus::NotAvailableForTrading),
        ];
        for (ours, theirs) in states {
            assert_eq!(u16::from(ours.0), theirs as u16);
        }
    }

    #[test]
    fn an_order_keeps_every_field_there_and_back() {
        let record = to_mbo(&ORDER).expect("a record");
        assert_eq!(record.hd.rtype, rtype::MBO);
        assert_eq!((record.hd.publisher_id, record.hd.instrument_id, record.hd.ts_event), (9, 7, 1));
        assert_eq!((record.order_id, record.price, record.size, record.sequence), (4, 5, 6, 3));
        assert_eq!((record.ts_recv, record.ts_in_delta, record.channel_id), (2, -8, 10));
        assert_eq!((record.action as u8, record.side as u8, record.flags.raw()), (b'A', b'B', 0x80));
        assert_eq!(from_mbo(&record), ORDER);
    }

    #[test]
    fn a_price_level_is_marked_as_one_and_loses_only_its_number() {
        let level = Tick { depth: 3, order_id: 0, ..ORDER };
        let back = from_mbo(&to_mbo(&level).expect("a record"));
        let flags = Flags::LAST | Flags::MBP;
        assert_eq!(back, Tick { depth: DEPTH_NO_LEVEL, flags, ..level });
    }

    #[test]
    fn what_the_schema_cannot_say_has_no_record() {
        assert_eq!(to_mbo(&Tick::gap(1, 2, 10, 12, 99, GapReason::Lost)), None);
        assert_eq!(to_mbo(&Tick { action: Action::Status, ..ORDER }), None);
        assert!(to_mbo(&Tick::channel_clear(1, 2, 10, 99)).is_some());
    }

    #[test]
    fn wide_numbers_are_cut_and_missing_times_are_undefined() {
        let wide = Tick { ts_event: 0, sequence: (7 << 32) + 5, channel_id: 310, ..ORDER };
        let record = to_mbo(&wide).expect("a record");
        assert_eq!((record.sequence, record.channel_id), (5, CHANNEL_UNDEFINED));
        assert_eq!(record.hd.ts_event, UNDEF_TIMESTAMP);
        assert_eq!(from_mbo(&record).ts_event, 0);
    }

    #[test]
    fn sixty_eight_thousand_real_records_come_back_as_they_were() {
        let Some(folder) = std::env::var_os("FEEDPLANE_CAPTURES") else {
            eprintln!("SKIPPED: FEEDPLANE_CAPTURES is not set");
            return;
        };
        let file = std::path::Path::new(&folder).join("databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst");
        let mut decoder = ::dbn::decode::dbn::Decoder::from_zstd_file(file).expect("a DBN file");
        assert_eq!(decoder.metadata().schema, Some(::dbn::Schema::Mbo));
        let mut actions = std::collections::BTreeMap::new();
        while let Some(record) = decoder.decode_record::<MboMsg>().expect("a record") {
            let tick = from_mbo(record);
            assert_eq!(to_mbo(&tick).as_ref(), Some(record));
            *actions.entry(char::from(tick.action.0)).or_insert(0) += 1;
        }
        let expected = [('A', 29_216), ('C', 17_999), ('F', 6_371), ('M', 12_233), ('T', 2_973)];
        assert_eq!(actions, expected.into());
    }
}
