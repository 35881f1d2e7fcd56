//! An order in the market, and the reports about it.

use super::queue::Queue;
use bus::{Instruction, OrderId, OrderSide, Quantity, Report, ReportKind, TimeInForce};
use tick::{Price, Side};

/// An order that may still trade.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) id: OrderId,
    /// The order that it replaced: what is on its way may name that one.
    pub(super) previous: Option<OrderId>,
    /// As it came; names, keys and cause are of the newest replacement.
    pub(super) instruction: Instruction,
    pub(super) side: OrderSide,
    /// None takes any price.
    pub(super) limit: Option<Price>,
    pub(super) time_in_force: TimeInForce,
    /// In all, what was filled counts.
    pub(super) quantity: Quantity,
    pub(super) filled: Quantity,
    pub(super) venue_order: u64,
    /// None until the instrument trades and its book is good.
    pub(super) queue: Option<Queue>,
}

impl Order {
    pub(super) fn leaves(&self) -> Quantity {
        self.quantity.saturating_sub(self.filled)
    }

    /// Side of the book at which it rests.
    pub(super) fn book_side(&self) -> Side {
        book_side(self.side)
    }

    pub(super) fn is_named(&self, id: OrderId) -> bool {
        self.id == id || self.previous == Some(id)
    }

    /// Whether it stays when it cannot trade at once.
    pub(super) fn rests(&self) -> bool {
        self.time_in_force == TimeInForce::Day && self.limit.is_some()
    }

    /// A report about it.
    pub(super) fn report(&self, kind: ReportKind, now_ns: u64) -> Report {
        Report {
            id: Some(self.id),
            side: Some(self.side),
            filled: self.filled,
            leaves: self.leaves(),
            venue_order: self.venue_order.to_string(),
            ..about(&self.instruction, kind, now_ns)
        }
    }
}

/// A report about an instruction.
pub(super) fn about(instruction: &Instruction, kind: ReportKind, now_ns: u64) -> Report {
    Report {
        id: Some(instruction.id),
        venue: instruction.venue.clone(),
        strategy: instruction.strategy.clone(),
        symbol: instruction.symbol.clone(),
        publisher_id: instruction.publisher_id,
        instrument_id: instruction.instrument_id,
        cause_ns: instruction.cause_ns,
        ..Report::new(kind, now_ns)
    }
}

/// Side of the book of an order's side.
pub(super) fn book_side(side: OrderSide) -> Side {
    match side {
        OrderSide::Buy => Side::Bid,
        OrderSide::Sell | OrderSide::SellShort => Side::Ask,
    }
}

/// The other side.
pub(super) fn other(side: Side) -> Side {
    if side == Side::Bid { Side::Ask } else { Side::Bid }
}

/// Whether a price of this side of the book is better than another one.
pub(super) fn is_better(side: Side, price: i64, than: i64) -> bool {
    if side == Side::Bid { price > than } else { price < than }
}
