//! From an expected move to a position, and to it by immediate-or-cancel orders: what strategies with one signal do alike.
//!
//! A position is taken when the signal says more than one threshold, and given up when it says less than another, when it has turned,
//! or when time is over. After time was over nothing is entered until the signal has gone once.
//!
//! Invariants: at most one order of an instrument is open; a position is never aimed at beyond `position`; an order that
//! crosses zero is never sent.

use super::market::{Quote, cross, side_of_sale};
use crate::desk::Desk;
use bus::config::InstrumentKey;
use bus::{OrderSide, Report, ReportKind, TimeInForce, TradingMode};
use tick::Price;

/// After refusals in a row the pause doubles so often at most: to about a thousand times.
const DOUBLINGS_MAX: u32 = 10;

/// The limits of a section, in ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// From this signal on a position is taken.
    pub(crate) enter: f64,
    /// Below this one in the position's direction it is given up.
    pub(crate) exit: f64,
    /// Shares or contracts in one order.
    pub(crate) clip: u64,
    /// Position that is aimed at.
    pub(crate) position: i64,
    /// Ticks beyond the other side's best price.
    pub(crate) cross: u32,
    pub(crate) hold_ns: u64,
    pub(crate) pause_ns: u64,
}

/// What is known of an instrument's position and orders.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Trade {
    /// Since when there is a position.
    held_since_ns: Option<u64>,
    /// The position is being given up, until there is none.
    leaving: bool,
    /// A position was given up, and the flow that it came from has not gone since.
    spent: bool,
    sent_ns: Option<u64>,
    /// Refusals in a row.
    refused: u32,
}

impl Trade {
    /// The position that is wanted.
    fn wanted(
        &mut self,
        rule: &Rule,
        now_ns: u64,
        position: i64,
        signal: Option<f64>,
        may_enter: bool,
    ) -> i64 {
        if signal.is_some_and(|expected| expected.abs() < rule.enter) {
            self.spent = false;
        }
        let entry = signal.filter(|expected| may_enter && !self.spent && expected.abs() >= rule.enter);
        let aim = entry.map(|expected| if expected > 0.0 { rule.position } else { -rule.position });
        if position == 0 {
            (self.held_since_ns, self.leaving) = (None, false);
            return aim.unwrap_or(0);
        }
        let since_ns = *self.held_since_ns.get_or_insert(now_ns);
        let over = now_ns.saturating_sub(since_ns) >= rule.hold_ns;
        let decayed = signal.is_some_and(|expected| expected * (position.signum() as f64) < rule.exit);
        if over || decayed {
            self.leaving = true;
            // What is entered anew is another move, not the rest of the one that was given up.
            self.spent |= over;
        }
        match aim {
            _ if self.leaving => 0,
            Some(aim) if aim.signum() == position.signum() && position.abs() < aim.abs() => aim,
            _ => position,
        }
    }

    fn pause_ns(&self, rule: &Rule) -> u64 {
        rule.pause_ns.saturating_mul(1 << self.refused.min(DOUBLINGS_MAX))
    }

    /// Sends the next order on the way to the position that is wanted, if it is time. `signal` is the expected move, in the
    /// unit of the rule's thresholds; none when it cannot be said.
    pub(crate) fn work(
        &mut self,
        rule: &Rule,
        desk: &mut Desk<'_>,
        key: InstrumentKey,
        (quote, step): (Quote, i64),
        signal: Option<f64>,
    ) {
        let (now_ns, position) = (desk.now_ns(), desk.position(key));
        let may_enter = desk.trading() == TradingMode::Active;
        let wanted = self.wanted(rule, now_ns, position, signal, may_enter);
        let pause_ns = self.pause_ns(rule);
        let pauses = self.sent_ns.is_some_and(|sent| now_ns < sent.saturating_add(pause_ns));
        if wanted == position || pauses || desk.open_orders(key).next().is_some() {
            return;
        }
        let buys = wanted > position;
        let quantity = wanted.abs_diff(position).min(rule.clip);
        let Some(price) = cross(quote, buys, step, rule.cross) else { return };
        let side = if buys { OrderSide::Buy } else { side_of_sale(desk, key, quantity) };
        self.sent_ns = Some(now_ns);
        if desk.submit(key, side, quantity, Price(price), TimeInForce::ImmediateOrCancel).is_err() {
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// Learns from what became of an order.
    pub(crate) fn heed(&mut self, report: &Report) {
        match report.kind {
            ReportKind::Rejected | ReportKind::Denied => self.refused = self.refused.saturating_add(1),
            ReportKind::Accepted | ReportKind::Filled => self.refused = 0,
            _ => {}
        }
    }
}
