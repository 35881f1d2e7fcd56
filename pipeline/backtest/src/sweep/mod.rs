//! Many runs of one document: over a grid of values, and at several latencies.
//!
//! ```text
//! SweepDocument ─► plan: every path and value checked ─► go: ticks read once, runs on all cores ─► Sweep
//! ```
//!
//! Invariants: a run of a sweep is the run of the same document by itself; what comes out does not depend on how many threads
//! there were or which was faster; a run that fails says so and the others go on.

mod go;
mod kept;
mod path;

pub use go::{Going, go};
pub use kept::{KEPT_TICKS_MAX, Kept, Replay};

use crate::document::{Backtest, ExecutionSection, LATENCY_US_MAX, SourceSection};
use crate::outcome::{ExposureFigures, MoneyFigures, OrderFigures, Outcome, TradeFigures};
use crate::source::{Source, SourceError};
use bus::config::{DocumentError, Problem, load_document};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Most runs that a sweep may ask for: a result takes about 500 bytes.
pub const RUNS_MAX: usize = 100_000;
/// Most parameters of a grid.
pub const PARAMETERS_MAX: usize = 16;
/// Largest factor of latencies.
pub const FACTOR_MAX: f64 = 1_000.0;

fn default_runs_max() -> usize {
    1_000
}

/// `sweep.yaml`: which values are tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepDocument {
    /// Paths into the documents and the values to be tried there, all with all: `execution.order_latency_us` is in the backtest's
    /// document, `strategy.strategies[0].quoter.size` in the strategy's, `features.sets[0].publish.every_ms` in the features'.
    pub vary: BTreeMap<String, Vec<Value>>,
    /// Runs that it may come to; a larger grid is refused. At most 100000.
    #[serde(default = "default_runs_max")]
    pub runs_max: usize,
}

impl SweepDocument {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// The file cannot be read, or the place of everything wrong in it.
    pub fn load(path: &Path) -> Result<SweepDocument, DocumentError> {
        load_document(path, SweepDocument::validate)
    }

    /// Everything that is wrong with it; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: String, message: String| problems.push(Problem { path, message });
        if self.runs_max == 0 || self.runs_max > RUNS_MAX {
            problem("runs_max".into(), format!("is {}; choose 1 to {RUNS_MAX}", self.runs_max));
        }
        if self.vary.is_empty() || self.vary.len() > PARAMETERS_MAX {
            problem("vary".into(), format!("has {}; name 1 to {PARAMETERS_MAX} paths", self.vary.len()));
        }
        for (path, values) in &self.vary {
            if values.is_empty() {
                problem(format!("vary.{path}"), "has no value; name some".into());
            }
        }
        match self.runs() {
            Some(runs) if runs <= self.runs_max => {}
            runs => {
                let runs = runs.map_or_else(|| "too many".to_owned(), |runs| runs.to_string());
                let most = self.runs_max;
                problem(
                    "vary".into(),
                    format!("comes to {runs} runs, and runs_max is {most}; try fewer values, or raise it"),
                );
            }
        }
        problems
    }

    /// Runs of the whole grid; none when they cannot be counted.
    fn runs(&self) -> Option<usize> {
        self.vary.values().try_fold(1usize, |runs, values| runs.checked_mul(values.len()))
    }
}

/// Figures of a run, without what is only for plots.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RunFigures {
    /// Won and lost.
    pub money: MoneyFigures,
    /// Trades.
    pub trades: TradeFigures,
    /// Orders.
    pub orders: OrderFigures,
    /// Positions' value.
    pub exposure: ExposureFigures,
    /// Denials of the risk checks, of all reasons.
    pub denials: u64,
    /// FNV-1a of the instructions: runs with the same did the same.
    pub instructions_checksum: String,
}

impl From<&Outcome> for RunFigures {
    fn from(outcome: &Outcome) -> RunFigures {
        RunFigures {
            money: outcome.money,
            trades: outcome.trades.clone(),
            orders: outcome.orders.clone(),
            exposure: outcome.exposure,
            denials: outcome.denials.values().sum(),
            instructions_checksum: outcome.instructions_checksum.clone(),
        }
    }
}

/// A run of a sweep.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    /// Its place in the grid, from 1; the last path's values change fastest.
    pub number: usize,
    /// Of each path: the place of its value.
    pub places: Vec<usize>,
    /// What came of it, or why nothing did.
    pub result: Result<RunFigures, String>,
}

/// What came of a sweep.
#[derive(Clone, PartialEq, Debug)]
pub struct Sweep {
    /// What was varied.
    pub paths: Vec<String>,
    /// Of each path: the values.
    pub values: Vec<Vec<Value>>,
    /// All runs, by net from the best to the worst, then by number; those that failed at the end.
    pub runs: Vec<Run>,
}

impl Sweep {
    /// `sweep.json`.
    pub fn to_json(&self) -> Value {
        let run = |run: &Run| {
            let values = self.paths.iter().zip(&self.values).zip(&run.places);
            let values: serde_json::Map<_, _> =
                values.map(|((path, values), place)| (path.clone(), values[*place].clone())).collect();
            match &run.result {
                Ok(figures) => json!({"number": run.number, "values": values, "figures": figures}),
                Err(error) => json!({"number": run.number, "values": values, "error": error}),
            }
        };
        let vary: serde_json::Map<_, _> =
            self.paths.iter().cloned().zip(self.values.iter().cloned().map(Value::Array)).collect();
        json!({"vary": vary, "runs": self.runs.iter().map(run).collect::<Vec<_>>()})
    }
}

/// Why there is no sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Paths or values that the documents do not take.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// The ticks cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The watcher stopped it.
    #[error("stopped after {runs} of {total} runs")]
    Stopped {
        /// Runs that were over.
        runs: usize,
        /// Runs of the sweep.
        total: usize,
    },
}

/// Runs the whole grid over `base`. `open` opens a source; it is called once for each that differs.
///
/// # Errors
/// Why there is no sweep. A run that fails is none: it is in the result.
pub fn sweep<S: Source>(
    base: &Backtest,
    document: &SweepDocument,
    jobs: usize,
    open: impl FnMut(&SourceSection) -> Result<S, SourceError>,
    watch: impl FnMut(&Going) -> bool,
) -> Result<Sweep, SweepError> {
    check(base, document).map_err(SweepError::Problems)?;
    let paths: Vec<String> = document.vary.keys().cloned().collect();
    let values: Vec<Vec<Value>> = document.vary.values().cloned().collect();
    let grid = grid(&values);
    let made = grid.iter().map(|places| {
        let chosen = paths.iter().zip(&values).zip(places);
        path::with(base, chosen.map(|((path, values), place)| (path.as_str(), &values[*place])))
            .map_err(|problems| text(&problems))
    });
    let results = go(made.collect(), jobs, open, watch)?;
    let runs = grid.into_iter().zip(results).enumerate();
    let mut runs: Vec<Run> =
        runs.map(|(at, (places, result))| Run { number: at + 1, places, result }).collect();
    runs.sort_by_key(|run| {
        let net = run.result.as_ref().ok().map(|figures| figures.money.net);
        (std::cmp::Reverse(net), run.number)
    });
    Ok(Sweep { paths, values, runs })
}

/// Whether each path is there and takes each of its values, the others left as they are.
fn check(base: &Backtest, document: &SweepDocument) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    for (path, values) in &document.vary {
        for value in values {
            if let Err(wrong) = path::with(base, [(path.as_str(), value)].into_iter()) {
                problems.extend(wrong);
                // The others would mostly say the same.
                break;
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn text(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Every combination of places, the last changing fastest.
fn grid(values: &[Vec<Value>]) -> Vec<Vec<usize>> {
    let runs = values.iter().map(Vec::len).product();
    let mut grid = Vec::with_capacity(runs);
    for run in 0..runs {
        let mut rest = run;
        let mut places = vec![0; values.len()];
        for (place, values) in places.iter_mut().zip(values).rev() {
            *place = rest % values.len();
            rest /= values.len();
        }
        grid.push(places);
    }
    grid
}

/// A run at other latencies.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LatencyRun {
    /// What all latencies were multiplied by.
    pub factor: f64,
    /// With the latencies of the run.
    pub execution: ExecutionSection,
    /// What came of it, or why nothing did.
    pub result: Result<RunFigures, String>,
}

/// The run of `base` with all its latencies multiplied by each of the factors, in their ascending order.
///
/// # Errors
/// Why there are none. A run that fails is none: it is in the result.
pub fn latency<S: Source>(
    base: &Backtest,
    factors: &[f64],
    jobs: usize,
    open: impl FnMut(&SourceSection) -> Result<S, SourceError>,
    watch: impl FnMut(&Going) -> bool,
) -> Result<Vec<LatencyRun>, SweepError> {
    let mut factors = factors.to_vec();
    factors.sort_by(f64::total_cmp);
    factors.dedup();
    let wrong = factors.iter().find(|factor| !(0.0..=FACTOR_MAX).contains(*factor));
    if let Some(factor) = wrong {
        let message = format!("is {factor}; choose 0 to {FACTOR_MAX}");
        return Err(SweepError::Problems(vec![Problem { path: "latency factor".into(), message }]));
    }
    let made: Vec<Backtest> = factors.iter().map(|factor| at_latency(base, *factor)).collect();
    let executions: Vec<_> = made.iter().map(|backtest| backtest.document.execution).collect();
    let results = go(made.into_iter().map(Ok).collect(), jobs, open, watch)?;
    let runs = factors.into_iter().zip(executions).zip(results);
    Ok(runs.map(|((factor, execution), result)| LatencyRun { factor, execution, result }).collect())
}

fn at_latency(base: &Backtest, factor: f64) -> Backtest {
    let mut backtest = base.clone();
    let execution = &mut backtest.document.execution;
    for latency in
        [&mut execution.order_latency_us, &mut execution.report_latency_us, &mut execution.feature_latency_us]
    {
        *latency = ((*latency as f64 * factor).round() as u64).min(LATENCY_US_MAX);
    }
    backtest
}
