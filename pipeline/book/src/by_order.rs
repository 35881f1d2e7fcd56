//! The book by order.
//!
//! Priority is DBN's: an order joins the end of its price's queue; a `Modify` that changes the price or
//! raises the size puts it at the end again, any other leaves it where it is; a `Cancel` takes off what it
//! says. A `Trade` or `Fill` changes nothing; what it did to the orders is said by the ticks behind it.

use crate::books::Books;
use crate::ladders::{key, ladder, side_of};
use crate::orders::{NIL, Node, Slot};
use crate::state::{Kind, Refusal};
use tick::{Side, Tick};

/// What a change of a book touched.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Change {
    pub(crate) top: bool,
    pub(crate) depth: bool,
    pub(crate) refused: Option<Refusal>,
}

impl Change {
    #[inline(always)]
    pub(crate) fn refused(refusal: Refusal) -> Change {
        Change { refused: Some(refusal), ..Change::default() }
    }

    #[inline(always)]
    fn of(top: bool) -> Change {
        Change { top, depth: true, refused: None }
    }

    #[inline(always)]
    fn and(self, other: Change) -> Change {
        Change {
            top: self.top | other.top,
            depth: self.depth | other.depth,
            refused: self.refused.or(other.refused),
        }
    }

    #[cold]
    fn but(self, refusal: Refusal) -> Change {
        Change { refused: Some(refusal), ..self }
    }
}

/// A side of the book, or none.
#[inline(always)]
pub(crate) fn book_side(side: Side) -> Option<Side> {
    matches!(side, Side::Bid | Side::Ask).then_some(side)
}

#[inline(always)]
fn has_size(tick: &Tick) -> bool {
    tick.size != 0 && tick.size != Tick::SIZE_UNDEFINED
}

impl Books {
    #[inline(always)]
    pub(crate) fn add_order(&mut self, book: u32, tick: &Tick) -> Change {
        let side = match book_side(tick.side) {
            Some(side) => side,
            None => match self.side_of_replaced(book, tick) {
                Some(side) => side,
                None => return Change::refused(Refusal::BadSide),
            },
        };
        if !tick.price().is_defined() {
            return Change::refused(Refusal::BadPrice);
        }
        if !has_size(tick) {
            return Change::refused(Refusal::BadSize);
        }
        match self.orders.find(book, tick.order_id) {
            Err(slot) => self.rest(slot, book, side, tick),
            Ok((slot, at)) => {
                let removed = self.remove_order(slot, at);
                let Err(slot) = self.orders.find(book, tick.order_id) else { return removed };
                removed.and(self.rest(slot, book, side, tick)).but(Refusal::OrderExists)
            }
        }
    }

    /// ITCH's replace: an order without a side has that of the order cancelled by the same message.
    #[inline]
    fn side_of_replaced(&self, book: u32, tick: &Tick) -> Option<Side> {
        let (sequence, side) = self.entries[book as usize].cancelled;
        if sequence == tick.sequence { book_side(side) } else { None }
    }

    /// Puts a new order at the end of its price's queue.
    #[inline(always)]
    fn rest(&mut self, slot: Slot, book: u32, side: Side, tick: &Tick) -> Change {
        let node = Node { id: tick.order_id, book, level: NIL, next: NIL, prev: NIL, size: tick.size };
        let Some(at) = self.orders.insert(slot, node) else {
            return Change::refused(Refusal::OrdersFull);
        };
        match self.join(at, ladder(book, Kind::ByOrder as usize, side), tick.price) {
            Some(top) => Change::of(top),
            None => {
                self.orders.remove(slot, at);
                Change::refused(Refusal::LevelsFull)
            }
        }
    }

    /// Appends an order to the queue of a price; says whether that is the best level, or `None` when the
    /// level is new and there is no room for it.
    #[inline(always)]
    fn join(&mut self, at: u32, ladder: u32, price: i64) -> Option<bool> {
        let (place, level_at) = match self.ladders.find(ladder, key(ladder, price)) {
            Ok(place) => (place, self.ladders.rungs(ladder)[place].level),
            Err(place) => (place, self.ladders.insert(ladder, place, price)?),
        };
        self.append(at, level_at);
        Some(place + 1 == self.ladders.rungs(ladder).len())
    }

    #[inline(always)]
    pub(crate) fn append(&mut self, at: u32, level_at: u32) {
        let level = self.ladders.level_mut(level_at);
        let tail = std::mem::replace(&mut level.tail, at);
        level.orders += 1;
        let node = self.orders.node_mut(at);
        level.size += u64::from(node.size);
        (node.level, node.prev, node.next) = (level_at, tail, NIL);
        level.head = if tail == NIL { at } else { level.head };
        self.orders.node_mut(tail).next = at;
    }

    /// Takes an order out of its queue, and the level away when it was the last one there. Says whether it
    /// was the best level.
    #[inline(always)]
    fn leave(&mut self, at: u32) -> bool {
        let Node { level: level_at, next, prev, size, .. } = *self.orders.node(at);
        let level = self.ladders.level_mut(level_at);
        level.size -= u64::from(size);
        level.orders -= 1;
        let (ladder, price, left) = (level.ladder, level.price, level.orders);
        level.head = if prev == NIL { next } else { level.head };
        level.tail = if next == NIL { prev } else { level.tail };
        self.orders.node_mut(prev).next = next;
        self.orders.node_mut(next).prev = prev;
        if left != 0 {
            return self.is_best(ladder, level_at);
        }
        let place = self.ladders.find(ladder, key(ladder, price)).expect("a level is in its ladder");
        let best = place + 1 == self.ladders.rungs(ladder).len();
        self.ladders.remove(ladder, place);
        best
    }

    #[inline(always)]
    fn is_best(&self, ladder: u32, level: u32) -> bool {
        self.ladders.best(ladder).is_some_and(|best| best.level == level)
    }

    #[inline(always)]
    fn remove_order(&mut self, slot: Slot, at: u32) -> Change {
        let top = self.leave(at);
        self.orders.remove(slot, at);
        Change::of(top)
    }

    /// Changes an order's size where it stands.
    #[inline(always)]
    fn resize(&mut self, at: u32, size: u32) -> Change {
        let node = self.orders.node_mut(at);
        let before = std::mem::replace(&mut node.size, size);
        let level_at = node.level;
        let level = self.ladders.level_mut(level_at);
        level.size = level.size - u64::from(before) + u64::from(size);
        let ladder = level.ladder;
        Change::of(self.is_best(ladder, level_at))
    }

    #[inline(always)]
    pub(crate) fn modify_order(&mut self, book: u32, tick: &Tick) -> Change {
        let Ok((slot, at)) = self.orders.find(book, tick.order_id) else {
            let added = self.add_order(book, tick);
            return if added.refused.is_some() { added } else { added.but(Refusal::UnknownOrder) };
        };
        if !tick.price().is_defined() {
            return Change::refused(Refusal::BadPrice);
        }
        if tick.size == Tick::SIZE_UNDEFINED {
            return Change::refused(Refusal::BadSize);
        }
        if tick.size == 0 {
            return self.remove_order(slot, at);
        }
        let node = *self.orders.node(at);
        let level = *self.ladders.level(node.level);
        let side = book_side(tick.side).unwrap_or(side_of(level.ladder));
        let ladder = ladder(book, Kind::ByOrder as usize, side);
        if tick.price == level.price && ladder == level.ladder {
            return if tick.size == node.size {
                Change::default()
            } else if tick.size < node.size || node.next == NIL {
                self.resize(at, tick.size)
            } else {
                self.resize(at, tick.size).and(self.requeue(at))
            };
        }
        let top = self.leave(at);
        self.orders.node_mut(at).size = tick.size;
        match self.join(at, ladder, tick.price) {
            Some(best) => Change::of(top | best),
            None => {
                self.orders.remove(slot, at);
                Change::of(top).but(Refusal::LevelsFull)
            }
        }
    }

    /// Moves an order, which has others behind it, to the end of its queue.
    fn requeue(&mut self, at: u32) -> Change {
        let level = self.orders.node(at).level;
        let top = self.leave(at);
        self.append(at, level);
        Change::of(top)
    }

    #[inline(always)]
    pub(crate) fn cancel_order(&mut self, book: u32, tick: &Tick) -> Change {
        let Ok((slot, at)) = self.orders.find(book, tick.order_id) else {
            self.entries[book as usize].cancelled = (tick.sequence, Side::None);
            return Change::refused(Refusal::UnknownOrder);
        };
        let node = self.orders.node(at);
        let (left, level) = (node.size, node.level);
        self.entries[book as usize].cancelled = (tick.sequence, side_of(self.ladders.level(level).ladder));
        if tick.size < left {
            return if tick.size == 0 {
                Change::refused(Refusal::BadSize)
            } else {
                self.resize(at, left - tick.size)
            };
        }
        let removed = self.remove_order(slot, at);
        if tick.size == left || tick.size == Tick::SIZE_UNDEFINED {
            removed
        } else {
            removed.but(Refusal::SizeTooBig)
        }
    }

    /// Removes every order.
    pub(crate) fn clear_orders(&mut self, book: u32) -> Change {
        let mut depth = false;
        for side in [Side::Bid, Side::Ask] {
            let ladder = ladder(book, Kind::ByOrder as usize, side);
            for place in 0..self.ladders.rungs(ladder).len() {
                depth = true;
                let mut at = self.ladders.level(self.ladders.rungs(ladder)[place].level).head;
                while at != NIL {
                    let Node { id, next, .. } = *self.orders.node(at);
                    if let Ok((slot, at)) = self.orders.find(book, id) {
                        self.orders.remove(slot, at);
                    }
                    at = next;
                }
            }
            self.ladders.clear(ladder);
        }
        Change { top: depth, depth, refused: None }
    }
}
