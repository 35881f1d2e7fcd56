//! The page: whole, with the figures of the JSON, whatever the names and however little happened.

use crate::support::{FLOW, QUOTER, Ran, ran, session};
use backtest::report::{Page, Trail, html, sweep_html};
use backtest::source::{Reader, Recorded, SourceError};
use backtest::sweep::{LatencyRun, SweepDocument, latency, sweep};
use backtest::{Backtest, Outcome};
use roxmltree::{Document, ParsingOptions};
use serde_json::{Value, json};

fn never(_: &backtest::document::SourceSection) -> Result<Recorded<Box<dyn Reader>>, SourceError> {
    Err(SourceError::new("test", "there is no recording"))
}

fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap()
}

fn page(backtest: &Backtest, ran: &Ran, latency: &[LatencyRun]) -> String {
    html(&Page { backtest, outcome: &ran.outcome, trail: &ran.kept.trail, paths: &ran.paths, latency })
}

/// What an exact figure of the JSON is in the page.
fn exact(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Every figure of the outcome but lists, with its place.
fn figures(at: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| figures(&format!("{at}/{name}"), value, out));
        }
        Value::Array(_) => {}
        leaf => out.push((at.to_owned(), exact(leaf))),
    }
}

/// Each figure of the outcome is in the page as it is in the JSON.
fn has_the_figures(page: &str, outcome: &Outcome) {
    let document = parse(page);
    let json = serde_json::to_value(outcome).unwrap();
    let mut wanted = Vec::new();
    figures("", &json, &mut wanted);
    wanted.retain(|(at, _)| !at.starts_with("/denials") && at != "/trouble");
    assert!(wanted.len() > 40);
    for (at, exact) in wanted {
        let cells: Vec<_> =
            document.descendants().filter(|node| node.attribute("data-figure") == Some(&at)).collect();
        assert_eq!(cells.len(), 1, "{at}");
        assert_eq!(cells[0].attribute("data-exact"), Some(exact.as_str()), "{at}");
    }
    let denials = document.descendants().find(|node| node.attribute("id") == Some("denials"));
    let shown: u64 = denials.map_or(0, |table| {
        let counts = table.descendants().filter_map(|node| node.attribute("data-exact"));
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    });
    assert_eq!(shown, outcome.denials.values().sum::<u64>());
}

#[test]
fn a_page_is_whole_needs_nothing_else_and_has_the_figures_of_the_json() {
    let backtest = session(11, 60, &[QUOTER, FLOW]);
    let ran_once = ran(&backtest).unwrap();
    let runs = latency(&backtest, &[0.5, 1.0, 4.0], 2, never, |_| true).unwrap();
    let text = page(&backtest, &ran_once, &runs);
    has_the_figures(&text, &ran_once.outcome);
    let document = parse(&text);
    let of = |tag: &str| {
        document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/1999/xhtml", tag))).count()
    };
    assert_eq!((of("html"), of("title"), of("style"), of("script")), (1, 1, 1, 1));
    assert_eq!((of("link"), of("img"), of("iframe")), (0, 0, 0));
    for elsewhere in ["src=", "href=", "url(", "@import", "fetch(", "NaN", "inf"] {
        assert!(!text.replace("Roboto, Helvetica", "").contains(elsewhere), "{elsewhere}");
    }
    for id in ["equity", "fills-0", "fills-1", "by-time", "markouts", "latency", "latencies", "holdings"] {
        assert!(document.descendants().any(|node| node.attribute("id") == Some(id)), "{id}");
    }
    let again = page(&backtest, &ran(&backtest).unwrap(), &runs);
    assert_eq!(text, again);
}

#[test]
fn hostile_names_end_nothing() {
    let mut backtest = session(12, 10, &[QUOTER]);
    let mut ran = ran(&backtest).unwrap();
    let hostile = "</td><script>alert(1)</script>\"'&\u{0}]]>";
    backtest.strategy.strategies[0].name = hostile.into();
    ran.outcome.trouble = Some(hostile.into());
    ran.outcome.denials.insert(hostile.into(), 3);
    ran.outcome.instructions_checksum = hostile.into();
    for holding in &mut ran.outcome.holdings {
        holding.symbol = hostile.into();
        holding.strategy = hostile.into();
        holding.mark = Some(hostile.into());
    }
    for trade in &mut ran.kept.trail.trades {
        trade.symbol = hostile.into();
    }
    let execution = backtest.document.execution;
    let failed = LatencyRun { factor: 1.0, execution, result: Err(hostile.into()) };
    let text = page(&backtest, &ran, &[failed]);
    let document = parse(&text);
    let scripts = document.descendants().filter(|node| node.tag_name().name() == "script").count();
    assert_eq!(scripts, 1);
    assert!(!text.contains("<script>alert"));
}

#[test]
fn a_run_in_which_nothing_happened_has_a_page() {
    let backtest = session(13, 1, &[QUOTER]);
    let ran = ran(&backtest).unwrap();
    let quiet = Outcome {
        holdings: Vec::new(),
        curve: Vec::new(),
        denials: Default::default(),
        ..ran.outcome.clone()
    };
    for outcome in [quiet.clone(), Outcome { input: Default::default(), ..quiet }] {
        let text = html(&Page {
            backtest: &backtest,
            outcome: &outcome,
            trail: &Trail::default(),
            paths: &[],
            latency: &[],
        });
        has_the_figures(&text, &outcome);
        assert!(text.contains("Nothing was traded.") && text.contains("Nothing was denied."));
    }
}

#[test]
fn a_sweep_has_a_page_with_every_run() {
    let base = session(14, 3, &[QUOTER]);
    let grid: SweepDocument = serde_json::from_value(json!({"vary": {
        "strategy.strategies[0].quoter.half_spread_ticks": [1, 2],
        "execution.queue": ["by_order", "behind_all"],
    }}))
    .unwrap();
    let swept = sweep(&base, &grid, 2, never, |_| true).unwrap();
    let text = sweep_html(&swept);
    let document = parse(&text);
    let table = document.descendants().find(|node| node.attribute("id") == Some("runs")).unwrap();
    let rows = table.descendants().filter(|node| node.tag_name().name() == "tr").count();
    assert_eq!(rows, 1 + 4);
    assert!(document.descendants().any(|node| node.attribute("class") == Some("heat")));
}
