//! The way back: what reports mean for the risk engine, the open orders and what each strategy owns.
//!
//! The risk engine is the judge: an order is open as long as it says so, and a trade is what changed its position. The
//! table of orders and the ledgers follow it, so that they cannot tell another story.

use super::orders::{Live, Made};
use super::{Core, Trouble};
use crate::desk::{OpenOrder, OrderState};
use bus::config::InstrumentKey;
use bus::{OrderId, Report, ReportKind};
use tick::Price;

impl Core {
    /// Follows a report of the stream; whose it is, when it is news.
    pub(super) fn follow(&mut self, report: &Report) -> Option<usize> {
        // Denials made here were booked when they were made.
        if report.number == 0 {
            report.id.iter().for_each(|id| self.ids.pass(id));
            return None;
        }
        if !self.is_next(report) {
            self.counts.repeated_reports += 1;
            return None;
        }
        self.counts.reports += 1;
        let id = report.id?;
        // Whose it is must be known before: the order may be over after it.
        let ledger = self.ledger_of(report);
        match self.orders.made(id) {
            Some(Made::Cancel(of)) => self.follow_cancel(report, of),
            Some(Made::TooLate) if !matches!(report.kind, ReportKind::Filled | ReportKind::Replaced) => {}
            Some(_) => self.follow_order(report, id, ledger),
            None => {
                self.counts.foreign_reports += 1;
                self.follow_order(report, id, ledger);
            }
        }
        self.orders.answered(id);
        ledger
    }

    /// Checks the report's number: each venue counts from 1 without a hole.
    fn is_next(&mut self, report: &Report) -> bool {
        let Some(last) = self.numbers.get_mut(report.venue.as_str()) else {
            self.numbers.insert(report.venue.clone(), report.number);
            if report.number > 1 {
                self.missing(report, 1);
            }
            return true;
        };
        if report.number <= *last {
            return false;
        }
        let expected = *last + 1;
        *last = report.number;
        if report.number != expected {
            self.missing(report, expected);
        }
        true
    }

    fn missing(&mut self, report: &Report, from: u64) {
        let (venue, to) = (report.venue.clone(), report.number - 1);
        self.trouble.get_or_insert(Trouble::Hole { venue, from, to });
    }

    fn ledger_of(&self, report: &Report) -> Option<usize> {
        let of = |id: Option<OrderId>| id.and_then(|id| self.order_ledger(id));
        let named = || self.ledgers.iter().position(|ledger| ledger.name == report.strategy);
        of(report.id).or_else(|| of(report.of)).or_else(named)
    }

    /// A report about a cancel itself. The order may have another id by now than the one that the cancel named.
    fn follow_cancel(&mut self, report: &Report, of: OrderId) {
        let slot = self.orders.chain(of);
        let current = slot.and_then(|slot| self.orders.get(slot)).map(|live| live.order.id);
        if report.kind == ReportKind::Cancelled {
            let named = report.of.filter(|of| self.orders.slot(*of).is_some());
            let ended = named.or(current).unwrap_or(of);
            let ledger = self.order_ledger(ended);
            let report = Report { id: Some(ended), of: None, ..report.clone() };
            return self.follow_order(&report, ended, ledger);
        }
        let Some(live) = slot.and_then(|slot| self.orders.get_mut(slot)) else { return };
        let on_its_way = matches!(report.kind, ReportKind::Sent | ReportKind::Accepted | ReportKind::Unknown);
        if !on_its_way {
            live.order.cancelling.take_if(|cancel| Some(*cancel) == report.id);
        }
        // An answer: the fate of the order is as known as it was before the cancel.
        if report.kind != ReportKind::Unknown && live.doubted_by.is_some() && live.doubted_by == report.id {
            live.doubted_by = None;
            live.order.state = OrderState::Open;
            let known = Report { id: current, ..Report::new(ReportKind::Accepted, report.time_ns) };
            self.engine.report(&known);
        }
    }

    fn follow_order(&mut self, report: &Report, id: OrderId, ledger: Option<usize>) {
        let slot = self.orders.slot(id).or_else(|| report.of.and_then(|of| self.orders.slot(of)));
        let place = slot.and_then(|slot| self.orders.get(slot)).map(|live| live.place);
        let key = match place {
            Some(place) => self.market.traded[place as usize].instrument.key,
            None => {
                let Report { publisher_id, instrument_id, .. } = *report;
                InstrumentKey { publisher_id, instrument_id }
            }
        };
        let position = |core: &Core| {
            core.engine.standing(key.publisher_id, key.instrument_id).map_or(0, |standing| standing.position)
        };
        let before = position(self);
        self.engine.report(report);
        let traded = position(self) - before;
        if traded != 0 {
            let place = self.market.place_or_add(key, &report.symbol, &mut self.ledgers);
            let ledger = ledger.unwrap_or_else(|| self.ledger_or_add(&report.strategy, ""));
            let price = report.last_price.map_or(0, |price| price.0);
            self.ledgers[ledger].holding_mut(place).trade(traded, price);
        }
        match slot {
            Some(slot) => self.follow_slot(report, slot, id),
            None if self.engine.is_open(&id) => self.take_over(report, id, ledger),
            None => {}
        }
    }

    /// An order that the risk engine took over from a report, because its instruction is gone with the stream. Its
    /// limit is not known; its strategy can cancel it.
    fn take_over(&mut self, report: &Report, id: OrderId, ledger: Option<usize>) {
        let Some(side) = report.side else { return };
        let key = InstrumentKey { publisher_id: report.publisher_id, instrument_id: report.instrument_id };
        let place = self.market.place_or_add(key, &report.symbol, &mut self.ledgers);
        let ledger = ledger.unwrap_or_else(|| self.ledger_or_add(&report.strategy, &report.venue));
        let order = OpenOrder {
            id,
            side,
            price: Price::UNDEFINED,
            quantity: report.filled.saturating_add(report.leaves),
            filled: report.filled,
            leaves: report.leaves,
            state: OrderState::Open,
            replacing: None,
            cancelling: None,
            created_ns: report.time_ns,
        };
        self.open(Live { order, ledger, place, doubted_by: None });
    }

    /// Brings an open order up to date, or ends it.
    fn follow_slot(&mut self, report: &Report, slot: u32, id: OrderId) {
        let Some(live) = self.orders.get_mut(slot) else { return };
        let order = &mut live.order;
        let is_replacement = order.id != id && order.replacing.is_some_and(|replacing| replacing.id == id);
        match report.kind {
            ReportKind::Sent if order.id == id && order.state == OrderState::Sending => {
                order.state = OrderState::Sent;
            }
            ReportKind::Accepted if order.id == id => {
                order.state = OrderState::Open;
                if order.replacing.is_none() && report.leaves > 0 {
                    // The venue may take off some of it.
                    order.leaves = order.leaves.min(report.leaves);
                }
            }
            ReportKind::Filled | ReportKind::Broken => {
                order.filled = report.filled;
                if !is_replacement {
                    order.leaves = report.leaves;
                }
                order.state = OrderState::Open;
            }
            ReportKind::Replaced => {
                if let Some(replacing) = order.replacing.take_if(|replacing| replacing.id == id) {
                    (order.id, order.price, order.quantity) = (id, replacing.price, replacing.quantity);
                    order.leaves = report.leaves;
                    order.state = OrderState::Open;
                }
            }
            // Nothing of it trades any more, though a replacement on its way still waits for its answer.
            ReportKind::Cancelled => {
                (order.leaves, order.state) = (0, OrderState::Open);
                live.doubted_by = None;
            }
            ReportKind::Denied | ReportKind::Rejected | ReportKind::CancelRejected if is_replacement => {
                order.replacing = None;
                if order.state == OrderState::Unknown {
                    order.state = OrderState::Open;
                }
            }
            ReportKind::Unknown => {
                order.state = OrderState::Unknown;
                live.doubted_by = None;
            }
            _ => {}
        }
        let order_id = order.id;
        let replacing = order.replacing.map(|replacing| replacing.id);
        let open = self.engine.is_open(&order_id) || replacing.is_some_and(|id| self.engine.is_open(&id));
        if !open && let Some(live) = self.orders.remove(slot) {
            self.ledgers[live.ledger].holding_mut(live.place).slots.retain(|kept| *kept != slot);
            if let Some(cancel) = live.order.cancelling {
                // What it asked for has happened.
                self.orders.answered(cancel);
            }
        }
    }
}
