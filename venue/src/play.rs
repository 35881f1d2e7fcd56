//! Plays a script: waits for each packet's time and hands it to a way out, until the end or a stop.

use crate::account::Report;
use crate::script::{Next, Script};
use crate::send::{Outlet, SendError};
use crate::session::Source;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long before a packet's time the sender stops sleeping and watches the clock instead: what the kernel
/// oversleeps with the finest timers. Longer costs processor time, shorter costs precision.
const SPIN: Duration = Duration::from_micros(20);
/// A sleep is cut into pieces of this length, so that a stop is heard.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// After a stop, everything is due.
const STOPPED_NS: u64 = u64::MAX / 2;

/// How time passes.
pub trait Clock {
    /// ns since the session began.
    fn now_ns(&mut self) -> u64;
    /// Comes back at `until_ns`, or earlier when it wants `stop` to be looked at.
    fn wait(&mut self, until_ns: u64);
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct RealClock(Instant);

impl RealClock {
    /// Begins now, and asks the kernel to wake the calling thread on time: by default it may be 50 µs late.
    pub fn start() -> RealClock {
        // Refused, the session still runs, less precisely.
        let _ = rustix::thread::set_current_timer_slack(NonZero::new(1));
        RealClock(Instant::now())
    }
}

impl Clock for RealClock {
    fn now_ns(&mut self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    fn wait(&mut self, until_ns: u64) {
        let until = self.0 + Duration::from_nanos(until_ns);
        let left = until.saturating_duration_since(Instant::now());
        if left > SPIN {
            std::thread::sleep((left - SPIN).min(SLEEP_MAX));
        } else {
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
    }
}

/// Time that passes as soon as nothing is left to do: for files and tests.
#[derive(Debug, Default)]
pub struct VirtualClock(u64);

impl Clock for VirtualClock {
    fn now_ns(&mut self) -> u64 {
        self.0
    }

    fn wait(&mut self, until_ns: u64) {
        self.0 = self.0.max(until_ns);
    }
}

/// Plays `script` to its end, or until `stop` is set: then what was begun still goes out at once.
///
/// # Errors
/// The first packet that could not be sent.
pub fn play<S: Source>(
    script: &mut Script<S>,
    outlet: &mut impl Outlet,
    clock: &mut impl Clock,
    stop: &AtomicBool,
) -> Result<Report, SendError> {
    let begun = Instant::now();
    let mut interrupted = false;
    loop {
        if !interrupted && stop.load(Ordering::Relaxed) {
            interrupted = true;
            script.stop();
        }
        let now_ns = if interrupted { STOPPED_NS } else { clock.now_ns() };
        match script.next(now_ns) {
            Next::Send(dispatch) => outlet.send(&dispatch)?,
            Next::Wait(until_ns) => {
                outlet.flush()?;
                if !interrupted {
                    clock.wait(until_ns);
                }
            }
            Next::End => break,
        }
    }
    outlet.flush()?;
    Ok(report(script, begun.elapsed(), interrupted))
}

/// The account of what a script has sent until now.
pub(crate) fn report<S: Source>(script: &Script<S>, duration: Duration, interrupted: bool) -> Report {
    let channels = script.account();
    let messages = channels.iter().map(|channel| channel.messages).sum();
    let duration_s = duration.as_secs_f64();
    let per_s = |count: u64| count as f64 / duration_s.max(1e-9);
    Report {
        duration_s,
        interrupted,
        packets_sent: script.dispatches(),
        messages,
        packets_per_s: per_s(script.dispatches()),
        messages_per_s: per_s(messages),
        not_of_a_feed: script.source().passed_over(),
        source_error: script.source_error().map(ToString::to_string),
        channels,
    }
}
