//! The process around the sessions: which are this gateway's, by lease.
//!
//! ```text
//!  tend leases ─► taken: a thread that opens the journal, connects, sends       lost: it ends, nothing more is sent
//! ```
//!
//! A gateway keeps the sessions that it has when another one joins, and takes those that are free.
//!
//! Another document ([`Managed`]) is given to the sessions that it changes; the others do not notice.
//!
//! Invariant: a lease is given back only when its session has ended.

use crate::managed::{self, Managed};
use crate::session::{LeaseState, LiveSettings, SessionStart, Settings, Standing, StartLine};
use anyhow::Context;
use bus::config::{GatewayDocument, GatewaySession};
use bus::consumer::{ConsumerError, Lease, Members, MembersConfig, process_name};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};
use vitals::{Part, Stop, Vitals};

/// Time between two looks: leases are tended when it is time to.
const WAIT: Duration = Duration::from_millis(20);

/// A running gateway.
pub struct Gateway {
    document: Arc<GatewayDocument>,
    members: Members,
    start_line: StartLine,
    running: Vec<Running>,
    /// Sessions that end because their leases are lost.
    ending: Vec<(String, JoinHandle<()>)>,
    parts: Option<Parts>,
    said: Option<String>,
    /// Where another document comes from, if from anywhere.
    managed: Option<Managed>,
    /// No session is begun any more.
    leaving: bool,
}

struct Running {
    venue: String,
    lease: Arc<LeaseState>,
    settings: Arc<LiveSettings>,
    standing: Standing,
    thread: JoinHandle<()>,
    /// When it was first seen to have ended by itself.
    ended: Option<Instant>,
}

struct Parts {
    redis: Part,
    sessions: Part,
}

impl Gateway {
    /// Makes the gateway; nothing is connected yet. Lines are started by `start_line`.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood.
    pub fn new(
        document: GatewayDocument,
        start_line: StartLine,
        vitals: Option<&Vitals>,
    ) -> anyhow::Result<Gateway> {
        let members = Members::new(MembersConfig {
            redis: document.redis.clone(),
            group: "gateway".into(),
            member: document.member.clone().unwrap_or_else(process_name),
            streams: venues(&document),
            lease: Duration::from_millis(document.lease_ms),
        });
        let members = members.context("redis")?.keeping();
        let parts =
            vitals.map(|vitals| Parts { redis: vitals.part("redis"), sessions: vitals.part("sessions") });
        let document = Arc::new(document);
        Ok(Gateway {
            document,
            members,
            start_line,
            running: Vec::new(),
            ending: Vec::new(),
            parts,
            said: None,
            managed: None,
            leaving: false,
        })
    }

    /// Takes other documents from the control plane.
    #[must_use]
    pub fn managed(mut self, managed: Managed) -> Gateway {
        self.managed = Some(managed);
        self
    }

    /// Works until it is asked to end; then its sessions end in order and the leases are given back.
    ///
    /// # Errors
    /// When a session ended by a fault of this program: the others end in order, and whoever started the process
    /// starts it again.
    pub fn run(mut self, stop: &Stop) -> anyhow::Result<()> {
        let mut fault = Ok(());
        while !stop.is_asked() && fault.is_ok() {
            self.configure();
            self.tend();
            self.show();
            fault = self.look_after_threads();
            std::thread::sleep(WAIT);
        }
        self.end();
        fault
    }

    /// A session that finds that it is another's ends by itself, and the next look after the leases says the same.
    fn look_after_threads(&mut self) -> anyhow::Result<()> {
        let patience = 2 * Duration::from_millis(self.document.lease_ms);
        self.ending.retain(|(_, thread)| !thread.is_finished());
        let gone = |running: &mut Running| running.lease.is_removed() && running.thread.is_finished();
        let gone: Vec<Running> = self.running.extract_if(.., gone).collect();
        for Running { venue, thread, .. } in gone {
            join(thread);
            info!(venue, "the session has ended, it is in the document no more");
            self.give_back(&venue);
        }
        for running in self.running.iter_mut().filter(|running| running.thread.is_finished()) {
            let ended = *running.ended.get_or_insert_with(Instant::now);
            if running.lease.holds() || ended.elapsed() > patience {
                anyhow::bail!("the session {} ended by itself; see the log", running.venue);
            }
        }
        Ok(())
    }

    fn tend(&mut self) {
        match self.members.tend() {
            Ok(tended) => {
                if self.said.take().is_some() {
                    info!("Redis answers again");
                }
                for venue in &tended.lost {
                    self.lost(venue);
                }
                for running in &self.running {
                    if let Some(until) = self.members.held_until(&running.venue) {
                        running.lease.prolong(until);
                    }
                }
                tended.taken.into_iter().for_each(|lease| self.taken(&lease));
            }
            Err(error) => self.trouble(&error),
        }
    }

    fn give_back(&mut self, venue: &str) {
        if let Err(error) = self.members.give_back(venue) {
            warn!(venue, "the lease is not given back, it runs out: {error}");
        }
    }

    /// Takes another document, if there is one, or says why not; and says when all sessions go by it.
    fn configure(&mut self) {
        let Some(managed) = &mut self.managed else { return };
        managed.hangup.refuse_when_managed();
        if let Some(version) = managed.follower.take() {
            // One after the other: what the one before began ends by itself.
            managed.changing = None;
            if let Some(reason) = managed::fixed_change(&self.document, &version.document) {
                return managed.follower.restart_needed(&version, reason);
            }
            if let Err(reason) = managed::can_be_started(&version.document) {
                return managed.follower.refused(&version, reason);
            }
            managed.closed = None;
            let after = version.document.clone();
            managed.changing = Some(version);
            self.change(after);
        }
        let is_done = |running: &Running| !running.lease.is_removed() && running.settings.are_taken();
        if self.running.iter().all(is_done)
            && let Some(managed) = &mut self.managed
            && let Some(version) = managed.changing.take()
        {
            managed.follower.ran(&version);
        }
    }

    fn change(&mut self, after: GatewayDocument) {
        self.document = Arc::new(after);
        self.members.change_streams(venues(&self.document));
        for running in &self.running {
            match self.document.sessions.iter().find(|session| session.venue == running.venue) {
                Some(session) => {
                    running.settings.change(self.settings_of(session), self.answers_strays(session));
                }
                None => {
                    info!(venue = running.venue, "the session is to end: its orders are cancelled");
                    running.lease.remove();
                }
            }
        }
    }

    fn settings_of(&self, session: &GatewaySession) -> Settings {
        Settings {
            session: session.clone(),
            instruction_age_max_ms: self.document.instruction_age_max_ms,
            closed: self.managed.as_ref().and_then(|managed| managed.closed.clone()),
        }
    }

    /// The first by name: one of all gateways does.
    fn answers_strays(&self, session: &GatewaySession) -> bool {
        self.document.sessions.iter().map(|session| &session.venue).min() == Some(&session.venue)
    }

    fn trouble(&mut self, error: &ConsumerError) {
        self.running.iter().for_each(|running| running.lease.redis_is_gone());
        let text = error.to_string();
        if self.said.as_ref() != Some(&text) {
            error!("leases: {text}; trying again");
            self.said = Some(text);
        }
    }

    fn lost(&mut self, venue: &str) {
        for running in self.running.extract_if(.., |running| running.venue == venue) {
            running.lease.end();
            // Not waited for: other leases are to be tended meanwhile.
            self.ending.push((running.venue, running.thread));
            info!(venue, "the lease is lost");
        }
    }

    fn taken(&mut self, lease: &Lease) {
        if self.leaving {
            return;
        }
        let Some(session) = self.document.sessions.iter().find(|session| session.venue == lease.stream)
        else {
            // The document has changed since it was asked for.
            return self.give_back(&lease.stream);
        };
        let venue = lease.stream.clone();
        let until = self.members.held_until(&venue).unwrap_or_else(Instant::now);
        let state = Arc::new(LeaseState::new(lease.token, until));
        let settings = LiveSettings::new(self.settings_of(session), self.answers_strays(session));
        let settings = Arc::new(settings);
        let standing = Standing::default();
        let start = SessionStart {
            document: Arc::clone(&self.document),
            venue: venue.clone(),
            settings: Arc::clone(&settings),
            lease: Arc::clone(&state),
            start_line: Arc::clone(&self.start_line),
            standing: standing.clone(),
        };
        info!(venue, token = lease.token, "the lease is ours");
        // One connection at a time: the session that we had before has logged off first.
        let before: Vec<_> = self.ending.extract_if(.., |(of, _)| *of == venue).collect();
        let run = move || {
            before.into_iter().for_each(|(_, thread)| join(thread));
            start.run();
        };
        match std::thread::Builder::new().name(format!("session-{venue}")).spawn(run) {
            Ok(thread) => {
                self.running.push(Running { venue, lease: state, settings, standing, thread, ended: None });
            }
            Err(error) => error!(venue, "cannot start a thread: {error}; the session stands still"),
        }
    }

    /// Sessions that are not here are another gateway's, or free: that is no trouble of this one.
    fn show(&self) {
        let Some(parts) = &self.parts else { return };
        match &self.said {
            Some(text) => parts.redis.is_bad(text.clone()),
            None => parts.redis.is_good(),
        }
        let troubles = self.running.iter().filter_map(|running| {
            running.standing.trouble().map(|trouble| format!("{}: {trouble}", running.venue))
        });
        let troubles: Vec<String> = troubles.collect();
        if troubles.is_empty() {
            parts.sessions.is_good();
        } else {
            parts.sessions.is_bad(troubles.join("; "));
        }
    }

    fn end(mut self) {
        info!("ending: sessions cancel what is open where they are told to, and log off");
        self.leaving = true;
        self.running.iter().for_each(|running| running.lease.leave());
        // The leases are kept until the last session has ended.
        while self.running.iter().any(|running| !running.thread.is_finished()) {
            self.tend();
            std::thread::sleep(WAIT);
        }
        self.running.drain(..).for_each(|running| join(running.thread));
        self.ending.drain(..).for_each(|(_, thread)| join(thread));
        match self.members.leave() {
            Ok(()) => info!("ended"),
            Err(error) => info!("ended without giving the leases back, they run out: {error}"),
        }
    }
}

fn venues(document: &GatewayDocument) -> Vec<String> {
    document.sessions.iter().map(|session| session.venue.clone()).collect()
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        error!("a session ended by a panic: its orders are what the journal and the venue say");
    }
}
