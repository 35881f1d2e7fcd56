//! The books against a plain implementation, on random sessions and on the real file: every level, order and
//! queue position, state, trade and refusal, after every tick; and a restored copy beside them.
//!
//! `FEEDPLANE_SEEDS` sets how many sessions are run, `FEEDPLANE_SEED` runs one alone.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test; a failed unwrap fails it")]

mod plain;
mod session;
#[path = "../support/mod.rs"]
mod support;

use book::{Applied, Book, Books, Kind, Limits};
use plain::{Plain, PlainBook, PlainOrder};
use session::Session;
use std::sync::atomic::{AtomicU64, Ordering};
use tick::{Action, Side, Tick};

const SEEDS: u64 = 3_000;
const TICKS: u64 = 300;

/// A tenth of the sessions meets limits.
fn limits(seed: u64) -> Limits {
    match seed % 30 {
        0 => Limits { instruments: 2, orders: 1000, levels: 1000, numbered_levels: 3 },
        1 => Limits { instruments: 8, orders: 20, levels: 1000, numbered_levels: 10 },
        2 => Limits { instruments: 8, orders: 1000, levels: 12, numbered_levels: 5 },
        _ => Limits { instruments: 8, orders: 1000, levels: 1000, numbered_levels: 10 },
    }
}

#[test]
fn the_books_are_what_a_plain_implementation_says_after_every_tick_of_random_sessions() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("FEEDPLANE_SEED") {
        return run(seed);
    }
    // One session here costs as much as thirty of the arbiter's, whose count the variable is.
    let seeds = number("FEEDPLANE_SEEDS").map_or(SEEDS, |seeds| (seeds / 30).max(100));
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let seed @ 0.. = next.fetch_add(1, Ordering::Relaxed)
                    && seed < seeds
                {
                    assert!(
                        std::panic::catch_unwind(|| run(seed)).is_ok(),
                        "seed {seed} failed: FEEDPLANE_SEED={seed} cargo test -p feedplane-book --test model"
                    );
                }
            });
        }
    });
}

fn run(seed: u64) {
    let limits = limits(seed);
    let mut books = Books::new(limits);
    let mut restored = None::<Books>;
    let mut plain = Plain::new(limits);
    let mut session = Session::new(seed);
    for at in 0..TICKS {
        let tick = session.next(&plain);
        let expected = plain.apply(&tick);
        let applied = books.apply(&tick);
        let contradicted = plain.books.iter().any(PlainBook::contradicted);
        compare_applied(&tick, contradicted, &applied, &expected, &format!("tick {at}: {tick:?}"));
        compare(&books, &plain, &tick);
        if let Some(restored) = &mut restored {
            assert_eq!(restored.apply(&tick), applied, "restored, tick {at}: {tick:?}");
        }
        if (at + seed).is_multiple_of(97) {
            restored = Some(Books::restore(&saved(&books), limits).unwrap());
        }
    }
    if let Some(restored) = restored {
        compare(&restored, &plain, &Tick::EMPTY);
        assert_eq!(saved(&restored), saved(&books));
    }
}

fn saved(books: &Books) -> Vec<u8> {
    let mut bytes = Vec::new();
    books.save(&mut bytes);
    bytes
}

/// Where a tick was wrong, or pushed the last of the numbered levels out, or a book has contradicted itself, a
/// level may count as changed that was replaced by its like.
fn compare_applied(tick: &Tick, contradicted: bool, applied: &Applied, expected: &Applied, what: &str) {
    let told = |applied: &Applied| (applied.trade, applied.refused, applied.channel_changed);
    assert_eq!(told(applied), told(expected), "{what}");
    if expected.channel_changed {
        return;
    }
    let may_be_alike = tick.depth != 0 && (tick.action == Action::Add || contradicted);
    if expected.refused.is_none() && !may_be_alike {
        let changed = |applied: &Applied| (applied.top_changed, applied.depth_changed);
        assert_eq!(changed(applied), changed(expected), "{what}");
    } else {
        assert!(applied.top_changed >= expected.top_changed, "{what}");
        assert!(applied.depth_changed >= expected.depth_changed, "{what}");
    }
}

fn compare(books: &Books, plain: &Plain, tick: &Tick) {
    assert_eq!(books.len(), plain.books.len());
    assert_eq!(books.orders_len(), plain.orders_count());
    assert_eq!(books.levels_len(), plain.levels_count());
    for ((_, book), plain) in books.iter().zip(&plain.books) {
        assert_eq!((book.key(), book.channel_id(), book.kind()), (plain.key, plain.channel, plain.shown()));
        for kind in [Kind::ByOrder, Kind::ByPrice] {
            assert_eq!(book.by(kind).state(), plain.state(kind), "{tick:?}");
            compare_levels(&book.by(kind), plain, tick);
        }
        compare_orders(&book.by(Kind::ByOrder), plain, tick);
    }
}

fn compare_levels(book: &Book<'_>, plain: &PlainBook, tick: &Tick) {
    for (side, bid) in [(Side::Bid, true), (Side::Ask, false)] {
        let levels = book.levels(side).map(|level| (level.price, level.size, level.orders));
        let expected = plain.levels(book.kind(), bid);
        assert!(levels.eq(expected.iter().copied()), "{expected:?} after {tick:?}: {book:?}");
        assert_eq!(book.best(side).map(|level| level.price), expected.first().map(|level| level.0));
    }
}

fn compare_orders(book: &Book<'_>, plain: &PlainBook, tick: &Tick) {
    for (side, bid) in [(Side::Bid, true), (Side::Ask, false)] {
        let queue = plain.queue(bid);
        let orders = book.orders(side).map(|order| PlainOrder {
            id: order.order_id,
            bid,
            price: order.price,
            size: order.size,
        });
        assert!(orders.eq(queue.iter().cloned()), "{queue:?} after {tick:?}: {book:?}");
        let mut ahead = (i64::MAX, 0, 0);
        for order in &queue {
            if ahead.0 != order.price {
                ahead = (order.price, 0, 0);
            }
            let position = book.queue_position(order.id).unwrap();
            assert_eq!((position.orders_ahead, position.size_ahead), (ahead.1, ahead.2));
            assert_eq!(position.level.price, order.price);
            ahead = (order.price, ahead.1 + 1, ahead.2 + u64::from(order.size));
        }
    }
}

#[test]
fn the_real_file_gives_the_books_that_a_plain_implementation_gives() {
    let test = "the_real_file_gives_the_books_that_a_plain_implementation_gives";
    let Some(ticks) = support::es_ticks(test) else { return };
    let mut books = Books::new(Limits::SMALL);
    let mut plain = Plain::new(Limits::SMALL);
    for (at, tick) in ticks.iter().enumerate() {
        let applied = books.apply(tick);
        // The plain one takes a millisecond to compare changes; the random sessions do that.
        let expected = plain.apply_unobserved(tick);
        assert_eq!((applied.trade, applied.refused), (expected.trade, expected.refused), "record {at}");
        if at % 500 == 0 || at + 1 == ticks.len() {
            compare(&books, &plain, tick);
        }
    }
}
