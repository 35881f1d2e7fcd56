//! What the report's pictures need beyond the outcome: every trade, and where the traded prices were.
//!
//! [`Trail`] is told the reports of a run, [`Priced`] stands around its market and looks at the books. Neither changes a run.
//!
//! Bounds: of trades the first [`FILLS_MAX`], of prices [`PRICES_MAX`] for each of the first [`PATHS_MAX`] instruments that got
//! an order; beyond that, neighbours in time are merged.

use crate::market::{Liquidity, Market, MarketCounts, Reports, Told};
use crate::run::Watch;
use book::{BookId, Books};
use bus::config::InstrumentKey;
use bus::{Instruction, OrderSide, ReportKind};
use tick::{Flags, Side, Tick};

/// Trades that are kept, 80 bytes each.
pub const FILLS_MAX: usize = 1_000_000;
/// Instruments whose prices are kept.
pub const PATHS_MAX: usize = 64;
/// Prices of an instrument that are kept, 16 bytes each.
pub const PRICES_MAX: usize = 1 << 17;
/// The first width of the intervals between prices, ns.
const STEP_NS: u64 = 1_000_000;

/// A trade.
#[derive(Clone, PartialEq, Debug)]
pub struct Trade {
    /// When, in the market, ns since the epoch.
    pub time_ns: u64,
    /// The instrument.
    pub key: InstrumentKey,
    /// As the venue knows it.
    pub symbol: String,
    /// Whose.
    pub strategy: String,
    /// Bought above 0, sold below.
    pub signed: i64,
    /// 1e-9.
    pub price: i64,
    /// Which side of the trade the order was.
    pub liquidity: Liquidity,
}

/// The trades of a run, as they were told.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// The first [`FILLS_MAX`].
    pub trades: Vec<Trade>,
    /// Trades beyond.
    pub left_out: u64,
}

impl Watch for Trail {
    fn report(&mut self, told: &Told) {
        let report = &told.report;
        let (ReportKind::Filled, Some(price), Some(liquidity)) =
            (report.kind, report.last_price, told.liquidity)
        else {
            return;
        };
        if self.trades.len() == FILLS_MAX {
            self.left_out += 1;
            return;
        }
        let quantity = i64::try_from(report.last_quantity).unwrap_or(i64::MAX);
        self.trades.push(Trade {
            time_ns: report.time_ns,
            key: InstrumentKey { publisher_id: report.publisher_id, instrument_id: report.instrument_id },
            symbol: report.symbol.clone(),
            strategy: report.strategy.clone(),
            signed: if report.side == Some(OrderSide::Buy) { quantity } else { -quantity },
            price: price.0,
            liquidity,
        });
    }
}

/// Middle prices of an instrument over time, from its first order on: of each interval the last.
#[derive(Clone, Debug)]
pub struct PricePath {
    /// The instrument.
    pub key: InstrumentKey,
    /// ns since the epoch, and twice the middle, 1e-9.
    pub points: Vec<(u64, i64)>,
    /// Width of the intervals, ns: how exactly the time of a price is known.
    pub step_ns: u64,
    book: Option<BookId>,
}

impl PricePath {
    fn new(key: InstrumentKey) -> PricePath {
        PricePath { key, points: Vec::new(), step_ns: STEP_NS, book: None }
    }

    #[inline]
    fn look(&mut self, now_ns: u64, books: &Books) {
        let InstrumentKey { publisher_id, instrument_id } = self.key;
        let Some(id) = self.book.or_else(|| books.find(publisher_id, instrument_id)) else { return };
        self.book = Some(id);
        let book = books.book(id);
        let (Some(bid), Some(ask)) = (book.best(Side::Bid), book.best(Side::Ask)) else { return };
        if !book.is_good() || bid.price >= ask.price {
            return;
        }
        let doubled = bid.price.saturating_add(ask.price);
        match self.points.last_mut() {
            Some(last) if last.1 == doubled => {}
            Some(last) if last.0 / self.step_ns == now_ns / self.step_ns => *last = (now_ns, doubled),
            _ => self.push(now_ns, doubled),
        }
    }

    fn push(&mut self, now_ns: u64, doubled: i64) {
        self.points.push((now_ns, doubled));
        while self.points.len() > PRICES_MAX {
            self.step_ns *= 2;
            let step_ns = self.step_ns;
            // Of each interval the last stays.
            let mut kept: Vec<(u64, i64)> = Vec::with_capacity(PRICES_MAX / 2);
            for &point in &self.points {
                match kept.last_mut() {
                    Some(last) if last.0 / step_ns == point.0 / step_ns => *last = point,
                    _ => kept.push(point),
                }
            }
            self.points = kept;
        }
    }

    /// Twice the middle at a time, 1e-9; none before the first price.
    pub fn doubled_at(&self, time_ns: u64) -> Option<i64> {
        let after = self.points.partition_point(|point| point.0 <= time_ns);
        after.checked_sub(1).map(|at| self.points[at].1)
    }
}

/// A market whose traded instruments' prices are kept.
#[derive(Debug)]
pub struct Priced<M> {
    market: M,
    paths: Vec<PricePath>,
}

impl<M> Priced<M> {
    /// Around a market.
    pub fn new(market: M) -> Priced<M> {
        Priced { market, paths: Vec::new() }
    }

    /// The prices, by instrument in the order of their first orders.
    pub fn into_paths(self) -> Vec<PricePath> {
        self.paths
    }
}

impl<M: Market> Market for Priced<M> {
    fn instruct(&mut self, now_ns: u64, instruction: &Instruction, books: &Books, reports: &mut Reports) {
        let key = InstrumentKey {
            publisher_id: instruction.publisher_id,
            instrument_id: instruction.instrument_id,
        };
        if self.paths.len() < PATHS_MAX && self.paths.iter().all(|path| path.key != key) {
            let mut path = PricePath::new(key);
            path.look(now_ns, books);
            self.paths.push(path);
        }
        self.market.instruct(now_ns, instruction, books, reports);
    }

    #[inline]
    fn tick(&mut self, now_ns: u64, tick: &Tick, books: &Books, reports: &mut Reports) {
        if tick.flags.contains(Flags::LAST) {
            let key = InstrumentKey { publisher_id: tick.publisher_id, instrument_id: tick.instrument_id };
            if let Some(path) = self.paths.iter_mut().find(|path| path.key == key) {
                path.look(now_ns, books);
            }
        }
        self.market.tick(now_ns, tick, books, reports);
    }

    fn trading(
        &mut self,
        now_ns: u64,
        key: InstrumentKey,
        trades: bool,
        books: &Books,
        reports: &mut Reports,
    ) {
        self.market.trading(now_ns, key, trades, books, reports);
    }

    fn close(&mut self, now_ns: u64, reports: &mut Reports) {
        self.market.close(now_ns, reports);
    }

    fn counts(&self) -> MarketCounts {
        self.market.counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_many_prices_keeps_the_last_of_each_interval_and_never_more_than_its_bound() {
        let mut path = PricePath::new(InstrumentKey { publisher_id: 1, instrument_id: 2 });
        let prices = 3 * PRICES_MAX as u64;
        for at in 0..prices {
            path.push(at * STEP_NS, at as i64);
        }
        assert!(path.points.len() <= PRICES_MAX && path.points.len() > PRICES_MAX / 4);
        assert_eq!(path.points.last(), Some(&((prices - 1) * STEP_NS, prices as i64 - 1)));
        assert_eq!(path.doubled_at(u64::MAX), Some(prices as i64 - 1));
        assert_eq!(PricePath::new(path.key).doubled_at(5), None);
        // Never a price from after the time asked for.
        assert!(path.doubled_at(1_000 * STEP_NS).is_none_or(|doubled| doubled <= 1_000));
    }
}
