//! The engine against the reference, on many random sequences of orders, hostile ones among them.

use super::reference::Reference;
use super::support::{Books, Desk, Entry, Random, assert_sound, entries, seeds};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use venue::exchange::{
    Band, CancelReason, EngineConfig, Liquidity, NewOrder, OrderKind, Owner, Price, RejectReason,
    Replacement, Report, SHARES_MAX, SelfMatch, SessionId, Side, SymbolId, SymbolSpec, TradingState,
};

const SEEDS: u64 = 5_000;
const STEPS: u64 = 150;
/// The middle of each symbol's prices, ticks.
const MIDDLE_TICKS: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(NewOrder),
    Cancel { owner: Owner, reference: u64, leave: u32 },
    Replace(Replacement),
    CancelAll(Owner),
    State(SymbolId, TradingState),
    Band(SymbolId, Band),
}

#[test]
fn executions_books_and_reports_are_the_references() {
    let seeds = seeds(SEEDS, SEEDS);
    let next = AtomicU64::new(seeds.start);
    let seen: Mutex<HashMap<&'static str, u64>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(64, Ordering::Relaxed);
                    if from >= seeds.end {
                        return;
                    }
                    for seed in from..seeds.end.min(from + 64) {
                        let Ok(reports) = std::panic::catch_unwind(|| run(seed)) else {
                            panic!("seed {seed} failed: FEEDPLANE_SEED={seed} cargo test -p feedplane-venue --test exchange");
                        };
                        let mut seen = seen.lock().unwrap();
                        reports.iter().for_each(|report| *seen.entry(what(report)).or_default() += 1);
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    println!("{seen:?}");
    if seeds.end - seeds.start >= 1_000 {
        assert_eq!(seen.len(), WHATS, "a rule was never exercised: {seen:?}");
    }
}

/// How many different things [`what`] can say.
const WHATS: usize = 1 + 11 + 2 + 6 + 2 + 3 + 8;

/// The rule that a report shows at work.
fn what(report: &Report) -> &'static str {
    let refused = |reason, of: [&'static str; 3]| match reason {
        RejectReason::UnknownOrder => of[0],
        RejectReason::NothingToCancel => of[1],
        _ => of[2],
    };
    match *report {
        Report::Accepted { .. } => "accepted",
        Report::Rejected { reason, .. } => match reason {
            RejectReason::UnknownSymbol => "unknown symbol",
            RejectReason::NotOpen => "not open",
            RejectReason::Halted => "halted",
            RejectReason::Closed => "closed",
            RejectReason::ZeroShares => "zero shares",
            RejectReason::TooManyShares => "too many shares",
            RejectReason::NotWholeLots => "not whole lots",
            RejectReason::PriceOutOfRange => "price out of range",
            RejectReason::NotWholeTicks => "not whole ticks",
            RejectReason::OutsideBand => "outside the band",
            RejectReason::BookFull => "book full",
            RejectReason::UnknownOrder | RejectReason::NothingToCancel => unreachable!(),
        },
        Report::Executed { liquidity: Liquidity::Added, .. } => "added",
        Report::Executed { liquidity: Liquidity::Removed, .. } => "removed",
        Report::Cancelled { reason, .. } => match reason {
            CancelReason::ByOwner => "by owner",
            CancelReason::Immediate => "immediate",
            CancelReason::SelfMatch => "self-match",
            CancelReason::PriceBand => "price band",
            CancelReason::Closed => "at the close",
            CancelReason::Disconnected => "disconnected",
        },
        Report::Replaced { old_reference, reference, .. } if old_reference == reference => "kept its place",
        Report::Replaced { .. } => "replaced",
        Report::CancelRejected { reason, .. } => {
            refused(reason, ["cancel of nothing", "cancel of too little", "cancel of part lots"])
        }
        Report::ReplaceRejected { reason, .. } => match reason {
            RejectReason::UnknownOrder => "replacement of nothing",
            RejectReason::Halted => "replacement while halted",
            RejectReason::ZeroShares => "replacement by nothing",
            RejectReason::TooManyShares => "replacement by too much",
            RejectReason::NotWholeLots => "replacement by part lots",
            RejectReason::PriceOutOfRange => "replacement at no price",
            RejectReason::NotWholeTicks => "replacement at part ticks",
            RejectReason::OutsideBand => "replacement outside the band",
            RejectReason::UnknownSymbol
            | RejectReason::NotOpen
            | RejectReason::Closed
            | RejectReason::BookFull
            | RejectReason::NothingToCancel => unreachable!(),
        },
    }
}

fn symbols() -> Vec<SymbolSpec> {
    let symbol = |name, tick, lot| SymbolSpec { tick: Price(tick), lot, ..SymbolSpec::new(name) };
    vec![symbol("CENTS", 100, 1), symbol("LOTS", 500, 100), symbol("FINE", 1, 10)]
}

fn draw_price(random: &mut Random, spec: &SymbolSpec) -> Price {
    match random.below(40) {
        0 => Price(0),
        1 => Price(u32::MAX),
        2 => Price(Price::MAX.0 + 1),
        3 => Price(MIDDLE_TICKS as u32 * spec.tick.0 + 1),
        4 => Price(spec.tick.0),
        5 => Price(Price::MAX.0 / spec.tick.0 * spec.tick.0),
        _ => Price((MIDDLE_TICKS + random.below(16) - 8) as u32 * spec.tick.0),
    }
}

fn draw_shares(random: &mut Random, spec: &SymbolSpec) -> u32 {
    match random.below(50) {
        0 => 0,
        1 => SHARES_MAX + 1,
        2 => u32::MAX,
        3 => SHARES_MAX,
        4 => SHARES_MAX / spec.lot * spec.lot,
        5 => 1,
        _ => (1 + random.below(9)) as u32 * spec.lot,
    }
}

fn draw_owner(random: &mut Random) -> Owner {
    match random.below(4) {
        0 => Owner::Background,
        session => Owner::Session(SessionId(session as u32)),
    }
}

fn draw(random: &mut Random, specs: &[SymbolSpec], desk: &Desk, last_reference: u64) -> Step {
    let symbol = SymbolId(random.below(3) as u16);
    let spec = &specs[usize::from(symbol.0)];
    // A recent order, dead or alive, or one that never was; its owner, mostly.
    let reference = (last_reference + 2).saturating_sub(random.below(30));
    let alive = desk.engine.order(reference);
    let owner = match alive {
        Some(order) if !random.one_in(8) => order.owner,
        _ => draw_owner(random),
    };
    match random.below(100) {
        0 => Step::CancelAll(draw_owner(random)),
        1..=3 => {
            let state = match random.below(40) {
                0 => TradingState::Closed,
                1..=8 => TradingState::Halted,
                9..=16 => TradingState::PreOpen,
                _ => TradingState::Open,
            };
            Step::State(symbol, state)
        }
        4 => {
            let tick = |random: &mut Random| (MIDDLE_TICKS + random.below(20)) as u32 * spec.tick.0;
            let high = tick(random);
            let narrow = Band { low: Price(high - 12 * spec.tick.0), high: Price(high) };
            Step::Band(symbol, if random.one_in(2) { narrow } else { Band::WIDEST })
        }
        5..=24 => {
            let open = alive.map_or(10, |order| order.open);
            let leave = match random.below(4) {
                0 => random.below(u64::from(open) + 2) as u32,
                1 => open / 2 / spec.lot * spec.lot,
                _ => 0,
            };
            Step::Cancel { owner, reference, leave }
        }
        25..=44 => {
            let old = alive.filter(|_| random.one_in(3));
            let of = alive.map_or(spec, |order| &specs[usize::from(order.symbol.0)]);
            let price = old.map_or_else(|| draw_price(random, of), |order| order.price);
            let shares = draw_shares(random, of);
            Step::Replace(Replacement { owner, reference, token: random.next(), shares, price })
        }
        _ => {
            let symbol = if random.one_in(60) { SymbolId(3 + random.below(9) as u16) } else { symbol };
            let price = draw_price(random, spec);
            let kind = match random.below(10) {
                0 => OrderKind::Market,
                1 => OrderKind::Ioc(price),
                _ => OrderKind::Day(price),
            };
            let side = if random.one_in(2) { Side::Buy } else { Side::Sell };
            let (owner, shares) = (draw_owner(random), draw_shares(random, spec));
            Step::Enter(NewOrder { owner, token: random.next(), symbol, side, shares, kind })
        }
    }
}

fn run(seed: u64) -> Vec<Report> {
    let mut random = Random(seed);
    let specs = symbols();
    let config = EngineConfig {
        self_match: [None, Some(SelfMatch::CancelResting), Some(SelfMatch::CancelIncoming)]
            [random.below(3) as usize],
        orders_max: if random.one_in(4) { 12 } else { 1_000 },
    };
    let mut desk = Desk::new(config, specs.clone());
    let mut reference = Reference::new(config, &specs);
    let mut books = Books::default();
    let mut ledger = Ledger::default();
    let (mut last_reference, mut reports, mut events) = (0, 0, 0);
    for at in 0..STEPS {
        let step = if at < 3 && !random.one_in(3) {
            Step::State(SymbolId(at as u16), TradingState::Open)
        } else {
            draw(&mut random, &specs, &desk, last_reference)
        };
        let placed = take(&mut desk, &mut reference, step);
        last_reference = last_reference.max(placed.unwrap_or(0));
        assert_eq!(&desk.kept.reports[reports..], &reference.reports[reports..], "step {at}: {step:?}");
        desk.kept.events[events..].iter().for_each(|event| books.apply(event));
        desk.kept.reports[reports..].iter().for_each(|(_, report)| ledger.enter(report));
        (reports, events) = (desk.kept.reports.len(), desk.kept.events.len());
        compare_books(&desk, &reference, &books);
        ledger.check(&desk);
    }
    desk.kept.reports.into_iter().map(|(_, report)| report).collect()
}

/// Gives a step to both; gives back the reference of an order that came.
fn take(desk: &mut Desk, reference: &mut Reference, step: Step) -> Option<u64> {
    let Desk { engine, kept } = desk;
    match step {
        Step::Enter(order) => {
            reference.enter(&order);
            engine.enter(&order, kept).ok().map(|placed| placed.reference)
        }
        Step::Cancel { owner, reference: of, leave } => {
            reference.cancel(owner, of, leave);
            let _ = engine.cancel(owner, of, leave, kept);
            None
        }
        Step::Replace(wanted) => {
            reference.replace(&wanted);
            engine.replace(&wanted, kept).ok().map(|placed| placed.reference)
        }
        Step::CancelAll(owner) => {
            reference.cancel_all(owner);
            engine.cancel_all(owner, CancelReason::Disconnected, kept);
            None
        }
        Step::State(symbol, state) => {
            reference.set_state(symbol, state);
            let _ = engine.set_state(symbol, state, kept);
            None
        }
        Step::Band(symbol, band) => {
            reference.set_band(symbol, band);
            engine.set_band(symbol, band, kept).unwrap();
            None
        }
    }
}

fn compare_books(desk: &Desk, reference: &Reference, books: &Books) {
    for symbol in desk.engine.symbols() {
        assert_eq!(desk.engine.state(symbol), Some(reference.symbols[usize::from(symbol.0)].state));
        for side in Side::BOTH {
            let orders: Vec<_> = desk.engine.orders(symbol, side).copied().collect();
            assert_eq!(orders, reference.orders(symbol, side));
            let public: Vec<Entry> = books.orders(symbol.0.into(), side == Side::Buy);
            assert_eq!(entries(&desk.engine, symbol, side), public, "what everybody sees");
        }
    }
    assert_sound(&desk.engine);
    assert_eq!(books.len(), desk.engine.resting());
}

/// Conservation: of every order that a session entered, all shares are executed, cancelled, given up for
/// another order, or resting.
#[derive(Default)]
struct Ledger {
    open: HashMap<u64, i64>,
    last_match: u64,
}

impl Ledger {
    fn enter(&mut self, report: &Report) {
        match *report {
            Report::Accepted { reference, order } => {
                assert_eq!(
                    self.open.insert(reference, order.shares.into()),
                    None,
                    "a reference is used twice"
                );
            }
            Report::Executed { reference, shares, open, match_number, .. } => {
                assert!(match_number >= self.last_match && shares > 0);
                self.last_match = match_number;
                self.take(reference, shares, open);
            }
            Report::Cancelled { reference, shares, open, .. } => self.take(reference, shares, open),
            Report::Replaced { old_reference, reference, shares, .. } => {
                let left = self.open.insert(old_reference, 0).expect("an order of this session");
                assert!(left > 0 && (reference != old_reference || i64::from(shares) <= left));
                self.open.insert(reference, shares.into());
            }
            Report::Rejected { .. } | Report::CancelRejected { .. } | Report::ReplaceRejected { .. } => {}
        }
    }

    fn take(&mut self, reference: u64, shares: u32, open: u32) {
        let left = self.open.get_mut(&reference).expect("an order of this session");
        *left -= i64::from(shares);
        assert_eq!(*left, i64::from(open), "order {reference}");
    }

    fn check(&self, desk: &Desk) {
        for (&reference, &open) in &self.open {
            let resting = desk.engine.order(reference).map_or(0, |order| i64::from(order.open));
            assert_eq!(open, resting, "order {reference}");
        }
    }
}
