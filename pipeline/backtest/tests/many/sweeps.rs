//! Sweeps: the grid, what is refused, what fails, and that threads change nothing.

use crate::support::{FLOW, QUOTER, ran, session};
use backtest::Backtest;
use backtest::source::{Reader, Recorded, SourceError};
use backtest::sweep::{Going, RunFigures, Sweep, SweepDocument, SweepError, latency, sweep};
use serde_json::{Value, json};

/// No run of a session reads a recording.
fn never(_: &backtest::document::SourceSection) -> Result<Recorded<Box<dyn Reader>>, SourceError> {
    Err(SourceError::new("test", "there is no recording"))
}

fn document(vary: Value) -> SweepDocument {
    serde_json::from_value(json!({ "vary": vary })).unwrap()
}

fn swept(base: &Backtest, document: &SweepDocument, jobs: usize) -> Sweep {
    sweep(base, document, jobs, never, |_| true).unwrap()
}

#[test]
fn a_grid_is_run_whole_in_an_order_that_threads_do_not_change() {
    let base = session(1, 5, &[QUOTER, FLOW]);
    let grid = document(json!({
        "strategy.strategies[0].quoter.half_spread_ticks": [1, 2],
        "execution.order_latency_us": [50, 200, 1000],
    }));
    let one = swept(&base, &grid, 1);
    let many = swept(&base, &grid, 4);
    assert_eq!(one.to_json().to_string(), many.to_json().to_string());
    assert_eq!(one, many);
    let mut numbers: Vec<_> = one.runs.iter().map(|run| run.number).collect();
    assert!(one.runs.is_sorted_by_key(|run| std::cmp::Reverse(run.result.as_ref().unwrap().money.net)));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    // Each run is the run of its document by itself.
    let run = one.runs.iter().find(|run| run.places == [1, 0]).unwrap();
    let mut alone = base.clone();
    alone.document.execution.order_latency_us = 200;
    let alone = ran(&alone).unwrap().outcome;
    assert_eq!(run.result.as_ref().unwrap(), &RunFigures::from(&alone));
}

#[test]
fn a_wrong_path_or_value_is_refused_with_its_place_before_anything_runs() {
    let base = session(1, 5, &[QUOTER]);
    for (path, values, said) in [
        ("strategy.strategies[0].quoter.half_spred_ticks", json!([1]), "half_spred_ticks"),
        ("strategy.strategies[3].quoter.size", json!([1]), "there is no strategies[3]"),
        ("execution.order_latency_us", json!(["fast"]), "execution.order_latency_us"),
        ("execution.order_latency_us", json!([1, 99_999_999_999_u64]), "choose at most"),
        ("features.sets[0].publish.every_ms", json!([0]), "features"),
        ("exekution.queue", json!(["by_order"]), "there is no exekution"),
    ] {
        let ran = |_: &Going| panic!("something was run");
        let error = sweep(&base, &document(json!({ path: values })), 2, never, ran).unwrap_err();
        let SweepError::Problems(problems) = &error else { panic!("{error}") };
        assert_eq!(problems.len(), 1, "{error}");
        assert!(error.to_string().contains(said) || said == "features", "{error}");
    }
}

#[test]
fn a_grid_that_is_too_large_or_empty_is_refused() {
    let mut large = document(json!({"a": [1, 2, 3], "b": [1, 2]}));
    large.runs_max = 5;
    assert_eq!(large.validate().len(), 1);
    assert!(large.validate()[0].message.contains("6 runs"));
    assert!(!document(json!({})).validate().is_empty());
    assert!(!document(json!({"a": []})).validate().is_empty());
    let values: Vec<u32> = (0..100_000).collect();
    let huge = document(json!({"a": values, "b": values, "c": values, "d": values}));
    assert!(huge.validate()[0].message.contains("too many"));
}

#[test]
fn a_run_that_fails_is_told_and_the_others_go_on() {
    let base = session(1, 3, &[QUOTER]);
    // Each value is right by itself; together two are not.
    let grid = document(json!({
        "strategy.strategies[0].quoter.size": [100, 400],
        "strategy.strategies[0].quoter.position_max": [200, 500],
        "strategy.strategies[0].instruments": [["S1"], ["NOPE"]],
    }));
    let swept = swept(&base, &grid, 2);
    assert_eq!(swept.runs.len(), 8);
    let failed = swept.runs.iter().filter(|run| run.result.is_err()).count();
    assert!((1..8).contains(&failed), "{failed} failed");
    // They stand behind all others.
    assert!(swept.runs[8 - failed..].iter().all(|run| run.result.is_err()));
    let page = backtest::report::sweep_html(&swept);
    assert!(page.contains("failed: "));
}

#[test]
fn a_sweep_can_be_stopped() {
    let base = session(1, 2, &[QUOTER]);
    let grid = document(json!({"execution.order_latency_us": [1, 2, 3, 4, 5, 6, 7, 8]}));
    let error = sweep(&base, &grid, 2, never, |going| going.runs < 2).unwrap_err();
    assert!(matches!(error, SweepError::Stopped { runs: 2, total: 8 }), "{error}");
}

#[test]
fn latencies_are_multiplied_in_ascending_order_and_the_factor_one_is_the_run_itself() {
    let base = session(2, 5, &[QUOTER, FLOW]);
    let runs = latency(&base, &[10.0, 1.0, 0.0, 1.0], 2, never, |_| true).unwrap();
    let latencies: Vec<_> = runs.iter().map(|run| (run.factor, run.execution.order_latency_us)).collect();
    assert_eq!(latencies, [(0.0, 0), (1.0, 200), (10.0, 2_000)]);
    let itself = RunFigures::from(&ran(&base).unwrap().outcome);
    assert_eq!(runs[1].result.as_ref().unwrap(), &itself);
    for wrong in [-1.0, f64::NAN, 1e9] {
        assert!(latency(&base, &[wrong], 2, never, |_| true).is_err());
    }
}
