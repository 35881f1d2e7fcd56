//! Everything between a shard's inputs and its orders, as a function: inputs with their times in, instructions and
//! denials out. It has no clock, socket, thread or random number, so the same inputs in the same order give the same
//! bytes, live and in a backtest.
//!
//! ```text
//! tick ─► market (books, states) ─► risk ─┐
//! features ─► market (latest) ────────────┤                       ┌─ passed ─► orders ─► Output::Instruction
//! report ─► risk, orders, ledgers ────────┼─► Strategy ─► Desk ─► risk
//! trading state ─► risk ──────────────────┤                       └─ denied ──────────► Output::Denied
//! time ─► what waits for an answer ───────┘─► risk (unknown), Output::Again
//! ```
//!
//! Who owns what: `market` books, instruments and features; `orders` the open orders and what waits for an answer;
//! `ledger` what each strategy owns; `send` the way out, `follow` the way back, `rebuild` the way back after a restart;
//! the risk engine what may be sent.
//!
//! Invariant: strategies are called only between [`Host::go_live`] and the end; before that the host is brought up to date with
//! what happened while nobody was here.

mod denied;
mod follow;
mod ids;
mod ledger;
mod market;
mod orders;
mod rebuild;
mod send;

pub use ids::IdMaker;
pub use market::{MarketState, Said};
pub use rebuild::{Rebuilt, rebuild};

use crate::desk::{Desk, Features, Unscored};
use crate::models::Model;
use crate::risk::{Engine, Money, Reason, State};
use crate::strategy::{Strategy, TIME_STEP_NS};
use book::Books;
use bus::config::{
    InstrumentChoice, InstrumentKey, InstrumentLimits, OpeningPosition, PriceText, RiskDocument,
};
use bus::{FeatureRecord, FeatureSchema, Instruction, InstrumentRow, OrderId, Report, Score, TradingMode};
use ledger::{Holding, Ledger};
use market::Market;
use orders::Orders;
use std::collections::{BTreeMap, HashMap};
use tick::{Action, Flags, Price, Tick};

/// A strategy and what it is configured for.
pub struct HostedStrategy {
    /// Its name, unique: what its orders and positions are kept by.
    pub name: String,
    /// The gateway session that sends its orders.
    pub venue: String,
    /// Its own instruments.
    pub instruments: InstrumentChoice,
    /// The strategy.
    pub strategy: Box<dyn Strategy>,
}

/// What a host is made with.
pub struct HostConfig<'a> {
    /// The limits of the orders.
    pub risk: &'a RiskDocument,
    /// How long an instruction may go without a report before it is told as unknown and published again, ns.
    pub answer_within_ns: u64,
    /// Positions from before the first report.
    pub opening: &'a [OpeningPosition],
    /// For venues whose first reports are in `opening`: the number of the last of these.
    pub opening_reports: &'a [(String, u64)],
    /// Makes the order ids.
    pub ids: IdMaker,
    /// The books, empty or restored.
    pub books: Books,
    /// What venues said about trading, up to where the books are.
    pub market: MarketState,
    /// The strategies.
    pub strategies: Vec<HostedStrategy>,
}

/// Something to be published, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// A new instruction.
    Instruction(Instruction),
    /// An instruction that nobody has answered, once more.
    Again(Instruction),
    /// An instruction that is not sent, for the stream of reports.
    Denied(Report),
    /// What a model says.
    Score(Score),
}

/// Why nothing new passes although all was read back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// Reports are missing.
    #[error("reports {from} to {to} of {venue} are missing")]
    Hole {
        /// The venue.
        venue: String,
        /// First missing number.
        from: u64,
        /// Last missing number.
        to: u64,
    },
    /// A report contradicts what is known.
    #[error("{0} reports contradict what is known of the orders")]
    Doubt(u64),
}

/// How often something happened since the host was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Ticks applied.
    pub ticks: u64,
    /// Ticks that a book did not take as they stand.
    pub refused_ticks: u64,
    /// Records of features.
    pub features: u64,
    /// Reports that were followed.
    pub reports: u64,
    /// Reports that were told before.
    pub repeated_reports: u64,
    /// Reports about orders that no strategy here made.
    pub foreign_reports: u64,
    /// Scores of models.
    pub scores: u64,
    /// Records without a score, because a feature is missing.
    pub unscored_missing: u64,
    /// Records without a score, because they are not of the model's schema.
    pub unscored_schema: u64,
    /// Records without a score, because the model gave none.
    pub unscored_failed: u64,
}

/// One shard's strategies and all that they see.
pub struct Host {
    core: Core,
    running: Vec<Running>,
}

struct Running {
    /// Index of its ledger.
    ledger: usize,
    strategy: Box<dyn Strategy>,
}

/// All but the strategies: what a desk works on.
pub(crate) struct Core {
    pub(crate) now_ns: u64,
    /// `ts_recv` of the tick that is being worked on; 0 = none.
    cause_ns: u64,
    pub(crate) mode: TradingMode,
    pub(crate) market: Market,
    engine: Engine,
    pub(crate) orders: Orders,
    pub(crate) ledgers: Vec<Ledger>,
    ids: IdMaker,
    out: Vec<Output>,
    answer_within_ns: u64,
    /// Of each venue: the number of its last report.
    numbers: HashMap<String, u64>,
    trouble: Option<Trouble>,
    risk: RiskDocument,
    counts: Counts,
    denials: BTreeMap<Reason, u64>,
    live: bool,
    rebuilt: bool,
    stepped_ns: u64,
}

impl Host {
    /// A host that knows its books and nothing else. Nothing new passes before [`Host::rebuilt`], strategies are not
    /// called before [`Host::go_live`], and there is no trading before [`Host::trading`].
    pub fn new(config: HostConfig<'_>) -> Host {
        let mut engine = Engine::new(config.risk);
        engine.set_state(State::Halted);
        let mut core = Core {
            now_ns: 0,
            cause_ns: 0,
            mode: TradingMode::Halted,
            market: Market::new(config.books, config.market),
            engine,
            orders: Orders::new(config.risk.total.order_ids_max as usize),
            ledgers: Vec::new(),
            ids: config.ids,
            out: Vec::new(),
            answer_within_ns: config.answer_within_ns,
            numbers: config.opening_reports.iter().cloned().collect(),
            trouble: None,
            risk: config.risk.clone(),
            counts: Counts::default(),
            denials: BTreeMap::new(),
            live: false,
            rebuilt: false,
            stepped_ns: 0,
        };
        let mut running = Vec::with_capacity(config.strategies.len());
        for HostedStrategy { name, venue, instruments, strategy } in config.strategies {
            running.push(Running { ledger: core.ledgers.len(), strategy });
            core.ledgers.push(Ledger::new(&name, &venue, Some(instruments)));
        }
        config.opening.iter().for_each(|opening| core.carry_in(opening));
        Host { core, running }
    }

    /// Other limits and strategies from now on. A strategy whose `strategy` is none here goes on as it is; the orders
    /// of one that is not named any more are cancelled. Instruments that nobody traded before are undefined after it: see
    /// [`Host::take_undefined`].
    pub fn configure(&mut self, now_ns: u64, risk: &RiskDocument, strategies: Vec<Reconfigured>) {
        self.advance(now_ns);
        let core = &mut self.core;
        core.engine.configure(risk);
        core.risk = risk.clone();
        let mut before = std::mem::take(&mut self.running);
        core.ledgers.iter_mut().for_each(|ledger| ledger.forget_choice());
        for Reconfigured { name, venue, instruments, strategy } in strategies {
            let ledger = core.ledger_or_add(&name, &venue);
            core.ledgers[ledger].choice = Some(instruments);
            let kept = before.iter().position(|running| running.ledger == ledger);
            let strategy = strategy.or_else(|| kept.map(|at| before.swap_remove(at).strategy));
            if let Some(strategy) = strategy {
                self.running.push(Running { ledger, strategy });
            }
        }
        core.market.traded.iter_mut().for_each(|traded| traded.followers.clear());
        for place in 0..core.market.traded.len() as u32 {
            core.market.choose(place, &mut core.ledgers);
            core.follow_place(place);
        }
        core.market.forget_nobodys();
        self.meet_followers();
        self.core.cancel_of_nobody();
    }

    /// An instrument's definition, as the table has it. To be told before its orders; again when it changes.
    pub fn define(&mut self, key: InstrumentKey, row: &InstrumentRow) {
        if self.core.define(key, row) {
            self.meet_followers();
        }
    }

    /// Publishers with instruments that have ticks and are not defined here; then none, until further ticks of them come.
    pub fn take_undefined(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.core.market.undefined).into_iter().collect()
    }

    fn meet_followers(&mut self) {
        for (at, running) in self.running.iter().enumerate() {
            for place in &self.core.ledgers[running.ledger].places {
                let followers = &mut self.core.market.traded[*place as usize].followers;
                if !followers.contains(&at) {
                    followers.push(at);
                }
            }
        }
    }

    /// The next tick of the stream, or a declared gap ([`Tick::gap`]).
    pub fn tick(&mut self, now_ns: u64, tick: &Tick) {
        self.advance(now_ns);
        let Host { core, running } = self;
        core.counts.ticks += 1;
        let Some(place) = core.take_tick(tick).filter(|_| core.live) else { return };
        core.cause_ns = tick.ts_recv;
        each_follower(core, running, place, |strategy, desk| strategy.on_tick(desk, tick));
        core.cause_ns = 0;
    }

    /// A record of features whose schema is known ([`Host::add_schema`]).
    pub fn features(&mut self, now_ns: u64, record: &FeatureRecord<'_>) {
        self.advance(now_ns);
        let Host { core, running } = self;
        core.counts.features += 1;
        let Some((place, schema)) = core.market.keep_features(record) else { return };
        if !core.live {
            return;
        }
        core.cause_ns = record.time_ns;
        let features = Features::new(*record, &schema);
        each_follower(core, running, place, |strategy, desk| strategy.on_features(desk, &features));
        core.cause_ns = 0;
    }

    /// Whether the schema is known.
    pub fn knows_schema(&self, id: u64) -> bool {
        self.core.market.knows_schema(id)
    }

    /// What the values of records with this schema id are.
    pub fn add_schema(&mut self, id: u64, schema: FeatureSchema) {
        self.core.market.add_schema(id, schema);
    }

    /// A model is ready: strategies that asked for it score with it from now on. A strategy that is made anew has none.
    pub fn model(&mut self, now_ns: u64, model: &Model) {
        self.advance(now_ns);
        self.running.iter_mut().for_each(|running| running.strategy.on_model(model));
    }

    /// The next report of the stream.
    pub fn report(&mut self, now_ns: u64, report: &Report) {
        self.advance(now_ns);
        let Host { core, running } = self;
        let Some(ledger) = core.follow(report).filter(|_| core.live) else { return };
        if let Some(running) = running.iter_mut().find(|running| running.ledger == ledger) {
            running.strategy.on_report(&mut Desk::new(core, ledger), report);
        }
    }

    /// The operator's word on trading; none when it is not known, which halts.
    pub fn trading(&mut self, now_ns: u64, mode: Option<TradingMode>) {
        self.advance(now_ns);
        self.core.mode = mode.unwrap_or(TradingMode::Halted);
        self.core.engine.set_state(match self.core.mode {
            TradingMode::Active => State::Active,
            TradingMode::Reducing => State::Reducing,
            TradingMode::Halted => State::Halted,
        });
    }

    /// Time went on without another input.
    pub fn time(&mut self, now_ns: u64) {
        self.advance(now_ns);
    }

    /// Everything from before was read back: orders may pass from now on.
    pub fn rebuilt(&mut self) {
        self.core.engine.rebuilt();
        self.core.rebuilt = true;
    }

    /// The host has caught up: strategies are called from now on.
    pub fn go_live(&mut self, now_ns: u64) {
        self.core.live = true;
        self.advance(now_ns);
    }

    /// What is to be published, in order.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, Output> {
        self.core.out.drain(..)
    }

    /// What is to be published, to look at.
    pub fn pending(&self) -> &[Output] {
        &self.core.out
    }

    /// Whether there is nothing to be published.
    pub fn is_silent(&self) -> bool {
        self.core.out.is_empty()
    }

    /// Why nothing new passes although all was read back: another host must read all back.
    pub fn trouble(&self) -> Option<Trouble> {
        let doubts = self.core.engine.doubts();
        self.core.trouble.clone().or_else(|| (doubts > 0).then_some(Trouble::Doubt(doubts)))
    }

    /// How often something happened.
    pub fn counts(&self) -> Counts {
        Counts { refused_ticks: self.core.market.refused_ticks, ..self.core.counts }
    }

    /// Denials by reason, told or not, since the host was made.
    pub fn denials(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.core.denials.iter().map(|(reason, count)| (*reason, *count))
    }

    /// Instructions that no report has answered.
    pub fn unanswered(&self) -> usize {
        self.core.orders.waiting.len()
    }

    /// Open orders.
    pub fn open_orders(&self) -> usize {
        self.core.orders.len()
    }

    /// The risk engine, to look at.
    pub fn risk(&self) -> &Engine {
        &self.core.engine
    }

    /// A strategy's desk, to look at.
    pub fn desk(&mut self, strategy: &str) -> Option<Desk<'_>> {
        let ledger = self.core.ledgers.iter().position(|ledger| ledger.name == strategy)?;
        Some(Desk::new(&mut self.core, ledger))
    }

    /// Every position that was ever taken, 0 when it is closed: strategy, instrument, position.
    pub fn positions(&self) -> impl Iterator<Item = (&str, InstrumentKey, i64)> {
        self.core.ledgers.iter().flat_map(|ledger| {
            let held = self.core.market.traded.iter().zip(&ledger.holdings);
            held.filter(|(_, holding)| holding.position != 0 || holding.cash != 0)
                .map(|(traded, holding)| (ledger.name.as_str(), traded.instrument.key, holding.position))
        })
    }

    /// The books, to be saved.
    pub fn books(&self) -> &Books {
        &self.core.market.books
    }

    /// What venues said about trading, to be saved with the books.
    pub fn market(&self) -> &MarketState {
        &self.core.market.state
    }

    /// The keys of all instruments that strategies trade.
    pub fn traded(&self) -> impl Iterator<Item = InstrumentKey> {
        self.core.market.traded.iter().map(|traded| traded.instrument.key)
    }

    /// Goes on under another lease: ids from this maker from now on.
    pub fn renew(&mut self, ids: IdMaker) {
        self.core.ids = ids;
    }

    /// How long an instruction may go without a report from now on, ns.
    pub fn set_answer_within(&mut self, answer_within_ns: u64) {
        self.core.answer_within_ns = answer_within_ns;
    }

    /// Takes time forward, and at each step looks after what waits for an answer and lets strategies look at the clock.
    #[inline]
    fn advance(&mut self, now_ns: u64) {
        self.core.now_ns = self.core.now_ns.max(now_ns);
        if self.core.live && self.core.now_ns.saturating_sub(self.core.stepped_ns) >= TIME_STEP_NS {
            self.step();
        }
    }

    #[cold]
    fn step(&mut self) {
        let Host { core, running } = self;
        core.stepped_ns = core.now_ns;
        core.ask_again();
        for running in running {
            running.strategy.on_time(&mut Desk::new(core, running.ledger));
        }
    }
}

/// A strategy of a changed configuration.
pub struct Reconfigured {
    /// Its name.
    pub name: String,
    /// The gateway session that sends its orders.
    pub venue: String,
    /// Its own instruments.
    pub instruments: InstrumentChoice,
    /// The strategy; none when the one of this name goes on.
    pub strategy: Option<Box<dyn Strategy>>,
}

/// Calls each running strategy whose own the instrument is.
#[inline]
fn each_follower(
    core: &mut Core,
    running: &mut [Running],
    place: u32,
    mut call: impl FnMut(&mut dyn Strategy, &mut Desk<'_>),
) {
    for at in 0..core.market.traded[place as usize].followers.len() {
        let follower = core.market.traded[place as usize].followers[at];
        let Running { ledger, strategy } = &mut running[follower];
        call(strategy.as_mut(), &mut Desk::new(core, *ledger));
    }
}

impl Core {
    pub(crate) fn publish(&mut self, output: Output) {
        self.counts.scores += u64::from(matches!(output, Output::Score(_)));
        self.out.push(output);
    }

    pub(crate) fn count_unscored(&mut self, why: Unscored) {
        *match why {
            Unscored::Missing => &mut self.counts.unscored_missing,
            Unscored::Schema => &mut self.counts.unscored_schema,
            Unscored::Failed => &mut self.counts.unscored_failed,
        } += 1;
    }

    /// Applies a tick, and tells the risk engine what it means for it. The place that the tick is about.
    #[inline]
    fn take_tick(&mut self, tick: &Tick) -> Option<u32> {
        let (applied, place) = self.market.apply(tick);
        if applied.channel_changed {
            self.look_at_all_books();
        }
        if tick.action == Action::Status {
            for place in self.market.status(tick) {
                self.tell_status(place);
            }
        }
        if let (Some(place), Some(_)) = (place, applied.book) {
            self.tell_quote(place, tick.ts_recv, tick.flags.contains(Flags::LAST));
        }
        place
    }

    /// Tells the risk engine the quote, when the event has ended, or that the book is bad, at once.
    #[inline]
    fn tell_quote(&mut self, place: u32, time_ns: u64, event_ended: bool) {
        let (good, bid, ask) = self.market.quote(place);
        let traded = &mut self.market.traded[place as usize];
        let InstrumentKey { publisher_id, instrument_id } = traded.instrument.key;
        if !good {
            if std::mem::replace(&mut traded.good, false) {
                self.engine.bad_book(publisher_id, instrument_id);
            }
        } else if event_ended {
            traded.good = true;
            let price = |best: Option<i64>| best.map_or(Price::UNDEFINED, Price);
            self.engine.quote(publisher_id, instrument_id, price(bid), price(ask), time_ns);
        }
    }

    /// A whole channel changed.
    #[cold]
    fn look_at_all_books(&mut self) {
        for place in 0..self.market.traded.len() as u32 {
            let (good, ..) = self.market.quote(place);
            let traded = &mut self.market.traded[place as usize];
            if !good && std::mem::replace(&mut traded.good, false) {
                let InstrumentKey { publisher_id, instrument_id } = traded.instrument.key;
                self.engine.bad_book(publisher_id, instrument_id);
            }
        }
    }

    fn tell_status(&mut self, place: u32) {
        let InstrumentKey { publisher_id, instrument_id } = self.market.traded[place as usize].instrument.key;
        let (status, short_restricted) = self.market.standing(place);
        self.engine.status(publisher_id, instrument_id, status);
        self.engine.restrict_short_sale(publisher_id, instrument_id, short_restricted);
    }

    /// Whether somebody trades it.
    fn define(&mut self, key: InstrumentKey, row: &InstrumentRow) -> bool {
        let Some(place) = self.market.define(key, row, &mut self.ledgers, false) else { return false };
        self.follow_place(place);
        true
    }

    /// Tells the risk engine all that is known of an instrument.
    fn follow_place(&mut self, place: u32) {
        let multiplier = self.market.defined_multiplier(place);
        let traded = &mut self.market.traded[place as usize];
        let key = traded.instrument.key;
        let limits = self.risk.instruments.iter().find(|own| own.instrument == key).map(|own| own.limits);
        let said = |of: fn(InstrumentLimits) -> Option<PriceText>| {
            limits.and_then(of).or(self.risk.default.and_then(of)).map(|text| text.0)
        };
        traded.instrument.multiplier = said(|limits| limits.multiplier).or(multiplier);
        traded.instrument.tick_size = said(|limits| limits.tick_size).or(traded.instrument.tick_size);
        self.engine.define(key.publisher_id, key.instrument_id, &traded.instrument.symbol, multiplier);
        self.tell_status(place);
        // Books that were restored: good for what a position is worth, and too old to trade on before the next tick.
        if !self.market.traded[place as usize].good && self.market.quote(place).0 {
            self.tell_quote(place, 0, true);
        }
    }

    fn carry_in(&mut self, opening: &OpeningPosition) {
        let OpeningPosition { strategy, instrument, position, price } = opening;
        self.engine.carry_in(instrument.publisher_id, instrument.instrument_id, *position, price.0);
        let place = self.market.place_or_add(*instrument, "", &mut self.ledgers);
        let ledger = self.ledger_or_add(strategy, "");
        self.ledgers[ledger].holding_mut(place).trade(i128::from(*position), price.0.0);
    }

    fn ledger_or_add(&mut self, name: &str, venue: &str) -> usize {
        if let Some(at) = self.ledgers.iter().position(|ledger| ledger.name == name) {
            if !venue.is_empty() && self.ledgers[at].venue != venue {
                self.ledgers[at].venue = venue.to_owned();
            }
            return at;
        }
        self.ledgers.push(Ledger::new(name, venue, None));
        self.ledgers.len() - 1
    }

    /// The place of an instrument, when it is the strategy's own.
    pub(crate) fn own_place(&self, ledger: usize, key: InstrumentKey) -> Option<u32> {
        let place = self.market.place(key)?;
        self.ledgers[ledger].places.contains(&place).then_some(place)
    }

    pub(crate) fn holding(&self, ledger: usize, key: InstrumentKey) -> Option<&Holding> {
        self.ledgers[ledger].holding(self.market.place(key)?)
    }

    pub(crate) fn profit(&self, ledger: usize, key: InstrumentKey) -> Option<Money> {
        let place = self.market.place(key)?;
        let Some(holding) = self.ledgers[ledger].holding(place) else { return Some(0) };
        let multiplier = self.market.traded[place as usize].instrument.multiplier?;
        holding.profit(self.market.good_quote(place), multiplier.0)
    }

    fn order_ledger(&self, id: OrderId) -> Option<usize> {
        self.orders.find(id).map(|live| live.ledger)
    }
}
