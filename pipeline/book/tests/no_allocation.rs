//! After `Books::new` nothing is allocated, whatever the ticks say. A test binary of its own, because it
//! replaces the allocator.

mod support;

use book::{Books, Kind, Limits};
use lab::allocations::{Counting, of_this_thread};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tick::{Action, Flags, GapReason, Side, Tick};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Applies the ticks, reading as a strategy does, and gives the allocations made meanwhile.
fn allocations(limits: Limits, ticks: &[Tick]) -> (u64, Books) {
    let mut books = Books::new(limits);
    let before = of_this_thread();
    let mut seen = 0u64;
    for tick in ticks {
        if let Some(id) = books.apply(tick).book {
            let book = books.book(id);
            for side in [Side::Bid, Side::Ask] {
                seen += book.levels(side).take(5).map(|level| level.size).sum::<u64>();
                seen += book.by(Kind::ByOrder).orders(side).take(3).count() as u64;
            }
            seen += u64::from(book.queue_position(tick.order_id).is_some());
        }
    }
    std::hint::black_box(seen);
    (of_this_thread() - before, books)
}

#[test]
fn the_counter_counts() {
    let before = of_this_thread();
    drop(Box::new(std::hint::black_box(1u64)));
    assert!(of_this_thread() > before);
}

#[test]
fn nothing_is_allocated_at_and_beyond_every_limit() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut ticks = Vec::new();
    for at in 0..400_000u64 {
        // The range of prices breathes, so that ladders grow, shrink and have to be moved together.
        let prices = 1 + (at / 500 % 40) as i64 * 10;
        let action = [Action::Add, Action::Add, Action::Modify, Action::Cancel, Action::Fill, Action::Trade];
        let (depth, flags) =
            if random.random_range(0..5) == 0 { (255, Flags::MBP) } else { (0, Flags::NONE) };
        ticks.push(Tick {
            sequence: at,
            order_id: random.random_range(0..3000),
            price: random.random_range(0..prices),
            size: random.random_range(0..50),
            instrument_id: random.random_range(0..20),
            publisher_id: 1,
            channel_id: random.random_range(0..3),
            action: action[random.random_range(0..6)],
            side: if random.random() { Side::Bid } else { Side::Ask },
            flags: flags | if random.random() { Flags::LAST } else { Flags::NONE },
            depth,
            ..Tick::EMPTY
        });
        match at % 30_011 {
            0 => ticks.push(Tick::gap(0, 1, at, at, 0, GapReason::Lost)),
            9_000 => ticks.push(Tick::channel_clear(0, (at % 3) as u16, at, 0)),
            _ => {}
        }
    }
    let limits = Limits { instruments: 12, orders: 2000, levels: 700, numbered_levels: 10 };
    let (count, books) = allocations(limits, &ticks);
    assert_eq!((count, books.len()), (0, 12));
}

#[test]
fn nothing_is_allocated_on_the_real_file() {
    let Some(ticks) = support::es_ticks("nothing_is_allocated_on_the_real_file") else { return };
    let (count, books) = allocations(Limits::SMALL, &ticks);
    assert_eq!((count, books.orders_len()), (0, 11_217));
}
