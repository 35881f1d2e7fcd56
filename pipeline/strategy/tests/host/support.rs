//! A venue of a few lines, a market that moves, and a strategy whose every move hangs on what its desk shows.

use book::{Books, Limits};
use bus::config::{InstrumentChoice, InstrumentKey, RiskDocument};
use bus::{
    Instruction, InstrumentRow, OrderAction, OrderId, OrderSide, Report, ReportKind, StreamId, TimeInForce,
    TradingMode,
};
use std::collections::{BTreeMap, VecDeque};
use strategy::desk::Desk;
use strategy::host::{Host, HostConfig, HostedStrategy, IdMaker, MarketState, Output};
use strategy::strategy::Strategy;
use tick::{Action, Flags, Price, Side, StatusAction, Tick};

/// Thursday, 2026-01-01, 15:00 UTC.
pub(crate) const NOW: u64 = 1_767_279_600_000_000_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const CENT: i64 = 10_000_000;
pub(crate) const A: InstrumentKey = InstrumentKey { publisher_id: 2, instrument_id: 7 };
pub(crate) const B: InstrumentKey = InstrumentKey { publisher_id: 2, instrument_id: 9 };

pub(crate) const RISK: &str = "
total: {position_max: 1500, exposure_max: 250000, open_orders_max: 20, messages_per_second: 10000, message_burst: 1000, drawdown_max: 200000}
default:
  collar_basis_points: 500
  collar_price: '4.00'
  order_quantity_max: 500
  order_notional_max: 60000
  position_max: 1000
  exposure_max: 150000
  open_orders_max: 8
  messages_per_second: 10000
  message_burst: 500
  duplicate_window_ms: 0
  quote_age_max_ms: 2000
  drawdown_max: 100000
  multiplier: '1'
sessions:
  - {days: [thursday], open: '00:00', close: '24:00'}
";

pub(crate) fn risk(text: &str) -> RiskDocument {
    RiskDocument::parse(text.as_bytes()).unwrap()
}

pub(crate) fn row(symbol: &str) -> InstrumentRow {
    InstrumentRow {
        symbol: symbol.into(),
        tick_size: Some(CENT),
        multiplier: None,
        lot_size: 1,
        kind: "equity".into(),
        group: String::new(),
        currency: "USD".into(),
        channel_id: 1,
    }
}

/// A generator of numbers: the same seed gives the same session.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Does one of a few things with each tick, chosen by what the tick and the desk say.
#[derive(Default)]
pub(crate) struct Restless;

impl Restless {
    fn act(&self, desk: &mut Desk<'_>, key: InstrumentKey, draw: u64) {
        let Some(book) = desk.book(key).filter(|book| book.is_good()) else { return };
        let best = |side| book.best(side).map(|level| level.price);
        let (Some(bid), Some(ask)) = (best(Side::Bid), best(Side::Ask)) else { return };
        let first = desk.open_orders(key).next().copied();
        let side = if draw & 8 == 0 { OrderSide::Buy } else { OrderSide::Sell };
        let (near, far) = if side == OrderSide::Buy { (bid, ask) } else { (ask, bid) };
        let quantity = 1 + draw % 30;
        // What is denied is not asked again before the next tick: no result is of interest.
        let _ = match (draw % 7, first) {
            (0 | 1, _) => desk.submit(key, side, quantity, Price(near), TimeInForce::Day),
            (2, _) => desk.submit(key, side, quantity, Price(far), TimeInForce::ImmediateOrCancel),
            (3, Some(order)) => desk.replace(order.id, order.quantity + draw % 5, order.price),
            (4 | 5, Some(order)) => desk.cancel(order.id),
            _ if desk.position(key) > 100 => {
                desk.submit(key, OrderSide::Sell, 50, Price(bid), TimeInForce::ImmediateOrCancel)
            }
            _ => return,
        };
    }
}

impl Strategy for Restless {
    fn on_tick(&mut self, desk: &mut Desk<'_>, tick: &Tick) {
        let key = InstrumentKey { publisher_id: tick.publisher_id, instrument_id: tick.instrument_id };
        let mut dice = Dice(tick.ts_recv ^ tick.order_id);
        if dice.below(4) == 0 {
            self.act(desk, key, dice.below(1 << 20));
        }
    }

    fn on_report(&mut self, desk: &mut Desk<'_>, report: &Report) {
        let key = InstrumentKey { publisher_id: report.publisher_id, instrument_id: report.instrument_id };
        if report.kind == ReportKind::Filled && report.number.is_multiple_of(3) {
            self.act(desk, key, report.number);
        }
    }
}

/// Sends nothing.
pub(crate) struct Silent;

impl Strategy for Silent {}

pub(crate) fn hosted(name: &str, strategy: impl Strategy + 'static) -> HostedStrategy {
    HostedStrategy {
        name: name.into(),
        venue: "SIM".into(),
        instruments: InstrumentChoice::All,
        strategy: Box::new(strategy),
    }
}

/// A host that knows nothing but its configuration.
pub(crate) fn bare(risk: &RiskDocument, token: u64, books: Books, strategies: Vec<HostedStrategy>) -> Host {
    Host::new(HostConfig {
        risk,
        answer_within_ns: 500 * MS,
        opening: &[],
        opening_reports: &[],
        ids: IdMaker::new(token, 3),
        books,
        market: MarketState::default(),
        strategies,
    })
}

/// Tells instruments and their states, and lets orders pass.
pub(crate) fn begin(host: &mut Host) {
    for (key, symbol) in [(A, "AAA"), (B, "BBB")] {
        host.define(key, &row(symbol));
    }
    host.rebuilt();
    host.trading(NOW, Some(TradingMode::Active));
}

pub(crate) fn ready(strategies: Vec<HostedStrategy>) -> Host {
    let mut host = bare(&risk(RISK), 1_767_279_000_000_000, Books::new(Limits::SMALL), strategies);
    begin(&mut host);
    Market::opening().iter().for_each(|tick| host.tick(NOW, tick));
    host.go_live(NOW);
    host
}

/// Orders of two instruments that come and go around a price that stays.
pub(crate) struct Market {
    dice: Dice,
    pub(crate) time_ns: u64,
    sequence: u64,
    resting: Vec<Tick>,
}

impl Market {
    pub(crate) fn new(seed: u64) -> Market {
        Market { dice: Dice(seed), time_ns: NOW, sequence: 100, resting: Vec::new() }
    }

    /// A clear, trading, and a bid and an ask far from the middle for each instrument.
    pub(crate) fn opening() -> Vec<Tick> {
        let mut ticks = vec![Tick::channel_clear(2, 1, 1, NOW)];
        for key in [A, B] {
            let base = Tick { flags: Flags::LAST, ..tick(key, NOW, 2) };
            ticks.push(Tick { action: Action::Status, size: StatusAction::Trading.0.into(), ..base });
            for (side, cents) in [(Side::Bid, 9_950), (Side::Ask, 10_050)] {
                let order_id = u64::from(key.instrument_id) * 10 + u64::from(side == Side::Ask);
                ticks.push(Tick {
                    action: Action::Add,
                    side,
                    price: cents * CENT,
                    size: 1_000,
                    order_id,
                    ..base
                });
            }
        }
        ticks
    }

    pub(crate) fn tick(&mut self) -> Tick {
        self.time_ns += self.dice.below(3 * MS);
        self.sequence += 1;
        let key = if self.dice.below(3) == 0 { B } else { A };
        let base = Tick { flags: Flags::LAST, ..tick(key, self.time_ns, self.sequence) };
        let own = self.resting.iter().position(|order| order.instrument_id == key.instrument_id);
        match own.filter(|_| self.dice.below(2) == 0) {
            Some(at) => {
                let order = self.resting.remove(at);
                let size = Tick::SIZE_UNDEFINED;
                Tick { action: Action::Cancel, order_id: order.order_id, side: order.side, size, ..base }
            }
            None => {
                let away = 1 + self.dice.below(20) as i64;
                let (side, cents) = if self.dice.below(2) == 0 {
                    (Side::Bid, 10_000 - away)
                } else {
                    (Side::Ask, 10_000 + away)
                };
                let size = 1 + self.dice.below(200) as u32;
                let order_id = 1_000 + self.sequence;
                let order = Tick { action: Action::Add, side, price: cents * CENT, size, order_id, ..base };
                self.resting.push(order);
                order
            }
        }
    }
}

pub(crate) fn tick(key: InstrumentKey, time_ns: u64, sequence: u64) -> Tick {
    let InstrumentKey { publisher_id, instrument_id } = key;
    Tick {
        ts_recv: time_ns,
        ts_event: time_ns,
        sequence,
        publisher_id,
        instrument_id,
        channel_id: 1,
        ..Tick::EMPTY
    }
}

/// A gateway and a venue in one: keeps orders, answers late, trades now and then.
pub(crate) struct Venue {
    dice: Dice,
    number: u64,
    orders: BTreeMap<OrderId, VenueOrder>,
    seen: BTreeMap<OrderId, ()>,
    /// Answers that have not been given yet.
    pub(crate) waiting: Vec<Report>,
}

#[derive(Clone)]
struct VenueOrder {
    instruction: Instruction,
    side: OrderSide,
    price: Price,
    quantity: u64,
    filled: u64,
}

impl Venue {
    pub(crate) fn new(seed: u64) -> Venue {
        Venue {
            dice: Dice(seed),
            number: 0,
            orders: BTreeMap::new(),
            seen: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn say(&mut self, instruction: &Instruction, side: OrderSide, report: Report) {
        self.number += 1;
        self.waiting.push(Report {
            number: self.number,
            venue: instruction.venue.clone(),
            strategy: instruction.strategy.clone(),
            symbol: instruction.symbol.clone(),
            publisher_id: instruction.publisher_id,
            instrument_id: instruction.instrument_id,
            side: Some(side),
            ..report
        });
    }

    /// Takes an instruction as a gateway does: once.
    pub(crate) fn take(&mut self, instruction: &Instruction, now_ns: u64) {
        if self.seen.insert(instruction.id, ()).is_some() {
            return;
        }
        let of = match instruction.action {
            OrderAction::New { side, quantity, price, .. } => {
                let price = price.unwrap();
                let order = VenueOrder { instruction: instruction.clone(), side, price, quantity, filled: 0 };
                self.answer(&order, instruction, ReportKind::Sent, None, now_ns);
                self.answer(&order, instruction, ReportKind::Accepted, None, now_ns);
                self.orders.insert(instruction.id, order);
                return;
            }
            OrderAction::Replace { of, .. } | OrderAction::Cancel { of } => of,
        };
        let Some(mut order) = self.orders.remove(&of) else {
            let side = OrderSide::Buy;
            let report = Report {
                id: Some(instruction.id),
                of: Some(of),
                reason: "too_late".into(),
                ..Report::new(ReportKind::CancelRejected, now_ns)
            };
            self.say(instruction, side, report);
            return;
        };
        self.answer(&order, instruction, ReportKind::Sent, Some(of), now_ns);
        match instruction.action {
            OrderAction::Replace { quantity, price, .. } if quantity > order.filled => {
                (order.quantity, order.price) = (quantity, price);
                order.instruction = instruction.clone();
                self.answer(&order, instruction, ReportKind::Replaced, Some(of), now_ns);
                self.orders.insert(instruction.id, order);
            }
            OrderAction::Replace { .. } => {
                self.answer(&order, instruction, ReportKind::Rejected, Some(of), now_ns);
                self.orders.insert(of, order);
            }
            _ => self.end(&order, now_ns),
        }
    }

    fn end(&mut self, order: &VenueOrder, now_ns: u64) {
        let report = Report {
            id: Some(order.instruction.id),
            filled: order.filled,
            leaves: 0,
            ..Report::new(ReportKind::Cancelled, now_ns)
        };
        self.say(&order.instruction, order.side, report);
    }

    fn answer(
        &mut self,
        order: &VenueOrder,
        instruction: &Instruction,
        kind: ReportKind,
        of: Option<OrderId>,
        now_ns: u64,
    ) {
        let leaves = order.quantity - order.filled;
        let report = Report {
            id: Some(instruction.id),
            of,
            filled: order.filled,
            leaves,
            ..Report::new(kind, now_ns)
        };
        self.say(instruction, order.side, report);
    }

    /// Trades or ends some order, now and then.
    pub(crate) fn move_on(&mut self, now_ns: u64) {
        let draw = self.dice.below(12);
        let Some(id) = self.orders.keys().nth(self.dice.below(4) as usize).copied() else { return };
        let Some(mut order) = self.orders.remove(&id) else { return };
        if draw == 0 {
            self.end(&order, now_ns);
            return;
        }
        if draw < 4 {
            let quantity = 1 + self.dice.below(order.quantity - order.filled);
            order.filled += quantity;
            let leaves = order.quantity - order.filled;
            let report = Report {
                id: Some(id),
                last_quantity: quantity,
                last_price: Some(order.price),
                filled: order.filled,
                leaves,
                execution: format!("x{}", self.number),
                ..Report::new(ReportKind::Filled, now_ns)
            };
            self.say(&order.instruction.clone(), order.side, report);
            if leaves == 0 {
                return;
            }
        }
        self.orders.insert(id, order);
    }

    /// Some of the answers, the oldest first.
    pub(crate) fn answers(&mut self) -> Vec<Report> {
        let count = self.dice.below(1 + self.waiting.len() as u64) as usize;
        self.waiting.drain(..count).collect()
    }
}

/// The two streams of a shard, as Redis would have them.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) next: u64,
    /// Reports that are in the stream and that the host has not read.
    pub(crate) unread: VecDeque<Report>,
    pub(crate) dice: u64,
    pub(crate) instructions: Vec<(StreamId, Instruction)>,
    pub(crate) reports: Vec<(StreamId, Report)>,
}

impl Streams {
    fn id(&mut self, now_ns: u64) -> StreamId {
        self.next += 1;
        StreamId { ms: now_ns / MS, seq: self.next }
    }

    /// What the host has not read; then it has.
    pub(crate) fn unread(&mut self) -> Vec<Report> {
        self.unread.drain(..).collect()
    }

    pub(crate) fn instruct(&mut self, now_ns: u64, instruction: &Instruction) {
        let id = self.id(now_ns);
        self.instructions.push((id, instruction.clone()));
    }

    pub(crate) fn report(&mut self, now_ns: u64, report: &Report) {
        let id = self.id(now_ns);
        self.reports.push((id, report.clone()));
    }
}

/// Everything that goes on for some ticks; the bytes of all that the host gave out.
pub(crate) fn play(
    host: &mut Host,
    market: &mut Market,
    venue: &mut Venue,
    streams: &mut Streams,
    ticks: usize,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..ticks {
        let tick = market.tick();
        host.tick(tick.ts_recv, &tick);
        for report in venue.answers() {
            streams.report(market.time_ns, &report);
            streams.unread.push_back(report);
        }
        // Read later than written, so that orders cross with what they do not know yet.
        let mut dice = Dice(streams.dice ^ market.time_ns);
        for _ in 0..dice.below(1 + streams.unread.len() as u64) {
            host.report(market.time_ns, &streams.unread.pop_front().unwrap());
        }
        for output in host.outputs().collect::<Vec<_>>() {
            write(&mut bytes, &output);
            match &output {
                Output::Instruction(instruction) | Output::Again(instruction) => {
                    streams.instruct(market.time_ns, instruction);
                    venue.take(instruction, market.time_ns);
                }
                Output::Denied(report) => streams.report(market.time_ns, report),
                Output::Score(_) => {}
            }
        }
        venue.move_on(market.time_ns);
    }
    bytes
}

/// An output as it would be written.
pub(crate) fn write(bytes: &mut Vec<u8>, output: &Output) {
    let mut put = |name: &str, value: &[u8]| {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value);
        bytes.push(b' ');
    };
    match output {
        Output::Instruction(instruction) | Output::Again(instruction) => instruction.for_each_field(&mut put),
        Output::Denied(report) => report.for_each_field(&mut put),
        Output::Score(score) => score.for_each_field(&mut put),
    }
    bytes.push(b'\n');
}
