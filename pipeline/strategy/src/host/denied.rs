//! Which denials are told. A strategy that asks again with every tick would fill the stream of reports, and what a
//! restart needs would be trimmed: so each reason is told once in a while, with how often it was in between.

use crate::risk::Reason;

/// How long a reason is not told again, for one strategy and instrument, ns.
pub(crate) const TOLD_EVERY_NS: u64 = 1_000_000_000;

/// The reasons of one strategy and instrument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denied(Vec<Told>);

#[derive(Clone, Debug)]
struct Told {
    reason: Reason,
    at_ns: u64,
    untold: u64,
}

impl Denied {
    /// Whether to tell a denial now, and how many of the same reason were not told before it.
    pub(crate) fn tell(&mut self, reason: Reason, now_ns: u64) -> Option<u64> {
        let Some(told) = self.0.iter_mut().find(|told| told.reason == reason) else {
            self.0.push(Told { reason, at_ns: now_ns, untold: 0 });
            return Some(0);
        };
        if now_ns.saturating_sub(told.at_ns) < TOLD_EVERY_NS {
            told.untold += 1;
            return None;
        }
        told.at_ns = now_ns;
        Some(std::mem::take(&mut told.untold))
    }
}
