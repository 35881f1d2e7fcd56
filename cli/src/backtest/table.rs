//! What came of a run or a sweep, in short, on standard output.

use anyhow::Result;
use backtest::Outcome;
use backtest::outcome::HoldingFigures;
use backtest::sweep::Sweep;
use std::io::Write;
use std::path::Path;

/// Runs of a sweep that are shown.
const SWEEP_SHOWN: usize = 10;

/// The figures that one looks at first.
pub(super) fn print(outcome: &Outcome, folder: &Path) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let Outcome { input, money, orders, trades, exposure, .. } = outcome;
    let share = |part: Option<f64>| part.map_or("-".into(), |part| format!("{:.1} %", part * 100.0));
    let rows = [
        ("ticks", format!("{}, {} gaps", input.ticks, input.gaps)),
        (
            "profit and loss",
            format!(
                "{:.2} (before fees {:.2}, fees {:.2})",
                money.net.to_f64(),
                money.gross.to_f64(),
                money.fees.to_f64()
            ),
        ),
        ("largest drawdown", format!("{:.2}", money.drawdown_max.to_f64())),
        (
            "trades",
            format!(
                "{} of {} in all, {} as maker, {} as taker",
                trades.fills, trades.quantity, trades.maker_fills, trades.taker_fills
            ),
        ),
        ("round trips", format!("{}, won {}", trades.round_trips, share(trades.hit_rate))),
        ("turnover", format!("{:.2}", money.turnover.to_f64())),
        (
            "exposure",
            format!(
                "{:.2} at most, {:.2} on average",
                exposure.gross_max.to_f64(),
                exposure.gross_mean.to_f64()
            ),
        ),
        (
            "orders",
            format!(
                "{} sent, {} replaced, {} cancelled, filled {}",
                orders.sent,
                orders.replacements,
                orders.cancelled,
                share(orders.fill_ratio)
            ),
        ),
        ("denied", denials(outcome)),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<17} {value}")?;
    }
    for HoldingFigures { strategy, symbol, position, net, fills, .. } in &outcome.holdings {
        writeln!(out, "  {strategy} {symbol}: {fills} trades, {:.2}, position {position}", net.to_f64())?;
    }
    if let Some(trouble) = &outcome.trouble {
        writeln!(out, "the strategies were stopped: {trouble}")?;
    }
    writeln!(out, "all of it is in {}", folder.join("report.html").display())?;
    Ok(())
}

fn denials(outcome: &Outcome) -> String {
    if outcome.denials.is_empty() {
        return "nothing".into();
    }
    let each: Vec<_> = outcome.denials.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    each.join(", ")
}

/// The best runs of a sweep.
pub(super) fn print_sweep(sweep: &Sweep, folder: &Path) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for run in sweep.runs.iter().take(SWEEP_SHOWN) {
        let places = sweep.paths.iter().zip(&sweep.values).zip(&run.places);
        let chosen: Vec<_> =
            places.map(|((path, values), place)| format!("{path}={}", values[*place])).collect();
        match &run.result {
            Ok(figures) => writeln!(out, "{:>14.2}  {}", figures.money.net.to_f64(), chosen.join(" "))?,
            Err(why) => writeln!(out, "{:>14}  {}: {why}", "failed", chosen.join(" "))?,
        }
    }
    let left = sweep.runs.len().saturating_sub(SWEEP_SHOWN);
    if left > 0 {
        writeln!(out, "and {left} more")?;
    }
    writeln!(out, "all of it is in {}", folder.join("sweep.html").display())?;
    Ok(())
}
