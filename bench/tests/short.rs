//! A smoke run of every table: the whole path from set-up to JSON and picture, for a moment. What is checked
//! is that every contender ran, never how fast.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Test helpers are not seen as tests by clippy.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs the tables and gives each one's JSON.
fn run(tables: &[&str]) -> Vec<Value> {
    let results = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_feedplane-bench"))
        .args(tables)
        .args(["--short", "--results"])
        .arg(results.path())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    read(results.path())
}

fn read(folder: &Path) -> Vec<Value> {
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            assert!(std::fs::read_to_string(path.with_extension("svg")).unwrap().ends_with("</svg>\n"));
            tables.push(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
        }
    }
    tables
}

/// Every row has a figure above zero. A contender whose program is not there says `SKIPPED` instead.
fn every_row_has_a_figure(tables: &[Value]) {
    for metric in tables.iter().flat_map(|record| record["table"]["metrics"].as_array().unwrap()) {
        for row in metric["rows"].as_array().unwrap() {
            let (what, note) = (&row["what"], row["note"].as_str().unwrap());
            if note.contains("FEEDPLANE_PYTHON") || note.contains("is not built") {
                println!("SKIPPED: bench row {what}: {note}");
                continue;
            }
            assert!(row["figure"].as_f64().is_some_and(|figure| figure > 0.0), "{}: {row}", metric["name"]);
        }
    }
}

#[test]
fn the_tables_of_the_pure_core_have_a_figure_in_every_row() {
    let tables = run(&["b", "c"]);
    assert_eq!(tables.len(), 2);
    every_row_has_a_figure(&tables);
}

#[test]
fn the_table_of_redis_has_a_figure_in_every_row() {
    every_row_has_a_figure(&run(&["d"]));
}

#[test]
fn the_table_of_receivers_has_a_figure_in_every_row() {
    if lab::network::require_root("the_table_of_receivers_has_a_figure_in_every_row") {
        every_row_has_a_figure(&run(&["a"]));
    }
}

#[test]
fn the_table_of_latencies_has_a_figure_in_every_row() {
    if lab::network::require_root("the_table_of_latencies_has_a_figure_in_every_row") {
        every_row_has_a_figure(&run(&["e"]));
    }
}

#[test]
fn the_tables_of_book_and_features_have_a_figure_in_every_row() {
    let tables = run(&["f", "g"]);
    assert_eq!(tables.len(), 2);
    every_row_has_a_figure(&tables);
}

#[test]
fn the_table_of_the_archive_has_a_figure_in_every_row() {
    match lab::postgres::unavailable() {
        Some(reason) => println!("SKIPPED: the_table_of_the_archive_has_a_figure_in_every_row: {reason}"),
        None => every_row_has_a_figure(&run(&["h"])),
    }
}

#[test]
fn the_table_of_the_risk_check_has_a_figure_in_every_row() {
    every_row_has_a_figure(&run(&["i"]));
}

#[test]
fn the_table_of_tick_to_order_has_a_figure_in_every_row() {
    if lab::network::require_root("the_table_of_tick_to_order_has_a_figure_in_every_row") {
        every_row_has_a_figure(&run(&["j"]));
    }
}

#[test]
fn the_table_of_backtests_has_a_figure_in_every_row() {
    every_row_has_a_figure(&run(&["k"]));
}

#[test]
fn the_table_of_models_has_a_figure_in_every_row() {
    let python = std::env::var_os("FEEDPLANE_TRAINER_PYTHON").map(std::path::PathBuf::from);
    match python.filter(|python| python.exists()) {
        Some(_) => every_row_has_a_figure(&run(&["l"])),
        None => println!(
            "SKIPPED: the_table_of_models_has_a_figure_in_every_row: FEEDPLANE_TRAINER_PYTHON names no interpreter"
        ),
    }
}

#[test]
fn the_table_of_event_clients_has_a_figure_in_every_row() {
    if lab::network::require_root("the_table_of_event_clients_has_a_figure_in_every_row") {
        every_row_has_a_figure(&run(&["m"]));
    }
}
