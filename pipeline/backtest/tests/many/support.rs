//! Documents of a session of the simulated venue, and its run.

use backtest::market::Told;
use backtest::market::venue::{self, VenueMarket};
use backtest::report::{PricePath, Priced, Trail};
use backtest::source::{Next, Source};
use backtest::{Backtest, Outcome, RunError, Watch, lines, run};
use bus::Instruction;
use tick::Tick;

const RISK: &str = "
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
  sessions: [{days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], open: '00:00', close: '24:00'}]";

pub(crate) const QUOTER: &str = "  - {name: quotes, venue: sim, instruments: [S1, S2], quoter: {half_spread_ticks: 1, size: 100, position_max: 500, quiet_ms: 60000, skew_ticks: 1}}";
pub(crate) const FLOW: &str = "  - {name: flow, venue: sim, instruments: [S1], ofi_momentum: {window_ms: 1000, enter_ticks: 0.1, clip: 100, position: 300, hold_ms: 1000, cross_ticks: 1}}";

/// A session of the venue and strategies in it.
pub(crate) fn session(seed: u64, seconds: u32, strategies: &[&str]) -> Backtest {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let head = "redis: unix:///nowhere\nhealth: {listen: '127.0.0.1:0'}\n";
    let strategies = strategies.join("\n");
    write("strategy.yaml", format!("{head}answer_within_ms: 60000\nrisk: {RISK}\nstrategies:\n{strategies}"));
    write(
        "features.yaml",
        format!(
            "{head}sets: [{{name: fast, bars: {{time_ms: 100}}, publish: {{every_ms: 100}}, features: [mid, spread]}}]"
        ),
    );
    let document = format!(
        "source: {{venue: {{seed: {seed}, symbols: 2, seconds: {seconds}, events_per_second: 2000}}}}
strategy: strategy.yaml
features: features.yaml
execution: {{order_latency_us: 200, report_latency_us: 200, feature_latency_us: 50, queue: by_order, fees: {{maker_per_unit: '-0.002', taker_per_unit: '0.003'}}}}"
    );
    write("backtest.yaml", document);
    Backtest::load(&folder.path().join("backtest.yaml")).unwrap()
}

/// Keeps all that it sees.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) trail: Trail,
    pub(crate) instructions: String,
    pub(crate) reports: String,
    pub(crate) told: Vec<Told>,
}

impl Watch for Kept {
    fn instruction(&mut self, instruction: &Instruction) {
        self.instructions.push_str(&lines::instruction(instruction));
    }

    fn report(&mut self, told: &Told) {
        self.trail.report(told);
        self.reports.push_str(&lines::report(told));
        self.told.push(told.clone());
    }
}

/// A source whose ticks are kept.
pub(crate) struct Tapped<S> {
    pub(crate) source: S,
    pub(crate) ticks: Vec<Tick>,
}

impl<S: Source> Source for Tapped<S> {
    fn next(&mut self, before_ns: u64) -> Result<Next, backtest::source::SourceError> {
        let next = self.source.next(before_ns)?;
        if let Next::Tick(tick) = &next {
            self.ticks.push(*tick);
        }
        Ok(next)
    }

    fn position(&self) -> backtest::source::Position {
        self.source.position()
    }
}

/// All of a run.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) kept: Kept,
    pub(crate) paths: Vec<PricePath>,
    pub(crate) ticks: Vec<Tick>,
}

/// Runs a session.
pub(crate) fn ran(backtest: &Backtest) -> Result<Ran, RunError> {
    let backtest::document::SourceSection::Venue(section) = &backtest.document.source else {
        panic!("the document names no session")
    };
    let (source, market): (_, VenueMarket) = venue::open(section)?;
    let (mut source, mut market) = (Tapped { source, ticks: Vec::new() }, Priced::new(market));
    let mut kept = Kept::default();
    let outcome = run(backtest, &mut source, &mut market, &mut kept)?;
    Ok(Ran { outcome, kept, paths: market.into_paths(), ticks: source.ticks })
}
