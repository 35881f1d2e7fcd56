//! Background order flow: the rest of the market, made up from a seed.
//!
//! The model of R. Cont, S. Stoikov and R. Talreja, "A stochastic model for order book dynamics", Operations
//! Research 58 (2010): limit orders arrive at a distance of `i` ticks from the best price of the other side at
//! the rate λ(i) = k / i^α, market orders at the rate μ, and each resting order is cancelled at the rate θ(i).
//! Beyond the paper:
//!
//! - **Clusters.** The clock of a symbol runs at a random speed with mean 1: it jumps up with every arrival and
//!   decays exponentially, which makes arrivals a Hawkes process (A. G. Hawkes, Biometrika 58, 1971), drawn by
//!   thinning (Y. Ogata, IEEE Trans. Inf. Theory 27, 1981). By its own clock the book is the paper's, so bursts
//!   do not change its depth.
//! - **A reference price** that moves slowly: a mean-reverting random walk. When the middle of the book is below
//!   it, more buyers come than sellers, and the other way round.
//! - Some cancels are replacements or take off only a part.
//!
//! Each symbol has a stream of random numbers of its own: what happens in one changes nothing in another.
//! Invariant: `orders` holds every background order that rests, and possibly some that are gone; those are
//! found when they are drawn, which is a draw without an event, so that the rates stay exact.

use super::engine::Engine;
use super::order::{
    Listener, NewOrder, Order, OrderKind, Owner, Price, Replacement, Side, SymbolId, TradingState,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Most ticks from the other side's best price at which limit orders arrive.
const LEVELS_MAX: u16 = 512;
/// Random number streams of symbols begin here; those below belong to lines and made-up sessions.
const FIRST_STREAM: u64 = 1 << 32;
/// Orders that are gone are looked for when there are this many more than after the last search.
const SWEEP_AFTER: usize = 1024;

/// What the background does, for a symbol of activity 1. The defaults are the paper's estimates for a stock of
/// the Tokyo exchange (its table 2), the power law of cancels fitted to it.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowSpec {
    /// Multiplies all rates.
    pub speed: f64,
    /// Limit orders arrive up to so many ticks from the other side's best price, 1 to 512.
    pub levels: u16,
    /// k: limit orders of one side at a distance of 1 tick, 1/s.
    pub limit_per_s: f64,
    /// α: how fast that declines with the distance.
    pub limit_exponent: f64,
    /// Cancels of each order at a distance of 1 tick, 1/s.
    pub cancel_per_s: f64,
    /// How fast that declines with the distance.
    pub cancel_exponent: f64,
    /// μ: market orders of one side, 1/s.
    pub market_per_s: f64,
    /// How many arrivals each arrival causes, on average and with those that these cause in turn not counted:
    /// 0 (a Poisson process) to 0.95.
    pub branching: f64,
    /// For how long an arrival causes others, s: the excitement's time constant.
    pub memory_s: f64,
    /// Of cancels, how many are replacements at a new price, 0 to 1.
    pub replace_share: f64,
    /// Of cancels, how many take off only a part, 0 to 1.
    pub reduce_share: f64,
    /// Shares of an order are a geometric number of this, with `size_mean` as the mean.
    pub size_unit: u32,
    /// Mean size of orders, in units.
    pub size_mean: f64,
    /// How far the reference price moves, ticks in a square root of a second.
    pub volatility: f64,
    /// How fast the reference price comes back to where it began, 1/s.
    pub reversion_per_s: f64,
    /// How much a tick between the reference price and the middle of the book adds to the share of buyers.
    pub pull_per_tick: f64,
}

impl Default for FlowSpec {
    /// About 75 events a second, 30 price levels on each side with two to three orders near the best.
    fn default() -> FlowSpec {
        FlowSpec {
            speed: 1.0,
            levels: 30,
            limit_per_s: 1.92,
            limit_exponent: 0.52,
            cancel_per_s: 0.8,
            cancel_exponent: 0.3,
            market_per_s: 0.94,
            branching: 0.6,
            memory_s: 0.1,
            replace_share: 0.25,
            reduce_share: 0.1,
            size_unit: 100,
            size_mean: 3.0,
            volatility: 0.5,
            reversion_per_s: 0.0005,
            pull_per_tick: 0.05,
        }
    }
}

impl FlowSpec {
    /// The same flow at the speed that makes about so many events a second, over symbols whose activities
    /// add up to `activity`.
    pub fn with_events_per_s(self, events_per_s: f64, activity: f64) -> FlowSpec {
        let limits: f64 = self.limit_rates().sum();
        // A limit order is added, changed some times, and cancelled; or executed, by one and a half of them
        // for each market order.
        let lasts = self.replace_share + self.reduce_share * (1.0 - 1.0 / self.size_mean);
        let cancels = (limits - self.market_per_s).max(0.0) / (1.0 - lasts).max(0.05);
        let one = 2.0 * (limits + cancels + 1.5 * self.market_per_s);
        FlowSpec { speed: events_per_s / (activity * one), ..self }
    }

    fn limit_rates(&self) -> impl Iterator<Item = f64> {
        (1..=self.levels).map(|ticks| self.limit_per_s / f64::from(ticks).powf(self.limit_exponent))
    }

    /// θ(i) over θ(1).
    fn cancel_weights(&self) -> impl Iterator<Item = f64> {
        (1..=self.levels).map(|ticks| f64::from(ticks).powf(-self.cancel_exponent))
    }

    /// What is wrong with it, if anything.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let rate = |value: f64| value > 0.0 && value <= 1e9;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let exponent = |value: f64| (0.0..=4.0).contains(&value);
        match self {
            _ if !(1..=LEVELS_MAX).contains(&self.levels) => Err("levels must be 1 to 512"),
            _ if ![self.speed, self.limit_per_s, self.cancel_per_s, self.market_per_s, self.memory_s]
                .into_iter()
                .all(rate) =>
            {
                Err("speed, rates and memory must be above 0, and at most 1e9")
            }
            _ if !exponent(self.limit_exponent) || !exponent(self.cancel_exponent) => {
                Err("exponents must be 0 to 4")
            }
            _ if !(0.0..=0.95).contains(&self.branching) => Err("branching must be 0 to 0.95"),
            _ if !share(self.replace_share)
                || !share(self.reduce_share)
                || !share(self.replace_share + self.reduce_share) =>
            {
                Err("the shares of replacements and parts must be 0 to 1, together, too")
            }
            _ if self.size_unit == 0 || !(1.0..=1e3).contains(&self.size_mean) => {
                Err("the size's unit must not be 0, its mean 1 to 1000")
            }
            _ if !(0.0..=1e3).contains(&self.volatility)
                || !(0.0..=1e3).contains(&self.reversion_per_s)
                || !(0.0..=1.0).contains(&self.pull_per_tick) =>
            {
                Err("volatility and reversion must be 0 to 1000, the pull 0 to 1")
            }
            _ => Ok(()),
        }
    }
}

/// The background's orders in every symbol.
pub(super) struct Flow {
    spec: FlowSpec,
    /// λ(1) + … + λ(i), 1/s, by i − 1.
    limit_sums: Vec<f64>,
    /// θ(i) / θ(1), by i − 1.
    cancel_weights: Vec<f64>,
    symbols: Vec<SymbolFlow>,
    /// When each symbol draws next.
    agenda: BinaryHeap<Reverse<(u64, u16)>>,
}

struct SymbolFlow {
    symbol: SymbolId,
    random: ChaCha8Rng,
    tick: u32,
    /// Speed times the symbol's activity.
    speed: f64,
    orders: Vec<u64>,
    sweep_at: usize,
    now_ns: u64,
    /// Excitement: what the clock runs faster than at its slowest.
    excitement: f64,
    /// Where the reference price began, and how far it is from there, ticks.
    base_ticks: f64,
    away_ticks: f64,
}

impl Flow {
    /// `symbols`: reference price and activity of each, in order. The spec was checked.
    pub(super) fn new(
        spec: FlowSpec,
        engine: &Engine,
        symbols: impl Iterator<Item = (Price, f64)>,
        seed: u64,
    ) -> Flow {
        let of_symbol = |(symbol, (reference, activity)): (SymbolId, (Price, f64))| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(FIRST_STREAM + u64::from(symbol.0));
            let tick = engine.spec(symbol).map_or(1, |spec| spec.tick.0);
            SymbolFlow {
                symbol,
                random,
                tick,
                speed: spec.speed * activity,
                orders: Vec::new(),
                sweep_at: SWEEP_AFTER,
                now_ns: 0,
                excitement: spec.branching,
                base_ticks: f64::from(reference.0 / tick),
                away_ticks: 0.0,
            }
        };
        let symbols: Vec<SymbolFlow> = engine.symbols().zip(symbols).map(of_symbol).collect();
        let limit_sums = spec.limit_rates().scan(0.0, |sum, rate| {
            *sum += rate;
            Some(*sum)
        });
        let mut flow = Flow {
            limit_sums: limit_sums.collect(),
            cancel_weights: spec.cancel_weights().collect(),
            agenda: BinaryHeap::with_capacity(symbols.len()),
            symbols,
            spec,
        };
        for at in 0..flow.symbols.len() {
            flow.schedule(at);
        }
        flow
    }

    /// When something may happen next; `None`: every symbol is closed.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.agenda.peek().map(|&Reverse((at_ns, _))| at_ns)
    }

    /// Puts a book into every symbol as deep as it is on average.
    pub(super) fn fill(&mut self, engine: &mut Engine, out: &mut impl Listener) {
        for at in 0..self.symbols.len() {
            for side in Side::BOTH {
                for distance in 1..=self.spec.levels {
                    let rate = self.spec.limit_per_s / f64::from(distance).powf(self.spec.limit_exponent);
                    let cancel = self.spec.cancel_per_s * self.cancel_weights[usize::from(distance) - 1];
                    let orders = self.symbols[at].poisson(rate / cancel);
                    for _ in 0..orders {
                        let shares = self.symbols[at].shares(&self.spec);
                        let middle = self.symbols[at].reference_ticks();
                        self.symbols[at].place(engine, side, middle, distance, shares, out);
                    }
                }
            }
        }
    }

    /// Does what happens at [`Flow::next_ns`].
    pub(super) fn step(&mut self, engine: &mut Engine, out: &mut impl Listener) {
        let Some(Reverse((at_ns, at))) = self.agenda.pop() else { return };
        let at = usize::from(at);
        let (spec, symbol) = (&self.spec, &mut self.symbols[at]);
        if engine.state(symbol.symbol) == Some(TradingState::Closed) {
            return;
        }
        let before = symbol.pace(spec);
        symbol.pass_time(spec, at_ns);
        let happens = symbol.unit() <= symbol.pace(spec) / before;
        if happens && engine.state(symbol.symbol) != Some(TradingState::Halted) {
            self.happen(at, engine, out);
        }
        self.schedule(at);
    }

    /// Arrivals of one symbol by its own clock, 1/s.
    fn arrival_rate(&self) -> f64 {
        2.0 * (self.limit_sums[self.limit_sums.len() - 1] + self.spec.market_per_s)
    }

    fn cancel_rate(&self, at: usize) -> f64 {
        self.spec.cancel_per_s * self.symbols[at].orders.len() as f64
    }

    /// Draws when something may happen next: until then the clock only becomes slower.
    fn schedule(&mut self, at: usize) {
        let rate = self.arrival_rate() + self.cancel_rate(at);
        let symbol = &mut self.symbols[at];
        let pace = symbol.pace(&self.spec) * symbol.speed;
        let wait_ns = -symbol.unit().ln() / (rate * pace) * 1e9;
        self.agenda.push(Reverse((symbol.now_ns.saturating_add(wait_ns as u64), at as u16)));
    }

    fn happen(&mut self, at: usize, engine: &mut Engine, out: &mut impl Listener) {
        let limits = 2.0 * self.limit_sums[self.limit_sums.len() - 1];
        let arrivals = self.arrival_rate();
        let drawn = self.symbols[at].unit() * (arrivals + self.cancel_rate(at));
        if drawn <= arrivals {
            self.symbols[at].excitement +=
                self.spec.branching / (self.spec.memory_s * arrivals * self.symbols[at].speed);
        }
        if drawn <= limits {
            self.limit(at, engine, out);
        } else if drawn <= arrivals {
            self.symbols[at].market(&self.spec, engine, out);
        } else {
            self.cancel(at, engine, out);
        }
    }

    fn draw_distance(&mut self, at: usize) -> u16 {
        let all = self.limit_sums[self.limit_sums.len() - 1];
        let drawn = self.symbols[at].unit() * all;
        let found = self.limit_sums.partition_point(|&sum| sum < drawn);
        (found.min(self.limit_sums.len() - 1) + 1) as u16
    }

    fn limit(&mut self, at: usize, engine: &mut Engine, out: &mut impl Listener) {
        let distance = self.draw_distance(at);
        let symbol = &mut self.symbols[at];
        let side = symbol.draw_side(&self.spec, engine);
        let shares = symbol.shares(&self.spec);
        let from = symbol.other_best_ticks(engine, side);
        symbol.place(engine, side, from, distance, shares, out);
    }

    /// Draws an order and cancels it, a part of it, or replaces it, as likely as its distance says.
    fn cancel(&mut self, at: usize, engine: &mut Engine, out: &mut impl Listener) {
        let symbol = &mut self.symbols[at];
        let drawn = symbol.below(symbol.orders.len() as u32) as usize;
        let Some(&order) = engine.order(symbol.orders[drawn]) else {
            symbol.orders.swap_remove(drawn);
            return;
        };
        let from = symbol.other_best_ticks(engine, order.side);
        let distance = (i64::from(order.price.0 / symbol.tick) - from).unsigned_abs();
        let levels = self.cancel_weights.len();
        let weight = self.cancel_weights[(distance as usize).clamp(1, levels) - 1];
        if symbol.unit() > weight {
            return;
        }
        let kind = symbol.unit();
        if kind <= self.spec.replace_share {
            let distance = self.draw_distance(at);
            self.symbols[at].replace(engine, &order, drawn, from, distance, out);
        } else {
            let part = kind <= self.spec.replace_share + self.spec.reduce_share;
            let leave = if part { order.open / 2 / self.spec.size_unit * self.spec.size_unit } else { 0 };
            let cancelled = engine.cancel(Owner::Background, order.reference, leave, out);
            if cancelled.is_ok() && leave == 0 {
                symbol.orders.swap_remove(drawn);
            }
        }
    }
}

impl SymbolFlow {
    /// How fast the clock runs.
    fn pace(&self, spec: &FlowSpec) -> f64 {
        1.0 - spec.branching + self.excitement
    }

    fn pass_time(&mut self, spec: &FlowSpec, to_ns: u64) {
        let passed_s = (to_ns - self.now_ns) as f64 / 1e9;
        self.now_ns = to_ns;
        self.excitement *= (-passed_s / spec.memory_s).exp();
        let step = spec.volatility * passed_s.sqrt();
        self.away_ticks += if self.random.next_u32() & 1 == 0 { step } else { -step };
        self.away_ticks *= (1.0 - spec.reversion_per_s * passed_s).max(0.0);
        // Never near 0: a price is at least a few ticks.
        let room = self.base_ticks / 2.0;
        self.away_ticks = self.away_ticks.clamp(-room, room);
    }

    fn reference_ticks(&self) -> i64 {
        (self.base_ticks + self.away_ticks) as i64
    }

    fn ticks(&self, price: Price) -> i64 {
        i64::from(price.0 / self.tick)
    }

    /// The best price of the other side, ticks; without one, what it would be at the reference price.
    fn other_best_ticks(&self, engine: &Engine, side: Side) -> i64 {
        match engine.best(self.symbol, side.opposite()) {
            Some(level) => self.ticks(level.price),
            None if side == Side::Buy => self.reference_ticks() + 1,
            None => self.reference_ticks() - 1,
        }
    }

    fn draw_side(&mut self, spec: &FlowSpec, engine: &Engine) -> Side {
        let [bid, ask] = Side::BOTH.map(|side| self.other_best_ticks(engine, side.opposite()));
        let away = self.base_ticks + self.away_ticks - (bid + ask) as f64 / 2.0;
        let buyers = 0.5 + (spec.pull_per_tick * away).clamp(-0.4, 0.4);
        if self.unit() <= buyers { Side::Buy } else { Side::Sell }
    }

    /// Enters a limit order `distance` ticks from `from`, if there can be such a price.
    fn place(
        &mut self,
        engine: &mut Engine,
        side: Side,
        from: i64,
        distance: u16,
        shares: u32,
        out: &mut impl Listener,
    ) {
        let Some(price) = self.price(side, from, distance) else { return };
        let order = NewOrder {
            owner: Owner::Background,
            token: 0,
            symbol: self.symbol,
            side,
            shares,
            kind: OrderKind::Day(price),
        };
        if let Ok(placed) = engine.enter(&order, out)
            && placed.resting > 0
        {
            self.keep(engine, placed.reference);
        }
    }

    fn price(&self, side: Side, from: i64, distance: u16) -> Option<Price> {
        let ticks = match side {
            Side::Buy => from - i64::from(distance),
            Side::Sell => from + i64::from(distance),
        };
        u32::try_from(ticks).ok()?.checked_mul(self.tick).map(Price)
    }

    fn keep(&mut self, engine: &Engine, reference: u64) {
        self.orders.push(reference);
        if self.orders.len() >= self.sweep_at {
            self.orders.retain(|&reference| engine.order(reference).is_some());
            self.sweep_at = self.orders.len() + SWEEP_AFTER;
        }
    }

    fn market(&mut self, spec: &FlowSpec, engine: &mut Engine, out: &mut impl Listener) {
        let side = self.draw_side(spec, engine);
        let shares = self.shares(spec);
        let (owner, symbol, kind) = (Owner::Background, self.symbol, OrderKind::Market);
        // Before the open it is refused, and nobody has to know.
        let _ = engine.enter(&NewOrder { owner, token: 0, symbol, side, shares, kind }, out);
    }

    fn replace(
        &mut self,
        engine: &mut Engine,
        order: &Order,
        at: usize,
        from: i64,
        distance: u16,
        out: &mut impl Listener,
    ) {
        let Some(price) = self.price(order.side, from, distance) else { return };
        let (owner, reference, shares) = (Owner::Background, order.reference, order.open);
        if let Ok(placed) = engine.replace(&Replacement { owner, reference, token: 0, shares, price }, out) {
            self.orders[at] = placed.reference;
        }
    }

    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        ((self.random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.random.next_u32()) * u64::from(end)) >> 32) as u32
    }

    fn shares(&mut self, spec: &FlowSpec) -> u32 {
        let more = 1.0 - 1.0 / spec.size_mean;
        let unit = self.unit();
        let units = if more > 0.0 { 1.0 + (unit.ln() / more.ln()).floor() } else { 1.0 };
        let shares = units * f64::from(spec.size_unit);
        let most = super::order::SHARES_MAX / spec.size_unit * spec.size_unit;
        shares.min(f64::from(most)) as u32
    }

    /// A Poisson number, by Knuth's product of uniform numbers; for small means.
    fn poisson(&mut self, mean: f64) -> u32 {
        let limit = (-mean.min(50.0)).exp();
        let mut product = self.unit();
        let mut count = 0;
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}
