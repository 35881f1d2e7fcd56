//! What each kind of entry becomes.

use super::*;
use feed::Statistic;
use tick::{Action, DEPTH_NO_LEVEL, InstrumentKind, Price, Side, StatusAction};
use wire::mdp3::encode::{BookOrder, Definition};

const IMPLIED: Flags = Flags::PUBLISHER_SPECIFIC;

fn book(entries: &[BookEntry]) -> Vec<u8> {
    packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, entries, &[]))
}

/// The tick of [`LEVEL`], alone in its event.
const LEVEL_TICK: Tick = Tick {
    price: 12_500_000_000,
    size: 17,
    instrument_id: 42,
    action: Action::Add,
    side: Side::Bid,
    flags: LAST_LEVEL,
    depth: 2,
    ..BASE
};

#[test]
fn a_price_level_becomes_an_add_modify_or_cancel_of_its_side_and_depth() {
    let market_best = IMPLIED | Flags::TOB;
    let cases = [
        (0, b'0', Action::Add, Side::Bid, Flags::NONE),
        (1, b'1', Action::Modify, Side::Ask, Flags::NONE),
        (2, b'0', Action::Cancel, Side::Bid, Flags::NONE),
        (5, b'1', Action::Modify, Side::Ask, Flags::NONE),
        (0, b'E', Action::Add, Side::Bid, IMPLIED),
        (2, b'F', Action::Cancel, Side::Ask, IMPLIED),
        (1, b'x', Action::Modify, Side::Bid, market_best),
        (0, b'w', Action::Add, Side::Ask, market_best),
    ];
    for (update_action, entry_type, action, side, flags) in cases {
        let payload = book(&[BookEntry { update_action, entry_type, ..LEVEL }]);
        let expected = Tick { action, side, flags: LAST_LEVEL | flags, ..LEVEL_TICK };
        assert_eq!(ticks(&payload), [expected], "{update_action} {}", char::from(entry_type));
    }
}

#[test]
fn what_a_level_does_not_say_is_undefined_not_zero() {
    let payload = packet(|packet| {
        raw(
            packet,
            46,
            &ROOT,
            &[&[
                ("SecurityID", Value::Int(42)),
                ("MDUpdateAction", Value::UInt(2)),
                ("MDEntryType", Value::Char(b'1')),
            ]],
        )
    });
    let expected = Tick {
        price: Price::UNDEFINED.0,
        size: Tick::SIZE_UNDEFINED,
        action: Action::Cancel,
        side: Side::Ask,
        depth: DEPTH_NO_LEVEL,
        ..LEVEL_TICK
    };
    assert_eq!(ticks(&payload), [expected]);
}

#[test]
fn deleting_through_a_level_cancels_the_best_level_that_many_times() {
    let gone =
        Tick { price: Price::UNDEFINED.0, size: Tick::SIZE_UNDEFINED, action: Action::Cancel, ..LEVEL_TICK };
    let seen = ticks(&book(&[BookEntry { update_action: 3, level: 3, ..LEVEL }]));
    let open = Tick { depth: 1, flags: Flags::MBP, ..gone };
    assert_eq!(seen, [open, open, Tick { flags: LAST_LEVEL, ..open }]);

    let seen = ticks(&book(&[BookEntry { update_action: 4, level: 9, ..LEVEL }]));
    let depths: Vec<u8> = seen.iter().map(|tick| tick.depth).collect();
    assert_eq!(depths, (9..=20).rev().collect::<Vec<_>>());
    assert!(seen.iter().all(|tick| tick.action == Action::Cancel && tick.size == Tick::SIZE_UNDEFINED));
}

#[test]
fn an_empty_book_entry_clears_the_instruments_book_by_price_or_by_order() {
    let by_price = ticks(&book(&[BookEntry { entry_type: b'J', ..LEVEL }]));
    let clear = Tick { instrument_id: 42, action: Action::Clear, ..BASE };
    assert_eq!(by_price, [Tick { flags: LAST_LEVEL, depth: DEPTH_NO_LEVEL, ..clear }]);
    let by_order = packet(|packet| {
        raw(packet, 47, &ROOT, &[&[("SecurityID", Value::Int(42)), ("MDEntryType", Value::Char(b'J'))]])
    });
    assert_eq!(ticks(&by_order), [Tick { flags: Flags::LAST, ..clear }]);
}

#[test]
fn orders_behind_levels_take_price_side_and_instrument_from_the_level_they_name() {
    let levels =
        [LEVEL, BookEntry { entry_type: b'1', price: Some(13_000_000_000), security_id: 43, ..LEVEL }];
    let orders = [(2, 0, 501), (1, 1, 502), (2, 2, 503)].map(|(reference_id, update_action, order_id)| {
        BookOrder { order_id, quantity: order_id as u32 - 490, reference_id, update_action }
    });
    let payload = packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, &levels, &orders));
    let seen = ticks(&payload);
    let order = |index: usize| {
        let tick = seen[index];
        (
            tick.order_id,
            tick.size,
            tick.price,
            tick.instrument_id,
            tick.action,
            tick.side,
            tick.depth,
            tick.flags,
        )
    };
    assert_eq!(seen.len(), 5);
    assert!(seen[..2].iter().all(|level| level.flags == Flags::MBP && level.order_id == 0));
    assert_eq!(order(2), (501, 11, 13_000_000_000, 43, Action::Add, Side::Ask, 0, Flags::NONE));
    assert_eq!(order(3), (502, 12, 12_500_000_000, 42, Action::Modify, Side::Bid, 0, Flags::LAST));
    assert_eq!(order(4), (503, 13, 13_000_000_000, 43, Action::Cancel, Side::Ask, 0, Flags::LAST));
}

#[test]
fn an_order_that_names_no_level_is_refused_alone() {
    let order = BookOrder { order_id: 1, quantity: 1, reference_id: 1, update_action: 0 };
    let orders = [BookOrder { reference_id: 0, ..order }, order, BookOrder { reference_id: 2, ..order }];
    let payload = packet(|packet| packet.book(EVENT_NS, END_OF_EVENT, &[LEVEL], &orders));
    let output = decoded(&payload);
    let first = payload.len() - 3 * 24;
    assert_eq!(output.malformed, [bad_value(first), bad_value(first + 48)]);
    assert_eq!(output.ticks.len(), 2);
}

#[test]
fn a_book_by_order_keeps_the_order_id_and_has_no_level() {
    let order: &[(&str, Value<'_>)] = &[
        ("OrderID", Value::UInt(u64::MAX - 1)),
        ("MDEntryPx", Value::Int(-5)),
        ("MDDisplayQty", Value::Int(3)),
        ("SecurityID", Value::Int(42)),
        ("MDUpdateAction", Value::UInt(1)),
        ("MDEntryType", Value::Char(b'1')),
    ];
    let payload = packet(|packet| raw(packet, 47, &ROOT, &[order]));
    let expected = Tick {
        order_id: u64::MAX - 1,
        price: -5,
        size: 3,
        instrument_id: 42,
        action: Action::Modify,
        side: Side::Ask,
        flags: Flags::LAST,
        ..BASE
    };
    assert_eq!(ticks(&payload), [expected]);
}

#[test]
fn statistics_become_ticks_without_an_action_that_name_dbns_statistic_type() {
    // Template, MDEntryType, OpenCloseSettlFlag, DBN's number.
    let cases = [
        (37, None, None, Statistic::ElectronicVolume, 10_001),
        (49, Some(b'6'), None, Statistic::SettlementPrice, 3),
        (49, Some(b'B'), None, Statistic::ClearedVolume, 6),
        (49, Some(b'C'), None, Statistic::OpenInterest, 9),
        (49, Some(b'W'), None, Statistic::FixingPrice, 10),
        (51, Some(b'4'), Some(0), Statistic::OpeningPrice, 1),
        (51, Some(b'4'), Some(5), Statistic::IndicativeOpeningPrice, 2),
        (51, Some(b'7'), None, Statistic::SessionHighPrice, 5),
        (51, Some(b'8'), None, Statistic::SessionLowPrice, 4),
        (51, Some(b'9'), None, Statistic::Vwap, 13),
        (51, Some(b'N'), None, Statistic::HighestBid, 8),
        (51, Some(b'O'), None, Statistic::LowestOffer, 7),
    ];
    for (template, entry_type, flag, statistic, number) in cases {
        let mut entry = vec![("SecurityID", Value::Int(42))];
        entry.extend(entry_type.map(|entry_type| ("MDEntryType", Value::Char(entry_type))));
        entry.extend(flag.map(|flag| ("OpenCloseSettlFlag", Value::UInt(flag))));
        let (mut price, mut size) = (Price::UNDEFINED.0, Tick::SIZE_UNDEFINED);
        if template != 37 {
            (price, _) = (77, entry.push(("MDEntryPx", Value::Int(77))));
        }
        if template != 51 {
            (size, _) = (8, entry.push(("MDEntrySize", Value::Int(8))));
        }
        let payload = packet(|packet| raw(packet, template, &ROOT, &[&entry]));
        let (order_id, depth, flags) = (number, DEPTH_NO_LEVEL, Flags::LAST);
        assert_eq!(statistic as u64, number);
        assert_eq!(
            ticks(&payload),
            [Tick { order_id, price, size, instrument_id: 42, depth, flags, ..BASE }]
        );
    }
}

#[test]
fn price_limits_become_three_ticks_and_an_undefined_one_means_no_limit() {
    let payload = packet(|packet| {
        let entry: &[(&str, Value<'_>)] = &[
            ("SecurityID", Value::Int(42)),
            ("HighLimitPrice", Value::Int(9)),
            ("MaxPriceVariation", Value::Int(2)),
        ];
        raw(packet, 50, &ROOT, &[entry])
    });
    let seen: Vec<_> = ticks(&payload).iter().map(|tick| (tick.order_id, tick.price, tick.action)).collect();
    let none = Action::None;
    assert_eq!(seen, [(17, 9, none), (18, Price::UNDEFINED.0, none), (10_002, 2, none)]);
}

#[test]
fn a_snapshot_clears_the_book_and_rebuilds_it() {
    let bid: &[(&str, Value<'_>)] = &[
        ("MDEntryPx", Value::Int(100)),
        ("MDEntrySize", Value::Int(5)),
        ("MDPriceLevel", Value::Int(1)),
        ("MDEntryType", Value::Char(b'0')),
    ];
    let high: &[(&str, Value<'_>)] = &[("MDEntryPx", Value::Int(120)), ("MDEntryType", Value::Char(b'7'))];
    let last_trade: &[(&str, Value<'_>)] =
        &[("MDEntryPx", Value::Int(110)), ("MDEntryType", Value::Char(b'2'))];
    let empty: &[(&str, Value<'_>)] = &[("MDEntryType", Value::Char(b'J'))];
    let root = [
        ("TransactTime", Value::UInt(EVENT_NS)),
        ("SecurityID", Value::Int(42)),
        ("MDSecurityTradingStatus", Value::UInt(17)),
        ("HighLimitPrice", Value::Int(200)),
    ];
    let seen = ticks(&packet(|packet| raw(packet, 52, &root, &[bid, high, last_trade, empty])));
    assert!(seen.iter().all(|tick| tick.flags.contains(Flags::SNAPSHOT) && tick.instrument_id == 42));
    let short: Vec<_> = seen.iter().map(|tick| (tick.action, tick.price, tick.size, tick.depth)).collect();
    let (no_price, no_size) = (Price::UNDEFINED.0, Tick::SIZE_UNDEFINED);
    let expected = [
        (Action::Clear, no_price, 0, DEPTH_NO_LEVEL),
        (Action::Add, 100, 5, 1),
        (Action::None, 120, no_size, DEPTH_NO_LEVEL),
        (Action::None, 200, no_size, DEPTH_NO_LEVEL),
        (Action::Status, no_price, u32::from(StatusAction::Trading.0), 0),
    ];
    assert_eq!(short, expected);
    let last: Vec<_> = seen.iter().map(|tick| tick.flags.contains(Flags::LAST)).collect();
    assert_eq!(last, [false, false, false, false, true]);
}

#[test]
fn a_snapshot_by_order_in_chunks_clears_at_the_first_and_ends_at_the_last() {
    let mut decoder = decoder();
    let mut chunk = |current: u64| {
        let root = [
            ("SecurityID", Value::Int(42)),
            ("NoChunks", Value::UInt(3)),
            ("CurrentChunk", Value::UInt(current)),
        ];
        let order: &[(&str, Value<'_>)] =
            &[("OrderID", Value::UInt(current)), ("MDEntryType", Value::Char(b'1'))];
        let mut output = Output::default();
        deliver(&mut decoder, &packet(|packet| raw(packet, 53, &root, &[order])), &mut output);
        assert_eq!(output.malformed, []);
        output.ticks.iter().map(|tick| (tick.action, tick.order_id, tick.flags)).collect::<Vec<_>>()
    };
    let (snapshot, last) = (Flags::SNAPSHOT, Flags::SNAPSHOT | Flags::LAST);
    assert_eq!(chunk(1), [(Action::Clear, 0, snapshot), (Action::Add, 1, snapshot)]);
    assert_eq!(chunk(2), [(Action::Add, 2, snapshot)]);
    assert_eq!(chunk(3), [(Action::Add, 3, last)]);
}

#[test]
fn a_status_says_its_state_in_dbns_numbers_and_whom_it_is_about() {
    let cases = [
        (2, StatusAction::Halt),
        (4, StatusAction::Close),
        (15, StatusAction::NewPriceIndication),
        (17, StatusAction::Trading),
        (18, StatusAction::NotAvailableForTrading),
        (21, StatusAction::PreOpen),
        (24, StatusAction::PreCross),
        (25, StatusAction::Cross),
        (26, StatusAction::PostClose),
        (103, StatusAction::None),
        (201, StatusAction::Trading),
        (255, StatusAction::None),
    ];
    for (code, action) in cases {
        let payload = packet(|packet| packet.security_status(EVENT_NS, Some(42), "ES", code));
        let [status] = ticks(&payload)[..] else { panic!("one tick") };
        assert_eq!(
            (status.action, status.size, status.instrument_id),
            (Action::Status, u32::from(action.0), 42)
        );
    }
    let root = [
        ROOT[0],
        ("SecurityGroup", Value::Text(b"ESX")),
        ("HaltReason", Value::UInt(2)),
        ("SecurityTradingEvent", Value::UInt(4)),
    ];
    let payload = packet(|packet| raw(packet, 30, &root, &[]));
    let [group] = ticks(&payload)[..] else { panic!("one tick") };
    assert_eq!((group.instrument_id, group.order_id.to_le_bytes()), (0, *b"ESX\0\0\0\x02\x04"));
}

#[test]
fn a_definition_becomes_an_instrument() {
    let definition = Definition {
        security_id: 42,
        symbol: "ESH4",
        group: "ES",
        asset: "ESA",
        currency: "USD",
        min_price_increment: 250_000_000,
        unit_of_measure_qty: 50_000_000_000,
    };
    let output = decoded(&packet(|packet| packet.definition(&definition)));
    let [instrument] = output.instruments[..] else { panic!("one instrument") };
    assert_eq!((output.ticks.len(), output.malformed.len()), (0, 0));
    assert_eq!(
        (instrument.publisher_id, instrument.channel_id, instrument.instrument_id),
        (PUBLISHER, CHANNEL, 42)
    );
    assert_eq!((instrument.symbol(), instrument.group(), instrument.currency()), ("ESH4", "ES", "USD"));
    assert_eq!((instrument.tick_size, instrument.multiplier), (Price(250_000_000), Price(50_000_000_000)));
    assert_eq!((instrument.kind, instrument.lot_size), (InstrumentKind::Future, 0));

    let without_group = Definition { group: "", ..definition };
    let output = decoded(&packet(|packet| packet.definition(&without_group)));
    assert_eq!(output.instruments[0].group(), "ESA");
}

#[test]
fn a_definitions_round_lot_is_kept_and_a_deleted_instrument_is_not_announced() {
    let payload = |update: u8| {
        packet(|packet| {
            let template = packet.schema().template(54).expect("there");
            let mut message = packet.message(template);
            message.set("SecurityID", Value::Int(42))?.set("SecurityUpdateAction", Value::Char(update))?;
            message.group("NoLotTypeRules", 2)?;
            for (index, (kind, lot)) in [(3, 1_000_000), (2, 50_000)].into_iter().enumerate() {
                message.entry(index).set("LotType", Value::Int(kind))?.set("MinLotSize", Value::Int(lot))?;
            }
            message.finish()
        })
    };
    assert_eq!(decoded(&payload(b'M')).instruments[0].lot_size, 5);
    assert_eq!(decoded(&payload(b'D')).instruments, []);
}

#[test]
fn an_entry_that_cannot_be_carried_is_refused_at_its_place_and_its_neighbours_are_not() {
    let (low, wide) = (Value::Int(-1), Value::UInt(254));
    let bad: [&[(&str, Value<'_>)]; 7] = [
        &[("MDEntrySize", low)],
        &[("SecurityID", low)],
        &[("MDEntryType", Value::Char(b'2'))],
        &[("MDEntryType", Value::Char(0xFF))],
        &[("MDUpdateAction", Value::UInt(6))],
        &[("MDUpdateAction", Value::UInt(3)), ("MDPriceLevel", wide)],
        &[("MDUpdateAction", Value::UInt(4)), ("MDPriceLevel", Value::UInt(0))],
    ];
    for fields in bad {
        let mut payload = packet(|packet| {
            packet.book(EVENT_NS, END_OF_EVENT, &[LEVEL, LEVEL, BookEntry { size: 1, ..LEVEL }], &[])
        });
        let second = 12 + 10 + 11 + 3 + 32;
        let schema = fixture();
        let entry = &schema.template(46).expect("there").groups[0];
        for &(name, value) in fields {
            let field = entry.fields.iter().find(|field| &*field.name == name).expect("there");
            let number = match value {
                Value::Int(number) => number as u64,
                Value::UInt(number) => number,
                Value::Char(code) => code.into(),
                _ => unreachable!("numbers only"),
            };
            payload[second + field.offset..][..field.bytes()]
                .copy_from_slice(&number.to_le_bytes()[..field.bytes()]);
        }
        let output = decoded(&payload);
        assert_eq!(output.malformed, [bad_value(second)], "{fields:?}");
        assert_eq!(output.ticks.iter().map(|tick| tick.size).collect::<Vec<_>>(), [17, 1]);
    }
}

#[test]
fn a_price_that_does_not_fit_in_nanounits_is_refused() {
    let Some(xml) = capture::template_file(6) else { return };
    let schema = Arc::new(Schema::parse(&xml).expect("CME's file"));
    let mut packet = PacketWriter::new(&schema);
    packet.begin(1, SEND_NS);
    let entry = |price: i64| {
        [("MDEntryPx", Value::Int(price)), ("SecurityID", Value::Int(1)), ("MDEntryType", Value::Char(b'0'))]
    };
    let prices = [i64::MAX / 100, i64::MAX / 100 + 1, i64::MIN, 5].map(entry);
    raw(&mut packet, 32, &ROOT, &prices.each_ref().map(|entry| &entry[..])).expect("can be written");
    let mut output = Output::default();
    deliver(&mut Mdp3::new(PUBLISHER, CHANNEL, schema.clone()), packet.bytes(), &mut output);
    assert_eq!(output.ticks.iter().map(|tick| tick.price).collect::<Vec<_>>(), [i64::MAX / 100 * 100, 500]);
    assert_eq!(output.malformed.len(), 2);
}
