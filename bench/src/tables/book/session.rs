//! A made session in the manner of ITCH: many instruments, order numbers that rise over all of them, most
//! orders near the best price and soon gone, the others for long.
//!
//! The mix is that of a real minute of Nasdaq: adds, replaces (cancel and add), deletes, executions (trade,
//! fill, cancel) and partial cancels. Every order named rests there, and no order meets the other side.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tick::{Action, Flags, Side, Tick};

const SEED: u64 = 20_191_230;
const CHANNEL: u16 = 1;
/// One cent.
pub(super) const STEP: i64 = 10_000_000;

#[derive(Clone, Copy)]
struct Live {
    order_id: u64,
    size: u32,
    bid: bool,
}

/// `messages` messages as ticks, after a channel clear.
pub(super) fn ticks(messages: usize, instruments: u32) -> Vec<Tick> {
    let mut session = Session {
        random: ChaCha8Rng::seed_from_u64(SEED),
        live: vec![Vec::new(); instruments as usize],
        next_id: 1,
        sequence: 1,
        ticks: vec![Tick::channel_clear(2, CHANNEL, 1, 0)],
    };
    for _ in 0..messages {
        session.message(instruments);
    }
    session.ticks
}

struct Session {
    random: ChaCha8Rng,
    live: Vec<Vec<Live>>,
    next_id: u64,
    sequence: u64,
    ticks: Vec<Tick>,
}

impl Session {
    fn message(&mut self, instruments: u32) {
        self.sequence += 1;
        // Activity falls off from the first instrument to the last.
        let skew = self.random.random::<f64>().powi(3);
        let at = ((skew * f64::from(instruments)) as u32).min(instruments - 1);
        let base = Tick {
            sequence: self.sequence,
            ts_recv: self.sequence * 100,
            instrument_id: at + 1,
            publisher_id: 2,
            channel_id: CHANNEL,
            ..Tick::EMPTY
        };
        let live = self.live[at as usize].len();
        match self.random.random_range(0..100) {
            _ if live < 20 => self.add(base, Side::None),
            0..23 => self.replace(base),
            23..28 => self.execute(base),
            28..29 => self.reduce(base),
            // Books of a few hundred orders stay about as they are.
            29..97 if (29..63).contains(&self.random.random_range(29..97)) == (live < 300) => {
                self.add(base, Side::None);
            }
            _ => self.delete(base),
        }
    }

    /// An order of the instrument: four of five times one of the last sixteen.
    fn pick(&mut self, base: &Tick) -> (usize, Live) {
        let live = &self.live[base.instrument_id as usize - 1];
        let from = if self.random.random_range(0..5) == 0 { 0 } else { live.len().saturating_sub(16) };
        let place = self.random.random_range(from..live.len());
        (place, live[place])
    }

    fn price(&mut self, instrument_id: u32, bid: bool) -> i64 {
        let mut away = 1;
        while away < 200 && self.random.random_range(0..4) != 0 {
            away += self.random.random_range(0..3);
        }
        let middle = i64::from(1_000 + instrument_id % 400 * 100) + (self.sequence >> 18) as i64 % 2;
        STEP * if bid { middle - away } else { middle + 1 + away }
    }

    fn add(&mut self, base: Tick, replaced: Side) {
        let bid = if replaced == Side::None { self.random.random() } else { replaced == Side::Bid };
        let live = Live { order_id: self.next_id, size: self.random.random_range(1..10) * 100, bid };
        self.next_id += self.random.random_range(1..8);
        let price = self.price(base.instrument_id, bid);
        // A replace does not say its side.
        let side = if replaced != Side::None {
            Side::None
        } else if bid {
            Side::Bid
        } else {
            Side::Ask
        };
        self.ticks.push(Tick {
            order_id: live.order_id,
            price,
            size: live.size,
            action: Action::Add,
            side,
            flags: Flags::LAST,
            ..base
        });
        self.live[base.instrument_id as usize - 1].push(live);
    }

    fn remove(&mut self, base: Tick, flags: Flags) -> Side {
        let (place, live) = self.pick(&base);
        self.live[base.instrument_id as usize - 1].remove(place);
        let (order_id, size) = (live.order_id, Tick::SIZE_UNDEFINED);
        self.ticks.push(Tick { order_id, size, action: Action::Cancel, flags, ..base });
        if live.bid { Side::Bid } else { Side::Ask }
    }

    fn delete(&mut self, base: Tick) {
        self.remove(base, Flags::LAST);
    }

    fn replace(&mut self, base: Tick) {
        let side = self.remove(base, Flags::NONE);
        self.add(base, side);
    }

    fn execute(&mut self, base: Tick) {
        let (place, live) = self.pick(&base);
        let size = if self.random.random() { live.size } else { 1.max(live.size / 2) };
        self.ticks.push(Tick { size, action: Action::Trade, ..base });
        self.ticks.push(Tick { order_id: live.order_id, size, action: Action::Fill, ..base });
        self.take(base, place, live, size);
    }

    fn reduce(&mut self, base: Tick) {
        let (place, live) = self.pick(&base);
        self.take(base, place, live, 1.max(live.size / 2));
    }

    /// Takes shares off an order.
    fn take(&mut self, base: Tick, place: usize, live: Live, size: u32) {
        let (order_id, flags) = (live.order_id, Flags::LAST);
        self.ticks.push(Tick { order_id, size, action: Action::Cancel, flags, ..base });
        let orders = &mut self.live[base.instrument_id as usize - 1];
        if size == live.size {
            orders.remove(place);
        } else {
            orders[place].size -= size;
        }
    }
}
