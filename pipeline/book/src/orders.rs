//! Every resting order, and the table that finds an order by its id.
//!
//! Orders lie in one array of fixed capacity and are linked, by index, into the queue of their level, first
//! in time at the head. The table is open-addressed with linear probing: an entry of eight bytes holds 32
//! bits of hash and the order's index, so that a look-up touches an order only to confirm it. A removal
//! moves the entries behind it back, so that there are no tombstones and the table never degrades.
//!
//! Invariants: an order is in the table exactly when it is not on the free list; the table is at most half
//! full, so that probing ends.

/// No order, no level. Something is stored at this index all the same, which may be written and says nothing: a
/// link at the end of a queue is then mended like any other, without a jump that cannot be predicted.
pub(crate) const NIL: u32 = 0;

/// Ids that share a page of the table: 512 of eight bytes.
const RUN_BITS: u32 = 9;
const RUN_MASK: u32 = (1 << RUN_BITS) - 1;

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
    /// 0, or hash in the upper and index in the lower half.
    table: Box<[u64]>,
    /// Runs of 512 entries are `1 << page_bits`.
    page_bits: u32,
}

/// What a look-up found, or where it belongs: good until the next change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(usize);

impl Orders {
    pub(crate) fn new(limit: usize) -> Orders {
        let pages = (limit * 2).div_ceil(1 << RUN_BITS).next_power_of_two();
        let mut nodes = Vec::with_capacity(limit + 1);
        nodes.push(Node { id: 0, book: 0, level: NIL, next: NIL, prev: NIL, size: 0 });
        Orders {
            nodes,
            limit,
            free: NIL,
            used: 0,
            table: vec![0; pages << RUN_BITS].into(),
            page_bits: pages.trailing_zeros(),
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

    /// Ids of one run of 512 share a page of 4 KiB, and of eight a cache line: venues number orders in turn over
    /// all instruments, and most orders go soon after they came, while their page is still known and their line
    /// near. Within its page a run is shuffled by its own hash, so that ids with the same low bits do not meet.
    /// The book is left out for all that; ids that many instruments share are found, but one behind the other.
    #[inline(always)]
    fn hash(id: u64) -> u32 {
        let run = (id >> RUN_BITS).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let shuffle = id ^ (run >> 15) ^ (run >> 24);
        (run >> 32) as u32 ^ (shuffle as u32 & RUN_MASK)
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        let page = u64::from(hash & !RUN_MASK) << self.page_bits >> 32;
        (page as usize) << RUN_BITS | (hash & RUN_MASK) as usize
    }

    #[inline(always)]
    fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & (self.table.len() - 1)
    }

    /// Where the order is, or where it would have to be put.
    #[inline(always)]
    pub(crate) fn find(&self, book: u32, id: u64) -> Result<(Slot, u32), Slot> {
        let hash = Orders::hash(id);
        let mut slot = self.home(hash);
        loop {
            let entry = self.table[slot];
            if entry == 0 {
                return Err(Slot(slot));
            }
            if (entry >> 32) as u32 == hash {
                let at = entry as u32;
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
        } else if self.nodes.len() <= self.limit {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        } else {
            return None;
        };
        self.used += 1;
        let hash = Orders::hash(node.id);
        self.table[slot.0] = u64::from(hash) << 32 | u64::from(at);
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
            let key = ((random >> 60) as u32, ((random >> 33) % 300) << ((random >> 50) % 4 * 16));
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
    fn ids_that_follow_each_other_share_a_line_and_a_page() {
        let orders = Orders::new(1 << 16);
        let home = |id| orders.home(Orders::hash(id));
        assert!((80..88).all(|id| home(id) >> 3 == home(80) >> 3));
        assert!((512..1024).all(|id| home(id) >> 9 == home(512) >> 9));
        assert_ne!(home(1024) >> 9, home(512) >> 9);
    }

    #[test]
    fn ids_with_the_same_low_bits_spread_over_the_table() {
        let orders = Orders::new(1 << 16);
        for bits in [9, 12, 16, 20, 24, 32, 40] {
            let homes: std::collections::HashSet<_> =
                (0..1u64 << 16).map(|id| orders.home(Orders::hash(id << bits))).collect();
            assert!(homes.len() > 1 << 15, "{} places at {bits} bits", homes.len());
        }
    }
}
