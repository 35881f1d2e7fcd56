//! The arithmetic of one ring shared with the kernel: a producer and a consumer index of 32 bits that only
//! grow and wrap, over a power of two of entries.
//!
//! Each side writes its own index and reads the other's. Invariant, of both sides' views:
//! `consumer ≤ producer ≤ consumer + entries`, counted with wrap-around. An entry belongs to the consumer
//! from the moment it sees the producer's index past it (acquire) until its own index is past it (release),
//! and to the producer otherwise. Nothing in here knows of sockets: the tests run it under loom, which is
//! why the atomics come from the parent module.

use super::atomic::{AtomicU32, Ordering};

/// Where a ring's indices and entries are.
///
/// # Safety
/// The indices and `entries()` (a power of two) entries stay valid and the same as long as the value lives,
/// and at most one [`Producer`] and one [`Consumer`] work on them, on whichever side of the kernel.
pub(crate) unsafe trait Memory {
    /// What an entry holds.
    type Item: Copy;

    /// The producer's index.
    fn producer(&self) -> &AtomicU32;
    /// The consumer's index.
    fn consumer(&self) -> &AtomicU32;
    /// How many entries there are; a power of two.
    fn entries(&self) -> u32;
    /// Reads an entry.
    ///
    /// # Safety
    /// The entry (below `entries()`) belongs to the consumer, and the caller is it.
    unsafe fn read(&self, entry: u32) -> Self::Item;
    /// Writes an entry.
    ///
    /// # Safety
    /// The entry (below `entries()`) belongs to the producer, and the caller is it.
    unsafe fn write(&self, entry: u32, item: Self::Item);
}

/// The side that fills entries.
#[derive(Debug)]
pub(crate) struct Producer<M> {
    memory: M,
    /// Entries written up to here; published up to the shared index.
    next: u32,
    /// The consumer's index when it was last looked at.
    seen_consumer: u32,
}

impl<M: Memory> Producer<M> {
    /// Takes up where the shared indices stand.
    pub(crate) fn new(memory: M) -> Self {
        assert!(memory.entries().is_power_of_two(), "a ring holds a power of two of entries");
        let next = memory.producer().load(Ordering::Relaxed);
        let seen_consumer = memory.consumer().load(Ordering::Acquire);
        Self { memory, next, seen_consumer }
    }

    /// Writes an entry, to be published by [`Producer::publish`].
    ///
    /// # Errors
    /// The ring is full: gives the item back.
    #[inline]
    pub(crate) fn push(&mut self, item: M::Item) -> Result<(), M::Item> {
        let entries = self.memory.entries();
        if self.next.wrapping_sub(self.seen_consumer) >= entries {
            self.seen_consumer = self.memory.consumer().load(Ordering::Acquire);
            if self.next.wrapping_sub(self.seen_consumer) >= entries {
                return Err(item);
            }
        }
        // SAFETY: the consumer's index is less than `entries` behind, so it is done with this entry, and the
        // shared index has not reached it.
        unsafe { self.memory.write(self.next & (entries - 1), item) };
        self.next = self.next.wrapping_add(1);
        Ok(())
    }

    /// Hands the entries written so far to the consumer.
    #[inline]
    pub(crate) fn publish(&mut self) {
        self.memory.producer().store(self.next, Ordering::Release);
    }

    /// The memory.
    #[inline]
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }
}

/// The side that takes entries.
#[derive(Debug)]
pub(crate) struct Consumer<M> {
    memory: M,
    /// Entries taken up to here; released up to the shared index.
    next: u32,
    /// The producer's index when it was last looked at.
    seen_producer: u32,
}

impl<M: Memory> Consumer<M> {
    /// Takes up where the shared indices stand.
    pub(crate) fn new(memory: M) -> Self {
        assert!(memory.entries().is_power_of_two(), "a ring holds a power of two of entries");
        let next = memory.consumer().load(Ordering::Relaxed);
        Self { memory, next, seen_producer: next }
    }

    /// How many entries can be popped, looking at the producer only when none are known of.
    #[inline]
    pub(crate) fn available(&mut self) -> u32 {
        if self.seen_producer == self.next {
            self.seen_producer = self.memory.producer().load(Ordering::Acquire);
        }
        // A producer that claims more than there are entries would have overwritten what we read.
        self.seen_producer.wrapping_sub(self.next).min(self.memory.entries())
    }

    /// Reads the entry `ahead` places further, if it is known to be there, and leaves it where it is.
    #[inline]
    pub(crate) fn peek(&self, ahead: u32) -> Option<M::Item> {
        if ahead >= self.seen_producer.wrapping_sub(self.next).min(self.memory.entries()) {
            return None;
        }
        let entry = self.next.wrapping_add(ahead) & (self.memory.entries() - 1);
        // SAFETY: the producer's index, read with acquire, is past this entry, and ours is not.
        Some(unsafe { self.memory.read(entry) })
    }

    /// Takes the next entry, to be given back by [`Consumer::release`].
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<M::Item> {
        if self.available() == 0 {
            return None;
        }
        // SAFETY: the producer's index, read with acquire, is past this entry, and ours is not.
        let item = unsafe { self.memory.read(self.next & (self.memory.entries() - 1)) };
        self.next = self.next.wrapping_add(1);
        Some(item)
    }

    /// Gives the entries popped so far back to the producer.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.memory.consumer().store(self.next, Ordering::Release);
    }
}
