//! One instrument with a book of one bid and one ask, a real host with its desk, and a venue that does what it is told.

use super::host::{A, CENT, MS, NOW, bare, risk, row};
use book::{Books, Limits};
use bus::config::{
    InstrumentChoice, ModelSection, OfiMomentumSection, QuoterSection, RulesSection, StrategyKind,
};
use bus::{
    FeatureRecord, FeatureSchema, FeatureSpec, Instruction, OrderAction, OrderId, OrderSide, Quality, Report,
    ReportKind, Score, TradingMode,
};
use std::collections::BTreeMap;
use strategy::desk::OpenOrder;
use strategy::host::{Host, HostedStrategy, Output};
use strategy::strategies::build;
use tick::{Action, Flags, Price, Side, StatusAction, Tick};

const RISK: &str = "
total: {position_max: 10000, exposure_max: 10000000, open_orders_max: 100, messages_per_second: 100000, message_burst: 10000, drawdown_max: 1000000}
default:
  collar_basis_points: 5000
  collar_price: '50.00'
  order_quantity_max: 1000
  order_notional_max: 1000000
  position_max: 10000
  exposure_max: 10000000
  open_orders_max: 100
  messages_per_second: 100000
  message_burst: 500
  duplicate_window_ms: 0
  quote_age_max_ms: 3600000
  drawdown_max: 1000000
  multiplier: '1'
sessions:
  - {days: [thursday], open: '00:00', close: '24:00'}
";

/// What the venue has of an order.
#[derive(Clone, Debug)]
pub(crate) struct Resting {
    pub(crate) instruction: Instruction,
    pub(crate) side: OrderSide,
    pub(crate) price: i64,
    pub(crate) quantity: u64,
    pub(crate) filled: u64,
}

pub(crate) struct Rig {
    pub(crate) host: Host,
    pub(crate) now_ns: u64,
    sequence: u64,
    number: u64,
    records: u64,
    /// Bid and ask of the book: order id, price in cents.
    shown: [Option<(u64, i64)>; 2],
    pub(crate) orders: BTreeMap<OrderId, Resting>,
    pub(crate) denied: usize,
    pub(crate) scores: Vec<Score>,
}

/// A rig whose strategy is built from its section: `rules`, `ofi_momentum`, `quoter` or `model` and the YAML below it.
pub(crate) fn rig(kind: &str, section: &str) -> Rig {
    let strategy = match kind {
        "rules" => build(StrategyKind::Rules(&parse::<RulesSection>(section)), "s", Some(&[schema()])),
        "model" => build(StrategyKind::Model(&parse::<ModelSection>(section)), "s", None),
        "ofi_momentum" => build(StrategyKind::OfiMomentum(&parse::<OfiMomentumSection>(section)), "s", None),
        _ => build(StrategyKind::Quoter(&parse::<QuoterSection>(section)), "s", None),
    };
    let strategy = strategy.unwrap_or_else(|problems| panic!("{problems:?}"));
    let hosted = vec![HostedStrategy {
        name: "s".into(),
        venue: "SIM".into(),
        instruments: InstrumentChoice::All,
        strategy,
    }];
    let mut host = bare(&risk(RISK), 1_767_279_000_000_000, Books::new(Limits::SMALL), hosted);
    host.define(A, &row("AAA"));
    host.add_schema(1, schema());
    host.rebuilt();
    host.trading(NOW, Some(TradingMode::Active));
    let (now_ns, sequence) = (NOW, 1);
    let mut rig = Rig {
        host,
        now_ns,
        sequence,
        number: 0,
        records: 0,
        shown: [None; 2],
        orders: BTreeMap::new(),
        denied: 0,
        scores: Vec::new(),
    };
    rig.host.tick(NOW, &Tick::channel_clear(2, 1, 1, NOW));
    rig.status(StatusAction::Trading);
    rig.host.go_live(NOW);
    rig
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap()
}

/// The schema of the feature set `flow` with the values `ofi` and `a.b`.
pub(crate) fn schema() -> FeatureSchema {
    let feature = |name: &str| FeatureSpec { name: name.into(), unit: "1".into() };
    FeatureSchema { set: "flow".into(), features: vec![feature("ofi"), feature("a.b")] }
}

impl Rig {
    fn next_tick(&mut self) -> Tick {
        self.sequence += 1;
        super::host::tick(A, self.now_ns, self.sequence)
    }

    pub(crate) fn status(&mut self, status: StatusAction) -> Vec<Instruction> {
        let tick = self.next_tick();
        self.host.tick(
            self.now_ns,
            &Tick { action: Action::Status, size: status.0.into(), flags: Flags::LAST, ..tick },
        );
        self.out()
    }

    /// The book shows this from now on: price in cents and size of the bid and of the ask. What the strategy sends.
    pub(crate) fn quote(&mut self, bid: (i64, u32), ask: (i64, u32)) -> Vec<Instruction> {
        let sides = [(Side::Bid, bid), (Side::Ask, ask)];
        for (at, (side, _)) in sides.iter().enumerate() {
            if let Some((order_id, cents)) = self.shown[at].take() {
                let tick = self.next_tick();
                let gone = Tick {
                    action: Action::Cancel,
                    side: *side,
                    order_id,
                    price: cents * CENT,
                    size: Tick::SIZE_UNDEFINED,
                    ..tick
                };
                self.host.tick(self.now_ns, &gone);
            }
        }
        for (at, (side, (cents, size))) in sides.into_iter().enumerate() {
            let tick = self.next_tick();
            let flags = if at == 1 { Flags::LAST } else { Flags::NONE };
            self.shown[at] = Some((tick.sequence, cents));
            let order_id = tick.sequence;
            self.host.tick(
                self.now_ns,
                &Tick { action: Action::Add, side, order_id, price: cents * CENT, size, flags, ..tick },
            );
        }
        self.out()
    }

    /// Sequence numbers are missing: the book is bad.
    pub(crate) fn gap(&mut self) -> Vec<Instruction> {
        let tick = self.next_tick();
        self.sequence += 5;
        let gap = Tick::gap(2, 1, tick.sequence, self.sequence, self.now_ns, tick::GapReason::Lost);
        self.host.tick(self.now_ns, &gap);
        let tick = self.next_tick();
        self.host.tick(self.now_ns, &Tick { action: Action::None, flags: Flags::LAST, ..tick });
        self.out()
    }

    /// The book begins anew and is good again.
    pub(crate) fn clear(&mut self) {
        let tick = self.next_tick();
        self.host.tick(self.now_ns, &Tick::channel_clear(2, 1, tick.sequence, self.now_ns));
        self.shown = [None; 2];
    }

    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Instruction> {
        self.now_ns += ms * MS;
        self.host.time(self.now_ns);
        self.out()
    }

    pub(crate) fn trading(&mut self, mode: TradingMode) -> Vec<Instruction> {
        self.host.trading(self.now_ns, Some(mode));
        self.out()
    }

    pub(crate) fn features(&mut self, values: [f64; 2], quality: Quality) -> Vec<Instruction> {
        self.records += 1;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let record = FeatureRecord {
            number: self.records,
            publisher_id: A.publisher_id,
            instrument_id: A.instrument_id,
            time_ns: self.now_ns,
            channel_id: 1,
            sequence: self.sequence,
            schema_id: 1,
            quality,
            values: &bytes,
        };
        self.host.features(self.now_ns, &record);
        self.out()
    }

    fn out(&mut self) -> Vec<Instruction> {
        let mut sent = Vec::new();
        for output in self.host.outputs() {
            match output {
                Output::Instruction(instruction) => sent.push(instruction),
                Output::Denied(_) => self.denied += 1,
                Output::Score(score) => self.scores.push(score),
                Output::Again(_) => {}
            }
        }
        sent
    }

    fn report(&mut self, about: &Instruction, side: OrderSide, report: Report) -> Vec<Instruction> {
        self.number += 1;
        let report = Report {
            number: self.number,
            venue: about.venue.clone(),
            strategy: about.strategy.clone(),
            symbol: about.symbol.clone(),
            publisher_id: A.publisher_id,
            instrument_id: A.instrument_id,
            side: Some(side),
            ..report
        };
        self.host.report(self.now_ns, &report);
        self.out()
    }

    fn told(
        &mut self,
        order: &Resting,
        kind: ReportKind,
        of: Option<OrderId>,
        more: Report,
    ) -> Vec<Instruction> {
        let ended = matches!(kind, ReportKind::Cancelled | ReportKind::Rejected);
        let leaves = if ended { 0 } else { order.quantity - order.filled };
        let id = Some(order.instruction.id);
        let report = Report { id, of, kind, filled: order.filled, leaves, ..more };
        self.report(&order.instruction, order.side, report)
    }

    fn blank(&self) -> Report {
        Report::new(ReportKind::Sent, self.now_ns)
    }

    /// The venue takes a new order, a replacement or a cancel.
    pub(crate) fn accept(&mut self, instruction: &Instruction) -> Vec<Instruction> {
        match instruction.action {
            OrderAction::New { side, quantity, price, .. } => {
                let price = price.unwrap().0;
                let order = Resting { instruction: instruction.clone(), side, price, quantity, filled: 0 };
                self.orders.insert(instruction.id, order.clone());
                self.told(&order, ReportKind::Accepted, None, self.blank())
            }
            OrderAction::Replace { of, quantity, price } => {
                let Some(mut order) = self.orders.remove(&of).filter(|order| order.filled < quantity) else {
                    return self.refuse(instruction);
                };
                (order.instruction, order.quantity, order.price) = (instruction.clone(), quantity, price.0);
                self.orders.insert(instruction.id, order.clone());
                self.told(&order, ReportKind::Replaced, Some(of), self.blank())
            }
            OrderAction::Cancel { of } => match self.orders.remove(&of) {
                Some(order) => self.told(&order, ReportKind::Cancelled, None, self.blank()),
                None => self.refuse(instruction),
            },
        }
    }

    /// The venue does not take it.
    pub(crate) fn refuse(&mut self, instruction: &Instruction) -> Vec<Instruction> {
        let (kind, of, side) = match instruction.action {
            OrderAction::New { side, .. } => (ReportKind::Rejected, None, side),
            OrderAction::Replace { of, .. } | OrderAction::Cancel { of } => {
                let side = self.orders.get(&of).map_or(OrderSide::Buy, |order| order.side);
                (ReportKind::CancelRejected, Some(of), side)
            }
        };
        let report = Report { id: Some(instruction.id), of, ..Report::new(kind, self.now_ns) };
        self.report(instruction, side, report)
    }

    /// So much of an order trades, at its limit.
    pub(crate) fn fill(&mut self, id: OrderId, quantity: u64) -> Vec<Instruction> {
        let Some(order) = self.orders.get_mut(&id) else { return Vec::new() };
        order.filled += quantity;
        let order = order.clone();
        if order.filled == order.quantity {
            self.orders.remove(&id);
        }
        let more = Report {
            last_quantity: quantity,
            last_price: Some(Price(order.price)),
            execution: format!("x{}", self.number),
            ..self.blank()
        };
        self.told(&order, ReportKind::Filled, None, more)
    }

    /// The venue takes an immediate order, trades so much of it, and cancels the rest. What the strategy sends after all.
    pub(crate) fn immediate(&mut self, instruction: &Instruction, quantity: u64) -> Vec<Instruction> {
        let mut sent = self.accept(instruction);
        if quantity > 0 {
            sent.extend(self.fill(instruction.id, quantity));
        }
        if let Some(order) = self.orders.remove(&instruction.id) {
            sent.extend(self.told(&order, ReportKind::Cancelled, None, self.blank()));
        }
        sent
    }

    /// An order ends without being asked to.
    pub(crate) fn end(&mut self, id: OrderId) -> Vec<Instruction> {
        match self.orders.remove(&id) {
            Some(order) => self.told(&order, ReportKind::Cancelled, None, self.blank()),
            None => Vec::new(),
        }
    }

    pub(crate) fn position(&mut self) -> i64 {
        self.host.desk("s").unwrap().position(A)
    }

    pub(crate) fn open(&mut self) -> Vec<OpenOrder> {
        self.host.desk("s").unwrap().open_orders(A).copied().collect()
    }

    /// Best bid and ask of a good book, 1e-9.
    pub(crate) fn best(&mut self) -> Option<(i64, i64)> {
        let desk = self.host.desk("s").unwrap();
        let book = desk.book(A).filter(|book| book.is_good())?;
        Some((book.best(Side::Bid)?.price, book.best(Side::Ask)?.price))
    }
}

/// An instruction in short: `buy 100 @ 99.99 day`, `replace 100 @ 99.98`, `cancel`.
pub(crate) fn short(instructions: &[Instruction]) -> Vec<String> {
    let one = |instruction: &Instruction| match &instruction.action {
        OrderAction::New { side, quantity, price, time_in_force } => {
            format!("{} {quantity} @ {} {}", side.word(), price.unwrap(), time_in_force.word())
        }
        OrderAction::Replace { quantity, price, .. } => format!("replace {quantity} @ {price}"),
        OrderAction::Cancel { .. } => "cancel".to_owned(),
    };
    instructions.iter().map(one).collect()
}
