//! How a process is asked to end (SIGTERM or SIGINT), or to read its configuration again (SIGHUP).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the process is asked to end. Cheap to copy to every thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that follows SIGTERM and SIGINT. The first asks; a second signal ends the process at once.
    ///
    /// # Errors
    /// When the signals cannot be taken.
    pub fn on_signals() -> io::Result<Stop> {
        let stop = Stop::default();
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop.0))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Whether it is asked to end.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks it to end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the process was asked to read its configuration again. Cheap to look at, by one thread.
#[derive(Clone, Debug, Default)]
pub struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// One that follows SIGHUP, which does not end the process any more.
    ///
    /// # Errors
    /// When the signal cannot be taken.
    pub fn on_signal() -> io::Result<Hangup> {
        let hangup = Hangup::default();
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&hangup.0))?;
        Ok(hangup)
    }

    /// Whether it was asked since the last time.
    pub fn was_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }

    /// In a process whose versions come from the control plane: says that its document is not read again, if it was asked.
    pub fn refuse_when_managed(&self) {
        if self.was_asked() {
            tracing::warn!(
                "SIGHUP is refused: this process is managed, its versions come from the control plane; use \
                 `feedplane apply`, or restart it for what is in its own document"
            );
        }
    }
}
