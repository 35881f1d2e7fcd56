//! How long to wait before a service that has ended is started again.

use std::time::Duration;

/// First wait: short, because most ends are accidents that a restart heals.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait: a service that cannot run costs a try each so often, and is back soon after its document
/// was corrected.
const LONGEST: Duration = Duration::from_secs(10);
/// A service that ran for so long ran well: its next end is a new accident.
const RAN_WELL: Duration = Duration::from_secs(10);

/// Doubles from [`FIRST`] to [`LONGEST`]; begins anew after a run of [`RAN_WELL`].
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// The wait after a run of this length.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= RAN_WELL {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..8).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn a_run_that_went_well_begins_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.after(Duration::from_secs(9));
        }
        assert_eq!(backoff.after(Duration::from_secs(10)), FIRST);
        assert_eq!(backoff.after(Duration::ZERO), FIRST * 2);
    }
}
