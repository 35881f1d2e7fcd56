//! What a session is told, in one order: by its line, and by the reader of instructions.

use crate::line::{Event, Events};
use crate::orders::About;
use bus::{Instruction, StreamId, TradingState};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Items beyond which a line reads no more, and the reader waits: some megabytes.
const ITEMS_MAX: usize = 8_192;

/// Something for the session.
pub(super) enum Item {
    /// A line's event.
    Line(Event),
    /// Entries of a shard's instructions for this session, and how far the stream was read.
    Entries { shard: u16, entries: Vec<(StreamId, Arrived)>, to: StreamId },
    /// The trading state.
    Trading(TradingState),
}

/// An entry of `order_instructions`.
pub(super) enum Arrived {
    /// One that can be read.
    Instruction(Box<Instruction>),
    /// One that breaks the contract: what could be read of it, the code and the fault.
    Refused { about: About, reason: &'static str, fault: String },
}

/// A queue that is read by one thread.
#[derive(Default)]
pub(super) struct Inbox {
    items: Mutex<VecDeque<Item>>,
    came: Condvar,
    left: Condvar,
    /// How often a line said that it is up or down.
    turns: AtomicU64,
}

impl Inbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, item: Item) {
        self.lock().push_back(item);
        self.came.notify_one();
    }

    /// Adds an item, after at most `wait` for room. Gives it back when there is none.
    pub(super) fn push_within(&self, item: Item, wait: Duration) -> Result<(), Item> {
        let items = self.lock();
        let full = |items: &mut VecDeque<Item>| items.len() >= ITEMS_MAX;
        let (mut items, waited) =
            self.left.wait_timeout_while(items, wait, full).unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && items.len() >= ITEMS_MAX {
            return Err(item);
        }
        items.push_back(item);
        drop(items);
        self.came.notify_one();
        Ok(())
    }

    /// What is there, at most `most`; waits for something at most `wait`.
    pub(super) fn take(&self, wait: Duration, most: usize) -> Vec<Item> {
        let items = self.lock();
        let (mut items, _) = self
            .came
            .wait_timeout_while(items, wait, |items| items.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let count = items.len().min(most);
        let taken = items.drain(..count).collect();
        drop(items);
        self.left.notify_all();
        taken
    }

    /// How often the connection came or went, as far as lines told: also what is not taken yet.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }
}

/// Where a line puts its events.
pub(super) struct LineEvents {
    pub(super) inbox: Arc<Inbox>,
}

impl Events for LineEvents {
    fn push(&self, event: Event) {
        if is_turn(&event) {
            self.inbox.turns.fetch_add(1, Ordering::AcqRel);
        }
        self.inbox.push(Item::Line(event));
    }

    fn is_full(&self) -> bool {
        self.inbox.lock().len() >= ITEMS_MAX
    }
}

/// Whether the connection came or went.
pub(super) fn is_turn(event: &Event) -> bool {
    matches!(event, Event::Up { .. } | Event::Down { .. })
}
