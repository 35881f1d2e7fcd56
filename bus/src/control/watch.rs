//! What the thread of a [`Follower`](super::Follower) does: it looks into Redis, and writes the report there.

use super::follower::{FollowerConfig, Offered, Shared, Verdict, now_ns};
use super::{ConfigVersion, ConfigVersionError, ManagedDocument, ProcessReport, ProcessState};
use crate::Sha256Sum;
use crate::address::found_at;
use crate::consumer::{ConsumerError, Link, StreamInfo};
use crate::names::{CONFIG_CHANGES, config_key, processes_key};
use crate::{StreamId, records_of_read};
use redis::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often the hash is looked at besides, and the report written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for a change: the delay of what the thread of work says.
const WAIT: Duration = Duration::from_millis(50);
/// Changes that are read at a time.
const CHANGES_A_READ: usize = 64;
/// How often members that are gone are looked for, and what counts as gone.
const CLEAN_EVERY: Duration = Duration::from_secs(60);
const GONE_AFTER: Duration = Duration::from_secs(3_600);
/// Members that one look sees, about.
const MEMBERS_A_LOOK: usize = 64;

/// A member and its report, as they stand in the hash.
type Member = (Vec<u8>, Vec<u8>);

pub(super) struct Watch<T> {
    own: T,
    link: Link,
    redis: String,
    health: Option<SocketAddr>,
    report: ProcessReport,
    shared: Arc<Shared<T>>,
    /// What was judged last.
    judged: Judged,
    /// How far the changes are read; none before Redis was asked for their end.
    read: Option<StreamId>,
    looked: Option<Instant>,
    reported: Option<Instant>,
    cleaned: Instant,
    /// Where the look for members that are gone goes on.
    scan: u64,
    said: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Judged {
    Nothing,
    Version(u64, Sha256Sum),
    Unusable(String),
}

/// What stands in the hash.
enum Found {
    Nothing,
    Known,
    Version(Box<ConfigVersion>),
    Unusable { wanted: Option<u64>, reason: String },
}

impl<T: ManagedDocument> Watch<T> {
    pub(super) fn new(
        own: T,
        config: FollowerConfig,
        shared: Arc<Shared<T>>,
    ) -> Result<Watch<T>, ConsumerError> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let report = ProcessReport {
            service: T::SERVICE.to_owned(),
            member: config.member,
            host: host.trim().to_owned(),
            pid: std::process::id(),
            software: config.software.to_owned(),
            state: ProcessState::Running,
            version: 0,
            sha256: None,
            wanted: None,
            reason: None,
            health: config.health.map(|address| address.to_string()),
            started_ns: now_ns(),
            time_ns: 0,
        };
        Ok(Watch {
            own,
            link: Link::new(&config.redis)?,
            redis: config.redis,
            health: config.health,
            report,
            shared,
            judged: Judged::Nothing,
            read: None,
            looked: None,
            reported: None,
            cleaned: Instant::now(),
            scan: 0,
            said: None,
        })
    }

    pub(super) fn has_looked(&self) -> bool {
        self.looked.is_some()
    }

    /// Follows until it is ended; then takes the report back.
    pub(super) fn run(mut self) {
        while !self.shared.is_ended() {
            self.turn(WAIT);
        }
        let mut take_back = redis::cmd("HDEL");
        take_back.arg(processes_key(T::SERVICE)).arg(&self.report.member);
        // A Redis that is gone forgets it by its age.
        let _ = self.link.ask::<Value>(&take_back);
    }

    /// Looks when it is time to, says what runs, and waits so long for a change.
    pub(super) fn turn(&mut self, wait: Duration) {
        match self.try_turn(wait) {
            Ok(()) => {
                if self.said.take().is_some() {
                    info!("Redis answers about the configuration again");
                }
            }
            Err(error) => self.trouble(&error),
        }
    }

    fn trouble(&mut self, error: &ConsumerError) {
        metrics::counter!("feedplane_process_config_errors_total").increment(1);
        let text = error.to_string();
        if self.said.as_ref() != Some(&text) {
            warn!("the configuration cannot be followed: {text}; what runs stays, trying again");
            self.said = Some(text);
        }
        // A refusal comes at once and would come again at once.
        std::thread::sleep(WAIT);
    }

    fn try_turn(&mut self, wait: Duration) -> Result<(), ConsumerError> {
        if self.looked.is_none_or(|last| last.elapsed() >= LOOK_EVERY) {
            self.look()?;
        }
        if self.shared.report(&mut self.report)
            || self.reported.is_none_or(|last| last.elapsed() >= LOOK_EVERY)
        {
            self.write()?;
        }
        if self.cleaned.elapsed() >= CLEAN_EVERY {
            self.clean()?;
        }
        if !wait.is_zero() && self.is_changed(wait)? {
            self.look()?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), ConsumerError> {
        match self.found()? {
            Found::Known => {}
            // A Redis that has lost its memory gets it again; until then what runs goes on.
            Found::Nothing => {
                if self.judged != Judged::Nothing {
                    self.shared.settle(Verdict::Good);
                }
                self.judged = Judged::Nothing;
            }
            Found::Unusable { wanted, reason } => {
                let judged = Judged::Unusable(reason.clone());
                if self.judged != judged {
                    self.shared.settle(Verdict::Not { state: ProcessState::Refused, wanted, reason });
                    self.judged = judged;
                }
            }
            Found::Version(version) => self.judge(&version),
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    fn judge(&mut self, found: &ConfigVersion) {
        let (version, sha256) = (found.version(), found.sha256());
        self.judged = Judged::Version(version, sha256);
        if self.shared.running() == (version, Some(sha256)) {
            return self.shared.settle(Verdict::Good);
        }
        match self.own.with_version(found.document()) {
            Ok(document) => {
                let (by, reason) = (found.by().to_owned(), found.reason().to_owned());
                self.shared.offer(Offered { version, sha256, by, reason, document });
            }
            Err(error) => self.shared.settle(Verdict::Not {
                state: ProcessState::Refused,
                wanted: Some(version),
                reason: error.to_string(),
            }),
        }
    }

    /// What is in the hash. A key that holds something else is that, and not an error.
    fn found(&mut self) -> Result<Found, ConsumerError> {
        match self.read() {
            Err(ConsumerError::Refused(mut refusal)) => {
                refusal.key = Some(config_key(T::SERVICE));
                Ok(Found::Unusable { wanted: None, reason: ConsumerError::Refused(refusal).to_string() })
            }
            found => found,
        }
    }

    /// Lengths come first, then what says whether it is known: nothing huge is ever read, and the document only when it is
    /// another. The fields themselves are read at once, so that they belong together.
    fn read(&mut self) -> Result<Found, ConsumerError> {
        let key = config_key(T::SERVICE);
        let mut is_there = false;
        for (field, bytes_max) in ConfigVersion::FIELDS.into_iter().zip(ConfigVersion::FIELD_BYTES_MAX) {
            let bytes: usize = self.link.ask(redis::cmd("HSTRLEN").arg(&key).arg(field))?;
            if bytes > bytes_max {
                let reason = ConfigVersionError::Text { field, bytes_max }.to_string();
                return Ok(Found::Unusable { wanted: None, reason });
            }
            is_there |= bytes > 0;
        }
        if !is_there && !self.link.ask::<bool>(redis::cmd("EXISTS").arg(&key))? {
            return Ok(Found::Nothing);
        }
        if let Judged::Version(version, sha256) = self.judged {
            let mut known = redis::cmd("HMGET");
            known.arg(&key).arg("version").arg("sha256");
            let known: Vec<Option<Vec<u8>>> = self.link.ask(&known)?;
            let ours = [version.to_string(), sha256.to_string()];
            if known.iter().zip(&ours).all(|(there, ours)| there.as_deref() == Some(ours.as_bytes())) {
                return Ok(Found::Known);
            }
        }
        let mut read = redis::cmd("HMGET");
        read.arg(&key).arg(&ConfigVersion::FIELDS);
        Ok(found_in(&self.link.ask::<Vec<Option<Vec<u8>>>>(&read)?))
    }

    fn write(&mut self) -> Result<(), ConsumerError> {
        // Asked here, where Redis answers: at the start its name may not be known yet.
        if let Some(listen) = self.health.filter(|listen| listen.ip().is_unspecified()) {
            let found = found_at(listen, &self.redis);
            self.health = Some(found);
            self.report.health = Some(found.to_string());
        }
        self.report.time_ns = now_ns();
        let mut write = redis::cmd("HSET");
        write.arg(processes_key(T::SERVICE)).arg(&self.report.member).arg(self.report.to_json());
        self.link.ask::<Value>(&write)?;
        self.reported = Some(Instant::now());
        Ok(())
    }

    /// Whether somebody tells of a change of our document.
    fn is_changed(&mut self, wait: Duration) -> Result<bool, ConsumerError> {
        let from = match self.read {
            Some(read) => read,
            None => StreamInfo::ask(&mut self.link, CONFIG_CHANGES)?.last,
        };
        self.read = Some(from);
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(CHANGES_A_READ).arg("BLOCK").arg(wait.as_millis() as u64);
        read.arg("STREAMS").arg(CONFIG_CHANGES).arg(from.to_string());
        let reply: Value = self.link.ask(&read)?;
        let mut is_ours = false;
        for (_, records) in records_of_read(&reply)? {
            for record in records {
                self.read = Some(record.id);
                let is_about =
                    |(name, value): &(&[u8], &[u8])| *name == b"service" && *value == T::SERVICE.as_bytes();
                is_ours |= record.fields.is_ok_and(|fields| fields.iter().any(is_about));
            }
        }
        if reply == Value::Nil {
            // A stream that was made anew begins behind where we are: the look each second makes good for it.
            let ahead = self.looked.is_some_and(|last| last.elapsed() >= LOOK_EVERY - WAIT);
            self.read = self.read.filter(|_| !ahead);
        }
        Ok(is_ours)
    }

    /// Removes reports that nobody has written for long, a few at a time.
    fn clean(&mut self) -> Result<(), ConsumerError> {
        self.cleaned = Instant::now();
        let key = processes_key(T::SERVICE);
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&key).arg(self.scan).arg("COUNT").arg(MEMBERS_A_LOOK);
        let (next, found): (u64, Vec<Member>) = self.link.ask(&scan)?;
        self.scan = next;
        for (member, report) in found {
            let Ok(report) = ProcessReport::parse(&report) else { continue };
            if report.age(now_ns()) > GONE_AFTER {
                let mut remove = redis::cmd("HDEL");
                remove.arg(&key).arg(member);
                self.link.ask::<Value>(&remove)?;
            }
        }
        Ok(())
    }
}

/// What the fields' values say.
fn found_in(values: &[Option<Vec<u8>>]) -> Found {
    let fields = ConfigVersion::FIELDS.iter().zip(values);
    let there = fields.filter_map(|(name, value)| Some((name.as_bytes(), value.as_deref()?)));
    match ConfigVersion::parse(there.clone()) {
        Ok(version) => Found::Version(Box::new(version)),
        Err(error) => {
            let said = there.clone().find(|(name, _)| *name == b"version").map(|(_, value)| value);
            let wanted = said.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            Found::Unusable { wanted, reason: error.to_string() }
        }
    }
}
