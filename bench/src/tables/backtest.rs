//! Table (k): a backtest, ticks a second on one core, stage by stage and beside hftbacktest.
//!
//! The ticks are in memory before a clock is looked at; a figure is the time of a whole run over them, with making the
//! engines and the outcome. The stages are runs of their own: books alone; a feature engine, which has books, too; both
//! and a strategy process's host, whose orders are answered and never trade; the whole. The second session is the simulated
//! venue's, recorded without an order of ours.
//!
//! hftbacktest (Python, numba) runs its own quoter over the same ticks. What is alike: a book by order on either side, orders
//! in a queue first in, first out, latencies of orders and reports, a quoter with two quotes. What is not: it has no
//! features, no risk checks, no instructions and reports as records; it fills an order whole; it looks at what arrived at one
//! moment at once; it keeps two books, one as the exchange has it and one as it is received, and we one beside the
//! feature engine's.

mod quiet;

use crate::corpus;
use crate::harness::{Contender, Effort, Kind, Metric, Round, Row, Table, Target, measure};
use crate::python;
use anyhow::{Context, Result, ensure};
use backtest::market::venue::{self, VenueSection};
use backtest::market::{Market, RecordedMarket};
use backtest::run::Progress;
use backtest::source::{DbnReader, Recorded};
use backtest::sweep::Kept;
use backtest::{Backtest, Outcome, run};
use book::{Books, Limits};
use features::Engine;
use quiet::Quiet;
use serde::Deserialize;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use tick::{Side, Tick};
use zerocopy::IntoBytes;

const REFERENCE: &str = "hftbacktest 2.4.4 (Python, numba)";
/// Of the whole way.
const TARGET_TICKS_PER_S: f64 = 2e6;
const LATENCY_NS: u64 = 200_000;

const HEAD: &str = "redis: unix:///nowhere\nhealth: {listen: '127.0.0.1:0'}\n";
const STRATEGY: &str = "
answer_within_ms: 60000
risk:
  total: {position_max: 100000, exposure_max: 1000000000, open_orders_max: 1000, messages_per_second: 100000, message_burst: 100000, drawdown_max: 100000000}
  default:
    collar_basis_points: 10000
    collar_price: '1000000'
    order_quantity_max: 10000
    order_notional_max: 1000000000
    position_max: 100000
    exposure_max: 1000000000
    open_orders_max: 1000
    messages_per_second: 1000
    message_burst: 1000
    duplicate_window_ms: 1
    quote_age_max_ms: 3600000
    drawdown_max: 100000000
  sessions: [{days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], open: '00:00', close: '24:00'}]
strategies:
";
const QUOTER: &str = "quoter: {half_spread_ticks: 1, size: 1, position_max: 5, quiet_ms: 3600000}";
const MOMENTUM: &str =
    "ofi_momentum: {window_ms: 1000, enter_ticks: 0.3, clip: 1, position: 3, hold_ms: 5000, cross_ticks: 1}";
/// The 25 values of table (g), as a document.
const FEATURES: &str = "
sets:
  - name: typical
    bars: {time_ms: 250}
    publish: {every_ms: 100}
    features: [spread, mid, microprice, imbalance: {levels: 1}, imbalance: {levels: 5}, ofi: {bars: 10}, ofi: {bars: 60}, trade_imbalance: {bars: 10}, trade_imbalance: {bars: 60}, kyle_lambda: {bars: 30}, amihud: {bars: 30}, vpin: {bucket: 500, buckets: 50}, vwap: {bars: 20}, vwap: {bars: 60}, vwap_session: {start_s: 52200}, sma: {bars: 20}, sma: {bars: 60}, ema: {bars: 12}, ema: {bars: 26}, rsi: {bars: 14}, bollinger: {bars: 20, deviations: 2.0}, realised_volatility: {bars: 30}, realised_volatility: {bars: 60}]
";

/// Ticks of one instrument, and how it is called.
struct Session {
    name: String,
    kept: Kept,
    symbol: &'static str,
    /// As text and as a number.
    tick_size: &'static str,
    /// Whether statuses are in it.
    assume_trading: bool,
}

impl Session {
    /// The documents of a run with this strategy.
    fn backtest(&self, strategy: &str, features: bool) -> Result<Backtest> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text);
        let symbol = self.symbol;
        write(
            "strategy.yaml",
            format!("{HEAD}{STRATEGY}  - {{name: one, venue: sim, instruments: [{symbol}], {strategy}}}\n"),
        )?;
        write("features.yaml", format!("{HEAD}{FEATURES}"))?;
        let named = if features { "features: features.yaml\n" } else { "" };
        let latency_us = LATENCY_NS / 1_000;
        let document = format!(
            "source: {{ticks: {{path: none}}}}\nstrategy: strategy.yaml\n{named}instruments: {{{symbol}: {{tick_size: '{}', multiplier: '50'}}}}\n\
             execution: {{order_latency_us: {latency_us}, report_latency_us: {latency_us}, feature_latency_us: 50, queue: by_order, assume_trading: {}}}\n",
            self.tick_size, self.assume_trading
        );
        write("backtest.yaml", document)?;
        Ok(Backtest::load(&folder.path().join("backtest.yaml"))?)
    }

    fn ticks(&self) -> &[Tick] {
        self.kept.ticks()
    }

    /// Ticks a second, and ns a tick.
    fn round(&self, seconds: f64, note: String) -> Round {
        let ticks = self.ticks().len() as f64;
        Round { figures: vec![ticks / seconds, seconds * 1e9 / ticks], note }
    }

    fn run(&self, backtest: &Backtest, market: &mut impl Market) -> Result<(f64, Outcome)> {
        let mut source = self.kept.replay();
        let began = Instant::now();
        let outcome = run(backtest, &mut source, market, &mut |_: &Progress| true)?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(outcome.trouble.is_none(), "the host stopped: {:?}", outcome.trouble);
        Ok((seconds, outcome))
    }

    /// A whole run with this strategy.
    fn whole(&self, backtest: &Backtest) -> Result<Round> {
        let (seconds, outcome) =
            self.run(backtest, &mut RecordedMarket::new(backtest.document.execution.queue))?;
        let sent = outcome.orders.sent + outcome.orders.replacements + outcome.orders.cancels;
        Ok(self.round(seconds, format!("{sent} instructions, {} fills", outcome.trades.fills)))
    }

    /// Books alone, both best prices looked at.
    fn books(&self) -> Round {
        let began = Instant::now();
        let mut books = Books::new(Limits::default());
        for tick in self.ticks() {
            if let Some(id) = books.apply(tick).book {
                let book = books.book(id);
                black_box((book.best(Side::Bid), book.best(Side::Ask)));
            }
        }
        black_box(&books);
        self.round(began.elapsed().as_secs_f64(), String::new())
    }

    /// The feature engine with its books.
    fn features(&self, backtest: &Backtest) -> Round {
        let mut records = 0u64;
        let began = Instant::now();
        let mut engine = Engine::new(&backtest.sets, Limits::default());
        for tick in self.ticks() {
            engine.tick(tick, &mut |_, record| {
                black_box(record.values);
                records += 1;
            });
        }
        self.round(began.elapsed().as_secs_f64(), format!("{records} records"))
    }

    fn metrics(&self, effort: Effort) -> Result<Vec<Metric>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ticks");
        std::fs::write(&file, self.ticks().as_bytes()).context("keeping the ticks")?;
        let [bare, quoter, momentum] = [(QUOTER, false), (QUOTER, true), (MOMENTUM, true)]
            .map(|(strategy, features)| self.backtest(strategy, features));
        let (bare, quoter, momentum) = (bare?, quoter?, momentum?);
        let target = [Target::Figure(TARGET_TICKS_PER_S)];
        let rows = |what: &str, does: &str, targets: &[Target]| {
            vec![Row::new(what, does).aiming(targets), Row::new(what, does)]
        };
        let contenders = vec![
            Contender::several(rows("book", "books alone, both best prices of every tick", &[]), || {
                Ok(self.books())
            }),
            Contender::several(
                rows(
                    "book, features",
                    "the feature engine with its books: 25 values ten times a second",
                    &[],
                ),
                || Ok(self.features(&quoter)),
            ),
            Contender::several(
                rows(
                    "book, features, quoter",
                    "and the host: another book, desk, risk checks; orders are answered and never trade",
                    &[],
                ),
                || {
                    self.run(&quoter, &mut Quiet::default())
                        .map(|(seconds, _)| self.round(seconds, String::new()))
                },
            ),
            Contender::several(
                rows("book, features, quoter, matching", "the whole backtest", &target),
                || self.whole(&quoter),
            ),
            Contender::several(
                rows("book, features, ofi_momentum, matching", "the whole backtest", &target),
                || self.whole(&momentum),
            ),
            Contender::several(
                rows("book, quoter, matching", "without features, as hftbacktest is", &[]),
                || self.whole(&bare),
            ),
            Contender::several(
                rows(
                    REFERENCE,
                    "two books, its quoter, its queues by order; the data in its own form beforehand",
                    &[],
                ),
                || self.reference(&file),
            ),
        ];
        let name = &self.name;
        let kinds = [
            Kind::higher(&format!("{name}: rate"), "ticks/s"),
            Kind::lower(&format!("{name}: cost"), "ns/tick"),
        ];
        Ok(measure(&kinds, REFERENCE, effort, contenders))
    }

    fn reference(&self, file: &Path) -> Result<Round> {
        let mut command = python::reference_hftbacktest("quoter.py")?;
        let latency = LATENCY_NS.to_string();
        let ran: Ran = python::result(command.arg(file).args([self.tick_size, &latency, &latency]))?;
        ensure!(ran.ticks == self.ticks().len(), "it read {} ticks of {}", ran.ticks, self.ticks().len());
        Ok(self.round(ran.seconds, format!("{} rows, {} looks, {} fills", ran.events, ran.steps, ran.fills)))
    }
}

/// What the reference says of its run.
#[derive(Deserialize)]
struct Ran {
    ticks: usize,
    events: u64,
    seconds: f64,
    steps: u64,
    fills: u64,
}

/// A recording of the simulated venue without an order of ours.
fn recorded_venue(seconds: u32) -> Result<Session> {
    let section = VenueSection { seed: 20_240_103, symbols: 1, seconds, events_per_second: Some(20_000) };
    let (mut source, _) = venue::open(&section)?;
    let kept = Kept::read(&mut source)?;
    let name = format!("the simulated venue, {} ticks of one symbol", kept.ticks().len());
    Ok(Session { name, kept, symbol: "S1", tick_size: "0.01", assume_trading: false })
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let mut metrics = Vec::new();
    if let Some(path) = corpus::capture("databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst") {
        let kept = Kept::read(&mut Recorded::new(DbnReader::open(&path)?))?;
        let name = format!("a day of one future, {} real records", kept.ticks().len());
        let session = Session { name, kept, symbol: "ESH4", tick_size: "0.25", assume_trading: true };
        metrics.extend(session.metrics(effort)?);
    }
    metrics.extend(recorded_venue(effort.scaled(100) as u32)?.metrics(effort)?);
    Ok(Table { id: 'k', title: "backtest", metrics })
}
