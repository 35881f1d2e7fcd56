//! Each instruction as OUCH says it, and each message as the session hears it.

use crate::ouch50_common::hex;
use crate::support::*;
use bus::{OrderAction, OrderSide, TimeInForce};
use gateway::connection::{Now, Talk};
use gateway::line::{Event, LineError, Outgoing, What};
use gateway::ouch::Session;
use wire::ouch50::*;

fn encoded(session: &mut Session, outgoing: &Outgoing) -> Vec<u8> {
    let at = Now { monotonic_ns: 0, epoch_ns: 0 };
    session.ready(at, outgoing).ok().unwrap().as_ref().to_vec()
}

#[test]
fn instructions_have_the_bytes_of_the_specification() {
    let mut client = Client::up();
    let order = new_order("ORDER1", 1);
    // Length, U; O, UserRefNum, side, quantity, symbol, price, TIF, display, capacity, sweep, cross, ClOrdID, appendage.
    let expected = "0030 55 4F 00000001 42 00000064 5331202020202020 0000000000030D40 30 59 50 4E 4E
        4F5244455231 2020202020202020 0000";
    assert_eq!(encoded(&mut client.session, &order), hex(expected));
    let replaced = replacement("ORDER2", 2, &order, 150, "19.9999");
    let expected = "0029 55 55 00000001 00000002 00000096 0000000000030D3F 30 59 4E
        4F5244455232 2020202020202020 0000";
    assert_eq!(encoded(&mut client.session, &replaced), hex(expected));
    assert_eq!(
        encoded(&mut client.session, &cancel("ORDER3", 3, &replaced)),
        hex("000A 55 58 00000002 00000000")
    );
}

#[test]
fn a_market_order_a_short_sale_and_a_firm_are_said() {
    let mut client =
        Client::with(settings(|section| section.firm = Some("ABC".to_owned())), &Default::default());
    client.connect();
    client.hear(&granted("DAY1", 1)).unwrap();
    let mut order = new_order("A", 1);
    order.action = OrderAction::New {
        side: OrderSide::SellShort,
        quantity: 999_999,
        price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
    };
    let bytes = encoded(&mut client.session, &order);
    let (message, appendage) = Inbound::parse(&bytes[3..]).unwrap();
    let Inbound::EnterOrder(message) = message else { panic!("{message:?}") };
    assert_eq!((message.side, message.price, message.time_in_force), (b'T', Price::MARKET, b'3'));
    assert_eq!((message.quantity.get(), appendage.firm()), (999_999, Some(*b"ABC ")));
}

#[test]
fn what_ouch_cannot_say_is_named_before_it_is_sent() {
    let client = Client::up();
    let with = |side, quantity, limit: &str, symbol: &str| {
        let mut order = new_order("A", 1);
        let price = Some(price(limit));
        order.action = OrderAction::New { side, quantity, price, time_in_force: TimeInForce::Day };
        order.symbol = symbol.to_owned();
        order
    };
    let mut lost = cancel("C", 2, &new_order("A", 1));
    lost.target = None;
    let cases = [
        (with(OrderSide::Buy, 0, "20", "S1"), "quantity"),
        (with(OrderSide::Buy, 1_000_000, "20", "S1"), "quantity"),
        (with(OrderSide::Buy, 1, "20.00005", "S1"), "price"),
        (with(OrderSide::Buy, 1, "0", "S1"), "price"),
        (with(OrderSide::Buy, 1, "-1", "S1"), "price"),
        (with(OrderSide::Buy, 1, "199999.9901", "S1"), "price"),
        (with(OrderSide::Buy, 1, "214748.3647", "S1"), "price"),
        (with(OrderSide::Buy, 1, "20", "LONGSYMBL"), "symbol"),
        (with(OrderSide::Buy, 1, "20", ""), "symbol"),
        (with(OrderSide::Buy, 1, "20", "Ä"), "symbol"),
        (new_order("A", 0), "reference"),
        (new_order("A", u32::MAX), "reference"),
        (lost, "of"),
        (cancel("C", 2, &new_order("A", 0)), "reference"),
        (replacement("R", 2, &new_order("A", 1), 10, "0.00001"), "price"),
        (replacement("R", 2, &new_order("A", 1), 1_000_000, "1"), "quantity"),
    ];
    for (order, field) in cases {
        match client.session.check(&order) {
            Err(LineError::Unspeakable { what, .. }) => assert_eq!(what, field, "{order:?}"),
            other => panic!("{order:?}: {other:?}"),
        }
    }
    client.session.check(&with(OrderSide::Sell, 999_999, "199999.99", "LONGSYMB")).unwrap();
}

/// What one message comes to.
fn heard(message: &Outbound<'_>) -> Option<What> {
    let mut client = Client::up();
    client.hear(&sequenced(message)).unwrap();
    match &client.events()[..] {
        [] => None,
        [Event::Told(told)] => Some(told.what.clone()),
        other => panic!("{other:?}"),
    }
}

const TIME: u64 = 34_200_000_000_123;

#[test]
fn an_acceptance_says_what_is_open_which_is_nothing_when_the_order_is_dead() {
    for (state, leaves) in [(b'L', 100), (b'D', 0)] {
        let mut client = Client::up();
        client.hear(&accepted(7, state)).unwrap();
        let events = client.events();
        let expected = What::Accepted { venue_order: "7007".to_owned(), leaves };
        assert_eq!(told(&events), [(2, 7, &expected)]);
        let Event::Told(told) = &events[0] else { unreachable!() };
        // 09:30 in New York on 30 June 2025.
        assert_eq!(told.venue_time_ns, 1_751_290_200_000_000_000);
    }
}

#[test]
fn a_replacement_says_what_is_open_and_its_limit() {
    let mut replaced = OrderReplaced {
        timestamp_ns: TIME.into(),
        orig_user_ref_num: 1.into(),
        user_ref_num: 2.into(),
        side: b'B',
        quantity: 80.into(),
        symbol: *b"S1      ",
        price: Price::new(199_999),
        time_in_force: b'0',
        display: b'Y',
        order_reference: 9.into(),
        capacity: b'P',
        intermarket_sweep: b'N',
        cross_type: b'N',
        order_state: b'L',
        cl_ord_id: [b' '; 14],
    };
    let expected =
        |leaves, price| What::Replaced { venue_order: "9".to_owned(), quantity: None, leaves, price };
    let limit = Some(price("19.9999"));
    assert_eq!(heard(&Outbound::OrderReplaced(&replaced)), Some(expected(80, limit)));
    replaced.order_state = b'D';
    assert_eq!(heard(&Outbound::OrderReplaced(&replaced)), Some(expected(0, limit)));
    replaced.price = Price::MARKET;
    assert_eq!(heard(&Outbound::OrderReplaced(&replaced)), Some(expected(0, None)));
}

#[test]
fn what_ends_an_order_or_a_part_of_it_is_told_with_its_reason_as_one_word() {
    for (code, word) in [
        (b'U', "requested_by_the_user"),
        (b'I', "immediate_or_cancel"),
        (b'E', "closed"),
        (b'Z', "cancelled_by_the_system"),
        (b'?', "cancel_0x003f"),
    ] {
        let cancelled = OrderCanceled {
            timestamp_ns: TIME.into(),
            user_ref_num: 1.into(),
            quantity: 30.into(),
            reason: code,
        };
        let expected = What::Cancelled { quantity: Some(30), reason: word.to_owned(), by: None };
        assert_eq!(heard(&Outbound::OrderCanceled(&cancelled)), Some(expected));
    }
    let prevented = AiqCanceled {
        timestamp_ns: TIME.into(),
        user_ref_num: 1.into(),
        decrement_shares: 30.into(),
        reason: b'Q',
        quantity_prevented: 40.into(),
        execution_price: Price::new(1),
        liquidity_flag: b'R',
        aiq_strategy: b'N',
    };
    let reason = "self_match_prevented".to_owned();
    let expected = What::Cancelled { quantity: Some(30), reason, by: None };
    assert_eq!(heard(&Outbound::AiqCanceled(&prevented)), Some(expected));
    for (code, word, words) in [
        (0x0020, "risk_aggregate_exposure_exceeded", "risk: aggregate exposure exceeded"),
        (0x0013, "invalid_quantity", "invalid quantity"),
        (0x0999, "reject_0x0999", "reason 0x0999"),
    ] {
        let rejected = Rejected {
            timestamp_ns: TIME.into(),
            user_ref_num: 1.into(),
            reason: code.into(),
            cl_ord_id: [b' '; 14],
        };
        let (reason, text) = (word.to_owned(), words.to_owned());
        let expected = What::Rejected { reason, text, original_lives: true };
        assert_eq!(heard(&Outbound::Rejected(&rejected)), Some(expected));
    }
    let late = CancelReject { timestamp_ns: TIME.into(), user_ref_num: 1.into() };
    let expected = What::CancelRejected { by: None, reason: "cross".to_owned() };
    assert_eq!(heard(&Outbound::CancelReject(&late)), Some(expected));
}

#[test]
fn trades_and_their_ends_have_the_match_number() {
    let mut trade = OrderExecuted {
        timestamp_ns: TIME.into(),
        user_ref_num: 1.into(),
        quantity: 30.into(),
        price: Price::new(200_000),
        liquidity_flag: b'A',
        match_number: 77.into(),
    };
    let expected = What::Filled { quantity: 30, price: price("20.00"), execution: "77".to_owned() };
    assert_eq!(heard(&Outbound::OrderExecuted(&trade)), Some(expected));
    let broken = BrokenTrade {
        timestamp_ns: TIME.into(),
        user_ref_num: 1.into(),
        match_number: 77.into(),
        reason: b'E',
        cl_ord_id: [b' '; 14],
    };
    let expected = What::Broken { execution: "77".to_owned(), quantity: None, price: None };
    assert_eq!(heard(&Outbound::BrokenTrade(&broken)), Some(expected));
    trade.price = Price::new(u64::MAX);
    let mut client = Client::up();
    client.hear(&sequenced(&Outbound::OrderExecuted(&trade))).unwrap();
    assert!(refused(&client.events()[0]).starts_with("message 2: price"));
}

#[test]
fn what_changes_neither_what_is_open_nor_what_was_traded_is_not_told() {
    let event = SystemEvent { timestamp_ns: TIME.into(), event_code: b'S' };
    let pending = CancelPending { timestamp_ns: TIME.into(), user_ref_num: 1.into() };
    let moved = OrderPriorityUpdate {
        timestamp_ns: TIME.into(),
        user_ref_num: 1.into(),
        price: Price::new(1),
        display: b'Y',
        order_reference: 4.into(),
    };
    let restated = OrderRestated { timestamp_ns: TIME.into(), user_ref_num: 1.into(), reason: b'R' };
    assert_eq!(heard(&Outbound::SystemEvent(&event)), None);
    assert_eq!(heard(&Outbound::CancelPending(&pending)), None);
    assert_eq!(heard(&Outbound::OrderPriorityUpdate(&moved)), None);
    assert_eq!(heard(&Outbound::OrderRestated(&restated)), None);
}
