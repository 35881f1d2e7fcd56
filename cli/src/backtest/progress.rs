//! How far a run is, on standard error: one line drawn over and over on a terminal, else a line now and then.

use backtest::Progress;
use backtest::source::Position;
use backtest::sweep::Going;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const REDRAW_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// ns in a s.
const SECOND_NS: u64 = 1_000_000_000;

/// What is shown.
pub(super) struct Shown {
    quiet: bool,
    terminal: bool,
    drawn: Instant,
    started: Instant,
    visible: bool,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Shown {
        let now = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        Shown { quiet, terminal, drawn: now, started: now, visible: false }
    }

    /// Shows how far one run is, now and then.
    pub(super) fn ticks(&mut self, progress: &Progress) {
        let every = if self.terminal { REDRAW_EVERY } else { LINE_EVERY };
        if !self.quiet && self.drawn.elapsed() >= every {
            self.draw(&line(progress, self.started.elapsed()));
        }
    }

    /// Shows how far many runs are.
    pub(super) fn runs(&mut self, going: &Going) {
        let last = going.runs == going.total;
        let every = if self.terminal { REDRAW_EVERY } else { LINE_EVERY };
        if !self.quiet && (last || self.drawn.elapsed() >= every) {
            let Going { runs, failed, total } = going;
            let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
            self.draw(&format!("{runs} of {total} runs{failed}"));
        }
    }

    fn draw(&mut self, line: &str) {
        self.drawn = Instant::now();
        let mut out = std::io::stderr().lock();
        // What cannot be drawn is no reason to stop.
        let _ = if self.terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        self.visible = self.terminal;
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.visible) {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let Progress { now_ns, ticks, position, net, fills } = progress;
    let per_second = *ticks as f64 / elapsed.as_secs_f64().max(1e-3) / 1e6;
    let second = now_ns / SECOND_NS % 86_400;
    let (hours, minutes, seconds) = (second / 3_600, second / 60 % 60, second % 60);
    let share = match position {
        Position { done, total: Some(total) } if *total > 0 => {
            format!(" ({:.0} %)", *done as f64 * 100.0 / *total as f64)
        }
        _ => String::new(),
    };
    format!(
        "{hours:02}:{minutes:02}:{seconds:02} UTC{share}, {ticks} ticks, {per_second:.2} M/s, {fills} trades, P&L {:.2}",
        net.to_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use backtest::outcome::Amount;

    #[test]
    fn the_line_says_the_recordings_time_the_share_the_rate_and_the_profit() {
        let progress = Progress {
            now_ns: 1_703_545_200_000_000_000,
            ticks: 3_000_000,
            position: Position { done: 50, total: Some(200) },
            net: Amount(-1_500_000_000_000_000_000),
            fills: 7,
        };
        assert_eq!(
            line(&progress, Duration::from_secs(2)),
            "23:00:00 UTC (25 %), 3000000 ticks, 1.50 M/s, 7 trades, P&L -1.50"
        );
    }
}
