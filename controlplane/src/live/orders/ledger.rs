//! The state of orders, from instructions and reports in whatever order the streams are read.
//!
//! What a kind of report says of which order is in `docs/streams.md`. Invariants: a report changes something once, by its
//! number; a finished order stays finished; everything is bounded, and what falls out is counted.

use super::positions::{Position, Positions};
use bus::{Instruction, OrderAction, OrderId, Report, ReportKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use utoipa::ToSchema;

/// Finished orders that are kept.
pub(super) const FINISHED_MAX: usize = 10_000;
/// Open orders that are kept; of more, the oldest are taken for finished.
pub(super) const OPEN_MAX: usize = 100_000;
/// Denials that are kept.
pub(super) const DENIALS_MAX: usize = 1_000;
/// Reasons that are told apart; further ones count together.
const REASONS_MAX: usize = 256;
/// Writers of reports (stream and venue) that are told apart.
const WRITERS_MAX: usize = 4_096;
const OTHER: &str = "other";
/// The gateway's answer to an instruction that came again: it changes nothing.
const REPEATED: &str = "repeated";

/// Where an order stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// The strategy wants it; no report yet.
    Instructed,
    /// On its way to the venue.
    Sent,
    /// The venue has it.
    Open,
    /// Its fate is not known, until the venue was asked.
    Unknown,
    /// Traded in full.
    Filled,
    /// Ended without (further) trades.
    Cancelled,
    /// Another order took its place.
    Replaced,
    /// Refused before it was sent.
    Denied,
    /// Refused by the venue.
    Rejected,
    /// So many orders were open that this one is not followed any more.
    Dropped,
}

impl OrderState {
    /// Whether it may still trade.
    pub fn is_open(self) -> bool {
        matches!(self, OrderState::Instructed | OrderState::Sent | OrderState::Open | OrderState::Unknown)
    }
}

/// An order, as far as it is known.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Order {
    /// Client order id.
    pub id: String,
    /// The order whose place it takes or took.
    #[schema(required)]
    pub of: Option<String>,
    /// Where it stands.
    pub state: OrderState,
    /// Whose it is.
    pub strategy: String,
    /// The gateway session.
    pub venue: String,
    /// The instrument's publisher.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// As the venue has it.
    pub symbol: String,
    /// `buy`, `sell`, `sell_short`; null when not known.
    #[schema(required)]
    pub side: Option<&'static str>,
    /// Shares or contracts in all; null when the instruction was not seen.
    #[schema(required)]
    pub quantity: Option<u64>,
    /// The limit, a decimal; null for a market order or when it was not seen.
    #[schema(required)]
    pub price: Option<String>,
    /// `day`, `ioc`; null when not seen.
    #[schema(required)]
    pub time_in_force: Option<&'static str>,
    /// Traded in all, with what the orders before it had traded.
    pub filled: u64,
    /// Still open at the venue.
    pub leaves: u64,
    /// The venue's number of it; empty when there is none.
    pub venue_order: String,
    /// Code of the last report that had one.
    pub reason: String,
    /// Its text.
    pub text: String,
    /// `ts_recv` of the tick that caused it, ns since the epoch; 0 = none.
    pub cause_ns: u64,
    /// When it was made, ns since the epoch; 0 when not seen.
    pub created_ns: u64,
    /// When it last changed, ns since the epoch.
    pub time_ns: u64,
}

/// An instruction that was refused before it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Denial {
    /// The instruction; null when it could not be read.
    #[schema(required)]
    pub id: Option<String>,
    /// Whose it was.
    pub strategy: String,
    /// The gateway session.
    pub venue: String,
    /// The instrument's publisher; 0 when not known.
    pub publisher_id: u16,
    /// The instrument; 0 when not known.
    pub instrument_id: u32,
    /// As the venue has it.
    pub symbol: String,
    /// `strategy` (a risk check) or `gateway`.
    pub denied_by: &'static str,
    /// The check.
    pub reason: String,
    /// Value and limit.
    pub text: String,
    /// When, ns since the epoch.
    pub time_ns: u64,
}

/// How often a check has denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DenialReason {
    /// `strategy` or `gateway`.
    pub denied_by: &'static str,
    /// The check.
    pub reason: String,
    /// How often, since the streams' oldest entry.
    pub count: u64,
}

/// What is read of orders.
#[derive(Debug, Default)]
pub struct Ledger {
    orders: BTreeMap<OrderId, Order>,
    open: VecDeque<OrderId>,
    finished: VecDeque<OrderId>,
    /// Cancels are instructions and no orders.
    cancels: VecDeque<OrderId>,
    is_cancel: BTreeSet<OrderId>,
    denials: VecDeque<Denial>,
    reasons: BTreeMap<(&'static str, String), u64>,
    positions: Positions,
    /// By stream and venue: the first and the last number that was read.
    numbers: BTreeMap<(String, String), (u64, u64)>,
    changed: BTreeSet<OrderId>,
    new_denials: u64,
    /// Reports that no number was there for.
    pub missing_reports: u64,
    /// Reports that were read before.
    pub repeated_reports: u64,
    /// Orders that were open and are not followed any more.
    pub dropped_orders: u64,
}

impl Ledger {
    /// One that has read nothing.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Takes an instruction.
    pub fn instruct(&mut self, instruction: &Instruction) {
        let id = instruction.id;
        if let OrderAction::Cancel { .. } = instruction.action {
            self.note_cancel(id);
            return;
        }
        let is_new = !self.orders.contains_key(&id);
        let mut order = self.orders.remove(&id).unwrap_or_else(|| Order::unseen(id));
        // The same one again, or one whose report was read before it.
        match &instruction.action {
            OrderAction::New { side, quantity, price, time_in_force } => {
                order.side = Some(side.word());
                order.quantity = Some(*quantity);
                order.price = price.map(|price| price.to_string());
                order.time_in_force = Some(time_in_force.word());
            }
            OrderAction::Replace { of, quantity, price } => {
                order.of = Some(of.to_string());
                order.quantity = Some(*quantity);
                order.price = Some(price.to_string());
                if let Some(original) = self.orders.get(of) {
                    order.side = order.side.or(original.side);
                    order.time_in_force = order.time_in_force.or(original.time_in_force);
                }
            }
            OrderAction::Cancel { .. } => {}
        }
        order.strategy.clone_from(&instruction.strategy);
        order.venue.clone_from(&instruction.venue);
        order.symbol.clone_from(&instruction.symbol);
        (order.publisher_id, order.instrument_id) = (instruction.publisher_id, instruction.instrument_id);
        (order.cause_ns, order.created_ns) = (instruction.cause_ns, instruction.created_ns);
        order.time_ns = order.time_ns.max(instruction.created_ns);
        self.orders.insert(id, order);
        if is_new {
            self.opened(id);
        }
        self.changed.insert(id);
    }

    /// Takes a report that was read from `stream`.
    pub fn report(&mut self, stream: &str, report: &Report) {
        if !self.is_new(stream, report) {
            self.repeated_reports += 1;
            return;
        }
        match report.kind {
            ReportKind::Denied => self.denied(report),
            _ if report.reason == REPEATED => {}
            ReportKind::Sent => {
                // The sending of a cancel names the cancel, of which there is no order.
                if report.of.is_none() || report.id.is_some_and(|id| self.orders.contains_key(&id)) {
                    self.moved(report.id, report, OrderState::Sent);
                }
            }
            ReportKind::Accepted => self.moved(report.id, report, OrderState::Open),
            ReportKind::Rejected => self.moved(report.id, report, OrderState::Rejected),
            ReportKind::Filled => {
                self.positions.take(report);
                let state = if report.leaves == 0 { OrderState::Filled } else { OrderState::Open };
                self.moved(report.id, report, state);
            }
            ReportKind::Broken => {
                self.positions.take(report);
                if let Some(order) = report.id.and_then(|id| self.orders.get_mut(&id)) {
                    order.take(report);
                    self.changed.extend(report.id);
                }
            }
            ReportKind::Replaced => {
                self.moved(report.id, report, OrderState::Open);
                self.ended(report.of, report, OrderState::Replaced);
            }
            ReportKind::Cancelled => {
                let by_a_cancel = report.of.is_some();
                let target = if by_a_cancel { report.of } else { report.id };
                self.moved(target, report, OrderState::Cancelled);
            }
            ReportKind::CancelRejected => {
                // A replacement that the venue does not do is an order that ended; a cancel is none.
                if report.id.is_some_and(|id| self.orders.contains_key(&id)) {
                    self.ended(report.id, report, OrderState::Rejected);
                }
            }
            ReportKind::Unknown => self.moved(report.id, report, OrderState::Unknown),
        }
    }

    /// Whether the report's number is the first of its kind; what is missing before it is counted.
    fn is_new(&mut self, stream: &str, report: &Report) -> bool {
        if report.number == 0 {
            return true;
        }
        let writer = (stream.to_owned(), report.venue.clone());
        if let Some((_, last)) = self.numbers.get_mut(&writer) {
            if report.number <= *last {
                return false;
            }
            self.missing_reports += report.number - *last - 1;
            *last = report.number;
        } else if self.numbers.len() < WRITERS_MAX {
            // What was trimmed before it was ever read is missing, too.
            self.missing_reports += report.number - 1;
            self.numbers.insert(writer, (report.number, report.number));
        }
        true
    }

    fn denied(&mut self, report: &Report) {
        let denied_by = if report.number == 0 { "strategy" } else { "gateway" };
        let mut reason = (denied_by, report.reason.clone());
        if self.reasons.len() >= REASONS_MAX && !self.reasons.contains_key(&reason) {
            reason.1 = OTHER.to_owned();
        }
        *self.reasons.entry(reason).or_default() += 1;
        if self.denials.len() == DENIALS_MAX {
            self.denials.pop_front();
        }
        self.new_denials += 1;
        self.denials.push_back(Denial {
            id: report.id.map(|id| id.to_string()),
            strategy: report.strategy.clone(),
            venue: report.venue.clone(),
            publisher_id: report.publisher_id,
            instrument_id: report.instrument_id,
            symbol: report.symbol.clone(),
            denied_by,
            reason: report.reason.clone(),
            text: report.text.clone(),
            time_ns: report.time_ns,
        });
        // An id that was sent before is denied as a duplicate: the order goes on.
        let is_waiting = |order: &Order| order.state == OrderState::Instructed;
        if report.id.and_then(|id| self.orders.get(&id)).is_some_and(is_waiting) {
            self.ended(report.id, report, OrderState::Denied);
        }
    }

    /// The order is in this state now.
    fn moved(&mut self, id: Option<OrderId>, report: &Report, state: OrderState) {
        let Some(id) = id else { return };
        if self.is_cancel.contains(&id) {
            return;
        }
        let is_new = !self.orders.contains_key(&id);
        let order = self.orders.entry(id).or_insert_with(|| Order::unseen(id));
        order.take(report);
        if is_new {
            order.know(report);
            self.open.push_back(id);
        }
        if !state.is_open() {
            self.ended(Some(id), report, state);
            return;
        }
        // Reports of one venue are in order; a finished order stays finished all the same.
        if order.state.is_open() {
            order.state = state;
        }
        self.changed.insert(id);
        self.bound_open();
    }

    fn ended(&mut self, id: Option<OrderId>, report: &Report, state: OrderState) {
        let Some(id) = id else { return };
        let Some(order) = self.orders.get_mut(&id) else { return };
        if !order.state.is_open() {
            return;
        }
        order.state = state;
        order.leaves = 0;
        order.time_ns = report.time_ns;
        if !report.reason.is_empty() {
            order.reason.clone_from(&report.reason);
            order.text.clone_from(&report.text);
        }
        self.finish(id);
    }

    fn finish(&mut self, id: OrderId) {
        self.changed.insert(id);
        self.finished.push_back(id);
        if self.finished.len() > FINISHED_MAX
            && let Some(oldest) = self.finished.pop_front()
        {
            self.orders.remove(&oldest);
            self.changed.remove(&oldest);
        }
    }

    fn opened(&mut self, id: OrderId) {
        self.open.push_back(id);
        self.bound_open();
    }

    /// Keeps `open` to those that are open, and those to [`OPEN_MAX`].
    fn bound_open(&mut self) {
        if self.open.len() <= OPEN_MAX + FINISHED_MAX {
            return;
        }
        let orders = &self.orders;
        self.open.retain(|id| orders.get(id).is_some_and(|order| order.state.is_open()));
        while self.open.len() > OPEN_MAX {
            let Some(id) = self.open.pop_front() else { return };
            if let Some(order) = self.orders.get_mut(&id) {
                order.state = OrderState::Dropped;
                self.dropped_orders += 1;
                self.finish(id);
            }
        }
    }

    fn note_cancel(&mut self, id: OrderId) {
        if self.orders.contains_key(&id) || !self.is_cancel.insert(id) {
            return;
        }
        self.cancels.push_back(id);
        if self.cancels.len() > OPEN_MAX
            && let Some(oldest) = self.cancels.pop_front()
        {
            self.is_cancel.remove(&oldest);
        }
    }

    /// One order.
    pub fn order(&self, id: &OrderId) -> Option<&Order> {
        self.orders.get(id)
    }

    /// The open ones, newest first, then the finished ones, newest first.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.open().chain(self.finished.iter().rev().filter_map(|id| self.orders.get(id)))
    }

    /// The open ones, newest first.
    pub fn open(&self) -> impl Iterator<Item = &Order> {
        let open = self.open.iter().rev().filter_map(|id| self.orders.get(id));
        open.filter(|order| order.state.is_open())
    }

    /// Denials, newest first.
    pub fn denials(&self) -> impl Iterator<Item = &Denial> {
        self.denials.iter().rev()
    }

    /// How often each check has denied.
    pub fn reasons(&self) -> Vec<DenialReason> {
        let shown = |((denied_by, reason), count): (&(&'static str, String), &u64)| DenialReason {
            denied_by,
            reason: reason.clone(),
            count: *count,
        };
        self.reasons.iter().map(shown).collect()
    }

    /// Every position.
    pub fn positions(&self) -> Vec<Position> {
        self.positions.all()
    }

    /// The positions that these orders are about.
    pub fn positions_of(&self, orders: &[Order]) -> Vec<Position> {
        let key = |order: &Order| (order.strategy.clone(), order.publisher_id, order.instrument_id);
        self.positions.some(orders.iter().map(key))
    }

    /// Trades that are in no position.
    pub fn trades_left_out(&self) -> u64 {
        self.positions.left_out
    }

    /// The orders that changed since this was last asked, at most so many, and how many more there are; the new denials.
    pub fn changes(&mut self, orders_max: usize) -> (Vec<Order>, usize, Vec<Denial>) {
        let changed = std::mem::take(&mut self.changed);
        let more = changed.len().saturating_sub(orders_max);
        let orders = changed.iter().take(orders_max).filter_map(|id| self.orders.get(id).cloned()).collect();
        let new = std::mem::take(&mut self.new_denials).min(orders_max as u64) as usize;
        let skip = self.denials.len().saturating_sub(new);
        (orders, more, self.denials.iter().skip(skip).cloned().collect())
    }

    /// Whether anything changed since [`Ledger::changes`] was last asked.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty() || self.new_denials > 0
    }
}

impl Order {
    fn unseen(id: OrderId) -> Order {
        Order {
            id: id.to_string(),
            of: None,
            state: OrderState::Instructed,
            strategy: String::new(),
            venue: String::new(),
            publisher_id: 0,
            instrument_id: 0,
            symbol: String::new(),
            side: None,
            quantity: None,
            price: None,
            time_in_force: None,
            filled: 0,
            leaves: 0,
            venue_order: String::new(),
            reason: String::new(),
            text: String::new(),
            cause_ns: 0,
            created_ns: 0,
            time_ns: 0,
        }
    }

    /// What a report says of an order whose instruction was not read.
    fn know(&mut self, report: &Report) {
        self.strategy.clone_from(&report.strategy);
        self.venue.clone_from(&report.venue);
        self.symbol.clone_from(&report.symbol);
        (self.publisher_id, self.instrument_id) = (report.publisher_id, report.instrument_id);
        self.side = report.side.map(bus::OrderSide::word);
        self.cause_ns = report.cause_ns;
    }

    fn take(&mut self, report: &Report) {
        (self.filled, self.leaves) = (report.filled, report.leaves);
        self.time_ns = report.time_ns;
        if self.side.is_none() {
            self.side = report.side.map(bus::OrderSide::word);
        }
        if !report.venue_order.is_empty() {
            self.venue_order.clone_from(&report.venue_order);
        }
        if !report.reason.is_empty() {
            self.reason.clone_from(&report.reason);
            self.text.clone_from(&report.text);
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
