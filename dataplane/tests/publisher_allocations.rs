//! The publisher's steady path allocates by the write, not by the tick.

#![allow(clippy::unwrap_used)]

use dataplane::publisher::{Publisher, PublisherConfig};
use lab::redis_server::RedisServer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tick::{Action, Tick};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system allocator unchanged; counting touches nothing it owns.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_hundred_thousand_ticks_cost_a_few_allocations_a_write() {
    let server = RedisServer::start().unwrap();
    let (mut ring, ticks) = rtrb::RingBuffer::new(1 << 14);
    let config = PublisherConfig { redis_url: server.url(), ..PublisherConfig::default() };
    let publisher = Publisher::start(config, vec![ticks], Vec::new()).unwrap();
    let mut sequence = 0;
    let mut burst = vec![Tick::EMPTY; 4096];
    let mut send = |bursts: usize| {
        for _ in 0..bursts {
            for tick in &mut burst {
                sequence += 1;
                *tick =
                    Tick { sequence, channel_id: (sequence % 8) as u16, action: Action::Add, ..Tick::EMPTY };
            }
            while ring.push_entire_slice(&burst).is_err() {
                std::thread::yield_now();
            }
        }
    };
    let settle = |published| {
        while publisher.stats().published < published {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    send(5);
    settle(5 * 4096);
    let (writes_before, before) = (publisher.stats().writes, ALLOCATIONS.load(Relaxed));
    send(25);
    let during = ALLOCATIONS.load(Relaxed) - before;
    settle(30 * 4096);
    let writes = publisher.stop(Duration::from_secs(30)).unwrap().writes - writes_before;
    // A write of eight channels: texts of keys and positions. Ticks: none.
    assert!(during <= writes * 64 + 100, "{during} allocations in at most {writes} writes");
    assert!(during < 25 * 4096 / 2, "{during} allocations for {} ticks", 25 * 4096);
}
