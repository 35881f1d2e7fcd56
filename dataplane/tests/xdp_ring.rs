//! The ring arithmetic against a plain queue, around the wrap of its 32-bit indices above all. The source of
//! `dataplane::xdp::ring` is built in here with the standard atomics.

#![allow(dead_code, reason = "the ring is more than one test file uses")]

mod atomic {
    pub(super) use std::sync::atomic::{AtomicU32, Ordering};
}
#[path = "../src/xdp/ring.rs"]
mod ring;

use atomic::{AtomicU32, Ordering};
use proptest::prelude::*;
use ring::{Consumer, Memory, Producer};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

struct Shared {
    producer: AtomicU32,
    consumer: AtomicU32,
    cells: Vec<Cell<u32>>,
}

impl Shared {
    fn new(entries: u32, index: u32) -> Rc<Self> {
        Rc::new(Self {
            producer: AtomicU32::new(index),
            consumer: AtomicU32::new(index),
            cells: vec![Cell::new(0); entries as usize],
        })
    }
}

// SAFETY: the indices and cells are fixed for the life of the Rc, and all is on one thread.
unsafe impl Memory for Rc<Shared> {
    type Item = u32;
    fn producer(&self) -> &AtomicU32 {
        &self.producer
    }
    fn consumer(&self) -> &AtomicU32 {
        &self.consumer
    }
    fn entries(&self) -> u32 {
        self.cells.len() as u32
    }
    unsafe fn read(&self, entry: u32) -> u32 {
        self.cells[entry as usize].get()
    }
    unsafe fn write(&self, entry: u32, item: u32) {
        self.cells[entry as usize].set(item);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push,
    Publish,
    Pop,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Push),
        1 => Just(Step::Publish),
        4 => Just(Step::Pop),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue_wherever_its_indices_stand(
        log_entries in 0u32..6,
        start in prop_oneof![any::<u32>(), (u32::MAX - 70)..=u32::MAX],
        steps in proptest::collection::vec(step(), 0..400),
    ) {
        let shared = Shared::new(1 << log_entries, start);
        let entries = 1usize << log_entries;
        let (mut producer, mut consumer) =
            (Producer::new(Rc::clone(&shared)), Consumer::new(Rc::clone(&shared)));
        let (mut written, mut published, mut popped) = (VecDeque::new(), VecDeque::new(), 0usize);
        let mut next = 0;
        for step in steps {
            match step {
                Step::Push => {
                    let full = written.len() + published.len() + popped >= entries;
                    prop_assert_eq!(producer.push(next), if full { Err(next) } else { Ok(()) });
                    if !full {
                        written.push_back(next);
                        next += 1;
                    }
                }
                Step::Publish => {
                    producer.publish();
                    published.append(&mut written);
                }
                Step::Pop => {
                    // The consumer looks at the producer only when it knows of nothing more.
                    let known = consumer.available() as usize;
                    prop_assert!(known <= published.len());
                    prop_assert_eq!(known == 0, published.is_empty());
                    let expected = published.pop_front();
                    prop_assert_eq!(consumer.pop(), expected);
                    popped += usize::from(expected.is_some());
                }
                Step::Release => {
                    consumer.release();
                    popped = 0;
                }
            }
        }
    }
}

#[test]
fn a_producer_index_that_cannot_be_is_cut_to_the_ring() {
    let shared = Shared::new(4, 10);
    let mut consumer = Consumer::new(Rc::clone(&shared));
    shared.producer.store(9, Ordering::Relaxed);
    assert_eq!(consumer.available(), 4, "it claims to be 2^32 - 1 ahead");
    assert_eq!(consumer.peek(3), Some(0));
    assert_eq!(consumer.peek(4), None);
}

#[test]
fn a_consumer_index_that_cannot_be_stops_the_producer() {
    let shared = Shared::new(4, 10);
    let mut producer = Producer::new(Rc::clone(&shared));
    for number in 0..4 {
        producer.push(number).unwrap();
    }
    shared.consumer.store(1000, Ordering::Relaxed);
    assert_eq!(producer.push(4), Err(4), "it claims to be past the producer");
}

#[test]
#[should_panic(expected = "power of two")]
fn a_ring_of_another_size_is_refused() {
    let _ = Producer::new(Shared::new(3, 0));
}
