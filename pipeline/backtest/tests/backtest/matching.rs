//! The rules of the recorded market, each by a case that was worked out by hand.

use crate::field::{Field, tick};
use backtest::document::QueueModel::{BehindAll, ByOrder, Proportional};
use bus::{OrderSide, ReportKind, TimeInForce};
use tick::{Action, Flags, Side, Tick};

const NOTHING: [&str; 0] = [];

/// Bids 5@100 (orders 1 and 2: 2 and 3) and 4@99, asks 6@102 (orders 11 and 12: 2 and 4) and 5@103.
fn stocked(mut field: Field) -> Field {
    for (id, side, price, size) in [
        (1, Side::Bid, 100, 2),
        (2, Side::Bid, 100, 3),
        (3, Side::Bid, 99, 4),
        (11, Side::Ask, 102, 2),
        (12, Side::Ask, 102, 4),
        (13, Side::Ask, 103, 5),
    ] {
        field.add(id, side, price, size);
    }
    field
}

#[test]
fn an_order_is_behind_those_that_were_there_and_before_those_that_came_later() {
    let mut field = stocked(Field::new(ByOrder));
    assert_eq!(field.new_order("a", OrderSide::Buy, 4, 100), NOTHING);
    field.add(4, Side::Bid, 100, 9);
    // Those ahead trade: not ours.
    assert_eq!(field.filled(1, Side::Bid, 100, 2), NOTHING);
    assert_eq!(field.filled(2, Side::Bid, 100, 1), NOTHING);
    // One that came later trades 3: we were before it.
    assert_eq!(field.filled(4, Side::Bid, 100, 3), ["a maker 3@100 leaves 1"]);
    assert_eq!(field.filled(4, Side::Bid, 100, 3), ["a maker 1@100 leaves 0"]);
    assert_eq!(field.filled(4, Side::Bid, 100, 3), NOTHING);
}

#[test]
fn a_trade_at_a_worse_price_reaches_every_better_order_in_order_of_price_then_time() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 2, 100);
    field.new_order("b", OrderSide::Buy, 2, 101);
    field.new_order("c", OrderSide::Buy, 2, 100);
    assert_eq!(
        field.filled(3, Side::Bid, 99, 4).as_slice(),
        ["b maker 2@101 leaves 0", "a maker 2@100 leaves 0"]
    );
    assert_eq!(field.filled(3, Side::Bid, 99, 0), NOTHING);
}

/// As CME tells it: an offer at 103 is moved to 100 and sells there. Its own fill is told while the book still has it at 103.
#[test]
fn an_order_that_was_moved_through_the_other_side_is_no_trade_with_its_old_queue() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Sell, 4, 102);
    field.new_order("b", OrderSide::Buy, 4, 101);
    let fill = |order_id, side| Tick { order_id, flags: Flags::NONE, ..tick(Action::Fill, side, 100, 2) };
    assert_eq!(field.tick(fill(13, Side::Ask)), NOTHING);
    assert_eq!(field.tick(fill(1, Side::Bid)), ["b maker 2@101 leaves 2"]);
}

#[test]
fn an_order_ahead_that_gives_up_its_place_is_behind_and_one_that_shrinks_is_not() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 9, 100);
    field.modify(1, Side::Bid, 100, 1);
    assert_eq!(field.filled(1, Side::Bid, 100, 1), NOTHING);
    field.modify(2, Side::Bid, 100, 8);
    assert_eq!(field.filled(2, Side::Bid, 100, 2), ["a maker 2@100 leaves 7"]);
    // Away and back: at the end.
    field.modify(3, Side::Bid, 100, 4);
    assert_eq!(field.filled(3, Side::Bid, 100, 4), ["a maker 4@100 leaves 3"]);
}

#[test]
fn an_order_that_crosses_takes_level_by_level_and_rests_with_what_is_left() {
    let mut field = stocked(Field::new(ByOrder));
    assert_eq!(field.new_order("a", OrderSide::Buy, 9, 102), ["a taker 6@102 leaves 3"]);
    assert_eq!(
        field.send("b", OrderSide::Buy, 9, Some(103), TimeInForce::ImmediateOrCancel),
        ["b taker 5@103 leaves 4", "b cancelled ioc leaves 0"],
        "what `a` took is not there any more"
    );
    // Somebody sells down to 100: he meets `a` at 102 first.
    assert_eq!(field.filled(1, Side::Bid, 100, 2), ["a maker 2@102 leaves 1"]);
}

#[test]
fn a_market_order_takes_any_price_and_does_not_rest() {
    let mut field = stocked(Field::new(ByOrder));
    assert_eq!(
        field.send("a", OrderSide::Sell, 12, None, TimeInForce::Day),
        ["a taker 5@100 leaves 7", "a taker 4@99 leaves 3", "a cancelled ioc leaves 0"]
    );
}

#[test]
fn what_was_taken_stays_taken_until_the_record_takes_it_off() {
    let mut field = stocked(Field::new(ByOrder));
    let ioc = TimeInForce::ImmediateOrCancel;
    assert_eq!(field.send("a", OrderSide::Buy, 3, Some(102), ioc), ["a taker 3@102 leaves 0"]);
    // Order 11 (2) is taken whole, 1 of order 12 (4). The record takes 2 off order 12: 2 are displayed, of which 1 is ours.
    field.cancel(12, Side::Ask, 102, 2);
    assert_eq!(
        field.send("b", OrderSide::Buy, 3, Some(102), ioc),
        ["b taker 1@102 leaves 2", "b cancelled ioc leaves 0"]
    );
    // A new order is a new one, also by the same number.
    field.cancel(12, Side::Ask, 102, 2);
    field.add(12, Side::Ask, 102, 1);
    assert_eq!(
        field.send("c", OrderSide::Buy, 3, Some(102), ioc),
        ["c taker 1@102 leaves 2", "c cancelled ioc leaves 0"]
    );
}

#[test]
fn what_comes_to_stand_at_our_price_or_through_it_trades_with_us_at_our_price() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 3, 101);
    field.new_order("b", OrderSide::Buy, 3, 101);
    // An offer of 4 comes at 101: in the record it rests, here it would have met `a`, then `b`.
    assert_eq!(field.add(21, Side::Ask, 101, 4), ["a maker 3@101 leaves 0", "b maker 1@101 leaves 2"]);
    // It is used up.
    assert_eq!(field.add(22, Side::Ask, 103, 1), NOTHING);
    assert_eq!(
        field.send("c", OrderSide::Buy, 1, Some(101), TimeInForce::ImmediateOrCancel),
        ["c cancelled ioc leaves 0"]
    );
}

#[test]
fn only_trades_move_an_order_forward_that_is_behind_all() {
    let mut field = Field::by_price(BehindAll);
    field.level(Side::Bid, 100, 10);
    field.level(Side::Ask, 102, 10);
    field.new_order("a", OrderSide::Buy, 4, 100);
    // 3 are cancelled and 2 join: 9 rest, of which by this model 9 are ahead.
    field.level(Side::Bid, 100, 7);
    field.level(Side::Bid, 100, 9);
    assert_eq!(field.traded(Side::Bid, 100, 6), NOTHING);
    field.level(Side::Bid, 100, 3);
    // 7 were ahead (never more than rests), 6 traded: 1 is ahead.
    assert_eq!(field.traded(Side::Bid, 100, 3), ["a maker 2@100 leaves 2"]);
    assert_eq!(field.traded(Side::Bid, 99, 1), ["a maker 1@100 leaves 1"]);
}

#[test]
fn cancels_move_a_proportional_order_by_what_is_ahead_of_the_whole() {
    let mut field = Field::by_price(Proportional);
    field.level(Side::Bid, 100, 10);
    field.level(Side::Ask, 102, 10);
    field.new_order("a", OrderSide::Buy, 4, 100);
    field.level(Side::Bid, 100, 20); // 10 of 20 are ahead.
    field.level(Side::Bid, 100, 15); // 5 cancelled: 2.5, so 2, of them were ahead; 8 of 15.
    assert_eq!(field.traded(Side::Bid, 100, 6), NOTHING); // 2 ahead.
    field.level(Side::Bid, 100, 9); // By that trade alone: 2 of 9.
    field.level(Side::Bid, 100, 3); // 6 cancelled, 6 · 2 ⁄ 9 = 1.3, so 1 of them ahead: 1 of 3.
    assert_eq!(field.traded(Side::Bid, 100, 3), ["a maker 2@100 leaves 2"]);
}

#[test]
fn two_own_orders_at_a_price_share_one_trade() {
    let mut field = Field::by_price(BehindAll);
    field.level(Side::Ask, 102, 4);
    field.new_order("a", OrderSide::Sell, 3, 102);
    field.level(Side::Ask, 102, 6);
    field.new_order("b", OrderSide::Sell, 3, 102);
    // 10 trade: 4 recorded ones, 3 of `a`, 2 recorded ones, 1 of `b`.
    assert_eq!(field.traded(Side::Ask, 102, 10), ["a maker 3@102 leaves 0", "b maker 1@102 leaves 2"]);
}

#[test]
fn a_level_that_was_taken_has_so_much_less_until_it_shrinks() {
    let mut field = Field::by_price(BehindAll);
    field.level(Side::Ask, 102, 5);
    let ioc = TimeInForce::ImmediateOrCancel;
    assert_eq!(field.send("a", OrderSide::Buy, 3, Some(102), ioc), ["a taker 3@102 leaves 0"]);
    field.level(Side::Ask, 102, 7);
    assert_eq!(
        field.send("b", OrderSide::Buy, 9, Some(102), ioc),
        ["b taker 4@102 leaves 5", "b cancelled ioc leaves 0"]
    );
    field.level(Side::Ask, 102, 0);
    field.level(Side::Ask, 102, 2);
    assert_eq!(
        field.send("c", OrderSide::Buy, 9, Some(102), ioc),
        ["c taker 2@102 leaves 7", "c cancelled ioc leaves 0"]
    );
}

#[test]
fn a_replacement_keeps_its_place_only_when_nothing_but_the_quantity_goes_down() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 4, 100);
    field.add(4, Side::Bid, 100, 9);
    assert_eq!(field.replace("b", "a", 2, 100), ["b replaced of a leaves 2"]);
    assert_eq!(field.filled(4, Side::Bid, 100, 1), ["b maker 1@100 leaves 1"], "still before order 4");
    assert_eq!(field.replace("c", "b", 5, 100), ["c replaced of b leaves 4"], "what was filled counts");
    assert_eq!(field.filled(4, Side::Bid, 100, 1), NOTHING, "now behind order 4");
    assert_eq!(field.replace("d", "c", 5, 102), ["d replaced of c leaves 4", "d taker 4@102 leaves 0"]);
}

#[test]
fn races_are_lost_by_who_comes_too_late() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 2, 101);
    assert_eq!(field.filled(1, Side::Bid, 100, 2), ["a maker 2@101 leaves 0"]);
    assert_eq!(field.cancel_order("x", "a"), ["x cancel_rejected of a too_late leaves 0"]);
    assert_eq!(field.replace("y", "a", 5, 101), ["y rejected of a too_late leaves 0"]);
    // A replacement that asks for no more than is filled ends the order.
    field.new_order("b", OrderSide::Buy, 4, 101);
    assert_eq!(field.filled(2, Side::Bid, 100, 1), ["b maker 1@101 leaves 3"]);
    assert_eq!(
        field.replace("c", "b", 1, 101),
        ["c replaced of b leaves 0", "c cancelled nothing_open leaves 0"]
    );
    // A cancel that names the order that was replaced meanwhile is about the one in its place.
    field.new_order("d", OrderSide::Buy, 4, 99);
    field.replace("e", "d", 3, 99);
    assert_eq!(field.cancel_order("z", "d"), ["z cancelled of e leaves 0"]);
}

#[test]
fn nothing_trades_in_a_halt_and_what_came_meanwhile_joins_when_trading_begins() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 4, 101);
    field.trading(false);
    assert_eq!(field.filled(1, Side::Bid, 100, 2), NOTHING);
    assert_eq!(field.new_order("b", OrderSide::Sell, 1, 100), NOTHING);
    assert_eq!(
        field.send("c", OrderSide::Buy, 1, Some(102), TimeInForce::ImmediateOrCancel),
        ["c cancelled ioc leaves 0"]
    );
    assert_eq!(field.market_counts().trades_not_trading, 1);
    assert_eq!(field.trading(true), ["b taker 1@100 leaves 0"]);
    assert_eq!(field.filled(2, Side::Bid, 100, 3), ["a maker 3@101 leaves 1"]);
}

#[test]
fn nothing_trades_in_a_bad_book_which_is_counted_and_places_are_kept() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 4, 100);
    field.gap();
    assert_eq!(field.filled(3, Side::Bid, 99, 4), NOTHING);
    assert_eq!(field.market_counts().trades_in_bad_book, 1);
    assert_eq!(field.new_order("b", OrderSide::Buy, 1, 102), NOTHING);
    // Recovered by a snapshot: orders 1 and 12 are still there, 5 is new.
    let begin = Tick { flags: Flags::SNAPSHOT, ..tick(Action::Clear, Side::None, i64::MAX, 0) };
    assert_eq!(field.tick(begin), NOTHING);
    for (order_id, side, price, size, last) in
        [(1, Side::Bid, 100, 2, false), (5, Side::Bid, 100, 1, false), (12, Side::Ask, 102, 4, true)]
    {
        let flags = if last { Flags::SNAPSHOT | Flags::LAST } else { Flags::SNAPSHOT };
        let words = field.tick(Tick { order_id, flags, ..tick(Action::Add, side, price, size) });
        let expected: &[&str] = if last { &["b taker 1@102 leaves 0"] } else { &[] };
        assert_eq!(words, expected, "b came when nothing was known; it takes now");
    }
    assert_eq!(field.filled(1, Side::Bid, 100, 2), NOTHING, "order 1 is still ahead");
    assert_eq!(field.filled(5, Side::Bid, 100, 1), ["a maker 1@100 leaves 3"], "order 5 came later");
}

#[test]
fn the_end_cancels_what_is_open_and_reports_are_numbered_without_a_hole() {
    let mut field = stocked(Field::new(ByOrder));
    field.new_order("a", OrderSide::Buy, 4, 100);
    field.new_order("b", OrderSide::SellShort, 4, 103);
    assert_eq!(field.close(), ["a cancelled end leaves 0", "b cancelled end leaves 0"]);
    let numbers: Vec<u64> = field.told.iter().map(|told| told.report.number).collect();
    assert_eq!(numbers, (1..=6).collect::<Vec<_>>());
    let kinds: Vec<ReportKind> = field.told.iter().map(|told| told.report.kind).take(2).collect();
    assert_eq!(kinds, [ReportKind::Sent, ReportKind::Accepted]);
    assert!(field.told.iter().all(|told| told.report.cause_ns == 5 && told.report.strategy == "s"));
}

#[test]
fn an_order_is_rejected_when_places_are_counted_by_orders_and_the_feed_has_none() {
    let mut field = Field::by_price(ByOrder);
    field.level(Side::Bid, 100, 1);
    assert_eq!(field.new_order("a", OrderSide::Buy, 4, 102), ["a rejected queue_model leaves 0"]);
}
