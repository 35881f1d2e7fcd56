//! A check allocates nothing, whether it passes or denies; nor does a quote or a report of a known order. A test binary
//! of its own, because it replaces the allocator.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "risk/support.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use bus::OrderSide::{Buy, SellShort};
use bus::ReportKind;
use lab::allocations::{Counting, of_this_thread};
use support::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn neither_a_check_nor_what_follows_it_allocates() {
    let before = of_this_thread();
    drop(Box::new(std::hint::black_box(1u64)));
    assert!(of_this_thread() > before, "the counter counts");
    let mut engine = ready(&document(&[]));
    let rounds: Vec<_> = (0..400u64)
        .map(|round| {
            let (first, second) = (round * 2 + 1, round * 2 + 2);
            let side = if round % 2 == 0 { Buy } else { SellShort };
            let new =
                order(first, A, side, 5 + round % 7, 99 * UNIT + 100 * UNIT * i64::from(round % 9 == 0));
            let other = replace(second, A, first, 3 + round % 7, 98 * UNIT);
            (new, other, cancel(9_000 + round, A, first), report(ReportKind::Cancelled, first), second)
        })
        .collect();
    let refused: Vec<_> = rounds.iter().map(|round| report(ReportKind::Rejected, round.4)).collect();
    let (mut passed, mut denied) = (0, 0);
    let before = of_this_thread();
    for (round, (new, other, cancel, cancelled, _)) in rounds.iter().enumerate() {
        let now_ns = NOW + round as u64 * 50 * MS;
        quote(&mut engine, A, 99 * UNIT, 101 * UNIT, now_ns);
        for instruction in [new, other, cancel] {
            match engine.check(instruction, now_ns) {
                Ok(()) => passed += 1,
                Err(_) => denied += 1,
            }
        }
        engine.report(&refused[round]);
        engine.report(cancelled);
    }
    assert_eq!(of_this_thread() - before, 0);
    assert!(passed > 400 && denied > 40, "{passed} passed, {denied} were denied");
}
