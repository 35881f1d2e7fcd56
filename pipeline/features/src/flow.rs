//! Values that follow quotes and single trades: order flow, VPIN, the session's average price.
//! Formulas and sources: `docs/features.md`.

use crate::bars::{price, value};
use crate::plan::QuoteValue;
use book::{Book, Level, Trade};
use std::collections::VecDeque;
use tick::Side;

/// ns in a day.
const DAY: i128 = 86_400_000_000_000;

/// Best bid and ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) bid_price: i64,
    pub(crate) bid_size: u64,
    pub(crate) ask_price: i64,
    pub(crate) ask_size: u64,
}

impl Quote {
    /// The quote of a book; none when a side is empty.
    #[inline]
    pub(crate) fn of(book: &Book<'_>) -> Option<Quote> {
        let (bid, ask) = (book.best(Side::Bid)?, book.best(Side::Ask)?);
        Some(Quote { bid_price: bid.price, bid_size: bid.size, ask_price: ask.price, ask_size: ask.size })
    }

    /// What the change from `before` adds to the order-flow imbalance.
    #[inline]
    pub(crate) fn flow(&self, before: &Quote) -> i64 {
        let size = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
        let bought = if self.bid_price >= before.bid_price { size(self.bid_size) } else { 0 };
        let given = if self.bid_price <= before.bid_price { size(before.bid_size) } else { 0 };
        let sold = if self.ask_price <= before.ask_price { size(self.ask_size) } else { 0 };
        let taken = if self.ask_price >= before.ask_price { size(before.ask_size) } else { 0 };
        bought.saturating_sub(given).saturating_sub(sold.saturating_sub(taken))
    }
}

impl QuoteValue {
    /// The value; NaN when a side of the book is empty.
    pub(crate) fn of(self, quote: Option<&Quote>, book: &Book<'_>) -> f64 {
        let Some(quote) = quote else { return f64::NAN };
        let (bid, ask) = (price(quote.bid_price), price(quote.ask_price));
        match self {
            QuoteValue::Spread => value(i128::from(quote.ask_price) - i128::from(quote.bid_price)),
            QuoteValue::Mid => (bid + ask) / 2.0,
            QuoteValue::Microprice => {
                let (bids, asks) = (quote.bid_size as f64, quote.ask_size as f64);
                (bid * asks + ask * bids) / (bids + asks)
            }
            QuoteValue::Imbalance { levels: 1 } => imbalance(quote.bid_size, quote.ask_size),
            QuoteValue::Imbalance { levels } => {
                let depth = |side| book.levels(side).take(levels).fold(0, sum_size);
                imbalance(depth(Side::Bid), depth(Side::Ask))
            }
        }
    }
}

fn sum_size(sum: u64, level: Level) -> u64 {
    sum.saturating_add(level.size)
}

fn imbalance(bids: u64, asks: u64) -> f64 {
    let (bids, asks) = (bids as f64, asks as f64);
    (bids - asks) / (bids + asks)
}

/// Volume buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vpin {
    /// Quantity in the bucket that fills, and bought minus sold in it.
    pub(crate) filled: u64,
    pub(crate) signed: i64,
    /// |bought − sold| of the last full buckets, and their sum.
    pub(crate) full: VecDeque<u64>,
    pub(crate) sum: u128,
    /// How many were ever full.
    pub(crate) count: u64,
    /// A gap is in the window until so many are full.
    pub(crate) clean_from: u64,
}

impl Vpin {
    pub(crate) fn trade(&mut self, trade: &Trade, bucket: u64, buckets: usize) {
        let sign = match trade.aggressor {
            Side::Bid => 1,
            Side::Ask => -1,
            _ => 0,
        };
        let mut left = u64::from(trade.size);
        let room = bucket - self.filled;
        if left < room {
            self.filled += left;
            self.signed += sign * left as i64;
            return;
        }
        left -= room;
        self.close((self.signed + sign * room as i64).unsigned_abs(), buckets);
        // Whole buckets of this one trade: only those that the window can hold need to be looked at.
        let whole = left / bucket;
        let unseen = whole.saturating_sub(buckets as u64);
        self.count = self.count.saturating_add(unseen);
        for _ in unseen..whole {
            self.close(bucket * sign.unsigned_abs(), buckets);
        }
        self.filled = left % bucket;
        self.signed = sign * self.filled as i64;
    }

    fn close(&mut self, imbalance: u64, buckets: usize) {
        self.count = self.count.saturating_add(1);
        self.full.push_back(imbalance);
        self.sum += u128::from(imbalance);
        if self.full.len() > buckets {
            self.sum -= u128::from(self.full.pop_front().unwrap_or(0));
        }
    }

    pub(crate) fn gap(&mut self, buckets: usize) {
        self.clean_from = self.count.saturating_add(buckets as u64 + 1);
    }

    pub(crate) fn is_warm(&self, buckets: usize) -> bool {
        self.full.len() >= buckets
    }

    pub(crate) fn value(&self, bucket: u64, buckets: usize) -> f64 {
        if self.is_warm(buckets) { self.sum as f64 / (buckets as f64 * bucket as f64) } else { f64::NAN }
    }
}

/// The session's trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// The session, ns, the end excluded; both 0 before the first tick.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) volume: u64,
    pub(crate) value: i128,
    /// A gap lies in it.
    pub(crate) gap: bool,
}

impl Session {
    /// Begins the next session when it is time.
    #[inline(always)]
    pub(crate) fn at(&mut self, now: u64, start: u64) {
        if !(self.begin..self.end).contains(&now) {
            self.begin_at(now, start);
        }
    }

    #[cold]
    fn begin_at(&mut self, now: u64, start: u64) {
        let since = (i128::from(now) - i128::from(start)).rem_euclid(DAY);
        let begin = i128::from(now) - since;
        let time = |ns: i128| u64::try_from(ns.max(0)).unwrap_or(u64::MAX);
        *self = Session { begin: time(begin), end: time(begin + DAY), ..Session::default() };
    }

    pub(crate) fn trade(&mut self, trade: &Trade) {
        let size = u64::from(trade.size);
        self.volume = self.volume.saturating_add(size);
        self.value = self.value.saturating_add(i128::from(trade.price) * i128::from(size));
    }

    pub(crate) fn price(&self) -> f64 {
        if self.volume == 0 { f64::NAN } else { value(self.value) / self.volume as f64 }
    }
}
