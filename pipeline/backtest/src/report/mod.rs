//! The report of a run as one page: figures, plots and the documents, to be shown around and kept.
//!
//! ```text
//! Outcome ─┐
//! Trail ───┼─► html ─► one file: no other file, no font, no request; light and dark; on a phone, too
//! paths ───┤
//! latency ─┘
//! ```
//!
//! Invariants: the page is a function of what it is given, so the same run gives the same bytes; every figure in its tables
//! is the one of `report.json`; every text is escaped, wherever it is from. It is XML as well as HTML.

mod figures;
mod pictures;
mod plot;
mod scale;
mod tables;
mod text;
mod trail;

pub use trail::{FILLS_MAX, PATHS_MAX, PRICES_MAX, PricePath, Priced, Trade, Trail};

use crate::document::Backtest;
use crate::outcome::Outcome;
use crate::sweep::{LatencyRun, Sweep};
use serde_json::Value;
use std::fmt::Write as _;
use text::{duration, escape};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What was run.
    pub backtest: &'a Backtest,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// Its trades.
    pub trail: &'a Trail,
    /// Prices of what was traded.
    pub paths: &'a [PricePath],
    /// The same run with other latencies; nothing when there were no such runs.
    pub latency: &'a [LatencyRun],
}

/// The report of a run.
pub fn html(page: &Page<'_>) -> String {
    let json = serde_json::to_value(page.outcome).unwrap_or(Value::Null);
    let strategies = &page.backtest.strategy.strategies;
    let names: Vec<_> = strategies.iter().map(|entry| entry.name.as_str()).collect();
    let title = match names.as_slice() {
        [] => "no strategy".to_owned(),
        names if names.len() > 4 => format!("{} and {} others", names[..3].join(", "), names.len() - 3),
        names => names.join(", "),
    };
    let mut out = head(&format!("Backtest: {title}"));
    header(&mut out, page, &title);
    if let Some(trouble) = &page.outcome.trouble {
        let _ =
            write!(out, "<p class=\"trouble\"><b>The strategies were stopped.</b> {}</p>", escape(trouble));
    }
    figures::tiles(&json, &mut out);
    pictures::overview(page, &mut out);
    pictures::instruments(page, &mut out);
    out.push_str("<div class=\"pair\">");
    pictures::by_time(page, &mut out);
    pictures::markouts(page, &mut out);
    out.push_str("</div>");
    pictures::latency(page, &mut out);
    tables::latency(page.latency, &mut out);
    tables::holdings(page.outcome, &mut out);
    tables::denials(page.outcome, &mut out);
    out.push_str("<h2>All figures</h2><p class=\"note\">As in report.json. Point at a figure for its definition and its exact value.</p>");
    figures::tables(&json, &mut out);
    tables::documents(page.backtest, &mut out);
    foot(&mut out);
    out
}

/// The report of a sweep.
pub fn sweep_html(sweep: &Sweep) -> String {
    let mut out = head("Backtest: sweep");
    let _ = write!(
        out,
        "<header><p class=\"kind\">feedplane backtest · sweep</p><h1>{} runs over {}</h1></header>",
        sweep.runs.len(),
        escape(&sweep.paths.join(", "))
    );
    pictures::sweep(sweep, &mut out);
    tables::heat(sweep, &mut out);
    tables::sweep(sweep, &mut out);
    foot(&mut out);
    out
}

fn head(title: &str) -> String {
    let mut out = String::with_capacity(1 << 18);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/><title>{}</title>\
         <style>{STYLE}</style></head><body><main>",
        escape(title)
    );
    out
}

fn foot(out: &mut String) {
    let _ = write!(
        out,
        "<footer>Made by feedplane. What is modelled and what is not: docs/backtest.md. Past results say little about \
         coming ones.</footer></main><script>//<![CDATA[\n{SCRIPT}//]]></script></body></html>\n"
    );
}

fn header(out: &mut String, page: &Page<'_>, title: &str) {
    let input = &page.outcome.input;
    let execution = &page.backtest.document.execution;
    let span = input.last_ns.saturating_sub(input.first_ns);
    let chips = [
        ("from", figures::time(input.first_ns)),
        ("to", figures::time(input.last_ns)),
        ("length", duration(span)),
        ("ticks", text::whole(i128::from(input.ticks))),
        ("queue", execution.queue.word().replace('_', " ")),
        ("order latency", micros(execution.order_latency_us)),
        ("report latency", micros(execution.report_latency_us)),
        ("feature latency", micros(execution.feature_latency_us)),
    ];
    let _ = write!(
        out,
        "<header><p class=\"kind\">feedplane backtest · {}</p><h1>{}</h1><ul class=\"chips\">",
        escape(&tables::source(page.backtest)),
        escape(title)
    );
    for (name, value) in chips {
        let _ = write!(out, "<li><span>{name}</span> {}</li>", escape(&value));
    }
    out.push_str("</ul></header>");
}

/// A latency as it is read.
fn micros(us: u64) -> String {
    if us < 1_000 {
        return format!("{us} µs");
    }
    let text = text::decimal(us as f64 / 1e3, 3);
    format!("{} ms", text.trim_end_matches('0').trim_end_matches('.'))
}
