//! The plots of the page.

use super::plot::{Axis, DOTS_MAX, Figure, Mark, Panel, Series, Tone};
use super::scale::Scale;
use super::text::{Moment, whole};
use super::trail::{PricePath, Trade};
use super::{Page, micros};
use crate::market::Liquidity;
use crate::outcome::CurvePoint;
use crate::sweep::Sweep;
use std::collections::BTreeMap;

/// Instruments that have a picture of their own; of more, those that were traded most.
const PICTURES_MAX: usize = 6;
/// Bars of won and lost over time, at most.
const BARS_MAX: u64 = 48;
/// Widths of these bars: s and name.
const WIDTHS: [(u64, &str); 11] = [
    (1, "second"),
    (10, "10 seconds"),
    (60, "minute"),
    (300, "5 minutes"),
    (900, "15 minutes"),
    (1_800, "30 minutes"),
    (3_600, "hour"),
    (10_800, "3 hours"),
    (43_200, "12 hours"),
    (86_400, "day"),
    (604_800, "week"),
];
/// How long after a trade its price is looked at again, ns and name.
const HORIZONS: [(u64, &str); 8] = [
    (0, "at once"),
    (100_000_000, "0.1 s"),
    (500_000_000, "0.5 s"),
    (1_000_000_000, "1 s"),
    (5_000_000_000, "5 s"),
    (30_000_000_000, "30 s"),
    (60_000_000_000, "1 min"),
    (300_000_000_000, "5 min"),
];

/// Where plots over time begin: a little before the first price or trade, if nothing happened for long before it; then it is
/// said.
fn shown_from(page: &Page<'_>) -> (u64, String) {
    let (first_ns, last_ns) = (page.outcome.input.first_ns, page.outcome.input.last_ns);
    let prices = page.paths.iter().filter_map(|path| path.points.first().map(|point| point.0));
    let trades = page.trail.trades.first().map(|trade| trade.time_ns);
    let begin_ns = prices.chain(trades).min().unwrap_or(first_ns).clamp(first_ns, last_ns.max(first_ns));
    if begin_ns - first_ns <= last_ns.saturating_sub(first_ns) / 5 {
        return (first_ns, String::new());
    }
    let from_ns = begin_ns.saturating_sub(last_ns.saturating_sub(begin_ns) / 50).max(first_ns);
    let time = super::figures::time(begin_ns);
    (from_ns, format!(" Nothing was sent before {time}: the plots begin there."))
}

fn time_axis(page: &Page<'_>) -> (Axis, String) {
    let (from_ns, note) = shown_from(page);
    let last_ns = page.outcome.input.last_ns.max(from_ns + 1);
    (Axis::Time(Scale::over([from_ns as f64, last_ns as f64])), note)
}

/// Won and lost, drawdown and exposure over time.
pub(super) fn overview(page: &Page<'_>, out: &mut String) {
    let outcome = page.outcome;
    let (axis, quiet) = time_axis(page);
    let over = |of: fn(&CurvePoint) -> f64| -> Vec<(f64, f64)> {
        let mut points: Vec<_> =
            outcome.curve.iter().map(|point| (point.time_ns as f64, of(point))).collect();
        if let Some(&(_, last)) = points.last() {
            points.push((outcome.input.last_ns as f64, last));
        }
        points
    };
    let mut highest: f64 = 0.0;
    let drawdown = over(|point| point.net.to_f64()).into_iter().map(|(x, net)| {
        highest = highest.max(net);
        (x, net - highest)
    });
    let series = |name, tone, mark, points| Series { name, tone, mark, points };
    let net = over(|point| point.net.to_f64());
    let gross = over(|point| point.gross.to_f64());
    Figure {
        id: "equity",
        title: "Won and lost",
        note: &format!("After fees, positions valued at the side at which they can be closed; below it how far that was under its highest point before, and the value of all positions.{quiet}"),
        axis,
        panels: vec![
            Panel {
                label: "currency",
                height: 300,
                zero: true,
                series: vec![
                    series("net", Tone::Main, Mark::Area, net),
                    series("before fees", Tone::Faint, Mark::Step, gross),
                ],
            },
            Panel {
                label: "drawdown",
                height: 110,
                zero: true,
                series: vec![series("drawdown", Tone::Loss, Mark::Area, drawdown.collect())],
            },
            Panel {
                label: "exposure",
                height: 110,
                zero: true,
                series: vec![series(
                    "exposure",
                    Tone::Second,
                    Mark::Area,
                    over(|point| point.exposure.to_f64()),
                )],
            },
        ],
    }
    .draw(out);
}

/// Prices, fills and position of the instruments that were traded most.
pub(super) fn instruments(page: &Page<'_>, out: &mut String) {
    let mut trades: BTreeMap<_, Vec<&Trade>> = BTreeMap::new();
    for trade in &page.trail.trades {
        trades.entry(trade.key).or_default().push(trade);
    }
    let mut most: Vec<_> = trades.into_iter().collect();
    most.sort_by_key(|(key, trades)| (std::cmp::Reverse(trades.len()), *key));
    let hidden = most.len().saturating_sub(PICTURES_MAX);
    most.truncate(PICTURES_MAX);
    for (at, (key, trades)) in most.iter().enumerate() {
        let path = page.paths.iter().find(|path| path.key == *key);
        let more = if at == 0 && hidden > 0 {
            format!(" The {PICTURES_MAX} instruments that traded most are shown, {hidden} others are not.")
        } else {
            String::new()
        };
        instrument(page, at, path, trades, &more, out);
    }
}

fn instrument(
    page: &Page<'_>,
    at: usize,
    path: Option<&PricePath>,
    trades: &[&Trade],
    more: &str,
    out: &mut String,
) {
    let points = path.map_or(&[][..], |path| &path.points);
    let prices = points.iter().map(|(time, doubled)| (*time as f64, *doubled as f64 / 2e9)).collect();
    let dots = |buys: bool| {
        let so = trades.iter().filter(|trade| (trade.signed > 0) == buys);
        so.map(|trade| (trade.time_ns as f64, trade.price as f64 / 1e9)).collect::<Vec<_>>()
    };
    let opening: i64 = page
        .backtest
        .strategy
        .opening
        .iter()
        .filter(|opening| trades.first().is_some_and(|trade| trade.key == opening.instrument))
        .map(|opening| opening.position)
        .sum();
    let mut position = opening;
    let mut positions = vec![(page.outcome.input.first_ns as f64, opening as f64)];
    for trade in trades {
        position = position.saturating_add(trade.signed);
        positions.push((trade.time_ns as f64, position as f64));
    }
    positions.push((page.outcome.input.last_ns as f64, position as f64));
    let (bought, sold) = (dots(true), dots(false));
    let thinned = if bought.len().max(sold.len()) > DOTS_MAX { " Not every fill has a dot." } else { "" };
    let left_out = match page.trail.left_out {
        0 => String::new(),
        left_out => format!(" {} later fills are not in the picture.", whole(i128::from(left_out))),
    };
    let symbol = trades.first().map_or("", |trade| trade.symbol.as_str());
    let note = format!(
        "{} fills on the middle price, and the position that they made.{thinned}{left_out}{more}",
        whole(trades.len() as i128)
    );
    let series = |name, tone, mark, points| Series { name, tone, mark, points };
    Figure {
        id: &format!("fills-{at}"),
        title: &format!("{symbol}: fills"),
        note: &note,
        axis: time_axis(page).0,
        panels: vec![
            Panel {
                label: "price",
                height: 280,
                zero: false,
                series: vec![
                    series("middle", Tone::Faint, Mark::Step, prices),
                    series("bought", Tone::Gain, Mark::Dots, bought),
                    series("sold", Tone::Loss, Mark::Rings, sold),
                ],
            },
            Panel {
                label: "position",
                height: 110,
                zero: true,
                series: vec![series("position", Tone::Second, Mark::Area, positions)],
            },
        ],
    }
    .draw(out);
}

/// Won and lost in each hour, or whatever suits the length of the run.
pub(super) fn by_time(page: &Page<'_>, out: &mut String) {
    let outcome = page.outcome;
    let (from_ns, _) = shown_from(page);
    let (first_s, last_s) = (from_ns / 1_000_000_000, outcome.input.last_ns / 1_000_000_000);
    let fits = |(width, _): &&(u64, &str)| last_s / width - first_s / width < BARS_MAX;
    let Some(&(width, name)) = WIDTHS.iter().find(fits) else { return };
    let bin = |time_ns: u64| time_ns / 1_000_000_000 / width;
    let mut bars = Vec::new();
    let (mut before, mut at) = (0.0, 0);
    for (place, number) in (bin(from_ns)..=bin(outcome.input.last_ns)).enumerate() {
        let mut net = before;
        while let Some(point) = outcome.curve.get(at).filter(|point| bin(point.time_ns) <= number) {
            net = point.net.to_f64();
            at += 1;
        }
        bars.push((place as f64, net - before));
        before = net;
    }
    let begin = bin(from_ns);
    let every = bars.len().div_ceil(8).max(1);
    let label = |at: usize| {
        let moment = Moment::of((begin + at as u64) * width * 1_000_000_000);
        match width {
            _ if !at.is_multiple_of(every) => String::new(),
            86_400.. => moment.date()[5..].to_owned(),
            60.. => moment.minute(),
            _ => moment.second(),
        }
    };
    Figure {
        id: "by-time",
        title: &format!("Net in each {name}")
            .replace("each 10", "each of 10")
            .replace("in each of", "in every"),
        note: "What was won and lost in it, after fees. UTC.",
        axis: Axis::Names((0..bars.len()).map(label).collect()),
        panels: vec![Panel {
            label: "currency",
            height: 240,
            zero: true,
            series: vec![Series { name: "net", tone: Tone::Main, mark: Mark::Bars, points: bars }],
        }],
    }
    .draw(out);
}

/// How the middle moved after trades, in their direction, weighed by quantity: in 1/10,000 of the price.
fn markout(page: &Page<'_>, liquidity: Liquidity, after_ns: u64) -> Option<f64> {
    let (mut sum, mut quantity) = (0.0, 0.0);
    for trade in page.trail.trades.iter().filter(|trade| trade.liquidity == liquidity) {
        let Some(path) = page.paths.iter().find(|path| path.key == trade.key) else { continue };
        let then_ns = trade.time_ns.saturating_add(after_ns);
        // Known exactly enough, and within the recording.
        if (after_ns > 0 && path.step_ns > after_ns)
            || then_ns > page.outcome.input.last_ns
            || trade.price == 0
        {
            continue;
        }
        let Some(doubled) = path.doubled_at(then_ns) else { continue };
        let moved = doubled as f64 / 2.0 - trade.price as f64;
        sum += moved / (trade.price as f64).abs() * 1e4 * trade.signed as f64;
        quantity += trade.signed.unsigned_abs() as f64;
    }
    (quantity > 0.0).then(|| sum / quantity)
}

/// What the middle did after the trades.
pub(super) fn markouts(page: &Page<'_>, out: &mut String) {
    let of = |liquidity| -> Vec<(f64, f64)> {
        let each = HORIZONS.iter().enumerate();
        each.filter_map(|(at, (after_ns, _))| Some((at as f64, markout(page, liquidity, *after_ns)?)))
            .collect()
    };
    let sides =
        [("resting", Tone::Main, of(Liquidity::Maker)), ("taking", Tone::Second, of(Liquidity::Taker))];
    if sides.iter().all(|(_, _, points)| points.is_empty()) {
        return;
    }
    let lines =
        sides.into_iter().filter(|(_, _, points)| !points.is_empty()).flat_map(|(name, tone, points)| {
            [
                Series { name, tone, mark: Mark::Line, points: points.clone() },
                Series { name: "", tone, mark: Mark::Dots, points },
            ]
        });
    Figure {
        id: "markouts",
        title: "After a fill",
        note: "How far the middle was from the price of the fill, in its direction, some time later; mean by quantity. What falls away below 0 was traded against somebody who knew more.",
        axis: Axis::Names(HORIZONS.iter().map(|(_, name)| (*name).to_owned()).collect()),
        panels: vec![Panel { label: "basis points", height: 240, zero: true, series: lines.collect() }],
    }
    .draw(out);
}

/// Net and fills at other latencies.
pub(super) fn latency(page: &Page<'_>, out: &mut String) {
    let runs: Vec<_> = page.latency.iter().filter_map(|run| Some((run, run.result.as_ref().ok()?))).collect();
    if runs.is_empty() {
        return;
    }
    let names = runs.iter().map(|(run, _)| micros(run.execution.order_latency_us)).collect();
    let points =
        |of: &dyn Fn(usize) -> f64| (0..runs.len()).map(|at| (at as f64, of(at))).collect::<Vec<_>>();
    let net = points(&|at| runs[at].1.money.net.to_f64());
    let fills = points(&|at| runs[at].1.trades.fills as f64);
    let series = |name, tone, mark, points| Series { name, tone, mark, points };
    Figure {
        id: "latency",
        title: "Sensitivity to latency",
        note: "The same run with all latencies multiplied; below the axis the order latency.",
        axis: Axis::Names(names),
        panels: vec![
            Panel {
                label: "net",
                height: 200,
                zero: true,
                series: vec![
                    series("net", Tone::Main, Mark::Line, net.clone()),
                    series("", Tone::Main, Mark::Dots, net),
                ],
            },
            Panel {
                label: "fills",
                height: 100,
                zero: true,
                series: vec![series("fills", Tone::Second, Mark::Bars, fills)],
            },
        ],
    }
    .draw(out);
}

/// What each parameter does: every run's net over the parameter's values, and their means.
pub(super) fn sweep(sweep: &Sweep, out: &mut String) {
    out.push_str("<div class=\"pair\">");
    for (at, path) in sweep.paths.iter().enumerate() {
        let values = &sweep.values[at];
        let (mut dots, mut sums) = (Vec::new(), vec![(0.0, 0.0); values.len()]);
        for run in &sweep.runs {
            let (Ok(figures), Some(place)) = (&run.result, run.places.get(at).copied()) else { continue };
            let net = figures.money.net.to_f64();
            dots.push((place as f64, net));
            sums[place] = (sums[place].0 + net, sums[place].1 + 1.0);
        }
        dots.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mean =
            |(at, (sum, count)): (usize, &(f64, f64))| (*count > 0.0).then(|| (at as f64, sum / count));
        let means = sums.iter().enumerate().filter_map(mean).collect();
        Figure {
            id: &format!("parameter-{at}"),
            title: path,
            note: "Net of every run with this value, and the mean of them.",
            axis: Axis::Names(values.iter().map(super::tables::value_text).collect()),
            panels: vec![Panel {
                label: "net",
                height: 220,
                zero: true,
                series: vec![
                    Series { name: "mean", tone: Tone::Main, mark: Mark::Line, points: means },
                    Series { name: "runs", tone: Tone::Second, mark: Mark::Rings, points: dots },
                ],
            }],
        }
        .draw(out);
    }
    out.push_str("</div>");
}
