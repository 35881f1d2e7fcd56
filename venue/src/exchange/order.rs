//! What is said between the exchange and those who trade on it: orders in, reports out, and the market data
//! events that everybody sees.
//!
//! Plain types, near to OUCH and ITCH in meaning but of neither: a gateway maps them to its own protocol.
//! An order is named by the exchange's `reference`; the owner's `token` only travels along, so that a gateway
//! can tell which of its client's orders a report is about.

use std::fmt;

/// A price in units of 0.0001, as in ITCH and OUCH.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Price(pub u32);

impl Price {
    /// The highest price that an order may have: 199,999.99, as in OUCH 5.0.
    pub const MAX: Price = Price(1_999_999_900);
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

/// The most shares that an order may have, as in OUCH 5.0.
pub const SHARES_MAX: u32 = 999_999;

/// A symbol, by its place in the list that the engine was made with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SymbolId(pub u16);

/// Somebody who enters orders and is told what becomes of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u32);

/// Whose an order is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// The rest of the market: nobody is told, and nothing is a self-match.
    Background,
    /// A session.
    Session(SessionId),
}

/// Which side of the book.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// Bids.
    Buy = 0,
    /// Offers.
    Sell = 1,
}

impl Side {
    /// Both, in index order.
    pub const BOTH: [Side; 2] = [Side::Buy, Side::Sell];

    /// The other one.
    pub const fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }

    /// The better a price is for the other side, the higher it ranks.
    pub(super) const fn rank(self, price: Price) -> u32 {
        match self {
            Side::Buy => price.0,
            Side::Sell => !price.0,
        }
    }

    /// An order of this side with this limit may trade at `price`.
    pub const fn reaches(self, limit: Price, price: Price) -> bool {
        match self {
            Side::Buy => limit.0 >= price.0,
            Side::Sell => limit.0 <= price.0,
        }
    }
}

/// Price and lifetime of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderKind {
    /// Up to this price; what is not executed rests until the symbol closes.
    Day(Price),
    /// Up to this price; what is not executed at once is cancelled.
    Ioc(Price),
    /// At any price; what is not executed at once is cancelled.
    Market,
}

impl OrderKind {
    /// The limit, if there is one.
    pub const fn limit(self) -> Option<Price> {
        match self {
            OrderKind::Day(price) | OrderKind::Ioc(price) => Some(price),
            OrderKind::Market => None,
        }
    }
}

/// An order to be entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewOrder {
    /// Whose it is.
    pub owner: Owner,
    /// What the owner calls it. Need not be unique for the engine.
    pub token: u64,
    /// What is traded.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// How much: 1 to [`SHARES_MAX`], whole lots.
    pub shares: u32,
    /// At which price and for how long.
    pub kind: OrderKind,
}

/// What is to take an order's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replacement {
    /// Who asks: only the owner may.
    pub owner: Owner,
    /// The order that goes.
    pub reference: u64,
    /// What the owner calls the order that comes.
    pub token: u64,
    /// Its open shares.
    pub shares: u32,
    /// Its limit.
    pub price: Price,
}

/// An order that rests on the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// The exchange's name for it, unique, in the order of arrival: the lower has priority.
    pub reference: u64,
    /// The owner's name for it.
    pub token: u64,
    /// Whose it is.
    pub owner: Owner,
    /// What is traded.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// Shares that may still be executed, at least 1.
    pub open: u32,
}

/// Whether a symbol trades.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TradingState {
    /// Day orders are taken and shown, nothing is matched: the book may be crossed.
    PreOpen,
    /// Orders are matched.
    Open,
    /// Only cancels.
    Halted,
    /// Nothing rests and nothing is taken, for good.
    Closed,
}

/// Why an order, a cancel or a replacement was refused. What it was about is as before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum RejectReason {
    /// The symbol is not listed.
    #[error("unknown symbol")]
    UnknownSymbol,
    /// No order of this owner has this reference: never had, or it is executed, cancelled or replaced.
    #[error("unknown order")]
    UnknownOrder,
    /// Not an order that can wait, and nothing is matched before the open.
    #[error("not open yet: only day orders are taken")]
    NotOpen,
    /// The symbol is halted: only cancels.
    #[error("halted: only cancels are taken")]
    Halted,
    /// The symbol is closed.
    #[error("closed")]
    Closed,
    /// No shares.
    #[error("no shares")]
    ZeroShares,
    /// More than [`SHARES_MAX`].
    #[error("more than {SHARES_MAX} shares")]
    TooManyShares,
    /// Not whole lots.
    #[error("not a multiple of the lot size")]
    NotWholeLots,
    /// 0, or above [`Price::MAX`].
    #[error("no price between 0 and {}", Price::MAX)]
    PriceOutOfRange,
    /// Not whole ticks.
    #[error("not a multiple of the tick size")]
    NotWholeTicks,
    /// Outside the symbol's price band.
    #[error("outside the price band")]
    OutsideBand,
    /// Every place for a resting order is taken.
    #[error("the book is full")]
    BookFull,
    /// A cancel that leaves as much as there is, or more.
    #[error("nothing to cancel: the order has no more than is to be left")]
    NothingToCancel,
}

/// Why shares were cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CancelReason {
    /// The owner asked.
    ByOwner,
    /// An IOC or market order found no more to trade with.
    Immediate,
    /// It would have traded with an order of the same owner.
    SelfMatch,
    /// The price band moved past it.
    PriceBand,
    /// The symbol closed.
    Closed,
    /// The owner's session is gone.
    Disconnected,
}

/// Whether an execution took shares from the book or was taken there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Liquidity {
    /// The order was on the book.
    Added,
    /// The order came and traded with one that was.
    Removed,
}

/// What a session is told of its own orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// The order is taken. Executions follow, if it trades at once.
    Accepted {
        /// The order's name from now on.
        reference: u64,
        /// The order as it was entered.
        order: NewOrder,
    },
    /// The order is not taken.
    Rejected {
        /// The owner's name for it.
        token: u64,
        /// Why.
        reason: RejectReason,
    },
    /// Shares were traded.
    Executed {
        /// The order.
        reference: u64,
        /// The owner's name for it.
        token: u64,
        /// How many.
        shares: u32,
        /// At which price: that of the order that was on the book first.
        price: Price,
        /// The execution's number, the same for both sides.
        match_number: u64,
        /// Which side of it this order was.
        liquidity: Liquidity,
        /// Shares that are still open.
        open: u32,
    },
    /// Shares were cancelled.
    Cancelled {
        /// The order.
        reference: u64,
        /// The owner's name for it.
        token: u64,
        /// How many.
        shares: u32,
        /// Why.
        reason: CancelReason,
        /// Shares that are still open.
        open: u32,
    },
    /// The order gave way to another. Executions follow, if that one trades at once.
    Replaced {
        /// The order that went.
        old_reference: u64,
        /// The owner's name for it.
        old_token: u64,
        /// The order that came; the same reference when it kept its place.
        reference: u64,
        /// The owner's name for it.
        token: u64,
        /// Its open shares before it trades.
        shares: u32,
        /// Its limit.
        price: Price,
    },
    /// A cancel was refused.
    CancelRejected {
        /// What was to be cancelled.
        reference: u64,
        /// Why.
        reason: RejectReason,
    },
    /// A replacement was refused; the order is as before.
    ReplaceRejected {
        /// What was to be replaced.
        reference: u64,
        /// The owner's name for what was to come.
        token: u64,
        /// Why.
        reason: RejectReason,
    },
}

/// What everybody sees. Whoever applies these has the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarketEvent {
    /// An order rests, behind all others of its price.
    Added {
        /// The order.
        reference: u64,
        /// What is traded.
        symbol: SymbolId,
        /// Buy or sell.
        side: Side,
        /// Its open shares.
        shares: u32,
        /// Its limit.
        price: Price,
    },
    /// Shares of a resting order were traded at its own price.
    Executed {
        /// The order.
        reference: u64,
        /// What is traded.
        symbol: SymbolId,
        /// How many.
        shares: u32,
        /// The execution's number.
        match_number: u64,
    },
    /// The other side of the [`MarketEvent::Executed`] before it, when that was on the book, too. The volume
    /// is counted there.
    ExecutedAtPrice {
        /// The order.
        reference: u64,
        /// What is traded.
        symbol: SymbolId,
        /// How many.
        shares: u32,
        /// The execution's number.
        match_number: u64,
        /// The execution's price.
        price: Price,
    },
    /// Some of a resting order's shares were cancelled; others are left, in their place.
    Reduced {
        /// The order.
        reference: u64,
        /// What is traded.
        symbol: SymbolId,
        /// Shares that are gone.
        shares: u32,
    },
    /// All that was left of a resting order is gone.
    Deleted {
        /// The order.
        reference: u64,
        /// What is traded.
        symbol: SymbolId,
    },
    /// A resting order gave way to another of the same side, which is behind all others of its price.
    Replaced {
        /// The order that went.
        reference: u64,
        /// The order that came.
        new_reference: u64,
        /// What is traded.
        symbol: SymbolId,
        /// Its open shares.
        shares: u32,
        /// Its limit.
        price: Price,
    },
    /// The symbol is in another state.
    State {
        /// Which symbol.
        symbol: SymbolId,
        /// The state.
        state: TradingState,
    },
}

/// Who is told what the engine does, in the order in which it does it.
pub trait Listener {
    /// Something that everybody sees.
    fn market(&mut self, event: MarketEvent);
    /// Something for one session.
    fn report(&mut self, session: SessionId, report: Report);
}
