//! Once its windows are full, the engine allocates nothing: not for a tick, not for a bar, not for a record.
//! A test binary of its own, because it replaces the allocator.

#[allow(dead_code)] // The engine's tests use the rest of it.
#[path = "engine/session.rs"]
mod session;

use features::Engine;
use lab::allocations::{Counting, of_this_thread};
use session::{every_feature, limits, random_session};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn full_windows_take_nothing_more() {
    let ticks = random_session(11, 60_000);
    let (first, second) = ticks.split_at(30_000);
    let mut engine = Engine::new(&every_feature(), limits());
    let mut records = 0u64;
    let at_start = of_this_thread();
    first.iter().for_each(|tick| engine.tick(tick, &mut |_, _| records += 1));
    let filled = of_this_thread();
    assert!(filled > at_start, "the counter counts");
    let before = std::mem::take(&mut records);
    second.iter().for_each(|tick| engine.tick(tick, &mut |_, _| records += 1));
    assert_eq!(of_this_thread(), filled);
    assert!(before > 1_000 && records > 1_000, "{before} and {records} records");
}
