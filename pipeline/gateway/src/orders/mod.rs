//! The orders of a session as a pure state machine: what happened in ([`Input`], with its time), numbered reports out. No
//! clock, file or socket. The same inputs in the same order lead to the same orders, so the journal of a day rebuilds them.
//!
//! ```text
//!  judge(instruction) ─► Denied | Taken ─► apply ─► journal, fsync ─► line.send ─► Went ─► apply
//!                                          apply ◄─ Told, Up, CaughtUp, Down, Trading …
//!                                            └─► reports, numbered for each shard
//!  what is to be cancelled, asked about, sent: read off the state (`unwanted`, `in_doubt`, `outgoing`)
//! ```
//!
//! An order and its replacements are a chain. It has one `filled`; one of them is in force. A replacement on its way is
//! open beside the one that it is to replace, and takes over when the venue says so, whether by that message or by a trade.
//!
//! Invariants: `filled + leaves ≤ quantity` unless the venue traded more than it was asked for; reports of a shard are
//! numbered without a hole; what the venue ended is over, and is taken up again only when the venue trades it after all, to
//! be cancelled at once.

mod apply;
mod input;
mod judge;
mod order;
mod told;

pub use input::{About, Input, Own, Went};
pub use judge::{Bucket, Denial, Gate, Judge};
pub use order::{Doubt, State};

use crate::line::{Outgoing, Target, Told, WireRef};
use bus::{Instruction, OrderAction, OrderId, Quantity, Report, ReportKind, StreamId, TradingState};
use order::{Cancel, CancelState, Chain, Execution, Order};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most ids of a day, of orders, cancels and denials: about 500 bytes each.
pub const ORDER_IDS_MAX: usize = 1 << 20;
/// Most cancels of one order that are not answered.
pub const CANCELS_PER_ORDER_MAX: usize = 8;

/// How far the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Connection {
    /// There is none.
    #[default]
    Down,
    /// Logged on; what was missed is being told.
    Up,
    /// All that was missed is told.
    CaughtUp,
}

/// What the venue did that it should not have, or what cannot be explained. For metrics and the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Oddities {
    /// Messages about orders that nobody here knows.
    pub strangers: u64,
    /// Trades beyond an order's quantity.
    pub overfills: u64,
    /// Messages told again.
    pub repeated: u64,
    /// Messages that contradict what the venue had said.
    pub contradictions: u64,
}

/// The orders of a session in a day.
#[derive(Clone, PartialEq, Debug)]
pub struct Book {
    venue: String,
    orders: HashMap<OrderId, Order>,
    cancels: HashMap<OrderId, Cancel>,
    /// Refused: the code and the text.
    denied: HashMap<OrderId, (String, String)>,
    refs: HashMap<WireRef, OrderId>,
    chains: Vec<Chain>,
    /// Orders that are not over, replacements on their way among them.
    open: BTreeSet<OrderId>,
    executions: HashMap<(usize, String), Execution>,
    positions: BTreeMap<(u16, u32), i128>,
    numbers: Vec<u64>,
    cursors: Vec<StreamId>,
    trading: Option<TradingState>,
    connection: Connection,
    session: String,
    told: u64,
    wire_ref: WireRef,
    oddities: Oddities,
}

impl Book {
    /// A book without orders, of so many shards.
    pub fn new(venue: &str, shards: u16) -> Book {
        Book {
            venue: venue.to_owned(),
            orders: HashMap::new(),
            cancels: HashMap::new(),
            denied: HashMap::new(),
            refs: HashMap::new(),
            chains: Vec::new(),
            open: BTreeSet::new(),
            executions: HashMap::new(),
            positions: BTreeMap::new(),
            numbers: vec![0; usize::from(shards)],
            cursors: vec![StreamId::default(); usize::from(shards)],
            trading: None,
            connection: Connection::Down,
            session: String::new(),
            told: 0,
            wire_ref: 0,
            oddities: Oddities::default(),
        }
    }

    /// A book of the day that a journal's head begins.
    pub fn of(begin: &crate::journal::Begin, shards: u16) -> Book {
        let mut book = Book::new(&begin.venue, shards);
        book.positions = begin.positions.iter().copied().collect();
        book.trading.clone_from(&begin.trading);
        book.go_on(begin);
        book
    }

    /// Goes on where a journal's head says: its owner may have begun behind what the journal had.
    pub fn go_on(&mut self, begin: &crate::journal::Begin) {
        for (number, known) in self.numbers.iter_mut().zip(&begin.numbers) {
            *number = (*number).max(*known);
        }
        for (cursor, known) in self.cursors.iter_mut().zip(&begin.cursors) {
            *cursor = (*cursor).max(*known);
        }
    }

    /// Reads an entry of the journal: what it led to then counts, whatever it would lead to now.
    pub fn replay(&mut self, time_ns: u64, input: &Input, reports: &[(u16, Report)]) {
        let numbers = self.numbers.clone();
        self.apply(time_ns, input, &mut Vec::new());
        self.numbers = numbers;
        for (shard, report) in reports {
            if let Some(number) = self.numbers.get_mut(usize::from(*shard)) {
                *number = (*number).max(report.number);
            }
        }
    }

    /// The number of the last report of each shard.
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// How far the instructions of each shard were taken in.
    pub fn cursors(&self) -> &[StreamId] {
        &self.cursors
    }

    /// Net position by publisher and instrument, since the session's first journal.
    pub fn positions(&self) -> &BTreeMap<(u16, u32), i128> {
        &self.positions
    }

    /// The last trading state, if one was ever seen.
    pub fn trading(&self) -> Option<&TradingState> {
        self.trading.as_ref()
    }

    /// How far the connection is.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// What cannot be explained.
    pub fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// Where a line begins.
    pub fn resume(&self) -> crate::line::Resume {
        crate::line::Resume {
            session: self.session.clone(),
            next_number: self.told + 1,
            next_wire_ref: self.wire_ref + 1,
        }
    }

    /// Whether the id was used.
    pub fn knows(&self, id: &OrderId) -> bool {
        self.orders.contains_key(id) || self.cancels.contains_key(id) || self.denied.contains_key(id)
    }

    /// Where an order is.
    pub fn state(&self, id: &OrderId) -> Option<&State> {
        self.orders.get(id).map(|order| &order.state)
    }

    /// Quantity in all, filled and open, of an order that is known.
    pub fn quantities(&self, id: &OrderId) -> Option<(Quantity, Quantity, Quantity)> {
        let order = self.orders.get(id)?;
        Some((order.quantity, self.chains[order.chain].filled, self.leaves(order)))
    }

    /// Orders that are in force or on their way to be; a replacement on its way is not counted beside its original.
    pub fn open_orders(&self) -> usize {
        self.open.iter().filter(|id| self.is_current(id)).count()
    }

    /// Orders whose fate is open because the connection was lost: while there are any, nothing new is sent.
    pub fn lost(&self) -> usize {
        self.open.iter().filter(|id| self.orders[id].doubt == Doubt::Lost).count()
    }

    /// Whether a message was told before.
    pub fn is_repeated(&self, told: &Told) -> bool {
        told.number != 0 && told.number <= self.told
    }

    /// Orders that the venue is to be asked about.
    pub fn in_doubt(&self) -> Vec<(Outgoing, Doubt)> {
        let doubtful = self.open.iter().map(|id| (id, self.orders[id].doubt));
        let doubtful = doubtful.filter(|(_, doubt)| *doubt != Doubt::None);
        doubtful.filter_map(|(id, doubt)| Some((self.outgoing(id)?, doubt))).collect()
    }

    /// The message that an instruction would become; none when what it names is over or not known.
    pub fn preview(&self, instruction: &Instruction, wire_ref: WireRef) -> Option<Outgoing> {
        let of = match instruction.action {
            OrderAction::New { .. } => None,
            OrderAction::Replace { of, .. } | OrderAction::Cancel { of } => {
                Some(self.orders.get(&of).filter(|order| !order.is_ended())?)
            }
        };
        Some(Outgoing {
            id: instruction.id,
            wire_ref,
            action: instruction.action.clone(),
            symbol: of.map_or(&instruction.symbol, |order| &order.symbol).clone(),
            target: of.map(target),
        })
    }

    /// Orders in force that are to be cancelled, and whether a cancel of each is on its way: of all that are `unwanted`,
    /// or of all. With the strategy's cancel that is to be carried out.
    pub fn to_cancel(&self, all: bool) -> Vec<(OrderId, bool, Option<OrderId>)> {
        let mut found = Vec::new();
        for id in &self.open {
            let order = &self.orders[id];
            if !self.is_current(id) || !(all || self.chains[order.chain].unwanted) {
                continue;
            }
            let known = order.cancels.iter().filter_map(|id| self.cancels.get(id));
            let on_its_way = known.clone().any(|cancel| cancel.state != CancelState::Lost);
            found.push((*id, on_its_way, known.filter_map(|cancel| cancel.carries_out).next()));
        }
        found
    }

    /// A cancel made here.
    pub fn own_cancel(&self, id: OrderId, of: OrderId, created_ns: u64) -> Option<(u16, Instruction)> {
        let order = self.orders.get(&of)?;
        let instruction = Instruction {
            id,
            action: OrderAction::Cancel { of },
            venue: self.venue.clone(),
            publisher_id: order.publisher_id,
            instrument_id: order.instrument_id,
            symbol: order.symbol.clone(),
            strategy: order.strategy.clone(),
            cause_ns: 0,
            created_ns,
        };
        Some((order.shard, instruction))
    }

    /// The message for an instruction; none when it is over, or what it names is.
    pub fn outgoing(&self, id: &OrderId) -> Option<Outgoing> {
        if let Some(cancel) = self.cancels.get(id) {
            let order = self.orders.get(&cancel.of).filter(|order| !order.is_ended())?;
            return Some(Outgoing {
                id: *id,
                wire_ref: cancel.wire_ref,
                action: OrderAction::Cancel { of: cancel.of },
                symbol: order.symbol.clone(),
                target: Some(target(order)),
            });
        }
        let order = self.orders.get(id).filter(|order| !order.is_ended())?;
        let replaced = match order.replaces {
            Some(of) => Some(self.orders.get(&of)?),
            None => None,
        };
        Some(Outgoing {
            id: *id,
            wire_ref: order.wire_ref,
            action: match (replaced, order.price) {
                (Some(of), Some(price)) => {
                    OrderAction::Replace { of: of.id, quantity: order.quantity, price }
                }
                (_, price) => OrderAction::New {
                    side: order.side,
                    quantity: order.quantity,
                    price,
                    time_in_force: order.time_in_force,
                },
            },
            symbol: order.symbol.clone(),
            target: replaced.map(target),
        })
    }

    fn is_current(&self, id: &OrderId) -> bool {
        self.orders.get(id).is_some_and(|order| self.chains[order.chain].current == *id)
    }

    fn leaves(&self, order: &Order) -> Quantity {
        if order.is_ended() {
            return 0;
        }
        order.quantity.saturating_sub(order.cut).saturating_sub(self.chains[order.chain].filled)
    }

    fn ids(&self) -> usize {
        self.orders.len() + self.cancels.len() + self.denied.len()
    }

    /// How an order stands, as a report without a number.
    fn report_of(&self, order: &Order, kind: ReportKind, time_ns: u64) -> Report {
        Report {
            number: 0,
            id: Some(order.id),
            kind,
            of: None,
            venue: self.venue.clone(),
            strategy: order.strategy.clone(),
            symbol: order.symbol.clone(),
            publisher_id: order.publisher_id,
            instrument_id: order.instrument_id,
            side: Some(order.side),
            last_quantity: 0,
            last_price: None,
            filled: self.chains[order.chain].filled,
            leaves: self.leaves(order),
            venue_order: name(&order.venue_order),
            execution: String::new(),
            reason: String::new(),
            text: String::new(),
            cause_ns: order.cause_ns,
            time_ns,
        }
    }
}

fn target(order: &Order) -> Target {
    Target {
        id: order.id,
        wire_ref: order.wire_ref,
        venue_order: order.venue_order.clone(),
        side: order.side,
        quantity: order.quantity,
        price: order.price,
        time_in_force: order.time_in_force,
    }
}

/// What fits a name in a report: the venue's words may have spaces, or be longer.
fn name(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' });
    plain.take(bus::ORDER_NAME_BYTES_MAX).collect()
}
