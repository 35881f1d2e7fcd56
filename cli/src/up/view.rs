//! How everything is, at a glance: a table drawn anew on a terminal, a line for each change otherwise.

use super::service::State;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two tables on a terminal.
const REDRAW_EVERY: Duration = Duration::from_millis(500);
/// Between two lines of an unchanged service elsewhere: a sign of life with its rates.
const REPEAT_EVERY: Duration = Duration::from_secs(30);

/// What of a service's metrics is in the view.
struct Shown {
    rate: &'static str,
    unit: &'static str,
    lag: &'static str,
    lag_unit: &'static str,
}

fn shown(service: &str) -> Option<Shown> {
    Some(match service {
        "dataplane" => Shown {
            rate: "feedplane_dataplane_published_ticks_total",
            unit: "ticks/s",
            lag: "feedplane_dataplane_waiting_ticks",
            lag_unit: "ticks waiting",
        },
        "features" => Shown {
            rate: "feedplane_features_ticks_total",
            unit: "ticks/s",
            lag: "feedplane_features_lag_ms",
            lag_unit: "ms behind",
        },
        "strategy" => Shown {
            rate: "feedplane_strategy_ticks_total",
            unit: "ticks/s",
            lag: "feedplane_strategy_lag_ms",
            lag_unit: "ms behind",
        },
        "gateway" => Shown {
            rate: "feedplane_gateway_sends_total",
            unit: "orders/s",
            lag: "feedplane_gateway_orders_in_doubt",
            lag_unit: "orders in doubt",
        },
        "archiver" => Shown {
            rate: "feedplane_archiver_rows_total",
            unit: "rows/s",
            lag: "feedplane_archiver_lag_entries",
            lag_unit: "entries behind",
        },
        _ => return None,
    })
}

/// Whether a service still has something to do; nothing when it does not say.
pub(super) fn is_busy(service: &str, state: &State) -> Option<bool> {
    let shown = shown(service)?;
    Some(lag(&shown, state)? > 0.0 || state.rate(shown.rate)? > 0.0)
}

fn lag(shown: &Shown, state: &State) -> Option<f64> {
    state.now.as_ref()?.1.sum(shown.lag)
}

/// The view.
pub(super) struct View {
    terminal: bool,
    lines: usize,
    due: Instant,
    told: HashMap<&'static str, (String, Instant)>,
}

impl View {
    /// A table when the output is a terminal on which nothing else is written.
    pub(super) fn new(follow: bool) -> View {
        let terminal = std::io::stdout().is_terminal() && !follow;
        View { terminal, lines: 0, due: Instant::now(), told: HashMap::new() }
    }

    /// Shows the services when it is time to.
    pub(super) fn show(&mut self, services: &[(&'static str, State)]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.terminal {
            if Instant::now() < self.due {
                return Ok(());
            }
            self.due = Instant::now() + REDRAW_EVERY;
            let text = table(services);
            if self.lines > 0 {
                // Up over the table before, and clear to the end of the screen.
                write!(out, "\x1b[{}A\x1b[J", self.lines)?;
            }
            self.lines = text.lines().count();
            out.write_all(text.as_bytes())?;
        } else {
            for (name, state) in services {
                let what = what_changed(state);
                let is_new =
                    self.told.get(name).is_none_or(|(told, at)| *told != what || at.elapsed() > REPEAT_EVERY);
                if is_new {
                    self.told.insert(name, (what, Instant::now()));
                    writeln!(out, "{}", row(name, state).trim_end())?;
                }
            }
        }
        out.flush()
    }
}

/// What of a state is worth a line when it is another.
fn what_changed(state: &State) -> String {
    format!("{:?} {:?} {} {:?}", state.phase, state.pid, state.restarts, state.ready)
}

fn table(services: &[(&'static str, State)]) -> String {
    let mut text = format!(
        "{:<13}{:>8}  {:<9}{:>9}{:>9}  {:<24}  {}\n",
        "service", "pid", "state", "for", "restarts", "rate, lag", "ready"
    );
    for (name, state) in services {
        let _ = writeln!(text, "{}", row(name, state));
    }
    text
}

fn row(name: &str, state: &State) -> String {
    let pid = state.pid.map_or("-".to_owned(), |pid| pid.to_string());
    let mut row = format!(
        "{name:<13}{pid:>8}  {:<9}{:>9}{:>9}  {:<24}  {}",
        state.phase.name(),
        duration(state.since.elapsed()),
        state.restarts,
        rates(name, state),
        ready(state),
    );
    // One line each, whatever a reason looks like.
    row.retain(|character| !character.is_control());
    row
}

fn ready(state: &State) -> String {
    let why = state.why.as_deref().unwrap_or_default();
    match &state.ready {
        Some(Ok(())) => "ready".into(),
        Some(Err(reason)) => reason.clone(),
        None if why.is_empty() => "-".into(),
        None => why.to_owned(),
    }
}

/// How fast and how far behind, in a few words.
pub(crate) fn rates(name: &str, state: &State) -> String {
    let Some(shown) = shown(name) else { return String::new() };
    let mut told = Vec::new();
    if let Some(rate) = state.rate(shown.rate) {
        told.push(format!("{rate:.0} {}", shown.unit));
    }
    if let Some(lag) = lag(&shown, state).filter(|lag| *lag >= 1.0) {
        told.push(format!("{lag:.0} {}", shown.lag_unit));
    }
    told.join(", ")
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::Samples;
    use super::super::service::Phase;
    use super::*;

    fn state() -> State {
        let sampled = |ticks: u64, seconds_ago: u64| {
            let text = format!("feedplane_dataplane_published_ticks_total {ticks}\n");
            (Instant::now() - Duration::from_secs(seconds_ago), Samples::parse(&text))
        };
        State {
            phase: Phase::Running,
            pid: Some(4711),
            since: Instant::now(),
            restarts: 2,
            why: Some("signal: 9 (SIGKILL)".into()),
            ready: Some(Ok(())),
            now: Some(sampled(3_000, 0)),
            before: Some(sampled(1_000, 2)),
        }
    }

    #[test]
    fn a_row_says_who_how_since_when_and_how_much() {
        let row = row("dataplane", &state());
        for expected in ["dataplane", "4711", "running", "0 s", " 2 ", "1000 ticks/s", "ready"] {
            assert!(row.contains(expected), "{expected:?} is not in {row:?}");
        }
    }

    #[test]
    fn a_service_that_ended_shows_why_in_one_line() {
        let why = Some("line 3: unknown field\n\x1b[2Jevil".to_owned());
        let ended = State { phase: Phase::BackingOff, pid: None, ready: None, why, ..state() };
        let row = row("dataplane", &ended);
        assert!(row.contains("ended") && row.contains("unknown field") && !row.contains(['\n', '\x1b']));
    }

    #[test]
    fn a_counter_that_began_anew_is_no_negative_rate() {
        let fresh = State { now: state().before, before: state().now, ..state() };
        assert_eq!(
            fresh.rate("feedplane_dataplane_published_ticks_total").map(|rate| rate >= 0.0),
            Some(true)
        );
    }
}
