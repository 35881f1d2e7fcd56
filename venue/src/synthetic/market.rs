//! A market of limit orders: what is added, reduced, executed, replaced and removed, and in what mix.
//!
//! Invariants: every order that is named exists and has the shares that are taken; numbers are never used
//! twice; of one symbol, every bid is below every ask; only an order at the best price is executed. What each
//! step did to the price levels is kept in [`Market::changes`], for protocols that speak by price.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Price levels around a symbol's first price, one tick apart.
const LEVELS: usize = 128;
/// Deepest that an order is placed, levels from the middle.
const DEPTH_MAX: u32 = 24;
/// Price levels that a book by price shows. Orders beyond are only in a book by order.
pub(super) const BOOK_DEPTH: u8 = 10;
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
    shares_at: [u32; LEVELS],
}

/// What happened to an order, or to a price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    New,
    Changed,
    Gone,
}

/// What one order's change did to its price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LevelChange {
    pub(super) symbol: u16,
    pub(super) side: Side,
    /// The level's place, 1 = best.
    pub(super) depth: u8,
    pub(super) level: Change,
    /// What is left at the level.
    pub(super) state: LevelState,
    pub(super) order: Change,
    pub(super) reference: u64,
    /// What is left of the order; of one that is gone what it had, as CME sends it.
    pub(super) order_shares: u32,
    /// The level that became the last of the visible ones because this one is gone.
    pub(super) uncovered: Option<LevelState>,
}

/// A price level as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LevelState {
    pub(super) ticks: u32,
    pub(super) shares: u32,
    pub(super) orders: u16,
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
    changes: [Option<LevelChange>; 2],
}

impl Market {
    pub(super) fn new(symbols: u16, mut random: ChaCha8Rng) -> Market {
        let symbol = |_| Symbol {
            base_ticks: 500 + random.next_u32() % 50_000,
            middle: LEVELS / 2,
            orders_at: [0; LEVELS],
            shares_at: [0; LEVELS],
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
            changes: [None; 2],
        }
    }

    /// What the last step did to price levels: nothing, one change, or with a replacement two.
    pub(super) fn changes(&self) -> [Option<LevelChange>; 2] {
        self.changes
    }

    /// The price between best bid and best ask, ticks.
    fn middle_ticks(&self, symbol: u16) -> u32 {
        let symbol = &self.symbols[usize::from(symbol)];
        symbol.base_ticks + symbol.middle as u32
    }

    /// What happens next.
    pub(super) fn step(&mut self) -> MarketEvent {
        self.changes = [None; 2];
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

    /// Puts a new order on the book: mostly near the middle, one in four anywhere down to the deepest level.
    fn place(&mut self, reference: u64, symbol: u16, side: Side, shares: u32) -> u32 {
        let near = 1 + self.random.next_u32().trailing_zeros().min(DEPTH_MAX - 1);
        let away = if self.below(4) == 0 { 1 + self.below(DEPTH_MAX) } else { near } as usize;
        let of = &self.symbols[usize::from(symbol)];
        let level = match side {
            Side::Bid => of.middle - away,
            Side::Ask => of.middle + away,
        };
        let order = Order { reference, shares, symbol, level: level as u8, side };
        self.orders.push(order);
        self.change_level(&order, Change::New, shares);
        self.symbols[usize::from(symbol)].base_ticks + level as u32
    }

    /// Enters an order's change at its level: `shares` came (a new order) or went.
    fn change_level(&mut self, order: &Order, change: Change, shares: u32) {
        let symbol = &mut self.symbols[usize::from(order.symbol)];
        let at = usize::from(order.level);
        let before = symbol.orders_at[at];
        match change {
            Change::New => {
                symbol.orders_at[at] += 1;
                symbol.shares_at[at] += shares;
            }
            Change::Changed => symbol.shares_at[at] -= shares,
            Change::Gone => {
                symbol.orders_at[at] -= 1;
                symbol.shares_at[at] -= shares;
            }
        }
        let orders = symbol.orders_at[at];
        let level = match (before, orders) {
            (0, _) => Change::New,
            (_, 0) => Change::Gone,
            _ => Change::Changed,
        };
        let depth = 1 + symbol.orders_at[symbol.nearer(order)].iter().filter(|&&orders| orders > 0).count();
        let uncovers = level == Change::Gone && depth <= usize::from(BOOK_DEPTH);
        let entered = LevelChange {
            symbol: order.symbol,
            side: order.side,
            depth: depth as u8,
            level,
            state: symbol.state(at),
            order: change,
            reference: order.reference,
            order_shares: order.shares,
            uncovered: if uncovers { symbol.last_visible(order.side) } else { None },
        };
        let free = if self.changes[0].is_none() { 0 } else { 1 };
        self.changes[free] = Some(entered);
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
        let (reference, shares) = (self.next_reference(), self.shares());
        let ticks = self.place(reference, symbol, side, shares);
        let attributed = self.below(10) == 0;
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
        self.change_level(&order, Change::Gone, order.shares);
        order
    }

    fn take_shares(&mut self, at: usize, shares: u32) {
        self.orders[at].shares -= shares;
        let order = self.orders[at];
        self.change_level(&order, Change::Changed, shares);
    }

    fn remove(&mut self) -> MarketEvent {
        let at = self.pick();
        let Order { reference, symbol, .. } = self.take_out(at);
        MarketEvent::Remove { reference, symbol }
    }

    fn replace(&mut self) -> MarketEvent {
        let at = self.pick();
        let Order { reference, symbol, side, .. } = self.take_out(at);
        let (new_reference, shares) = (self.next_reference(), self.shares());
        let ticks = self.place(new_reference, symbol, side, shares);
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
        self.take_shares(at, shares);
        MarketEvent::Reduce { reference, symbol, shares }
    }

    fn is_best(&self, order: &Order) -> bool {
        let symbol = &self.symbols[usize::from(order.symbol)];
        symbol.orders_at[symbol.nearer(order)].iter().all(|&orders| orders == 0)
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
            self.take_shares(at, shares);
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

impl Symbol {
    fn state(&self, level: usize) -> LevelState {
        LevelState {
            ticks: self.base_ticks + level as u32,
            shares: self.shares_at[level],
            orders: self.orders_at[level],
        }
    }

    /// The last level of the book by price, if there are that many.
    fn last_visible(&self, side: Side) -> Option<LevelState> {
        let full = |level: &usize| self.orders_at[*level] > 0;
        let last = usize::from(BOOK_DEPTH) - 1;
        let level = match side {
            Side::Bid => (0..self.middle).rev().filter(full).nth(last),
            Side::Ask => (self.middle + 1..LEVELS).filter(full).nth(last),
        };
        level.map(|level| self.state(level))
    }

    /// The levels between an order and the middle.
    fn nearer(&self, order: &Order) -> std::ops::Range<usize> {
        let level = usize::from(order.level);
        match order.side {
            Side::Bid => level + 1..self.middle,
            Side::Ask => self.middle + 1..level,
        }
    }
}
