//! The figures of an outcome as tables: what `report.json` says, each with its name and its definition.
//!
//! Invariant: a figure is looked up in the outcome's JSON, so the page and `report.json` cannot differ. Its exact text is
//! the attribute `data-exact` of its cell; what is shown is rounded. What has no entry here is shown under its own name.

use super::text::{Moment, NONE, decimal, duration, escape, signed, whole};
use serde_json::Value;
use std::fmt::Write as _;

/// How a figure is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Currency, a gain with its plus.
    Gain,
    /// Currency.
    Money,
    /// A count.
    Count,
    /// Of 1, as per cent.
    Share,
    /// ns since the epoch.
    Time,
    /// ns.
    Lasted,
    /// As it is.
    Text,
}

/// A figure's place in the JSON, its name and its definition.
type Entry = (&'static str, &'static str, Kind, &'static str);

use Kind::{Count, Gain, Lasted, Money, Share, Text, Time};

const MONEY: &[Entry] = &[
    (
        "/money/net",
        "Net",
        Gain,
        "Gross less fees: won or lost, positions at the end valued at the side at which they can be closed",
    ),
    (
        "/money/gross",
        "Gross",
        Gain,
        "From prices alone: the cash of all trades and the positions' value at the end",
    ),
    ("/money/fees", "Fees", Money, "Paid to trade; below 0 when more was earned as rebates"),
    (
        "/money/drawdown_max",
        "Deepest drawdown",
        Money,
        "The furthest that net was below its highest point before, which is at least 0",
    ),
    ("/money/drawdown_ns", "Drawdown reached", Time, "When the deepest drawdown was, UTC"),
    ("/money/turnover", "Turnover", Money, "Sum of |price × quantity × multiplier| of all trades"),
];
const TRADES: &[Entry] = &[
    ("/trades/fills", "Fills", Count, "Trades of our orders"),
    ("/trades/maker_fills", "… resting", Count, "Trades of orders that rested in the book"),
    ("/trades/taker_fills", "… taking", Count, "Trades of orders that came and took what rested"),
    ("/trades/quantity", "Quantity", Count, "Shares or contracts traded"),
    ("/trades/maker_quantity", "… resting", Count, "Of orders that rested"),
    ("/trades/taker_quantity", "… taking", Count, "Of orders that took"),
    (
        "/trades/round_trips",
        "Round trips",
        Count,
        "From no position to none again, of one strategy and instrument",
    ),
    ("/trades/round_trips_won", "… won", Count, "Round trips that won after fees"),
    ("/trades/hit_rate", "Hit rate", Share, "Round trips won, of all that were closed"),
];
const ORDERS: &[Entry] = &[
    ("/orders/sent", "New orders", Count, "New orders that the strategies sent"),
    ("/orders/replacements", "Replacements", Count, "Replacements that they sent"),
    ("/orders/cancels", "Cancels", Count, "Cancels that they sent"),
    (
        "/orders/rejected",
        "Rejected",
        Count,
        "Instructions that the market could not carry out, as a cancel of an order that had just traded",
    ),
    (
        "/orders/cancelled",
        "Cancelled",
        Count,
        "Orders that ended by a cancel, by themselves (immediate or cancel) or by the end of the run",
    ),
    (
        "/orders/filled",
        "Filled",
        Count,
        "Orders with at least one trade; a chain of replacements is one order",
    ),
    ("/orders/fill_ratio", "Fill ratio", Share, "Orders with a trade, of the new orders that arrived"),
    (
        "/orders/open_at_end",
        "Open at the end",
        Count,
        "Orders that were still open and were cancelled by the end",
    ),
    (
        "/orders/in_flight_at_end",
        "On their way at the end",
        Count,
        "Instructions that had not reached the market",
    ),
    (
        "/orders/repeated",
        "Unanswered",
        Count,
        "Instructions that the strategy process would have published again, as nobody had answered in time",
    ),
];
const EXPOSURE: &[Entry] = &[
    ("/exposure/gross_max", "Largest exposure", Money, "The largest sum of |position × price × multiplier|"),
    (
        "/exposure/gross_mean",
        "Mean exposure",
        Money,
        "The same, averaged over the time from the first tick to the last",
    ),
    ("/exposure/time_in_market", "Time in the market", Share, "Share of that time with any position"),
];
const INPUT: &[Entry] = &[
    ("/input/ticks", "Ticks", Count, "Ticks read, with gaps and clears"),
    ("/input/first_ns", "First tick", Time, "When the first tick was received, UTC"),
    ("/input/last_ns", "Last tick", Time, "The largest time of receipt, UTC"),
    ("/input/gaps", "Gaps", Count, "Gaps that the feed declared: what was sent and never arrived"),
    ("/input/clears", "Clears", Count, "Clears of a whole channel"),
    ("/input/refused_ticks", "Refused ticks", Count, "Ticks that a book did not take as they stand"),
    (
        "/input/bad_book_ns",
        "With a bad book",
        Lasted,
        "Time in which a traded instrument's book was not to be relied on, of all instruments together",
    ),
    (
        "/input/watched_ns",
        "Watched",
        Lasted,
        "Time from the first tick of a traded instrument to the end, of all together",
    ),
    (
        "/input/trades_in_bad_book",
        "Trades in a bad book",
        Count,
        "Recorded trades that no order here could take part in, because the book was bad",
    ),
    (
        "/input/trades_not_trading",
        "Trades outside trading",
        Count,
        "The same, because the instrument did not trade",
    ),
    (
        "/input/assumed_statuses",
        "Assumed statuses",
        Count,
        "Instruments taken to be trading, as the recording says nothing about it",
    ),
    ("/input/feature_records", "Feature records", Count, "Records that the feature engine made"),
    ("/input/scores", "Scores", Count, "Scores that models gave"),
    (
        "/instructions_checksum",
        "Checksum",
        Text,
        "FNV-1a of instructions.jsonl: the same input gives the same",
    ),
];

/// Groups of the page, in their order.
pub(super) const GROUPS: &[(&str, &[Entry])] = &[
    ("Won and lost", MONEY),
    ("Trades", TRADES),
    ("Orders", ORDERS),
    ("Exposure", EXPOSURE),
    ("Input", INPUT),
];
/// What the page shows elsewhere.
const ELSEWHERE: [&str; 5] = ["/denials", "/holdings", "/curve", "/trouble", "/input/undefined_publishers"];

/// A figure as the page has it.
pub(super) struct Shown {
    /// As the JSON says it.
    pub(super) exact: String,
    /// Rounded.
    pub(super) text: String,
    /// Below, at or above 0 of a gain.
    pub(super) sign: i8,
}

impl Shown {
    /// Of a value of the JSON.
    pub(super) fn of(value: &Value, kind: Kind) -> Shown {
        let exact = match value {
            Value::Null => return Shown { exact: "null".into(), text: NONE.into(), sign: 0 },
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let number = exact.parse::<f64>();
        let text = match (kind, &number) {
            (Gain, Ok(number)) => signed(*number, 2),
            (Money, Ok(number)) => decimal(*number, 2),
            (Share, Ok(number)) => format!("{} %", decimal(*number * 100.0, 1)),
            (Count, Ok(_)) => exact.parse().map_or_else(|_| exact.clone(), whole),
            (Time, Ok(_)) => time(exact.parse().unwrap_or(0)),
            (Lasted, Ok(_)) => exact.parse().map_or_else(|_| exact.clone(), duration),
            _ => exact.clone(),
        };
        let gain = number.ok().filter(|_| kind == Gain).unwrap_or(0.0);
        Shown { exact, text, sign: if gain > 0.0 { 1 } else { -i8::from(gain < 0.0) } }
    }

    /// The class of its cell.
    pub(super) fn class(&self) -> &'static str {
        match self.sign {
            1 => " gain",
            -1 => " loss",
            _ => "",
        }
    }
}

/// A time, or a dash for never.
pub(super) fn time(ns: u64) -> String {
    if ns == 0 {
        return NONE.to_owned();
    }
    let moment = Moment::of(ns);
    format!("{} {}", moment.date(), moment.milli())
}

/// The large figures at the top.
pub(super) fn tiles(json: &Value, out: &mut String) {
    const TILES: [(&str, &[Entry]); 8] = [
        ("/money/net", MONEY),
        ("/money/drawdown_max", MONEY),
        ("/money/fees", MONEY),
        ("/money/turnover", MONEY),
        ("/trades/fills", TRADES),
        ("/trades/hit_rate", TRADES),
        ("/orders/fill_ratio", ORDERS),
        ("/exposure/time_in_market", EXPOSURE),
    ];
    out.push_str("<section class=\"tiles\">");
    for (pointer, group) in TILES {
        let Some((_, name, kind, definition)) = group.iter().find(|entry| entry.0 == pointer) else {
            continue;
        };
        let shown = Shown::of(json.pointer(pointer).unwrap_or(&Value::Null), *kind);
        let _ = write!(
            out,
            "<div class=\"tile{}\" title=\"{}\"><span>{}</span><b title=\"{}\">{}</b></div>",
            shown.class(),
            escape(definition),
            escape(name),
            escape(&shown.exact),
            escape(&shown.text)
        );
    }
    out.push_str("</section>");
}

/// All figures, in groups.
pub(super) fn tables(json: &Value, out: &mut String) {
    out.push_str("<section class=\"groups\">");
    for (title, group) in GROUPS {
        let _ = write!(out, "<table class=\"group\"><caption>{title}</caption><tbody>");
        for (pointer, name, kind, definition) in *group {
            row(
                out,
                pointer,
                name,
                definition,
                &Shown::of(json.pointer(pointer).unwrap_or(&Value::Null), *kind),
            );
        }
        out.push_str("</tbody></table>");
    }
    let others = others(json);
    if !others.is_empty() {
        out.push_str("<table class=\"group\"><caption>Others</caption><tbody>");
        for (pointer, value) in others {
            let name = pointer.trim_start_matches('/').replace('/', ".");
            row(out, &pointer, &name, "", &Shown::of(&value, Text));
        }
        out.push_str("</tbody></table>");
    }
    out.push_str("</section>");
}

fn row(out: &mut String, pointer: &str, name: &str, definition: &str, shown: &Shown) {
    let _ = write!(
        out,
        "<tr title=\"{}\"><th scope=\"row\">{}</th><td class=\"number{}\" data-figure=\"{}\" data-exact=\"{}\" title=\"{}\">{}</td></tr>",
        escape(definition),
        escape(name),
        shown.class(),
        escape(pointer),
        escape(&shown.exact),
        escape(&shown.exact),
        escape(&shown.text)
    );
}

/// Figures of the JSON that have no entry.
fn others(json: &Value) -> Vec<(String, Value)> {
    let mut others = Vec::new();
    leaves("", json, &mut others);
    let named = |pointer: &str| GROUPS.iter().any(|(_, group)| group.iter().any(|entry| entry.0 == pointer));
    others.retain(|(pointer, _)| !named(pointer));
    others
}

fn leaves(at: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    if ELSEWHERE.contains(&at) {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(&format!("{at}/{name}"), value, out));
        }
        leaf => out.push((at.to_owned(), leaf.clone())),
    }
}
