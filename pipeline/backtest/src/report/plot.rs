//! A figure of the page: panels one below the other over one axis, in SVG written here.
//!
//! Each panel's SVG is a square of units that is stretched to the room there is, with strokes that are not; labels are
//! text of the page beside it. So a plot fills a wide screen and is readable on a phone, which a drawing of fixed
//! proportions is not, and which the plotting libraries at hand do not make. A dot is a stroke without a length.
//!
//! Invariant: a panel draws at most [`COLUMNS`] × 4 points of a line, whatever it is given (see [`thin`]).

use super::scale::{Label, SIDE, Scale};
use super::text::escape;
use std::fmt::Write as _;

/// Columns that a line is thinned to: about what a wide screen shows.
const COLUMNS: usize = 800;
/// Dots of a panel at most; of more, every so many is shown and the figure says so.
pub(super) const DOTS_MAX: usize = 4_000;

/// How a series looks: a class of the style sheet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Main,
    Second,
    Faint,
    Gain,
    Loss,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Main => "main",
            Tone::Second => "second",
            Tone::Faint => "faint",
            Tone::Gain => "gain",
            Tone::Loss => "loss",
        }
    }
}

/// What is drawn of a series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// From point to point.
    Line,
    /// A value holds until the next.
    Step,
    /// As a step, filled down (or up) to 0.
    Area,
    /// Full dots.
    Dots,
    /// Hollow dots.
    Rings,
    /// From 0 to the value, centred, so wide that neighbours nearly touch. In the main tone, gains and losses differ.
    Bars,
}

/// Points of one meaning.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) tone: Tone,
    pub(super) mark: Mark,
    /// In ascending order of x.
    pub(super) points: Vec<(f64, f64)>,
}

/// One plot of a figure.
pub(super) struct Panel<'a> {
    /// What is upwards, with its unit.
    pub(super) label: &'a str,
    /// Height on the screen, px.
    pub(super) height: u32,
    /// 0 is in it, and drawn.
    pub(super) zero: bool,
    pub(super) series: Vec<Series<'a>>,
}

/// What is to the right.
pub(super) enum Axis {
    /// ns since the epoch.
    Time(Scale),
    /// Names, the first at 0.
    Names(Vec<String>),
}

/// A figure.
pub(super) struct Figure<'a> {
    /// Its id in the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What is to be seen, in a sentence or two.
    pub(super) note: &'a str,
    pub(super) axis: Axis,
    pub(super) panels: Vec<Panel<'a>>,
}

impl Figure<'_> {
    /// The figure's element.
    pub(super) fn draw(&self, out: &mut String) {
        let _ = write!(
            out,
            "<figure class=\"plot\" id=\"{}\"{}><figcaption><h3>{}</h3><p>{}</p>",
            escape(self.id),
            if matches!(self.axis, Axis::Time(_)) { " data-time=\"1\"" } else { "" },
            escape(self.title),
            escape(self.note)
        );
        self.legend(out);
        out.push_str("</figcaption>");
        let (scale, labels) = self.across();
        for (at, panel) in self.panels.iter().enumerate() {
            let last = at + 1 == self.panels.len();
            panel.draw(out, scale, &labels, last);
        }
        out.push_str("</figure>");
    }

    fn across(&self) -> (Scale, Vec<Label>) {
        match &self.axis {
            Axis::Time(scale) => (*scale, scale.times(8)),
            Axis::Names(names) => {
                let scale = Scale { from: -0.5, to: names.len().max(1) as f64 - 0.5 };
                let label =
                    |(at, name): (usize, &String)| Label { at: scale.place(at as f64), text: name.clone() };
                (scale, names.iter().enumerate().map(label).collect())
            }
        }
    }

    /// Names of the series, if there is more than one.
    fn legend(&self, out: &mut String) {
        let named: Vec<_> = self
            .panels
            .iter()
            .flat_map(|panel| &panel.series)
            .filter(|series| !series.name.is_empty())
            .collect();
        if named.len() < 2 {
            return;
        }
        out.push_str("<ul class=\"legend\">");
        for series in named {
            let shape = match series.mark {
                Mark::Dots => "dot",
                Mark::Rings => "ring",
                Mark::Line | Mark::Step => "stroke",
                Mark::Area | Mark::Bars => "block",
            };
            let _ = write!(
                out,
                "<li><i class=\"{shape} {}\"></i>{}</li>",
                series.tone.class(),
                escape(series.name)
            );
        }
        out.push_str("</ul>");
    }
}

impl Panel<'_> {
    fn up(&self) -> Scale {
        let values = self.series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
        let scale = Scale::over(values);
        if self.zero { scale.including(0.0).with_room(0.06) } else { scale.with_room(0.06) }
    }

    fn draw(&self, out: &mut String, across: Scale, labels: &[Label], last: bool) {
        let up = self.up();
        let marks = up.labels((self.height / 45).max(2) as usize);
        let _ = write!(out, "<div class=\"panel\"><div class=\"up\"><b>{}</b>", escape(self.label));
        for label in &marks {
            let _ = write!(
                out,
                "<span style=\"top:{:.2}%\">{}</span>",
                percent(SIDE - label.at),
                escape(&label.text)
            );
        }
        let _ = write!(
            out,
            "</div><div class=\"field\" style=\"height:{}px\"><svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\" data-x=\"{} {}\" data-y=\"{} {}\">",
            self.height,
            escape(self.label),
            across.from,
            across.to,
            up.from,
            up.to
        );
        self.grid(out, &marks, labels, up);
        for series in &self.series {
            series.draw(out, across, up);
        }
        out.push_str("</svg></div>");
        if last {
            out.push_str("<div class=\"across\">");
            for (at, label) in labels.iter().enumerate() {
                // On a narrow screen every second label is left out when there are many.
                let odd = if labels.len() > 5 && at % 2 == 1 { " class=\"odd\"" } else { "" };
                let _ = write!(
                    out,
                    "<span{odd} style=\"left:{:.2}%\">{}</span>",
                    percent(label.at),
                    escape(&label.text)
                );
            }
            out.push_str("</div>");
        }
        out.push_str("</div>");
    }

    fn grid(&self, out: &mut String, marks: &[Label], labels: &[Label], up: Scale) {
        out.push_str("<path class=\"grid\" d=\"");
        for mark in marks {
            let _ = write!(out, "M0 {:.1}H{SIDE}", SIDE - mark.at);
        }
        for label in labels.iter().filter(|label| !label.text.is_empty()) {
            let _ = write!(out, "M{:.1} 0V{SIDE}", label.at);
        }
        out.push_str("\"/>");
        if self.zero {
            let _ = write!(out, "<path class=\"zero\" d=\"M0 {:.1}H{SIDE}\"/>", SIDE - up.place(0.0));
        }
    }
}

fn percent(at: f64) -> f64 {
    at / SIDE * 100.0
}

impl Series<'_> {
    fn draw(&self, out: &mut String, across: Scale, up: Scale) {
        let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let placed: Vec<_> =
            self.points.iter().filter(finite).map(|&(x, y)| (across.place(x), SIDE - up.place(y))).collect();
        if placed.is_empty() {
            return;
        }
        let floor = SIDE - up.place(0.0);
        match self.mark {
            Mark::Line => self.path(out, "line", &line(&thin(&placed), false)),
            Mark::Step => self.path(out, "line", &line(&thin(&placed), true)),
            Mark::Area => {
                let thinned = thin(&placed);
                let (first, last) = (thinned[0].0, thinned[thinned.len() - 1].0);
                let edge = line(&thinned, true);
                let around = format!("M{first:.1} {floor:.1}L{}L{last:.1} {floor:.1}Z", &edge[1..]);
                self.path(out, "area", &around);
                self.path(out, "line", &edge);
            }
            Mark::Dots => self.path(out, "dot", &dots(&placed)),
            Mark::Rings => {
                let dots = dots(&placed);
                self.path(out, "dot", &dots);
                self.path(out, "hole", &dots);
            }
            Mark::Bars => self.bars(out, &placed, floor, across),
        }
    }

    fn path(&self, out: &mut String, class: &str, d: &str) {
        let _ = write!(
            out,
            "<path class=\"{class} {}\" data-name=\"{}\" d=\"{d}\"/>",
            self.tone.class(),
            escape(self.name)
        );
    }

    fn bars(&self, out: &mut String, placed: &[(f64, f64)], floor: f64, across: Scale) {
        let width = (across.place(across.from + 1.0) * 0.72).min(SIDE * 0.2);
        for &(x, y) in placed {
            let class = match self.tone {
                Tone::Main if y > floor => Tone::Loss.class(),
                Tone::Main => Tone::Gain.class(),
                tone => tone.class(),
            };
            let (top, height) = (y.min(floor), (y - floor).abs().max(1.0));
            let _ = write!(
                out,
                "<rect class=\"bar {class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>",
                x - width / 2.0
            );
        }
    }
}

/// The path through points; with `step`, at right angles.
fn line(points: &[(f64, f64)], step: bool) -> String {
    let mut d = String::with_capacity(points.len() * 12);
    let mut before = None;
    for &(x, y) in points {
        match before {
            None => {
                let _ = write!(d, "M{x:.1} {y:.1}");
            }
            Some(was) if step && was != y => {
                let _ = write!(d, "L{x:.1} {was:.1}L{x:.1} {y:.1}");
            }
            Some(_) => {
                let _ = write!(d, "L{x:.1} {y:.1}");
            }
        }
        before = Some(y);
    }
    d
}

fn dots(points: &[(f64, f64)]) -> String {
    let every = points.len().div_ceil(DOTS_MAX);
    let mut d = String::with_capacity(points.len().min(DOTS_MAX) * 14);
    for (x, y) in points.iter().step_by(every.max(1)) {
        let _ = write!(d, "M{x:.1} {y:.1}h0");
    }
    d
}

/// The points that a screen can show: of each column the first, the lowest, the highest and the last (M4, U. Jugel and
/// others, PVLDB 7, 2014). The line looks the same; no peak is lost.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= 4 * COLUMNS {
        return points.to_vec();
    }
    let column = |point: &(f64, f64)| (point.0 / SIDE * COLUMNS as f64) as usize;
    let mut out = Vec::with_capacity(4 * COLUMNS);
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let of_group = [group.first(), group.iter().min_by(by), group.iter().max_by(by), group.last()];
        let mut of_group: Vec<_> = of_group.into_iter().flatten().copied().collect();
        of_group.sort_by(|a, b| a.0.total_cmp(&b.0));
        of_group.dedup();
        out.extend(of_group);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(panels: Vec<Panel<'_>>) -> String {
        let mut out = String::new();
        let axis = Axis::Time(Scale { from: 0.0, to: 1e12 });
        Figure { id: "a", title: "<b>", note: "", axis, panels }.draw(&mut out);
        roxmltree::Document::parse(&out).unwrap();
        out
    }

    fn series(mark: Mark, points: Vec<(f64, f64)>) -> Series<'static> {
        Series { name: "\"<&", tone: Tone::Main, mark, points }
    }

    const MARKS: [Mark; 6] = [Mark::Line, Mark::Step, Mark::Area, Mark::Dots, Mark::Rings, Mark::Bars];

    #[test]
    fn whatever_is_plotted_the_figure_is_whole() {
        for mark in MARKS {
            for points in [
                vec![],
                vec![(0.0, 0.0)],
                vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)],
                (0..9).map(|at| (f64::from(at) * 1e11, f64::from(at % 4) - 2.0)).collect(),
            ] {
                let panel = Panel { label: "<", height: 100, zero: true, series: vec![series(mark, points)] };
                assert!(!figure(vec![panel]).contains("NaN"));
            }
        }
    }

    #[test]
    fn a_line_of_a_million_points_keeps_its_peaks_in_a_few_thousand() {
        let mut points: Vec<_> = (0..1_000_000).map(|at| (f64::from(at) / 1e3, 500.0)).collect();
        points[123_456].1 = 3.0;
        points[777_777].1 = 997.0;
        let thinned = thin(&points);
        assert!(thinned.len() <= 4 * (COLUMNS + 1));
        assert!(thinned.contains(&points[123_456]) && thinned.contains(&points[777_777]));
        assert!(thinned.is_sorted_by(|a, b| a.0 <= b.0));
        assert_eq!((thinned[0], thinned[thinned.len() - 1]), (points[0], points[999_999]));
    }

    #[test]
    fn a_step_turns_at_right_angles() {
        assert_eq!(line(&[(0.0, 1.0), (5.0, 1.0), (9.0, 4.0)], true), "M0.0 1.0L5.0 1.0L9.0 1.0L9.0 4.0");
    }
}
