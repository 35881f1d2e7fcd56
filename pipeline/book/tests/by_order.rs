//! The book by order: what each tick does to levels, queues and trades.

mod support;

use book::{Applied, Book, BookState, Books, Level, Limits, Refusal, Trade, Why};
use support::{INSTRUMENT, UNIT, add, cancel, clear, modify, tick};
use tick::{Action, Flags, Side, Tick};

const BID: Side = Side::Bid;
const ASK: Side = Side::Ask;

fn books(ticks: &[Tick]) -> Books {
    let mut books = Books::new(Limits::SMALL);
    books.apply(&clear());
    for tick in ticks {
        assert_eq!(books.apply(tick).refused, None, "{tick:?}");
    }
    books
}

fn book(books: &Books) -> Book<'_> {
    books.book(books.find(1, INSTRUMENT).expect("the instrument was seen"))
}

fn levels(books: &Books, side: Side) -> Vec<(i64, u64, u32)> {
    book(books).levels(side).map(|level| (level.price / UNIT, level.size, level.orders)).collect()
}

fn queue(books: &Books, side: Side) -> Vec<u64> {
    book(books).orders(side).map(|order| order.order_id).collect()
}

#[test]
fn orders_of_a_price_make_one_level_and_the_best_comes_first() {
    let books = books(&[
        add(BID, 1, 10, 5),
        add(BID, 2, 11, 7),
        add(BID, 3, 10, 1),
        add(ASK, 4, 13, 2),
        add(ASK, 5, 12, 3),
    ]);
    assert_eq!(levels(&books, BID), [(11, 7, 1), (10, 6, 2)]);
    assert_eq!(levels(&books, ASK), [(12, 3, 1), (13, 2, 1)]);
    assert_eq!(book(&books).best(ASK), Some(Level { price: 12 * UNIT, size: 3, orders: 1 }));
    assert_eq!(book(&books).best(Side::None), None);
    assert_eq!(book(&books).state(), BookState::Good);
}

#[test]
fn an_order_keeps_its_place_when_it_shrinks_and_loses_it_when_it_grows_or_moves() {
    let start = [add(BID, 1, 10, 5), add(BID, 2, 10, 5), add(BID, 3, 10, 5), add(BID, 4, 11, 5)];
    let after = |change: Tick| queue(&books(&[&start[..], &[change]].concat()), BID);
    assert_eq!(after(modify(BID, 1, 10, 4)), [4, 1, 2, 3]);
    assert_eq!(after(modify(BID, 1, 10, 5)), [4, 1, 2, 3]);
    assert_eq!(after(modify(BID, 1, 10, 6)), [4, 2, 3, 1]);
    assert_eq!(after(modify(BID, 1, 11, 5)), [4, 1, 2, 3]);
    assert_eq!(after(modify(BID, 2, 9, 5)), [4, 1, 3, 2]);
    assert_eq!(after(cancel(1, 2)), [4, 1, 2, 3]);
    assert_eq!(after(cancel(4, 5)), [1, 2, 3]);
    assert_eq!(after(cancel(2, Tick::SIZE_UNDEFINED)), [4, 1, 3]);
}

#[test]
fn a_modify_may_change_the_side_and_one_to_nothing_removes() {
    let moved = books(&[add(BID, 1, 10, 5), modify(ASK, 1, 12, 5)]);
    assert_eq!((levels(&moved, BID), levels(&moved, ASK)), (vec![], vec![(12, 5, 1)]));
    let gone = books(&[add(BID, 1, 10, 5), modify(BID, 1, 10, 0)]);
    assert_eq!((levels(&gone, BID), gone.orders_len(), gone.levels_len()), (vec![], 0, 0));
}

#[test]
fn a_queue_position_counts_what_is_in_front() {
    let books = books(&[add(BID, 1, 10, 5), add(BID, 2, 10, 7), add(BID, 3, 10, 1), add(BID, 9, 11, 100)]);
    let position = book(&books).queue_position(3).expect("an order");
    assert_eq!((position.orders_ahead, position.size_ahead), (2, 12));
    assert_eq!(position.level, Level { price: 10 * UNIT, size: 13, orders: 3 });
    assert_eq!(book(&books).queue_position(1).map(|position| position.size_ahead), Some(0));
    assert_eq!(book(&books).queue_position(77), None);
    assert_eq!(book(&books).order(2).map(|order| (order.price, order.size)), Some((10 * UNIT, 7)));
}

#[test]
fn the_caller_is_told_what_changed() {
    let mut books = books(&[add(BID, 1, 10, 5), add(BID, 2, 9, 5)]);
    let mut changed = |tick: Tick| {
        let applied = books.apply(&tick);
        (applied.top_changed, applied.depth_changed)
    };
    assert_eq!(changed(add(BID, 3, 8, 1)), (false, true));
    assert_eq!(changed(add(BID, 4, 10, 1)), (true, true));
    assert_eq!(changed(modify(BID, 4, 10, 1)), (false, false));
    assert_eq!(changed(cancel(3, 1)), (false, true));
    assert_eq!(changed(cancel(4, 1)), (true, true));
    assert_eq!(changed(modify(BID, 1, 7, 5)), (true, true));
    assert_eq!(changed(tick(Action::Trade, BID, 0, 10, 1)), (false, false));
}

fn trade(applied: Applied) -> Option<(i64, u32, Side)> {
    applied.trade.map(|Trade { price, size, aggressor }| (price, size, aggressor))
}

#[test]
fn a_trade_with_a_price_is_told_as_it_is_and_changes_nothing() {
    let mut books = books(&[add(BID, 1, 10, 5)]);
    assert_eq!(trade(books.apply(&tick(Action::Trade, ASK, 0, 10, 3))), Some((10 * UNIT, 3, ASK)));
    let fill = books.apply(&tick(Action::Fill, BID, 1, 10, 3));
    assert_eq!((fill.trade, fill.refused), (None, None));
    assert_eq!(levels(&books, BID), [(10, 5, 1)]);
}

/// ITCH's executed: trade without a price, fill, cancel, all of one message.
fn executed(sequence: u64, order_id: u64, size: u32) -> [Tick; 3] {
    let price = i64::MAX;
    [
        Tick { sequence, flags: Flags::NONE, ..tick(Action::Trade, Side::None, 0, price, size) },
        Tick { sequence, flags: Flags::NONE, ..tick(Action::Fill, Side::None, order_id, price, size) },
        Tick { sequence, ..cancel(order_id, size) },
    ]
}

#[test]
fn a_trade_without_a_price_has_the_price_of_the_order_filled_and_its_taker_the_other_side() {
    let mut books = books(&[add(BID, 1, 10, 5), add(ASK, 2, 12, 5)]);
    let trades = executed(5, 1, 3).map(|tick| trade(books.apply(&tick)));
    assert_eq!(trades, [None, Some((10 * UNIT, 3, ASK)), None]);
    let trades = executed(6, 2, 5).map(|tick| trade(books.apply(&tick)));
    assert_eq!(trades, [None, Some((12 * UNIT, 5, BID)), None]);
    assert_eq!((levels(&books, BID), levels(&books, ASK)), (vec![(10, 2, 1)], vec![]));
    // A fill that no trade came before prints nothing.
    let [_, fill, _] = executed(7, 1, 1);
    assert_eq!(trade(books.apply(&fill)), None);
}

#[test]
fn a_trade_whose_order_is_not_known_is_refused_by_name() {
    let mut books = books(&[add(BID, 1, 10, 5)]);
    let refused = executed(5, 77, 3).map(|tick| books.apply(&tick).refused);
    assert_eq!(refused, [None, Some(Refusal::TradeWithoutPrice), Some(Refusal::UnknownOrder)]);
    assert_eq!(book(&books).state(), BookState::Bad(Why::Contradiction));
}

#[test]
fn an_order_that_replaces_another_has_its_side() {
    let replace = |old: u64, new: u64, price: i64| {
        [
            Tick { sequence: 9, flags: Flags::NONE, ..cancel(old, Tick::SIZE_UNDEFINED) },
            Tick { sequence: 9, ..add(Side::None, new, price, 4) },
        ]
    };
    let mut books = books(&[add(ASK, 1, 12, 5)]);
    for tick in replace(1, 2, 13) {
        assert_eq!(books.apply(&tick).refused, None);
    }
    assert_eq!((levels(&books, ASK), queue(&books, ASK)), (vec![(13, 4, 1)], vec![2]));
    // The side of an unknown order is not known, and one of an earlier message is not taken.
    let unknown = replace(77, 3, 11).map(|tick| books.apply(&tick).refused);
    assert_eq!(unknown, [Some(Refusal::UnknownOrder), Some(Refusal::BadSide)]);
    assert_eq!(
        books.apply(&Tick { sequence: 10, ..add(Side::None, 4, 11, 1) }).refused,
        Some(Refusal::BadSide)
    );
}

#[test]
fn what_contradicts_a_good_book_makes_it_bad_and_is_named() {
    let refused = |tick: Tick| {
        let mut books = books(&[add(BID, 1, 10, 5), add(BID, 2, 9, 5)]);
        let refused = books.apply(&tick).refused.expect("a contradiction");
        assert_eq!(book(&books).state(), BookState::Bad(Why::Contradiction), "{tick:?}");
        (refused, levels(&books, BID))
    };
    let both = vec![(10, 5, 1), (9, 5, 1)];
    assert_eq!(refused(cancel(3, 1)), (Refusal::UnknownOrder, both.clone()));
    assert_eq!(refused(cancel(1, 6)), (Refusal::SizeTooBig, vec![(9, 5, 1)]));
    assert_eq!(refused(cancel(1, 0)), (Refusal::BadSize, both.clone()));
    assert_eq!(refused(add(BID, 1, 8, 2)), (Refusal::OrderExists, vec![(9, 5, 1), (8, 2, 1)]));
    assert_eq!(refused(add(BID, 3, i64::MAX, 2)), (Refusal::BadPrice, both.clone()));
    assert_eq!(refused(add(BID, 3, 8, 0)), (Refusal::BadSize, both.clone()));
    assert_eq!(refused(add(Side(b'?'), 3, 8, 1)), (Refusal::BadSide, both.clone()));
    assert_eq!(refused(modify(BID, 1, 10, Tick::SIZE_UNDEFINED)), (Refusal::BadSize, both));
    let taken = (Refusal::UnknownOrder, vec![(10, 5, 1), (9, 5, 1), (8, 2, 1)]);
    assert_eq!(refused(modify(BID, 3, 8, 2)), taken);
}

#[test]
fn a_fill_of_an_unknown_order_is_named_and_leaves_the_book_good() {
    let mut books = books(&[add(BID, 1, 10, 5)]);
    assert_eq!(books.apply(&tick(Action::Fill, BID, 9, 10, 1)).refused, Some(Refusal::UnknownOrder));
    assert_eq!(book(&books).state(), BookState::Good);
}
