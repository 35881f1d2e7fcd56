//! The loop: one thing after the other, in the order of its time.
//!
//! What is due at the same time goes in this order: reports to the host, feature records to the host, ticks, instructions to the
//! market. So the host knows what it was told before it sees the next tick, as in the strategy process, and an order meets
//! the book of every tick of its own moment. Latencies are constant, so each of the three queues stays in order by itself.
//!
//! Who owns what: `Stage` the engines and what is on its way, `Account` what trades come to, the market its orders. The books
//! are the host's; the market and the account look at them.

use crate::account::{Account, Fill};
use crate::document::{Backtest, InstrumentSection};
use crate::lines::{self, Checksum};
use crate::market::{Market, Reports, Told};
use crate::outcome::{Amount, InputFigures, OrderFigures, Outcome};
use crate::source::row_of;
use crate::source::{Definition, Next, Position, Source, SourceError};
use crate::traded::Traded;
use book::{Books, Limits};
use bus::config::{InstrumentKey, Problem};
use bus::{
    FeatureRecord, FeatureSchema, Instruction, OrderAction, OrderSide, ReportKind, Score, TradingMode,
};
use std::collections::VecDeque;
use std::sync::Arc;
use strategy::host::{Host, HostConfig, IdMaker, MarketState, Output};
use strategy::models::Model;
use strategy::strategies;
use tick::{Action, Flags, Price, Side, StatusAction, Tick};

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Time of the recording, ns since the epoch.
    pub now_ns: u64,
    /// Ticks so far.
    pub ticks: u64,
    /// How far the source is.
    pub position: Position,
    /// Won so far, after fees.
    pub net: Amount,
    /// Trades so far.
    pub fills: u64,
}

/// Looks at a run while it goes on.
pub trait Watch {
    /// Every [`PROGRESS_TICKS`] ticks; no stops the run.
    fn progress(&mut self, progress: &Progress) -> bool {
        let _ = progress;
        true
    }

    /// An instruction was made.
    fn instruction(&mut self, instruction: &Instruction) {
        let _ = instruction;
    }

    /// The market told something, or a strategy's instruction was denied (number 0).
    fn report(&mut self, told: &Told) {
        let _ = told;
    }

    /// A model gave a score.
    fn score(&mut self, score: &Score) {
        let _ = score;
    }
}

impl<F: FnMut(&Progress) -> bool> Watch for F {
    fn progress(&mut self, progress: &Progress) -> bool {
        self(progress)
    }
}

/// Ticks between two looks at the progress.
pub const PROGRESS_TICKS: u64 = 65_536;

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The ticks cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There are no ticks.
    #[error("the source has no ticks; nothing was run")]
    Empty,
    /// The watcher stopped it.
    #[error("stopped after {ticks} ticks")]
    Stopped {
        /// Ticks until then.
        ticks: u64,
    },
    /// A position is carried in, and what it is worth is not known.
    #[error(
        "opening position of {0:?}: its multiplier is not known; say it under `instruments`, with its `key`"
    )]
    Multiplier(InstrumentKey),
    /// A strategy traded nothing because none of its instruments was ever defined.
    #[error(
        "strategy {0:?}: none of its instruments was defined by the source; name them under `instruments`, with their `key`"
    )]
    NoInstrument(String),
    /// A strategy asks for a model that was not given, or that does not fit the features.
    #[error("{0}")]
    Model(String),
    /// A strategy cannot be built.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Strategy(Vec<Problem>),
}

/// Runs the strategies over the ticks.
///
/// # Errors
/// Why there is no outcome.
pub fn run(
    backtest: &Backtest,
    source: &mut impl Source,
    market: &mut impl Market,
    watch: &mut impl Watch,
) -> Result<Outcome, RunError> {
    let limits = limits(source.orders_max());
    let mut stage = Stage::new(backtest, limits, market, watch)?;
    loop {
        match source.next(stage.next_due_ns)? {
            Next::Tick(tick) => {
                stage.tick(&tick);
                if stage.input.ticks.is_multiple_of(PROGRESS_TICKS) && !stage.go_on(source.position()) {
                    return Err(RunError::Stopped { ticks: stage.input.ticks });
                }
            }
            Next::Defined(definition) => stage.define(*definition),
            Next::Later => stage.deliver(),
            Next::End => break,
        }
    }
    if stage.input.ticks == 0 {
        return Err(RunError::Empty);
    }
    stage.go_on(source.position());
    stage.close()
}

/// The status that is assumed of an instrument whose first tick this is.
pub fn assumed_status(first: &Tick) -> Tick {
    Tick {
        ts_recv: first.ts_recv,
        sequence: first.sequence,
        size: u32::from(StatusAction::Trading.0),
        instrument_id: first.instrument_id,
        publisher_id: first.publisher_id,
        channel_id: first.channel_id,
        action: Action::Status,
        side: Side::None,
        flags: if first.flags.contains(Flags::MAYBE_BAD_BOOK) { Flags::MAYBE_BAD_BOOK } else { Flags::NONE },
        ..Tick::EMPTY
    }
}

/// The models that the strategies ask for, if all of them fit the features.
fn models(backtest: &Backtest, schemas: &[FeatureSchema]) -> Result<Vec<Arc<Model>>, String> {
    let chosen = strategy::models::choose(&backtest.strategy, &backtest.models)?;
    for model in &chosen {
        let named =
            |refusal| format!("model {} version {}: {refusal}", model.card().name, model.card().version);
        model.check_schemas(schemas).map_err(named)?;
    }
    Ok(chosen)
}

/// What books take memory for. A table of orders that is mostly empty costs a page of memory for nearly every order in it,
/// so a short recording is given a small one, which holds all that it has just as well.
fn limits(orders_max: Option<usize>) -> Limits {
    let most = Limits::default();
    let orders = orders_max.map_or(most.orders, |orders| orders.clamp(Limits::SMALL.orders, most.orders));
    Limits { orders, ..most }
}

/// A record of features on its way.
struct Record {
    due_ns: u64,
    head: FeatureRecord<'static>,
    values: Vec<u8>,
}

/// The engines, and what is on its way between them.
struct Stage<'a, M, W> {
    backtest: &'a Backtest,
    market: &'a mut M,
    watch: &'a mut W,
    engine: Option<features::Engine>,
    host: Host,
    account: Account,
    traded: Traded,
    now_ns: u64,
    /// Whether trading has begun.
    trades: bool,
    /// Before this time nothing is due but ticks.
    next_due_ns: u64,
    records: VecDeque<Record>,
    /// Memory of records that arrived, for the next.
    spare: Vec<Vec<u8>>,
    instructions: VecDeque<(u64, Instruction)>,
    reports: VecDeque<(u64, Told)>,
    fresh: Reports,
    input: InputFigures,
    orders: OrderFigures,
    checksum: Checksum,
}

impl<'a, M: Market, W: Watch> Stage<'a, M, W> {
    fn new(
        backtest: &'a Backtest,
        limits: Limits,
        market: &'a mut M,
        watch: &'a mut W,
    ) -> Result<Self, RunError> {
        let engine = (!backtest.sets.is_empty()).then(|| features::Engine::new(&backtest.sets, limits));
        let schemas = engine.as_ref().map_or(&[][..], features::Engine::schemas);
        let strategies = strategies::hosted(&backtest.strategy, Some(schemas)).map_err(RunError::Strategy)?;
        let mut host = Host::new(HostConfig {
            risk: &backtest.strategy.risk,
            answer_within_ns: backtest.strategy.answer_within_ms.saturating_mul(1_000_000),
            opening: &backtest.strategy.opening,
            opening_reports: &[],
            ids: IdMaker::new(0, 0),
            books: Books::new(limits),
            market: MarketState::default(),
            strategies,
        });
        for schema in schemas {
            host.add_schema(schema.id(), schema.clone());
        }
        let models = models(backtest, schemas).map_err(RunError::Model)?;
        let mut stage = Stage {
            traded: Traded::new(&backtest.strategy),
            account: Account::new(backtest.document.execution.fees),
            backtest,
            market,
            watch,
            engine,
            host,
            now_ns: 0,
            trades: false,
            next_due_ns: u64::MAX,
            records: VecDeque::new(),
            spare: Vec::new(),
            instructions: VecDeque::new(),
            reports: VecDeque::new(),
            fresh: Reports::default(),
            input: InputFigures::default(),
            orders: OrderFigures::default(),
            checksum: Checksum::default(),
        };
        for (symbol, section) in &backtest.document.instruments {
            if let Some(key) = section.key {
                stage.define(Definition { key, row: row_of(symbol) });
            }
        }
        stage.carry_in()?;
        models.iter().for_each(|model| stage.host.model(0, model));
        Ok(stage)
    }

    /// Positions from before the first tick.
    fn carry_in(&mut self) -> Result<(), RunError> {
        for opening in &self.backtest.strategy.opening {
            if !self.is_defined(opening.instrument) {
                return Err(RunError::Multiplier(opening.instrument));
            }
            let (name, key) = (&opening.strategy, opening.instrument);
            self.account.carry_in(name, key, opening.position, opening.price.0);
        }
        Ok(())
    }

    /// Begins with the first tick.
    #[cold]
    fn begin(&mut self, tick: &Tick) {
        self.now_ns = tick.ts_recv;
        self.input.first_ns = tick.ts_recv;
        self.account.begin(tick.ts_recv);
        self.host.rebuilt();
        self.begin_to_trade();
        self.host.go_live(tick.ts_recv);
    }

    /// Trading begins when it is time to.
    fn begin_to_trade(&mut self) {
        if self.backtest.document.trade_from_ns.is_none_or(|from_ns| from_ns <= self.now_ns) {
            self.trades = true;
            self.host.trading(self.now_ns, Some(TradingMode::Active));
        }
    }

    fn tick(&mut self, tick: &Tick) {
        if self.input.ticks == 0 {
            self.begin(tick);
        }
        self.input.ticks += 1;
        self.now_ns = self.now_ns.max(tick.ts_recv);
        if !self.trades {
            self.begin_to_trade();
        }
        let books = self.host.books().len();
        self.take(tick);
        if self.host.books().len() > books {
            self.meet(tick);
        }
    }

    /// An instrument's first tick.
    #[cold]
    fn meet(&mut self, tick: &Tick) {
        if self.backtest.document.assumes_trading() {
            self.input.assumed_statuses += 1;
            self.take(&assumed_status(tick));
        }
        self.traded.meet(self.now_ns, self.host.books());
        self.tell_trading(InstrumentKey {
            publisher_id: tick.publisher_id,
            instrument_id: tick.instrument_id,
        });
    }

    /// Gives a tick to everybody.
    #[inline]
    fn take(&mut self, tick: &Tick) {
        if let Some(engine) = &mut self.engine {
            let due_ns = self.now_ns.saturating_add(self.backtest.document.execution.feature_latency_ns());
            let (records, spare) = (&mut self.records, &mut self.spare);
            engine.tick(tick, &mut |_, record| {
                let mut values = spare.pop().unwrap_or_default();
                values.clear();
                values.extend_from_slice(record.values);
                records.push_back(Record { due_ns, head: FeatureRecord { values: &[], ..*record }, values });
            });
            if let Some(record) = self.records.front() {
                self.next_due_ns = self.next_due_ns.min(record.due_ns);
            }
        }
        self.host.tick(self.now_ns, tick);
        if !self.host.is_silent() {
            self.send();
        }
        self.market.tick(self.now_ns, tick, self.host.books(), &mut self.fresh);
        if !self.fresh.is_empty() {
            self.tell();
        }
        if tick.instrument_id == 0 || tick.action == Action::Status {
            self.rare(tick);
        } else if tick.flags.contains(Flags::LAST) {
            self.traded.event(self.now_ns, tick, self.host.books(), &mut self.account);
        }
    }

    /// A gap, a clear of a channel, or a status.
    #[cold]
    fn rare(&mut self, tick: &Tick) {
        match tick.action {
            Action::Gap => self.input.gaps += 1,
            Action::Clear => self.input.clears += 1,
            Action::Status if tick.instrument_id == 0 => {
                for key in self.host.traded().collect::<Vec<_>>() {
                    self.tell_trading(key);
                }
            }
            Action::Status => {
                let (publisher_id, instrument_id) = (tick.publisher_id, tick.instrument_id);
                self.tell_trading(InstrumentKey { publisher_id, instrument_id });
            }
            _ => {}
        }
        self.traded.look_at_all(self.now_ns, self.host.books());
    }

    /// Tells the market whether an instrument trades, by what the host knows.
    fn tell_trading(&mut self, key: InstrumentKey) {
        let strategies = &self.backtest.strategy.strategies;
        let trades = strategies.iter().any(|entry| {
            let desk = self.host.desk(&entry.name);
            desk.is_some_and(|desk| desk.status(key) == StatusAction::Trading)
        });
        self.market.trading(self.now_ns, key, trades, self.host.books(), &mut self.fresh);
        if !self.fresh.is_empty() {
            self.tell();
        }
    }

    /// An instrument, as the source says it and the document corrects it.
    fn define(&mut self, definition: Definition) {
        let Definition { key, mut row } = definition;
        let instruments = &self.backtest.document.instruments;
        let by_key = instruments.iter().find(|(_, section)| section.key == Some(key));
        let said = by_key.or_else(|| {
            let found = instruments.get_key_value(&row.symbol);
            found.filter(|(_, section)| section.key.is_none())
        });
        if let Some((symbol, InstrumentSection { tick_size, multiplier, .. })) = said {
            row.symbol.clone_from(symbol);
            row.tick_size = tick_size.map(|text| text.0.0).or(row.tick_size);
            row.multiplier = multiplier.map(|text| text.0.0).or(row.multiplier);
        }
        // A share is a share; of all others the venue or the document must say what a point is worth.
        if row.kind == "equity" {
            row.multiplier = row.multiplier.or(Some(tick::PRICE_SCALE));
        }
        self.host.define(key, &row);
        self.traded.defined(self.now_ns, key, &row.symbol, self.host.books());
        self.tell_trading(key);
    }

    /// Whether it is known what a point of the instrument is worth; the account knows it then, too.
    fn is_defined(&mut self, key: InstrumentKey) -> bool {
        if self.account.knows(key) {
            return true;
        }
        let strategies = &self.backtest.strategy.strategies;
        let multiplier = strategies
            .iter()
            .find_map(|entry| self.host.desk(&entry.name).and_then(|desk| desk.instrument(key)?.multiplier));
        multiplier.map(|multiplier| self.account.define(key, multiplier)).is_some()
    }

    /// Sends on what the host gives out.
    fn send(&mut self) {
        let due_ns = self.now_ns.saturating_add(self.backtest.document.execution.order_latency_ns());
        for output in self.host.outputs() {
            match output {
                Output::Instruction(instruction) => {
                    let counted = match instruction.action {
                        OrderAction::New { .. } => &mut self.orders.sent,
                        OrderAction::Replace { .. } => &mut self.orders.replacements,
                        OrderAction::Cancel { .. } => &mut self.orders.cancels,
                    };
                    *counted += 1;
                    self.checksum.add(lines::instruction(&instruction).as_bytes());
                    self.watch.instruction(&instruction);
                    self.instructions.push_back((due_ns, instruction));
                    self.next_due_ns = self.next_due_ns.min(due_ns.saturating_add(1));
                }
                // It is on its way, and an id that is known is not sent again.
                Output::Again(_) => self.orders.repeated += 1,
                Output::Score(score) => {
                    self.input.scores += 1;
                    self.watch.score(&score);
                }
                Output::Denied(report) => self.watch.report(&Told { report, liquidity: None }),
            }
        }
    }

    /// Books what the market told, and sends it on.
    fn tell(&mut self) {
        let due_ns = self.now_ns.saturating_add(self.backtest.document.execution.report_latency_ns());
        let mut fresh = std::mem::take(&mut self.fresh);
        for told in fresh.drain() {
            self.book(&told);
            self.watch.report(&told);
            self.reports.push_back((due_ns, told));
            self.next_due_ns = self.next_due_ns.min(due_ns);
        }
        self.fresh = fresh;
    }

    fn book(&mut self, told: &Told) {
        let report = &told.report;
        match report.kind {
            ReportKind::Rejected | ReportKind::CancelRejected => self.orders.rejected += 1,
            ReportKind::Cancelled => self.orders.cancelled += 1,
            ReportKind::Filled => {
                self.orders.filled += u64::from(report.filled == report.last_quantity);
                let (publisher_id, instrument_id) = (report.publisher_id, report.instrument_id);
                let key = InstrumentKey { publisher_id, instrument_id };
                let quantity = i64::try_from(report.last_quantity).unwrap_or(i64::MAX);
                let signed = if report.side == Some(OrderSide::Buy) { quantity } else { -quantity };
                let price = report.last_price.unwrap_or(Price(0));
                if let Some(liquidity) = told.liquidity
                    && self.is_defined(key)
                {
                    let fill = Fill { key, signed, price, liquidity };
                    self.account.fill(self.now_ns, report, &fill);
                }
            }
            _ => {}
        }
    }

    /// Delivers what is due next, before the next tick.
    fn deliver(&mut self) {
        let report = self.reports.front().map_or(u64::MAX, |(due_ns, _)| *due_ns);
        let record = self.records.front().map_or(u64::MAX, |record| record.due_ns);
        let instruction = self.instructions.front().map_or(u64::MAX, |(due_ns, _)| *due_ns);
        if report <= record && report <= instruction {
            if let Some((due_ns, told)) = self.reports.pop_front() {
                self.now_ns = self.now_ns.max(due_ns);
                self.host.report(self.now_ns, &told.report);
            }
        } else if record <= instruction {
            if let Some(Record { due_ns, head, values }) = self.records.pop_front() {
                self.now_ns = self.now_ns.max(due_ns);
                self.host.features(self.now_ns, &FeatureRecord { values: &values, ..head });
                self.spare.push(values);
            }
        } else if let Some((due_ns, instruction)) = self.instructions.pop_front() {
            self.now_ns = self.now_ns.max(due_ns);
            self.market.instruct(self.now_ns, &instruction, self.host.books(), &mut self.fresh);
            self.tell();
        }
        self.send();
        let report = self.reports.front().map_or(u64::MAX, |(due_ns, _)| *due_ns);
        let record = self.records.front().map_or(u64::MAX, |record| record.due_ns);
        let instruction = self.instructions.front().map_or(u64::MAX, |(due_ns, _)| due_ns.saturating_add(1));
        self.next_due_ns = report.min(record).min(instruction);
    }

    fn go_on(&mut self, position: Position) -> bool {
        self.watch.progress(&Progress {
            now_ns: self.now_ns,
            ticks: self.input.ticks,
            position,
            net: self.account.net(),
            fills: self.account.fills(),
        })
    }

    /// The end: what is open is cancelled, what is owned is valued.
    fn close(mut self) -> Result<Outcome, RunError> {
        if let Some(name) = self.traded.without_instruments(&mut self.host) {
            return Err(RunError::NoInstrument(name));
        }
        self.orders.in_flight_at_end = self.instructions.len() as u64;
        let cancelled = self.orders.cancelled;
        self.market.close(self.now_ns, &mut self.fresh);
        self.tell();
        let counts = self.market.counts();
        let arrived = counts.orders;
        let orders = OrderFigures {
            open_at_end: self.orders.cancelled - cancelled,
            fill_ratio: (arrived > 0).then(|| self.orders.filled as f64 / arrived as f64),
            ..self.orders
        };
        let (bad_book_ns, watched_ns) = self.traded.close(self.now_ns, self.host.books());
        let input = InputFigures {
            last_ns: self.now_ns,
            refused_ticks: self.host.counts().refused_ticks,
            feature_records: self.engine.as_ref().map_or(0, features::Engine::number),
            bad_book_ns,
            watched_ns,
            trades_in_bad_book: counts.trades_in_bad_book,
            trades_not_trading: counts.trades_not_trading,
            undefined_publishers: self.host.take_undefined(),
            ..self.input
        };
        let denials = self.host.denials().map(|(reason, count)| (reason.word().to_owned(), count)).collect();
        let trouble = self.host.trouble().map(|trouble| trouble.to_string());
        let closed = self.account.close(self.now_ns);
        Ok(Outcome {
            input,
            money: closed.money,
            orders,
            trades: closed.trades,
            exposure: closed.exposure,
            denials,
            holdings: closed.holdings,
            curve: closed.curve,
            instructions_checksum: self.checksum.text(),
            trouble,
        })
    }
}
