//! `feedplane status`: one picture of everything, once.

use crate::client::{Api, Client};
use crate::output::{Output, Table, age, cell, one_line};
use anyhow::Result;
use serde_json::Value;
use std::fmt::Write as _;

/// Shows how everything is: trading, databases, every process with the version that it runs, rates and lags.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let client = Client::new(&args.api.find()?)?;
    let answer = client.get("/v1/status", &[])?.body;
    args.output.put(&answer, table)
}

/// The picture in lines.
pub(crate) fn table(status: &Value) -> String {
    let mut text = String::new();
    // Writing into memory cannot fail.
    let _ = writeln!(text, "trading     {}", trading(&status["trading"]));
    let redis = &status["redis"];
    let _ = writeln!(
        text,
        "redis       {}",
        if redis["connected"] == true { "connected" } else { "NOT connected" }
    );
    let dataplane = &status["dataplane"];
    let linked = match (dataplane.is_null(), dataplane["connected"] == true) {
        (true, _) => "none is linked".to_owned(),
        (false, true) => format!("linked, {} ms old", cell(&dataplane["age_ms"])),
        (false, false) => "NOT linked".to_owned(),
    };
    let _ = writeln!(text, "data plane  {linked}");
    for (name, key) in [("rates", "rates"), ("lags", "lags_ms"), ("latency", "latency_ns")] {
        let figures = figures(&status[key]);
        if !figures.is_empty() {
            let _ = writeln!(text, "{name:<12}{figures}");
        }
    }
    text.push('\n');
    text.push_str(&services(&status["services"]));
    text
}

/// Mode, by whom, when and why.
pub(crate) fn trading(trading: &Value) -> String {
    let mode = one_line(trading["mode"].as_str().unwrap_or("unknown")).to_uppercase();
    let [by, reason] = ["by", "reason"].map(|field| cell(&trading[field]));
    let when = trading["since_ns"]
        .as_u64()
        .filter(|ns| *ns > 0)
        .map_or_else(String::new, |ns| format!(", {}", age(ns)));
    let waits = if waits(trading) { " (WAITS to be said to Redis)" } else { "" };
    format!("{mode}{waits} by {by}{when}: {reason}")
}

/// Whether something that was said has not reached Redis.
pub(crate) fn waits(trading: &Value) -> bool {
    !matches!(&trading["pending"], Value::Null | Value::Bool(false))
}

fn figures(figures: &Value) -> String {
    let all = figures.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    all.map(|(name, value)| format!("{} {}", one_line(&name.replace('_', " ")), cell(value)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn services(services: &Value) -> String {
    let mut table = Table::new(["service", "member", "pid", "state", "version", "ready", "age", "reason"]);
    for service in services.as_array().into_iter().flatten() {
        let version = match (service["version"].as_u64(), service["wanted"].as_u64()) {
            (Some(runs), Some(wanted)) if runs != wanted => format!("{runs} (not {wanted})"),
            (Some(0), _) => "its own".to_owned(),
            (runs, _) => runs.map_or("-".to_owned(), |runs| runs.to_string()),
        };
        let age = service["age_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{:.1} s", ms / 1e3));
        table.row([
            cell(&service["service"]),
            cell(&service["member"]),
            cell(&service["pid"]),
            cell(&service["state"]),
            version,
            cell(&service["ready"]),
            age,
            cell(&service["reason"]),
        ]);
    }
    if table.is_empty() { "no process has reported\n".to_owned() } else { table.text() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_told_at_a_glance() {
        let status = json!({
            "trading": {"mode": "halted", "by": "ann", "reason": "fat finger", "since_ns": 1, "pending": true},
            "redis": {"connected": false}, "dataplane": null,
            "rates": {"ticks_per_s": 12.5, "rows_per_s": null},
            "services": [{"service": "strategy", "member": "h-1", "pid": 7, "state": "refused", "version": 2,
                          "wanted": 3, "ready": true, "age_ms": 250, "reason": "rules: empty"}],
        });
        let text = table(&status);
        for expected in [
            "HALTED (WAITS",
            "ann",
            "fat finger",
            "NOT connected",
            "none is linked",
            "ticks per s 12.5",
            "2 (not 3)",
            "0.2 s",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_status_of_nothing_is_no_panic() {
        for odd in [
            json!(null),
            json!([]),
            json!({"services": 5, "trading": [], "rates": "x"}),
            json!({"services": [1, null]}),
        ] {
            assert!(table(&odd).contains("UNKNOWN"), "{odd}");
        }
    }
}
