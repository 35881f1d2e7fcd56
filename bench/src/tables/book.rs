//! Table (f): the order book, ns an update, against plain books and one from the registry.
//!
//! Every contender takes the same ticks from memory, finds instrument and order, keeps levels and queues, and
//! looks at both best prices after every tick. An update is a tick that adds, changes or cancels an order; the
//! trades and fills between them are part of the time and not of the count. Books are emptied and kept between
//! rounds, outside the time, so that a round meets memory that was used before.
//!
//! A round goes through the ticks twice: once without looking at the clock, for the mean, and once with a look
//! before and after each update, for the median and the 99th of a hundred. What a look costs by itself is taken
//! off each; it is the median of looks with nothing between them, in the same round.

mod others;
mod session;

use crate::corpus;
use crate::harness::{Contender, Effort, Kind, Metric, Round, Row, Table, Target, measure};
use anyhow::{Context, Result, ensure};
use book::{Books, Limits};
use dbn::decode::DecodeRecord;
use others::{Hftbacktest, Plain};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use tick::{Action, Side, Tick};

const PLAIN: &str = "HashMap + BTreeMap";
/// Of the median.
const TARGET_NS: f64 = 60.0;
/// Looks at the clock, to know what one costs.
const LOOKS: usize = 10_001;

/// What a contender's books hold after the last tick: they must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    orders: usize,
    /// Sum of the best bid and best ask prices of all instruments, 1e-9.
    best: i128,
}

/// A contender's books.
trait Book {
    /// Applies a tick and gives the best bid and ask of its instrument.
    fn apply(&mut self, tick: &Tick) -> (Option<i64>, Option<i64>);
    fn clear(&mut self, channel_id: u16);
    fn held(&self) -> Held;
}

impl Book for Books {
    #[inline]
    fn apply(&mut self, tick: &Tick) -> (Option<i64>, Option<i64>) {
        let Some(id) = Books::apply(self, tick).book else { return (None, None) };
        let price = |side| self.book(id).best(side).map(|level| level.price);
        (price(Side::Bid), price(Side::Ask))
    }

    fn clear(&mut self, channel_id: u16) {
        Books::apply(self, &Tick::channel_clear(0, channel_id, 1, 0));
    }

    fn held(&self) -> Held {
        let price = |book: book::Book<'_>, side| book.best(side).map_or(0, |level| i128::from(level.price));
        let best = self.iter().map(|(_, book)| price(book, Side::Bid) + price(book, Side::Ask)).sum();
        Held { orders: self.orders_len(), best }
    }
}

fn is_update(tick: &Tick) -> bool {
    matches!(tick.action, Action::Add | Action::Modify | Action::Cancel)
}

fn updates(ticks: &[Tick]) -> usize {
    ticks.iter().filter(|tick| is_update(tick)).count()
}

/// A round: the ticks into emptied books, twice. Mean, median and 99th percentile of an update, ns.
fn round(books: &mut impl Book, ticks: &[Tick], held: Held) -> Result<Round> {
    let mean = whole(books, ticks) / updates(ticks) as f64;
    ensure!(books.held() == held, "holds {:?} instead of {held:?}", books.held());
    let mut each = one_by_one(books, ticks);
    ensure!(books.held() == held, "holds {:?} instead of {held:?}", books.held());
    each.sort_unstable();
    let look = look_ns();
    let at = |share: f64| (each[((each.len() - 1) as f64 * share) as usize] as f64 - look).max(0.0);
    Ok(Round { figures: vec![at(0.5), at(0.99), mean], note: format!("a look at the clock: {look:.0} ns") })
}

/// All of them without a look at the clock, ns.
fn whole(books: &mut impl Book, ticks: &[Tick]) -> f64 {
    books.clear(ticks[0].channel_id);
    let began = Instant::now();
    for tick in ticks {
        black_box(books.apply(black_box(tick)));
    }
    began.elapsed().as_nanos() as f64
}

/// Each update with a look before and after it, ns.
fn one_by_one(books: &mut impl Book, ticks: &[Tick]) -> Vec<u64> {
    books.clear(ticks[0].channel_id);
    let mut each = Vec::with_capacity(ticks.len());
    for tick in ticks {
        if is_update(tick) {
            let began = Instant::now();
            black_box(books.apply(black_box(tick)));
            each.push(began.elapsed().as_nanos() as u64);
        } else {
            black_box(books.apply(black_box(tick)));
        }
    }
    each
}

/// What two looks at the clock take with nothing between them, ns.
fn look_ns() -> f64 {
    let mut looks: Vec<_> = (0..LOOKS).map(|_| Instant::now().elapsed().as_nanos() as u64).collect();
    looks.sort_unstable();
    looks[LOOKS / 2] as f64
}

fn metric(name: &str, ticks: &[Tick], tick_size: i64, limits: Limits, effort: Effort) -> Vec<Metric> {
    let (mut ours, mut plain, mut theirs) =
        (Books::new(limits), Plain::default(), Hftbacktest::new(tick_size));
    for tick in ticks {
        Book::apply(&mut ours, tick);
    }
    let held = ours.held();
    let rows = |what: &str, does: &str, targets: &[Target]| {
        vec![Row::new(what, does).aiming(targets), Row::new(what, does), Row::new(what, does)]
    };
    let contenders = vec![
        Contender::several(
            rows(
                "book::Books",
                "by order with queues, states, trades; all memory taken at the start",
                &[Target::Figure(TARGET_NS)],
            ),
            || round(&mut ours, ticks, held),
        ),
        Contender::several(
            rows(PLAIN, "orders in a HashMap, levels in a BTreeMap, each with a VecDeque as its queue", &[]),
            || round(&mut plain, ticks, held),
        ),
        Contender::several(
            rows("hftbacktest 0.9.4", "its HashMapMarketDepth by order, one an instrument; no queues", &[]),
            || round(&mut theirs, ticks, held),
        ),
    ];
    let kinds = [
        Kind::lower(&format!("{name}, median"), "ns/update"),
        Kind::lower(&format!("{name}, 99th of 100"), "ns/update"),
        Kind::lower(&format!("{name}, mean with the trades between"), "ns/update"),
    ];
    measure(&kinds, PLAIN, effort, contenders)
}

fn es_ticks(path: &Path) -> Result<Vec<Tick>> {
    let mut decoder = dbn::decode::dbn::Decoder::from_zstd_file(path)?;
    let mut ticks = Vec::new();
    while let Some(record) = decoder.decode_record::<dbn::MboMsg>()? {
        ticks.push(tick::dbn::from_mbo(record));
    }
    Ok(ticks)
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let mut metrics = Vec::new();
    if let Some(path) = corpus::capture("databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst") {
        let ticks = es_ticks(&path).with_context(|| path.display().to_string())?;
        let name = format!("a day of one future, {} real records", ticks.len());
        metrics.extend(metric(&name, &ticks, 250_000_000, Limits::SMALL, effort));
    }
    let messages = effort.scaled(1_000_000);
    // A hundred instruments' orders stay in the core's own caches, those of a thousand do not.
    for instruments in [100, 1_000] {
        let ticks = session::ticks(messages, instruments);
        let name = format!("{instruments} instruments, {messages} made messages in the manner of ITCH");
        metrics.extend(metric(&name, &ticks, session::STEP, Limits::default(), effort));
    }
    Ok(Table { id: 'f', title: "order book", metrics })
}
