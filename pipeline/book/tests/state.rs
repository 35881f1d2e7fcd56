//! What a book is worth: how it becomes bad, and good again.

mod support;

use book::{BookState, Books, Limits, Refusal, Why};
use support::{CHANNEL, INSTRUMENT, add, cancel, clear, clear_instrument, flagged, level, modify};
use tick::{Action, Flags, GapReason, Side, Source, Tick};

const BID: Side = Side::Bid;
const ASK: Side = Side::Ask;

fn state(books: &Books) -> BookState {
    books.book(books.find(1, INSTRUMENT).expect("the instrument was seen")).state()
}

fn best(books: &Books, side: Side) -> Option<u64> {
    books.book(books.find(1, INSTRUMENT).expect("the instrument was seen")).best(side).map(|level| level.size)
}

fn good() -> Books {
    let mut books = Books::new(Limits::SMALL);
    books.apply(&clear());
    books.apply(&add(BID, 1, 10, 5));
    assert_eq!(state(&books), BookState::Good);
    books
}

fn gap() -> Tick {
    Tick::gap(0, CHANNEL, 5, 9, 0, GapReason::Lost)
}

#[test]
fn a_book_joined_in_the_middle_is_bad_until_it_is_cleared() {
    let mut books = Books::new(Limits::SMALL);
    books.apply(&add(BID, 1, 10, 5));
    assert_eq!(state(&books), BookState::Bad(Why::NotFromStart));
    // What it does not know is named, but is no news.
    assert_eq!(books.apply(&cancel(77, 1)).refused, Some(Refusal::UnknownOrder));
    assert_eq!(state(&books), BookState::Bad(Why::NotFromStart));
    assert_eq!(best(&books, BID), Some(5));
    books.apply(&clear_instrument());
    books.apply(&add(BID, 2, 10, 3));
    assert_eq!((state(&books), best(&books, BID)), (BookState::Good, Some(3)));
}

#[test]
fn a_channel_seen_from_its_first_number_has_good_books() {
    let mut books = Books::new(Limits::SMALL);
    books.apply(&Tick { sequence: 1, channel_id: CHANNEL, action: Action::Status, ..Tick::EMPTY });
    books.apply(&add(BID, 1, 10, 5));
    assert_eq!(state(&books), BookState::Good);
}

#[test]
fn a_gap_marks_every_book_of_the_channel_and_of_no_other() {
    let mut books = good();
    let elsewhere = |tick| Tick { channel_id: CHANNEL + 1, instrument_id: 99, ..tick };
    books.apply(&Tick::channel_clear(1, CHANNEL + 1, 1, 0));
    books.apply(&elsewhere(add(BID, 1, 10, 5)));
    books.apply(&Tick { instrument_id: 43, ..add(BID, 1, 10, 5) });
    assert!(books.apply(&gap()).channel_changed);
    let states: Vec<_> = books.iter().map(|(_, book)| book.state()).collect();
    let bad = BookState::Bad(Why::Gap);
    assert_eq!(states, [bad, BookState::Good, bad]);
    // An instrument first seen behind the gap may have had orders in it.
    books.apply(&Tick { instrument_id: 44, ..add(BID, 1, 10, 5) });
    assert_eq!(books.book(books.find(1, 44).expect("seen")).state(), bad);
    // Ticks go on being applied; a channel clear makes all good.
    assert_eq!(best(&books, BID), Some(5));
    assert!(books.apply(&clear()).channel_changed);
    assert!(books.iter().all(|(_, book)| book.is_good()));
    assert_eq!(best(&books, BID), None);
}

#[test]
fn a_flag_marks_the_channel_once_and_a_cleared_instrument_is_good_under_it() {
    let flag = |tick| flagged(tick, Flags::MAYBE_BAD_BOOK);
    let mut books = good();
    assert!(books.apply(&flag(add(BID, 2, 10, 1))).channel_changed);
    assert_eq!(state(&books), BookState::Bad(Why::Flagged));
    assert!(!books.apply(&flag(clear_instrument())).channel_changed);
    books.apply(&flag(add(BID, 3, 10, 1)));
    assert_eq!(state(&books), BookState::Good);
    // Another gap is declared, or the flag goes and comes again.
    books.apply(&gap());
    assert_eq!(state(&books), BookState::Bad(Why::Gap));
    books.apply(&flag(clear_instrument()));
    books.apply(&add(BID, 4, 10, 1));
    assert_eq!(state(&books), BookState::Good);
    books.apply(&flag(add(BID, 5, 10, 1)));
    assert_eq!(state(&books), BookState::Bad(Why::Flagged));
}

#[test]
fn a_snapshot_is_bad_until_its_end_and_good_from_there() {
    let snapshot = |tick: Tick| Tick { flags: Flags::SNAPSHOT, ..tick };
    let mut books = good();
    books.apply(&gap());
    books.apply(&snapshot(clear_instrument()));
    books.apply(&snapshot(add(BID, 1, 10, 5)));
    assert_eq!(state(&books), BookState::Bad(Why::Snapshot));
    books.apply(&flagged(snapshot(add(BID, 2, 10, 5)), Flags::LAST));
    assert_eq!((state(&books), best(&books, BID)), (BookState::Good, Some(10)));
    // One whose end is not marked ends at the first tick behind it.
    books.apply(&snapshot(clear_instrument()));
    books.apply(&snapshot(add(BID, 1, 10, 5)));
    assert_eq!(state(&books), BookState::Bad(Why::Snapshot));
    books.apply(&add(BID, 3, 10, 1));
    assert_eq!((state(&books), best(&books, BID)), (BookState::Good, Some(6)));
    // The end may come as a tick of its own.
    books.apply(&snapshot(clear_instrument()));
    books.apply(&snapshot(add(BID, 1, 10, 5)));
    books.apply(&flagged(snapshot(Tick { action: Action::None, ..add(BID, 0, 0, 0) }), Flags::LAST));
    assert_eq!(state(&books), BookState::Good);
}

#[test]
fn a_snapshot_with_a_gap_in_it_stays_bad() {
    let snapshot = |tick: Tick| Tick { flags: Flags::SNAPSHOT, ..tick };
    let mut books = good();
    books.apply(&snapshot(clear_instrument()));
    books.apply(&snapshot(add(BID, 1, 10, 5)));
    books.apply(&gap());
    books.apply(&flagged(snapshot(add(BID, 2, 10, 5)), Flags::LAST));
    assert_eq!(state(&books), BookState::Bad(Why::Gap));
}

#[test]
fn only_a_files_opening_snapshot_needs_no_clear() {
    let first = |source: Source, flags: Flags| {
        let mut books = Books::new(Limits::SMALL);
        let snapshot = Flags::SNAPSHOT | flags;
        books.apply(&Tick { source, flags: snapshot, ..add(BID, 1, 10, 5) });
        books.apply(&add(BID, 2, 10, 5));
        state(&books)
    };
    assert_eq!(first(Source::Snapshot, Flags::BAD_TS_RECV), BookState::Good);
    assert_eq!(first(Source::A, Flags::BAD_TS_RECV), BookState::Bad(Why::NotFromStart));
    assert_eq!(first(Source::Snapshot, Flags::NONE), BookState::Bad(Why::NotFromStart));
    // The middle of one, joined late.
    let mut books = Books::new(Limits::SMALL);
    books.apply(&add(BID, 1, 10, 5));
    let flags = Flags::SNAPSHOT | Flags::BAD_TS_RECV;
    books.apply(&Tick { source: Source::Snapshot, flags, ..add(BID, 2, 10, 5) });
    books.apply(&add(BID, 3, 10, 5));
    assert_eq!(state(&books), BookState::Bad(Why::NotFromStart));
}

#[test]
fn a_crossed_book_is_bad_while_it_is_crossed_at_the_end_of_an_event() {
    let mut books = good();
    let open = |tick: Tick| Tick { flags: Flags::NONE, ..tick };
    books.apply(&open(add(ASK, 2, 9, 5)));
    assert_eq!(state(&books), BookState::Good, "the event goes on");
    books.apply(&modify(ASK, 2, 10, 5));
    assert_eq!(state(&books), BookState::Bad(Why::Crossed), "locked is crossed");
    books.apply(&modify(ASK, 2, 11, 5));
    assert_eq!(state(&books), BookState::Good);
}

#[test]
fn the_clear_of_another_book_ends_the_event_and_clears_nothing() {
    let mut books = good();
    books.apply(&Tick { flags: Flags::NONE, ..add(ASK, 2, 10, 5) });
    let implied = Flags::MBP | Flags::PUBLISHER_SPECIFIC;
    books.apply(&flagged(clear_instrument(), implied));
    assert_eq!((state(&books), best(&books, BID)), (BookState::Bad(Why::Crossed), Some(5)));
}

#[test]
fn an_instrument_that_changes_its_channel_is_not_known_from_the_start() {
    let mut books = good();
    books.apply(&Tick { channel_id: 9, ..add(BID, 2, 10, 5) });
    assert_eq!(state(&books), BookState::Bad(Why::NotFromStart));
    books.apply(&Tick { channel_id: 9, ..clear_instrument() });
    books.apply(&gap());
    assert_eq!(state(&books), BookState::Good, "the gap is of the channel it left");
}

#[test]
fn what_does_not_fit_is_refused_and_makes_its_book_bad() {
    let limits = Limits { instruments: 2, orders: 3, levels: 2, numbered_levels: 10 };
    let mut books = Books::new(limits);
    books.apply(&clear());
    assert_eq!(books.apply(&add(BID, 1, 10, 5)).refused, None);
    assert_eq!(books.apply(&add(BID, 2, 11, 5)).refused, None);
    assert_eq!(books.apply(&add(BID, 3, 12, 5)).refused, Some(Refusal::LevelsFull));
    assert_eq!(state(&books), BookState::Bad(Why::Full));
    assert_eq!((books.orders_len(), books.levels_len()), (2, 2));
    assert_eq!(books.apply(&add(BID, 3, 11, 5)).refused, None);
    assert_eq!(books.apply(&add(BID, 4, 11, 5)).refused, Some(Refusal::OrdersFull));
    assert_eq!(books.apply(&level(Action::Add, BID, 1, 10, 5)).refused, Some(Refusal::LevelsFull));
    assert_eq!(books.apply(&Tick { instrument_id: 43, ..cancel(9, 1) }).refused, Some(Refusal::UnknownOrder));
    assert_eq!(
        books.apply(&Tick { instrument_id: 44, ..cancel(9, 1) }).refused,
        Some(Refusal::InstrumentsFull)
    );
    assert_eq!(books.apply(&Tick { instrument_id: 0, ..cancel(9, 1) }).refused, Some(Refusal::NoInstrument));
    books.apply(&clear());
    assert_eq!((state(&books), books.orders_len()), (BookState::Good, 0));
}
