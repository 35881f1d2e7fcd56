//! Gives the newest version of each document to the processes: over Redis, and over the socket to the data plane.
//!
//! Once a second, and when told of a change, what is stored is compared with what is there, so that a process that missed a
//! version, a Redis that lost its memory and a data plane that was started anew are all the same case. Invariant: a version
//! never takes the place of a newer one; of two with one number (two stores on one Redis) the one made later stays, and the
//! difference is told.

use super::events::{Hub, Topic};
use super::link::{BusError, BusLink};
use super::now_ns;
use crate::link::{Client, LinkError};
use crate::store::{Store, Version, VersionHead};
use bus::Sha256Sum;
use bus::control::{ConfigVersion, ProcessReport, ProcessState, SERVICES};
use bus::link::{Documents, HeldDocument, Hello, LinkService};
use bus::names::{config_key, processes_key};
use metrics::{counter, gauge};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often what is there is compared with what is stored.
const EVERY: Duration = Duration::from_secs(1);

/// Distributes.
pub struct Distribution {
    store: Store,
    link: BusLink,
    dataplane: Option<Client>,
    /// For the data plane's reports: on the other one, what is watched must stay watched.
    reports: BusLink,
    hub: Arc<Hub>,
    wake: Notify,
    wake_socket: Notify,
    now: Mutex<Now>,
}

/// How distribution stands.
#[derive(Debug, Default)]
struct Now {
    /// The newest version of each document.
    heads: BTreeMap<&'static str, VersionHead>,
    /// Of the documents that were last read whole: version and bytes.
    sizes: BTreeMap<String, (u64, u64)>,
    /// What is the matter, by document.
    problems: BTreeMap<&'static str, String>,
    /// What the data plane refused last: the process (by its start), version, sum and reason. Not asked again.
    refused: BTreeMap<LinkService, Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    started_ns: u64,
    version: u64,
    sha256: Sha256Sum,
    reason: String,
}

impl Distribution {
    /// One that has distributed nothing yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(
        url: &str,
        store: Store,
        dataplane: Option<Client>,
        hub: Arc<Hub>,
    ) -> Result<Distribution, BusError> {
        Ok(Distribution {
            store,
            link: BusLink::new(url)?,
            dataplane,
            reports: BusLink::new(url)?,
            hub,
            wake: Notify::new(),
            wake_socket: Notify::new(),
            now: Mutex::default(),
        })
    }

    fn now<T>(&self, look: impl FnOnce(&mut Now) -> T) -> T {
        look(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A version was stored: does not wait for the second.
    pub fn changed(&self) {
        self.wake.notify_one();
        self.wake_socket.notify_one();
    }

    /// The newest version of a document, as last read.
    pub fn head(&self, service: &str) -> Option<VersionHead> {
        self.now(|now| now.heads.get(service).cloned())
    }

    /// What is the matter, by document.
    pub fn problems(&self) -> BTreeMap<&'static str, String> {
        self.now(|now| now.problems.clone())
    }

    /// Distributes, until the task is ended. A data plane that is slow or hangs delays no other process.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.follow_redis(), self.follow_socket());
    }

    async fn follow_redis(&self) {
        loop {
            self.over_redis_all().await;
            // An early wake is kept for the next turn.
            let _ = tokio::time::timeout(EVERY, self.wake.notified()).await;
        }
    }

    async fn follow_socket(&self) {
        let Some(client) = &self.dataplane else { return };
        loop {
            self.over_socket(client).await;
            let _ = tokio::time::timeout(EVERY, self.wake_socket.notified()).await;
        }
    }

    /// The newest version of a document, read now; none when there is none or the store does not answer, which is told.
    async fn newest(&self, service: &'static str) -> Option<VersionHead> {
        match self.store.newest_head(service).await {
            Ok(head) => {
                if let Some(head) = &head {
                    self.know(service, head);
                }
                head
            }
            Err(error) => {
                self.outcome(service, Err(format!("the store cannot be read: {error}")));
                None
            }
        }
    }

    async fn over_redis_all(&self) {
        for service in SERVICES {
            if let Some(head) = self.newest(service).await
                && link_service(service).is_none()
            {
                let outcome = self.over_redis(service, &head).await;
                self.outcome(service, outcome);
            }
        }
    }

    fn know(&self, service: &'static str, head: &VersionHead) {
        // Two tasks read; what was read earlier does not hide what was read later.
        let is_news = self.now(|now| match now.heads.get(service) {
            Some(known) if known.version >= head.version => false,
            _ => {
                now.heads.insert(service, head.clone());
                true
            }
        });
        if is_news {
            gauge!("feedplane_controlplane_version", "service" => service).set(head.version as f64);
            let VersionHead { version, sha256, by, reason, .. } = head;
            let event = json!({
                "time_ns": now_ns(), "what": "version", "service": service, "version": version, "sha256": sha256,
                "by": by, "reason": reason,
            });
            self.hub.tell(Topic::Config, &event);
        }
    }

    fn outcome(&self, service: &'static str, outcome: Result<(), String>) {
        let problem = outcome.err();
        let before = self.now(|now| match &problem {
            Some(problem) => now.problems.insert(service, problem.clone()),
            None => now.problems.remove(service),
        });
        gauge!("feedplane_controlplane_distribution_problem", "service" => service)
            .set(f64::from(u8::from(problem.is_some())));
        if problem.is_some() && problem != before {
            tracing::warn!(service, problem, "a version is not distributed");
        }
    }

    async fn over_redis(&self, service: &str, head: &VersionHead) -> Result<(), String> {
        let key = config_key(service);
        let there = self.there(&key).await.map_err(|error| error.to_string())?;
        if !there.yields_to(head)? {
            return Ok(());
        }
        let bytes =
            self.now(|now| now.sizes.get(service).filter(|(v, _)| *v == head.version).map(|(_, b)| *b));
        if there.is(head) && bytes == Some(there.document_bytes) {
            return Ok(());
        }
        let version = self.whole(service, head).await?;
        let bytes = version.document().len() as u64;
        self.now(|now| now.sizes.insert(service.to_owned(), (head.version, bytes)));
        if there.is(head) && bytes == there.document_bytes {
            return Ok(());
        }
        let mut transaction = redis::pipe();
        version.distribute(service, transaction.atomic());
        let fields = ["version", "sha256", "time_ns"];
        let may = |found: &[Option<Vec<u8>>]| There::of(found, 0).yields_to(head) == Ok(true);
        let done = self.link.change_hash(&key, &fields, may, &transaction).await;
        // Somebody else wrote meanwhile: the next turn looks again.
        if done.map_err(|error| error.to_string())? {
            counter!("feedplane_controlplane_distributed_total", "service" => service.to_owned())
                .increment(1);
            tracing::info!(service, version = head.version, "a version is given to the processes");
        }
        Ok(())
    }

    async fn there(&self, key: &str) -> Result<There, BusError> {
        let mut ask = redis::pipe();
        ask.cmd("HMGET").arg(key).arg(&["version", "sha256", "time_ns"]);
        ask.cmd("HSTRLEN").arg(key).arg("document");
        let (found, document_bytes): (Vec<Option<Vec<u8>>>, u64) = self.link.ask_all(&ask).await?;
        Ok(There::of(&found, document_bytes))
    }

    async fn whole(&self, service: &str, head: &VersionHead) -> Result<ConfigVersion, String> {
        let version: Option<Version> =
            self.store.version(service, head.version).await.map_err(|error| error.to_string())?;
        let version = version.ok_or("the store has lost a version")?;
        ConfigVersion::new(head.version, version.text, &head.by, &head.reason, head.time_ns)
            .map_err(|error| format!("version {}: {error}", head.version))
    }

    async fn over_socket(&self, client: &Client) {
        let there = async { Ok::<_, LinkError>((client.hello().await?, client.documents().await?)) };
        let (hello, mut documents) = match there.await {
            Ok(there) => there,
            Err(error) => {
                for service in LinkService::ALL {
                    self.outcome(name_of(service), Err(error.to_string()));
                }
                return;
            }
        };
        let mut reports = redis::pipe();
        for service in LinkService::ALL {
            let outcome = self.give(client, service, &hello, &documents).await;
            if outcome == Ok(true)
                && let Ok(again) = client.documents().await
            {
                documents = again;
            }
            self.outcome(name_of(service), outcome.map(|_| ()));
            let report = self.report(service, &hello, &documents);
            let key = processes_key(service.word());
            reports.cmd("HSET").arg(key).arg(&report.member).arg(report.to_json()).ignore();
        }
        if let Err(error) = self.reports.ask_all::<()>(&reports).await {
            tracing::debug!(%error, "the data plane's report is not written");
        }
    }

    /// Gives the data plane the newest version when it has another; whether it did anything about it.
    async fn give(
        &self,
        client: &Client,
        service: LinkService,
        hello: &Hello,
        documents: &Documents,
    ) -> Result<bool, String> {
        let Some(head) = self.newest(name_of(service)).await else { return Ok(false) };
        let sha256: Sha256Sum =
            head.sha256.parse().map_err(|_| "the store holds no checksum of it".to_owned())?;
        let held = held(service, documents);
        let waits = held.waiting.as_ref().is_some_and(|w| (w.version, w.sha256) == (head.version, sha256));
        if (held.version, held.sha256) == (head.version, Some(sha256)) || waits {
            return Ok(false);
        }
        let newer = held.waiting.as_ref().map_or(0, |waiting| waiting.version).max(held.version);
        if newer > head.version {
            return Err(ahead("the data plane", newer, head.version));
        }
        let before = self.now(|now| now.refused.get(&service).cloned());
        if before.is_some_and(|refused| {
            (refused.started_ns, refused.version, refused.sha256) == (hello.started_ns, head.version, sha256)
        }) {
            return Ok(false);
        }
        let version = self.whole(service.word(), &head).await?;
        match client.set_document(service, head.version, sha256, version.document(), false).await {
            Ok(taken) => {
                counter!("feedplane_controlplane_distributed_total", "service" => service.word())
                    .increment(1);
                tracing::info!(%service, version = head.version, state = ?taken.state, took_us = taken.took_us, "the data plane took a version");
                self.now(|now| now.refused.remove(&service));
                Ok(true)
            }
            Err(error) if error.is_refusal() => {
                let reason = error.to_string();
                tracing::warn!(%service, version = head.version, reason, "the data plane refused a version");
                let refused = Refused { started_ns: hello.started_ns, version: head.version, sha256, reason };
                self.now(|now| now.refused.insert(service, refused));
                Ok(true)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// What the data plane runs, or why not: as its own report would say it.
    fn report(&self, service: LinkService, hello: &Hello, documents: &Documents) -> ProcessReport {
        let held = held(service, documents);
        let refused = self.now(|now| now.refused.get(&service).cloned());
        let refused = refused.filter(|refused| refused.started_ns == hello.started_ns);
        let (state, wanted, reason) = match (refused, &held.waiting) {
            (Some(refused), _) => (ProcessState::Refused, Some(refused.version), Some(refused.reason)),
            (None, Some(waiting)) => match &waiting.refused {
                Some(why) => (ProcessState::Refused, Some(waiting.version), Some(why.clone())),
                None => {
                    let fields = waiting.fields.join(", ");
                    (ProcessState::RestartNeeded, Some(waiting.version), Some(fields))
                }
            },
            (None, None) => (ProcessState::Running, None, None),
        };
        ProcessReport {
            service: service.word().to_owned(),
            // One data plane a machine: the next one of a restart takes its place.
            member: hello.host.clone(),
            host: hello.host.clone(),
            pid: hello.pid,
            software: hello.version.clone(),
            state,
            version: held.version,
            sha256: held.sha256,
            wanted,
            reason,
            health: hello.health.map(on_this_machine),
            started_ns: hello.started_ns,
            time_ns: now_ns(),
        }
    }
}

/// The address at which what listens there is reached from here: the socket's other end is on this machine.
fn on_this_machine(listens: SocketAddr) -> String {
    let mut reached = listens;
    if reached.ip().is_unspecified() {
        reached.set_ip(if listens.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    reached.to_string()
}

/// The document that reaches the data plane by its socket.
pub(super) fn link_service(service: &str) -> Option<LinkService> {
    LinkService::ALL.into_iter().find(|known| known.word() == service)
}

fn name_of(service: LinkService) -> &'static str {
    service.word()
}

fn held(service: LinkService, documents: &Documents) -> &HeldDocument {
    match service {
        LinkService::Feeds => &documents.feeds,
        LinkService::Dataplane => &documents.dataplane,
    }
}

fn ahead(who: &str, there: u64, stored: u64) -> String {
    format!(
        "{who} has version {there}, newer than {stored}, the newest of this store: another store's? It is left as it is"
    )
}

/// What stands in `config:<service>`.
#[derive(Debug)]
struct There {
    /// None when it cannot be read: then it may be written.
    version: Option<u64>,
    sha256: Option<String>,
    time_ns: u64,
    document_bytes: u64,
}

impl There {
    fn of(found: &[Option<Vec<u8>>], document_bytes: u64) -> There {
        let text = |at: usize| {
            found.get(at).and_then(Option::as_ref).and_then(|bytes| String::from_utf8(bytes.clone()).ok())
        };
        There {
            version: text(0).and_then(|version| version.parse().ok()),
            sha256: text(1),
            time_ns: text(2).and_then(|time| time.parse().ok()).unwrap_or(0),
            document_bytes,
        }
    }

    fn is(&self, head: &VersionHead) -> bool {
        self.version == Some(head.version) && self.sha256.as_ref() == Some(&head.sha256)
    }

    /// Whether the stored version may stand there instead.
    fn yields_to(&self, head: &VersionHead) -> Result<bool, String> {
        match self.version {
            Some(version) if version > head.version => Err(ahead("Redis", version, head.version)),
            Some(version) if version == head.version && !self.is(head) && self.time_ns > head.time_ns => {
                Err(format!(
                    "Redis has another version {version}, made later: another store's? It is left as it is"
                ))
            }
            _ => Ok(true),
        }
    }
}
