//! What the venue says about orders. It is right: what it says is booked, also when it contradicts itself, and then counted.

use super::apply::Turn;
use super::name;
use super::order::{CancelState, Doubt, Execution, State};
use crate::line::{OrderName, Told, What};
use bus::{OrderId, Quantity, Report, ReportKind};
use tick::Price;

/// In the place of a chain, for trades of orders that nobody knows.
const NO_CHAIN: usize = usize::MAX;

impl Turn<'_> {
    pub(super) fn told(&mut self, told: &Told) {
        if self.book.is_repeated(told) {
            self.book.oddities.repeated += 1;
            return;
        }
        self.book.told = self.book.told.max(told.number);
        let named = match told.order {
            OrderName::Id(id) => Some(id),
            OrderName::Wire(wire_ref) => self.book.refs.get(&wire_ref).copied(),
        };
        // A message can name the cancel in the place of the order.
        let cancel = named.filter(|id| self.book.cancels.contains_key(id));
        let id = cancel.map_or(named, |cancel| Some(self.book.cancels[&cancel].of));
        let Some(id) = id.filter(|id| self.book.orders.contains_key(id)) else {
            return self.stranger(told, named);
        };
        match &told.what {
            What::Accepted { venue_order, leaves } => self.accepted(id, venue_order, *leaves),
            What::Rejected { reason, .. } if cancel.is_some() => self.cancel_rejected(id, cancel, reason),
            What::Rejected { reason, text, original_lives } => {
                self.rejected(id, reason, text, *original_lives);
            }
            What::Replaced { venue_order, quantity, leaves, price } => {
                if self.takes_over(id, *quantity, Some(*leaves), *price) {
                    self.set_venue_order(id, venue_order);
                    self.replaced_report(id);
                }
            }
            What::Filled { quantity, price, execution } => self.filled(id, *quantity, *price, execution),
            What::Cancelled { quantity, reason, by } => self.cancelled(id, *quantity, reason, by.or(cancel)),
            What::CancelRejected { by, reason } => self.cancel_rejected(id, by.or(cancel), reason),
            What::Broken { execution, quantity, price } => self.broken(id, execution, *quantity, *price),
            What::Stands { .. } if cancel.is_some() => {}
            What::NeverArrived if let Some(cancel) = cancel => self.cancel_never_arrived(cancel),
            What::Stands { filled, leaves, venue_order } => self.stands(id, *filled, *leaves, venue_order),
            What::NeverArrived => self.never_arrived(id),
        }
    }

    fn contradicts(&mut self) {
        self.book.oddities.contradictions += 1;
    }

    fn set_venue_order(&mut self, id: OrderId, venue_order: &str) {
        if let Some(order) = self.order(&id)
            && !venue_order.is_empty()
        {
            venue_order.clone_into(&mut order.venue_order);
        }
    }

    fn filled_of(&self, id: &OrderId) -> Quantity {
        self.book.orders.get(id).map_or(0, |order| self.book.chains[order.chain].filled)
    }

    fn leaves_of(&self, id: &OrderId) -> Quantity {
        self.book.orders.get(id).map_or(0, |order| self.book.leaves(order))
    }

    /// The order of the chain that is in force: what a message about one that was replaced is about.
    fn in_force(&self, id: OrderId) -> OrderId {
        let current = self.book.orders.get(&id).map(|order| self.book.chains[order.chain].current);
        let alive = |id: &OrderId| self.book.orders.get(id).is_some_and(|order| !order.is_ended());
        current.filter(|current| !alive(&id) && alive(current)).unwrap_or(id)
    }

    /// Less is open than was asked for.
    fn cut_to(&mut self, id: OrderId, leaves: Quantity) {
        let more = self.leaves_of(&id).saturating_sub(leaves);
        if let Some(order) = self.order(&id) {
            order.cut += more;
        }
    }

    fn accepted(&mut self, id: OrderId, venue_order: &str, leaves: Quantity) {
        self.set_venue_order(id, venue_order);
        let Some(order) = self.order(&id) else { return };
        let (was_accepted, doubt) = (order.accepted, order.doubt);
        match order.state {
            State::Taken | State::Sent if order.replaces.is_some() => {
                if self.takes_over(id, None, Some(leaves), None) {
                    self.replaced_report(id);
                }
            }
            State::Taken | State::Sent => {
                (order.state, order.doubt, order.accepted) = (State::Open, Doubt::None, true);
                self.cut_to(id, leaves);
                self.tell(id, ReportKind::Accepted, |_| {});
                self.ends_if_nothing_is_left(id);
            }
            State::Open => {
                (order.doubt, order.accepted) = (Doubt::None, true);
                // One that comes after a trade says what was open before it.
                if !was_accepted || doubt != Doubt::None {
                    self.tell(id, ReportKind::Accepted, |_| {});
                }
            }
            State::Ended { .. } if order.never_was() => {
                self.comes_to_life(id);
                self.tell(id, ReportKind::Accepted, |report| report.reason = "unexpected".into());
            }
            State::Ended { .. } => {}
        }
    }

    /// The venue has an order that was reported as refused: nobody waits for it. It is to be cancelled.
    fn comes_to_life(&mut self, id: OrderId) {
        self.contradicts();
        let Some(order) = self.order(&id) else { return };
        (order.state, order.accepted) = (State::Open, true);
        let (chain, replaces) = (order.chain, order.replaces);
        self.book.open.insert(id);
        self.book.chains[chain].unwanted = true;
        self.book.chains[chain].current = id;
        if let Some(original) = replaces
            && self.book.orders.get(&original).is_some_and(|order| !order.is_ended())
        {
            self.end(original, ReportKind::Replaced, "");
        }
    }

    /// Nothing is left of an order that nobody ended: the venue took the rest off in the same moment.
    fn ends_if_nothing_is_left(&mut self, id: OrderId) {
        let alive = self.book.orders.get(&id).is_some_and(|order| !order.is_ended());
        if alive && self.leaves_of(&id) == 0 {
            self.end(id, ReportKind::Cancelled, "nothing_open");
            self.tell(id, ReportKind::Cancelled, |report| report.reason = "nothing_open".into());
        }
    }

    /// A replacement is in force from here on. Whether that is news.
    fn takes_over(
        &mut self,
        id: OrderId,
        quantity: Option<Quantity>,
        leaves: Option<Quantity>,
        price: Option<Price>,
    ) -> bool {
        let filled = self.filled_of(&id);
        let Some(order) = self.book.orders.get(&id) else { return false };
        let Some(original) = order.replaces else {
            // Restated by the venue: a new order never replaces.
            let in_all = order.quantity;
            self.contradicts();
            self.accepted(id, "", leaves.unwrap_or(in_all));
            return false;
        };
        let chain = order.chain;
        match order.state {
            State::Taken | State::Sent => {}
            State::Open => {
                // A trade of it was told first.
                let doubt = order.doubt;
                if let Some(order) = self.order(&id) {
                    order.doubt = Doubt::None;
                    order.price = price.or(order.price);
                }
                if let Some(leaves) = leaves.filter(|leaves| *leaves > 0) {
                    self.cut_to(id, leaves);
                }
                return doubt != Doubt::None;
            }
            State::Ended { .. } if order.never_was() => self.comes_to_life(id),
            State::Ended { .. } => return false,
        }
        let cancels = self.order(&original).map(|order| std::mem::take(&mut order.cancels));
        if self.book.orders.get(&original).is_some_and(|order| !order.is_ended()) {
            self.end(original, ReportKind::Replaced, "");
        }
        // They named the original, which the venue does not have any more.
        for cancel in cancels.iter().flatten() {
            if let Some(cancel) = self.book.cancels.get_mut(cancel) {
                (cancel.of, cancel.state) = (id, CancelState::Lost);
            }
        }
        let wanted = quantity.or_else(|| leaves.map(|leaves| leaves.saturating_add(filled)));
        let Some(order) = self.order(&id) else { return false };
        order.cancels.extend(cancels.into_iter().flatten());
        (order.state, order.doubt, order.accepted) = (State::Open, Doubt::None, true);
        order.quantity = wanted.unwrap_or(order.quantity);
        order.price = price.or(order.price);
        self.book.chains[chain].current = id;
        if let Some(leaves) = leaves {
            self.cut_to(id, leaves);
        }
        true
    }

    fn replaced_report(&mut self, id: OrderId) {
        let of = self.book.orders.get(&id).and_then(|order| order.replaces);
        self.tell(id, ReportKind::Replaced, |report| report.of = of);
        self.ends_if_nothing_is_left(id);
    }

    fn rejected(&mut self, id: OrderId, reason: &str, text: &str, original_lives: bool) {
        let Some(order) = self.book.orders.get(&id) else { return };
        if order.is_ended() {
            if !order.never_was() {
                self.contradicts();
            }
            return;
        }
        let (open, original) = (order.state == State::Open, order.replaces);
        if open {
            self.contradicts();
        }
        self.end(id, ReportKind::Rejected, reason);
        let original = original.filter(|_| !open);
        let alive = original.is_some_and(|id| self.book.orders.get(&id).is_some_and(|o| !o.is_ended()));
        match original {
            Some(original) if alive && original_lives => {
                self.tell_cancel(id, original, ReportKind::CancelRejected, |report| {
                    (report.reason, report.text) = (reason.to_owned(), text.to_owned());
                });
            }
            _ => self.tell(id, ReportKind::Rejected, |report| {
                (report.of, report.reason, report.text) = (original, reason.to_owned(), text.to_owned());
            }),
        }
        if let Some(original) = original.filter(|_| alive && !original_lives) {
            self.end(original, ReportKind::Cancelled, reason);
            self.tell(original, ReportKind::Cancelled, |report| report.reason = reason.to_owned());
        }
    }

    /// What a trade, or a cancel, of an order that is not answered says besides: the venue has it.
    fn is_there(&mut self, id: OrderId) {
        let Some(order) = self.order(&id).filter(|order| order.is_unanswered()) else { return };
        let of = order.replaces;
        if of.is_none() {
            order.state = State::Open;
        } else if self.takes_over(id, None, None, None) {
            self.tell(id, ReportKind::Replaced, |report| report.of = of);
        }
    }

    fn filled(&mut self, id: OrderId, quantity: Quantity, price: Price, execution: &str) {
        let Some(chain) = self.book.orders.get(&id).map(|order| order.chain) else { return };
        if !execution.is_empty() {
            let key = (chain, execution.to_owned());
            if self.book.executions.contains_key(&key) {
                self.book.oddities.repeated += 1;
                return;
            }
            self.book.executions.insert(key, Execution { quantity, price, void: false });
        }
        // Counted already when the venue said how the order stands.
        let known = self.book.chains[chain].assumed.min(quantity);
        self.book.chains[chain].assumed -= known;
        if quantity > known {
            self.trade(id, quantity - known, Some(price), execution, "");
        }
    }

    fn trade(
        &mut self,
        id: OrderId,
        quantity: Quantity,
        price: Option<Price>,
        execution: &str,
        reason: &str,
    ) {
        self.is_there(id);
        let id = self.in_force(id);
        let Some(order) = self.book.orders.get(&id) else { return };
        let (chain, in_all, never_was) = (order.chain, order.quantity, order.never_was());
        let (instrument, signed) = ((order.publisher_id, order.instrument_id), order.signed(quantity));
        if never_was {
            self.comes_to_life(id);
        }
        let chain = &mut self.book.chains[chain];
        chain.filled = chain.filled.saturating_add(quantity);
        let overfilled = chain.filled > in_all;
        *self.book.positions.entry(instrument).or_default() += signed;
        if overfilled {
            self.book.oddities.overfills += 1;
        }
        if let Some(order) = self.order(&id) {
            order.doubt = Doubt::None;
        }
        let alive = self.book.orders.get(&id).is_some_and(|order| !order.is_ended());
        if alive && self.leaves_of(&id) == 0 {
            self.end(id, ReportKind::Filled, "");
        }
        self.tell(id, ReportKind::Filled, |report| {
            (report.last_quantity, report.last_price) = (quantity, price);
            report.execution = name(execution);
            report.reason = if overfilled { "overfilled" } else { reason }.to_owned();
        });
    }

    fn cancelled(&mut self, id: OrderId, quantity: Option<Quantity>, reason: &str, by: Option<OrderId>) {
        self.is_there(id);
        let id = self.in_force(id);
        let leaves = self.leaves_of(&id);
        let Some(order) = self.order(&id) else { return };
        if order.is_ended() {
            return;
        }
        order.doubt = Doubt::None;
        if let Some(quantity) = quantity.filter(|quantity| *quantity < leaves) {
            order.cut += quantity;
            self.tell(id, ReportKind::Accepted, |report| {
                (report.reason, report.text) = ("reduced".into(), format!("by {quantity}: {reason}"));
            });
            return;
        }
        let by = self.strategys_cancel(id, by);
        self.end(id, ReportKind::Cancelled, reason);
        match by {
            Some(by) => {
                if let Some(cancel) = self.book.cancels.get_mut(&by) {
                    cancel.answered = true;
                }
                self.tell_cancel(by, id, ReportKind::Cancelled, |report| report.reason = reason.to_owned());
            }
            None => self.tell(id, ReportKind::Cancelled, |report| report.reason = reason.to_owned()),
        }
    }

    /// The strategy's cancel behind the end of an order: the one that the message names, else the oldest.
    fn strategys_cancel(&self, id: OrderId, by: Option<OrderId>) -> Option<OrderId> {
        let carried_out = |cancel: &OrderId| self.book.cancels.get(cancel).and_then(|c| c.carries_out);
        let named = by.as_ref().and_then(carried_out);
        let order = self.book.orders.get(&id)?;
        named.or_else(|| order.cancels.iter().find_map(carried_out))
    }

    fn cancel_rejected(&mut self, id: OrderId, by: Option<OrderId>, reason: &str) {
        if let Some(replacement) = by.filter(|by| self.book.orders.contains_key(by)) {
            return self.rejected(replacement, reason, "", true);
        }
        let id = self.in_force(id);
        let Some(order) = self.book.orders.get(&id) else { return };
        let sent =
            |cancel: &&OrderId| self.book.cancels.get(*cancel).is_some_and(|c| c.state != CancelState::Done);
        let Some(cancel) = by.or_else(|| order.cancels.iter().find(sent).copied()) else {
            // Of the two that it may mean, only a replacement is on its way.
            match order.pending {
                Some(replacement) => self.rejected(replacement, reason, "", true),
                None => self.contradicts(),
            }
            return;
        };
        let Some(known) = self.book.cancels.get_mut(&cancel) else { return self.contradicts() };
        known.state = CancelState::Done;
        let carries_out = known.carries_out;
        let chain = order.chain;
        if let Some(order) = self.order(&id) {
            order.cancels.retain(|kept| *kept != cancel);
        }
        let Some(asked) = carries_out else { return };
        let others = self.strategys_cancel(id, None).filter(|other| *other != asked);
        self.book.chains[chain].unwanted = others.is_some();
        // The cancel that another carried out is answered, too.
        if let Some(order) = self.order(&id) {
            order.cancels.retain(|kept| *kept != asked);
        }
        let Some(asked_cancel) = self.book.cancels.get_mut(&asked).filter(|cancel| !cancel.answered) else {
            return;
        };
        (asked_cancel.state, asked_cancel.answered) = (CancelState::Done, true);
        self.tell_cancel(asked, id, ReportKind::CancelRejected, |report| report.reason = reason.to_owned());
    }

    fn broken(&mut self, id: OrderId, execution: &str, quantity: Option<Quantity>, price: Option<Price>) {
        let Some(chain) = self.book.orders.get(&id).map(|order| order.chain) else { return };
        let key = (chain, execution.to_owned());
        let Some(trade) = self.book.executions.get_mut(&key) else {
            // Void before it was told: it will not count.
            self.contradicts();
            let trade =
                Execution { quantity: quantity.unwrap_or(0), price: price.unwrap_or(Price(0)), void: true };
            self.book.executions.insert(key, trade);
            return;
        };
        if trade.void {
            self.book.oddities.repeated += 1;
            return;
        }
        trade.void = true;
        let (quantity, price) = (quantity.unwrap_or(trade.quantity), price.unwrap_or(trade.price));
        let id = self.in_force(id);
        let Some(order) = self.order(&id) else { return };
        // What was void is not open again.
        order.cut = order.cut.saturating_add(quantity);
        let (instrument, signed) = ((order.publisher_id, order.instrument_id), order.signed(quantity));
        self.book.chains[chain].filled = self.book.chains[chain].filled.saturating_sub(quantity);
        *self.book.positions.entry(instrument).or_default() -= signed;
        self.tell(id, ReportKind::Broken, |report| {
            (report.last_quantity, report.last_price) = (quantity, Some(price));
            report.execution = name(execution);
        });
    }

    fn stands(&mut self, id: OrderId, filled: Quantity, leaves: Quantity, venue_order: &str) {
        self.set_venue_order(id, venue_order);
        let Some(order) = self.book.orders.get(&id) else { return };
        let (doubt, limit, chain) = (order.doubt, order.price, order.chain);
        if order.is_ended() && !order.never_was() {
            return;
        }
        if order.never_was() {
            if leaves == 0 && filled <= self.filled_of(&id) {
                return;
            }
            self.comes_to_life(id);
        }
        self.is_there(id);
        let missing = filled.saturating_sub(self.filled_of(&id));
        if missing > 0 {
            // Trades that were never told. Their price is not known: the limit is the worst that it can be.
            self.book.chains[chain].assumed += missing;
            self.trade(id, missing, limit, "", "not_told");
        }
        let Some(order) = self.order(&id).filter(|order| !order.is_ended()) else { return };
        (order.doubt, order.accepted) = (Doubt::None, true);
        self.cut_to(id, leaves);
        if leaves == 0 {
            let by = self.strategys_cancel(id, None);
            self.end(id, ReportKind::Cancelled, "found_over");
            self.tell(id, ReportKind::Cancelled, |report| {
                report.reason = "found_over".into();
                if by.is_some() {
                    (report.id, report.of) = (by, Some(id));
                }
            });
        } else if doubt != Doubt::None {
            self.tell(id, ReportKind::Accepted, |_| {});
        }
    }

    fn never_arrived(&mut self, id: OrderId) {
        match self.book.orders.get(&id) {
            Some(order) if order.is_unanswered() => {
                self.rejected(id, "never_arrived", "the venue never had it", true);
            }
            // It was there once: it is over, and nobody said how.
            Some(order) if !order.is_ended() => {
                self.contradicts();
                self.stands(id, self.filled_of(&id), 0, "");
            }
            _ => {}
        }
    }

    /// Another cancel takes its place, as long as the order is to end.
    fn cancel_never_arrived(&mut self, cancel: OrderId) {
        let known = self.book.cancels.get_mut(&cancel);
        if let Some(cancel) = known.filter(|cancel| cancel.state == CancelState::Sent) {
            cancel.state = CancelState::Lost;
        }
    }

    /// A message about an order that nobody here knows: told to the operator in the venue's words.
    fn stranger(&mut self, told: &Told, named: Option<OrderId>) {
        self.book.oddities.strangers += 1;
        let (kind, quantity, price, leaves, execution) = match &told.what {
            What::Accepted { leaves, .. } | What::Replaced { leaves, .. } => {
                (ReportKind::Accepted, 0, None, *leaves, "")
            }
            What::Stands { leaves, .. } => (ReportKind::Accepted, 0, None, *leaves, ""),
            What::Rejected { .. } => (ReportKind::Rejected, 0, None, 0, ""),
            What::Filled { quantity, price, execution } => {
                (ReportKind::Filled, *quantity, Some(*price), 0, execution.as_str())
            }
            What::Broken { quantity, price, execution } => {
                (ReportKind::Broken, quantity.unwrap_or(0), *price, 0, execution.as_str())
            }
            What::Cancelled { .. } => (ReportKind::Cancelled, 0, None, 0, ""),
            What::CancelRejected { .. } => (ReportKind::CancelRejected, 0, None, 0, ""),
            What::NeverArrived => return,
        };
        if kind == ReportKind::Filled && !execution.is_empty() {
            let trade = Execution { quantity, price: price.unwrap_or(Price(0)), void: false };
            if self.book.executions.insert((NO_CHAIN, execution.to_owned()), trade).is_some() {
                self.book.oddities.repeated += 1;
                return;
            }
        }
        let report = Report {
            number: 0,
            id: named,
            kind,
            of: None,
            venue: self.book.venue.clone(),
            strategy: String::new(),
            symbol: String::new(),
            publisher_id: 0,
            instrument_id: 0,
            side: None,
            last_quantity: quantity,
            last_price: price,
            filled: quantity,
            leaves,
            venue_order: String::new(),
            execution: name(execution),
            reason: "unknown_order".into(),
            text: format!("{:?}", told.what).chars().take(64).collect(),
            cause_ns: 0,
            time_ns: self.time_ns,
        };
        self.give(0, report);
    }
}
