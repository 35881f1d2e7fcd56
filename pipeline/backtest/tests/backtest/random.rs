//! Random sessions. Calm ones, in which nothing crosses, against a plain queue in which our orders stand between the recorded ones;
//! wild ones against what must hold of every trade.
//!
//! `FEEDPLANE_SEEDS` says how many of each.

use crate::field::Field;
use backtest::document::QueueModel;
use backtest::market::Liquidity;
use bus::{OrderSide, ReportKind, TimeInForce};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, HashMap};
use tick::{Action, Flags, Side, Tick};

fn seeds() -> u64 {
    // A session takes about half a millisecond: a soak's number is of smaller ones.
    let wanted = std::env::var("FEEDPLANE_SEEDS").ok().and_then(|text| text.parse::<u64>().ok());
    wanted.map_or(150, |wanted| wanted.min(200_000))
}

const STEPS: usize = 300;

/// An order in the plain queue.
#[derive(Clone, Debug)]
struct Plain {
    side: Side,
    price: i64,
    /// When it took its place.
    place: usize,
    size: u64,
}

/// Who is before whom, with all orders in one list.
fn before(a: &Plain, b: &Plain) -> bool {
    let better = if a.side == Side::Bid { a.price > b.price } else { a.price < b.price };
    a.side == b.side && (better || (a.price == b.price && a.place < b.place))
}

#[derive(Default)]
struct PlainQueue {
    recorded: BTreeMap<u64, Plain>,
    own: BTreeMap<String, Plain>,
    fills: HashMap<String, u64>,
}

impl PlainQueue {
    /// A recorded order trades: ours that are before it have it first.
    fn filled(&mut self, order_id: u64, size: u64) {
        let hit = self.recorded[&order_id].clone();
        let mut first: Vec<String> =
            self.own.iter().filter(|(_, own)| before(own, &hit)).map(|(name, _)| name.clone()).collect();
        first.sort_by(|a, b| {
            let (a, b) = (&self.own[a], &self.own[b]);
            if before(a, b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
        });
        let mut left = size;
        for name in first {
            let own = self.own.get_mut(&name).unwrap();
            let part = left.min(own.size);
            (own.size, left) = (own.size - part, left - part);
            *self.fills.entry(name.clone()).or_default() += part;
            if own.size == 0 {
                self.own.remove(&name);
            }
        }
    }
}

#[test]
fn calm_sessions_fill_as_a_plain_queue_of_all_orders_does() {
    for seed in 0..seeds() {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut field = Field::new(QueueModel::ByOrder);
        let mut plain = PlainQueue::default();
        let mut next_id = 1;
        for step in 0..STEPS {
            let side = if dice.random_bool(0.5) { Side::Bid } else { Side::Ask };
            let price =
                if side == Side::Bid { dice.random_range(95..=100) } else { dice.random_range(101..=106) };
            let size = dice.random_range(1..=9u32);
            let some = plain.recorded.keys().nth(dice.random_range(0..plain.recorded.len().max(1))).copied();
            match (dice.random_range(0..10), some) {
                (0..=3, _) | (_, None) => {
                    field.add(next_id, side, price, size);
                    plain.recorded.insert(next_id, Plain { side, price, place: step, size: u64::from(size) });
                    next_id += 1;
                }
                (4, Some(id)) => {
                    let order = plain.recorded.get_mut(&id).unwrap();
                    let price = if dice.random_bool(0.5) { order.price } else { price };
                    let price = if (order.side == Side::Bid) == (price <= 100) { price } else { order.price };
                    if price != order.price || u64::from(size) > order.size {
                        order.place = step;
                    }
                    (order.price, order.size) = (price, u64::from(size));
                    field.modify(id, order.side, price, size);
                }
                (5, Some(id)) => {
                    let order = plain.recorded.remove(&id).unwrap();
                    field.cancel(id, order.side, order.price, order.size as u32);
                }
                (6 | 7, Some(id)) => {
                    // Trades hit the front of the recorded queue, now and then another place.
                    let front = plain.recorded.iter().min_by(|a, b| {
                        if before(a.1, b.1) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
                    });
                    let id = if dice.random_bool(0.7) { *front.unwrap().0 } else { id };
                    let part = u64::from(size).min(plain.recorded[&id].size);
                    plain.filled(id, part);
                    let order = plain.recorded.get_mut(&id).unwrap();
                    field.filled(id, order.side, order.price, part as u32);
                    order.size -= part;
                    if order.size == 0 {
                        plain.recorded.remove(&id);
                    }
                }
                (8, _) => {
                    let name = format!("o{step}");
                    let buys = if side == Side::Bid { OrderSide::Buy } else { OrderSide::Sell };
                    field.new_order(&name, buys, u64::from(size), price);
                    plain.own.insert(name, Plain { side, price, place: step, size: u64::from(size) });
                }
                _ => {
                    if let Some(name) = plain.own.keys().next().cloned() {
                        field.cancel_order(&format!("c{step}"), &name);
                        plain.own.remove(&name);
                    }
                }
            }
        }
        let mut fills: HashMap<String, u64> = HashMap::new();
        for told in field.told.iter().filter(|told| told.report.kind == ReportKind::Filled) {
            *fills.entry(told.report.id.unwrap().to_string()).or_default() += told.report.last_quantity;
            assert_eq!(told.liquidity, Some(Liquidity::Maker));
        }
        plain.fills.retain(|_, filled| *filled > 0);
        assert_eq!(fills, plain.fills, "seed {seed}");
    }
}

/// What was asked for of an order.
struct Asked {
    side: OrderSide,
    limit: Option<i64>,
    quantity: u64,
    filled: u64,
}

/// What the record displays and what a tick traded, kept plainly.
#[derive(Default)]
struct Displayed {
    orders: BTreeMap<u64, (Side, i64, u64)>,
    /// Of the last tick: side that rested, price, size.
    traded: Option<(Side, i64, u64)>,
}

impl Displayed {
    fn at(&self, side: Side, accepts: impl Fn(i64) -> bool) -> u64 {
        self.orders.values().filter(|order| order.0 == side && accepts(order.1)).map(|order| order.2).sum()
    }
}

#[test]
fn in_wild_sessions_every_trade_is_within_its_order_and_within_the_record() {
    let mut trades = 0;
    for seed in 0..seeds() {
        for model in [QueueModel::ByOrder, QueueModel::BehindAll, QueueModel::Proportional] {
            trades += wild(seed, model);
        }
    }
    assert!(trades > 10 * seeds(), "{trades} trades");
}

/// How many trades there were.
fn wild(seed: u64, model: QueueModel) -> u64 {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut field = Field::new(model);
    let mut shown = Displayed::default();
    let mut asked: HashMap<String, Asked> = HashMap::new();
    let mut told = 0;
    for step in 0..STEPS as u64 {
        shown.traded = None;
        let side = if dice.random_bool(0.5) { Side::Bid } else { Side::Ask };
        // Recorded orders cross now and then, ours as often as they like.
        let price: i64 =
            if side == Side::Bid { dice.random_range(94..=100) } else { dice.random_range(100..=106) };
        let wanted: i64 = dice.random_range(94..=106);
        let size = dice.random_range(1..=9u32);
        let some = shown.orders.keys().nth(dice.random_range(0..shown.orders.len().max(1))).copied();
        match (dice.random_range(0..12), some) {
            (0..=4, _) => {
                shown.orders.insert(step, (side, price, u64::from(size)));
                field.add(step, side, price, size);
            }
            (5 | 6, Some(id)) => {
                let (side, price, _) = shown.orders.remove(&id).unwrap();
                field.cancel(id, side, price, Tick::SIZE_UNDEFINED);
            }
            (7 | 8, Some(id)) => {
                let (side, price, left) = shown.orders[&id];
                let part = u64::from(size).min(left);
                shown.traded = Some((side, price, part));
                let fill = Tick {
                    order_id: id,
                    flags: Flags::NONE,
                    ..crate::field::tick(Action::Fill, side, price, part as u32)
                };
                field.tick(fill);
                check(&field, &mut told, &mut asked, &shown);
                shown.traded = None;
                shown.orders.get_mut(&id).unwrap().2 -= part;
                shown.orders.retain(|_, order| order.2 > 0);
                field.cancel(id, side, price, part as u32);
            }
            (9 | 10, _) => {
                let name = format!("o{step}");
                let side = if side == Side::Bid { OrderSide::Buy } else { OrderSide::Sell };
                let tif =
                    if dice.random_bool(0.3) { TimeInForce::ImmediateOrCancel } else { TimeInForce::Day };
                let limit = dice.random_bool(0.9).then_some(wanted);
                asked.insert(name.clone(), Asked { side, limit, quantity: u64::from(size), filled: 0 });
                field.send(&name, side, u64::from(size), limit, tif);
            }
            (_, _) => {
                let name = asked.keys().min().cloned();
                if let Some(of) = name {
                    let replacement = format!("r{step}");
                    let before = asked.remove(&of).unwrap();
                    let now = Asked { limit: Some(wanted), quantity: u64::from(size), ..before };
                    asked.insert(replacement.clone(), now);
                    field.replace(&replacement, &of, u64::from(size), wanted);
                }
            }
        }
        check(&field, &mut told, &mut asked, &shown);
    }
    field.told.iter().filter(|told| told.report.kind == ReportKind::Filled).count() as u64
}

/// Looks at all trades since the last look, which all are of one moment.
fn check(field: &Field, from: &mut usize, asked: &mut HashMap<String, Asked>, shown: &Displayed) {
    let mut maker = [0, 0];
    let mut taken: BTreeMap<(bool, i64), u64> = BTreeMap::new();
    for told in &field.told[*from..] {
        let report = &told.report;
        if report.kind != ReportKind::Filled {
            continue;
        }
        let order = asked.get_mut(report.id.unwrap().as_str()).unwrap();
        order.filled += report.last_quantity;
        assert!(report.last_quantity > 0);
        assert_eq!(order.filled, report.filled);
        assert_eq!(report.filled + report.leaves, order.quantity, "never beyond its quantity");
        let (price, buys) = (report.last_price.unwrap().0, order.side == OrderSide::Buy);
        match told.liquidity.unwrap() {
            Liquidity::Maker => {
                assert_eq!(Some(price), order.limit, "a resting order trades at its limit");
                maker[usize::from(buys)] += report.last_quantity;
                let other = if buys { Side::Ask } else { Side::Bid };
                let crosses = |at: i64| if buys { at <= price } else { at >= price };
                let traded =
                    shown.traded.filter(|traded| traded.0 != other && crosses(traded.1)).map_or(0, |t| t.2);
                assert!(
                    maker[usize::from(buys)] <= traded + shown.at(other, crosses),
                    "more than the record had"
                );
            }
            Liquidity::Taker => {
                let within =
                    order.limit.is_none_or(|limit| if buys { price <= limit } else { price >= limit });
                assert!(within, "never beyond its limit");
                *taken.entry((buys, price)).or_default() += report.last_quantity;
            }
        }
    }
    for ((buys, price), quantity) in taken {
        let side = if buys { Side::Ask } else { Side::Bid };
        assert!(quantity <= shown.at(side, |at| at == price), "more than was displayed");
    }
    *from = field.told.len();
}
