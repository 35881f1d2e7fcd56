//! What a hot thread does while it has nothing to do.

use bus::config::WaitStrategy;
use std::time::{Duration, Instant};

/// How long a parking thread spins first: longer than the usual pause inside a burst, shorter than a
/// scheduler's slice.
const SPIN_BEFORE_PARK: Duration = Duration::from_micros(50);

/// A strategy after `adaptive` was resolved for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Poll without a pause.
    Spin,
    /// Let others run between two polls.
    Yield,
    /// Spin for a moment, then sleep in the kernel.
    Park,
}

impl Wait {
    /// Resolves the configured strategy: with more than two cores and a core of its own a thread may spin,
    /// otherwise it would only take time from those it waits for.
    pub fn resolve(strategy: WaitStrategy, pinned: bool) -> Wait {
        match strategy {
            WaitStrategy::Spin => Wait::Spin,
            WaitStrategy::Yield => Wait::Yield,
            WaitStrategy::Park => Wait::Park,
            WaitStrategy::Adaptive => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                if pinned && cores > 2 { Wait::Spin } else { Wait::Park }
            }
        }
    }

    /// The name in logs and status.
    pub fn name(self) -> &'static str {
        match self {
            Wait::Spin => "spin",
            Wait::Yield => "yield",
            Wait::Park => "park",
        }
    }
}

/// Follows one idle period of a thread.
#[derive(Debug)]
pub struct Idle {
    wait: Wait,
    since: Option<Instant>,
}

impl Idle {
    /// Not idle yet.
    pub fn new(wait: Wait) -> Idle {
        Idle { wait, since: None }
    }

    /// There was something to do.
    #[inline]
    pub fn reset(&mut self) {
        self.since = None;
    }

    /// Called when there was nothing to do: pauses as the strategy says and tells whether to sleep in the
    /// kernel now.
    #[inline]
    pub fn should_park(&mut self) -> bool {
        match self.wait {
            Wait::Spin => std::hint::spin_loop(),
            Wait::Yield => std::thread::yield_now(),
            Wait::Park => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if since.elapsed() >= SPIN_BEFORE_PARK {
                    return true;
                }
                std::thread::yield_now();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_its_own_core_does_not_spin_by_default() {
        assert_eq!(Wait::resolve(WaitStrategy::Adaptive, false), Wait::Park);
        assert_eq!(Wait::resolve(WaitStrategy::Spin, false), Wait::Spin);
    }

    #[test]
    fn a_parking_thread_spins_before_it_sleeps() {
        let mut idle = Idle::new(Wait::Park);
        assert!(!idle.should_park());
        std::thread::sleep(SPIN_BEFORE_PARK * 2);
        assert!(idle.should_park());
        idle.reset();
        assert!(!idle.should_park());
    }
}
