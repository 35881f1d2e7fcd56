//! ITCH 5.0 over MoldUDP64 through the core's contract: what each message becomes as ticks, what is passed
//! over, and real packets with their real receive times.

#[path = "../../wire/tests/itch_common/mod.rs"]
mod itch_common;

use feed::{Delivery, Header, Itch50, Malformed, MalformedReason, PacketKind, Protocol, Sink, Stamp};
use itch_common::{capture_packets, nasdaq_file};
use std::collections::BTreeMap;
use tick::{Action, Clock, ClockSource, Flags, Instrument, Price, Side, Source, StatusAction, Tick};
use wire::itch50::*;
use wire::moldudp64::PacketWriter;
use zerocopy::IntoBytes;

const MIDNIGHT_NS: u64 = 1_692_676_800_000_000_000; // 22 August 2023 in New York
const OPEN_NS: u64 = 34_200_000_000_000;
const STAMP: Stamp =
    Stamp { recv_ns: MIDNIGHT_NS + OPEN_NS + 7_000, clock: Clock::new(ClockSource::Hardware, true) };

#[derive(Default, Debug, PartialEq)]
struct Collected {
    ticks: Vec<Tick>,
    instruments: Vec<Instrument>,
    malformed: Vec<Malformed>,
}

impl Sink for Collected {
    fn tick(&mut self, tick: &Tick) {
        self.ticks.push(*tick);
    }
    fn instrument(&mut self, instrument: &Instrument) {
        self.instruments.push(*instrument);
    }
}

fn packet(messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0; 2000];
    let mut writer = PacketWriter::new(&mut buffer, *b"000010059B", 1000).expect("room");
    messages.iter().for_each(|message| writer.push(message).expect("room"));
    writer.finish().to_vec()
}

fn deliver(decoder: &mut Itch50, payload: &[u8], skip: u32, take: u32) -> Collected {
    let header = decoder.header(payload).expect("whole packet");
    let delivery = Delivery {
        payload,
        header,
        sequence: header.first,
        skip,
        take,
        source: Source::B,
        stamp: STAMP,
        flags: Flags::MAYBE_BAD_BOOK,
    };
    let mut collected = Collected::default();
    let mut malformed = Vec::new();
    decoder.decode(&delivery, &mut collected, &mut |found| malformed.push(found));
    collected.malformed = malformed;
    collected
}

fn ticks_of(message: &[u8]) -> Vec<Tick> {
    let collected = deliver(&mut Itch50::new(2, 40), &packet(&[message]), 0, 1);
    assert_eq!(collected.malformed, []);
    collected.ticks
}

/// The ticks of a message, without what all of them have in common, which is checked here.
fn bare_ticks(message: &[u8]) -> Vec<Tick> {
    let mut ticks = ticks_of(message);
    let last = ticks.len().saturating_sub(1);
    for (at, tick) in ticks.iter_mut().enumerate() {
        let flags = if at == last { Flags::LAST } else { Flags::NONE };
        let common = Tick {
            ts_event: MIDNIGHT_NS + OPEN_NS,
            ts_recv: STAMP.recv_ns,
            ts_in_delta: 7_000,
            sequence: 1000,
            instrument_id: 13,
            publisher_id: 2,
            channel_id: 40,
            flags: flags | Flags::MAYBE_BAD_BOOK,
            source: Source::B,
            clock: STAMP.clock,
            ..*tick
        };
        assert_eq!(*tick, common);
        *tick = Tick {
            order_id: tick.order_id,
            price: tick.price,
            size: tick.size,
            action: tick.action,
            side: tick.side,
            ..Tick::EMPTY
        };
    }
    ticks
}

fn tick(action: Action, side: Side, order_id: u64, size: u32, price: i64) -> Tick {
    Tick { action, side, order_id, size, price, ..Tick::EMPTY }
}

fn add(order_reference: u64, side: u8) -> AddOrder {
    AddOrder {
        head: AddOrder::head(13, 0, OPEN_NS),
        order_reference: order_reference.into(),
        side,
        shares: 300.into(),
        stock: alpha("ZVZZT"),
        price: Price4::new(1_234_567),
    }
}

const NO_PRICE: i64 = Price::UNDEFINED.0;
const PRICE: i64 = 123_456_700_000;

#[test]
fn an_add_names_its_order_side_size_and_exact_price() {
    assert_eq!(bare_ticks(add(5, b'B').as_bytes()), [tick(Action::Add, Side::Bid, 5, 300, PRICE)]);
    let attributed = [&b"F"[..], &add(6, b'S').as_bytes()[1..], b"NSDQ"].concat();
    assert_eq!(bare_ticks(&attributed), [tick(Action::Add, Side::Ask, 6, 300, PRICE)]);
}

#[test]
fn an_execution_is_a_trade_a_fill_and_the_cancel_that_changes_the_book() {
    let executed = OrderExecuted {
        head: OrderExecuted::head(13, 0, OPEN_NS),
        order_reference: 5.into(),
        executed_shares: 40.into(),
        match_number: 9.into(),
    };
    let expected = [
        tick(Action::Trade, Side::None, 0, 40, NO_PRICE),
        tick(Action::Fill, Side::None, 5, 40, NO_PRICE),
        tick(Action::Cancel, Side::None, 5, 40, NO_PRICE),
    ];
    assert_eq!(bare_ticks(executed.as_bytes()), expected);
}

#[test]
fn an_execution_with_a_price_carries_it_and_is_no_trade_when_not_printable() {
    let mut executed = OrderExecutedWithPrice {
        head: OrderExecutedWithPrice::head(13, 0, OPEN_NS),
        order_reference: 5.into(),
        executed_shares: 40.into(),
        match_number: 9.into(),
        printable: b'Y',
        execution_price: Price4::new(1_234_567),
    };
    let expected = [
        tick(Action::Trade, Side::None, 0, 40, PRICE),
        tick(Action::Fill, Side::None, 5, 40, PRICE),
        tick(Action::Cancel, Side::None, 5, 40, NO_PRICE),
    ];
    assert_eq!(bare_ticks(executed.as_bytes()), expected);
    executed.printable = b'N';
    assert_eq!(bare_ticks(executed.as_bytes()), expected[1..]);
}

#[test]
fn a_cancel_takes_its_shares_a_delete_all_and_a_replace_all_before_it_adds() {
    let cancel = OrderCancel {
        head: OrderCancel::head(13, 0, OPEN_NS),
        order_reference: 5.into(),
        cancelled_shares: 40.into(),
    };
    assert_eq!(bare_ticks(cancel.as_bytes()), [tick(Action::Cancel, Side::None, 5, 40, NO_PRICE)]);
    let delete = OrderDelete { head: OrderDelete::head(13, 0, OPEN_NS), order_reference: 5.into() };
    let all = tick(Action::Cancel, Side::None, 5, Tick::SIZE_UNDEFINED, NO_PRICE);
    assert_eq!(bare_ticks(delete.as_bytes()), [all]);
    let replace = OrderReplace {
        head: OrderReplace::head(13, 0, OPEN_NS),
        original_reference: 5.into(),
        new_reference: 6.into(),
        shares: 70.into(),
        price: Price4::new(1_234_567),
    };
    assert_eq!(bare_ticks(replace.as_bytes()), [all, tick(Action::Add, Side::None, 6, 70, PRICE)]);
}

#[test]
fn trades_and_crosses_are_trades_without_side_and_an_empty_cross_is_nothing() {
    let trade = Trade {
        head: Trade::head(13, 0, OPEN_NS),
        order_reference: 0.into(),
        side: b'B',
        shares: 40.into(),
        stock: alpha("ZVZZT"),
        price: Price4::new(1_234_567),
        match_number: 9.into(),
    };
    assert_eq!(bare_ticks(trade.as_bytes()), [tick(Action::Trade, Side::None, 0, 40, PRICE)]);
    let mut cross = CrossTrade {
        head: CrossTrade::head(13, 0, OPEN_NS),
        shares: 40_000.into(),
        stock: alpha("ZVZZT"),
        cross_price: Price4::new(1_234_567),
        match_number: 9.into(),
        cross_type: b'O',
    };
    assert_eq!(bare_ticks(cross.as_bytes()), [tick(Action::Trade, Side::None, 0, 40_000, PRICE)]);
    cross.shares = 0.into();
    assert_eq!(bare_ticks(cross.as_bytes()), []);
}

fn codes(ascii: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*ascii)
}

#[test]
fn an_imbalance_is_a_statistic_with_its_reference_price_and_direction() {
    let mut imbalance = NetOrderImbalance {
        head: NetOrderImbalance::head(13, 0, OPEN_NS),
        paired_shares: 1.into(),
        imbalance_shares: 90.into(),
        imbalance_direction: b'S',
        stock: alpha("ZVZZT"),
        far_price: Price4::new(1),
        near_price: Price4::new(2),
        reference_price: Price4::new(1_234_567),
        cross_type: b'O',
        price_variation: b'L',
    };
    assert_eq!(
        bare_ticks(imbalance.as_bytes()),
        [tick(Action::None, Side::Ask, codes(b"ISOL\0\0\0\0"), 90, PRICE)]
    );
    imbalance.imbalance_direction = b'O';
    imbalance.reference_price = Price4::new(0);
    assert_eq!(
        bare_ticks(imbalance.as_bytes()),
        [tick(Action::None, Side::None, codes(b"IOOL\0\0\0\0"), 90, NO_PRICE)]
    );
}

#[test]
fn states_become_dbn_status_actions_with_the_venues_codes_beside_them() {
    let stock = alpha("ZVZZT");
    let action = |trading_state| {
        let head = StockTradingAction::head(13, 0, OPEN_NS);
        let reason = alpha("LUDP");
        StockTradingAction { head, stock, trading_state, reserved: b' ', reason }.as_bytes().to_vec()
    };
    let halt = |action| {
        let head = OperationalHalt::head(13, 0, OPEN_NS);
        OperationalHalt { head, stock, market_code: b'Q', action }.as_bytes().to_vec()
    };
    let short = RegSho { head: RegSho::head(13, 0, OPEN_NS), stock, action: b'1' }.as_bytes().to_vec();
    let breach = MwcbStatus { head: MwcbStatus::head(13, 0, OPEN_NS), breached_level: b'1' };
    let event =
        |event_code| SystemEvent { head: SystemEvent::head(13, 0, OPEN_NS), event_code }.as_bytes().to_vec();
    let table = [
        (action(b'H'), StatusAction::Halt, b"HHLUDP\0\0"),
        (action(b'P'), StatusAction::Pause, b"HPLUDP\0\0"),
        (action(b'Q'), StatusAction::Quoting, b"HQLUDP\0\0"),
        (action(b'T'), StatusAction::Trading, b"HTLUDP\0\0"),
        (action(b'?'), StatusAction::None, b"H?LUDP\0\0"),
        (halt(b'H'), StatusAction::Halt, b"hHQ\0\0\0\0\0"),
        (halt(b'T'), StatusAction::Trading, b"hTQ\0\0\0\0\0"),
        (halt(b'?'), StatusAction::None, b"h?Q\0\0\0\0\0"),
        (short, StatusAction::SsrChange, b"Y1\0\0\0\0\0\0"),
        (breach.as_bytes().to_vec(), StatusAction::Halt, b"W1\0\0\0\0\0\0"),
        (event(b'O'), StatusAction::None, b"SO\0\0\0\0\0\0"),
        (event(b'S'), StatusAction::PreOpen, b"SS\0\0\0\0\0\0"),
        (event(b'Q'), StatusAction::Trading, b"SQ\0\0\0\0\0\0"),
        (event(b'M'), StatusAction::PostClose, b"SM\0\0\0\0\0\0"),
        (event(b'E'), StatusAction::Close, b"SE\0\0\0\0\0\0"),
        (event(b'C'), StatusAction::NotAvailableForTrading, b"SC\0\0\0\0\0\0"),
    ];
    for (message, state, ascii) in table {
        let expected = tick(Action::Status, Side::None, codes(ascii), u32::from(state.0), NO_PRICE);
        assert_eq!(bare_ticks(&message), [expected], "{ascii:?}");
    }
}

#[test]
fn a_directory_entry_is_an_instrument_and_no_tick() {
    let mut message = [b' '; StockDirectory::SIZE];
    message[..11].copy_from_slice(StockDirectory::head(13, 0, OPEN_NS).as_bytes());
    message[11..19].copy_from_slice(b"ZVZZT   ");
    message[21..25].copy_from_slice(&100_u32.to_be_bytes());
    let collected = deliver(&mut Itch50::new(2, 40), &packet(&[&message]), 0, 1);
    assert_eq!((collected.ticks, collected.malformed), (vec![], vec![]));
    let [instrument] = collected.instruments[..] else { panic!("one instrument") };
    assert_eq!((instrument.publisher_id, instrument.channel_id, instrument.instrument_id), (2, 40, 13));
    assert_eq!((instrument.symbol(), instrument.lot_size), ("ZVZZT", 100));
    assert_eq!(instrument.tick_size, Price::UNDEFINED);
}

#[test]
fn the_other_types_are_counted_and_give_no_tick() {
    for &(letter, size) in Message::TYPES.iter().filter(|(letter, _)| b"BJKLNOV".contains(letter)) {
        let mut decoder = Itch50::new(2, 40);
        let message = [&[letter][..], &vec![0; size - 1]].concat();
        let collected = deliver(&mut decoder, &packet(&[&message]), 0, 1);
        assert_eq!(collected, Collected::default());
        assert_eq!(counts(&decoder), BTreeMap::from([(char::from(letter).to_string(), 1)]));
    }
}

fn counts(decoder: &Itch50) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    decoder.message_counts(&mut |name, count| assert_eq!(counts.insert(name.to_string(), count), None));
    counts
}

#[test]
fn only_the_messages_asked_for_are_delivered_each_with_its_own_sequence_number() {
    let orders: Vec<AddOrder> = (0..5).map(|order| add(order, b'B')).collect();
    let payload = packet(&orders.iter().map(IntoBytes::as_bytes).collect::<Vec<_>>());
    for (skip, take, expected) in
        [(0, 5, 0..5), (2, 2, 2..4), (4, 1, 4..5), (5, 0, 0..0), (3, 99, 3..5), (9, 1, 0..0), (1, 0, 0..0)]
    {
        let mut decoder = Itch50::new(2, 40);
        let collected = deliver(&mut decoder, &payload, skip, take);
        let got: Vec<_> = collected.ticks.iter().map(|tick| (tick.order_id, tick.sequence)).collect();
        assert_eq!(got, expected.map(|order| (order, 1000 + order)).collect::<Vec<_>>(), "{skip} {take}");
        assert_eq!(counts(&decoder).values().sum::<u64>(), got.len() as u64);
    }
}

#[test]
fn a_message_that_cannot_be_read_is_named_and_those_beside_it_are_delivered() {
    let first = add(1, b'B');
    let last = add(2, b'S');
    let sideless = add(3, b'?');
    let huge_cross = [&[b'Q'][..], &[0; 10], &[1; 29]].concat();
    let bad: [(&[u8], MalformedReason); 6] = [
        (b"", MalformedReason::BadLength),
        (b"z23456789012", MalformedReason::UnknownMessage),
        (&first.as_bytes()[..35], MalformedReason::WrongSize),
        (b"S", MalformedReason::WrongSize),
        (sideless.as_bytes(), MalformedReason::BadValue),
        (&huge_cross, MalformedReason::BadValue),
    ];
    for (message, reason) in bad {
        let mut decoder = Itch50::new(2, 40);
        let payload = packet(&[first.as_bytes(), message, last.as_bytes()]);
        let collected = deliver(&mut decoder, &payload, 0, 3);
        let delivered: Vec<_> = collected.ticks.iter().map(|tick| (tick.order_id, tick.sequence)).collect();
        assert_eq!(delivered, [(1, 1000), (2, 1002)]);
        assert_eq!(collected.malformed, [Malformed { reason, offset: 60 }]);
        assert_eq!(counts(&decoder), BTreeMap::from([("A".to_string(), 2)]));
    }
}

#[test]
fn a_header_names_session_sequence_count_and_kind() {
    let decoder = Itch50::new(2, 40);
    let session = u128::from_be_bytes(*b"\0\0\0\0\0\x00000010059B");
    let data = Header { session, first: 1000, count: 2, send_ns: 0, kind: PacketKind::Data, reset: false };
    assert_eq!(decoder.header(&packet(&[b"x", b"y"])), Ok(data));
    let heartbeat = Header { count: 0, kind: PacketKind::Heartbeat, ..data };
    assert_eq!(decoder.header(&packet(&[])), Ok(heartbeat));
    let mut end = packet(&[]);
    end[18..].copy_from_slice(&[0xFF, 0xFF]);
    assert_eq!(decoder.header(&end), Ok(Header { kind: PacketKind::EndOfSession, ..heartbeat }));
    assert_eq!(deliver(&mut Itch50::new(2, 40), &end, 0, 0), Collected::default());
}

#[test]
fn a_packet_whose_framing_is_not_whole_is_refused_with_reason_and_offset() {
    let decoder = Itch50::new(2, 40);
    let whole = packet(&[b"AB", b"CDE"]);
    for length in 0..whole.len() {
        let (reason, offset) = match length {
            0..20 => (MalformedReason::ShortHeader, 0),
            20..24 => (MalformedReason::BadLength, 20),
            _ => (MalformedReason::BadLength, 24),
        };
        assert_eq!(decoder.header(&whole[..length]), Err(Malformed { reason, offset }), "{length}");
    }
    let trailing = Malformed { reason: MalformedReason::TrailingBytes, offset: 29 };
    assert_eq!(decoder.header(&[&whole[..], b"x"].concat()), Err(trailing));
    let mut wrapping = whole;
    wrapping[10..18].fill(0xFF);
    let overflow = Malformed { reason: MalformedReason::BadValue, offset: 10 };
    assert_eq!(decoder.header(&wrapping), Err(overflow));
}

#[test]
fn the_nine_real_packets_arrive_microseconds_after_their_events() {
    let Some(packets) = capture_packets("Nasdaq/Nasdaq.Equities.TotalView.Itch.v5.0/") else { return };
    let mut decoder = Itch50::new(2, 40);
    let mut messages = 0;
    for captured in &packets {
        let header = decoder.header(&captured.payload).expect("whole packet");
        messages += header.count;
        let delivery = Delivery {
            payload: &captured.payload,
            header,
            sequence: header.first,
            skip: 0,
            take: header.count,
            source: Source::A,
            stamp: Stamp { recv_ns: captured.recv_ns, clock: Clock::new(ClockSource::Capture, true) },
            flags: Flags::NONE,
        };
        let mut collected = Collected::default();
        decoder.decode(&delivery, &mut collected, &mut |malformed| panic!("{malformed}"));
        for tick in collected.ticks {
            assert!((1..1_000_000).contains(&tick.ts_in_delta), "{tick:?}");
            assert!((header.first..header.first + u64::from(header.count)).contains(&tick.sequence));
        }
    }
    assert_eq!(messages, 46);
    assert_eq!(counts(&decoder).values().sum::<u64>(), 46);
}

#[test]
fn the_thousand_real_messages_become_the_ticks_that_their_types_promise() {
    let Some(file) = nasdaq_file("12302019_SNIPPET.NASDAQ_ITCH50") else { return };
    let messages: Vec<&[u8]> = Frames::new(&file).map(|frame| frame.expect("whole file")).collect();
    let mut decoder = Itch50::new(2, 40);
    let mut actions = BTreeMap::new();
    for group in messages.chunks(20) {
        let collected = deliver(&mut decoder, &packet(group), 0, group.len() as u32);
        assert_eq!(collected.malformed, []);
        for tick in collected.ticks {
            *actions.entry(char::from(tick.action.0)).or_insert(0) += 1;
        }
    }
    let expected = [
        ("A", 367),
        ("C", 1),
        ("D", 167),
        ("E", 28),
        ("F", 193),
        ("I", 4),
        ("P", 4),
        ("Q", 4),
        ("S", 1),
        ("U", 225),
        ("X", 6),
    ];
    assert_eq!(counts(&decoder), expected.map(|(name, count)| (name.to_string(), count)).into());
    // A 367, F 193 and U 225 add; X 6, D 167, U 225, E 28 and C 1 cancel; E 28 and C 1 fill; E 28, P 4 and two
    // crosses of four trade: the C is not printable, the other crosses are empty.
    let expected = [('A', 785), ('C', 427), ('F', 29), ('N', 4), ('S', 1), ('T', 34)];
    assert_eq!(actions, BTreeMap::from(expected));
}

#[test]
fn any_bytes_give_ticks_or_reasons_and_every_message_one_of_both() {
    bolero::check!().with_type::<(Vec<(u8, u8, u8)>, u8, u8, u64)>().with_iterations(20_000).for_each(
        |(messages, skip, take, recv_ns)| {
            let bodies: Vec<Vec<u8>> = messages
                .iter()
                .take(20)
                .map(|&(pick, fill, longer)| {
                    let (letter, size) = Message::TYPES[usize::from(pick) % Message::TYPES.len()];
                    let size = if longer < 16 { usize::from(longer) } else { size };
                    let mut body = vec![fill; size];
                    if let Some(first) = body.first_mut().filter(|_| longer != 255) {
                        *first = letter;
                    }
                    body
                })
                .collect();
            let payload = packet(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut decoder = Itch50::new(2, 40);
            let header = decoder.header(&payload).expect("whole packet");
            let delivery = Delivery {
                payload: &payload,
                header,
                sequence: *recv_ns,
                skip: u32::from(*skip),
                take: u32::from(*take),
                source: Source::A,
                stamp: Stamp { recv_ns: *recv_ns, ..STAMP },
                flags: Flags::NONE,
            };
            let mut malformed = 0;
            decoder.decode(&delivery, &mut Collected::default(), &mut |_| malformed += 1);
            let due = bodies.len().saturating_sub(usize::from(*skip)).min(usize::from(*take)) as u64;
            assert_eq!(counts(&decoder).values().sum::<u64>() + malformed, due);
        },
    );
}

#[test]
fn bytes_that_no_header_check_has_seen_do_no_harm_to_the_decoder() {
    let header = Header { session: 0, first: 1, count: 9, send_ns: 0, kind: PacketKind::Data, reset: false };
    bolero::check!().with_iterations(20_000).for_each(|payload: &[u8]| {
        let mut decoder = Itch50::new(2, 40);
        let _ = decoder.header(payload);
        let delivery = Delivery {
            payload,
            header,
            sequence: u64::MAX,
            skip: 1,
            take: 9,
            source: Source::A,
            stamp: STAMP,
            flags: Flags::NONE,
        };
        decoder.decode(&delivery, &mut Collected::default(), &mut |found| {
            assert!((found.offset as usize) < payload.len());
        });
    });
}
