//! Positions: the sum of trades, less those that were declared void, by strategy and instrument.

use bus::{OrderSide, Report, ReportKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tick::Price;
use utoipa::ToSchema;

/// Most positions that are kept; what comes beyond is counted and left out.
const POSITIONS_MAX: usize = 65_536;

/// What a strategy holds of an instrument.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Position {
    /// Whose it is.
    pub strategy: String,
    /// Where it was traded.
    pub venue: String,
    /// The instrument's publisher.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// As the venue has it.
    pub symbol: String,
    /// Bought less sold: shares or contracts.
    pub position: i64,
    /// Bought in all.
    pub bought: u64,
    /// Sold in all.
    pub sold: u64,
    /// Average price of what was bought, a decimal; null when nothing was, or a price was not told.
    #[schema(required)]
    pub bought_at: Option<String>,
    /// Average price of what was sold.
    #[schema(required)]
    pub sold_at: Option<String>,
    /// Trades, without those that were declared void.
    pub trades: u64,
    /// When it last changed, ns since the epoch.
    pub time_ns: u64,
}

type Key = (String, u16, u32);

#[derive(Clone, Debug, Default)]
struct Side {
    quantity: u64,
    /// 1e-9 units × quantity.
    notional: i128,
    /// A trade came without a price: no average can be told.
    unpriced: bool,
}

#[derive(Clone, Debug, Default)]
struct Held {
    venue: String,
    symbol: String,
    bought: Side,
    sold: Side,
    trades: u64,
    time_ns: u64,
}

/// All positions.
#[derive(Debug, Default)]
pub(super) struct Positions {
    held: BTreeMap<Key, Held>,
    /// Trades that found no room, or that say no side.
    pub(super) left_out: u64,
}

impl Positions {
    /// Takes a trade, or the breaking of one.
    pub(super) fn take(&mut self, report: &Report) {
        let Some(side) = report.side else {
            self.left_out += 1;
            return;
        };
        let key = (report.strategy.clone(), report.publisher_id, report.instrument_id);
        if self.held.len() >= POSITIONS_MAX && !self.held.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let held = self.held.entry(key).or_default();
        held.venue.clone_from(&report.venue);
        held.symbol.clone_from(&report.symbol);
        held.time_ns = report.time_ns;
        let broken = report.kind == ReportKind::Broken;
        held.trades = if broken { held.trades.saturating_sub(1) } else { held.trades + 1 };
        let side = if side == OrderSide::Buy { &mut held.bought } else { &mut held.sold };
        let quantity = report.last_quantity;
        let notional = report.last_price.map(|price| i128::from(price.0) * i128::from(quantity));
        side.unpriced |= notional.is_none();
        let notional = notional.unwrap_or_default();
        if broken {
            side.quantity = side.quantity.saturating_sub(quantity);
            side.notional = side.notional.saturating_sub(notional);
        } else {
            side.quantity = side.quantity.saturating_add(quantity);
            side.notional = side.notional.saturating_add(notional);
        }
    }

    pub(super) fn all(&self) -> Vec<Position> {
        self.held.iter().map(|(key, held)| held.shown(key)).collect()
    }

    /// Those of these strategies and instruments, each once.
    pub(super) fn some(&self, keys: impl Iterator<Item = Key>) -> Vec<Position> {
        let keys: BTreeSet<Key> = keys.collect();
        keys.iter().filter_map(|key| self.held.get(key).map(|held| held.shown(key))).collect()
    }
}

impl Held {
    fn shown(&self, (strategy, publisher_id, instrument_id): &Key) -> Position {
        Position {
            strategy: strategy.clone(),
            venue: self.venue.clone(),
            publisher_id: *publisher_id,
            instrument_id: *instrument_id,
            symbol: self.symbol.clone(),
            position: signed(self.bought.quantity).saturating_sub(signed(self.sold.quantity)),
            bought: self.bought.quantity,
            sold: self.sold.quantity,
            bought_at: self.bought.average(),
            sold_at: self.sold.average(),
            trades: self.trades,
            time_ns: self.time_ns,
        }
    }
}

impl Side {
    fn average(&self) -> Option<String> {
        if self.unpriced || self.quantity == 0 {
            return None;
        }
        let average = self.notional / i128::from(self.quantity);
        i64::try_from(average).ok().map(|units| Price(units).to_string())
    }
}

fn signed(quantity: u64) -> i64 {
    i64::try_from(quantity).unwrap_or(i64::MAX)
}
