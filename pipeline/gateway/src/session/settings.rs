//! What of a session can change while it runs: its section of the document, and whether the document is to be trusted.
//!
//! Invariant: who changes it never waits for the session, and the session looks with one atomic read a turn.

use bus::config::{GatewaySession, OuchSection};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Nobody runs a day: whoever begins one takes the newest.
const NOBODY: u64 = u64::MAX;

/// What a session goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its section.
    pub session: GatewaySession,
    /// An instruction that is older is denied, ms.
    pub instruction_age_max_ms: u64,
    /// Why nothing but cancels is sent, whatever the section says: the configuration cannot be used.
    pub closed: Option<String>,
}

/// Shared by whoever changes the settings and the session that goes by them.
pub struct LiveSettings {
    newest: Mutex<Arc<Settings>>,
    generation: AtomicU64,
    taken: AtomicU64,
    answers_strays: Arc<AtomicBool>,
}

impl LiveSettings {
    /// The first ones. `answers_strays`: whether this session refuses what names no venue.
    pub fn new(settings: Settings, answers_strays: bool) -> LiveSettings {
        LiveSettings {
            newest: Mutex::new(Arc::new(settings)),
            generation: AtomicU64::new(0),
            taken: AtomicU64::new(NOBODY),
            answers_strays: Arc::new(AtomicBool::new(answers_strays)),
        }
    }

    /// Others hold from the session's next turn on.
    pub fn change(&self, settings: Settings, answers_strays: bool) {
        self.answers_strays.store(answers_strays, Ordering::Release);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if **newest != settings {
            *newest = Arc::new(settings);
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether the session goes by the newest, or will when it begins.
    pub fn are_taken(&self) -> bool {
        let taken = self.taken.load(Ordering::Acquire);
        taken == NOBODY || taken == self.generation.load(Ordering::Acquire)
    }

    /// The newest, with their generation.
    pub(super) fn newest(&self) -> (u64, Arc<Settings>) {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        (self.generation.load(Ordering::Acquire), Arc::clone(&newest))
    }

    /// Those after this generation, if there are any.
    pub(super) fn newer_than(&self, generation: u64) -> Option<(u64, Arc<Settings>)> {
        (self.generation.load(Ordering::Acquire) != generation).then(|| self.newest())
    }

    pub(super) fn are_taken_up_to(&self, generation: u64) {
        self.taken.store(generation, Ordering::Release);
    }

    pub(super) fn are_nobodys(&self) {
        self.taken.store(NOBODY, Ordering::Release);
    }

    pub(super) fn answers_strays(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.answers_strays)
    }
}

/// What is changed in a session that decides whose orders the journal of the day holds; the first such field.
pub fn other_account(before: &GatewaySession, after: &GatewaySession) -> Option<&'static str> {
    match (&before.ouch, &before.fix, &after.ouch, &after.fix) {
        (Some(before), None, Some(after), None) => (before.user != after.user).then_some("ouch.user"),
        (None, Some(before), None, Some(after)) => {
            let changed = [
                ("fix.sender_comp_id", before.sender_comp_id != after.sender_comp_id),
                ("fix.target_comp_id", before.target_comp_id != after.target_comp_id),
            ];
            changed.into_iter().find_map(|(field, changed)| changed.then_some(field))
        }
        (_, _, Some(OuchSection { .. }), _) => Some("ouch"),
        _ => Some("fix"),
    }
}

/// Whether the connection is another: it has to be made anew.
pub(super) fn other_connection(before: &GatewaySession, after: &GatewaySession) -> bool {
    (&before.reconnect, &before.ouch, &before.fix) != (&after.reconnect, &after.ouch, &after.fix)
}
