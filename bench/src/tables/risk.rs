//! Table (i): one risk check of a new order that passes, with open orders standing and other instruments around.
//!
//! Both contenders are told the same: a fresh quote of the instrument, then the order is checked and booked, then it ends.
//! Only the check is timed, each by itself, because an order that passes changes what the next is checked against; the
//! clock's own cost is taken in the same round and subtracted. The instruments come in a random order, every order has
//! another id, price and quantity are such that every check runs to its end, and none is denied: a denial is an error here.

mod plain;

use crate::harness::{Contender, Effort, Kind, Metric, Row, Table, Target, measure};
use anyhow::{Context, Result, ensure};
use bus::config::RiskDocument;
use bus::{Instruction, OrderAction, OrderId, OrderSide, Report, ReportKind, TimeInForce};
use plain::Plain;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;
use std::time::Instant;
use strategy::host::IdMaker;
use strategy::risk::Engine;
use tick::{Price, StatusAction};

const PLAIN: &str = "HashMap, floats and lists";
const TARGET_NS: f64 = 200.0;
const PUBLISHER: u16 = 2;
/// Thursday, 2026-01-01, 15:00 UTC.
const START_NS: u64 = 1_767_279_600_000_000_000;
/// Between two orders of one instrument, so that its message rate is never the reason.
const APART_NS: u64 = 20_000_000;
const BID: i64 = 99_990_000_000;
const ASK: i64 = 100_010_000_000;
const STEP: i64 = 10_000_000;

const DOCUMENT: &str = "
total: {position_max: 1000000000000, exposure_max: 1000000000000000, open_orders_max: 100000, messages_per_second: 1000000, message_burst: 1000000, drawdown_max: 1000000000}
default:
  collar_basis_points: 500
  collar_price: '4.00'
  order_quantity_max: 500
  order_notional_max: 100000
  position_max: 1000000
  exposure_max: 1000000000
  open_orders_max: 1000
  messages_per_second: 100
  message_burst: 30
  duplicate_window_ms: 500
  quote_age_max_ms: 2000
  drawdown_max: 1000000
  multiplier: '1'
sessions:
  - {days: [thursday], open: '13:30', close: '20:00'}
";

/// A contender's checks.
trait Checks {
    fn define(&mut self, instrument_id: u32, symbol: &str);
    fn quote(&mut self, instrument_id: u32, bid: Price, ask: Price, now_ns: u64);
    /// Checks an order and books it; says why not.
    fn check(&mut self, instruction: &Instruction, now_ns: u64) -> Result<(), String>;
    fn cancelled(&mut self, report: &Report);
    fn open_orders(&self) -> usize;
}

impl Checks for Engine {
    fn define(&mut self, instrument_id: u32, symbol: &str) {
        Engine::define(self, PUBLISHER, instrument_id, symbol, None);
        self.status(PUBLISHER, instrument_id, StatusAction::Trading);
        self.rebuilt();
    }

    fn quote(&mut self, instrument_id: u32, bid: Price, ask: Price, now_ns: u64) {
        Engine::quote(self, PUBLISHER, instrument_id, bid, ask, now_ns);
    }

    #[inline]
    fn check(&mut self, instruction: &Instruction, now_ns: u64) -> Result<(), String> {
        Engine::check(self, instruction, now_ns).map_err(|denial| denial.reason.word().to_owned())
    }

    fn cancelled(&mut self, report: &Report) {
        self.report(report);
    }

    fn open_orders(&self) -> usize {
        Engine::open_orders(self)
    }
}

/// Order ids as the strategy service makes them.
fn ids() -> IdMaker {
    IdMaker::new(START_NS / 1_000, 0)
}

fn order(id: OrderId, instrument_id: u32, side: OrderSide, quantity: u64, price: i64) -> Instruction {
    let action =
        OrderAction::New { side, quantity, price: Some(Price(price)), time_in_force: TimeInForce::Day };
    Instruction {
        id,
        action,
        venue: "V".to_owned(),
        publisher_id: PUBLISHER,
        instrument_id,
        symbol: symbol(instrument_id),
        strategy: "bench".to_owned(),
        cause_ns: 0,
        created_ns: 0,
    }
}

fn symbol(instrument_id: u32) -> String {
    format!("SYM{instrument_id}")
}

/// One contender with its standing orders, and what it is asked next.
struct World<C> {
    checks: C,
    instruments: u32,
    /// Standing orders in all.
    standing: usize,
    now_ns: u64,
    ids: IdMaker,
    /// Orders so far, and the last one's id.
    count: u64,
    last: Option<OrderId>,
    /// Orders sent of each instrument: no two within the duplicate window have one quantity.
    sent: Vec<u64>,
    random: ChaCha8Rng,
}

impl<C: Checks> World<C> {
    /// Standing orders, buys below and sells above the market, and all instruments quoted.
    fn new(mut checks: C, instruments: u32, orders: u32) -> Result<World<C>> {
        for instrument in 0..instruments {
            checks.define(instrument, &symbol(instrument));
        }
        let standing = instruments as usize * orders as usize;
        let random = ChaCha8Rng::seed_from_u64(9);
        let mut world = World {
            checks,
            instruments,
            standing,
            now_ns: START_NS,
            ids: ids(),
            count: 0,
            last: None,
            sent: vec![0; instruments as usize],
            random,
        };
        for level in 0..orders {
            for instrument in 0..instruments {
                let away = i64::from(level / 2 + 2) * STEP;
                let (side, price) =
                    if level % 2 == 0 { (OrderSide::Buy, BID - away) } else { (OrderSide::Sell, ASK + away) };
                world.step(instrument, side, 1 + u64::from(level), price)?;
            }
        }
        ensure!(world.checks.open_orders() == standing, "{} orders stand", world.checks.open_orders());
        Ok(world)
    }

    /// One order: quote, check. Gives the time of the check, ns.
    fn step(&mut self, instrument: u32, side: OrderSide, quantity: u64, price: i64) -> Result<f64> {
        self.now_ns += APART_NS / u64::from(self.instruments);
        let id = self.ids.next().context("no id is left")?;
        self.ids.pass(&id);
        let instruction = order(id, instrument, side, quantity, price);
        (self.count, self.last) = (self.count + 1, Some(id));
        let now_ns = self.now_ns;
        self.checks.quote(instrument, Price(BID), Price(ASK), now_ns);
        let began = Instant::now();
        let decision = black_box(self.checks.check(black_box(&instruction), now_ns));
        let taken = began.elapsed();
        decision.map_err(anyhow::Error::msg).context("an order that should pass is denied")?;
        Ok(taken.as_nanos() as f64)
    }

    /// As many orders as every list of recent ones holds, so that a round meets memory that was used before.
    fn warm(&mut self, orders: usize) -> Result<()> {
        let orders = orders * self.instruments as usize;
        self.round(orders).map(drop)
    }

    /// A round: the mean time of a check without the clock's, ns. Every order ends before the next.
    fn round(&mut self, checks: usize) -> Result<f64> {
        let (mut taken, mut clock) = (Vec::with_capacity(checks), Vec::with_capacity(checks));
        for _ in 0..checks {
            let instrument = self.random.random_range(0..self.instruments);
            let side = if self.count.is_multiple_of(2) { OrderSide::Buy } else { OrderSide::Sell };
            let price = if side == OrderSide::Buy { BID } else { ASK };
            let sent = &mut self.sent[instrument as usize];
            *sent += 1;
            let quantity = 1 + *sent % 499;
            taken.push(self.step(instrument, side, quantity, price)?);
            let began = Instant::now();
            clock.push(black_box(began).elapsed().as_nanos() as f64);
            self.checks.cancelled(&Report {
                id: self.last,
                symbol: symbol(instrument),
                ..Report::new(ReportKind::Cancelled, self.now_ns)
            });
        }
        let open = self.checks.open_orders();
        ensure!(open == self.standing, "{open} orders stand instead of {}", self.standing);
        Ok((trimmed(taken) - trimmed(clock)).max(0.1))
    }
}

/// The mean without the slowest hundredth: another process had the core then.
fn trimmed(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.truncate((times.len() * 99 / 100).max(1));
    times.iter().sum::<f64>() / times.len() as f64
}

fn metric(instruments: u32, orders: u32, checks: usize, effort: Effort) -> Result<Vec<Metric>> {
    let document = RiskDocument::parse(DOCUMENT.as_bytes())?;
    let mut ours = World::new(Engine::new(&document), instruments, orders)?;
    let mut plain = World::new(Plain::new(), instruments, orders)?;
    let warm = effort.scaled(100);
    ours.warm(warm)?;
    plain.warm(warm)?;
    let contenders = vec![
        Contender::new(
            Row::new("strategy::risk", "exact integers; worst case of all open orders; nothing allocated")
                .aiming(&[Target::Figure(TARGET_NS)]),
            || ours.round(checks),
        ),
        Contender::new(
            Row::new(PLAIN, "the same checks on f64, a struct in a HashMap, a list of its orders"),
            || plain.round(checks),
        ),
    ];
    let plural = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let name = format!("{}, {} of each", plural(instruments, "instrument"), plural(orders, "open order"));
    Ok(measure(&[Kind::lower(&name, "ns/check")], PLAIN, effort, contenders))
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let checks = effort.scaled(10_000);
    let mut metrics = Vec::new();
    // 1000 instruments with 100 orders each are the most that a risk document lets stand, so there 99 do.
    for instruments in [1, 100, 1_000] {
        for orders in [1, 10, if instruments == 1_000 { 99 } else { 100 }] {
            metrics.extend(metric(instruments, orders, checks, effort)?);
        }
    }
    Ok(Table { id: 'i', title: "risk check of an order that passes", metrics })
}
