//! One instrument: its quote, position, open quantities, and what they are worth.
//!
//! Invariants: `buys` and `sells` are the sums of the open orders' worst quantities; `nearest` is what going through them
//! would find; `exposure` and `profit` are
//! those of the last [`Account::revalue`], which everything that changes them is followed by.

use super::denial::Money;
use super::limits::{Bucket, Forbidden, Limits};
use tick::StatusAction;

/// The last good quote: both sides, not crossed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Quote {
    pub bid: i64,
    pub ask: i64,
    pub time_ns: u64,
}

impl Quote {
    /// Twice the middle, so that it is exact.
    pub(super) fn doubled_middle(&self) -> i128 {
        i128::from(self.bid) + i128::from(self.ask)
    }

    /// The larger of both sides' absolute prices: what exposure is valued at.
    fn dearest(&self) -> i128 {
        i128::from(self.bid).abs().max(i128::from(self.ask).abs())
    }
}

/// An order that was sent, for finding its duplicate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    pub time_ns: u64,
    pub buys: bool,
    pub price: i64,
    pub quantity: u64,
}

/// What an instrument's position and open orders are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Value {
    /// Worst-case absolute position.
    pub position: i128,
    /// That position at the market.
    pub exposure: Money,
    /// Realised and marked.
    pub profit: Money,
}

#[derive(Debug)]
pub(super) struct Account {
    pub key: (u16, u32),
    /// As the venue knows it; empty when nobody defined the instrument.
    pub symbol: Box<str>,
    pub defined_multiplier: Option<i64>,
    pub limits: Option<Limits>,
    pub forbidden: Forbidden,
    /// The venue restricts short sales now.
    pub short_sale_restricted: bool,
    pub trading: bool,
    pub good_book: bool,
    pub quote: Option<Quote>,
    pub position: i128,
    pub buys: i128,
    pub sells: i128,
    /// Sum of sold − bought, price × quantity, 1e-9.
    pub cash: i128,
    pub value: Value,
    /// The worth is not known: a position or an open order without price or multiplier, or a number too large.
    pub unvalued: bool,
    pub peak: Money,
    pub bucket: Bucket,
    /// A ring: as many as the bucket lets through in the duplicate window.
    pub recent: Vec<Recent>,
    pub recent_next: usize,
    /// Of each of `recent`, at the same place, what can be compared at once.
    prints: Vec<u16>,
    /// Slots of the open orders.
    pub slots: Vec<u32>,
    /// Highest price at which an open buy order, lowest at which an open sell order may trade.
    nearest_buy: Option<i64>,
    nearest_sell: Option<i64>,
}

/// The product, when it fits. Two factors of 64 bits always do, and take one multiplication.
#[inline]
pub(super) fn product(left: i128, right: i128) -> Option<i128> {
    match (i64::try_from(left), i64::try_from(right)) {
        (Ok(left), Ok(right)) => Some(i128::from(left) * i128::from(right)),
        _ => left.checked_mul(right),
    }
}

impl Recent {
    /// Equal for equal orders; others seldom have the same.
    fn print(&self) -> u16 {
        let mixed = (self.price as u64 ^ self.quantity.rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 48) as u16 ^ u16::from(self.buys)
    }
}

impl Account {
    pub(super) fn new(key: (u16, u32), limits: Option<Limits>, forbidden: Forbidden) -> Account {
        let mut account = Account {
            key,
            symbol: "".into(),
            defined_multiplier: None,
            limits: None,
            forbidden,
            short_sale_restricted: false,
            trading: false,
            good_book: false,
            quote: None,
            position: 0,
            buys: 0,
            sells: 0,
            cash: 0,
            value: Value::default(),
            unvalued: false,
            peak: 0,
            bucket: Bucket::full(),
            recent: Vec::new(),
            recent_next: 0,
            prints: Vec::new(),
            slots: Vec::new(),
            nearest_buy: None,
            nearest_sell: None,
        };
        account.set_limits(limits, forbidden);
        account
    }

    pub(super) fn set_limits(&mut self, limits: Option<Limits>, forbidden: Forbidden) {
        (self.limits, self.forbidden) = (limits, forbidden);
        if let Some(limits) = limits {
            // Oldest first; those beyond the new length are the oldest.
            let oldest = self.recent_next.min(self.recent.len());
            self.recent.rotate_left(oldest);
            let beyond = self.recent.len().saturating_sub(limits.recent);
            self.recent.drain(..beyond);
            self.recent.reserve_exact(limits.recent - self.recent.len());
            self.prints.clear();
            self.prints.reserve_exact(limits.recent);
            self.prints.extend(self.recent.iter().map(Recent::print));
            self.recent_next = if self.recent.len() == limits.recent { 0 } else { self.recent.len() };
            self.slots.reserve(limits.open_orders as usize);
        }
    }

    pub(super) fn multiplier(&self) -> Option<i64> {
        self.limits
            .and_then(|limits| limits.multiplier)
            .or(self.defined_multiplier)
            .filter(|units| *units > 0)
    }

    pub(super) fn status(&mut self, status: StatusAction) {
        match status {
            StatusAction::None => {}
            // Which way it changed is in the venue's own code: until it is said, it is restricted.
            StatusAction::SsrChange => self.short_sale_restricted = true,
            other => self.trading = other == StatusAction::Trading,
        }
    }

    /// The price at which an open order of this side would trade first.
    pub(super) fn nearest(&self, buys: bool) -> Option<i64> {
        if buys { self.nearest_buy } else { self.nearest_sell }
    }

    pub(super) fn set_nearest(&mut self, buys: bool, price: Option<i64>) {
        *(if buys { &mut self.nearest_buy } else { &mut self.nearest_sell }) = price;
    }

    /// An open order of this side may trade at this price.
    pub(super) fn comes_nearer(&mut self, buys: bool, price: i64) {
        let nearest =
            self.nearest(buys).map_or(price, |other| if buys { other.max(price) } else { other.min(price) });
        self.set_nearest(buys, Some(nearest));
    }

    /// Position when all buys, and when all sells trade.
    pub(super) fn outcomes(&self, buys: i128, sells: i128) -> Option<(i128, i128)> {
        Some((self.position.checked_add(buys)?, self.position.checked_sub(sells)?))
    }

    /// What it is worth with these open quantities; `None` when that cannot be said.
    pub(super) fn worth(&self, buys: i128, sells: i128) -> Option<Value> {
        let (long, short) = self.outcomes(buys, sells)?;
        let position = long.checked_abs()?.max(short.checked_abs()?);
        if position == 0 && self.position == 0 && self.cash == 0 {
            return Some(Value::default());
        }
        let multiplier = i128::from(self.multiplier()?);
        let (exposure, mark) = match self.quote {
            Some(quote) => {
                let exposure = product(product(position, quote.dearest())?, multiplier)?;
                (exposure, i128::from(if self.position >= 0 { quote.bid } else { quote.ask }))
            }
            None if position == 0 => (0, 0),
            None => return None,
        };
        let held = product(self.position, mark)?;
        let profit = product(self.cash.checked_add(held)?, multiplier)?;
        Some(Value { position, exposure, profit })
    }

    /// Whether an order of this side, with these open quantities after it, can only lower the position.
    pub(super) fn lowers(&self, buys_it: bool, buys: i128, sells: i128) -> bool {
        match self.outcomes(buys, sells) {
            Some((long, _)) if buys_it => long <= 0,
            Some((_, short)) => short >= 0,
            None => false,
        }
    }

    pub(super) fn is_duplicate(&self, order: &Recent, window_ns: u64) -> bool {
        if !self.prints.contains(&order.print()) {
            return false;
        }
        let same = |seen: &&Recent| {
            (seen.buys, seen.price, seen.quantity) == (order.buys, order.price, order.quantity)
        };
        self.recent.iter().filter(same).any(|seen| order.time_ns.saturating_sub(seen.time_ns) < window_ns)
    }

    pub(super) fn remember(&mut self, order: Recent, limit: usize) {
        if self.recent.len() < limit {
            self.recent.push(order);
            self.prints.push(order.print());
            self.recent_next = self.recent.len() % limit;
        } else if let Some(oldest) = self.recent.get_mut(self.recent_next) {
            *oldest = order;
            self.prints[self.recent_next] = order.print();
            self.recent_next = (self.recent_next + 1) % limit;
        }
    }
}
