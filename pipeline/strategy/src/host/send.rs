//! The way out: from a strategy's wish to an instruction that passed, or a denial.

use super::orders::{Live, Made, Waiting};
use super::{Core, Output};
use crate::desk::{OpenOrder, OrderState, Replacement};
use crate::risk::{Denial, Number, Reason};
use bus::config::InstrumentKey;
use bus::{Instruction, OrderAction, OrderId, OrderSide, Quantity, Report, ReportKind, TimeInForce};
use tick::Price;

const fn plain(reason: Reason) -> Denial {
    Denial { reason, value: Number::None, limit: Number::None }
}

/// What a wish is about.
struct About {
    ledger: usize,
    place: u32,
    side: Option<OrderSide>,
}

impl Core {
    pub(crate) fn submit(
        &mut self,
        ledger: usize,
        key: InstrumentKey,
        side: OrderSide,
        quantity: Quantity,
        price: Price,
        time_in_force: TimeInForce,
    ) -> Result<OrderId, Denial> {
        let place = self.own_place(ledger, key).ok_or(plain(Reason::UnknownInstrument))?;
        let about = About { ledger, place, side: Some(side) };
        let action = OrderAction::New { side, quantity, price: Some(price), time_in_force };
        let id = self.send(&about, action)?;
        let order = OpenOrder {
            id,
            side,
            price,
            quantity,
            filled: 0,
            leaves: quantity,
            state: OrderState::Sending,
            replacing: None,
            cancelling: None,
            created_ns: self.now_ns,
        };
        self.open(Live { order, ledger, place, doubted_by: None });
        Ok(id)
    }

    /// Puts an order among the open ones.
    pub(super) fn open(&mut self, live: Live) -> u32 {
        let (ledger, place) = (live.ledger, live.place);
        let slot = self.orders.insert(live);
        self.ledgers[ledger].holding_mut(place).slots.push(slot);
        slot
    }

    /// Where the strategy's open order is.
    fn own_slot(&self, ledger: usize, of: OrderId) -> Result<u32, Denial> {
        let slot = self.orders.slot(of).ok_or(plain(Reason::UnknownOrder))?;
        let own = self.orders.get(slot).is_some_and(|live| live.ledger == ledger);
        if own { Ok(slot) } else { Err(plain(Reason::ForeignOrder)) }
    }

    pub(crate) fn replace(
        &mut self,
        ledger: usize,
        of: OrderId,
        quantity: Quantity,
        price: Price,
    ) -> Result<OrderId, Denial> {
        let slot = self.own_slot(ledger, of)?;
        let Some(live) = self.orders.get(slot) else { return Err(plain(Reason::UnknownOrder)) };
        // By the id that is in force: the replacement on its way, if there is one, denies.
        let of = live.order.id;
        let about = About { ledger, place: live.place, side: Some(live.order.side) };
        let id = self.send(&about, OrderAction::Replace { of, quantity, price })?;
        self.replacing(slot, Replacement { id, quantity, price });
        Ok(id)
    }

    pub(super) fn replacing(&mut self, slot: u32, replacement: Replacement) {
        if let Some(live) = self.orders.get_mut(slot) {
            live.order.replacing = Some(replacement);
        }
        self.orders.note_order(replacement.id, slot);
    }

    pub(crate) fn cancel(&mut self, ledger: usize, of: OrderId) -> Result<OrderId, Denial> {
        let slot = self.own_slot(ledger, of)?;
        let Some(live) = self.orders.get(slot) else { return Err(plain(Reason::UnknownOrder)) };
        if let Some(cancelling) = live.order.cancelling {
            return Ok(cancelling);
        }
        let of = live.order.id;
        let about = About { ledger, place: live.place, side: Some(live.order.side) };
        let id = self.send(&about, OrderAction::Cancel { of })?;
        self.cancelling(slot, id, of);
        Ok(id)
    }

    pub(super) fn cancelling(&mut self, slot: u32, id: OrderId, of: OrderId) {
        if let Some(live) = self.orders.get_mut(slot) {
            live.order.cancelling = Some(id);
        }
        self.orders.note(id, Made::Cancel(of));
    }

    /// Asks the risk engine, and puts the instruction or its denial among the outputs.
    fn send(&mut self, about: &About, action: OrderAction) -> Result<OrderId, Denial> {
        let is_cancel = matches!(action, OrderAction::Cancel { .. });
        let traded = &self.market.traded[about.place as usize];
        let id = self.ids.next().ok_or(plain(Reason::OrderIdsFull))?;
        let ledger = &self.ledgers[about.ledger];
        let instruction = Instruction {
            id,
            action,
            venue: ledger.venue.clone(),
            publisher_id: traded.instrument.key.publisher_id,
            instrument_id: traded.instrument.key.instrument_id,
            symbol: traded.instrument.symbol.to_string(),
            strategy: ledger.name.clone(),
            cause_ns: self.cause_ns,
            created_ns: self.now_ns,
        };
        let decision = if self.trouble.is_some() && !is_cancel {
            Err(plain(Reason::NotRebuilt))
        } else {
            self.engine.check(&instruction, self.now_ns)
        };
        match decision {
            Ok(()) => {
                let since_ns = self.now_ns;
                self.ids.pass(&id);
                self.orders.waiting.push(Waiting { instruction: instruction.clone(), since_ns });
                self.out.push(Output::Instruction(instruction));
                Ok(id)
            }
            Err(denial) => {
                self.deny(about, &instruction, denial);
                Err(denial)
            }
        }
    }

    /// Tells a denial, unless the same was told a moment ago.
    fn deny(&mut self, about: &About, instruction: &Instruction, denial: Denial) {
        *self.denials.entry(denial.reason).or_default() += 1;
        let holding = self.ledgers[about.ledger].holding_mut(about.place);
        // An id that nobody is told of is used for the next.
        let Some(untold) = holding.denied.tell(denial.reason, self.now_ns) else { return };
        self.ids.pass(&instruction.id);
        let text = match untold {
            0 => denial.to_string(),
            more => format!("{denial} (and {more} more since the last one told)").trim_start().to_owned(),
        };
        let of = match instruction.action {
            OrderAction::New { .. } => None,
            OrderAction::Replace { of, .. } | OrderAction::Cancel { of } => Some(of),
        };
        self.out.push(Output::Denied(Report {
            id: Some(instruction.id),
            of,
            venue: instruction.venue.clone(),
            strategy: instruction.strategy.clone(),
            symbol: instruction.symbol.clone(),
            publisher_id: instruction.publisher_id,
            instrument_id: instruction.instrument_id,
            side: about.side,
            reason: denial.reason.word().to_owned(),
            text,
            cause_ns: instruction.cause_ns,
            ..Report::new(ReportKind::Denied, self.now_ns)
        }));
    }

    /// Looks after what nobody has answered in time: to the risk engine its order is unknown, and it is published again.
    pub(super) fn ask_again(&mut self) {
        for at in 0..self.orders.waiting.len() {
            let waiting = &mut self.orders.waiting[at];
            if self.now_ns.saturating_sub(waiting.since_ns) < self.answer_within_ns {
                continue;
            }
            waiting.since_ns = self.now_ns;
            let instruction = waiting.instruction.clone();
            match instruction.action {
                OrderAction::Cancel { of } => self.doubt_cancelled(of, instruction.id),
                _ => self.set_unknown(instruction.id),
            }
            self.out.push(Output::Again(instruction));
        }
    }

    /// A cancel was not answered: what became of its order, by whichever id it has now, is not known.
    fn doubt_cancelled(&mut self, of: OrderId, cancel: OrderId) {
        let slot = self.orders.chain(of);
        let Some(live) = slot.and_then(|slot| self.orders.get_mut(slot)) else { return };
        if live.order.state != OrderState::Unknown {
            live.doubted_by = Some(cancel);
            let id = live.order.id;
            self.set_unknown(id);
        }
    }

    fn set_unknown(&mut self, id: OrderId) {
        let Some(slot) = self.orders.slot(id) else { return };
        if let Some(live) = self.orders.get_mut(slot)
            && live.order.id == id
        {
            live.order.state = OrderState::Unknown;
        }
        let unknown = Report { id: Some(id), ..Report::new(ReportKind::Unknown, self.now_ns) };
        self.engine.report(&unknown);
    }

    /// Cancels the orders of strategies that are not configured any more.
    pub(super) fn cancel_of_nobody(&mut self) {
        let of_nobody = |ledger: usize| self.ledgers[ledger].choice.is_none();
        let orders: Vec<_> = self
            .orders
            .iter()
            .filter(|(_, live)| of_nobody(live.ledger))
            .map(|(_, live)| (live.ledger, live.order.id))
            .collect();
        for (ledger, id) in orders {
            // A cancel of an order that is open is not denied.
            let _ = self.cancel(ledger, id);
        }
    }
}
