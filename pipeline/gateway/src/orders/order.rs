//! What is known of one order, one cancel, and of the orders that replaced each other.

use crate::line::WireRef;
use bus::{OrderId, OrderSide, Quantity, ReportKind, TimeInForce};
use tick::Price;

/// Where an order is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// In the journal, and not sent yet as far as is known.
    Taken,
    /// Sent, and not answered.
    Sent,
    /// The venue has it. A replacement: in force.
    Open,
    /// Over.
    Ended {
        /// How: filled, cancelled, replaced, rejected or denied.
        how: ReportKind,
        /// The code.
        reason: String,
    },
}

/// Whether the venue is to be asked about an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// No.
    None,
    /// Yes: the order that it was to replace ended, and the venue may say nothing more.
    Ask,
    /// Yes, and nothing new is sent before: the connection was lost while it was not answered.
    Lost,
}

/// One order: a new one, or a replacement.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Order {
    pub id: OrderId,
    pub wire_ref: WireRef,
    pub shard: u16,
    pub publisher_id: u16,
    pub instrument_id: u32,
    pub symbol: String,
    pub strategy: String,
    pub cause_ns: u64,
    pub side: OrderSide,
    /// In all, what was filled counts.
    pub quantity: Quantity,
    /// Taken off `quantity` by the venue: will not trade.
    pub cut: Quantity,
    pub price: Option<Price>,
    pub time_in_force: TimeInForce,
    pub replaces: Option<OrderId>,
    pub chain: usize,
    pub state: State,
    pub accepted: bool,
    pub doubt: Doubt,
    pub venue_order: String,
    /// A replacement of this order on its way.
    pub pending: Option<OrderId>,
    /// Cancels of this order that are not answered, oldest first.
    pub cancels: Vec<OrderId>,
}

impl Order {
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// Whether the venue has not answered it.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.state, State::Taken | State::Sent)
    }

    /// Whether it never was an order at the venue, as far as was said.
    pub(super) fn never_was(&self) -> bool {
        matches!(self.state, State::Ended { how: ReportKind::Rejected | ReportKind::Denied, .. })
    }

    /// Which way a trade of it moves the position.
    pub(super) fn signed(&self, quantity: Quantity) -> i128 {
        match self.side {
            OrderSide::Buy => i128::from(quantity),
            OrderSide::Sell | OrderSide::SellShort => -i128::from(quantity),
        }
    }
}

/// An order and what replaced it, one after the other: they share what was filled.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Chain {
    pub filled: Quantity,
    /// Known only from how the venue said that it stands: trades that may still be told.
    pub assumed: Quantity,
    /// The one in force.
    pub current: OrderId,
    /// It is to end: a cancel was asked for, or the venue has an order that it had refused.
    pub unwanted: bool,
}

/// Where a cancel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CancelState {
    /// In the journal.
    Taken,
    /// Sent.
    Sent,
    /// Not sent, or nobody knows: another one carries it out once that is possible.
    Lost,
    /// Nothing more is to be done for it.
    Done,
}

/// A cancel: a strategy's, or one made here.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Cancel {
    pub of: OrderId,
    pub wire_ref: WireRef,
    pub state: CancelState,
    pub own: bool,
    /// The strategy's cancel that it carries out: itself, if it is a strategy's.
    pub carries_out: Option<OrderId>,
    /// Whether its end was reported.
    pub answered: bool,
}

/// A trade.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Execution {
    pub quantity: Quantity,
    pub price: Price,
    pub void: bool,
}
