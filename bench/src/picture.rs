//! A table as a picture: one panel of horizontal bars for each metric, in plain SVG.
//!
//! A figure whose parts are known is drawn as its parts, with what they are below the panel's bars.
//! Bars of one panel share a scale; it is logarithmic when they differ by more than fifty times, and the
//! panel says so. Ours are coloured, what they are compared with is grey, a target is a dashed line.

use crate::environment::Environment;
use crate::harness::{Better, Metric, Row, Table, Target};
use crate::report::number;
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const LABELS: f64 = 330.0;
const BARS: f64 = 430.0;
const ROW: f64 = 28.0;
const MARGIN: f64 = 24.0;
const PANEL_HEAD: f64 = 54.0;
/// Bars that differ by more than this are drawn on a logarithmic scale.
const LINEAR_SPAN: f64 = 50.0;

const INK: &str = "#1b2733";
const FAINT: &str = "#6b7a89";
const OURS: &str = "#0f7c6b";
const THEIRS: &str = "#b4bec8";
const TARGET: &str = "#c2410c";
/// Parts of a figure, in their order.
const PARTS: [&str; 8] =
    ["#0f7c6b", "#e0a526", "#3c6fb0", "#8c9aa8", "#b4573c", "#7a4fa3", "#5aa9a0", "#d08bb0"];
const PARTS_A_LINE: usize = 3;
const PARTS_LINE: f64 = 18.0;

/// The picture's SVG text.
pub fn draw(table: &Table, environment: &Environment) -> String {
    let panels: f64 = table.metrics.iter().map(panel_height).sum();
    let height = MARGIN + 40.0 + panels + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, MARGIN, MARGIN + 14.0, 20, INK, "start", &format!("({}) {}", table.id, table.title));
    let mut top = MARGIN + 40.0;
    for metric in &table.metrics {
        panel(&mut svg, metric, top);
        top += panel_height(metric);
    }
    let machine = if environment.virtual_machine { " (virtual)" } else { "" };
    let foot = format!(
        "{}, {} cores{machine}, Linux {}, {} build of {}, {}",
        environment.cpu,
        environment.cores,
        environment.kernel,
        environment.build,
        environment.revision,
        environment.date
    );
    text(&mut svg, MARGIN, height - 14.0, 11, FAINT, "start", &foot);
    svg.push_str("</svg>\n");
    svg
}

fn panel_height(metric: &Metric) -> f64 {
    let legend = parts(metric).len().div_ceil(PARTS_A_LINE) as f64 * PARTS_LINE;
    PANEL_HEAD + metric.rows.len() as f64 * ROW + 18.0 + legend
}

/// What the figures of a panel are made of, each once.
fn parts(metric: &Metric) -> Vec<&str> {
    let mut parts = Vec::new();
    for stage in metric.rows.iter().flat_map(|row| &row.stages) {
        if !parts.contains(&stage.what.as_str()) {
            parts.push(stage.what.as_str());
        }
    }
    parts
}

/// The colours and names of the parts, below the bars.
fn legend(svg: &mut String, parts: &[&str], top: f64) {
    for (at, part) in parts.iter().enumerate() {
        let x = MARGIN + (at % PARTS_A_LINE) as f64 * (WIDTH - 2.0 * MARGIN) / PARTS_A_LINE as f64;
        let y = top + (at / PARTS_A_LINE) as f64 * PARTS_LINE;
        let colour = PARTS[at % PARTS.len()];
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"10\" height=\"10\" rx=\"2\" fill=\"{colour}\"/>"
        );
        text(svg, x + 16.0, y + 9.0, 12, INK, "start", part);
    }
}

fn panel(svg: &mut String, metric: &Metric, top: f64) {
    let scale = Scale::of(metric);
    let good = match metric.better {
        Better::Lower => "shorter is better",
        Better::Higher => "longer is better",
    };
    let kind = if scale.logarithmic { ", logarithmic" } else { "" };
    text(svg, MARGIN, top + 16.0, 15, INK, "start", &metric.name);
    text(svg, MARGIN, top + 34.0, 12, FAINT, "start", &format!("{}, {good}{kind}", metric.unit));
    for (at, row) in metric.rows.iter().enumerate() {
        bar(svg, metric, row, scale, top + PANEL_HEAD + at as f64 * ROW);
    }
    legend(svg, &parts(metric), top + PANEL_HEAD + metric.rows.len() as f64 * ROW + 4.0);
}

fn bar(svg: &mut String, metric: &Metric, row: &Row, scale: Scale, top: f64) {
    let left = MARGIN + LABELS;
    let ours = !row.targets.is_empty();
    text(svg, left - 10.0, top + 15.0, 13, INK, "end", &row.what);
    let Some(figure) = row.figure else {
        text(svg, left + 4.0, top + 15.0, 12, FAINT, "start", "could not run here");
        return;
    };
    let length = scale.length(figure);
    let colour = if ours { OURS } else { THEIRS };
    let mut piece = |from: f64, length: f64, colour: &str| {
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{length:.1}\" height=\"{}\" rx=\"3\" fill=\"{colour}\"/>",
            ROW - 8.0
        );
    };
    if row.stages.is_empty() {
        piece(left, length, colour);
    }
    let (all, whole) = (parts(metric), row.stages.iter().map(|stage| stage.figure).sum::<f64>());
    let mut from = left;
    for stage in &row.stages {
        let part = length * stage.figure / whole.max(f64::MIN_POSITIVE);
        let at = all.iter().position(|part| *part == stage.what).unwrap_or(0);
        piece(from, part, PARTS[at % PARTS.len()]);
        from += part;
    }
    let mut label = number(figure);
    if let Some(ratio) = row.ratio.filter(|_| row.what != metric.reference) {
        let _ = write!(label, "   {}×", number(ratio));
    }
    let mut after = left + length + 8.0;
    for target in &row.targets {
        if let Target::Figure(wanted) = target {
            let x = left + scale.length(*wanted);
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{TARGET}\" stroke-width=\"2\" stroke-dasharray=\"4 3\"/>",
                top - 3.0,
                top + ROW - 5.0
            );
            if x > left + length - 4.0 && x < after + 110.0 {
                after = x + 8.0;
            }
        }
    }
    text(svg, after, top + 15.0, 13, INK, "start", &label);
}

fn text(svg: &mut String, x: f64, y: f64, size: u32, colour: &str, anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{anchor}\" xml:space=\"preserve\">{content}</text>"
    );
}

/// Figures to bar lengths.
#[derive(Clone, Copy)]
struct Scale {
    logarithmic: bool,
    smallest: f64,
    largest: f64,
}

impl Scale {
    fn of(metric: &Metric) -> Scale {
        let targets = metric.rows.iter().flat_map(|row| &row.targets).filter_map(|target| match target {
            Target::Figure(figure) => Some(*figure),
            Target::TimesReference(_) => None,
        });
        let figures = metric.rows.iter().filter_map(|row| row.figure).chain(targets);
        let (smallest, largest) = figures
            .filter(|figure| *figure > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), figure| (low.min(figure), high.max(figure)));
        Scale { logarithmic: largest / smallest > LINEAR_SPAN, smallest, largest }
    }

    /// Length of a figure's bar. On a logarithmic scale the smallest keeps a twentieth of the width.
    fn length(self, figure: f64) -> f64 {
        if figure <= 0.0 {
            return 0.0;
        }
        let share = if self.logarithmic {
            0.05 + 0.95 * (figure / self.smallest).ln() / (self.largest / self.smallest).ln()
        } else {
            figure / self.largest
        };
        share.clamp(0.0, 1.0) * BARS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_far_apart_share_a_logarithmic_scale_and_near_ones_a_linear_one() {
        let near = Scale { logarithmic: false, smallest: 1.0, largest: 4.0 };
        assert!((near.length(2.0) - BARS / 2.0).abs() < 1e-9);
        let far = Scale { logarithmic: true, smallest: 1.0, largest: 10_000.0 };
        assert!((far.length(1.0) - BARS * 0.05).abs() < 1e-9);
        assert!((far.length(10_000.0) - BARS).abs() < 1e-9);
        assert!(far.length(100.0) > far.length(10.0));
        assert!(far.length(0.0) == 0.0);
    }

    #[test]
    fn text_from_outside_cannot_break_the_picture() {
        let mut svg = String::new();
        text(&mut svg, 0.0, 0.0, 12, INK, "start", "a<b>&c");
        assert!(svg.contains("a&lt;b&gt;&amp;c"));
    }
}
