//! Random interleavings of strategies, a model venue and a bad connection.
//!
//! The model venue is a plain table of orders. What it says is queued and told late, twice, or after a reconnection; what
//! it is asked, it takes in late.

use crate::rig::*;
use bus::{OrderId, ReportKind};
use gateway::journal::{Begin, Folder};
use gateway::line::{OrderName, Told, What};
use gateway::orders::{Book, Connection, Input, Went};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};

#[derive(Clone, Debug)]
enum Step {
    New(u64),
    Replace(usize, u64),
    Cancel(usize),
    /// The venue takes in the next message.
    Arrive,
    /// The next message of the venue is told.
    Tell,
    /// The last one again.
    Repeat,
    Trade(usize, u64),
    Unsolicited(usize, Option<u64>),
    Break(usize),
    Cut,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..50).prop_map(Step::New),
        3 => (any::<usize>(), 1u64..80).prop_map(|(of, quantity)| Step::Replace(of, quantity)),
        3 => any::<usize>().prop_map(Step::Cancel),
        8 => Just(Step::Arrive),
        10 => Just(Step::Tell),
        1 => Just(Step::Repeat),
        5 => (any::<usize>(), 1u64..40).prop_map(|(of, quantity)| Step::Trade(of, quantity)),
        1 => (any::<usize>(), prop::option::of(1u64..20)).prop_map(|(of, q)| Step::Unsolicited(of, q)),
        1 => any::<usize>().prop_map(Step::Break),
        1 => Just(Step::Cut),
        2 => Just(Step::Reconnect),
    ]
}

#[derive(Clone, Debug)]
struct VenueOrder {
    filled: u64,
    leaves: u64,
}

#[derive(Default)]
struct Venue {
    /// The order in force by id, with all that it replaced.
    orders: HashMap<OrderId, VenueOrder>,
    seen: Vec<OrderId>,
    queue: VecDeque<Told>,
    last: Option<Told>,
    number: u64,
    executions: Vec<(OrderId, String, u64)>,
    position: i128,
}

impl Venue {
    fn say(&mut self, id: OrderId, what: What) {
        self.number += 1;
        self.queue.push_back(Told { number: self.number, order: OrderName::Id(id), what, venue_time_ns: 0 });
    }

    fn open(&self) -> Vec<OrderId> {
        let mut open: Vec<OrderId> =
            self.orders.iter().filter(|(_, order)| order.leaves > 0).map(|(id, _)| *id).collect();
        open.sort_unstable();
        open
    }

    fn arrive(&mut self, outgoing: &gateway::line::Outgoing) {
        use bus::OrderAction::{Cancel, New, Replace};
        let id = outgoing.id;
        assert!(!self.seen.contains(&id), "{id} is sent twice");
        self.seen.push(id);
        match outgoing.action {
            New { quantity, .. } => {
                self.orders.insert(id, VenueOrder { filled: 0, leaves: quantity });
                self.say(id, accepted(quantity));
            }
            Replace { of, quantity, .. } => match self.orders.get(&of).cloned() {
                Some(order) if order.leaves > 0 => {
                    let leaves = quantity.saturating_sub(order.filled);
                    self.orders.remove(&of);
                    self.orders.insert(id, VenueOrder { filled: order.filled, leaves });
                    self.say(id, replaced(Some(quantity), leaves));
                }
                _ => self.say(id, rejected()),
            },
            Cancel { of } => match self.orders.get_mut(&of) {
                Some(order) if order.leaves > 0 => {
                    order.leaves = 0;
                    self.say(of, What::Cancelled { quantity: None, reason: "U".into(), by: Some(id) });
                }
                _ => self.say(id, cancel_rejected(Some(&id.to_string()))),
            },
        }
    }

    fn trade(&mut self, id: OrderId, quantity: u64) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let quantity = quantity.min(order.leaves);
        (order.filled, order.leaves) = (order.filled + quantity, order.leaves - quantity);
        let execution = format!("e{}", self.executions.len());
        self.executions.push((id, execution.clone(), quantity));
        self.position += i128::from(quantity);
        self.say(id, filled(quantity, &execution));
    }
}

struct World {
    rig: Rig,
    venue: Venue,
    wire: VecDeque<gateway::line::Outgoing>,
    ids: Vec<OrderId>,
    count: usize,
}

impl World {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("o{}", self.count)
    }

    /// As a session does: judged roughly, taken, sent.
    fn instruct(&mut self, action: bus::OrderAction, own: Option<gateway::orders::Own>) {
        let name = self.name();
        let preview = instruction(&name, action.clone());
        let of = match action {
            bus::OrderAction::New { .. } => None,
            bus::OrderAction::Replace { of, .. } | bus::OrderAction::Cancel { of } => Some(of),
        };
        if of.is_some() && self.rig.book.preview(&preview, 1).is_none() {
            return;
        }
        let connected = self.rig.book.connection() == Connection::CaughtUp;
        let cancels = matches!(action, bus::OrderAction::Cancel { .. });
        if !cancels && (!connected || self.rig.book.lost() > 0) {
            return;
        }
        if !cancels {
            self.ids.push(id(&name));
        }
        self.rig.take_own(&name, action, own);
        if !connected {
            return;
        }
        match self.rig.book.outgoing(&id(&name)) {
            Some(outgoing) => {
                self.wire.push_back(outgoing);
                self.rig.apply(Input::Went { id: id(&name), how: Went::Sent });
            }
            None => {
                let how = Went::Not { reason: "order_ended".into(), text: String::new() };
                self.rig.apply(Input::Went { id: id(&name), how });
            }
        }
    }

    fn replaceable(&self, at: usize, quantity: u64) -> Option<OrderId> {
        let known = self.ids.get(at % self.ids.len().max(1))?;
        let (_, filled, leaves) = self.rig.book.quantities(known)?;
        let action = bus::OrderAction::Replace { of: *known, quantity, price: price(101) };
        let mut judge = gateway::orders::Judge::new(
            bus::config::GatewayLimits {
                order_quantity_max: 1_000,
                order_notional_max: 1_000_000,
                open_orders_max: 100_000,
                messages_per_second: 1_000,
                message_burst: 1_000,
            },
            1,
            0,
        );
        let instruction = instruction("probe", action);
        let now = instruction.created_ns;
        let passes = judge.judge(&self.rig.book, &gateway::orders::Gate::Open, &instruction, now).is_ok();
        (passes && leaves > 0 && quantity > filled).then_some(*known)
    }

    fn tell(&mut self) {
        if self.rig.book.connection() != Connection::CaughtUp {
            return;
        }
        if let Some(told) = self.venue.queue.pop_front() {
            self.venue.last = Some(told.clone());
            self.rig.apply(Input::Told(told));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::New(quantity) => self.instruct(new(quantity), None),
            Step::Replace(at, quantity) => {
                if let Some(of) = self.replaceable(at, quantity) {
                    self.instruct(bus::OrderAction::Replace { of, quantity, price: price(101) }, None);
                }
            }
            Step::Cancel(at) => {
                if let Some(of) = self.ids.get(at % self.ids.len().max(1)).copied() {
                    self.instruct(bus::OrderAction::Cancel { of }, None);
                }
            }
            Step::Arrive => {
                if let Some(outgoing) = self.wire.pop_front() {
                    self.venue.arrive(&outgoing);
                }
            }
            Step::Tell => self.tell(),
            Step::Repeat => {
                if let Some(told) = self.venue.last.clone() {
                    assert!(self.rig.apply(Input::Told(told)).is_empty());
                }
            }
            Step::Trade(at, quantity) => {
                let open = self.venue.open();
                if let Some(id) = open.get(at % open.len().max(1)) {
                    self.venue.trade(*id, quantity);
                }
            }
            Step::Unsolicited(at, quantity) => {
                let open = self.venue.open();
                let Some(&id) = open.get(at % open.len().max(1)) else { return };
                let Some(order) = self.venue.orders.get_mut(&id) else { return };
                let taken = quantity.map_or(order.leaves, |quantity| quantity.min(order.leaves));
                order.leaves -= taken;
                let quantity = quantity.map(|_| taken);
                self.venue.say(id, What::Cancelled { quantity, reason: "S".into(), by: None });
            }
            Step::Break(at) => {
                let executions = &mut self.venue.executions;
                if executions.is_empty() {
                    return;
                }
                let at = at % executions.len();
                let (id, execution, quantity) = executions[at].clone();
                if quantity == 0 {
                    return;
                }
                executions[at].2 = 0;
                // The order in force has what the one that traded had.
                self.venue.position -= i128::from(quantity);
                self.venue.say(id, What::Broken { execution, quantity: None, price: None });
                // A model of a void trade across replacements would be the book again: the venue only forgets it.
            }
            Step::Cut => {
                // What was on the wire is lost, half of it.
                let arrived = self.wire.len() / 2;
                self.wire.truncate(arrived);
                while let Some(outgoing) = self.wire.pop_front() {
                    self.venue.arrive(&outgoing);
                }
                self.rig.apply(Input::Down { why: "cut".into() });
            }
            Step::Reconnect => self.reconnect(),
        }
    }

    fn reconnect(&mut self) {
        if self.rig.book.connection() == Connection::CaughtUp {
            return;
        }
        self.rig.apply(Input::Up { session: "S1".into() });
        while let Some(told) = self.venue.queue.pop_front() {
            self.rig.apply(Input::Told(told));
        }
        self.rig.apply(Input::CaughtUp);
        self.settle();
        let wanted: Vec<_> = self.rig.book.to_cancel(false);
        for (of, on_its_way, carries_out) in wanted {
            if !on_its_way {
                self.instruct(bus::OrderAction::Cancel { of }, Some(gateway::orders::Own { carries_out }));
            }
        }
    }

    /// The venue answers what it is asked.
    fn settle(&mut self) {
        for (outgoing, _) in self.rig.book.in_doubt() {
            let id = outgoing.id;
            let what = match self.venue.orders.get(&id) {
                Some(order) => {
                    What::Stands { filled: order.filled, leaves: order.leaves, venue_order: String::new() }
                }
                None => What::NeverArrived,
            };
            self.rig.told(0, OrderName::Id(id), what);
        }
    }

    fn check(&self) {
        let book = &self.rig.book;
        for id in &self.ids {
            let (quantity, filled, leaves) = book.quantities(id).unwrap();
            assert!(
                leaves == 0 || filled + leaves <= quantity || book.oddities().overfills > 0,
                "{id}: {filled} + {leaves} of {quantity}"
            );
        }
        for (at, report) in self.rig.reports.iter().enumerate() {
            assert_eq!(report.number, at as u64 + 1, "a hole in the numbers");
        }
    }

    /// All that is on its way arrives, and all that was said is told.
    fn finish(&mut self) {
        self.reconnect();
        while !self.wire.is_empty() || !self.venue.queue.is_empty() {
            self.step(&Step::Arrive);
            self.tell();
        }
        self.settle();
        while let Some(outgoing) = self.wire.pop_front() {
            self.venue.arrive(&outgoing);
        }
        while !self.venue.queue.is_empty() {
            self.tell();
        }
    }
}

proptest! {
    #[test]
    fn no_interleaving_breaks_what_holds(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World {
            rig: Rig::new(),
            venue: Venue::default(),
            wire: VecDeque::new(),
            ids: Vec::new(),
            count: 0,
        };
        for step in &steps {
            world.step(step);
            world.check();
        }
        world.finish();
        world.check();
        // What the venue has open, the book has open, and nothing else.
        let mut open = Vec::new();
        for id in &world.ids {
            if let Some((_, _, leaves)) = world.rig.book.quantities(id) && leaves > 0 {
                open.push(*id);
            }
        }
        open.sort_unstable();
        prop_assert_eq!(open, world.venue.open());
        let position = world.rig.book.positions().get(&(2, 7)).copied().unwrap_or(0);
        prop_assert_eq!(position, world.venue.position);
        prop_assert_eq!(world.rig.book.oddities().contradictions, 0);
        prop_assert_eq!(world.rig.book.oddities().overfills, 0);
        // Whoever follows the reports alone comes to the same position.
        let followed: i128 = world.rig.reports.iter().map(|report| match report.kind {
            ReportKind::Filled => i128::from(report.last_quantity),
            ReportKind::Broken => -i128::from(report.last_quantity),
            _ => 0,
        }).sum();
        prop_assert_eq!(followed, position);
    }

    #[test]
    fn the_journal_of_any_session_rebuilds_its_orders(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World {
            rig: Rig::new(),
            venue: Venue::default(),
            wire: VecDeque::new(),
            ids: Vec::new(),
            count: 0,
        };
        steps.iter().for_each(|step| world.step(step));
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::new(folder.path(), "sim");
        let begin = Begin {
            venue: "sim".into(),
            day: "2026-01-02".into(),
            token: 7,
            numbers: vec![0],
            base: vec![0],
            cursors: vec![Default::default()],
            ..Begin::default()
        };
        let mut journal = folder.begin(&begin).unwrap();
        let mut book = Book::of(&begin, 1);
        for (time_ns, input) in world.rig.inputs.iter().enumerate() {
            let mut reports = Vec::new();
            book.apply(time_ns as u64, input, &mut reports);
            journal.append(time_ns as u64, input, &reports);
        }
        journal.commit().unwrap();
        let mut rebuilt = Book::of(&begin, 1);
        folder.read_day("2026-01-02", |record| {
            if let gateway::journal::Record::Entry { time_ns, input, reports } = record {
                rebuilt.replay(time_ns, &input, &reports);
            }
            Ok(())
        }).unwrap();
        prop_assert!(rebuilt == book);
    }
}
