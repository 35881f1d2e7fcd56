//! A made-up day of one instrument by order: orders come and go around a price that wanders, trades hit the front of the queues, and
//! nothing crosses.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tick::{Action, Flags, Side, StatusAction, Tick};

/// Cents in 1e-9.
pub(crate) const CENT: i64 = 10_000_000;
/// 2024-01-02 14:30:00 UTC.
pub(crate) const BEGIN_NS: u64 = 1_704_205_800_000_000_000;
pub(crate) const INSTRUMENT: u32 = 42;
pub(crate) const CHANNEL: u16 = 7;

/// A resting order.
#[derive(Clone, Copy)]
struct Resting {
    id: u64,
    side: Side,
    cents: i64,
    size: u32,
}

struct Maker {
    ticks: Vec<Tick>,
    orders: Vec<Resting>,
    now_ns: u64,
    next_id: u64,
    instrument_id: u32,
}

impl Maker {
    fn push(&mut self, tick: Tick) {
        let sequence = self.ticks.len() as u64 + 1;
        let instrument_id = self.instrument_id;
        self.ticks.push(Tick {
            ts_recv: self.now_ns,
            ts_event: self.now_ns - 500,
            sequence,
            instrument_id,
            publisher_id: 1,
            channel_id: CHANNEL,
            ..tick
        });
    }

    fn order(&mut self, action: Action, order: Resting, flags: Flags) {
        let Resting { id, side, cents, size } = order;
        self.push(Tick { order_id: id, side, price: cents * CENT, size, action, flags, ..Tick::EMPTY });
    }

    fn add(&mut self, side: Side, cents: i64, size: u32) {
        let order = Resting { id: self.next_id, side, cents, size };
        self.next_id += 1;
        self.orders.push(order);
        self.order(Action::Add, order, Flags::LAST);
    }

    fn best(&self, side: Side) -> Option<i64> {
        let prices = self.orders.iter().filter(|order| order.side == side).map(|order| order.cents);
        if side == Side::Bid { prices.max() } else { prices.min() }
    }

    fn take(&mut self, at: usize, size: u32, action: Option<Action>) {
        let order = self.orders[at];
        let part = Resting { size: size.min(order.size), ..order };
        if action == Some(Action::Fill) {
            let aggressor = if order.side == Side::Bid { Side::Ask } else { Side::Bid };
            let Resting { cents, size, .. } = part;
            let trade =
                Tick { side: aggressor, price: cents * CENT, size, action: Action::Trade, ..Tick::EMPTY };
            self.push(trade);
            self.order(Action::Fill, part, Flags::NONE);
        }
        self.order(Action::Cancel, part, Flags::LAST);
        self.orders[at].size -= part.size;
        self.orders.retain(|order| order.size > 0);
    }
}

/// The ticks of a day of `events` events, some 10 ms apart.
pub(crate) fn session(seed: u64, events: usize) -> Vec<Tick> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut maker = Maker {
        ticks: Vec::new(),
        orders: Vec::new(),
        now_ns: BEGIN_NS,
        next_id: 1,
        instrument_id: INSTRUMENT,
    };
    let size = u32::from(StatusAction::Trading.0);
    maker.push(Tick { size, action: Action::Status, ..Tick::EMPTY });
    let mut middle = 10_000;
    for _ in 0..events {
        maker.now_ns += dice.random_range(1_000..20_000_000);
        if dice.random_bool(0.02) {
            middle += dice.random_range(-2..=2);
        }
        let side = if dice.random_bool(0.5) { Side::Bid } else { Side::Ask };
        let (bid, ask) = (maker.best(Side::Bid), maker.best(Side::Ask));
        let away = dice.random_range(1..=5);
        let size = dice.random_range(1..=20);
        let of_side: Vec<usize> =
            (0..maker.orders.len()).filter(|at| maker.orders[*at].side == side).collect();
        match dice.random_range(0..10) {
            0..=4 => {
                let cents = if side == Side::Bid {
                    (middle - away).min(ask.map_or(i64::MAX, |ask| ask - 1))
                } else {
                    (middle + away).max(bid.map_or(i64::MIN, |bid| bid + 1))
                };
                maker.add(side, cents, size);
            }
            5..=7 if of_side.len() > 3 => {
                maker.take(of_side[dice.random_range(0..of_side.len())], size, None);
            }
            _ if of_side.len() > 3 => {
                let best = if side == Side::Bid { bid } else { ask };
                let front = of_side.iter().find(|at| Some(maker.orders[**at].cents) == best);
                maker.take(*front.unwrap(), size, Some(Action::Fill));
            }
            _ => {}
        }
    }
    maker.ticks
}
