//! Inputs that are not the venue's words: instructions, how sending went, the connection, the day.

use super::order::{Cancel, CancelState, Chain, Doubt, Order, State};
use super::{About, Book, Connection, Input, Own, Went, name};
use crate::line::WireRef;
use bus::{Instruction, OrderAction, OrderId, Report, ReportKind};

/// One input being applied: the book, the time, the reports so far.
pub(super) struct Turn<'a> {
    pub book: &'a mut Book,
    pub time_ns: u64,
    pub out: &'a mut Vec<(u16, Report)>,
}

impl Book {
    /// Takes in what happened, and adds the reports that it leads to, numbered, each with its shard.
    pub fn apply(&mut self, time_ns: u64, input: &Input, out: &mut Vec<(u16, Report)>) {
        let mut turn = Turn { book: self, time_ns, out };
        match input {
            Input::Taken { shard, entry, wire_ref, instruction, own } => {
                turn.read_to(*shard, *entry);
                turn.taken(*shard, *wire_ref, instruction, *own);
            }
            Input::Denied { shard, entry, about, reason, text } => {
                turn.read_to(*shard, *entry);
                turn.denied(*shard, about, reason, text);
            }
            Input::Asked { shard, entry, id } => {
                turn.read_to(*shard, *entry);
                turn.asked(*shard, id);
            }
            Input::Went { id, how } => turn.went(id, how),
            Input::Told(told) => turn.told(told),
            Input::Up { session } => turn.up(session),
            Input::CaughtUp => turn.book.connection = Connection::CaughtUp,
            Input::NewDay => turn.new_numbers("the venue's numbers begin again"),
            Input::Down { why } => turn.down(why),
            Input::Trading(state) => turn.book.trading = Some(state.clone()),
            Input::Cursor { shard, entry } => turn.read_to(*shard, *entry),
            Input::DayOver => turn.day_over(),
        }
    }
}

impl Turn<'_> {
    /// Numbers a report and gives it out.
    pub(super) fn give(&mut self, shard: u16, mut report: Report) {
        let Some(number) = self.book.numbers.get_mut(usize::from(shard)) else { return };
        *number += 1;
        report.number = *number;
        report.reason = name(&report.reason);
        self.out.push((shard, report));
    }

    /// Reports about an order as it stands now.
    pub(super) fn tell(&mut self, id: OrderId, kind: ReportKind, change: impl FnOnce(&mut Report)) {
        let Some(order) = self.book.orders.get(&id) else { return };
        let (shard, mut report) = (order.shard, self.book.report_of(order, kind, self.time_ns));
        change(&mut report);
        self.give(shard, report);
    }

    /// Reports about a cancel of an order. With `stands`, how the order stands.
    pub(super) fn tell_cancel(
        &mut self,
        cancel: OrderId,
        order: OrderId,
        kind: ReportKind,
        change: impl FnOnce(&mut Report),
    ) {
        self.tell(order, kind, |report| {
            (report.id, report.of) = (Some(cancel), Some(order));
            change(report);
        });
    }

    pub(super) fn order(&mut self, id: &OrderId) -> Option<&mut Order> {
        self.book.orders.get_mut(id)
    }

    fn read_to(&mut self, shard: u16, entry: bus::StreamId) {
        if let Some(cursor) = self.book.cursors.get_mut(usize::from(shard)) {
            *cursor = (*cursor).max(entry);
        }
    }

    fn taken(&mut self, shard: u16, wire_ref: WireRef, instruction: &Instruction, own: Option<Own>) {
        let id = instruction.id;
        self.book.wire_ref = self.book.wire_ref.max(wire_ref);
        let order = match instruction.action {
            OrderAction::Cancel { of } => return self.cancel_taken(wire_ref, id, of, own),
            OrderAction::New { side, quantity, price, time_in_force } => {
                self.book.chains.push(Chain { filled: 0, assumed: 0, current: id, unwanted: false });
                let chain = self.book.chains.len() - 1;
                let like = (side, time_in_force, None, chain);
                new_order(shard, wire_ref, instruction, quantity, price, like)
            }
            OrderAction::Replace { of, quantity, price } => {
                let Some(original) = self.order(&of) else { return };
                original.pending = Some(id);
                let like = (original.side, original.time_in_force, Some(of), original.chain);
                new_order(shard, wire_ref, instruction, quantity, Some(price), like)
            }
        };
        if wire_ref != 0 {
            self.book.refs.insert(wire_ref, id);
        }
        self.book.open.insert(id);
        self.book.orders.insert(id, order);
    }

    fn cancel_taken(&mut self, wire_ref: WireRef, id: OrderId, of: OrderId, own: Option<Own>) {
        // Without a connection it is carried out as soon as there is one.
        let can_go = self.book.connection == Connection::CaughtUp;
        let state = if can_go { CancelState::Taken } else { CancelState::Lost };
        let carries_out = own.map_or(Some(id), |own| own.carries_out);
        let Some(order) = self.book.orders.get_mut(&of) else { return };
        // Those that this one takes the place of.
        let cancels = &self.book.cancels;
        order.cancels.retain(|id| {
            cancels.get(id).is_some_and(|cancel| !cancel.own || cancel.state != CancelState::Lost)
        });
        order.cancels.push(id);
        let chain = order.chain;
        // A halt's cancel is made again as long as the halt holds, and not after it.
        self.book.chains[chain].unwanted |= carries_out.is_some();
        let cancel = Cancel { of, wire_ref, state, own: own.is_some(), carries_out, answered: false };
        self.book.cancels.insert(id, cancel);
        if wire_ref != 0 {
            self.book.refs.insert(wire_ref, id);
        }
        if !can_go && own.is_none() {
            self.cancel_is_on_its_way(id, of, "kept", "it goes first once the venue is connected");
        }
    }

    /// A cancel has nothing filled or open itself.
    fn cancel_is_on_its_way(&mut self, id: OrderId, of: OrderId, reason: &str, text: &str) {
        self.tell_cancel(id, of, ReportKind::Sent, |report| {
            (report.filled, report.leaves) = (0, 0);
            report.venue_order.clear();
            (report.reason, report.text) = (reason.to_owned(), text.to_owned());
        });
    }

    fn denied(&mut self, shard: u16, about: &About, reason: &str, text: &str) {
        if let Some(id) = about.id
            && !self.book.knows(&id)
        {
            self.book.denied.insert(id, (reason.to_owned(), text.to_owned()));
        }
        let report = Report {
            number: 0,
            id: about.id,
            kind: ReportKind::Denied,
            of: about.of,
            venue: self.book.venue.clone(),
            strategy: about.strategy.clone(),
            symbol: about.symbol.clone(),
            publisher_id: about.publisher_id,
            instrument_id: about.instrument_id,
            side: about.side,
            last_quantity: 0,
            last_price: None,
            filled: 0,
            leaves: 0,
            venue_order: String::new(),
            execution: String::new(),
            reason: reason.to_owned(),
            text: text.to_owned(),
            cause_ns: about.cause_ns,
            time_ns: self.time_ns,
        };
        self.give(shard, report);
    }

    /// How the order or cancel with this id stands.
    fn asked(&mut self, shard: u16, id: &OrderId) {
        const REPEATED: &str = "repeated";
        if let Some((reason, text)) = self.book.denied.get(id).cloned() {
            let about = About { id: Some(*id), ..About::default() };
            return self.denied(shard, &about, &reason, &text);
        }
        if let Some(cancel) = self.book.cancels.get(id).cloned() {
            let ended = self.book.orders.get(&cancel.of).is_none_or(Order::is_ended);
            let kind = match cancel.state {
                _ if ended => ReportKind::Cancelled,
                CancelState::Done => ReportKind::CancelRejected,
                _ => return self.cancel_is_on_its_way(*id, cancel.of, REPEATED, "the id is known"),
            };
            return self.tell_cancel(*id, cancel.of, kind, |report| report.reason = REPEATED.to_owned());
        }
        let Some(order) = self.book.orders.get(id) else { return };
        let of = order.replaces;
        let (kind, reason) = match &order.state {
            _ if order.doubt == Doubt::Lost => (ReportKind::Unknown, REPEATED.to_owned()),
            State::Taken | State::Sent => (ReportKind::Sent, REPEATED.to_owned()),
            State::Open if of.is_some() => (ReportKind::Replaced, REPEATED.to_owned()),
            State::Open => (ReportKind::Accepted, REPEATED.to_owned()),
            // What it ended by is another report; of this one nothing is left.
            State::Ended { how: ReportKind::Replaced | ReportKind::Filled, .. } => {
                (ReportKind::Cancelled, REPEATED.to_owned())
            }
            State::Ended { how, reason } => (*how, reason.clone()),
        };
        self.tell(*id, kind, |report| (report.of, report.reason) = (of, reason));
    }

    fn went(&mut self, id: &OrderId, how: &Went) {
        if self.book.cancels.contains_key(id) {
            return self.cancel_went(id, how);
        }
        let Some(order) = self.order(id).filter(|order| order.state == State::Taken) else { return };
        let of = order.replaces;
        match how {
            Went::Sent => {
                order.state = State::Sent;
                self.tell(*id, ReportKind::Sent, |report| report.of = of);
            }
            Went::Not { reason, text } => {
                self.end(*id, ReportKind::Denied, reason);
                self.tell(*id, ReportKind::Denied, |report| {
                    (report.of, report.reason, report.text) = (of, reason.clone(), text.clone());
                });
            }
            Went::Broken { text } => {
                (order.state, order.doubt) = (State::Sent, Doubt::Lost);
                self.tell(*id, ReportKind::Unknown, |report| {
                    (report.of, report.reason) = (of, "connection_broke".into());
                    report.text.clone_from(text);
                });
            }
        }
    }

    fn cancel_went(&mut self, id: &OrderId, how: &Went) {
        let Some(cancel) = self.book.cancels.get_mut(id).filter(|cancel| cancel.state == CancelState::Taken)
        else {
            return;
        };
        let (of, own) = (cancel.of, cancel.own);
        let ended = self.book.orders.get(&of).is_none_or(Order::is_ended);
        match how {
            Went::Sent => cancel.state = CancelState::Sent,
            // Nothing is left to cancel.
            Went::Not { .. } if ended => cancel.state = CancelState::Done,
            Went::Not { .. } | Went::Broken { .. } => cancel.state = CancelState::Lost,
        }
        match how {
            _ if own => {}
            Went::Sent => self.cancel_is_on_its_way(*id, of, "", ""),
            Went::Not { reason, text } if ended => {
                cancel.answered = true;
                self.tell_cancel(*id, of, ReportKind::Denied, |report| {
                    (report.reason, report.text) = (reason.clone(), text.clone());
                });
            }
            Went::Not { text, .. } | Went::Broken { text } => {
                self.cancel_is_on_its_way(*id, of, "kept", text);
            }
        }
    }

    fn up(&mut self, session: &str) {
        self.book.connection = Connection::Up;
        if self.book.session != session {
            let first = self.book.session.is_empty();
            session.clone_into(&mut self.book.session);
            if !first {
                self.new_numbers("the venue began a new session");
            }
        }
    }

    /// What the venue says from here on is numbered anew. What was open may be over: nobody said so.
    fn new_numbers(&mut self, why: &str) {
        self.book.told = 0;
        self.lose(why, |_| true);
    }

    fn down(&mut self, why: &str) {
        self.book.connection = Connection::Down;
        for cancel in self.book.cancels.values_mut() {
            if cancel.state != CancelState::Done {
                cancel.state = CancelState::Lost;
            }
        }
        self.lose(why, Order::is_unanswered);
    }

    /// The fate of these is open.
    fn lose(&mut self, why: &str, which: impl Fn(&Order) -> bool) {
        for id in self.book.open.clone() {
            let Some(order) = self.order(&id) else { continue };
            if order.doubt != Doubt::Lost && which(order) {
                order.doubt = Doubt::Lost;
                let of = order.replaces.filter(|_| order.is_unanswered());
                self.tell(id, ReportKind::Unknown, |report| {
                    (report.of, report.reason) = (of, "connection_lost".into());
                    report.text = why.to_owned();
                });
            }
        }
    }

    fn day_over(&mut self) {
        for id in self.book.open.clone() {
            let of =
                self.book.orders.get(&id).and_then(|order| order.replaces.filter(|_| order.is_unanswered()));
            self.end(id, ReportKind::Cancelled, "day_over");
            self.tell(id, ReportKind::Cancelled, |report| {
                (report.reason, report.text) =
                    ("day_over".into(), "orders of the day before are over".into());
                if of.is_some() {
                    report.kind = ReportKind::Rejected;
                    report.of = of;
                }
            });
        }
    }

    /// The order is over.
    pub(super) fn end(&mut self, id: OrderId, how: ReportKind, reason: &str) {
        let Some(order) = self.order(&id) else { return };
        order.state = State::Ended { how, reason: reason.to_owned() };
        order.doubt = Doubt::None;
        let (cancels, pending, replaces) =
            (std::mem::take(&mut order.cancels), order.pending, order.replaces);
        self.book.open.remove(&id);
        for cancel in cancels {
            if let Some(cancel) = self.book.cancels.get_mut(&cancel) {
                cancel.state = CancelState::Done;
            }
        }
        // The venue may say nothing about a replacement of an order that is over.
        if let Some(pending) = pending.and_then(|pending| self.order(&pending))
            && pending.is_unanswered()
            && pending.doubt == Doubt::None
        {
            pending.doubt = Doubt::Ask;
        }
        if let Some(original) = replaces.and_then(|original| self.order(&original))
            && original.pending == Some(id)
        {
            original.pending = None;
        }
    }
}

type Like = (bus::OrderSide, bus::TimeInForce, Option<OrderId>, usize);

fn new_order(
    shard: u16,
    wire_ref: WireRef,
    instruction: &Instruction,
    quantity: bus::Quantity,
    price: Option<tick::Price>,
    (side, time_in_force, replaces, chain): Like,
) -> Order {
    Order {
        id: instruction.id,
        wire_ref,
        shard,
        publisher_id: instruction.publisher_id,
        instrument_id: instruction.instrument_id,
        symbol: instruction.symbol.clone(),
        strategy: instruction.strategy.clone(),
        cause_ns: instruction.cause_ns,
        side,
        quantity,
        cut: 0,
        price,
        time_in_force,
        replaces,
        chain,
        state: State::Taken,
        accepted: false,
        doubt: Doubt::None,
        venue_order: String::new(),
        pending: None,
        cancels: Vec::new(),
    }
}
