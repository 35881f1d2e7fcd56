//! Where orders rest: a slab of orders, and for each symbol and side the price levels, best last.
//!
//! A level is a list of slots of the slab, first come first. Levels lie in one sorted array per side and not in
//! a tree: a book has tens of levels and nearly all that happens is near its best end, where an insertion
//! moves few bytes of one cache line or two. A book of many thousand levels still works, more slowly.
//!
//! Invariants: a level's shares and orders are those of its list; no level is empty; an order is in the list
//! of its price and in `by_reference`, or in neither.

use super::order::{Order, Owner, Price, Side};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// No slot.
const NONE: u32 = u32::MAX;

/// Spreads references, which the engine itself counts up: nobody can choose them to collide.
#[derive(Default)]
pub(super) struct ReferenceHasher(u64);

impl Hasher for ReferenceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[derive(Clone, Copy)]
struct Node {
    order: Order,
    previous: u32,
    next: u32,
}

/// Every resting order of the exchange.
pub(super) struct Orders {
    nodes: Vec<Node>,
    free: Vec<u32>,
    by_reference: HashMap<u64, u32, BuildHasherDefault<ReferenceHasher>>,
    max: usize,
}

impl Orders {
    /// Room for at most `max` orders; memory grows as it is needed.
    pub(super) fn new(max: usize) -> Orders {
        Orders { nodes: Vec::new(), free: Vec::new(), by_reference: HashMap::default(), max }
    }

    pub(super) fn is_full(&self) -> bool {
        self.by_reference.len() >= self.max
    }

    pub(super) fn len(&self) -> usize {
        self.by_reference.len()
    }

    pub(super) fn find(&self, reference: u64) -> Option<u32> {
        self.by_reference.get(&reference).copied()
    }

    pub(super) fn get(&self, slot: u32) -> &Order {
        &self.nodes[slot as usize].order
    }

    pub(super) fn set_token(&mut self, slot: u32, token: u64) {
        self.nodes[slot as usize].order.token = token;
    }

    /// References of the orders of `owner`, in the order of arrival.
    pub(super) fn of(&self, owner: Owner) -> Vec<u64> {
        let slots = self.by_reference.values();
        let mut found: Vec<u64> = slots
            .map(|&slot| self.get(slot))
            .filter(|order| order.owner == owner)
            .map(|o| o.reference)
            .collect();
        found.sort_unstable();
        found
    }

    fn insert(&mut self, order: Order, previous: u32) -> u32 {
        let node = Node { order, previous, next: NONE };
        let slot = if let Some(slot) = self.free.pop() {
            self.nodes[slot as usize] = node;
            slot
        } else {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        };
        self.by_reference.insert(order.reference, slot);
        slot
    }
}

/// A price level, as everybody may see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// The price.
    pub price: Price,
    /// Open shares.
    pub shares: u64,
    /// Orders.
    pub orders: u32,
}

#[derive(Clone, Copy)]
struct Queue {
    level: Level,
    first: u32,
    last: u32,
}

/// One side of one symbol's book.
pub(super) struct Ladder {
    side: Side,
    /// By rank: the best is the last.
    queues: Vec<Queue>,
}

impl Ladder {
    pub(super) fn new(side: Side) -> Ladder {
        Ladder { side, queues: Vec::new() }
    }

    fn place(&self, price: Price) -> Result<usize, usize> {
        let side = self.side;
        self.queues.binary_search_by_key(&side.rank(price), |queue| side.rank(queue.level.price))
    }

    /// Puts an order behind all others of its price.
    pub(super) fn append(&mut self, orders: &mut Orders, order: Order) {
        match self.place(order.price) {
            Ok(at) => {
                let queue = &mut self.queues[at];
                let slot = orders.insert(order, queue.last);
                orders.nodes[queue.last as usize].next = slot;
                queue.last = slot;
                queue.level.orders += 1;
                queue.level.shares += u64::from(order.open);
            }
            Err(at) => {
                let slot = orders.insert(order, NONE);
                let level = Level { price: order.price, shares: order.open.into(), orders: 1 };
                self.queues.insert(at, Queue { level, first: slot, last: slot });
            }
        }
    }

    /// Takes shares off an order; without shares it is gone. Gives back what is left.
    pub(super) fn take(&mut self, orders: &mut Orders, slot: u32, shares: u32) -> u32 {
        let node = &mut orders.nodes[slot as usize];
        debug_assert!(shares > 0 && shares <= node.order.open);
        node.order.open -= shares;
        let Node { order, previous, next } = *node;
        let at = self.place(order.price).expect("a resting order has a level");
        let queue = &mut self.queues[at];
        queue.level.shares -= u64::from(shares);
        if order.open > 0 {
            return order.open;
        }
        queue.level.orders -= 1;
        match previous {
            NONE => queue.first = next,
            slot => orders.nodes[slot as usize].next = next,
        }
        match next {
            NONE => queue.last = previous,
            slot => orders.nodes[slot as usize].previous = previous,
        }
        if queue.level.orders == 0 {
            self.queues.remove(at);
        }
        orders.by_reference.remove(&order.reference);
        orders.free.push(slot);
        0
    }

    /// The order that trades next.
    pub(super) fn front(&self) -> Option<u32> {
        self.queues.last().map(|queue| queue.first)
    }

    /// The price level that trades next.
    pub(super) fn best(&self) -> Option<Level> {
        self.queues.last().map(|queue| queue.level)
    }

    /// Levels, best first.
    pub(super) fn levels(&self) -> impl Iterator<Item = Level> {
        self.queues.iter().rev().map(|queue| queue.level)
    }

    /// Slots of the orders in the order in which they would trade.
    pub(super) fn slots<'b>(&'b self, orders: &'b Orders) -> impl Iterator<Item = u32> {
        self.queues.iter().rev().flat_map(|queue| {
            std::iter::successors(Some(queue.first), |&slot| {
                let next = orders.nodes[slot as usize].next;
                (next != NONE).then_some(next)
            })
        })
    }
}

/// The two sides of one symbol.
pub(super) struct Sides([Ladder; 2]);

impl Sides {
    pub(super) fn new() -> Sides {
        Sides(Side::BOTH.map(Ladder::new))
    }

    pub(super) fn of(&self, side: Side) -> &Ladder {
        &self.0[side as usize]
    }

    pub(super) fn of_mut(&mut self, side: Side) -> &mut Ladder {
        &mut self.0[side as usize]
    }
}
