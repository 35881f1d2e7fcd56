//! The book by price, and which of two books is shown.

mod support;

use book::{Book, BookState, Books, Kind, Limits, Refusal, Why};
use support::{INSTRUMENT, UNIT, add, cancel, clear, clear_instrument, flagged, level, priced};
use tick::{Action, Flags, Side, Tick};

const BID: Side = Side::Bid;
const ASK: Side = Side::Ask;
use Action as A;

fn books(ticks: &[Tick]) -> Books {
    let mut books = Books::new(Limits { numbered_levels: 3, ..Limits::SMALL });
    books.apply(&clear());
    for tick in ticks {
        assert_eq!(books.apply(tick).refused, None, "{tick:?}");
    }
    books
}

fn book(books: &Books) -> Book<'_> {
    books.book(books.find(1, INSTRUMENT).expect("the instrument was seen"))
}

fn levels(books: &Books, side: Side) -> Vec<(i64, u64)> {
    book(books).levels(side).map(|level| (level.price / UNIT, level.size)).collect()
}

#[test]
fn a_level_by_number_is_inserted_and_moves_those_behind_it_down() {
    let books = books(&[
        level(A::Add, BID, 1, 10, 1),
        level(A::Add, BID, 1, 12, 2),
        level(A::Add, BID, 2, 11, 3),
        level(A::Add, ASK, 1, 13, 4),
    ]);
    assert_eq!(levels(&books, BID), [(12, 2), (11, 3), (10, 1)]);
    assert_eq!(levels(&books, ASK), [(13, 4)]);
    assert_eq!((book(&books).kind(), book(&books).state()), (Kind::ByPrice, BookState::Good));
}

#[test]
fn a_cancel_by_number_moves_those_behind_it_up_and_a_modify_replaces() {
    let books = books(&[
        level(A::Add, ASK, 1, 10, 1),
        level(A::Add, ASK, 2, 11, 2),
        level(A::Add, ASK, 3, 12, 3),
        level(A::Cancel, ASK, 1, 10, 1),
        level(A::Modify, ASK, 2, 13, 9),
    ]);
    assert_eq!(levels(&books, ASK), [(11, 2), (13, 9)]);
}

#[test]
fn what_moves_below_the_last_numbered_level_is_dropped() {
    let books = books(&[
        level(A::Add, BID, 1, 10, 1),
        level(A::Add, BID, 1, 11, 1),
        level(A::Add, BID, 1, 12, 1),
        level(A::Add, BID, 1, 13, 1),
        level(A::Cancel, BID, 1, 13, 1),
    ]);
    assert_eq!(levels(&books, BID), [(12, 1), (11, 1)]);
    assert_eq!(books.levels_len(), 2);
}

#[test]
fn a_level_by_number_shortens_a_side_that_levels_by_price_made_too_long() {
    let by_price = [14, 13, 12, 11, 10].map(|price| priced(A::Add, BID, price, 1));
    let mut books = books(&by_price);
    assert_eq!(books.apply(&level(A::Add, BID, 1, 15, 2)).refused, None);
    assert_eq!(levels(&books, BID), [(15, 2), (14, 1), (13, 1)]);
}

#[test]
fn deleting_from_a_level_down_is_no_mistake_where_there_are_fewer() {
    let all = |depth| Tick { price: i64::MAX, ..level(A::Cancel, BID, depth, 0, Tick::SIZE_UNDEFINED) };
    let mut books = books(&[level(A::Add, BID, 1, 10, 1), level(A::Add, BID, 2, 9, 1)]);
    for depth in (2..=20).rev() {
        assert_eq!(books.apply(&all(depth)).refused, None);
    }
    assert_eq!(levels(&books, BID), [(10, 1)]);
}

#[test]
fn a_level_out_of_range_or_out_of_order_makes_the_book_bad() {
    let refused = |tick: Tick| {
        let mut books = books(&[level(A::Add, BID, 1, 10, 1), level(A::Add, BID, 2, 8, 1)]);
        let refused = books.apply(&tick).refused.expect("a contradiction");
        assert_eq!(book(&books).state(), BookState::Bad(Why::Contradiction));
        refused
    };
    assert_eq!(refused(level(A::Add, BID, 4, 7, 1)), Refusal::LevelOutOfRange);
    assert_eq!(refused(level(A::Modify, BID, 3, 7, 1)), Refusal::LevelOutOfRange);
    assert_eq!(refused(level(A::Cancel, BID, 3, 7, 1)), Refusal::LevelOutOfRange);
    assert_eq!(refused(level(A::Add, BID, 1, 10, 1)), Refusal::LevelOrder);
    assert_eq!(refused(level(A::Add, BID, 3, 9, 1)), Refusal::LevelOrder);
    assert_eq!(refused(level(A::Modify, BID, 2, 11, 1)), Refusal::LevelOrder);
    assert_eq!(refused(level(A::Modify, BID, 2, 8, 0)), Refusal::BadSize);
    assert_eq!(refused(priced(A::Cancel, BID, 9, 1)), Refusal::LevelOutOfRange);
}

#[test]
fn levels_without_a_number_are_found_by_their_price() {
    let books = books(&[
        priced(A::Add, BID, 10, 1),
        priced(A::Add, BID, 12, 2),
        priced(A::Modify, BID, 11, 3),
        priced(A::Modify, BID, 10, 9),
        priced(A::Cancel, BID, 12, 2),
        priced(A::Add, ASK, 13, 4),
        priced(A::Add, ASK, 14, 5),
        priced(A::Modify, ASK, 13, 0),
        priced(A::Add, BID, 4, 1),
        priced(A::Add, BID, 3, 1),
    ]);
    assert_eq!(levels(&books, BID), [(11, 3), (10, 9), (4, 1), (3, 1)]);
    assert_eq!(levels(&books, ASK), [(14, 5)]);
}

#[test]
fn implied_and_market_best_levels_are_of_another_book() {
    let implied = flagged(level(A::Add, BID, 1, 12, 5), Flags::PUBLISHER_SPECIFIC);
    let best = flagged(level(A::Add, BID, 1, 12, 5), Flags::PUBLISHER_SPECIFIC | Flags::TOB);
    let mut books = books(&[level(A::Add, BID, 1, 10, 1)]);
    for tick in [implied, best] {
        let applied = books.apply(&tick);
        assert_eq!((applied.depth_changed, applied.refused), (false, None));
    }
    assert_eq!(levels(&books, BID), [(10, 1)]);
    // On an order the flag says nothing about the book: DBN's CME files have it on every order.
    let order = flagged(add(BID, 1, 11, 5), Flags::PUBLISHER_SPECIFIC);
    assert!(books.apply(&order).depth_changed);
}

#[test]
fn the_book_by_order_is_shown_unless_only_the_one_by_price_is_good() {
    let mut books = books(&[level(A::Add, BID, 1, 10, 8)]);
    assert_eq!((book(&books).kind(), levels(&books, BID)), (Kind::ByPrice, vec![(10, 8)]));
    let applied = books.apply(&add(BID, 1, 10, 5));
    assert!(applied.top_changed);
    assert_eq!((book(&books).kind(), levels(&books, BID)), (Kind::ByOrder, vec![(10, 5)]));
    assert!(!books.apply(&level(A::Modify, BID, 1, 10, 9)).depth_changed);
    // A contradiction in the one by order.
    assert!(books.apply(&cancel(77, 1)).top_changed);
    assert_eq!((book(&books).kind(), book(&books).is_good()), (Kind::ByPrice, true));
    assert_eq!(book(&books).by(Kind::ByOrder).state(), BookState::Bad(Why::Contradiction));
    assert_eq!(book(&books).by(Kind::ByOrder).best(BID).map(|level| level.size), Some(5));
    assert_eq!((book(&books).order(1), book(&books).queue_position(1)), (None, None));
    // Cleared, it is good again, and shown.
    books.apply(&clear_instrument());
    assert_eq!((book(&books).kind(), book(&books).is_good()), (Kind::ByOrder, true));
    assert_eq!(book(&books).best(BID), None);
}

#[test]
fn a_clear_empties_the_book_of_its_own_kind() {
    let both = [level(A::Add, BID, 1, 10, 8), add(BID, 1, 10, 5)];
    let sizes = |books: &Books| {
        [Kind::ByOrder, Kind::ByPrice].map(|kind| book(books).by(kind).best(BID).map(|level| level.size))
    };
    let mut books = books(&both);
    books.apply(&flagged(clear_instrument(), Flags::MBP));
    assert_eq!(sizes(&books), [Some(5), None]);
    for tick in &both {
        books.apply(tick);
    }
    books.apply(&clear_instrument());
    assert_eq!(sizes(&books), [None, Some(8)]);
    books.apply(&clear());
    assert_eq!((sizes(&books), books.orders_len(), books.levels_len()), ([None, None], 0, 0));
}
