//! Trades and the orders that took part in them.

use super::*;
use tick::{Action, DEPTH_NO_LEVEL, Side};
use wire::mdp3::encode::TradeEntry;

const TRADE: TradeEntry = TradeEntry {
    price: 12_500_000_000,
    size: 9,
    security_id: 42,
    rpt_seq: 1,
    number_of_orders: 0,
    aggressor_side: 0,
};

fn short(tick: &Tick) -> (Action, Side, u64, u32, i64) {
    (tick.action, tick.side, tick.order_id, tick.size, tick.price)
}

fn shorts(ticks: &[Tick]) -> Vec<(Action, Side, u64, u32, i64)> {
    ticks.iter().map(short).collect()
}

#[test]
fn a_trade_names_its_aggressor_and_each_resting_order_is_filled_on_the_other_side() {
    let trade = TradeEntry { number_of_orders: 3, aggressor_side: 2, ..TRADE };
    let payload =
        packet(|packet| packet.trade(EVENT_NS, END_OF_EVENT, &[trade], &[(71, 9), (72, 4), (73, 5)]));
    let seen = ticks(&payload);
    let price = TRADE.price;
    let expected = [
        (Action::Trade, Side::Ask, 71, 9, price),
        (Action::Fill, Side::Bid, 72, 4, price),
        (Action::Fill, Side::Bid, 73, 5, price),
    ];
    assert_eq!(shorts(&seen), expected);
    assert_eq!((seen[0].depth, seen[1].depth), (DEPTH_NO_LEVEL, 0));
    let flags: Vec<_> = seen.iter().map(|tick| tick.flags).collect();
    assert_eq!(flags, [Flags::NONE, Flags::NONE, Flags::LAST]);
}

#[test]
fn without_an_aggressor_every_order_is_filled_and_has_no_side() {
    let trade = TradeEntry { number_of_orders: 2, ..TRADE };
    let payload = packet(|packet| packet.trade(EVENT_NS, END_OF_EVENT, &[trade], &[(71, 9), (72, 9)]));
    let price = TRADE.price;
    let expected = [
        (Action::Trade, Side::None, 0, 9, price),
        (Action::Fill, Side::None, 71, 9, price),
        (Action::Fill, Side::None, 72, 9, price),
    ];
    assert_eq!(shorts(&ticks(&payload)), expected);
}

#[test]
fn details_go_to_the_trades_in_turn_each_taking_as_many_as_it_announced() {
    let trades = [
        TradeEntry { number_of_orders: 2, aggressor_side: 1, ..TRADE },
        TradeEntry { number_of_orders: 0, price: 1, security_id: 43, ..TRADE },
        TradeEntry { number_of_orders: 2, aggressor_side: 1, price: 2, ..TRADE },
    ];
    let details = [(1, 9), (2, 9), (3, 9), (4, 9)];
    let payload = packet(|packet| packet.trade(EVENT_NS, END_OF_EVENT, &trades, &details));
    let seen: Vec<_> =
        ticks(&payload).iter().map(|tick| (tick.action, tick.order_id, tick.instrument_id)).collect();
    let expected = [
        (Action::Trade, 1, 42),
        (Action::Fill, 2, 42),
        (Action::Trade, 0, 43),
        (Action::Trade, 3, 42),
        (Action::Fill, 4, 42),
    ];
    assert_eq!(seen, expected);
}

/// Packets of one trade summary that CME split: two trades with 2 and 3 orders, then the details.
fn split() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let first = TradeEntry { number_of_orders: 2, aggressor_side: 1, ..TRADE };
    let second = TradeEntry { number_of_orders: 3, aggressor_side: 1, price: 3, ..TRADE };
    (
        packet(|packet| packet.trade(EVENT_NS, 0, &[first, second], &[(1, 9)])),
        packet(|packet| packet.trade(EVENT_NS, 0, &[], &[(2, 9), (3, 9), (4, 5)])),
        packet(|packet| packet.trade(EVENT_NS, END_OF_EVENT, &[], &[(5, 4)])),
    )
}

#[test]
fn details_in_later_packets_find_the_trades_of_the_earlier_ones() {
    let (one, two, three) = split();
    let mut decoder = decoder();
    let mut output = Output::default();
    for payload in [&one, &two, &three] {
        deliver(&mut decoder, payload, &mut output);
    }
    assert_eq!(output.malformed, []);
    let seen: Vec<_> = output.ticks.iter().map(|tick| (tick.action, tick.order_id, tick.price)).collect();
    let expected = [
        (Action::Trade, 1, TRADE.price),
        (Action::Trade, 0, 3),
        (Action::Fill, 2, TRADE.price),
        (Action::Fill, 4, 3),
        (Action::Fill, 5, 3),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn details_whose_trades_were_lost_are_refused_and_do_not_stick_to_another_event() {
    let (one, two, _) = split();
    let output = decoded(&two);
    assert_eq!((output.ticks.len(), output.malformed.len()), (0, 1));

    let mut decoder = decoder();
    let mut output = Output::default();
    deliver(&mut decoder, &one, &mut output);
    let later = TradeEntry { number_of_orders: 1, price: 8, ..TRADE };
    let other_event = packet(|packet| packet.trade(EVENT_NS + 1, END_OF_EVENT, &[later], &[(77, 9)]));
    let before = output.ticks.len();
    deliver(&mut decoder, &other_event, &mut output);
    assert_eq!(output.malformed, []);
    let seen: Vec<_> =
        output.ticks[before..].iter().map(|tick| (tick.action, tick.order_id, tick.price)).collect();
    assert_eq!(seen, [(Action::Trade, 0, 8), (Action::Fill, 77, 8)]);
}

#[test]
fn more_open_trades_than_can_wait_have_their_details_refused_not_mixed_up() {
    let mut decoder = decoder();
    let mut output = Output::default();
    let trades = [TradeEntry { number_of_orders: 1, ..TRADE }; 200];
    let opening = packet(|packet| packet.trade(EVENT_NS, 0, &trades, &[]));
    for _ in 0..6 {
        deliver(&mut decoder, &opening, &mut output);
    }
    let before = output.ticks.len();
    assert_eq!(before, 1_200);
    deliver(&mut decoder, &packet(|packet| packet.trade(EVENT_NS, 0, &[], &[(1, 9)])), &mut output);
    assert_eq!((output.ticks.len(), output.malformed.len()), (before, 1));
}

#[test]
fn a_corrected_or_busted_trade_is_no_trade() {
    for update_action in [1, 2] {
        let entry: &[(&str, Value<'_>)] = &[
            ("MDEntryPx", Value::Int(5)),
            ("MDEntrySize", Value::Int(6)),
            ("SecurityID", Value::Int(42)),
            ("MDUpdateAction", Value::UInt(update_action)),
        ];
        let payload = packet(|packet| raw(packet, 48, &ROOT, &[entry]));
        assert_eq!(shorts(&ticks(&payload)), [(Action::None, Side::None, 0, 6, 5)]);
    }
}

#[test]
fn a_trade_that_is_refused_takes_its_details_with_it() {
    let trades = [
        TradeEntry { number_of_orders: 2, security_id: -1, ..TRADE },
        TradeEntry { number_of_orders: 1, ..TRADE },
    ];
    let payload = packet(|packet| packet.trade(EVENT_NS, END_OF_EVENT, &trades, &[(1, 9), (2, 9), (3, 9)]));
    let output = decoded(&payload);
    assert_eq!(output.malformed.len(), 1);
    let seen: Vec<_> = output.ticks.iter().map(|tick| (tick.action, tick.order_id)).collect();
    assert_eq!(seen, [(Action::Trade, 0), (Action::Fill, 3)]);
}
