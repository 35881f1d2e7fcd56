//! The open orders, and every order id ever used.
//!
//! Invariant: an id whose `slot` is a place leads to an order that has this id, or whose replacement has it.

use super::hash::BuildIdHasher;
use bus::OrderId;
use std::collections::HashMap;

pub(super) const NO_SLOT: u32 = u32::MAX;

/// What is known of an id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Where the order is, [`NO_SLOT`] when it has ended.
    pub slot: u32,
    /// Traded in all.
    pub filled: u64,
}

/// A replacement on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub id: OrderId,
    pub price: i64,
    pub leaves: u64,
}

/// An open order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub id: OrderId,
    pub instrument: u32,
    pub buys: bool,
    /// The limit. One that is not known is the one that trades with everything.
    pub price: i64,
    pub leaves: u64,
    pub filled: u64,
    pub pending: Option<Pending>,
    /// The gateway does not know what became of it.
    pub unknown: bool,
}

impl Order {
    /// Most that may still trade.
    pub(super) fn worst(&self) -> u64 {
        self.leaves.max(self.pending.map_or(0, |pending| pending.leaves))
    }

    /// The price that trades first.
    pub(super) fn aggressive(&self) -> i64 {
        match self.pending {
            Some(pending) if self.buys => self.price.max(pending.price),
            Some(pending) => self.price.min(pending.price),
            None => self.price,
        }
    }
}

/// Orders and ids. Memory is taken at first, and grows only when reports bring orders beyond the limit.
#[derive(Debug)]
pub(super) struct Orders {
    slots: Vec<Option<Order>>,
    free: Vec<u32>,
    ids: HashMap<OrderId, Known, BuildIdHasher>,
    ids_max: usize,
}

impl Orders {
    pub(super) fn new(open_max: usize, ids_max: usize) -> Orders {
        Orders {
            slots: Vec::with_capacity(open_max),
            free: Vec::with_capacity(open_max),
            ids: HashMap::with_capacity_and_hasher(ids_max, BuildIdHasher::default()),
            ids_max,
        }
    }

    /// Room for so many open orders, so that a check takes none.
    pub(super) fn reserve(&mut self, open_max: usize) {
        self.slots.reserve(open_max.saturating_sub(self.slots.len()));
        self.free.reserve(open_max.saturating_sub(self.free.len()));
    }

    pub(super) fn known(&self, id: &OrderId) -> Option<Known> {
        self.ids.get(id).copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.ids.len() >= self.ids_max
    }

    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Order> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Order> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, order: Order) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(order);
                slot
            }
            None => {
                self.slots.push(Some(order));
                (self.slots.len() - 1) as u32
            }
        };
        self.note(order.id, Known { slot, filled: order.filled });
        slot
    }

    pub(super) fn note(&mut self, id: OrderId, known: Known) {
        self.ids.insert(id, known);
    }

    /// Takes an ended order out; its id stays known.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Order> {
        let order = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.note(order.id, Known { slot: NO_SLOT, filled: order.filled });
        Some(order)
    }
}
