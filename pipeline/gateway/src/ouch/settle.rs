//! The questions that a line has put to the venue, and what their answers say of orders whose fate is open.
//!
//! OUCH has one question, the account query: its answer is a sequenced message, so all that the venue made of earlier
//! messages stands before it. An order that is not answered by then did nothing and will not. `docs/gateway-ouch.md` has
//! the whole argument.
//!
//! Invariant: answers come in the order of the questions of one connection.

use crate::line::{Event, OrderName, Outgoing, Told, What, WireRef};
use bus::{OrderAction, OrderId};
use std::collections::VecDeque;

/// A message that was sent on an earlier connection and not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDoubt {
    id: OrderId,
    wire_ref: WireRef,
    /// The order that it cancels.
    cancels: Option<WireRef>,
}

impl InDoubt {
    pub(super) fn of(outgoing: &Outgoing) -> InDoubt {
        let cancels = match outgoing.action {
            OrderAction::Cancel { .. } => outgoing.target.as_ref().map(|target| target.wire_ref),
            _ => None,
        };
        InDoubt { id: outgoing.id, wire_ref: outgoing.wire_ref, cancels }
    }

    fn is_answered_by(&self, told: &Told) -> bool {
        let OrderName::Wire(wire_ref) = told.order else { return false };
        match self.cancels {
            Some(order) => order == wire_ref && matches!(told.what, What::Cancelled { .. }),
            None => self.wire_ref == wire_ref,
        }
    }
}

/// Why an account query was sent.
#[derive(Debug)]
pub(super) enum Question {
    /// To know where what was missed ends.
    CatchUp,
    /// How these stand.
    Settle(Vec<InDoubt>),
    /// Whether these lived after all: each was cancelled just before.
    Confirm(Vec<InDoubt>),
}

/// What an answer comes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// No question of this connection: an answer to an earlier one.
    Earlier,
    /// What was missed ends here.
    CaughtUp,
    /// These are to be cancelled, and asked about again.
    Doubtful(Vec<InDoubt>),
    /// All is told.
    Settled,
}

/// The questions of one connection that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Questions(VecDeque<Question>);

impl Questions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn push(&mut self, question: Question) {
        self.0.push_back(question);
    }

    /// The venue said this: what it answers is in doubt no more.
    pub(super) fn heard(&mut self, told: &Told) {
        for question in &mut self.0 {
            if let Question::Settle(orders) | Question::Confirm(orders) = question {
                orders.retain(|order| !order.is_answered_by(told));
            }
        }
    }

    /// The answer to the oldest question: the least reference that the venue has not seen.
    pub(super) fn answered(&mut self, next_free: WireRef, events: &mut Vec<Event>) -> Answer {
        let settled = |order: &InDoubt| {
            let name = OrderName::Id(order.id);
            Event::Told(Told { number: 0, order: name, what: What::NeverArrived, venue_time_ns: 0 })
        };
        match self.0.pop_front() {
            None => Answer::Earlier,
            Some(Question::CatchUp) => Answer::CaughtUp,
            Some(Question::Settle(orders)) => {
                // A number that is used and has no answer contradicts the protocol, unless it is of a message that the
                // venue passed over. Cancelling is harmless if so.
                let (doubtful, never): (Vec<InDoubt>, Vec<InDoubt>) = orders
                    .into_iter()
                    .partition(|order| order.cancels.is_none() && order.wire_ref < next_free);
                events.extend(never.iter().map(settled));
                if doubtful.is_empty() { Answer::Settled } else { Answer::Doubtful(doubtful) }
            }
            Some(Question::Confirm(orders)) => {
                for order in &orders {
                    let InDoubt { id, wire_ref, .. } = order;
                    let what = format!(
                        "{id}: its UserRefNum {wire_ref} is used and the venue said nothing of it; taken as passed over"
                    );
                    events.extend([Event::Refused { what }, settled(order)]);
                }
                Answer::Settled
            }
        }
    }
}

impl InDoubt {
    pub(super) fn wire_ref(&self) -> WireRef {
        self.wire_ref
    }
}
