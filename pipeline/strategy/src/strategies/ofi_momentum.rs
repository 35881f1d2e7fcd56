//! Order-flow-imbalance momentum, after Cont, Kukanov, Stoikov, "The price impact of order book events", J. Financial
//! Econometrics 12 (2014): over short times the price moves with the order flow at the best quotes, the more the less
//! depth there is. Buys when the flow of a window says up by more than a threshold, sells when it says down, and gives the
//! position up when the flow has gone, has turned, or time is over.
//!
//! Invariants: those of `trade`; and while the window is not whole nothing is entered.

use super::market::{PerInstrument, Quote, key_of_report, key_of_tick, step_of};
use super::rules::Feature;
use super::trade::{Rule, Trade};
use crate::desk::{Desk, Features};
use crate::strategy::Strategy;
use bus::Report;
use bus::config::{InstrumentKey, OfiMomentumSection, OfiSource};
use tick::{Flags, Tick};

const NS_PER_MS: u64 = 1_000_000;
/// Steps of a window: it moves on by a sixteenth of its length.
const STEPS: usize = 16;

/// Flow and depth of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    /// Σ e, the venue's units.
    flow: i128,
    /// Σ (Qb + Qa) over the quotes.
    depth: i128,
    quotes: u64,
}

/// Flow and depth of the window that ends now.
#[derive(Clone, Debug)]
struct Window {
    step_ns: u64,
    steps: [Step; STEPS],
    sum: Step,
    /// Number of the newest step since the epoch.
    newest: u64,
    last: Option<Quote>,
    /// Since when every quote was seen.
    since_ns: u64,
}

/// e of the paper's eq. 3: what came to the bid and left the ask between two quotes.
fn flow_between(before: &Quote, now: &Quote) -> i128 {
    let when = |so: bool, size: u64| if so { i128::from(size) } else { 0 };
    when(now.bid >= before.bid, now.bid_size)
        - when(now.bid <= before.bid, before.bid_size)
        - when(now.ask <= before.ask, now.ask_size)
        + when(now.ask >= before.ask, before.ask_size)
}

impl Window {
    fn new(window_ns: u64) -> Window {
        Window {
            step_ns: window_ns / STEPS as u64,
            steps: [Step::default(); STEPS],
            sum: Step::default(),
            newest: 0,
            last: None,
            since_ns: 0,
        }
    }

    /// Forgets everything: what is missing in it is not known.
    fn broken(&mut self) {
        (self.steps, self.sum, self.last) = ([Step::default(); STEPS], Step::default(), None);
    }

    /// Lets what is too old go.
    fn move_to(&mut self, now_ns: u64) {
        let number = now_ns / self.step_ns.max(1);
        let gone = number.saturating_sub(self.newest).min(STEPS as u64);
        for back in 0..gone {
            let slot = &mut self.steps[((number - back) % STEPS as u64) as usize];
            self.sum.flow -= slot.flow;
            self.sum.depth -= slot.depth;
            self.sum.quotes -= slot.quotes;
            *slot = Step::default();
        }
        self.newest = self.newest.max(number);
    }

    /// Takes in the quote at the end of an event.
    fn quote(&mut self, now_ns: u64, quote: Quote) {
        self.move_to(now_ns);
        let flow = match &self.last {
            Some(last) => flow_between(last, &quote),
            None => {
                self.since_ns = now_ns;
                0
            }
        };
        self.last = Some(quote);
        let depth = i128::from(quote.bid_size) + i128::from(quote.ask_size);
        for step in [&mut self.steps[(self.newest % STEPS as u64) as usize], &mut self.sum] {
            step.flow += flow;
            step.depth += depth;
            step.quotes += 1;
        }
    }

    /// Whether a whole window was seen.
    fn is_whole(&self, now_ns: u64) -> bool {
        let window_ns = self.step_ns * STEPS as u64;
        self.last.is_some() && now_ns.saturating_sub(self.since_ns) >= window_ns
    }

    /// Mean of Qb + Qa over the window's quotes, the last one's when none came: twice the paper's average depth AD.
    fn doubled_depth(&self) -> Option<f64> {
        let depth = match (self.sum.quotes, &self.last) {
            (0, Some(last)) => last.bid_size as f64 + last.ask_size as f64,
            (quotes, _) => self.sum.depth as f64 / quotes as f64,
        };
        (depth > 0.0).then_some(depth)
    }
}

#[derive(Debug)]
struct State {
    window: Window,
    feature: Option<Feature>,
    trade: Trade,
}

impl State {
    fn new(window_ns: u64, source: &OfiSource) -> State {
        let feature = match source {
            OfiSource::Book => None,
            OfiSource::Feature { set, value, .. } => Some(Feature::new(set, value)),
        };
        State { window: Window::new(window_ns), feature, trade: Trade::default() }
    }
}

/// The strategy.
#[derive(Debug)]
pub(crate) struct OfiMomentum {
    rule: Rule,
    window_ns: u64,
    source: OfiSource,
    states: PerInstrument<State>,
}

impl OfiMomentum {
    /// The strategy of a valid section.
    pub(crate) fn new(section: &OfiMomentumSection) -> OfiMomentum {
        OfiMomentum {
            rule: Rule {
                enter: section.enter_ticks,
                exit: section.exit_ticks,
                clip: section.clip,
                position: i64::try_from(section.position).unwrap_or(i64::MAX),
                cross: section.cross_ticks,
                hold_ns: section.hold_ms * NS_PER_MS,
                pause_ns: section.pause_ms * NS_PER_MS,
            },
            window_ns: section.window_ms * NS_PER_MS,
            source: section.source.clone(),
            states: PerInstrument::default(),
        }
    }

    /// Expected move in ticks: flow over twice the average depth (the paper's β is about 1/2 over the depth).
    fn signal(source: &OfiSource, state: &mut State, desk: &Desk<'_>, key: InstrumentKey) -> Option<f64> {
        let now_ns = desk.now_ns();
        state.window.move_to(now_ns);
        if !state.window.is_whole(now_ns) {
            return None;
        }
        let flow = match (source, &mut state.feature) {
            (OfiSource::Feature { age_max_ms, .. }, Some(feature)) => {
                feature.latest(desk, key, age_max_ms * NS_PER_MS)
            }
            _ => state.window.sum.flow as f64,
        };
        Some(flow / state.window.doubled_depth()?).filter(|ticks| ticks.is_finite())
    }

    fn act(&mut self, desk: &mut Desk<'_>, key: InstrumentKey) {
        if desk.instrument(key).is_none() {
            return;
        }
        let OfiMomentum { rule, window_ns, source, states } = self;
        let state = states.get(key, || State::new(*window_ns, source));
        let (Some(quote), Some(step)) = (Quote::of(desk, key), step_of(desk, key)) else { return };
        let signal = OfiMomentum::signal(source, state, desk, key);
        state.trade.work(rule, desk, key, (quote, step), signal);
    }
}

impl Strategy for OfiMomentum {
    fn on_tick(&mut self, desk: &mut Desk<'_>, tick: &Tick) {
        let key = key_of_tick(tick);
        if !tick.flags.contains(Flags::LAST) || desk.instrument(key).is_none() {
            return;
        }
        let OfiMomentum { window_ns, source, states, .. } = self;
        let state = states.get(key, || State::new(*window_ns, source));
        match Quote::of(desk, key) {
            // Equal quotes have no flow between them and say nothing new of the depth.
            Some(quote) if state.window.last == Some(quote) => {}
            Some(quote) => state.window.quote(desk.now_ns(), quote),
            None => state.window.broken(),
        }
        self.act(desk, key);
    }

    fn on_features(&mut self, desk: &mut Desk<'_>, features: &Features<'_>) {
        self.act(desk, features.key());
    }

    fn on_report(&mut self, desk: &mut Desk<'_>, report: &Report) {
        let key = key_of_report(report);
        if let Some(state) = self.states.find(key) {
            state.trade.heed(report);
        }
        self.act(desk, key);
    }

    fn on_time(&mut self, desk: &mut Desk<'_>) {
        let mut at = 0;
        while let Some(key) = self.states.key(at) {
            self.act(desk, key);
            at += 1;
        }
    }
}
