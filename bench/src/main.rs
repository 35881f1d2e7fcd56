//! `feedplane-bench`: measures the tables named, prints them side by side, keeps them as JSON and pictures.

use anyhow::{Result, bail};
use bench::environment::Environment;
use bench::harness::Effort;
use bench::{report, tables};
use clap::Parser;
use std::path::PathBuf;

/// Side-by-side measurements of feedplane and what it replaces.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Tables to measure, by letter; all of them when none is named.
    tables: Vec<char>,
    /// A smoke run: every code path for a moment. Its figures mean nothing.
    #[arg(long)]
    short: bool,
    /// Where JSON and pictures go.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

#[allow(clippy::print_stdout)] // The tables are the program's output.
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(unknown) =
        arguments.tables.iter().find(|id| !tables::ALL.iter().any(|entry| entry.id == **id))
    {
        let known: Vec<String> =
            tables::ALL.iter().map(|entry| format!("{} {}", entry.id, entry.about)).collect();
        bail!("there is no table {unknown}; there are: {}", known.join(", "));
    }
    let environment = Environment::now();
    let effort = Effort { short: arguments.short };
    println!("{}", report::environment(&environment));
    let mut failed = Vec::new();
    for entry in
        tables::ALL.iter().filter(|entry| arguments.tables.is_empty() || arguments.tables.contains(&entry.id))
    {
        match (entry.run)(effort) {
            Ok(table) => {
                println!("{}", report::table(&table));
                report::keep(&arguments.results, &environment, &table)?;
            }
            Err(error) => {
                println!("\n({}) {}: not measured: {error:#}", entry.id, entry.about);
                failed.push(entry.id.to_string());
            }
        }
    }
    println!("kept in {}", arguments.results.display());
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}
