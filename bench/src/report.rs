//! What a run leaves: the tables on the terminal, one JSON file and one picture for each table.

use crate::environment::Environment;
use crate::harness::{Better, Metric, Row, Table, Target};
use crate::picture;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Widest contender name before the figures, characters.
const NAME_WIDTH: usize = 46;

#[derive(Serialize)]
struct Record<'a> {
    environment: &'a Environment,
    table: &'a Table,
}

/// Writes `<id>.json` and `<id>.svg` of a table into `folder`.
///
/// # Errors
/// A file cannot be written.
pub fn keep(folder: &Path, environment: &Environment, table: &Table) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let json = serde_json::to_string_pretty(&Record { environment, table })?;
    let picture = picture::draw(table, environment);
    for (ending, content) in [("json", json), ("svg", picture)] {
        let path = folder.join(format!("{}-{}.{ending}", table.id, table.title.replace(' ', "-")));
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The environment as a block of text.
pub fn environment(environment: &Environment) -> String {
    let Environment { kernel, cpu, cores, rustc, build, revision, redis, python, date, .. } = environment;
    let machine = if environment.virtual_machine { ", a virtual machine" } else { "" };
    let mut text = format!(
        "{cpu}, {cores} cores{machine}, Linux {kernel}\n{rustc}, {build} build of {revision}, redis {redis}, {python}\n{date}, load before the run {:.2}\n",
        environment.load_before
    );
    if *build == "debug" {
        text.push_str("This is a debug build: no figure below means anything.\n");
    }
    if environment.load_before > 0.5 {
        text.push_str("The machine was not quiet: judge by the ratios, not by the figures.\n");
    }
    text
}

/// A table as text.
pub fn table(table: &Table) -> String {
    let mut text = format!("\n({}) {}\n", table.id, table.title);
    for metric in &table.metrics {
        write_metric(&mut text, metric);
    }
    text
}

fn write_metric(text: &mut String, metric: &Metric) {
    let good = match metric.better {
        Better::Lower => "lower is better",
        Better::Higher => "higher is better",
    };
    let _ = writeln!(text, "\n  {}, {good}; ratio: times better than {}", metric.name, metric.reference);
    let _ = writeln!(text, "  {:NAME_WIDTH$} {:>14}  {:>9}  {:24} met", "", metric.unit, "ratio", "target");
    for row in &metric.rows {
        let figure = row.figure.map_or_else(|| "-".to_owned(), number);
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{}×", number(ratio)));
        let met = match row.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let line = format!(
            "  {:NAME_WIDTH$} {figure:>14}  {ratio:>9}  {:24} {met}",
            row.what,
            wanted(row, metric.better)
        );
        let _ = writeln!(text, "{}", line.trim_end());
        let stages: Vec<String> =
            row.stages.iter().map(|stage| format!("{} {}", stage.what, number(stage.figure))).collect();
        for note in [&row.does, &row.note, &stages.join(" + ")] {
            if !note.is_empty() {
                let _ = writeln!(text, "      {note}");
            }
        }
    }
}

/// The row's targets in a few characters.
fn wanted(row: &Row, better: Better) -> String {
    let sign = match better {
        Better::Lower => '≤',
        Better::Higher => '≥',
    };
    let one = |target: &Target| match target {
        Target::Figure(figure) => format!("{sign} {}", number(*figure)),
        Target::TimesReference(times) => format!("≥ {}×", number(*times)),
    };
    row.targets.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Three significant digits, thousands apart.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{value:.digits$}");
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit != '-' && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_three_digits_and_groups_its_thousands() {
        for (value, text) in
            [(0.123, "0.12"), (1.0, "1.00"), (30.25, "30.2"), (835.4, "835"), (1_700_000.0, "1,700,000")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(-261.0), "-261");
        assert_eq!(number(-1261.0), "-1,261");
    }

    #[test]
    fn a_missed_target_is_shown_with_its_figure_and_the_reason() {
        let mut missed = Row { rounds: vec![41.0], ..Row::new("ours", "drains a full queue") };
        missed = missed.aiming(&[Target::Figure(40.0), Target::TimesReference(20.0)]);
        missed.note = "the queue is in another socket's memory".to_owned();
        let reference = Row { rounds: vec![835.0], ..Row::new("recvmmsg", "") };
        let metric = Metric {
            name: "cost".to_owned(),
            unit: "ns/packet",
            better: Better::Lower,
            reference: "recvmmsg".to_owned(),
            rows: vec![missed, reference],
        };
        let text = table(&Table { id: 'a', title: "receiver", metrics: vec![metric.settled()] });
        for part in ["41.0", "20.4×", "≤ 40.0, ≥ 20.0×", "NO", "another socket's memory", "835"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
