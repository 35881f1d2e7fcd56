//! The other tables of the page: holdings, denials, latencies, runs of a sweep; and the documents.

use super::figures::{Kind, Shown};
use super::micros;
use super::text::{NONE, escape, signed, whole};
use crate::document::{Backtest, SourceSection};
use crate::outcome::Outcome;
use crate::sweep::{LatencyRun, Run, RunFigures, Sweep};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// Runs of a sweep that the page shows; `sweep.json` has all.
const ROWS_MAX: usize = 1_000;

/// What the ticks were.
pub(super) fn source(backtest: &Backtest) -> String {
    let name = |path: &std::path::Path| {
        path.file_name()
            .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    };
    match &backtest.document.source {
        SourceSection::Dbn { path } | SourceSection::Ticks { path } => name(path),
        SourceSection::Capture { path, .. } => name(path),
        SourceSection::Archive(archive) => format!("archive, {}", archive.stream),
        SourceSection::Venue(venue) => format!("simulated venue, seed {}", venue.seed),
    }
}

/// A table of text and numbers: its head, each with its definition, then rows of cells.
struct Table<'a> {
    out: &'a mut String,
}

impl<'a> Table<'a> {
    fn begin(out: &'a mut String, id: &str, head: &[(&str, &str)]) -> Table<'a> {
        let _ = write!(out, "<div class=\"wide\"><table id=\"{}\"><thead><tr>", escape(id));
        for (name, definition) in head {
            let _ = write!(out, "<th scope=\"col\" title=\"{}\">{}</th>", escape(definition), escape(name));
        }
        out.push_str("</tr></thead><tbody>");
        Table { out }
    }

    fn row(&mut self) -> &mut Self {
        self.out.push_str("<tr>");
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let _ = write!(self.out, "<td>{}</td>", escape(text));
        self
    }

    fn number(&mut self, text: &str, exact: &str, class: &str) -> &mut Self {
        let _ = write!(
            self.out,
            "<td class=\"number{class}\" data-exact=\"{0}\" title=\"{0}\">{1}</td>",
            escape(exact),
            escape(text)
        );
        self
    }

    fn figure(&mut self, value: &impl Serialize, kind: Kind) -> &mut Self {
        let shown = Shown::of(&serde_json::to_value(value).unwrap_or(Value::Null), kind);
        self.number(&shown.text, &shown.exact, shown.class())
    }

    fn end_row(&mut self) {
        self.out.push_str("</tr>");
    }

    fn end(self) {
        self.out.push_str("</tbody></table></div>");
    }
}

/// What each strategy did in each instrument.
pub(super) fn holdings(outcome: &Outcome, out: &mut String) {
    out.push_str("<h2>By strategy and instrument</h2>");
    if outcome.holdings.is_empty() {
        out.push_str("<p class=\"note\">Nothing was traded.</p>");
        return;
    }
    let head = [
        ("strategy", "Whose trades"),
        ("symbol", "As the venue knows it"),
        ("net", "Gross less fees"),
        ("gross", "From prices alone"),
        ("fees", "Paid; below 0 when more was earned"),
        ("fills", "Trades"),
        ("bought", "Shares or contracts"),
        ("sold", "Shares or contracts"),
        ("round trips", "From no position to none again"),
        ("won", "Round trips that won after fees"),
        ("position", "At the end; below 0 when short"),
        ("valued at", "The side at which the position at the end can be closed"),
    ];
    let mut table = Table::begin(out, "holdings", &head);
    for holding in &outcome.holdings {
        table
            .row()
            .text(&holding.strategy)
            .text(&holding.symbol)
            .figure(&holding.net, Kind::Gain)
            .figure(&holding.gross, Kind::Gain)
            .figure(&holding.fees, Kind::Money)
            .figure(&holding.fills, Kind::Count)
            .figure(&holding.bought, Kind::Count)
            .figure(&holding.sold, Kind::Count)
            .figure(&holding.round_trips, Kind::Count)
            .figure(&holding.round_trips_won, Kind::Count)
            .figure(&holding.position, Kind::Count)
            .text(holding.mark.as_deref().unwrap_or(NONE))
            .end_row();
    }
    table.end();
}

/// Denials by reason, as bars.
pub(super) fn denials(outcome: &Outcome, out: &mut String) {
    out.push_str("<h2>Denied by the risk checks</h2>");
    let mut denials: Vec<_> = outcome.denials.iter().filter(|(_, count)| **count > 0).collect();
    denials.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
    let Some(most) = denials.first().map(|(_, count)| **count) else {
        out.push_str("<p class=\"note\">Nothing was denied.</p>");
        return;
    };
    out.push_str("<table class=\"bars\" id=\"denials\"><tbody>");
    for (reason, count) in denials {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"number\" data-exact=\"{count}\">{}</td><td class=\"length\"><i style=\"width:{:.1}%\"></i></td></tr>",
            escape(reason),
            whole(i128::from(*count)),
            *count as f64 / most as f64 * 100.0
        );
    }
    out.push_str("</tbody></table>");
}

const FIGURES: [(&str, &str); 8] = [
    ("net", "Gross less fees"),
    ("gross", "From prices alone"),
    ("fees", "Paid; below 0 when more was earned"),
    ("drawdown", "The furthest that net was below its highest point before"),
    ("turnover", "Sum of |price × quantity × multiplier| of all trades"),
    ("fills", "Trades"),
    ("fill ratio", "Orders with a trade, of the new orders that arrived"),
    ("hit rate", "Round trips won, of all that were closed"),
];

/// The cells of [`FIGURES`], or why there are none.
fn figures(table: &mut Table<'_>, result: &Result<RunFigures, String>) {
    match result {
        Ok(figures) => {
            table
                .figure(&figures.money.net, Kind::Gain)
                .figure(&figures.money.gross, Kind::Gain)
                .figure(&figures.money.fees, Kind::Money)
                .figure(&figures.money.drawdown_max, Kind::Money)
                .figure(&figures.money.turnover, Kind::Money)
                .figure(&figures.trades.fills, Kind::Count)
                .figure(&figures.orders.fill_ratio, Kind::Share)
                .figure(&figures.trades.hit_rate, Kind::Share);
        }
        Err(error) => {
            let _ = write!(
                table.out,
                "<td colspan=\"{}\" class=\"failed\">failed: {}</td>",
                FIGURES.len(),
                escape(error)
            );
        }
    }
}

/// The same run at other latencies.
pub(super) fn latency(runs: &[LatencyRun], out: &mut String) {
    if runs.is_empty() {
        return;
    }
    let own = [
        ("latencies", "All latencies of the document multiplied by this"),
        ("order", "From an instruction until it is in the market"),
        ("report", "From the market until the report is at the strategy"),
        ("features", "From a tick until its features are at the strategy"),
    ];
    let head: Vec<_> = own.into_iter().chain(FIGURES).collect();
    let mut table = Table::begin(out, "latencies", &head);
    for run in runs {
        let execution = &run.execution;
        let [order, report, feature] =
            [execution.order_latency_us, execution.report_latency_us, execution.feature_latency_us];
        table.row().text(&format!("× {}", run.factor));
        for us in [order, report, feature] {
            table.number(&micros(us), &us.to_string(), "");
        }
        figures(&mut table, &run.result);
        table.end_row();
    }
    table.end();
}

/// A parameter's value as it is shown.
pub(super) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The runs of a sweep, best first.
pub(super) fn sweep(sweep: &Sweep, out: &mut String) {
    out.push_str("<h2>Runs, best first</h2>");
    if sweep.runs.len() > ROWS_MAX {
        let _ = write!(out, "<p class=\"note\">The first {ROWS_MAX} are shown; sweep.json has all.</p>");
    }
    let names = sweep.paths.iter().map(|path| (path.rsplit('.').next().unwrap_or(path), path.as_str()));
    let head: Vec<_> = [("", "Its place in the grid")].into_iter().chain(names).chain(FIGURES).collect();
    let mut table = Table::begin(out, "runs", &head);
    for run in sweep.runs.iter().take(ROWS_MAX) {
        table.row().number(&run.number.to_string(), &run.number.to_string(), " faint");
        for (at, place) in run.places.iter().enumerate() {
            let text = value_text(&sweep.values[at][*place]);
            table.number(&text, &text, "");
        }
        figures(&mut table, &run.result);
        table.end_row();
    }
    table.end();
}

/// Net over the two parameters of a sweep, as a map of colours.
pub(super) fn heat(sweep: &Sweep, out: &mut String) {
    let [down, across] = sweep.values.as_slice() else { return };
    if down.len() < 2 || across.len() < 2 {
        return;
    }
    let at = |row: usize, column: usize| -> Option<&Run> {
        sweep.runs.iter().find(|run| run.places == [row, column])
    };
    let net = |run: &Run| run.result.as_ref().ok().map(|figures| figures.money.net.to_f64());
    let most = sweep.runs.iter().filter_map(net).map(f64::abs).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let _ = write!(
        out,
        "<h2>Net over both</h2><p class=\"note\">Down: {}; across: {}.</p><div class=\"wide\"><table class=\"heat\"><thead><tr><th></th>",
        escape(&sweep.paths[0]),
        escape(&sweep.paths[1])
    );
    for value in across {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(&value_text(value)));
    }
    out.push_str("</tr></thead><tbody>");
    for (row, value) in down.iter().enumerate() {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(&value_text(value)));
        for column in 0..across.len() {
            match at(row, column).and_then(net) {
                Some(net) => {
                    let tone = if net < 0.0 { "loss" } else { "gain" };
                    let share = net.abs() / most * 70.0;
                    let _ = write!(
                        out,
                        "<td class=\"number\" style=\"background:color-mix(in srgb, var(--{tone}) {share:.0}%, transparent)\">{}</td>",
                        signed(net, 0)
                    );
                }
                None => {
                    let _ = write!(out, "<td class=\"number\">{NONE}</td>");
                }
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
}

/// The documents of the run.
pub(super) fn documents(backtest: &Backtest, out: &mut String) {
    out.push_str("<h2>Documents</h2>");
    let mut show = |name: &str, value: Value| {
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        let _ = write!(out, "<details><summary>{name}</summary><pre>{}</pre></details>", escape(&text));
    };
    show("backtest", serde_json::to_value(&backtest.document).unwrap_or(Value::Null));
    show("strategy", serde_json::to_value(&backtest.strategy).unwrap_or(Value::Null));
    show("feature sets", serde_json::to_value(&backtest.sets).unwrap_or(Value::Null));
}
