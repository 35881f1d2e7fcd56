//! The scores of a file are those that Python gives to the same rows.

use crate::support::*;
use bus::ModelFiles;
use std::path::{Path, PathBuf};
use strategy::models::{Model, NoScore};

/// The rows of a file of comma-separated numbers, the last of each a score; nothing is a missing value.
fn rows(path: &Path) -> Vec<(Vec<f64>, f64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let numbers = |line: &str| {
        let mut numbers: Vec<f64> = line
            .split(',')
            .map(|number| if number.is_empty() { f64::NAN } else { number.parse().unwrap() })
            .collect();
        let score = numbers.pop().unwrap();
        (numbers, score)
    };
    text.lines().filter(|line| !line.starts_with(|first: char| first.is_alphabetic())).map(numbers).collect()
}

/// The largest difference to the scores beside the model, over the largest score where that is above 1.
fn largest_difference(folder: &Path, scores: &str) -> (usize, f64) {
    let mut model = Model::load(folder).unwrap();
    let rows = rows(&folder.join(scores));
    let mut largest: f64 = 0.0;
    for (at, (values, expected)) in rows.iter().enumerate() {
        let score = model.score(values.iter().copied()).unwrap();
        let difference = (score - expected).abs() / expected.abs().max(1.0);
        assert!(difference <= 1e-6, "row {at}: {score}, by Python {expected}");
        largest = largest.max(difference);
    }
    (rows.len(), largest)
}

#[test]
fn scores_equal_those_of_onnx_runtime() {
    for name in ["lightgbm", "modes", "network"] {
        let (rows, largest) = largest_difference(&fixture(name), "scores.csv");
        assert_eq!(rows, 1_000);
        eprintln!("{name}: {rows} rows, largest difference {largest:e}");
    }
}

#[test]
fn scores_of_the_trainers_fixture_equal_its_own() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../trainer/tests/fixtures/model");
    let (rows, largest) = largest_difference(&folder, "check.csv");
    assert_eq!(rows, 256);
    eprintln!("{rows} rows, largest difference {largest:e}");
}

#[test]
fn a_missing_value_is_scored_or_skipped_as_the_card_says() {
    let schema = schema("fast", &["a", "b"]);
    let onnx = bytes(&trees(2, 3, -1.5, 2.5));
    let mut skips = Model::new(&files(&card("m", 1, &schema, &onnx), onnx.clone())).unwrap();
    assert_eq!(skips.score([0.0, 1.0].into_iter()), Ok(-1.5));
    assert_eq!(skips.score([0.1, 1.0].into_iter()), Ok(2.5));
    assert_eq!(skips.score([0.0, f64::NAN].into_iter()), Err(NoScore::Missing(1)));
    let mut card = card("m", 1, &schema, &onnx);
    card["input"]["missing"] = "nan".into();
    let mut takes = Model::new(&files(&card, onnx)).unwrap();
    assert_eq!(takes.score([f64::NAN, f64::NAN].into_iter()), Ok(2.5), "NaN is not <= 0");
    assert!(matches!(takes.score([0.0].into_iter()), Err(NoScore::Failed(_))), "too short a row");
}

#[test]
fn a_score_that_is_no_number_is_none() {
    let schema = schema("fast", &["a"]);
    let onnx = bytes(&linear(&[1e30]));
    let mut model = Model::new(&files(&card("m", 1, &schema, &onnx), onnx)).unwrap();
    assert_eq!(model.score([1e30].into_iter()), Err(NoScore::NotFinite));
    assert!(model.score([0.5].into_iter()).is_ok());
}

#[test]
fn trees_allocate_nothing_and_a_copy_scores_alike() {
    let files = ModelFiles::load(&fixture("lightgbm")).unwrap();
    let mut model = Model::new(&files).unwrap();
    assert_eq!(model.kind(), "60 trees");
    let row = [0.5, f64::NAN, -1.0, 0.0, 2.0, 1.0];
    let score = model.score(row.into_iter()).unwrap();
    let mut copy = model.clone();
    assert_eq!(copy.score(row.into_iter()), Ok(score));
    let before = lab::allocations::of_this_thread();
    for _ in 0..100 {
        assert_eq!(copy.score(row.into_iter()), Ok(score));
    }
    assert_eq!(lab::allocations::of_this_thread() - before, 0);
}

#[global_allocator]
static ALLOCATOR: lab::allocations::Counting = lab::allocations::Counting;
