//! A market of limit orders: what is added, reduced, executed, replaced and removed, and in what mix.
//!
//! Invariants: every order that is named exists and has the shares that are taken; numbers are never used
//! twice; of one symbol, every bid is below every ask; only an order at the best price is executed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Price levels around a symbol's first price, one tick apart.
const LEVELS: usize = 96;
/// Deepest that an order is placed, levels from the middle.
const DEPTH_MAX: u32 = 12;
/// Orders that rest on a symbol, on average.
const ORDERS_PER_SYMBOL: usize = 40;
/// Orders on a channel at most, whatever its symbols: bounds memory.
const ORDERS_MAX: usize = 100_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Bid,
    Ask,
}

/// What happened. Prices are in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MarketEvent {
    Add { reference: u64, symbol: u16, side: Side, shares: u32, ticks: u32, attributed: bool },
    Reduce { reference: u64, symbol: u16, shares: u32 },
    Remove { reference: u64, symbol: u16 },
    Replace { reference: u64, new_reference: u64, symbol: u16, shares: u32, ticks: u32 },
    Match(Match),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Match {
    pub(super) symbol: u16,
    pub(super) shares: u32,
    pub(super) number: u64,
    pub(super) kind: MatchKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MatchKind {
    /// Of a resting order, at its price.
    Execution { reference: u64 },
    /// Of a resting order, at another price.
    ExecutionAtPrice { reference: u64, ticks: u32, printable: bool },
    /// With an order that was not displayed.
    Hidden { ticks: u32 },
    /// An earlier match is undone; it is the one that `number` names.
    Broken,
}

#[derive(Clone, Copy)]
struct Order {
    reference: u64,
    shares: u32,
    symbol: u16,
    level: u8,
    side: Side,
}

struct Symbol {
    /// Ticks of level 0.
    base_ticks: u32,
    /// Bids are below this level, asks above; no order is on it.
    middle: usize,
    orders_at: [u16; LEVELS],
}

pub(super) struct Market {
    random: ChaCha8Rng,
    symbols: Vec<Symbol>,
    orders: Vec<Order>,
    orders_wanted: usize,
    last_reference: u64,
    last_match: u64,
    /// The last execution's symbol.
    last_traded: u16,
}

impl Market {
    pub(super) fn new(symbols: u16, mut random: ChaCha8Rng) -> Market {
        let symbol = |_| Symbol {
            base_ticks: 500 + random.next_u32() % 50_000,
            middle: LEVELS / 2,
            orders_at: [0; LEVELS],
        };
        let symbols: Vec<_> = (0..symbols).map(symbol).collect();
        let orders_wanted = (symbols.len() * ORDERS_PER_SYMBOL).min(ORDERS_MAX);
        Market {
            random,
            orders: Vec::with_capacity(orders_wanted * 2),
            orders_wanted,
            symbols,
            last_reference: 0,
            last_match: 0,
            last_traded: 0,
        }
    }

    /// The price between best bid and best ask, ticks.
    fn middle_ticks(&self, symbol: u16) -> u32 {
        let symbol = &self.symbols[usize::from(symbol)];
        symbol.base_ticks + symbol.middle as u32
    }

    /// What happens next.
    pub(super) fn step(&mut self) -> MarketEvent {
        let orders = self.orders.len();
        if orders < self.orders_wanted / 2 {
            return self.add();
        }
        // Additions and replacements in the shares of a real day; removals balance additions.
        match self.random.next_u32() % 1000 {
            0..420 if orders < self.orders_wanted * 2 => self.add(),
            0..540 => self.replace(),
            540..850 => self.remove(),
            850..930 => self.execute(false),
            930..940 => self.execute(true),
            940..975 => self.reduce(),
            975..999 => self.trade_hidden(),
            _ => self.break_trade(),
        }
    }

    fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.random.next_u32()) * u64::from(end)) >> 32) as u32
    }

    fn next_reference(&mut self) -> u64 {
        self.last_reference += 1 + u64::from(self.random.next_u32() & 3);
        self.last_reference
    }

    /// Mostly near the middle; each level further is half as likely.
    fn place(&mut self, symbol: u16, side: Side) -> (u8, u32) {
        let away = (1 + self.random.next_u32().trailing_zeros()).min(DEPTH_MAX) as usize;
        let symbol = &mut self.symbols[usize::from(symbol)];
        let level = match side {
            Side::Bid => symbol.middle - away,
            Side::Ask => symbol.middle + away,
        };
        symbol.orders_at[level] += 1;
        (level as u8, symbol.base_ticks + level as u32)
    }

    fn shares(&mut self) -> u32 {
        match self.below(5) {
            0 => 1 + self.below(99),
            _ => 100 * (1 + self.below(10)),
        }
    }

    fn add(&mut self) -> MarketEvent {
        // The square makes the first symbols the busy ones.
        let unit = u64::from(self.random.next_u32());
        let symbol = ((((unit * unit) >> 32) * self.symbols.len() as u64) >> 32) as u16;
        self.let_the_middle_move(symbol);
        let side = if self.random.next_u32() & 1 == 0 { Side::Bid } else { Side::Ask };
        let (level, ticks) = self.place(symbol, side);
        let (reference, shares) = (self.next_reference(), self.shares());
        let attributed = self.below(10) == 0;
        self.orders.push(Order { reference, shares, symbol, level, side });
        MarketEvent::Add { reference, symbol, side, shares, ticks, attributed }
    }

    /// One level up or down, where no order is in the way.
    fn let_the_middle_move(&mut self, symbol: u16) {
        let up = self.random.next_u32() & 1 == 0;
        let symbol = &mut self.symbols[usize::from(symbol)];
        let next = if up { symbol.middle + 1 } else { symbol.middle - 1 };
        let deepest = DEPTH_MAX as usize;
        if symbol.orders_at[next] == 0 && (deepest..LEVELS - deepest).contains(&next) {
            symbol.middle = next;
        }
    }

    fn pick(&mut self) -> usize {
        let orders = self.orders.len() as u32;
        self.below(orders) as usize
    }

    fn take_out(&mut self, at: usize) -> Order {
        let order = self.orders.swap_remove(at);
        self.symbols[usize::from(order.symbol)].orders_at[usize::from(order.level)] -= 1;
        order
    }

    fn remove(&mut self) -> MarketEvent {
        let at = self.pick();
        let Order { reference, symbol, .. } = self.take_out(at);
        MarketEvent::Remove { reference, symbol }
    }

    fn replace(&mut self) -> MarketEvent {
        let at = self.pick();
        let Order { reference, symbol, side, .. } = self.take_out(at);
        let (level, ticks) = self.place(symbol, side);
        let (new_reference, shares) = (self.next_reference(), self.shares());
        self.orders.push(Order { reference: new_reference, shares, symbol, level, side });
        MarketEvent::Replace { reference, new_reference, symbol, shares, ticks }
    }

    fn reduce(&mut self) -> MarketEvent {
        let at = self.pick();
        let Order { reference, symbol, shares, .. } = self.orders[at];
        if shares == 1 {
            self.take_out(at);
            return MarketEvent::Remove { reference, symbol };
        }
        let shares = 1 + self.below(shares - 1);
        self.orders[at].shares -= shares;
        MarketEvent::Reduce { reference, symbol, shares }
    }

    fn is_best(&self, order: &Order) -> bool {
        let symbol = &self.symbols[usize::from(order.symbol)];
        let level = usize::from(order.level);
        let nearer = match order.side {
            Side::Bid => level + 1..symbol.middle,
            Side::Ask => symbol.middle + 1..level,
        };
        symbol.orders_at[nearer].iter().all(|&orders| orders == 0)
    }

    /// Executes an order at the best price of its side; when none is found soon, removes one instead.
    fn execute(&mut self, at_other_price: bool) -> MarketEvent {
        const TRIES: u32 = 8;
        let Some(at) = (0..TRIES).find_map(|_| {
            let at = self.pick();
            self.is_best(&self.orders[at]).then_some(at)
        }) else {
            return self.remove();
        };
        let Order { reference, symbol, shares: all, .. } = self.orders[at];
        let shares = if self.random.next_u32() & 1 == 0 { all } else { 1 + self.below(all) };
        if shares == all {
            self.take_out(at);
        } else {
            self.orders[at].shares -= shares;
        }
        let kind = if at_other_price {
            let (ticks, printable) = (self.middle_ticks(symbol), self.below(4) > 0);
            MatchKind::ExecutionAtPrice { reference, ticks, printable }
        } else {
            MatchKind::Execution { reference }
        };
        self.matched(symbol, shares, kind)
    }

    fn matched(&mut self, symbol: u16, shares: u32, kind: MatchKind) -> MarketEvent {
        self.last_match += 1;
        self.last_traded = symbol;
        MarketEvent::Match(Match { symbol, shares, number: self.last_match, kind })
    }

    /// With an order that was not displayed, at the middle.
    fn trade_hidden(&mut self) -> MarketEvent {
        let symbol = self.below(self.symbols.len() as u32) as u16;
        let (shares, ticks) = (self.shares(), self.middle_ticks(symbol));
        self.matched(symbol, shares, MatchKind::Hidden { ticks })
    }

    /// The last match is undone.
    fn break_trade(&mut self) -> MarketEvent {
        if self.last_match == 0 {
            return self.trade_hidden();
        }
        let (symbol, number) = (self.last_traded, self.last_match);
        MarketEvent::Match(Match { symbol, shares: 0, number, kind: MatchKind::Broken })
    }
}
