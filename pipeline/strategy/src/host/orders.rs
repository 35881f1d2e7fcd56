//! The orders of all strategies: whose they are, what they say, and which instructions wait for their first report.
//!
//! The risk engine decides what is open; this table follows it and adds what a strategy wants to see.
//!
//! Invariant: `ids` leads to a place that holds the order while it is open; an id that was ever made stays known.

use crate::desk::OpenOrder;
use bus::{Instruction, OrderId};
use std::collections::HashMap;

/// What an id was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Made {
    /// A new order, or a replacement; where it is or was, and of which user of that place.
    Order(u32, u32),
    /// A cancel of this order.
    Cancel(OrderId),
    /// A replacement that was read back when its order was over: it cannot have come into force.
    TooLate,
}

/// An open order and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) order: OpenOrder,
    pub(crate) ledger: usize,
    pub(crate) place: u32,
    /// The cancel that nobody answered, when it alone makes the order unknown.
    pub(crate) doubted_by: Option<OrderId>,
}

/// A place for an order, one after the other.
#[derive(Clone, Debug, Default)]
struct Slot {
    live: Option<Live>,
    /// Orders that had it before; a replacement is the order that it replaces.
    user: u32,
}

/// An instruction that no report has answered.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) instruction: Instruction,
    /// When it was last published.
    pub(crate) since_ns: u64,
}

/// The orders of a host.
#[derive(Debug)]
pub(crate) struct Orders {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ids: HashMap<OrderId, Made>,
    ids_max: usize,
    /// Oldest first.
    pub(crate) waiting: Vec<Waiting>,
}

impl Orders {
    /// Remembers as many ids of orders as the risk engine does, and as many of cancels. Their memory is taken here, as
    /// moving them later would be felt.
    pub(crate) fn new(ids_max: usize) -> Orders {
        let ids_max = ids_max * 2;
        let ids = HashMap::with_capacity(ids_max);
        Orders { slots: Vec::new(), free: Vec::new(), ids, ids_max, waiting: Vec::new() }
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Live> {
        self.slots.get(slot as usize)?.live.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Live> {
        self.slots.get_mut(slot as usize)?.live.as_mut()
    }

    pub(crate) fn made(&self, id: OrderId) -> Option<Made> {
        self.ids.get(&id).copied()
    }

    /// Where the open order is that has this id, or whose replacement on its way has it.
    pub(crate) fn slot(&self, id: OrderId) -> Option<u32> {
        let slot = self.chain(id)?;
        let order = &self.get(slot)?.order;
        let named = order.id == id || order.replacing.is_some_and(|replacing| replacing.id == id);
        named.then_some(slot)
    }

    /// Where the open order is that has or ever had this id: also under that of an order that it has replaced.
    pub(crate) fn chain(&self, id: OrderId) -> Option<u32> {
        let Some(Made::Order(slot, user)) = self.made(id) else { return None };
        let place = self.slots.get(slot as usize)?;
        (place.user == user && place.live.is_some()).then_some(slot)
    }

    /// An id of the order at this place.
    pub(crate) fn note_order(&mut self, id: OrderId, slot: u32) {
        let user = self.slots.get(slot as usize).map_or(0, |place| place.user);
        self.note(id, Made::Order(slot, user));
    }

    pub(crate) fn find(&self, id: OrderId) -> Option<&Live> {
        self.get(self.slot(id)?)
    }

    pub(crate) fn note(&mut self, id: OrderId, made: Made) {
        let known = self.ids.len() < self.ids_max || !matches!(made, Made::Cancel(_));
        if known {
            self.ids.insert(id, made);
        }
    }

    pub(crate) fn insert(&mut self, live: Live) -> u32 {
        let id = live.order.id;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].live = Some(live);
        self.note_order(id, slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Live> {
        let place = self.slots.get_mut(slot as usize)?;
        let live = place.live.take()?;
        place.user = place.user.wrapping_add(1);
        self.free.push(slot);
        Some(live)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Live)> {
        (0..).zip(&self.slots).filter_map(|(slot, place)| Some((slot, place.live.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A report came for this id: it is not waited for any more. Whether it was.
    pub(crate) fn answered(&mut self, id: OrderId) -> bool {
        let found = self.waiting.iter().position(|waiting| waiting.instruction.id == id);
        found.map(|at| self.waiting.remove(at)).is_some()
    }
}
