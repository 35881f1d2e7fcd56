//! Why an instruction is denied: a code for machines, and the numbers for people.

use std::fmt;
use tick::Price;

/// Money in 1e-18 currency units: a price (1e-9) × a quantity × a multiplier (1e-9), exactly. The range is ±1.7e20 units.
pub type Money = i128;

/// [`Money`] in one whole currency unit.
pub const MONEY_SCALE: Money = 1_000_000_000_000_000_000;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// Why an instruction is denied. The words are the `reason` of a report and a metric's label.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The code.
            pub const fn word(self) -> &'static str {
                match self { $(Reason::$variant => $word,)* }
            }
        }
    };
}

reasons! {
    /// What was open and owned has not been read back yet.
    NotRebuilt = "not_rebuilt",
    /// A report contradicted what is known here: it must be read back anew.
    StateDoubtful = "state_doubtful",
    /// What became of an order at the venue is not known.
    OrderUnknown = "order_unknown",
    /// Halted: cancels only.
    Halted = "halted",
    /// Reducing: only what lowers the position.
    Reducing = "reducing",
    /// Time went backwards.
    Clock = "clock",
    /// Nobody defined the instrument.
    UnknownInstrument = "unknown_instrument",
    /// The instruction's symbol is not the instrument's.
    SymbolMismatch = "symbol_mismatch",
    /// No limits are configured for the instrument.
    NoLimits = "no_limits",
    /// How many units a contract has is not known.
    UnknownMultiplier = "unknown_multiplier",
    /// The instrument is on the restricted list.
    Restricted = "restricted",
    /// A short sale, or a sale of more than is owned, of an instrument that must not be sold short.
    ShortSaleRestricted = "short_sale_restricted",
    /// Outside the trading session.
    SessionClosed = "session_closed",
    /// The venue does not trade the instrument now, or has not said.
    NotTrading = "not_trading",
    /// The order has this id already.
    DuplicateId = "duplicate_id",
    /// No room to remember another order id.
    OrderIdsFull = "order_ids_full",
    /// The order that is to be replaced or cancelled is not open, or was never known.
    UnknownOrder = "unknown_order",
    /// The order is of another instrument.
    ForeignOrder = "foreign_order",
    /// A replacement of this order is on its way already.
    ReplacePending = "replace_pending",
    /// No price: a market order, or a price that is none.
    NoPrice = "no_price",
    /// Quantity 0.
    NoQuantity = "no_quantity",
    /// The book is not to be trusted.
    BadBook = "bad_book",
    /// There was no good quote yet.
    NoQuote = "no_quote",
    /// The last good quote is too old.
    StaleQuote = "stale_quote",
    /// Too far from the last good price, in hundredths of a percent.
    CollarPercent = "collar_percent",
    /// Too far from the last good price.
    CollarPrice = "collar_price",
    /// More in one order than allowed.
    OrderQuantity = "order_quantity",
    /// More value in one order than allowed.
    OrderNotional = "order_notional",
    /// The same order was sent a moment ago.
    DuplicateOrder = "duplicate_order",
    /// Would trade with an own order.
    SelfMatch = "self_match",
    /// Too many open orders of the instrument.
    OpenOrders = "open_orders",
    /// Too many open orders in all.
    OpenOrdersTotal = "open_orders_total",
    /// Position of the instrument.
    Position = "position",
    /// Positions in all.
    PositionTotal = "position_total",
    /// Exposure of the instrument.
    Exposure = "exposure",
    /// Exposure in all.
    ExposureTotal = "exposure_total",
    /// Exposure in all cannot be valued: another instrument has a position and no price.
    ExposureUnvalued = "exposure_unvalued",
    /// The instrument lost too much from its highest point.
    Drawdown = "drawdown",
    /// All lost too much from the highest point.
    DrawdownTotal = "drawdown_total",
    /// Messages of the instrument.
    MessageRate = "message_rate",
    /// Messages in all.
    MessageRateTotal = "message_rate_total",
    /// A number does not fit.
    Overflow = "overflow",
}

/// A number in a denial, with its unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// Does not apply.
    None,
    /// Shares, contracts, orders, messages.
    Count(i128),
    /// A price.
    Price(i64),
    /// Currency units.
    Money(Money),
    /// Hundredths of a percent, rounded up.
    BasisPoints(i128),
    /// Nanoseconds.
    Nanoseconds(u64),
    /// A price with half units: a distance from a middle, doubled.
    HalfPrice(i128),
}

fn decimal(f: &mut fmt::Formatter<'_>, value: i128, digits: usize) -> fmt::Result {
    let scale = 10u128.pow(digits as u32);
    let (whole, fraction) = (value.unsigned_abs() / scale, value.unsigned_abs() % scale);
    let sign = if value < 0 { "-" } else { "" };
    let mut text = format!("{fraction:0digits$}");
    text.truncate(text.trim_end_matches('0').len().max(2));
    write!(f, "{sign}{whole}.{text}")
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Number::None => f.write_str("-"),
            Number::Count(count) => write!(f, "{count}"),
            Number::Price(price) => write!(f, "{}", Price(price)),
            Number::Money(money) => decimal(f, money, 18),
            Number::BasisPoints(points) => write!(f, "{points} bp"),
            Number::Nanoseconds(ns) => write!(f, "{ns} ns"),
            // A doubled 1e-9 is five 1e-10.
            Number::HalfPrice(doubled) => match doubled.checked_mul(5) {
                Some(tenths) => decimal(f, tenths, 10),
                None => write!(f, "{doubled}/2e9"),
            },
        }
    }
}

/// An instruction is denied. `Display` is the `text` of a report: value and limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// What it would be.
    pub value: Number,
    /// What it may be.
    pub limit: Number,
}

impl Denial {
    pub(super) const fn plain(reason: Reason) -> Denial {
        Denial { reason, value: Number::None, limit: Number::None }
    }

    pub(super) const fn of(reason: Reason, value: Number, limit: Number) -> Denial {
        Denial { reason, value, limit }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.limit) {
            (Number::None, Number::None) => Ok(()),
            (value, Number::None) => write!(f, "{value}"),
            (value, limit) => write!(f, "{value}, limit {limit}"),
        }
    }
}

impl std::error::Error for Denial {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_exactly_and_every_code_is_another() {
        let shown = |number: Number| number.to_string();
        assert_eq!(shown(Number::Money(-3 * MONEY_SCALE / 2)), "-1.50");
        assert_eq!(shown(Number::Money(1)), "0.000000000000000001");
        assert_eq!(shown(Number::HalfPrice(3)), "0.0000000015");
        assert_eq!(shown(Number::Price(250_000_000)), "0.25");
        let denial = Denial::of(Reason::OrderQuantity, Number::Count(501), Number::Count(500));
        assert_eq!(denial.to_string(), "501, limit 500");
        assert_eq!(Denial::plain(Reason::Halted).to_string(), "");
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
