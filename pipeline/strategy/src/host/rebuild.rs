//! The way back after a restart: what was sent and what became of it, read from the two streams.
//!
//! The two are read as one, by their stream ids, which are times of one clock. Whatever a strategy knew when it made
//! an instruction was in the stream of reports before it. So reports go first within a millisecond, but for a report
//! about an instruction that has not been read: then instructions up to that one go first.
//!
//! A replacement or cancel can so meet an order that is over already, by a trade that its strategy had not seen. A replacement like
//! that cannot have come into force; it is remembered and not booked.

use super::orders::{Live, Made, Waiting};
use super::{Core, Host};
use crate::desk::{OpenOrder, OrderState, Replacement};
use bus::config::InstrumentKey;
use bus::{Instruction, OrderAction, Report, StreamId};
use std::collections::HashSet;
use tick::Price;

/// What was read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rebuilt {
    /// Instructions.
    pub instructions: u64,
    /// Reports.
    pub reports: u64,
    /// Replacements of orders that were over: see the module.
    pub too_late: u64,
}

/// Reads both streams back into a new host, from their beginnings. Then [`Host::rebuilt`] may be called, if both had
/// their beginnings.
pub fn rebuild(
    host: &mut Host,
    instructions: &[(StreamId, Instruction)],
    reports: &[(StreamId, Report)],
) -> Rebuilt {
    let mut rebuilt = Rebuilt::default();
    let mut ahead = instructions.iter().peekable();
    let mut seen = HashSet::new();
    let mut assume = |host: &mut Host, instruction: &Instruction, seen: &mut HashSet<_>| {
        seen.insert(instruction.id);
        rebuilt.instructions += 1;
        rebuilt.too_late += u64::from(!host.core.assume(instruction));
    };
    for (at, report) in reports {
        while let Some((_, instruction)) = ahead.next_if(|(id, _)| id.ms < at.ms) {
            assume(host, instruction, &mut seen);
        }
        let about = report.id.filter(|id| report.number > 0 && !seen.contains(id));
        let same_ms = ahead.clone().take_while(|(id, _)| id.ms == at.ms);
        if let Some(place) = about.and_then(|about| same_ms.clone().position(|(_, made)| made.id == about)) {
            for (_, instruction) in ahead.by_ref().take(place + 1) {
                assume(host, instruction, &mut seen);
            }
        }
        host.core.follow(report);
        rebuilt.reports += 1;
    }
    for (_, instruction) in ahead {
        assume(host, instruction, &mut seen);
    }
    rebuilt
}

impl Core {
    /// Takes in an instruction that was published before; `false` when it is one that cannot come into force.
    fn assume(&mut self, instruction: &Instruction) -> bool {
        self.ids.pass(&instruction.id);
        // Published again, by rule.
        if self.orders.made(instruction.id).is_some() {
            return true;
        }
        // Nobody knows when it was published: it is asked after at once.
        self.orders.waiting.push(Waiting { instruction: instruction.clone(), since_ns: 0 });
        let Instruction { id, publisher_id, instrument_id, created_ns, .. } = *instruction;
        let key = InstrumentKey { publisher_id, instrument_id };
        match instruction.action {
            OrderAction::New { side, quantity, price, .. } => {
                self.engine.assume(instruction);
                let place = self.market.place_or_add(key, &instruction.symbol, &mut self.ledgers);
                let ledger = self.ledger_or_add(&instruction.strategy, &instruction.venue);
                let price = price.unwrap_or(Price::UNDEFINED);
                let (filled, leaves, state) = (0, quantity, OrderState::Sending);
                let (replacing, cancelling) = (None, None);
                let order = OpenOrder {
                    id,
                    side,
                    price,
                    quantity,
                    filled,
                    leaves,
                    state,
                    replacing,
                    cancelling,
                    created_ns,
                };
                self.open(Live { order, ledger, place, doubted_by: None });
            }
            OrderAction::Replace { of, quantity, price } => {
                let order = self.orders.find(of).map(|live| &live.order);
                if order.is_none_or(|order| order.replacing.is_some()) {
                    self.orders.note(id, Made::TooLate);
                    return false;
                }
                self.engine.assume(instruction);
                if let Some(slot) = self.orders.slot(of) {
                    self.replacing(slot, Replacement { id, quantity, price });
                }
            }
            OrderAction::Cancel { of } => match self.orders.chain(of) {
                Some(slot) => self.cancelling(slot, id, of),
                None => self.orders.note(id, Made::Cancel(of)),
            },
        }
        true
    }
}
