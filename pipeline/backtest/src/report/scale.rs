//! From values to places in a plot, and where an axis has its labels.
//!
//! A plot is a square of [`SIDE`] × [`SIDE`] units that the page stretches to whatever room there is; see `plot.rs`.

use super::text::{Moment, of_step};

/// Units along each side of a plot.
pub(super) const SIDE: f64 = 1_000.0;

const SECOND_NS: u64 = 1_000_000_000;
/// Steps between labels of time, ns.
const TIME_STEPS: [u64; 23] = [
    SECOND_NS / 1_000,
    SECOND_NS / 100,
    SECOND_NS / 20,
    SECOND_NS / 10,
    SECOND_NS / 2,
    SECOND_NS,
    2 * SECOND_NS,
    5 * SECOND_NS,
    10 * SECOND_NS,
    15 * SECOND_NS,
    30 * SECOND_NS,
    60 * SECOND_NS,
    120 * SECOND_NS,
    300 * SECOND_NS,
    600 * SECOND_NS,
    900 * SECOND_NS,
    1_800 * SECOND_NS,
    3_600 * SECOND_NS,
    7_200 * SECOND_NS,
    10_800 * SECOND_NS,
    21_600 * SECOND_NS,
    43_200 * SECOND_NS,
    86_400 * SECOND_NS,
];

/// Values and the places where they are: `from` at 0, `to` at [`SIDE`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A label of an axis.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Label {
    /// Along the axis, 0 to [`SIDE`].
    pub(super) at: f64,
    pub(super) text: String,
}

impl Scale {
    /// From the least to the greatest of the values; something around the only one, 0 to 1 for none.
    pub(super) fn over(values: impl IntoIterator<Item = f64>) -> Scale {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (from, to) = finite
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), value| (from.min(value), to.max(value)));
        if from > to {
            return Scale { from: 0.0, to: 1.0 };
        }
        if from == to {
            let around = if from == 0.0 { 1.0 } else { from.abs() * 0.01 };
            return Scale { from: from - around, to: to + around };
        }
        Scale { from, to }
    }

    /// With some room at both ends, so that no line lies on the frame.
    pub(super) fn with_room(self, share: f64) -> Scale {
        let room = (self.to - self.from) * share;
        Scale { from: self.from - room, to: self.to + room }
    }

    /// With this value in it.
    pub(super) fn including(self, value: f64) -> Scale {
        Scale { from: self.from.min(value), to: self.to.max(value) }
    }

    /// Where a value is.
    pub(super) fn place(self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from) * SIDE).clamp(-SIDE, 2.0 * SIDE)
    }

    /// Labels at round values, about so many.
    pub(super) fn labels(self, about: usize) -> Vec<Label> {
        let step = round_step((self.to - self.from) / about.max(1) as f64);
        let first = (self.from / step).ceil();
        (0..=2 * about)
            .map(|at| (first + at as f64) * step)
            .take_while(|&value| value <= self.to)
            .map(|value| Label { at: self.place(value), text: of_step(value, step) })
            .collect()
    }

    /// Labels at round times of the day, at most so many; values are ns since the epoch.
    pub(super) fn times(self, most: usize) -> Vec<Label> {
        let (from, to) = (self.from.max(0.0) as u64, self.to.max(0.0) as u64);
        let span = to.saturating_sub(from);
        let fits = |step: &&u64| span / **step < most.max(1) as u64;
        let days = (span / (most.max(1) as u64) / TIME_STEPS[22] + 1) * TIME_STEPS[22];
        let step = TIME_STEPS.iter().find(fits).copied().unwrap_or(days);
        let first = from.div_ceil(step) * step;
        let mut day = None;
        (0..=span / step)
            .map(|at| first + at * step)
            .take_while(|&at_ns| at_ns <= to)
            .map(|at_ns| {
                let moment = Moment::of(at_ns);
                let new_day = day.replace(moment.date()).is_some_and(|before| before != moment.date());
                Label { at: self.place(at_ns as f64), text: time_label(moment, step, new_day) }
            })
            .collect()
    }
}

fn time_label(moment: Moment, step_ns: u64, new_day: bool) -> String {
    if step_ns >= TIME_STEPS[22] {
        moment.date()
    } else if new_day {
        moment.date()[5..].to_owned()
    } else if step_ns >= 60 * SECOND_NS {
        moment.minute()
    } else if step_ns >= SECOND_NS {
        moment.second()
    } else {
        moment.milli()
    }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|&step| step >= least * 0.999_999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(labels: &[Label]) -> Vec<&str> {
        labels.iter().map(|label| label.text.as_str()).collect()
    }

    #[test]
    fn labels_are_at_round_values() {
        let labels = Scale { from: -130.0, to: 260.0 }.labels(4);
        assert_eq!(texts(&labels), ["\u{2212}100", "0", "100", "200"]);
        assert!((labels[1].at - 1_000.0 / 3.0).abs() < 1e-9);
        assert_eq!(texts(&Scale { from: 4_799.9, to: 4_801.1 }.labels(4)), ["4,800.0", "4,800.5", "4,801.0"]);
    }

    #[test]
    fn labels_of_time_are_at_round_times_and_tell_a_new_day() {
        let start = 1_704_119_400_000_000_000.0; // 2024-01-01T14:30:00Z
        let hour = 3_600e9;
        assert_eq!(
            texts(&Scale { from: start, to: start + hour }.times(5)),
            ["14:30", "14:45", "15:00", "15:15", "15:30"]
        );
        let night = Scale { from: start + 9.0 * hour, to: start + 10.0 * hour }.times(3);
        assert_eq!(texts(&night), ["23:30", "01-02", "00:30"]);
    }

    #[test]
    fn nothing_one_value_and_no_number_still_give_a_scale() {
        for values in [vec![], vec![0.0], vec![-7.0], vec![f64::NAN], vec![1e300, -1e300], vec![1e-300, 0.0]]
        {
            let scale = Scale::over(values).with_room(0.05);
            assert!(scale.from < scale.to);
            assert!(scale.labels(5).len() <= 11);
            assert!(scale.times(5).len() <= 12);
        }
    }
}
