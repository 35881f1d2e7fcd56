//! Every resting order, and the table that finds an order by its id.
//!
//! Orders lie in one array of fixed capacity and are linked, by index, into the queue of their level, first
//! in time at the head. The table is open-addressed with linear probing: an entry of eight bytes holds 32
//! bits of hash and the order's index, so that a look-up touches an order only to confirm it. A removal
//! moves the entries behind it back, so that there are no tombstones and the table never degrades.
//!
//! Invariants: an order is in the table exactly when it is not on the free list; the table is at most half
//! full, so that probing ends.

/// No order, no level.
pub(crate) const NIL: u32 = u32::MAX;

/// A resting order.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Node {
    pub(crate) id: u64,
    /// Index of its book.
    pub(crate) book: u32,
    /// Index of its level.
    pub(crate) level: u32,
    /// The order behind it in the queue; on the free list the next free one.
    pub(crate) next: u32,
    /// The order in front of it.
    pub(crate) prev: u32,
    pub(crate) size: u32,
}

#[derive(Debug)]
pub(crate) struct Orders {
    nodes: Vec<Node>,
    limit: usize,
    /// First of the free nodes.
    free: u32,
    used: usize,
    /// 0, or hash in the upper and index + 1 in the lower half.
    table: Box<[u64]>,
    /// Groups of eight entries are `1 << line_bits`.
    line_bits: u32,
}

/// What a look-up found, or where it belongs: good until the next change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(usize);

impl Orders {
    pub(crate) fn new(limit: usize) -> Orders {
        let lines = (limit.max(4) * 2).div_ceil(8).next_power_of_two();
        Orders {
            nodes: Vec::with_capacity(limit),
            limit,
            free: NIL,
            used: 0,
            table: vec![0; lines * 8].into(),
            line_bits: lines.trailing_zeros(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    #[inline(always)]
    pub(crate) fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    #[inline(always)]
    pub(crate) fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    /// Ids that follow each other share a group of eight entries, a cache line: venues number orders in
    /// turn, and most orders go soon after they came.
    #[inline(always)]
    fn hash(book: u32, id: u64) -> u32 {
        let mixed = ((id >> 3) ^ (u64::from(book) << 37)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed >> 32) as u32 & !7) | (id as u32 & 7)
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        let line = (u64::from(hash & !7) << self.line_bits) >> 32;
        (line as usize) << 3 | (hash & 7) as usize
    }

    #[inline(always)]
    fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & (self.table.len() - 1)
    }

    /// Where the order is, or where it would have to be put.
    #[inline(always)]
    pub(crate) fn find(&self, book: u32, id: u64) -> Result<(Slot, u32), Slot> {
        let hash = Orders::hash(book, id);
        let mut slot = self.home(hash);
        loop {
            let entry = self.table[slot];
            if entry == 0 {
                return Err(Slot(slot));
            }
            if (entry >> 32) as u32 == hash {
                let at = entry as u32 - 1;
                let node = self.node(at);
                if node.id == id && node.book == book {
                    return Ok((Slot(slot), at));
                }
            }
            slot = self.next_slot(slot);
        }
    }

    /// Stores an order at the place that [`Orders::find`] gave; `None` when all are taken.
    #[inline(always)]
    pub(crate) fn insert(&mut self, slot: Slot, node: Node) -> Option<u32> {
        let at = if self.free != NIL {
            let at = self.free;
            self.free = self.node(at).next;
            *self.node_mut(at) = node;
            at
        } else if self.nodes.len() < self.limit {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        } else {
            return None;
        };
        self.used += 1;
        let hash = Orders::hash(node.book, node.id);
        self.table[slot.0] = u64::from(hash) << 32 | u64::from(at + 1);
        Some(at)
    }

    /// Takes an order out of the table and frees it. Its queue is the caller's to mend, before.
    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: Slot, at: u32) {
        let mut hole = slot.0;
        let mut slot = self.next_slot(hole);
        loop {
            let entry = self.table[slot];
            if entry == 0 {
                break;
            }
            // An entry may move back to the hole unless it belongs behind it.
            let home = self.home((entry >> 32) as u32);
            let mask = self.table.len() - 1;
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.table[hole] = entry;
                hole = slot;
            }
            slot = self.next_slot(slot);
        }
        self.table[hole] = 0;
        let free = self.free;
        self.node_mut(at).next = free;
        self.free = at;
        self.used -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn node(book: u32, id: u64) -> Node {
        Node { id, book, level: 0, next: NIL, prev: NIL, size: 1 }
    }

    #[test]
    fn a_full_table_finds_every_order_through_any_mix_of_removals() {
        let mut orders = Orders::new(1000);
        let mut kept = HashMap::new();
        let mut random = 1u64;
        for _ in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = ((random >> 60) as u32, (random >> 33) % 300 << ((random >> 50) % 4 * 16));
            match orders.find(key.0, key.1) {
                Ok((slot, at)) => {
                    assert_eq!(kept.remove(&key), Some(at));
                    orders.remove(slot, at);
                }
                Err(slot) => {
                    assert!(!kept.contains_key(&key));
                    match orders.insert(slot, node(key.0, key.1)) {
                        Some(at) => assert!(kept.insert(key, at).is_none()),
                        None => assert_eq!(kept.len(), 1000),
                    }
                }
            }
            assert_eq!(orders.len(), kept.len());
        }
        for (key, at) in kept {
            assert_eq!(orders.find(key.0, key.1).map(|(_, at)| at), Ok(at));
        }
    }

    #[test]
    fn ids_that_follow_each_other_share_a_line() {
        let orders = Orders::new(1 << 16);
        let home = |id| orders.home(Orders::hash(3, id)) >> 3;
        assert!((80..88).all(|id| home(id) == home(80)));
        assert_ne!(home(88), home(80));
    }
}
