//! A market that answers and never trades, to measure what comes before matching.

use backtest::market::{Market, MarketCounts, Reports};
use book::Books;
use bus::config::InstrumentKey;
use bus::{Instruction, OrderAction, OrderId, OrderSide, Quantity, Report, ReportKind};
use std::collections::HashMap;
use tick::Tick;

/// Open orders: side and quantity.
#[derive(Default)]
pub(super) struct Quiet(HashMap<OrderId, (OrderSide, Quantity)>);

impl Market for Quiet {
    fn instruct(&mut self, now_ns: u64, instruction: &Instruction, _: &Books, reports: &mut Reports) {
        let about = |kind, of, side, leaves| Report {
            id: Some(instruction.id),
            of,
            venue: instruction.venue.clone(),
            strategy: instruction.strategy.clone(),
            symbol: instruction.symbol.clone(),
            publisher_id: instruction.publisher_id,
            instrument_id: instruction.instrument_id,
            cause_ns: instruction.cause_ns,
            side,
            leaves,
            ..Report::new(kind, now_ns)
        };
        let (kind, of, order) = match instruction.action {
            OrderAction::New { side, quantity, .. } => (ReportKind::Accepted, None, Some((side, quantity))),
            OrderAction::Replace { of, quantity, .. } => {
                let order = self.0.remove(&of).map(|(side, _)| (side, quantity));
                (ReportKind::Replaced, Some(of), order)
            }
            OrderAction::Cancel { of } => {
                let side = self.0.remove(&of).map(|(side, _)| side);
                reports.push(about(ReportKind::Sent, Some(of), side, 0), None);
                return reports.push(about(ReportKind::Cancelled, Some(of), side, 0), None);
            }
        };
        let Some((side, quantity)) = order else { return };
        self.0.insert(instruction.id, (side, quantity));
        for kind in [ReportKind::Sent, kind] {
            reports.push(about(kind, of, Some(side), quantity), None);
        }
    }

    fn tick(&mut self, _: u64, _: &Tick, _: &Books, _: &mut Reports) {}

    fn trading(&mut self, _: u64, _: InstrumentKey, _: bool, _: &Books, _: &mut Reports) {}

    fn close(&mut self, _: u64, _: &mut Reports) {}

    fn counts(&self) -> MarketCounts {
        MarketCounts::default()
    }
}
