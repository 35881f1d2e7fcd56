//! Runs on all cores, and what is told meanwhile.

use super::{Kept, RunFigures, SweepError};
use crate::document::{Backtest, SourceSection};
use crate::market::{RecordedMarket, venue};
use crate::run::{Progress, RunError, run};
use crate::source::{Source, SourceError};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// How far many runs are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Going {
    /// Runs that are over.
    pub runs: usize,
    /// Those of them that failed.
    pub failed: usize,
    /// All runs.
    pub total: usize,
}

/// What a run's thread sends.
type Result1 = (usize, Result<RunFigures, String>);

/// Runs them all on `jobs` threads; results in the order of `made`. `watch` is told when a run is over; no stops the
/// rest.
///
/// # Errors
/// A source cannot be read, or the watcher stopped it.
pub fn go<S: Source>(
    made: Vec<Result<Backtest, String>>,
    jobs: usize,
    mut open: impl FnMut(&SourceSection) -> Result<S, SourceError>,
    mut watch: impl FnMut(&Going) -> bool,
) -> Result<Vec<Result<RunFigures, String>>, SweepError> {
    let mut going = Going { runs: 0, failed: 0, total: made.len() };
    let mut results: Vec<_> = made.iter().map(|_| None).collect();
    for group in by_source(&made) {
        let Some(section) = group.first().and_then(|at| made[*at].as_ref().ok()) else { continue };
        let kept = match &section.document.source {
            // Each run has a session of its own: its orders move it.
            SourceSection::Venue(_) => None,
            recording => Some(Kept::read(&mut open(recording)?)?),
        };
        let one = |at: usize, stop: &AtomicBool| match &made[at] {
            Ok(backtest) => one(backtest, kept.as_ref(), stop),
            Err(error) => Err(error.clone()),
        };
        let over = |(at, result): Result1| {
            going.runs += 1;
            going.failed += usize::from(result.is_err());
            results[at] = Some(result);
            watch(&going)
        };
        if !threads(&group, jobs, one, over) {
            return Err(SweepError::Stopped { runs: going.runs, total: going.total });
        }
    }
    for (result, made) in results.iter_mut().zip(&made) {
        if let (None, Err(error)) = (&result, made) {
            *result = Some(Err(error.clone()));
        }
    }
    Ok(results.into_iter().flatten().collect())
}

/// Numbers of the runs that have one source, in the order of their first.
fn by_source(made: &[Result<Backtest, String>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&SourceSection, Vec<usize>)> = Vec::new();
    for (at, backtest) in made.iter().enumerate() {
        let Ok(backtest) = backtest else { continue };
        let source = &backtest.document.source;
        match groups.iter_mut().find(|(of, _)| *of == source) {
            Some((_, group)) => group.push(at),
            None => groups.push((source, vec![at])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Calls `one` for each of the numbers on some threads, and `over` here with what it gave; whether all were done.
fn threads(
    numbers: &[usize],
    jobs: usize,
    one: impl Fn(usize, &AtomicBool) -> Result<RunFigures, String> + Sync,
    mut over: impl FnMut(Result1) -> bool,
) -> bool {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A result waits for nobody: there are at most as many as runs.
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, numbers.len().max(1)) {
            let (send, one, next, stop) = (send.clone(), &one, &next, &stop);
            scope.spawn(move || {
                while let Some(&at) = numbers.get(next.fetch_add(1, Ordering::Relaxed))
                    && !stop.load(Ordering::Relaxed)
                {
                    let result = one(at, stop);
                    if stop.load(Ordering::Relaxed) || send.send((at, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let mut done = 0;
        for result in receive {
            done += 1;
            if !over(result) {
                stop.store(true, Ordering::Relaxed);
                break;
            }
        }
        done == numbers.len()
    })
}

fn one(backtest: &Backtest, kept: Option<&Kept>, stop: &AtomicBool) -> Result<RunFigures, String> {
    let mut watch = |_: &Progress| !stop.load(Ordering::Relaxed);
    let outcome = match (&backtest.document.source, kept) {
        (SourceSection::Venue(section), _) => venue::open(section)
            .map_err(RunError::Source)
            .and_then(|(mut source, mut market)| run(backtest, &mut source, &mut market, &mut watch)),
        (_, Some(kept)) => {
            let mut market = RecordedMarket::new(backtest.document.execution.queue);
            run(backtest, &mut kept.replay(), &mut market, &mut watch)
        }
        (_, None) => return Err("its ticks were not read".into()),
    };
    outcome.map(|outcome| RunFigures::from(&outcome)).map_err(|error| error.to_string())
}
