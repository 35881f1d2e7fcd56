//! `docs/metrics.md` as data: every metric with its type and its labels.

use crate::tools::read;
use anyhow::{Result, bail, ensure};
use std::collections::BTreeMap;

/// What the page says of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// `counter`, `gauge` or `summary`.
    pub kind: Kind,
    /// In the order of the page.
    pub labels: Vec<String>,
    /// The heading that it stands under.
    pub section: String,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// How it is now.
    Gauge,
    /// Quantiles, `_sum` and `_count`.
    Summary,
}

impl Kind {
    /// The word on the page.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
        }
    }
}

/// The page's metrics by name.
///
/// # Errors
/// A row that is not `| name | type | labels | what |`, or a metric that stands there twice.
pub fn metrics() -> Result<BTreeMap<String, Metric>> {
    parse(&read("docs/metrics.md")?)
}

fn parse(page: &str) -> Result<BTreeMap<String, Metric>> {
    let mut metrics = BTreeMap::new();
    let mut section = String::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        }
        let Some(row) = line.strip_prefix("| `feedplane_") else { continue };
        // The last column may have anything in it, a bar in code as well.
        let columns: Vec<&str> = row.trim_end_matches(" |").splitn(4, '|').map(str::trim).collect();
        let [name, kind, labels, what] = columns[..] else { bail!("not a row of four columns: {line}") };
        let name = format!("feedplane_{}", name.trim_end_matches('`'));
        let kind = match kind {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "summary" => Kind::Summary,
            other => bail!("{name} has the type {other:?}"),
        };
        ensure!(!what.is_empty(), "{name} says nothing of what it is");
        let labels = labels
            .split(',')
            .map(|label| label.trim().to_owned())
            .filter(|label| !label.is_empty())
            .collect();
        let metric = Metric { kind, labels, section: section.clone() };
        ensure!(metrics.insert(name.clone(), metric).is_none(), "{name} stands there twice");
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_and_what_is_no_row_is_named() {
        let page = "## One\n| metric | type | labels | what |\n|---|---|---|---|\n\
            | `feedplane_a_total` | counter | stream, why | a \\| b |\n| `feedplane_b` | gauge | | now |\n";
        let metrics = parse(page).unwrap();
        assert_eq!(metrics["feedplane_a_total"].labels, ["stream", "why"]);
        assert_eq!(
            metrics["feedplane_b"],
            Metric { kind: Kind::Gauge, labels: vec![], section: "One".into() }
        );
        for wrong in [
            "| `feedplane_a` | number | | now |",
            "| `feedplane_a` | gauge |",
            "| `feedplane_a` | gauge | | |",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&format!("{page}{page}")).is_err());
    }
}
