//! Random sessions: mostly sensible, in parts wrong, on prices so close that everything meets.

use crate::plain::Plain;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tick::{Action, DEPTH_NO_LEVEL, Flags, GapReason, Side, Source, Tick};

/// How an instrument of the session is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Sent {
    Order,
    Number,
    Price,
    /// By order and by number.
    Both,
}

pub struct Session {
    random: ChaCha8Rng,
    sent: Vec<Sent>,
    sequence: u64,
    next_id: u64,
    /// One of so many ticks is wrong; 0 is none.
    wrong_of: u32,
    /// Ticks of one message that wait for their turn.
    queued: Vec<Tick>,
    snapshot_left: u32,
    flagged: bool,
    prices: i64,
}

impl Session {
    pub fn new(seed: u64) -> Session {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let kinds = [Sent::Order, Sent::Number, Sent::Price, Sent::Both];
        let sent = (0..random.random_range(1..5)).map(|_| kinds[random.random_range(0..4)]).collect();
        let sequence = random.random_range(0..3);
        let wrong_of = [0, 0, 20, 100][random.random_range(0..4)];
        let prices = [4, 15, 300][random.random_range(0..3)];
        let (queued, next_id) = (Vec::new(), random.random_range(0..1 << 40));
        Session {
            random,
            sent,
            sequence,
            next_id,
            wrong_of,
            queued,
            snapshot_left: 0,
            flagged: false,
            prices,
        }
    }

    fn one_of(&mut self, of: u32) -> bool {
        of != 0 && self.random.random_range(0..of) == 0
    }

    pub fn next(&mut self, plain: &Plain) -> Tick {
        if let Some(tick) = self.queued.pop() {
            return tick;
        }
        self.sequence += u64::from(self.random.random_range(0..3u32) == 0);
        if self.one_of(200) {
            return self.channel_wide();
        }
        let mut tick = self.sensible(plain);
        if self.one_of(3) {
            tick.flags |= Flags::LAST;
        }
        if self.snapshot_left > 0 {
            self.snapshot_left -= 1;
            tick.flags |= Flags::SNAPSHOT;
        }
        if self.flagged {
            tick.flags |= Flags::MAYBE_BAD_BOOK;
        }
        if self.one_of(self.wrong_of) {
            self.spoil(&mut tick);
        }
        tick
    }

    fn channel_wide(&mut self) -> Tick {
        let channel = u16::from(self.one_of(4));
        let (sequence, random) = (self.sequence, self.random.next_u64());
        let publisher = u16::from(random & 1 == 0);
        match random % 5 {
            0 => Tick::gap(publisher, channel, sequence, sequence, 0, GapReason::Lost),
            1 => {
                self.flagged = !self.flagged;
                Tick { channel_id: channel, instrument_id: 0, action: Action::Status, ..Tick::EMPTY }
            }
            2 => Tick {
                channel_id: channel,
                instrument_id: 1,
                sequence,
                action: Action::None,
                flags: Flags::LAST,
                ..Tick::EMPTY
            },
            _ => Tick::channel_clear(publisher, channel, sequence, 0),
        }
    }

    fn sensible(&mut self, plain: &Plain) -> Tick {
        let at = self.random.random_range(0..self.sent.len());
        let base = Tick {
            sequence: self.sequence,
            instrument_id: 1 + at as u32,
            publisher_id: 1,
            side: if self.random.random() { Side::Bid } else { Side::Ask },
            size: self.random.random_range(1..9),
            ..Tick::EMPTY
        };
        let by_price = match self.sent[at] {
            Sent::Order => false,
            Sent::Number | Sent::Price => true,
            Sent::Both => self.one_of(2),
        };
        if self.one_of(120) {
            return self.clear(base, by_price);
        }
        if self.one_of(12) {
            return self.trade(base, plain);
        }
        match (by_price, self.sent[at]) {
            (false, _) => self.order(base, plain),
            (true, Sent::Price) => self.price(base),
            (true, _) => self.number(base, plain),
        }
    }

    fn clear(&mut self, base: Tick, by_price: bool) -> Tick {
        let mut tick = Tick { action: Action::Clear, side: Side::None, size: 0, ..base };
        if by_price {
            (tick.flags, tick.depth) = (Flags::MBP, DEPTH_NO_LEVEL);
        }
        if self.one_of(2) {
            tick.flags |= Flags::SNAPSHOT;
            self.snapshot_left = self.random.random_range(0..20);
        }
        tick
    }

    fn any_price(&mut self, side: Side) -> i64 {
        let away = self.random.random_range(0..self.prices) - 1;
        if side == Side::Bid { 1000 - away } else { 1000 + away }
    }

    /// An order of the instrument, or an id that none has.
    fn some_order(&mut self, base: &Tick, plain: &Plain) -> (u64, i64, u32, Side) {
        let key = (base.publisher_id, base.instrument_id);
        let orders = plain.books.iter().find(|book| book.key == key).map_or(&[][..], |book| &book.orders);
        if orders.is_empty() || self.one_of(2000) {
            return (self.random.random_range(0..1000), self.any_price(base.side), base.size, base.side);
        }
        let order = &orders[self.random.random_range(0..orders.len())];
        (order.id, order.price, order.size, if order.bid { Side::Bid } else { Side::Ask })
    }

    fn order(&mut self, base: Tick, plain: &Plain) -> Tick {
        let (order_id, price, left, side) = self.some_order(&base, plain);
        let held = plain.books.iter().find(|book| book.key.1 == base.instrument_id);
        let held = held.map_or(0, |book| book.orders.len());
        if held < 3 || self.one_of(if held < 40 { 2 } else { 6 }) {
            self.next_id += self.random.random_range(1..5);
            let price = self.any_price(base.side);
            return Tick { order_id: self.next_id, price, action: Action::Add, ..base };
        }
        match self.random.random_range(0..8) {
            0 => Tick { order_id, price: self.any_price(side), side, action: Action::Modify, ..base },
            1 | 2 => Tick { order_id, price, side, action: Action::Modify, ..base },
            3 => {
                let size = self.random.random_range(1..=left);
                Tick { order_id, size, price, side, action: Action::Cancel, ..base }
            }
            4 => {
                self.next_id += 1;
                let price = self.any_price(side);
                let (order_new, side_none) = (self.next_id, Side::None);
                self.queued.push(Tick {
                    order_id: order_new,
                    price,
                    side: side_none,
                    action: Action::Add,
                    ..base
                });
                Tick { order_id, size: u32::MAX, side: side_none, action: Action::Cancel, ..base }
            }
            5 => Tick { order_id, size: u32::MAX, side: Side::None, action: Action::Cancel, ..base },
            6 => Tick { order_id, size: left, side, price, action: Action::Cancel, ..base },
            _ => self.executed(base, order_id, left),
        }
    }

    /// Trade without a price, fill, cancel.
    fn executed(&mut self, base: Tick, order_id: u64, left: u32) -> Tick {
        let size = self.random.random_range(1..=left);
        let base = Tick { size, side: Side::None, ..base };
        self.queued.push(Tick { order_id, action: Action::Cancel, flags: Flags::LAST, ..base });
        self.queued.push(Tick { order_id, action: Action::Fill, ..base });
        Tick { action: Action::Trade, ..base }
    }

    fn trade(&mut self, base: Tick, plain: &Plain) -> Tick {
        let (order_id, price, ..) = self.some_order(&base, plain);
        let side = if self.one_of(4) { Side::None } else { base.side };
        match self.random.random_range(0..3) {
            0 => Tick { order_id, price, side, action: Action::Fill, ..base },
            1 => Tick { order_id, price, side, action: Action::Trade, depth: DEPTH_NO_LEVEL, ..base },
            _ => Tick { action: Action::Trade, side, ..base },
        }
    }

    fn price(&mut self, base: Tick) -> Tick {
        let (price, flags) = (self.any_price(base.side), Flags::MBP);
        let base = Tick { price, flags, depth: DEPTH_NO_LEVEL, ..base };
        match self.random.random_range(0..4) {
            0 => Tick { action: Action::Cancel, ..base },
            1 => Tick { action: Action::Modify, size: 0, ..base },
            2 => Tick { action: Action::Modify, ..base },
            _ => Tick { action: Action::Add, ..base },
        }
    }

    /// A level by number whose price lies between its neighbours', when there is one between.
    fn number(&mut self, base: Tick, plain: &Plain) -> Tick {
        let book = plain.books.iter().find(|book| book.key.1 == base.instrument_id);
        let levels = book.map_or(&[][..], |book| &book.levels[usize::from(base.side == Side::Ask)]);
        let (len, sign) = (levels.len(), if base.side == Side::Bid { 1 } else { -1 });
        let add = len == 0 || self.one_of(2);
        let number = self.random.random_range(0..len + usize::from(add));
        let above = number.checked_sub(1).map(|above| levels[above].0 * sign);
        let below = levels.get(number + usize::from(!add)).map(|level| level.0 * sign);
        let price = match (above, below) {
            (None, None) => 1000 * sign,
            (Some(above), None) => above - self.random.random_range(1..4),
            (None, Some(below)) => below + self.random.random_range(1..4),
            (Some(above), Some(below)) => below + (above - below) / 2,
        };
        let depth = (number + 1).min(254) as u8;
        let base = Tick { price: price * sign, depth, flags: Flags::MBP, ..base };
        let implied = if self.one_of(30) { Flags::PUBLISHER_SPECIFIC } else { Flags::NONE };
        let base = Tick { flags: base.flags | implied, ..base };
        match self.random.random_range(0..2) {
            _ if add => Tick { action: Action::Add, ..base },
            0 => Tick { action: Action::Modify, ..base },
            _ => Tick {
                action: Action::Cancel,
                size: if self.one_of(2) { u32::MAX } else { base.size },
                ..base
            },
        }
    }

    fn spoil(&mut self, tick: &mut Tick) {
        // Levels by number and by price do not mix in one book: where the numbers have left two levels at one
        // price, nothing says which of them a tick by price means.
        let by_order = tick.depth == 0;
        match self.random.random_range(0..12) {
            0 => tick.side = Side(self.random.random()),
            1 => tick.size = [0, 1, 1000, u32::MAX][self.random.random_range(0..4)],
            2 => tick.price = i64::MAX,
            3 => tick.order_id = self.random.random_range(0..1000),
            4 if tick.depth != DEPTH_NO_LEVEL => {
                tick.depth = self.random.random_range(u8::from(!by_order)..30);
            }
            5 if tick.action != Action::Trade => {
                tick.action = [Action::Add, Action::Modify, Action::Cancel, Action::Fill]
                    [self.random.random_range(0..4)];
            }
            6 => tick.flags |= Flags::SNAPSHOT | Flags::BAD_TS_RECV,
            7 => tick.source = Source::Snapshot,
            8 => tick.channel_id = 1,
            9 if by_order => tick.instrument_id = self.random.random_range(0..6),
            10 if by_order => tick.publisher_id = 2,
            _ => tick.flags |= Flags::TOB,
        }
    }
}
