//! Random sessions beside a plain re-computation: after any instruction that passed, no limit is exceeded in the
//! worst case. The venue and the model here are lists and maps, and know nothing of the engine's sums.

use crate::support::*;
use bus::OrderSide::{Buy, Sell, SellShort};
use bus::{Instruction, OrderAction, OrderSide, Report, ReportKind};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use strategy::risk::{Engine, Followed, MONEY_SCALE, State};
use tick::Price;

const INSTRUCTIONS: u64 = 100_000;
const IN_SESSION: u64 = 500;

/// One order at the venue: quantity in all, and the replacement that was sent and not answered.
#[derive(Clone, Debug)]
struct Resting {
    key: (u16, u32),
    side: OrderSide,
    price: i64,
    quantity: u64,
    filled: u64,
    replacement: Option<(u64, u64, i64)>,
}

impl Resting {
    fn open(&self) -> i128 {
        let most = self.quantity.max(self.replacement.map_or(0, |(_, quantity, _)| quantity));
        i128::from(most.saturating_sub(self.filled))
    }
}

/// A trade: order, its key and side, quantity, price, filled before it.
type Traded = (u64, (u16, u32), OrderSide, u64, i64, u64);

#[derive(Default)]
struct Model {
    orders: BTreeMap<u64, Resting>,
    positions: BTreeMap<(u16, u32), i128>,
    quotes: BTreeMap<(u16, u32), (i64, i64)>,
    last_trade: Option<Traded>,
}

impl Model {
    /// Long and short outcome.
    fn outcomes(&self, key: (u16, u32)) -> (i128, i128) {
        let position = self.positions.get(&key).copied().unwrap_or(0);
        let open = |buys: bool| -> i128 {
            let of = self.orders.values().filter(|order| order.key == key && (order.side == Buy) == buys);
            of.map(Resting::open).sum()
        };
        (position + open(true), position - open(false))
    }

    fn worst(&self, key: (u16, u32)) -> i128 {
        let (long, short) = self.outcomes(key);
        long.abs().max(short.abs())
    }

    fn exposure(&self, key: (u16, u32)) -> i128 {
        let (bid, ask) = self.quotes[&key];
        self.worst(key) * i128::from(bid.max(ask)) * i128::from(UNIT)
    }

    fn signed(side: OrderSide, quantity: u64) -> i128 {
        if side == Buy { i128::from(quantity) } else { -i128::from(quantity) }
    }

    fn sent(&mut self, number: u64, instruction: &Instruction) {
        let key = (instruction.publisher_id, instruction.instrument_id);
        match &instruction.action {
            OrderAction::New { side, quantity, price, .. } => {
                let price = price.unwrap().0;
                let resting =
                    Resting { key, side: *side, price, quantity: *quantity, filled: 0, replacement: None };
                self.orders.insert(number, resting);
            }
            OrderAction::Replace { of, quantity, price } => {
                let of: u64 = of.as_str()[1..].parse().unwrap();
                self.orders.get_mut(&of).unwrap().replacement = Some((number, *quantity, price.0));
            }
            OrderAction::Cancel { .. } => {}
        }
    }

    /// After what passed: within every limit, or nothing but lower than it was.
    fn is_within(&self, instruction: &Instruction, before: (i128, i128)) {
        let key = (instruction.publisher_id, instruction.instrument_id);
        if matches!(instruction.action, OrderAction::Cancel { .. }) {
            return;
        }
        let (long, short) = self.outcomes(key);
        let raised_long = long > before.0 && long > 0;
        let raised_short = short < before.1 && short < 0;
        if !raised_long && !raised_short {
            return;
        }
        assert!(self.worst(key) <= 1_000, "{key:?} {}", self.worst(key));
        assert!(self.worst(A) + self.worst(B) <= 1_500);
        assert!(self.exposure(key) <= 100_000 * MONEY_SCALE);
        assert!(self.exposure(A) + self.exposure(B) <= 150_000 * MONEY_SCALE);
        assert!(self.orders.len() <= 5 && self.orders.values().filter(|order| order.key == key).count() <= 4);
        let buys = self.orders.values().filter(|order| order.key == key && order.side == Buy);
        for buy in buys {
            let sells = self.orders.values().filter(|order| order.key == key && order.side != Buy);
            for sell in sells {
                assert!(buy.price < sell.price, "{buy:?} trades with {sell:?}");
            }
        }
    }

    fn agrees(&self, engine: &Engine) {
        for key in [A, B] {
            let standing = engine.standing(key.0, key.1).unwrap();
            let position = self.positions.get(&key).copied().unwrap_or(0);
            let (long, short) = self.outcomes(key);
            let of_engine = (standing.position, standing.open_buys, standing.open_sells);
            assert_eq!(of_engine, (position, long - position, position - short));
            assert_eq!(standing.exposure, Some(self.exposure(key)));
        }
        assert_eq!(engine.open_orders(), self.orders.len());
        assert_eq!(engine.total().unwrap().0, self.exposure(A) + self.exposure(B));
        assert_eq!(engine.doubts(), 0);
    }
}

/// Something to be decided: often near or beyond a limit.
fn instruction(rng: &mut ChaCha8Rng, number: u64, model: &Model) -> Instruction {
    let key = if rng.random_bool(0.5) { A } else { B };
    let price = 100 * UNIT + rng.random_range(-450..=450i64) * 10_000_000;
    let quantity = if rng.random_bool(0.05) { rng.random() } else { rng.random_range(1..=520) };
    let some = rng.random_range(0..=model.orders.len());
    match (rng.random_range(0..10), model.orders.iter().nth(some)) {
        (0..2, Some((of, order))) => cancel(number, order.key, *of),
        (2..5, Some((of, order))) => replace(number, order.key, *of, quantity, price),
        _ => {
            let side = [Buy, Sell, SellShort][rng.random_range(0..3)];
            let near = price / 10 + 90 * UNIT + if side == Buy { -UNIT / 2 } else { UNIT / 2 };
            order(number, key, side, quantity, if rng.random_bool(0.8) { near } else { price })
        }
    }
}

/// The venue does something with an order, and says so.
fn event(rng: &mut ChaCha8Rng, model: &mut Model) -> Option<Report> {
    let some = rng.random_range(0..model.orders.len().max(1));
    let (&number, resting) = model.orders.iter_mut().nth(some)?;
    let left = resting.quantity.saturating_sub(resting.filled);
    let (key, side) = (resting.key, resting.side);
    let whole =
        |report: Report| Report { side: Some(side), publisher_id: key.0, instrument_id: key.1, ..report };
    match rng.random_range(0..6) {
        0..3 if left > 0 => {
            let quantity = rng.random_range(1..=left);
            let before = resting.filled;
            resting.filled += quantity;
            let (filled, leaves, price) = (resting.filled, left - quantity, resting.price);
            *model.positions.entry(key).or_default() += Model::signed(side, quantity);
            model.last_trade = Some((number, key, side, quantity, price, before));
            if leaves == 0 && model.orders[&number].replacement.is_none() {
                model.orders.remove(&number);
            }
            Some(whole(fill(number, quantity, price, filled, leaves)))
        }
        3 if resting.replacement.is_none() => {
            model.orders.remove(&number);
            let kinds = [ReportKind::Cancelled, ReportKind::Rejected, ReportKind::Denied];
            Some(report(kinds[rng.random_range(0..3)], number))
        }
        4 => {
            let (new, quantity, price) = resting.replacement.take()?;
            let refused = left == 0 || rng.random_bool(0.3);
            let (filled, leaves) = (resting.filled, quantity.saturating_sub(resting.filled));
            let mut resting = resting.clone();
            if refused {
                if left == 0 {
                    model.orders.remove(&number);
                }
                return Some(Report { of: Some(id(number)), ..report(ReportKind::CancelRejected, new) });
            }
            (resting.price, resting.quantity) = (price, quantity);
            model.orders.remove(&number);
            if leaves > 0 {
                model.orders.insert(new, resting);
            }
            Some(Report { of: Some(id(number)), filled, leaves, ..report(ReportKind::Replaced, new) })
        }
        5 => {
            // The last trade of an order that is over is declared void.
            let (number, key, side, quantity, price, before) = model.last_trade.take()?;
            if model.orders.contains_key(&number) {
                return None;
            }
            *model.positions.entry(key).or_default() -= Model::signed(side, quantity);
            let broken = fill(number, quantity, price, before, 0);
            let whole = Report { side: Some(side), publisher_id: key.0, instrument_id: key.1, ..broken };
            Some(Report { kind: ReportKind::Broken, ..whole })
        }
        _ => None,
    }
}

fn session(seed: u64) -> (u64, u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut engine, mut model) = (ready(&document(&[])), Model::default());
    for key in [A, B] {
        model.quotes.insert(key, (99_990_000_000, 100_010_000_000));
    }
    let (mut now_ns, mut passed) = (NOW, 0);
    for number in 1..=IN_SESSION {
        now_ns += rng.random_range(0..40) * MS;
        if rng.random_bool(0.02) {
            engine.set_state(
                [State::Active, State::Active, State::Reducing, State::Halted][rng.random_range(0..4)],
            );
        }
        for key in [A, B] {
            let bid = 100 * UNIT + rng.random_range(-30..=30i64) * 10_000_000;
            quote(&mut engine, key, bid, bid + 20_000_000, now_ns);
            model.quotes.insert(key, (bid, bid + 20_000_000));
        }
        let wanted = instruction(&mut rng, number, &model);
        let key = (wanted.publisher_id, wanted.instrument_id);
        let before = model.outcomes(key);
        let decision = engine.check(&wanted, now_ns);
        let is_cancel = matches!(wanted.action, OrderAction::Cancel { .. });
        assert!(!is_cancel || decision.is_ok(), "seed {seed}: a cancel is never denied: {decision:?}");
        if decision.is_ok() {
            passed += u64::from(!is_cancel);
            model.sent(number, &wanted);
            model.is_within(&wanted, before);
            assert!(is_cancel || engine.state() != State::Halted);
            if engine.state() == State::Reducing && !is_cancel {
                let (long, short) = model.outcomes(key);
                assert!(long <= before.0.max(0) && short >= before.1.min(0), "seed {seed}");
            }
        }
        model.agrees(&engine);
        for _ in 0..rng.random_range(0..3) {
            if let Some(report) = event(&mut rng, &mut model) {
                assert_eq!(engine.report(&report), Followed::Booked, "seed {seed}: {report:?}");
                let again = engine.report(&report);
                assert_ne!(again, Followed::Booked, "seed {seed}: told twice: {report:?}");
                model.agrees(&engine);
            }
        }
    }
    assert!(Price(model.quotes[&A].0).is_defined());
    (passed, engine.open_orders() as u64)
}

#[test]
fn no_random_instruction_passes_a_limit() {
    let wanted = std::env::var("FEEDPLANE_SEEDS").ok().and_then(|text| text.parse().ok());
    let instructions: u64 = wanted.unwrap_or(INSTRUCTIONS);
    let passed: u64 = (0..instructions.div_ceil(IN_SESSION)).map(|seed| session(seed).0).sum();
    assert!(passed * 20 > instructions, "only {passed} of {instructions} passed: nothing was shown");
}
