//! Where an order stands in the queue of its price, by three models.
//!
//! | model | at arrival ahead | goes forward by |
//! |---|---|---|
//! | `by_order` | every order that rests there | those orders' own ends; a trade of any other order was ours first |
//! | `behind_all` | all that rests there | trades |
//! | `proportional` | all that rests there | trades; cancels as far as what is ahead is of the whole |
//!
//! The two that count never have more ahead than rests there.

use super::taken::level_size;
use crate::document::QueueModel;
use book::Book;
use tick::{Side, Tick};

/// What is ahead of an order.
#[derive(Clone, Debug)]
pub(super) enum Queue {
    /// The orders ahead by id, with their sizes; size 0 is one that is gone. Sorted by id.
    Orders(Vec<(u64, u32)>),
    /// How much is ahead.
    Counted {
        /// Of what rests at the price.
        ahead: u64,
        /// What last rested there.
        size: u64,
        /// Traded there, and not yet gone from what rests there.
        traded: u64,
        /// Whether cancels move it forward.
        proportional: bool,
    },
}

impl Queue {
    /// Behind all that rests at a price.
    pub(super) fn join(model: QueueModel, book: Book<'_>, side: Side, price: i64) -> Queue {
        if model == QueueModel::ByOrder {
            let not_behind = |order: &book::Order| match side {
                Side::Bid => order.price >= price,
                _ => order.price <= price,
            };
            let at_price = book.orders(side).take_while(not_behind).filter(|order| order.price == price);
            let mut ahead: Vec<_> = at_price.map(|order| (order.order_id, order.size)).collect();
            ahead.sort_unstable();
            return Queue::Orders(ahead);
        }
        let size = level_size(book, side, price);
        Queue::Counted { ahead: size, size, traded: 0, proportional: model == QueueModel::Proportional }
    }

    /// A recorded trade at the order's own price, of which `left` no order of ours has had yet: how much of that the
    /// order could have.
    pub(super) fn reached_by(&mut self, resting_order_id: u64, left: u64) -> u64 {
        match self {
            Queue::Orders(ahead) => {
                if is_ahead(ahead, resting_order_id).is_some() {
                    0
                } else {
                    left
                }
            }
            Queue::Counted { ahead, size, traded, .. } => {
                let passed = left.min(*ahead);
                *ahead -= passed;
                *traded = (*traded + left).min(*size);
                left - passed
            }
        }
    }

    /// The record changed an order: a cancel, or a modification to another price, or to a size that gives up its place.
    pub(super) fn order_changed(&mut self, tick: &Tick, own_price: i64, book: Book<'_>) {
        let Queue::Orders(ahead) = self else { return };
        let Some(at) = is_ahead(ahead, tick.order_id) else { return };
        let size = match book.order(tick.order_id) {
            Some(order) if order.price == own_price && order.size <= ahead[at].1 => order.size,
            _ => 0,
        };
        ahead[at].1 = size;
    }

    /// The record may have changed what rests at the order's price.
    pub(super) fn level_changed(&mut self, book: Book<'_>, side: Side, price: i64) {
        let Queue::Counted { ahead, size, traded, proportional } = self else { return };
        let now = level_size(book, side, price);
        if now < *size {
            let gone = *size - now;
            let by_trades = gone.min(*traded);
            *traded -= by_trades;
            let (cancelled, of) = (gone - by_trades, *size - by_trades);
            if *proportional && of > 0 {
                let moved = u128::from(cancelled) * u128::from(*ahead) / u128::from(of);
                *ahead -= u64::try_from(moved).unwrap_or(*ahead).min(*ahead);
            }
            *ahead = (*ahead).min(now);
        }
        *size = now;
    }
}

/// Where an order is among those ahead.
#[inline]
fn is_ahead(ahead: &[(u64, u32)], order_id: u64) -> Option<usize> {
    let at = ahead.binary_search_by_key(&order_id, |(id, _)| *id).ok()?;
    (ahead[at].1 > 0).then_some(at)
}
