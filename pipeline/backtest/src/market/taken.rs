//! What our orders have taken of the recorded liquidity. The recorded market does not know it, so its orders and levels
//! stay as they are; here it is remembered that they hold less, so that nothing displayed is taken twice.
//!
//! A book by order: for each order, how much of it. A book by price: for each level, how much of it. What was taken is never
//! more than what is still there in the record: as the record takes shares off, they are the ones that we took first. With the
//! order or level it is forgotten.

use book::{Book, Kind};
use std::collections::HashMap;
use tick::Side;

/// Orders and levels remembered at most for an instrument. What cannot be remembered is not taken.
pub(super) const TAKEN_MAX: usize = 65_536;

/// Of one instrument.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    orders: HashMap<u64, u64>,
    levels: Vec<(Side, i64, u64)>,
}

impl Taken {
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.levels.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.orders.clear();
        self.levels.clear();
    }

    /// An order of a book by order was changed by the record.
    #[inline]
    pub(super) fn order_changed(&mut self, order_id: u64, book: Book<'_>) {
        let Some(taken) = self.orders.get_mut(&order_id) else { return };
        match book.order(order_id) {
            Some(order) => *taken = (*taken).min(u64::from(order.size)),
            None => {
                self.orders.remove(&order_id);
            }
        }
    }

    /// A book by price was changed by the record.
    #[inline]
    pub(super) fn levels_changed(&mut self, book: Book<'_>) {
        self.levels.retain_mut(|(side, price, taken)| {
            *taken = (*taken).min(level_size(book, *side, *price));
            *taken > 0
        });
    }

    /// Takes up to `wanted` of a side, best prices first, down to the last price that `accepts`. Each price and how much
    /// of it is given to `fill`.
    pub(super) fn take(
        &mut self,
        book: Book<'_>,
        side: Side,
        wanted: u64,
        accepts: impl Fn(i64) -> bool,
        mut fill: impl FnMut(i64, u64),
    ) {
        let mut left = wanted;
        if book.kind() == Kind::ByPrice {
            for level in book.levels(side).take_while(|level| accepts(level.price)) {
                let took = self.take_level(side, level.price, level.size, left);
                if took > 0 {
                    fill(level.price, took);
                }
                left -= took;
                if left == 0 {
                    return;
                }
            }
            return;
        }
        let mut level = (0, 0);
        for order in book.orders(side).take_while(|order| accepts(order.price)) {
            if left == 0 {
                break;
            }
            let took = self.take_order(order.order_id, u64::from(order.size), left);
            if order.price != level.0 && level.1 > 0 {
                fill(level.0, level.1);
                level.1 = 0;
            }
            level = (order.price, level.1 + took);
            left -= took;
        }
        if level.1 > 0 {
            fill(level.0, level.1);
        }
    }

    fn take_order(&mut self, order_id: u64, size: u64, wanted: u64) -> u64 {
        let full = self.orders.len() >= TAKEN_MAX;
        let taken = match self.orders.get_mut(&order_id) {
            Some(taken) => taken,
            None if full => return 0,
            None => self.orders.entry(order_id).or_default(),
        };
        let took = size.saturating_sub(*taken).min(wanted);
        *taken += took;
        took
    }

    fn take_level(&mut self, side: Side, price: i64, size: u64, wanted: u64) -> u64 {
        let found = self.levels.iter_mut().find(|level| (level.0, level.1) == (side, price));
        if let Some((.., taken)) = found {
            let took = size.saturating_sub(*taken).min(wanted);
            *taken += took;
            return took;
        }
        if self.levels.len() >= TAKEN_MAX {
            return 0;
        }
        let took = size.min(wanted);
        if took > 0 {
            self.levels.push((side, price, took));
        }
        took
    }
}

/// What rests at a price; 0 when nothing does.
#[inline]
pub(super) fn level_size(book: Book<'_>, side: Side, price: i64) -> u64 {
    let not_behind = |level: &book::Level| match side {
        Side::Bid => level.price >= price,
        _ => level.price <= price,
    };
    let level = book.levels(side).take_while(not_behind).find(|level| level.price == price);
    level.map_or(0, |level| level.size)
}
