//! OUCH 5.0: what each message comes to.

use crate::support::{
    MS, Room, cancel, disable, enable, enter, enter_this, mass_cancel, message, modify, order, query,
    replace, users,
};
use venue::exchange::{
    EngineConfig, ExchangeSpec, OrderKind, Owner, SelfMatch, Side, SymbolId, TradingState,
};
use venue::order_entry::User;
use wire::ouch50::{Appendage, AppendageWriter, Inbound, Price, Tag};

const NOTHING: [&str; 0] = [];

#[test]
fn an_order_is_accepted_executed_in_parts_and_cancelled() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    assert_eq!(room.ask(alice, &enter(1, 'B', 100, 2_000)), ["accepted 1 B 100 @20.00 0YPL c1"]);
    let heard = room.ask(bob, &enter(7, 'S', 30, 1_990));
    assert_eq!(heard, ["accepted 7 S 30 @19.90 0YPL c7", "executed 7 30 @20.00 R"]);
    assert_eq!(room.hear(alice), ["executed 1 30 @20.00 A"]);
    assert_eq!(room.ask(alice, &cancel(1, 0)), ["canceled 1 70 U"]);
    let (alice, bob) = (room.ledger(0), room.ledger(1));
    assert_eq!((alice.total.position, alice.total.cash), (30, -30 * 200_000));
    assert_eq!((bob.total.position, bob.total.cash), (-30, 30 * 200_000));
    assert_eq!((alice.symbols[&0].orders.shares_cancelled, alice.symbols[&0].position), (70, 30));
}

#[test]
fn a_number_that_is_not_above_the_last_is_ignored_whatever_carries_it() {
    let mut room = Room::new();
    let alice = room.alice();
    room.ask(alice, &enter(5, 'B', 100, 2_000));
    for again in [
        enter(5, 'B', 100, 2_000),
        enter(4, 'S', 1, 2_000),
        enter(0, 'B', 1, 2_000),
        replace(5, 5, 200, 2_100),
        replace(5, 3, 200, 2_100),
        mass_cancel(5, b"ALIC", b"        ", Appendage::ABSENT),
        disable(2, b"ALIC"),
    ] {
        assert_eq!(room.ask(alice, &again), NOTHING);
    }
    assert_eq!(room.ask(alice, &query()), ["next 6"]);
    assert_eq!(room.exchange.engine().resting(), 1);
    let ledger = room.ledger(0);
    assert_eq!((ledger.user_ref_nums_repeated, ledger.total.orders.entered), (7, 1));
    assert_eq!(ledger.cl_ord_ids_repeated, 2, "c5 of the order and of the replacement");
    assert_eq!(room.ask(alice, &enter(u32::MAX, 'B', 1, 2_000)).len(), 1);
    assert_eq!(room.ask(alice, &enter(u32::MAX, 'B', 1, 2_000)), NOTHING);
}

#[test]
fn numbers_are_each_users_own_and_outlive_a_connection() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    assert_eq!(room.ask(alice, &enter(9, 'B', 1, 100)).len(), 1);
    assert_eq!(room.ask(bob, &enter(9, 'B', 1, 100)).len(), 1);
    room.lose(alice);
    let alice = room.alice();
    assert_eq!(room.ask(alice, &enter(9, 'B', 1, 100)), NOTHING);
    assert_eq!(room.ask(alice, &query()), ["next 10"]);
    assert_eq!(room.ask(bob, &cancel(10, 0)), NOTHING, "of others' orders nothing is said");
}

#[test]
fn a_refused_order_uses_its_number_and_has_a_reason() {
    let mut room = Room::new();
    let alice = room.alice();
    let mut number = 0;
    let mut refused = |change: &dyn Fn(&mut wire::ouch50::EnterOrder)| {
        number += 1;
        let mut order = order(number, 'B', 100, 2_000);
        change(&mut order);
        let heard = room.ask(alice, &enter_this(&order));
        let reason = heard.concat();
        reason.strip_prefix(&format!("rejected {number} ")).unwrap().to_owned()
    };
    assert_eq!(refused(&|order| order.side = b'X'), "invalid side");
    assert_eq!(refused(&|order| order.quantity = 0.into()), "invalid quantity");
    assert_eq!(refused(&|order| order.quantity = 1_000_000.into()), "invalid quantity");
    assert_eq!(refused(&|order| order.symbol = *b"NONE    "), "invalid symbol");
    assert_eq!(refused(&|order| order.price = Price::new(0)), "invalid price");
    assert_eq!(refused(&|order| order.price = Price::new(1_999_999_901)), "invalid price");
    assert_eq!(refused(&|order| order.price = Price::new(u64::MAX)), "invalid price");
    assert_eq!(refused(&|order| order.price = Price::new(200_001)), "invalid price");
    assert_eq!(refused(&|order| order.time_in_force = b'6'), "other");
    assert_eq!(refused(&|order| order.display = b'N'), "invalid display");
    assert_eq!(refused(&|order| order.capacity = b'?'), "other");
    assert_eq!(refused(&|order| order.intermarket_sweep = b'?'), "other");
    assert_eq!(refused(&|order| order.cross_type = b'O'), "invalid cross order");
    assert_eq!(room.ask(alice, &query()), [format!("next {}", number + 1)]);
    let orders = &room.ledger(0).total.orders;
    assert_eq!((orders.entered, orders.rejected.values().sum::<u64>()), (13, 13));
    assert_eq!((orders.rejected["invalid price"], orders.accepted), (4, 0));
    assert_eq!(room.ledger(0).symbols[&0].orders.entered, 12, "the unknown symbol is nobody's");
}

#[test]
fn options_that_change_how_an_order_trades_are_refused_and_the_others_are_carried() {
    let mut room = Room::new();
    let alice = room.alice();
    let mut number = 0;
    let mut with = |tag: Tag<'_>| {
        number += 1;
        let mut buffer = [0; 64];
        let mut writer = AppendageWriter::new(&mut buffer);
        writer.push(tag).unwrap();
        let order = order(number, 'B', 100, 2_000);
        let heard = room.ask(alice, &message(Inbound::EnterOrder(&order), writer.finish()));
        heard.concat().replace(&format!(" {number} "), " ")
    };
    assert_eq!(with(Tag::MinQty(100)), "rejected invalid minimum quantity");
    assert_eq!(with(Tag::MaxFloor(10)), "rejected invalid max floor");
    assert_eq!(with(Tag::PriceType(b'M')), "rejected pegging not allowed");
    assert_eq!(with(Tag::PegOffset(-100)), "rejected pegging not allowed");
    assert_eq!(with(Tag::PostOnly(b'P')), "rejected other");
    assert_eq!(with(Tag::Route(*b"SCAN")), "rejected routing not allowed");
    assert_eq!(with(Tag::Firm(*b"EVIL")), "rejected firm not authorized");
    assert_eq!(with(Tag::UserRefIdx(1)), "", "a count of its own, which is not kept");
    for carried in [
        Tag::MinQty(0),
        Tag::PriceType(b'L'),
        Tag::Firm(*b"ALIC"),
        Tag::UserRefIdx(0),
        Tag::GroupId(3),
        Tag::Unknown { number: 200, value: b"later" },
    ] {
        assert!(with(carried).starts_with("accepted"), "{carried:?}");
    }
}

#[test]
fn immediate_and_market_orders_take_what_is_there_and_the_rest_is_cancelled() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(alice, &enter(1, 'S', 50, 2_000));
    room.ask(alice, &enter(2, 'S', 50, 2_010));
    let ioc = wire::ouch50::EnterOrder { time_in_force: b'3', ..order(1, 'B', 80, 2_000) };
    let heard = room.ask(bob, &enter_this(&ioc));
    assert_eq!(heard, ["accepted 1 B 80 @20.00 3YPL c1", "executed 1 50 @20.00 R", "canceled 1 30 I"]);
    let market = wire::ouch50::EnterOrder { price: Price::MARKET, ..order(2, 'B', 80, 0) };
    let heard = room.ask(bob, &enter_this(&market));
    assert_eq!(heard, ["accepted 2 B 80 @214748.36 0YPL c2", "executed 2 50 @20.10 R", "canceled 2 30 I"]);
    assert_eq!(room.exchange.engine().resting(), 0);
}

#[test]
fn the_quantity_of_a_replacement_counts_what_was_executed() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    room.ask(bob, &enter(1, 'S', 30, 2_000));
    room.hear(alice);
    assert_eq!(room.ask(alice, &replace(1, 2, 150, 2_010)), ["replaced 1>2 B 120 @20.10"]);
    room.ask(bob, &enter(2, 'S', 20, 2_010));
    assert_eq!(room.hear(alice), ["executed 2 20 @20.10 A"]);
    // 50 of the chain are executed by now.
    assert_eq!(room.ask(alice, &replace(2, 3, 51, 2_010)), ["replaced 2>3 B 1 @20.10"]);
    assert_eq!(room.ask(alice, &cancel(2, 0)), NOTHING, "2 is gone");
    assert_eq!(room.ask(alice, &cancel(3, 51)), NOTHING, "all of 51 are to stay");
    assert_eq!(room.ask(alice, &cancel(3, 50)), ["canceled 3 1 U"]);
    assert_eq!(room.ledger(0).total.orders.replaced, 2);
}

#[test]
fn a_replacement_of_an_order_that_does_not_live_is_ignored_and_its_number_is_free() {
    let mut room = Room::new();
    let alice = room.alice();
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    room.ask(alice, &cancel(1, 0));
    assert_eq!(room.ask(alice, &replace(1, 2, 100, 2_000)), NOTHING);
    assert_eq!(room.ask(alice, &replace(77, 2, 100, 2_000)), NOTHING);
    assert_eq!(room.ask(alice, &query()), ["next 2"]);
    assert_eq!(room.ledger(0).ignored["replacement of an order that does not live"], 2);
}

#[test]
fn an_invalid_replacement_cancels_its_order_and_its_number_is_free() {
    for (case, (shares, units, time_in_force)) in [
        (0, 200_000, b'0'),
        (1_000_000, 200_000, b'0'),
        (30, 200_000, b'0'),
        (100, 0, b'0'),
        (100, 200_001, b'0'),
        (100, Price::MARKET.units(), b'0'),
        (100, 200_000, b'3'),
    ]
    .into_iter()
    .enumerate()
    {
        let mut room = Room::new();
        let (alice, bob) = (room.alice(), room.bob());
        room.ask(alice, &enter(1, 'B', 100, 2_000));
        room.ask(bob, &enter(1, 'S', 30, 2_000));
        room.hear(alice);
        let wanted = wire::ouch50::ReplaceOrder {
            orig_user_ref_num: 1.into(),
            user_ref_num: 2.into(),
            quantity: shares.into(),
            price: Price::new(units),
            time_in_force,
            display: b'Y',
            intermarket_sweep: b'N',
            cl_ord_id: [b' '; 14],
        };
        let heard = room.ask(alice, &message(Inbound::ReplaceOrder(&wanted), Appendage::ABSENT));
        assert_eq!(heard, ["canceled 1 70 U"], "case {case}");
        assert_eq!(room.ask(alice, &query()), ["next 2"], "case {case}");
    }
}

#[test]
fn a_replacement_that_cannot_be_now_is_refused_and_its_order_stays() {
    let mut room = Room::new();
    let alice = room.alice();
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    room.exchange.set_state(room.now_ns, SymbolId(0), TradingState::Halted).unwrap();
    assert_eq!(room.ask(alice, &replace(1, 2, 100, 2_010)), ["rejected 2 halted"]);
    assert_eq!(room.ask(alice, &enter(3, 'B', 100, 2_000)), ["rejected 3 halted"]);
    assert_eq!(room.ask(alice, &cancel(1, 40)), ["canceled 1 60 U"], "cancels pass");
    assert_eq!(room.ask(alice, &query()), ["next 4"]);
}

#[test]
fn a_replacement_trades_at_once_when_it_crosses() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(bob, &enter(1, 'S', 60, 2_010));
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    let heard = room.ask(alice, &replace(1, 2, 100, 2_010));
    assert_eq!(heard, ["replaced 1>2 B 100 @20.10", "executed 2 60 @20.10 R"]);
    assert_eq!(room.ask(alice, &cancel(2, 0)), ["canceled 2 40 U"]);
}

#[test]
fn a_cancel_says_how_many_shares_are_to_be_in_all_and_a_superfluous_one_is_ignored() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    room.ask(bob, &enter(1, 'S', 30, 2_000));
    room.hear(alice);
    assert_eq!(room.ask(alice, &cancel(1, 100)), NOTHING);
    assert_eq!(room.ask(alice, &cancel(1, 80)), ["canceled 1 20 U"]);
    assert_eq!(room.ask(alice, &cancel(1, 80)), NOTHING);
    assert_eq!(room.ask(alice, &cancel(1, 10)), ["canceled 1 50 U"], "fewer than were executed: all of it");
    assert_eq!(room.ask(alice, &cancel(1, 0)), NOTHING);
    assert_eq!(room.ledger(0).ignored["cancel of an order that does not live"], 1);
}

#[test]
fn a_modification_keeps_the_place_and_changes_the_kind_of_sale() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(alice, &enter(1, 'S', 100, 2_000));
    room.ask(bob, &enter(1, 'S', 100, 2_000));
    assert_eq!(room.ask(alice, &modify(1, 'T', 60)), ["modified 1 T 60"]);
    assert_eq!(room.ask(alice, &modify(1, 'E', 60)), ["modified 1 E 60"]);
    for ignored in
        [modify(1, 'B', 60), modify(1, 'E', 60), modify(1, 'E', 70), modify(1, '?', 9), modify(9, 'S', 1)]
    {
        assert_eq!(room.ask(alice, &ignored), NOTHING);
    }
    room.ask(bob, &enter(2, 'B', 60, 2_000));
    assert_eq!(room.hear(alice), ["executed 1 60 @20.00 A"], "it was first and stayed so");
    room.ask(alice, &enter(2, 'T', 10, 2_500));
    assert_eq!(room.ask(alice, &modify(2, 'T', 0)), ["canceled 2 10 U"]);
}

#[test]
fn short_sales_are_sales() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    assert_eq!(room.ask(alice, &enter(1, 'T', 10, 2_000)), ["accepted 1 T 10 @20.00 0YPL c1"]);
    assert_eq!(room.ask(alice, &enter(2, 'E', 10, 2_000)), ["accepted 2 E 10 @20.00 0YPL c2"]);
    room.ask(bob, &enter(1, 'B', 20, 2_000));
    assert_eq!(room.hear(alice), ["executed 1 10 @20.00 A", "executed 2 10 @20.00 A"]);
    assert_eq!(room.ledger(0).total.position, -20);
}

#[test]
fn a_mass_cancel_is_of_the_users_own_orders_by_symbol_side_or_group() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    let narrowed = |number: u32, tag: Tag<'_>| {
        let mut buffer = [0; 16];
        let mut writer = AppendageWriter::new(&mut buffer);
        writer.push(tag).unwrap();
        mass_cancel(number, b"ALIC", b"        ", writer.finish())
    };
    room.ask(bob, &enter(1, 'B', 10, 1_000));
    for number in 1..=4 {
        room.ask(
            alice,
            &enter(number, if number % 2 == 0 { 'B' } else { 'S' }, 10, 1_000 + u64::from(number % 2)),
        );
    }
    let other = wire::ouch50::EnterOrder { symbol: *b"S2      ", ..order(5, 'B', 10, 1_000) };
    room.ask(alice, &enter_this(&other));
    let mut grouped = [0; 16];
    let mut writer = AppendageWriter::new(&mut grouped);
    writer.push(Tag::GroupId(7)).unwrap();
    room.ask(alice, &message(Inbound::EnterOrder(&order(6, 'B', 10, 900)), writer.finish()));
    let by_group = narrowed(7, Tag::GroupId(7));
    assert_eq!(room.ask(alice, &by_group), ["mass cancel 7", "canceled 6 10 U"]);
    let by_side = narrowed(8, Tag::Side(b'S'));
    assert_eq!(room.ask(alice, &by_side), ["mass cancel 8", "canceled 1 10 U", "canceled 3 10 U"]);
    let by_symbol = mass_cancel(9, b"ALIC", b"S2      ", Appendage::ABSENT);
    assert_eq!(room.ask(alice, &by_symbol), ["mass cancel 9", "canceled 5 10 U"]);
    let wrong = mass_cancel(10, b"BOB ", b"        ", Appendage::ABSENT);
    assert_eq!(room.ask(alice, &wrong), ["rejected 10 firm not authorized"]);
    let unknown = mass_cancel(11, b"ALIC", b"NONE    ", Appendage::ABSENT);
    assert_eq!(room.ask(alice, &unknown), ["rejected 11 invalid symbol"]);
    let all = mass_cancel(12, b"ALIC", b"        ", Appendage::ABSENT);
    assert_eq!(room.ask(alice, &all), ["mass cancel 12", "canceled 2 10 U", "canceled 4 10 U"]);
    assert_eq!(room.exchange.engine().resting(), 1, "bob's");
}

#[test]
fn a_firm_that_is_disabled_enters_nothing_until_it_is_enabled_and_may_cancel() {
    let mut room = Room::new();
    let alice = room.alice();
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    assert_eq!(room.ask(alice, &disable(2, b"EVIL")), ["rejected 2 firm not authorized"]);
    assert_eq!(room.ask(alice, &disable(3, b"ALIC")), ["disabled 3"]);
    assert_eq!(room.ask(alice, &enter(4, 'B', 100, 2_000)), ["rejected 4 firm not authorized"]);
    assert_eq!(room.ask(alice, &replace(1, 5, 200, 2_000)), ["rejected 5 firm not authorized"]);
    assert_eq!(room.ask(alice, &cancel(1, 40)), ["canceled 1 60 U"]);
    assert_eq!(room.ask(alice, &enable(6, b"ALIC")), ["enabled 6"]);
    assert_eq!(room.ask(alice, &enter(7, 'B', 100, 2_000)).len(), 1);
}

#[test]
fn a_malformed_message_in_a_good_packet_is_counted_and_the_next_one_is_dealt_with() {
    let mut room = Room::new();
    let alice = room.alice();
    let good = enter(1, 'B', 100, 2_000);
    for bad in [&b""[..], b"?", b"O", &good[..20], &[&good[..], b"x"].concat()[..]] {
        assert_eq!(room.ask(alice, bad), NOTHING);
    }
    assert_eq!(room.ask(alice, &good).len(), 1);
    assert_eq!(room.ledger(0).ignored["malformed"], 5);
}

#[test]
fn a_lost_connection_cancels_the_orders_of_who_wants_it_and_of_nobody_else() {
    let users = users();
    let users = [User { cancel_on_disconnect: true, ..users[0].clone() }, users[1].clone()];
    let mut room = Room::with(&users, EngineConfig::default());
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    room.ask(bob, &enter(1, 'B', 100, 2_000));
    room.lose(alice);
    room.lose(bob);
    assert_eq!(room.exchange.engine().resting(), 1);
    assert_eq!(room.login("alice", "secret", 3).1, ["login 3", "canceled 1 100 Z"]);
    assert_eq!(room.login("bob", "hidden", 3).1, ["login 3"]);
}

#[test]
fn a_prevented_self_match_is_told_with_what_would_have_traded() {
    let engine = |self_match| EngineConfig { self_match: Some(self_match), ..EngineConfig::default() };
    let mut room = Room::with(&users(), engine(SelfMatch::CancelResting));
    let alice = room.alice();
    room.ask(alice, &enter(1, 'S', 100, 2_000));
    let heard = room.ask(alice, &enter(2, 'B', 30, 2_010));
    assert_eq!(heard, ["accepted 2 B 30 @20.10 0YPL c2", "aiq 1 100 prevented 30 @20.00 A"]);
    let mut room = Room::with(&users(), engine(SelfMatch::CancelIncoming));
    let alice = room.alice();
    room.ask(alice, &enter(1, 'S', 100, 2_000));
    let heard = room.ask(alice, &enter(2, 'B', 130, 2_010));
    assert_eq!(heard, ["accepted 2 B 130 @20.10 0YPL c2", "aiq 2 130 prevented 100 @20.00 R"]);
    assert_eq!(room.ledger(0).total.orders.shares_cancelled, 130);
}

#[test]
fn before_the_open_only_day_orders_are_taken() {
    let users = users();
    let spec = ExchangeSpec { flow: None, ..ExchangeSpec::new(1, 1) };
    let mut room = Room::new();
    room.exchange = venue::exchange::Exchange::new(&spec).unwrap();
    room.desk = venue::order_entry::Desk::new(&users, 0);
    room.now_ns = MS;
    let (alice, bob) = (room.alice(), room.bob());
    let ioc = wire::ouch50::EnterOrder { time_in_force: b'3', ..order(1, 'B', 80, 2_000) };
    assert_eq!(room.ask(alice, &enter_this(&ioc)), ["rejected 1 destination closed"]);
    assert_eq!(room.ask(alice, &enter(2, 'B', 80, 2_010)).len(), 1);
    assert_eq!(room.ask(bob, &enter(1, 'S', 80, 2_000)).len(), 1, "crossed, and nothing happens");
    room.pass(20 * MS);
    assert_eq!(room.hear(alice), ["executed 2 80 @20.10 A"]);
    assert_eq!(room.hear(bob), ["executed 1 80 @20.10 R"]);
}

#[test]
fn what_happened_before_a_message_is_told_before_its_answer() {
    let mut room = Room::new();
    let alice = room.alice();
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    // Somebody who is not a user trades with it; nothing of it was told yet.
    let order = venue::exchange::NewOrder {
        owner: Owner::Background,
        token: 0,
        symbol: SymbolId(0),
        side: Side::Sell,
        shares: 40,
        kind: OrderKind::Market,
    };
    room.exchange.enter(room.now_ns, &order).unwrap();
    let heard = room.ask(alice, &replace(1, 2, 100, 2_000));
    assert_eq!(heard, ["executed 1 40 @20.00 A", "replaced 1>2 B 60 @20.00"]);
}
