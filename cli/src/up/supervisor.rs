//! Everything that `feedplane up` runs: started in an order that spares the logs, ended in one that loses
//! nothing.

use super::control::Local;
use super::databases;
use super::documents::{Kind, Plan};
use super::journal::{Follow, Journal};
use super::program::{Probe, Program};
use super::service::{Phase, Service, State};
use super::trading;
use anyhow::{Context, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The data plane publishes what it has taken within 5 s.
const DATAPLANE_WITHIN: Duration = Duration::from_secs(10);
/// The gateway waits for its cancels to be confirmed, others store what they have read.
const CONSUMER_WITHIN: Duration = Duration::from_secs(15);
/// Redis writes its file; PostgreSQL makes a checkpoint.
const DATABASE_WITHIN: Duration = Duration::from_secs(30);
/// How long a consumer may take to read what the data plane has published to its end.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);
const TURN: Duration = Duration::from_millis(50);

/// The running services. Dropped, they are ended in the same order.
pub(crate) struct Supervisor {
    /// In the order in which they end.
    services: Vec<Service>,
    plan: Plan,
    _lock: File,
}

impl Supervisor {
    /// Starts everything of a plan whose documents have been written.
    ///
    /// # Errors
    /// When another `feedplane up` runs in the folder, or it cannot be used.
    pub(super) fn start(plan: Plan, follow: Option<Follow>) -> Result<Supervisor> {
        let lock = lock(&plan)?;
        let logs = plan.folder.join("logs");
        let journal = |name: &str| Journal::new(&logs, name, follow.clone());
        let mut databases = Vec::new();
        if plan.private_redis {
            let redis = databases::redis(&plan.folder, plan.redis_durable, journal("redis"))?;
            databases.push(Service::start("redis", redis, &[], DATABASE_WITHIN)?);
        }
        if plan.private_postgres {
            let postgres = databases::Postgres::new(&plan.folder, journal("postgres"));
            databases.push(Service::start("postgres", postgres, &[], DATABASE_WITHIN)?);
        }
        let mut services = Vec::new();
        for planned in &plan.services {
            let kind = planned.kind;
            let mut arguments = vec!["--config".into(), planned.document.clone().into()];
            // The data plane is spoken to over its socket instead.
            if plan.control.is_some() && !matches!(kind, Kind::Dataplane | Kind::Controlplane) {
                arguments.push("--managed".into());
            }
            let probe = Probe::Endpoint(kind.find_endpoint(planned.document.clone()));
            let program = Program::new(binary(kind)?, arguments, probe, journal(kind.name()));
            let needs: Vec<&Service> = databases
                .iter()
                .filter(|database| database.name == "redis" || kind == Kind::Archiver)
                .collect();
            let within = if kind == Kind::Dataplane { DATAPLANE_WITHIN } else { CONSUMER_WITHIN };
            services.push(Service::start(kind.name(), program, &needs, within)?);
        }
        services.extend(databases);
        if let Some(mode) = plan.trading {
            trading::begin_with(mode, plan.redis.clone())?;
        }
        Ok(Supervisor { services, plan, _lock: lock })
    }

    /// Each service by its name, as it is now: databases first, then along the data's way.
    pub(crate) fn states(&self) -> Vec<(&'static str, State)> {
        let databases = self.services.iter().filter(|service| is_database(service));
        let others = self.services.iter().filter(|service| !is_database(service));
        databases.chain(others).map(|service| (service.name, service.state())).collect()
    }

    /// One service as it is now.
    pub(crate) fn state(&self, name: &str) -> Option<State> {
        self.services.iter().find(|service| service.name == name).map(Service::state)
    }

    /// The run folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.plan.folder
    }

    /// How the control plane is reached, when there is one.
    pub(crate) fn console(&self) -> Option<Local> {
        self.plan.console()
    }

    /// The address of Redis.
    pub(crate) fn redis(&self) -> &str {
        &self.plan.redis
    }

    /// The address of the database.
    pub(crate) fn database(&self) -> &str {
        &self.plan.database
    }

    /// Ends everything, each service once it has taken what those before it brought. `told` is called
    /// meanwhile.
    pub(crate) fn stop(&mut self, mut told: impl FnMut(&Supervisor)) {
        // Nothing ends a stream that others write.
        let ends = self.state("dataplane").is_some();
        for name in self.services.iter().map(|service| service.name).collect::<Vec<_>>() {
            // A strategy that ends, or a gateway, has nothing to store: both stop where they are.
            if ends && matches!(name, "features" | "archiver") {
                self.wait_until_it_has_all(name, DRAIN_WITHIN, &mut told);
            }
            told(self);
            self.stop_one(name);
            told(self);
        }
    }

    /// Ends one service.
    pub(crate) fn stop_one(&mut self, name: &str) {
        if let Some(service) = self.services.iter_mut().find(|service| service.name == name) {
            service.stop();
        }
    }

    /// Waits, `within` at most, until a running service has taken what there is: until two looks find it
    /// with nothing to do, because the first may be older than the last entry. Whether it has.
    pub(crate) fn wait_until_it_has_all(
        &self,
        name: &str,
        within: Duration,
        told: &mut impl FnMut(&Supervisor),
    ) -> bool {
        let end = Instant::now() + within;
        let begun = Instant::now();
        let mut idle_at = None;
        while Instant::now() < end {
            let Some(state) = self.state(name).filter(|state| state.phase != Phase::Stopped) else {
                return false;
            };
            let seen = state.now.as_ref().map(|(seen, _)| *seen).filter(|seen| *seen > begun);
            match (super::view::is_busy(name, &state), seen, idle_at) {
                (Some(false), Some(seen), Some(first)) if seen > first => return true,
                (Some(false), Some(seen), None) => idle_at = Some(seen),
                (Some(true), ..) => idle_at = None,
                _ => {}
            }
            told(self);
            std::thread::sleep(TURN);
        }
        false
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // In order: dropping the list would end all of it in this order, too, but without waiting.
        self.stop(|_| {});
    }
}

fn is_database(service: &Service) -> bool {
    matches!(service.name, "redis" | "postgres")
}

/// The service's program, beside this one.
fn binary(kind: Kind) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(format!("feedplane-{}", kind.name())))
}

/// One supervisor a folder: two would start two databases on one set of data.
fn lock(plan: &Plan) -> Result<File> {
    let path = plan.folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("another `feedplane up` runs in {}", plan.folder.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
