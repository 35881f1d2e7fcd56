//! `feedplane backtest`: a strategy over recorded ticks, and what came of it as files.
//!
//! Who owns what: the crate `backtest` the run and its report; here are the way from a document to a source ([`capture`] among
//! them), what is shown meanwhile ([`progress`]), the files ([`files`]), and the table at the end ([`table`]).
//!
//! Invariant: the files of a run are all there or none is. They are written beside their names and moved when the run is over.

mod capture;
mod files;
mod progress;
mod table;

use crate::play::stop_on_signals;
use anyhow::{Context, Result, bail};
use backtest::document::SourceSection;
use backtest::market::{Market, RecordedMarket, venue};
use backtest::report::{self, Page, Priced, Trail};
use backtest::source::{Reader, Recorded, Source, SourceError};
use backtest::sweep::{self, Going, LatencyRun, SweepDocument};
use backtest::{Backtest, Outcome, run};
use files::{Files, Watcher};
use progress::Shown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const NOTES: &str = "\
Files in DIR:
  report.json         every figure; the same input gives the same bytes
  report.html         the same as a page with plots, in one file
  instructions.jsonl  what the strategies sent, one a line, fields as in the stream order_instructions
  reports.jsonl       what became of it, fields as in execution_reports, and `liquidity` of each trade
  scores.jsonl        what models said
  speed.json          how long the run took, by the clock on the wall
  sweep.json, sweep.html   with --sweep: every run of the grid, the best first

Exit codes:
  0  Done.
  1  An error, or stopped by a signal: no file of the run is written.
  2  The command line was not understood.";

/// Runs a strategy over ticks: a DBN file, a file of ticks, a capture, the archive, or a session of the simulated venue.
///
/// By the engines of the live services, faster than the ticks came. Orders stand in the recorded market's queues, with the latencies
/// and fees that the document states. What is modelled and what is not is in docs/backtest.md.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The backtest's document, YAML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder for what came of it, made if it is not there. Files of an earlier run are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Say nothing while it runs.
    #[arg(long)]
    quiet: bool,
    /// Run it again with all latencies multiplied by these, for the report.
    #[arg(long, value_name = "FACTORS", value_delimiter = ',')]
    latency: Vec<f64>,
    /// Run a whole grid of values instead, as this document says.
    #[arg(long, value_name = "FILE", conflicts_with = "latency")]
    sweep: Option<PathBuf>,
    /// Runs at a time, for --latency and --sweep. As many as there are cores when left out.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

type OpenedSource = Recorded<Box<dyn Reader>>;

pub(crate) fn run_command(args: &Args) -> Result<()> {
    let backtest = Backtest::load(&args.config)?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let stop = stop_on_signals()?;
    match &args.sweep {
        Some(document) => sweep_all(args, &backtest, document, &stop),
        None => run_one(args, &backtest, &stop),
    }
}

/// Runs a document, with its progress and its table, as part of something that watches signals itself.
pub(crate) fn run_document(config: &Path, out: &Path, stop: &Arc<AtomicBool>) -> Result<()> {
    let backtest = Backtest::load(config)?;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let args = Args {
        config: config.to_owned(),
        out: out.to_owned(),
        quiet: false,
        latency: Vec::new(),
        sweep: None,
        jobs: None,
    };
    run_one(&args, &backtest, stop)
}

fn open(section: &SourceSection) -> Result<OpenedSource, SourceError> {
    let reader: Box<dyn Reader> = match section {
        SourceSection::Capture { path, feeds } => Box::new(capture::CaptureReader::open(path, feeds)?),
        section => backtest::source::open(section)?,
    };
    Ok(Recorded::new(reader))
}

fn run_one(args: &Args, backtest: &Backtest, stop: &Arc<AtomicBool>) -> Result<()> {
    if let SourceSection::Venue(section) = &backtest.document.source {
        let (mut source, market) = venue::open(section)?;
        return run_in(args, backtest, stop, &mut source, market);
    }
    let mut source = open(&backtest.document.source)?;
    run_in(args, backtest, stop, &mut source, RecordedMarket::new(backtest.document.execution.queue))
}

/// Runs it in a market, and writes what came of it.
fn run_in(
    args: &Args,
    backtest: &Backtest,
    stop: &Arc<AtomicBool>,
    source: &mut impl Source,
    market: impl Market,
) -> Result<()> {
    let mut market = Priced::new(market);
    let mut files = Files::create(&args.out)?;
    let mut watcher = Watcher {
        files: &mut files,
        shown: Shown::new(args.quiet),
        trail: Trail::default(),
        stop: Arc::clone(stop),
    };
    let started = std::time::Instant::now();
    let outcome = run(backtest, source, &mut market, &mut watcher);
    let seconds = started.elapsed().as_secs_f64();
    let Watcher { mut shown, trail, .. } = watcher;
    shown.end();
    let outcome = outcome?;
    let latency = latencies(args, backtest, stop)?;
    let paths = market.into_paths();
    let page = Page { backtest, outcome: &outcome, trail: &trail, paths: &paths, latency: &latency };
    files.write("report.html", report::html(&page).as_bytes())?;
    files.write("report.json", &json(&outcome)?)?;
    files.write("speed.json", &speed(&outcome, seconds)?)?;
    files.finish()?;
    table::print(&outcome, &args.out)
}

fn json(outcome: &Outcome) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(outcome)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn speed(outcome: &Outcome, seconds: f64) -> Result<Vec<u8>> {
    let per_second = outcome.input.ticks as f64 / seconds.max(1e-9);
    let speed = serde_json::json!({"seconds": seconds, "ticks_per_second": per_second});
    Ok(serde_json::to_vec_pretty(&speed)?)
}

fn jobs(args: &Args) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    args.jobs.map_or(cores, usize::from)
}

fn going<'a>(
    args: &Args,
    stop: &'a AtomicBool,
    shown: &'a mut Shown,
) -> impl FnMut(&Going) -> bool + use<'a> {
    let quiet = args.quiet;
    move |going: &Going| {
        if !quiet {
            shown.runs(going);
        }
        !stop.load(Ordering::Relaxed)
    }
}

fn latencies(args: &Args, backtest: &Backtest, stop: &AtomicBool) -> Result<Vec<LatencyRun>> {
    if args.latency.is_empty() {
        return Ok(Vec::new());
    }
    let mut shown = Shown::new(args.quiet);
    let runs = sweep::latency(backtest, &args.latency, jobs(args), open, going(args, stop, &mut shown));
    shown.end();
    Ok(runs?)
}

fn sweep_all(args: &Args, backtest: &Backtest, document: &Path, stop: &AtomicBool) -> Result<()> {
    let document = SweepDocument::load(document).with_context(|| document.display().to_string())?;
    let mut shown = Shown::new(args.quiet);
    let swept = sweep::sweep(backtest, &document, jobs(args), open, going(args, stop, &mut shown));
    shown.end();
    let swept = swept?;
    if swept.runs.iter().all(|run| run.result.is_err()) {
        let first = swept.runs.first().and_then(|run| run.result.as_ref().err());
        bail!("no run of the sweep came to an end; the first: {}", first.map_or("", String::as_str));
    }
    let mut files = Files::without_lines(&args.out);
    files.write("sweep.json", &serde_json::to_vec_pretty(&swept.to_json())?)?;
    files.write("sweep.html", report::sweep_html(&swept).as_bytes())?;
    files.finish()?;
    table::print_sweep(&swept, &args.out)
}
