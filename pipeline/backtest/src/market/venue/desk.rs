//! Our orders at the exchange, and what becomes of them in the words of a gateway.
//!
//! Invariant: an order is held from its acceptance to its end, under its id and that of the order that it replaced; the
//! exchange knows it by a token that stays the same through replacements.

use super::super::order::about;
use super::super::{Liquidity, MarketCounts, Reports};
use super::PRICE_UNIT;
use ::venue::exchange::{
    CancelReason, Exchange, Liquidity as VenueLiquidity, NewOrder, OrderKind, Owner, Price as VenuePrice,
    Replacement, Report as VenueReport, SHARES_MAX, SessionId, Side, SymbolId,
};
use bus::{Instruction, OrderAction, OrderId, OrderSide, Quantity, Report, ReportKind, TimeInForce};
use std::collections::{BTreeMap, HashMap};
use tick::Price;

/// All our orders come from one session.
const OWNER: Owner = Owner::Session(SessionId(1));

/// An order that may still trade.
#[derive(Clone, Debug)]
struct Open {
    id: OrderId,
    /// The order that it replaced: what is on its way may name that one.
    previous: Option<OrderId>,
    /// As it came; of the newest replacement.
    instruction: Instruction,
    side: OrderSide,
    /// In all, what was filled counts.
    quantity: Quantity,
    filled: Quantity,
    /// The exchange's name for it; 0 before it has one.
    reference: u64,
}

impl Open {
    fn report(&self, kind: ReportKind, now_ns: u64) -> Report {
        Report {
            id: Some(self.id),
            side: Some(self.side),
            filled: self.filled,
            leaves: self.quantity.saturating_sub(self.filled),
            venue_order: self.reference.to_string(),
            ..about(&self.instruction, kind, now_ns)
        }
    }
}

/// What was asked of the exchange and is being answered.
#[derive(Clone, Debug)]
enum Asked {
    Replace(Instruction, Quantity),
    Cancel(Instruction),
}

/// Our orders.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// By token.
    open: BTreeMap<u64, Open>,
    tokens: HashMap<OrderId, u64>,
    last_token: u64,
    asked: Option<Asked>,
    counts: MarketCounts,
}

impl Desk {
    pub(super) fn counts(&self) -> MarketCounts {
        self.counts
    }

    /// What was asked is answered.
    pub(super) fn done(&mut self) {
        self.asked = None;
    }

    /// Does what an instruction says; the exchange's answers are heard afterwards.
    pub(super) fn instruct(
        &mut self,
        exchange: &mut Exchange,
        (now_ns, at_ns): (u64, u64),
        instruction: &Instruction,
        reports: &mut Reports,
    ) {
        match instruction.action {
            OrderAction::New { side, quantity, price, time_in_force } => {
                self.counts.orders += 1;
                self.enter(
                    exchange,
                    (now_ns, at_ns),
                    instruction,
                    (side, quantity, price, time_in_force),
                    reports,
                );
            }
            OrderAction::Replace { of, quantity, price } => {
                self.counts.replacements += 1;
                self.replace(exchange, (now_ns, at_ns), instruction, (of, quantity, price), reports);
            }
            OrderAction::Cancel { of } => {
                self.counts.cancels += 1;
                let open = self.tokens.get(&of).and_then(|token| self.open.get(token));
                let side = open.map(|open| open.side);
                reports.push(
                    Report { of: Some(of), side, ..about(instruction, ReportKind::Sent, now_ns) },
                    None,
                );
                match open.map(|open| open.reference) {
                    Some(reference) => {
                        self.asked = Some(Asked::Cancel(instruction.clone()));
                        // What became of it is told by a report.
                        let _ = exchange.cancel(at_ns, OWNER, reference, 0);
                    }
                    None => self.refuse(
                        instruction,
                        ReportKind::CancelRejected,
                        Some(of),
                        "too_late",
                        now_ns,
                        reports,
                    ),
                }
            }
        }
    }

    fn enter(
        &mut self,
        exchange: &mut Exchange,
        (now_ns, at_ns): (u64, u64),
        instruction: &Instruction,
        (side, quantity, price, time_in_force): (OrderSide, Quantity, Option<Price>, TimeInForce),
        reports: &mut Reports,
    ) {
        self.last_token += 1;
        let token = self.last_token;
        let open = Open {
            id: instruction.id,
            previous: None,
            instruction: instruction.clone(),
            side,
            quantity,
            filled: 0,
            reference: 0,
        };
        reports.push(Report { venue_order: String::new(), ..open.report(ReportKind::Sent, now_ns) }, None);
        let kind = match (price.map(venue_price), time_in_force) {
            (None, _) => Some(OrderKind::Market),
            (Some(price), TimeInForce::Day) => price.map(OrderKind::Day),
            (Some(price), TimeInForce::ImmediateOrCancel) => price.map(OrderKind::Ioc),
        };
        let (Some(kind), Some(shares)) = (kind, shares(quantity)) else {
            return self.refuse(
                instruction,
                ReportKind::Rejected,
                None,
                "not_at_this_venue",
                now_ns,
                reports,
            );
        };
        self.open.insert(token, open);
        self.tokens.insert(instruction.id, token);
        let symbol = SymbolId(instruction.instrument_id.wrapping_sub(1).min(u32::from(u16::MAX)) as u16);
        let order = NewOrder { owner: OWNER, token, symbol, side: venue_side(side), shares, kind };
        let _ = exchange.enter(at_ns, &order);
    }

    fn replace(
        &mut self,
        exchange: &mut Exchange,
        (now_ns, at_ns): (u64, u64),
        instruction: &Instruction,
        (of, quantity, price): (OrderId, Quantity, Price),
        reports: &mut Reports,
    ) {
        let sent = Report { of: Some(of), ..about(instruction, ReportKind::Sent, now_ns) };
        let Some((token, open)) =
            self.tokens.get(&of).and_then(|token| Some((*token, self.open.get(token)?)))
        else {
            reports.push(sent, None);
            return self.refuse(instruction, ReportKind::Rejected, Some(of), "too_late", now_ns, reports);
        };
        let leaves = open.quantity.saturating_sub(open.filled);
        reports.push(Report { side: Some(open.side), filled: open.filled, leaves, ..sent }, None);
        let (reference, filled) = (open.reference, open.filled);
        let wanted = quantity.saturating_sub(filled);
        if wanted == 0 {
            // Nothing is left of it: the order ends under its new name.
            self.rename(token, instruction, quantity, reference);
            if let Some(open) = self.open.get(&token) {
                let replaced = Report { of: open.previous, ..open.report(ReportKind::Replaced, now_ns) };
                reports.push(replaced, None);
            }
            let _ = exchange.cancel(at_ns, OWNER, reference, 0);
            return;
        }
        let (Some(price), Some(shares)) = (venue_price(price), shares(wanted)) else {
            return self.refuse(
                instruction,
                ReportKind::Rejected,
                Some(of),
                "not_at_this_venue",
                now_ns,
                reports,
            );
        };
        self.asked = Some(Asked::Replace(instruction.clone(), quantity));
        let _ = exchange.replace(at_ns, &Replacement { owner: OWNER, reference, token, shares, price });
    }

    fn refuse(
        &mut self,
        instruction: &Instruction,
        kind: ReportKind,
        of: Option<OrderId>,
        reason: &str,
        now_ns: u64,
        reports: &mut Reports,
    ) {
        self.counts.rejected += 1;
        reports.push(Report { of, reason: reason.into(), ..about(instruction, kind, now_ns) }, None);
    }

    /// An order goes on under another id.
    fn rename(&mut self, token: u64, instruction: &Instruction, quantity: Quantity, reference: u64) {
        let Some(open) = self.open.get_mut(&token) else { return };
        if let Some(before) = open.previous.replace(open.id) {
            self.tokens.remove(&before);
        }
        open.id = instruction.id;
        open.instruction = instruction.clone();
        (open.quantity, open.reference) = (quantity, reference);
        self.tokens.insert(instruction.id, token);
    }

    fn end(&mut self, token: u64) {
        let Some(open) = self.open.remove(&token) else { return };
        self.tokens.remove(&open.id);
        open.previous.map(|previous| self.tokens.remove(&previous));
    }

    /// Something that the exchange tells us.
    pub(super) fn hear(&mut self, now_ns: u64, told: &VenueReport, reports: &mut Reports) {
        match *told {
            VenueReport::Accepted { reference, order } => {
                let Some(open) = self.open.get_mut(&order.token) else { return };
                open.reference = reference;
                reports.push(open.report(ReportKind::Accepted, now_ns), None);
            }
            VenueReport::Rejected { token, reason } => {
                let Some(open) = self.open.get(&token) else { return };
                let instruction = open.instruction.clone();
                self.end(token);
                self.counts.rejected += 1;
                let (reason, text) = ("rejected".into(), reason.to_string());
                reports
                    .push(Report { reason, text, ..about(&instruction, ReportKind::Rejected, now_ns) }, None);
            }
            VenueReport::Executed { token, shares, price, match_number, liquidity, open: left, .. } => {
                let Some(open) = self.open.get_mut(&token) else { return };
                open.filled += Quantity::from(shares);
                let report = Report {
                    last_quantity: Quantity::from(shares),
                    last_price: Some(Price(i64::from(price.0) * PRICE_UNIT)),
                    execution: match_number.to_string(),
                    ..open.report(ReportKind::Filled, now_ns)
                };
                let liquidity = match liquidity {
                    VenueLiquidity::Added => Liquidity::Maker,
                    VenueLiquidity::Removed => Liquidity::Taker,
                };
                reports.push(report, Some(liquidity));
                if left == 0 {
                    self.end(token);
                }
            }
            VenueReport::Cancelled { token, reason, open: left, .. } => {
                self.cancelled(now_ns, token, reason, left, reports);
            }
            VenueReport::Replaced { token, reference, .. } => {
                let Some(Asked::Replace(instruction, quantity)) = self.asked.take() else { return };
                self.rename(token, &instruction, quantity, reference);
                let Some(open) = self.open.get(&token) else { return };
                reports.push(Report { of: open.previous, ..open.report(ReportKind::Replaced, now_ns) }, None);
            }
            VenueReport::CancelRejected { reason, .. } => {
                if let Some(Asked::Cancel(instruction)) = self.asked.take() {
                    self.refused_by_venue(&instruction, ReportKind::CancelRejected, &reason, now_ns, reports);
                }
            }
            VenueReport::ReplaceRejected { reason, .. } => {
                if let Some(Asked::Replace(instruction, _)) = self.asked.take() {
                    self.refused_by_venue(&instruction, ReportKind::Rejected, &reason, now_ns, reports);
                }
            }
        }
    }

    fn refused_by_venue(
        &mut self,
        instruction: &Instruction,
        kind: ReportKind,
        reason: &dyn std::fmt::Display,
        now_ns: u64,
        reports: &mut Reports,
    ) {
        let of = match instruction.action {
            OrderAction::Replace { of, .. } | OrderAction::Cancel { of } => Some(of),
            OrderAction::New { .. } => None,
        };
        self.counts.rejected += 1;
        let (text, reason) = (reason.to_string(), "rejected".into());
        reports.push(Report { of, reason, text, ..about(instruction, kind, now_ns) }, None);
    }

    fn cancelled(&mut self, now_ns: u64, token: u64, reason: CancelReason, left: u32, reports: &mut Reports) {
        let Some(open) = self.open.get(&token) else { return };
        debug_assert_eq!(left, 0, "orders are cancelled as a whole");
        let report = Report { leaves: 0, ..open.report(ReportKind::Cancelled, now_ns) };
        let report = match (reason, self.asked.take()) {
            (CancelReason::ByOwner, Some(Asked::Cancel(instruction))) => {
                Report { id: Some(instruction.id), of: Some(open.id), ..report }
            }
            (CancelReason::ByOwner, _) => Report { reason: "nothing_open".into(), ..report },
            (CancelReason::Immediate, _) => Report { reason: "ioc".into(), ..report },
            (CancelReason::Closed, _) => Report { reason: "closed".into(), ..report },
            (reason, _) => Report { reason: "venue".into(), text: format!("{reason:?}"), ..report },
        };
        reports.push(report, None);
        self.end(token);
    }

    /// The end: what is still open is over.
    pub(super) fn close(&mut self, now_ns: u64, reports: &mut Reports) {
        for open in std::mem::take(&mut self.open).into_values() {
            let report =
                Report { leaves: 0, reason: "end".into(), ..open.report(ReportKind::Cancelled, now_ns) };
            reports.push(report, None);
        }
        self.tokens.clear();
    }
}

fn venue_side(side: OrderSide) -> Side {
    match side {
        OrderSide::Buy => Side::Buy,
        OrderSide::Sell | OrderSide::SellShort => Side::Sell,
    }
}

/// A price as the venue has it; none for one that it has no number for.
fn venue_price(price: Price) -> Option<VenuePrice> {
    let whole = price.0 % PRICE_UNIT == 0;
    u32::try_from(price.0 / PRICE_UNIT).ok().filter(|_| whole && price.0 > 0).map(VenuePrice)
}

fn shares(quantity: Quantity) -> Option<u32> {
    u32::try_from(quantity).ok().filter(|shares| *shares <= SHARES_MAX)
}
