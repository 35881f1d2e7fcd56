//! The lease as a session sees it: by its own clock, without asking anyone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Shared by whoever tends the lease and the session that needs it.
pub struct LeaseState {
    token: u64,
    until: Mutex<Instant>,
    ended: AtomicBool,
    redis_gone: AtomicBool,
    leaving: AtomicBool,
    removed: AtomicBool,
}

impl LeaseState {
    /// A lease that was just taken.
    pub fn new(token: u64, until: Instant) -> LeaseState {
        LeaseState {
            token,
            until: Mutex::new(until),
            ended: AtomicBool::new(false),
            redis_gone: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        }
    }

    /// Grows with every owner.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// It was prolonged; Redis answers.
    pub fn prolong(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        self.redis_gone.store(false, Ordering::Release);
    }

    /// Redis cannot be asked.
    pub fn redis_is_gone(&self) {
        self.redis_gone.store(true, Ordering::Release);
    }

    /// It is lost for good.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// The process is to end: the session ends in order.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// The session is not in the document any more: it cancels what is open, and ends.
    pub fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        self.leave();
    }

    /// Whether its session is to end for good.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Whether it is ours, by our own clock.
    pub fn holds(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_ended() && Instant::now() < until
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Whether it ran out because Redis is gone: nobody else can have it then, as far as can be seen from here.
    pub(super) fn ran_out_without_redis(&self) -> bool {
        !self.is_ended() && !self.holds() && self.redis_gone.load(Ordering::Acquire)
    }
}
