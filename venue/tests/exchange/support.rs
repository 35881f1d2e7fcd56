//! What the tests share: a listener that keeps all, a book made from market events alone, short ways to say
//! an order.

use std::collections::{BTreeMap, HashMap};
use venue::exchange::{
    Engine, EngineConfig, Listener, MarketEvent, NewOrder, OrderKind, Owner, Price, Report, SessionId, Side,
    SymbolId, SymbolSpec, TradingState,
};

pub const ALICE: Owner = Owner::Session(SessionId(1));
pub const BOB: Owner = Owner::Session(SessionId(2));
pub const FIRST: SymbolId = SymbolId(0);

/// A random number generator that nobody else uses: SplitMix64 of G. Steele and others, 2014.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// Seeds to be run: `usual` of them; with `FEEDPLANE_SEEDS` its share `usual / of`, for tests of unlike cost;
/// with `FEEDPLANE_SEED` that one.
pub fn seeds(usual: u64, of: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    match number("FEEDPLANE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FEEDPLANE_SEEDS").map_or(usual, |seeds| (seeds * usual).div_ceil(of)),
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub struct Kept {
    pub events: Vec<MarketEvent>,
    pub reports: Vec<(SessionId, Report)>,
}

impl Listener for Kept {
    fn market(&mut self, event: MarketEvent) {
        self.events.push(event);
    }

    fn report(&mut self, session: SessionId, report: Report) {
        self.reports.push((session, report));
    }
}

/// An engine and what it said.
pub struct Desk {
    pub engine: Engine,
    pub kept: Kept,
}

impl Desk {
    pub fn new(config: EngineConfig, specs: Vec<SymbolSpec>) -> Desk {
        Desk { engine: Engine::new(config, specs).unwrap(), kept: Kept::default() }
    }

    /// One open symbol.
    pub fn open(config: EngineConfig) -> Desk {
        let mut desk = Desk::new(config, vec![SymbolSpec::new("TEST")]);
        desk.engine.set_state(FIRST, TradingState::Open, &mut desk.kept).unwrap();
        desk.kept = Kept::default();
        desk
    }

    /// Enters an order that is taken; gives back its reference.
    pub fn enter(&mut self, owner: Owner, side: Side, shares: u32, kind: OrderKind) -> u64 {
        let order = NewOrder { owner, token: 0, symbol: FIRST, side, shares, kind };
        self.engine.enter(&order, &mut self.kept).unwrap().reference
    }

    pub fn buy(&mut self, owner: Owner, shares: u32, cents: u32) -> u64 {
        self.enter(owner, Side::Buy, shares, OrderKind::Day(Price(cents * 100)))
    }

    pub fn sell(&mut self, owner: Owner, shares: u32, cents: u32) -> u64 {
        self.enter(owner, Side::Sell, shares, OrderKind::Day(Price(cents * 100)))
    }

    /// Price in cents, reference and open shares of every order of a side, in the order of priority.
    pub fn book(&self, side: Side) -> Vec<(u32, u64, u32)> {
        let orders = self.engine.orders(FIRST, side);
        orders.map(|order| (order.price.0 / 100, order.reference, order.open)).collect()
    }

    /// Resting order's reference, shares and match number of each execution told so far.
    pub fn trades(&self) -> Vec<(u64, u32, u64)> {
        let trade = |event: &MarketEvent| match *event {
            MarketEvent::Executed { reference, shares, match_number, .. } => {
                Some((reference, shares, match_number))
            }
            _ => None,
        };
        self.kept.events.iter().filter_map(trade).collect()
    }
}

/// An order as a book of by-order messages has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub reference: u64,
    pub price: u32,
    pub open: u32,
}

/// Books made from messages alone: by symbol and side, orders in the order in which they came to their price.
#[derive(Default)]
pub struct Books {
    sides: HashMap<(u32, bool), BTreeMap<u32, Vec<Entry>>>,
    places: HashMap<u64, (u32, bool, u32)>,
}

impl Books {
    pub fn add(&mut self, symbol: u32, is_bid: bool, entry: Entry) {
        assert!(entry.open > 0);
        let before = self.places.insert(entry.reference, (symbol, is_bid, entry.price));
        assert_eq!(before, None, "order {} stands twice", entry.reference);
        self.sides.entry((symbol, is_bid)).or_default().entry(entry.price).or_default().push(entry);
    }

    /// Takes shares off an order, all of them when `shares` is `None`; gives back whether it was a bid.
    pub fn take(&mut self, reference: u64, shares: Option<u32>) -> bool {
        let (symbol, is_bid, price) = *self.places.get(&reference).expect("a known order");
        let levels = self.sides.get_mut(&(symbol, is_bid)).unwrap();
        let level = levels.get_mut(&price).unwrap();
        let at = level.iter().position(|entry| entry.reference == reference).unwrap();
        let shares = shares.unwrap_or(level[at].open);
        assert!(shares > 0 && shares <= level[at].open);
        level[at].open -= shares;
        if level[at].open == 0 {
            level.remove(at);
            self.places.remove(&reference);
            if level.is_empty() {
                levels.remove(&price);
            }
        }
        is_bid
    }

    pub fn apply(&mut self, event: &MarketEvent) {
        match *event {
            MarketEvent::Added { reference, symbol, side, shares, price } => {
                let entry = Entry { reference, price: price.0, open: shares };
                self.add(symbol.0.into(), side == Side::Buy, entry);
            }
            MarketEvent::Executed { reference, shares, .. }
            | MarketEvent::ExecutedAtPrice { reference, shares, .. }
            | MarketEvent::Reduced { reference, shares, .. } => {
                self.take(reference, Some(shares));
            }
            MarketEvent::Deleted { reference, .. } => {
                self.take(reference, None);
            }
            MarketEvent::Replaced { reference, new_reference, symbol, shares, price } => {
                let is_bid = self.take(reference, None);
                self.add(
                    symbol.0.into(),
                    is_bid,
                    Entry { reference: new_reference, price: price.0, open: shares },
                );
            }
            MarketEvent::State { .. } => {}
        }
    }

    /// Orders of a side, in the order of priority.
    pub fn orders(&self, symbol: u32, is_bid: bool) -> Vec<Entry> {
        let Some(levels) = self.sides.get(&(symbol, is_bid)) else { return Vec::new() };
        if is_bid {
            levels.values().rev().flatten().copied().collect()
        } else {
            levels.values().flatten().copied().collect()
        }
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }
}

/// The engine's orders of a side, in the order of priority.
pub fn entries(engine: &Engine, symbol: SymbolId, side: Side) -> Vec<Entry> {
    let orders = engine.orders(symbol, side);
    orders.map(|order| Entry { reference: order.reference, price: order.price.0, open: order.open }).collect()
}

/// No open symbol's best bid reaches its best offer, and levels say what their orders say.
pub fn assert_sound(engine: &Engine) {
    let mut resting = 0;
    for symbol in engine.symbols() {
        for side in Side::BOTH {
            let mut levels: Vec<(u32, u64, u32)> = Vec::new();
            for order in engine.orders(symbol, side) {
                resting += 1;
                assert!(order.open > 0 && order.symbol == symbol && order.side == side);
                let band = engine.spec(symbol).unwrap().band;
                assert!(band.low <= order.price && order.price <= band.high, "outside the band");
                match levels.last_mut() {
                    Some(level) if level.0 == order.price.0 => {
                        level.1 += u64::from(order.open);
                        level.2 += 1;
                    }
                    _ => levels.push((order.price.0, u64::from(order.open), 1)),
                }
            }
            let told = engine.levels(symbol, side).map(|level| (level.price.0, level.shares, level.orders));
            assert!(told.eq(levels.iter().copied()), "levels of {symbol:?} {side:?}");
            assert!(levels.windows(2).all(|pair| match side {
                Side::Buy => pair[0].0 > pair[1].0,
                Side::Sell => pair[0].0 < pair[1].0,
            }));
        }
        if engine.state(symbol) == Some(TradingState::Open)
            && let (Some(bid), Some(ask)) = (engine.best(symbol, Side::Buy), engine.best(symbol, Side::Sell))
        {
            assert!(bid.price < ask.price, "crossed while open: {} and {}", bid.price, ask.price);
        }
    }
    assert_eq!(resting, engine.resting());
}
