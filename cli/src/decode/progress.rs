//! How far a long file is read, on standard error, and only where that is a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};
use venue::capture::Progress as Position;

/// Records between two looks at the clock.
const RECORDS_PER_LOOK: u64 = 4096;
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// One line that is drawn over and over; silent when standard error is no terminal.
pub(super) struct Progress {
    doing: &'static str,
    shown: bool,
    visible: bool,
    started: Instant,
    drawn: Instant,
}

impl Progress {
    /// `doing` says in a word what is going on.
    pub(super) fn new(doing: &'static str) -> Progress {
        let now = Instant::now();
        Progress { doing, shown: std::io::stderr().is_terminal(), visible: false, started: now, drawn: now }
    }

    /// Called once a record; draws now and then.
    pub(super) fn update(&mut self, records: u64, position: impl FnOnce() -> Position) {
        if self.shown && records.is_multiple_of(RECORDS_PER_LOOK) && self.drawn.elapsed() >= REDRAW_EVERY {
            self.drawn = Instant::now();
            self.visible = true;
            let line = line(self.doing, records, position(), self.started.elapsed());
            // A progress line that cannot be drawn is no reason to stop.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.visible {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(doing: &str, records: u64, position: Position, elapsed: Duration) -> String {
    let per_second = records as f64 / elapsed.as_secs_f64().max(1e-3);
    let bytes = match position.total_bytes {
        Some(total) if total > 0 => format!(
            "{} of {} ({:.0} %)",
            megabytes(position.read_bytes),
            megabytes(total),
            position.read_bytes as f64 * 100.0 / total as f64
        ),
        _ => megabytes(position.read_bytes),
    };
    format!("{doing}: {bytes}, {records} packets, {per_second:.0} packets/s")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_bytes_share_and_rate() {
        let position = Position { read_bytes: 2_500_000, total_bytes: Some(10_000_000) };
        assert_eq!(
            line("decoding", 8192, position, Duration::from_secs(2)),
            "decoding: 2.5 MB of 10.0 MB (25 %), 8192 packets, 4096 packets/s"
        );
    }

    #[test]
    fn a_source_without_a_size_has_no_share() {
        let position = Position { read_bytes: 2_500_000, total_bytes: None };
        assert_eq!(
            line("decoding", 10, position, Duration::from_secs(1)),
            "decoding: 2.5 MB, 10 packets, 10 packets/s"
        );
    }
}
