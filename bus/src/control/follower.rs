//! One thread of a managed process that follows its configuration, and says what the process runs.
//!
//! ```text
//! thread `config`:  config:<service> ─► checked, laid over the process's own document ─► slot ─┐
//!                   processes:<service> ◄─ report, each second ◄─ what became of it ◄──────┐   │
//! thread of work:   Follower::take (one atomic read when there is nothing) ◄───────────────┼───┘
//!                   takes it, or not ─► Follower::ran, refused, restart_needed ────────────┘
//! ```
//!
//! Redis gone, frozen or hostile delays this thread alone: the process goes on with what it has.
//!
//! Invariants: a version is offered once, whole and checked. One that was refused is offered again only when another one
//! was there in between. What the report says it runs is what the thread of work said.

use super::watch::Watch;
use super::{ManagedDocument, ProcessReport, ProcessState};
use crate::Sha256Sum;
use crate::consumer::ConsumerError;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::{error, info, warn};

/// How long an ending process waits until its report is taken back.
const END_WITHIN: Duration = Duration::from_millis(500);
/// Between two looks of a process that stands still.
const STANDING_STILL: Duration = Duration::from_millis(20);

/// What the process is, for its report.
#[derive(Clone, Debug)]
pub struct FollowerConfig {
    /// Redis: `redis://host:port/db` or `unix:///path`.
    pub redis: String,
    /// Its name among the processes of its service.
    pub member: String,
    /// Where its metrics and health are.
    pub health: Option<SocketAddr>,
    /// The program's version.
    pub software: &'static str,
}

/// A version to be run: this process's own document with the version laid over it, valid.
#[derive(Clone, PartialEq, Debug)]
pub struct Offered<T> {
    /// Its number.
    pub version: u64,
    /// Of the version's bytes.
    pub sha256: Sha256Sum,
    /// Who made it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What is to be run.
    pub document: T,
}

/// What a process finds at its start.
#[derive(Clone, PartialEq, Debug)]
pub enum AtStart<T> {
    /// This version is to be run.
    Version(Offered<T>),
    /// There is no version: its own document is to be run, and counts as version 0.
    Own,
    /// There is one, and it cannot be used, for this reason. Whoever decides about orders must not take its own document
    /// for it.
    Refused(String),
}

/// What a service begins with that must not run its own document while there is a version that cannot be used.
#[derive(Clone, PartialEq, Debug)]
pub enum Begin<T> {
    /// This version.
    Version(Offered<T>),
    /// Its own document: there is no version.
    Own,
    /// It was asked to end meanwhile.
    Ended,
}

/// Follows one service's configuration. Dropping it takes the report back and ends the thread.
pub struct Follower<T> {
    shared: Arc<Shared<T>>,
    ended: Receiver<()>,
}

/// A follower, and what it found first.
pub type Started<T> = (Follower<T>, AtStart<T>);

/// What the two threads share. Held for moments only.
pub(super) struct Shared<T> {
    /// Whether there is something to take.
    fresh: AtomicBool,
    ended: AtomicBool,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    offered: Option<Offered<T>>,
    /// Version and sum of what runs.
    running: (u64, Option<Sha256Sum>),
    verdict: Verdict,
    /// Whether the report has not been written since it changed.
    changed: bool,
}

/// What became of the newest version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It runs, or there is none.
    Good,
    /// The thread of work has it.
    Waits(u64),
    /// It does not run.
    Not { state: ProcessState, wanted: Option<u64>, reason: String },
}

impl<T: ManagedDocument + Send + 'static> Follower<T> {
    /// Waits for Redis (without it, there is nothing that a service could do) and looks what is to be run, then follows
    /// it. `own` is the process's own document. Nothing comes of it when `is_asked_to_end` says so first.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood, or there can be no thread.
    pub fn start(
        own: &T,
        config: FollowerConfig,
        is_asked_to_end: impl Fn() -> bool,
    ) -> Result<Option<Started<T>>, FollowerError> {
        let shared = Arc::new(Shared {
            fresh: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                offered: None,
                running: (0, None),
                verdict: Verdict::Good,
                changed: true,
            }),
        });
        let mut watch = Watch::new(own.clone(), config, Arc::clone(&shared))?;
        while !watch.has_looked() {
            if is_asked_to_end() {
                return Ok(None);
            }
            watch.turn(Duration::ZERO);
        }
        let at_start = shared.at_start();
        let (end, ended) = channel::<()>();
        std::thread::Builder::new().name("config".into()).spawn(move || {
            watch.run();
            drop(end);
        })?;
        Ok(Some((Follower { shared, ended }, at_start)))
    }

    /// The newest version, if there is one that was not taken yet. One atomic read when there is none; never waits for
    /// Redis. Say what became of it.
    pub fn take(&self) -> Option<Offered<T>> {
        if !self.shared.fresh.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = self.shared.inner();
        self.shared.fresh.store(false, Ordering::Release);
        inner.offered.take()
    }

    /// What a service begins with that must not run its own document while there is a version that cannot be used: it
    /// stands still until there is one that can. `check` says what is wrong with a document beyond what its type says,
    /// `stands_still` is told why.
    pub fn begin(
        &self,
        at_start: AtStart<T>,
        check: impl Fn(&T) -> Result<(), String>,
        stands_still: impl Fn(&str),
        is_asked_to_end: impl Fn() -> bool,
    ) -> Begin<T> {
        let says = |reason: &str| {
            error!(
                reason,
                "there is a version of the configuration, and it cannot be used: nothing runs until one can"
            );
            stands_still(reason);
        };
        let mut found = match at_start {
            AtStart::Version(found) => Some(found),
            AtStart::Own => return Begin::Own,
            AtStart::Refused(reason) => {
                says(&reason);
                None
            }
        };
        loop {
            if let Some(found) = found.take() {
                match check(&found.document) {
                    Ok(()) => return Begin::Version(found),
                    Err(reason) => {
                        self.refused(&found, &reason);
                        says(&reason);
                    }
                }
            }
            if is_asked_to_end() {
                return Begin::Ended;
            }
            std::thread::sleep(STANDING_STILL);
            found = self.take();
        }
    }

    /// The process runs it.
    pub fn ran(&self, offered: &Offered<T>) {
        let Offered { version, sha256, by, reason, .. } = offered;
        info!(version, by, reason, "the configuration is changed to this version");
        count("taken");
        metrics::gauge!("feedplane_process_config_version").set(*version as f64);
        let mut inner = self.shared.inner();
        inner.running = (*version, Some(*sha256));
        if inner.verdict == Verdict::Waits(*version) {
            inner.verdict = Verdict::Good;
        }
        inner.changed = true;
    }

    /// The process does not run it, for this reason, and goes on with what it has.
    pub fn refused(&self, offered: &Offered<T>, reason: impl Into<String>) {
        let reason = reason.into();
        error!(
            version = offered.version,
            reason, "a version of the configuration is refused; what runs stays"
        );
        count("refused");
        self.answer(offered.version, ProcessState::Refused, reason);
    }

    /// It differs in what only a start can change: `reason` names the field.
    pub fn restart_needed(&self, offered: &Offered<T>, reason: impl Into<String>) {
        let reason = reason.into();
        warn!(
            version = offered.version,
            reason, "a version of the configuration needs a restart; what runs stays"
        );
        count("restart_needed");
        self.answer(offered.version, ProcessState::RestartNeeded, reason);
    }

    fn answer(&self, version: u64, state: ProcessState, reason: String) {
        let mut inner = self.shared.inner();
        // A newer one may have been judged meanwhile: that holds.
        if inner.verdict == Verdict::Waits(version) {
            inner.verdict = Verdict::Not { state, wanted: Some(version), reason };
        }
        inner.changed = true;
    }
}

impl<T> Drop for Follower<T> {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Its end is told by the channel's other side being gone. A Redis that does not answer is not waited for.
        let _ = self.ended.recv_timeout(END_WITHIN);
    }
}

/// Why a process cannot follow its configuration.
#[derive(Debug, thiserror::Error)]
pub enum FollowerError {
    /// Redis's address.
    #[error(transparent)]
    Redis(#[from] ConsumerError),
    /// The system.
    #[error("cannot start a thread: {0}")]
    System(#[from] std::io::Error),
}

fn count(result: &'static str) {
    metrics::counter!("feedplane_process_config_changes_total", "result" => result).increment(1);
}

impl<T> Shared<T> {
    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_start(&self) -> AtStart<T> {
        let mut inner = self.inner();
        self.fresh.store(false, Ordering::Release);
        match (inner.offered.take(), &inner.verdict) {
            (Some(offered), _) => AtStart::Version(offered),
            (None, Verdict::Not { reason, .. }) => AtStart::Refused(reason.clone()),
            (None, _) => AtStart::Own,
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn running(&self) -> (u64, Option<Sha256Sum>) {
        self.inner().running
    }

    /// Gives a version to the thread of work, in the place of one that it has not taken.
    pub(super) fn offer(&self, offered: Offered<T>) {
        let mut inner = self.inner();
        inner.verdict = Verdict::Waits(offered.version);
        inner.offered = Some(offered);
        inner.changed = true;
        self.fresh.store(true, Ordering::Release);
    }

    /// What was found needs no work: it runs already, or cannot be used. What waits is not wanted any more.
    pub(super) fn settle(&self, verdict: Verdict) {
        if let Verdict::Not { wanted, reason, .. } = &verdict {
            error!(version = wanted, reason, "a version of the configuration is refused; what runs stays");
            count("refused");
        }
        let mut inner = self.inner();
        inner.offered = None;
        inner.verdict = verdict;
        inner.changed = true;
        self.fresh.store(false, Ordering::Release);
    }

    /// Fills in what the report says of versions, and whether that is new since the last time.
    pub(super) fn report(&self, report: &mut ProcessReport) -> bool {
        let mut inner = self.inner();
        (report.version, report.sha256) = inner.running;
        (report.state, report.wanted, report.reason) = match &inner.verdict {
            Verdict::Good => (ProcessState::Running, None, None),
            Verdict::Waits(version) => (ProcessState::Running, Some(*version), None),
            Verdict::Not { state, wanted, reason } => (*state, *wanted, Some(reason.clone())),
        };
        std::mem::take(&mut inner.changed)
    }
}

pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
}
