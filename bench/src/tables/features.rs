//! Table (g): features, ticks a second on one core, against what a quant writes in Python.
//!
//! All contenders calculate the same 25 values of the same ticks and publish the same records, and the sums of
//! all published values must agree. The session is made here with a fixed seed: four instruments by order,
//! 2,000 ticks a second each, one in thirteen events a trade.

use crate::harness::{Contender, Effort, Kind, Row, Table, Target, measure};
use crate::python;
use anyhow::{Context, Result, ensure};
use book::{Books, Limits};
use bus::config::{Bars, Feature, FeatureSet, PublishSection};
use features::Engine;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use tick::{Action, Flags, Side, Tick};
use zerocopy::IntoBytes;

const REFERENCE: &str = "asyncio + numpy, incremental";
const SEED: u64 = 20_140_101;
const INSTRUMENTS: u32 = 4;
const CHANNEL: u16 = 310;
/// Monday, 2024-01-01T14:30:00Z.
const START: u64 = 1_704_119_400_000_000_000;
/// Mean time between two events of the session, ns.
const BETWEEN: u64 = 160_000;
/// Orders that rest in a book.
const RESTING: usize = 400;
/// Price of the first orders, and a step of price, 1e-9.
const FIRST: i64 = 4_800_000_000_000;
const STEP: i64 = 250_000_000;

/// 25 values over quarter seconds, ten times a second.
fn set() -> FeatureSet {
    let features = vec![
        Feature::Spread,
        Feature::Mid,
        Feature::Microprice,
        Feature::Imbalance { levels: 1 },
        Feature::Imbalance { levels: 5 },
        Feature::Ofi { bars: 10 },
        Feature::Ofi { bars: 60 },
        Feature::TradeImbalance { bars: 10 },
        Feature::TradeImbalance { bars: 60 },
        Feature::KyleLambda { bars: 30 },
        Feature::Amihud { bars: 30 },
        Feature::Vpin { bucket: 500, buckets: 50 },
        Feature::Vwap { bars: 20 },
        Feature::Vwap { bars: 60 },
        Feature::VwapSession { start_s: 52_200 },
        Feature::Sma { bars: 20 },
        Feature::Sma { bars: 60 },
        Feature::Ema { bars: 12 },
        Feature::Ema { bars: 26 },
        Feature::Rsi { bars: 14 },
        Feature::Bollinger { bars: 20, deviations: 2.0 },
        Feature::RealisedVolatility { bars: 30 },
        Feature::RealisedVolatility { bars: 60 },
    ];
    FeatureSet {
        name: "typical".into(),
        instruments: None,
        bars: Some(Bars::TimeMs(250)),
        publish: PublishSection { every_ms: Some(100), on_change: Vec::new() },
        features,
    }
}

/// One instrument's orders, as the session's maker knows them.
#[derive(Default)]
struct Orders(Vec<Tick>);

impl Orders {
    /// The place of the order that a market order would meet on this side.
    fn best(&self, side: Side) -> Option<usize> {
        let sign = if side == Side::Ask { 1 } else { -1 };
        let orders = self.0.iter().enumerate().filter(|(_, order)| order.side == side);
        orders.min_by_key(|(_, order)| (order.price * sign, order.order_id)).map(|(at, _)| at)
    }

    /// An order some steps from the best on the other side, so that it rests.
    fn add(&mut self, random: &mut ChaCha8Rng, base: Tick, order_id: u64) -> Tick {
        let (side, other, sign) =
            if random.random() { (Side::Bid, Side::Ask, -1) } else { (Side::Ask, Side::Bid, 1) };
        let from = self.best(other).map_or(FIRST, |at| self.0[at].price);
        let away = 1 + random.random_range(0..6_i64) * random.random_range(0..5_i64);
        let (price, size) = (from + sign * away * STEP, random.random_range(1..50));
        let order = Tick { action: Action::Add, order_id, side, price, size, ..base };
        self.0.push(order);
        order
    }
}

/// The session: a channel clear, then events of add, cancel and trade.
fn session(ticks: usize) -> Vec<Tick> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut session = vec![Tick::channel_clear(1, CHANNEL, 1, START)];
    let mut all: Vec<Orders> = (0..INSTRUMENTS).map(|_| Orders::default()).collect();
    let (mut now, mut sequence, mut order_id) = (START, 1, 0);
    while session.len() < ticks {
        // No two events at the same time: the pandas contender joins by time.
        now += random.random_range(1..2 * BETWEEN);
        sequence += 1;
        let instrument = random.random_range(0..INSTRUMENTS);
        let orders = &mut all[instrument as usize];
        let base = Tick {
            ts_event: now,
            ts_recv: now,
            sequence,
            instrument_id: instrument + 1,
            publisher_id: 1,
            channel_id: CHANNEL,
            ..Tick::EMPTY
        };
        let what = random.random_range(0..100);
        let side = if random.random() { Side::Ask } else { Side::Bid };
        if orders.0.len() < RESTING || (what < 45 && orders.0.len() < 2 * RESTING) {
            order_id += 1;
            session.push(orders.add(&mut random, base, order_id));
        } else if what < 92 {
            let at = random.random_range(0..orders.0.len());
            let Tick { order_id, price, size, side, .. } = orders.0.swap_remove(at);
            session.push(Tick { action: Action::Cancel, order_id, price, size, side, ..base });
        } else if let Some(at) = orders.best(side) {
            trade(&mut session, base, &orders.0.swap_remove(at));
        }
        if let Some(last) = session.last_mut() {
            last.flags = Flags::LAST;
        }
    }
    session
}

/// The whole order is taken: a trade, its fill, its end.
fn trade(session: &mut Vec<Tick>, base: Tick, order: &Tick) {
    let Tick { order_id, price, size, side, .. } = *order;
    let aggressor = if side == Side::Ask { Side::Bid } else { Side::Ask };
    session.push(Tick { action: Action::Trade, price, size, side: aggressor, ..base });
    let fill = Tick { order_id, price, size, side, ..base };
    session.push(Tick { action: Action::Fill, ..fill });
    session.push(Tick { action: Action::Cancel, ..fill });
}

/// What a contender published: records, and the sum of each value over them, NaN left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Published {
    records: u64,
    sums: Vec<f64>,
}

impl Published {
    /// Whether the other published the same, but for roundings.
    fn agrees(&self, other: &Published) -> bool {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-9);
        self.records == other.records
            && self.sums.len() == other.sums.len()
            && self.sums.iter().zip(&other.sums).all(near)
    }
}

/// Our engine over the session, everything included: books, bars, values, records.
fn engine(ticks: &[Tick]) -> (f64, Published) {
    let sets = [set()];
    let mut engine = Engine::new(&sets, Limits::SMALL);
    let mut published = Published { records: 0, sums: vec![0.0; engine.schemas()[0].features.len()] };
    let began = Instant::now();
    for tick in ticks {
        engine.tick(tick, &mut |_, record| {
            published.records += 1;
            for (sum, value) in published.sums.iter_mut().zip(record.values()) {
                *sum += if value.is_nan() { 0.0 } else { value };
            }
        });
    }
    let elapsed = began.elapsed().as_secs_f64();
    black_box(&engine);
    (ticks.len() as f64 / elapsed, published)
}

/// The quotes at each event's end as text, which the pandas contender is given.
fn quotes(ticks: &[Tick]) -> String {
    let mut books = Books::new(Limits::SMALL);
    let mut text = String::from("time,instrument,bid,bid_size,ask,ask_size,bids_5,asks_5\n");
    for tick in ticks {
        let applied = books.apply(tick);
        let Some(id) = applied.book.filter(|_| tick.flags.contains(Flags::LAST)) else { continue };
        let book = books.book(id);
        let depth = |side| book.levels(side).take(5).map(|level| level.size).sum::<u64>();
        let best = |side| match book.best(side) {
            Some(level) => format!("{},{}", level.price, level.size),
            None => ",".to_owned(),
        };
        let _ = writeln!(
            text,
            "{},{},{},{},{},{}",
            tick.ts_recv,
            tick.instrument_id,
            best(Side::Bid),
            best(Side::Ask),
            depth(Side::Bid),
            depth(Side::Ask)
        );
    }
    text
}

#[derive(Deserialize)]
struct Measured {
    ns: f64,
    published: Published,
}

/// A Python reference over the session's files; its result must be ours.
fn reference(program: &str, folder: &Path, ticks: usize, ours: &Published) -> Result<f64> {
    let mut command = python::reference(program)?;
    let measured: Measured = python::result(command.arg(folder))?;
    let theirs = &measured.published;
    ensure!(ours.agrees(theirs), "it published something else: {theirs:?}, the engine {ours:?}");
    Ok(ticks as f64 * 1e9 / measured.ns)
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let ticks = session(effort.scaled(200_000).max(20_000));
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("ticks"), ticks.as_bytes()).context("keeping the session")?;
    std::fs::write(folder.path().join("quotes.csv"), quotes(&ticks)).context("keeping the quotes")?;
    let (_, ours) = engine(&ticks);
    let row = Row::new("features", "books, bars, 25 values, records; every 100 ms of each instrument");
    let contenders = vec![
        Contender::new(row.aiming(&[Target::Figure(1e6)]), || Ok(engine(&ticks).0)),
        Contender::new(
            Row::new(
                "pandas, vectorised",
                "the same values at the same times; the quotes are given, no book",
            ),
            || reference("pandas_features.py", folder.path(), ticks.len(), &ours),
        ),
        Contender::new(
            Row::new(REFERENCE, "the same work: books of dicts, one coroutine a stream, numpy windows"),
            || reference("asyncio_features.py", folder.path(), ticks.len(), &ours),
        ),
    ];
    let kinds = [Kind::higher("features", "ticks/s")];
    Ok(Table { id: 'g', title: "features", metrics: measure(&kinds, REFERENCE, effort, contenders) })
}
