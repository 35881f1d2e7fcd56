//! Once its windows are full, the engine allocates nothing: not for a tick, not for a bar, not for a record.
//! A test binary of its own, because it replaces the allocator.

#[allow(dead_code)] // The engine's tests use the rest of it.
#[path = "engine/session.rs"]
mod session;

use features::Engine;
use session::{every_feature, limits, random_session};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a thread-local
// without a destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn full_windows_take_nothing_more() {
    let ticks = random_session(11, 60_000);
    let (first, second) = ticks.split_at(30_000);
    let mut engine = Engine::new(&every_feature(), limits());
    let mut records = 0u64;
    let at_start = ALLOCATIONS.get();
    first.iter().for_each(|tick| engine.tick(tick, &mut |_, _| records += 1));
    let filled = ALLOCATIONS.get();
    assert!(filled > at_start, "the counter counts");
    let before = std::mem::take(&mut records);
    second.iter().for_each(|tick| engine.tick(tick, &mut |_, _| records += 1));
    assert_eq!(ALLOCATIONS.get(), filled);
    assert!(before > 1_000 && records > 1_000, "{before} and {records} records");
}
