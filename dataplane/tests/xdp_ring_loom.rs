//! The ring arithmetic under loom, where every interleaving of the two sides is tried. The source of
//! `dataplane::xdp::ring` is built in here with loom's atomics.

#![allow(dead_code, reason = "the ring is more than one test file uses")]

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering};
}
#[path = "../src/xdp/ring.rs"]
mod ring;

use atomic::{AtomicU32, Ordering};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use ring::{Consumer, Memory, Producer};

const ENTRIES: u32 = 2;

struct Shared {
    producer: AtomicU32,
    consumer: AtomicU32,
    cells: [UnsafeCell<u32>; ENTRIES as usize],
}

impl Shared {
    fn starting_at(index: u32) -> Arc<Self> {
        Arc::new(Self {
            producer: AtomicU32::new(index),
            consumer: AtomicU32::new(index),
            cells: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }
}

// SAFETY: the indices and cells are fixed for the life of the Arc; each test makes one producer and one
// consumer.
unsafe impl Memory for Arc<Shared> {
    type Item = u32;
    fn producer(&self) -> &AtomicU32 {
        &self.producer
    }
    fn consumer(&self) -> &AtomicU32 {
        &self.consumer
    }
    fn entries(&self) -> u32 {
        ENTRIES
    }
    // loom's cells panic when reading and writing overlap.
    unsafe fn read(&self, entry: u32) -> u32 {
        // SAFETY: the entry is the caller's to read.
        self.cells[entry as usize].with(|cell| unsafe { *cell })
    }
    unsafe fn write(&self, entry: u32, item: u32) {
        // SAFETY: the entry is the caller's to write.
        self.cells[entry as usize].with_mut(|cell| unsafe { *cell = item });
    }
}

/// Every interleaving with at most two preemptions (loom's advice: bugs that need more are rare, and the
/// number of interleavings explodes).
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(run);
}

/// Sends `items` numbers in batches and takes them in batches, from an index on.
fn pass_through(start: u32, items: u32, publish_each: u32, release_each: u32) {
    model(move || {
        let shared = Shared::starting_at(start);
        let theirs = Arc::clone(&shared);
        let sender = thread::spawn(move || {
            let mut producer = Producer::new(theirs);
            let mut number = 0;
            while number < items {
                match producer.push(number) {
                    Ok(()) => {
                        number += 1;
                        if number % publish_each == 0 || number == items {
                            producer.publish();
                        }
                    }
                    Err(back) => {
                        assert_eq!(back, number, "a full ring gives the item back");
                        producer.publish();
                        thread::yield_now();
                    }
                }
            }
        });
        let mut consumer = Consumer::new(shared);
        let mut expected = 0;
        while expected < items {
            let waiting = consumer.available();
            assert!(waiting <= ENTRIES);
            assert_eq!(consumer.peek(0), (waiting > 0).then_some(expected));
            assert_eq!(consumer.peek(ENTRIES), None);
            match consumer.pop() {
                Some(number) => {
                    assert_eq!(number, expected, "in order, none twice, none missing");
                    expected += 1;
                    if expected % release_each == 0 {
                        consumer.release();
                    }
                }
                None => {
                    consumer.release();
                    thread::yield_now();
                }
            }
        }
        consumer.release();
        sender.join().expect("the sender ends");
    });
}

#[test]
fn every_interleaving_passes_items_in_order_one_by_one() {
    pass_through(0, 3, 1, 1);
}

#[test]
fn every_interleaving_passes_items_in_order_in_batches() {
    pass_through(0, 4, 2, 2);
}

#[test]
fn every_interleaving_passes_items_over_the_wrap_of_the_index() {
    pass_through(u32::MAX - 1, 3, 1, 2);
}

/// A frame's way there and back: what the worker wrote to a chunk before it lent it is what the kernel
/// sees, and the other way around.
#[test]
fn a_chunk_changes_hands_with_its_entry() {
    model(|| {
        let (fill, receive) = (Shared::starting_at(0), Shared::starting_at(0));
        let chunk = Arc::new(UnsafeCell::new(0u32));
        let kernel = {
            let (fill, receive, chunk) = (Arc::clone(&fill), Arc::clone(&receive), Arc::clone(&chunk));
            thread::spawn(move || {
                let (mut fill, mut receive) = (Consumer::new(fill), Producer::new(receive));
                for lap in 1..=2 {
                    while fill.pop().is_none() {
                        thread::yield_now();
                    }
                    fill.release();
                    // SAFETY: the entry says that the chunk is the kernel's.
                    chunk.with_mut(|bytes| unsafe { *bytes += lap });
                    receive.push(0).unwrap();
                    receive.publish();
                }
            })
        };
        let (mut fill, mut receive) = (Producer::new(fill), Consumer::new(receive));
        let mut sum = 0;
        for lap in 1..=2 {
            fill.push(0).unwrap();
            fill.publish();
            while receive.pop().is_none() {
                thread::yield_now();
            }
            receive.release();
            sum += lap;
            // SAFETY: the entry says that the chunk is the worker's.
            chunk.with(|bytes| assert_eq!(unsafe { *bytes }, sum));
        }
        kernel.join().unwrap();
    });
}

#[test]
fn a_producer_starts_where_the_indices_stand() {
    model(|| {
        let shared = Shared::starting_at(5);
        shared.producer.store(7, Ordering::Relaxed);
        assert_eq!(Producer::new(Arc::clone(&shared)).push(1), Err(1), "the ring is full");
        assert_eq!(Consumer::new(shared).available(), 2);
    });
}
