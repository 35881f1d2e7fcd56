//! Table (f): the order book, ns an update, against plain books and one from the registry.
//!
//! Every contender takes the same ticks from memory, finds instrument and order, keeps levels and queues, and
//! looks at both best prices after every tick. An update is a tick that adds, changes or cancels an order; the
//! trades and fills between them are part of the time and not of the count. Books are emptied and kept between
//! rounds, outside the time, so that a round meets memory that was used before.

mod others;
mod session;

use crate::corpus;
use crate::harness::{Contender, Effort, Kind, Metric, Row, Table, Target, measure};
use anyhow::{Context, Result, ensure};
use book::{Books, Limits};
use dbn::decode::DecodeRecord;
use others::{Hftbacktest, Plain};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use tick::{Action, Side, Tick};

const PLAIN: &str = "HashMap + BTreeMap";
const TARGET_NS: f64 = 60.0;

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

fn updates(ticks: &[Tick]) -> usize {
    let changes = [Action::Add, Action::Modify, Action::Cancel];
    ticks.iter().filter(|tick| changes.contains(&tick.action)).count()
}

/// A round: the ticks into emptied books, ns an update.
fn round(books: &mut impl Book, ticks: &[Tick], held: Held) -> Result<f64> {
    books.clear(ticks[0].channel_id);
    let began = Instant::now();
    for tick in ticks {
        black_box(books.apply(black_box(tick)));
    }
    let taken = began.elapsed();
    ensure!(books.held() == held, "holds {:?} instead of {held:?}", books.held());
    Ok(taken.as_nanos() as f64 / updates(ticks) as f64)
}

fn metric(name: &str, ticks: &[Tick], tick_size: i64, limits: Limits, effort: Effort) -> Vec<Metric> {
    let (mut ours, mut plain, mut theirs) =
        (Books::new(limits), Plain::default(), Hftbacktest::new(tick_size));
    for tick in ticks {
        Book::apply(&mut ours, tick);
    }
    let held = ours.held();
    let contenders = vec![
        Contender::new(
            Row::new("book::Books", "by order with queues, states, trades; all memory taken at the start")
                .aiming(&[Target::Figure(TARGET_NS)]),
            || round(&mut ours, ticks, held),
        ),
        Contender::new(
            Row::new(PLAIN, "orders in a HashMap, levels in a BTreeMap, each with a VecDeque as its queue"),
            || round(&mut plain, ticks, held),
        ),
        Contender::new(
            Row::new("hftbacktest 0.9.4", "its HashMapMarketDepth by order, one an instrument; no queues"),
            || round(&mut theirs, ticks, held),
        ),
    ];
    measure(&[Kind::lower(name, "ns/update")], PLAIN, effort, contenders)
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
