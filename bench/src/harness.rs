//! What a table is, and how its figures are taken.
//!
//! The machine is shared and noisy, so no figure stands alone: contenders run in alternating rounds
//! (A B C, A B C, …), each figure is the median of its rounds, and what is compared is the ratio between
//! contenders of the same run. Invariant: a [`Row`] has a figure, or says why it has none.

use anyhow::Result;
use serde::Serialize;

/// Which direction is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// A cost or a delay.
    Lower,
    /// A rate.
    Higher,
}

/// What a figure has to reach.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The figure itself, in the metric's unit: at most for a cost, at least for a rate.
    Figure(f64),
    /// So many times better than the metric's reference.
    TimesReference(f64),
}

/// One contender's figure.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// The contender.
    pub what: String,
    /// What exactly it does for the figure, so that the comparison can be judged.
    pub does: String,
    /// The median of its rounds; none when it could not run.
    pub figure: Option<f64>,
    /// Every round, in the order taken.
    pub rounds: Vec<f64>,
    /// How many times better than the reference (above 1: better).
    pub ratio: Option<f64>,
    /// What it has to reach.
    pub targets: Vec<Target>,
    /// Whether it reaches all of them; none when it has no target or no figure.
    pub met: Option<bool>,
    /// Whatever a reader must know of this row: losses, a reason for a miss, why there is no figure.
    pub note: String,
    /// What the figure is made of, one after the other, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
}

/// A part of a figure.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Stage {
    /// What it is spent on.
    pub what: String,
    /// How much of it, in the metric's unit.
    pub figure: f64,
}

impl Row {
    /// A contender without a target.
    pub fn new(what: &str, does: &str) -> Row {
        Row {
            what: what.to_owned(),
            does: does.to_owned(),
            figure: None,
            rounds: Vec::new(),
            ratio: None,
            targets: Vec::new(),
            met: None,
            note: String::new(),
            stages: Vec::new(),
        }
    }

    /// The same with targets to reach.
    #[must_use]
    pub fn aiming(mut self, targets: &[Target]) -> Row {
        self.targets = targets.to_vec();
        self
    }
}

/// Figures of one kind, side by side.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Metric {
    /// What was measured.
    pub name: String,
    /// Unit of every figure in it.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// The contender that ratios are taken against.
    pub reference: String,
    /// The contenders.
    pub rows: Vec<Row>,
}

/// One table of the report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Table {
    /// Its letter on the command line.
    pub id: char,
    /// Its title.
    pub title: &'static str,
    /// What it measured.
    pub metrics: Vec<Metric>,
}

/// How much work a run does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effort {
    /// A smoke run: every code path, no figure to be trusted.
    pub short: bool,
}

impl Effort {
    /// Rounds of every contender.
    pub fn rounds(self) -> usize {
        if self.short { 1 } else { 7 }
    }

    /// `full`, or a hundredth of it in a smoke run.
    pub fn scaled(self, full: usize) -> usize {
        if self.short { (full / 100).max(1) } else { full }
    }
}

/// A kind of figure that a round gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Kind {
    /// What it is.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
}

impl Kind {
    /// A cost or a delay.
    pub fn lower(name: &str, unit: &'static str) -> Kind {
        Kind { name: name.to_owned(), unit, better: Better::Lower }
    }

    /// A rate.
    pub fn higher(name: &str, unit: &'static str) -> Kind {
        Kind { name: name.to_owned(), unit, better: Better::Higher }
    }
}

/// What a round gave: a figure for each kind, and whatever a reader must know of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Round {
    /// The figures, in the order of the kinds.
    pub figures: Vec<f64>,
    /// For the rows' notes; the last round's stays.
    pub note: String,
}

impl From<f64> for Round {
    fn from(figure: f64) -> Round {
        Round { figures: vec![figure], note: String::new() }
    }
}

/// One contender: a row for each kind of figure, and what takes one round's figures.
pub struct Contender<'a> {
    rows: Vec<Row>,
    round: Box<dyn FnMut() -> Result<Round> + 'a>,
    failed: bool,
}

impl<'a> Contender<'a> {
    /// A contender with one figure a round.
    pub fn new(row: Row, mut round: impl FnMut() -> Result<f64> + 'a) -> Contender<'a> {
        Contender::several(vec![row], move || round().map(Round::from))
    }

    /// A contender with a figure a round for each row.
    pub fn several(rows: Vec<Row>, round: impl FnMut() -> Result<Round> + 'a) -> Contender<'a> {
        Contender { rows, round: Box::new(round), failed: false }
    }

    fn run(&mut self) {
        if self.failed {
            return;
        }
        match (self.round)() {
            Ok(round) => {
                for (row, figure) in self.rows.iter_mut().zip(round.figures) {
                    row.rounds.push(figure);
                    row.note.clone_from(&round.note);
                }
            }
            Err(error) => {
                self.failed = true;
                for row in &mut self.rows {
                    row.note = format!("could not run: {error:#}");
                }
            }
        }
    }
}

/// Runs the contenders in alternating rounds and fills their rows: a metric for each kind. A contender that
/// fails keeps its rows, with the error as their note, and is not asked again.
pub fn measure(
    kinds: &[Kind],
    reference: &str,
    effort: Effort,
    mut contenders: Vec<Contender<'_>>,
) -> Vec<Metric> {
    for _ in 0..effort.rounds() {
        for contender in &mut contenders {
            contender.run();
        }
    }
    let metric = |(at, kind): (usize, &Kind)| {
        let rows = contenders.iter().filter_map(|contender| contender.rows.get(at).cloned()).collect();
        let Kind { name, unit, better } = kind.clone();
        Metric { name, unit, better, reference: reference.to_owned(), rows }.settled()
    };
    kinds.iter().enumerate().map(metric).collect()
}

impl Metric {
    /// Medians from the rounds, then ratios and verdicts from the medians.
    #[must_use]
    pub fn settled(mut self) -> Metric {
        for row in &mut self.rows {
            row.figure = median(&row.rounds);
        }
        let reference = self.rows.iter().find(|row| row.what == self.reference).and_then(|row| row.figure);
        let better = self.better;
        for row in &mut self.rows {
            row.ratio = match (row.figure, reference) {
                (Some(figure), Some(reference)) if figure > 0.0 && reference > 0.0 => Some(match better {
                    Better::Lower => reference / figure,
                    Better::Higher => figure / reference,
                }),
                _ => None,
            };
            row.met = verdict(row, better);
        }
        self
    }
}

fn verdict(row: &Row, better: Better) -> Option<bool> {
    let figure = row.figure?;
    if row.targets.is_empty() {
        return None;
    }
    Some(row.targets.iter().all(|target| match (*target, better) {
        (Target::Figure(wanted), Better::Lower) => figure <= wanted,
        (Target::Figure(wanted), Better::Higher) => figure >= wanted,
        (Target::TimesReference(wanted), _) => row.ratio.is_some_and(|ratio| ratio >= wanted),
    }))
}

/// The middle of the values; none of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[n / 2]),
        n => Some(f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(better: Better, targets: &[Target], rounds: [&[f64]; 2]) -> Metric {
        let ours = Row { rounds: rounds[0].to_vec(), ..Row::new("ours", "") }.aiming(targets);
        let theirs = Row { rounds: rounds[1].to_vec(), ..Row::new("theirs", "") };
        let (name, reference) = ("cost".to_owned(), "theirs".to_owned());
        Metric { name, unit: "ns", better, reference, rows: vec![ours, theirs] }.settled()
    }

    #[test]
    fn a_cost_half_as_high_is_twice_as_good_and_so_is_a_rate_twice_as_high() {
        let cost = metric(Better::Lower, &[], [&[5.0], &[10.0]]);
        assert_eq!((cost.rows[0].ratio, cost.rows[1].ratio), (Some(2.0), Some(1.0)));
        let rate = metric(Better::Higher, &[], [&[20.0], &[10.0]]);
        assert_eq!(rate.rows[0].ratio, Some(2.0));
    }

    #[test]
    fn a_target_is_met_only_when_figure_and_ratio_both_reach_it() {
        let both = [Target::Figure(6.0), Target::TimesReference(2.0)];
        assert_eq!(metric(Better::Lower, &both, [&[5.0], &[10.0]]).rows[0].met, Some(true));
        assert_eq!(metric(Better::Lower, &both, [&[5.0], &[9.0]]).rows[0].met, Some(false));
        assert_eq!(metric(Better::Lower, &both, [&[7.0], &[90.0]]).rows[0].met, Some(false));
        assert_eq!(metric(Better::Lower, &both, [&[], &[90.0]]).rows[0].met, None);
    }

    #[test]
    fn one_wild_round_does_not_move_the_figure() {
        assert_eq!(metric(Better::Lower, &[], [&[5.0, 900.0, 5.5], &[10.0]]).rows[0].figure, Some(5.5));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
    }

    #[test]
    fn contenders_take_turns_and_one_that_fails_says_why_and_is_not_asked_again() {
        let order = std::cell::RefCell::new(String::new());
        let turn = |name: char, figure: f64| {
            order.borrow_mut().push(name);
            if name == 'b' {
                anyhow::bail!("no such device")
            }
            Ok(figure)
        };
        let contenders = vec![
            Contender::new(Row::new("a", ""), || turn('a', 1.0)),
            Contender::new(Row::new("b", ""), || turn('b', 2.0)),
        ];
        let metrics = measure(&[Kind::lower("cost", "ns")], "a", Effort { short: false }, contenders);
        assert_eq!(order.borrow().as_str(), "abaaaaaa");
        assert_eq!(metrics[0].rows[1].note, "could not run: no such device");
        assert_eq!(metrics[0].rows[1].figure, None);
    }

    #[test]
    fn a_round_with_several_figures_gives_a_row_in_each_metric() {
        let rows = vec![Row::new("a", "cost"), Row::new("a", "rate")];
        let round = || Ok(Round { figures: vec![2.0, 500.0], note: "copy mode".to_owned() });
        let kinds = [Kind::lower("cost", "ns"), Kind::higher("rate", "1/s")];
        let metrics = measure(&kinds, "a", Effort { short: true }, vec![Contender::several(rows, round)]);
        assert_eq!((metrics[0].rows[0].figure, metrics[1].rows[0].figure), (Some(2.0), Some(500.0)));
        assert_eq!((metrics[1].better, metrics[1].rows[0].note.as_str()), (Better::Higher, "copy mode"));
    }
}
