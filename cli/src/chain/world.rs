//! The servers and services of a chain, in a temporary folder: they and their data end with it.

use super::documents::Documents;
use super::ensure_going;
use crate::up::{self, Supervisor};
use anyhow::{Result, bail};
use bus::config::{ArchiverUp, FeaturesUp, UpDocument};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// More than all services need to start on a busy machine, and a new database to be made.
const PATIENCE: Duration = Duration::from_secs(90);

/// Fields are dropped in their order: the services before the folder in which their data is.
pub(super) struct World {
    supervisor: Supervisor,
    private_database: bool,
    folder: TempDir,
}

impl World {
    /// Starts everything, and waits until it is ready.
    ///
    /// # Errors
    /// A server is not there, or something does not come up.
    pub(super) fn start(documents: &Documents, database: Option<&str>, stop: &AtomicBool) -> Result<World> {
        if database.is_none()
            && let Some(why) = lab::postgres::unavailable()
        {
            bail!("no PostgreSQL for the archive: {why}; run scripts/setup.sh, or name one by --database");
        }
        let folder = tempfile::Builder::new().prefix("feedplane-chain-").tempdir()?;
        // PostgreSQL, which is never root, must be able to go through.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711))?;
        let mut document = UpDocument::parse(b"health_port: 0\nredis_durable: false\nfeatures: {}\n")?;
        document.features = Some(FeaturesUp { sets: Some(documents.sets.clone()), ..FeaturesUp::default() });
        document.archiver = Some(ArchiverUp::default());
        document.database = database.map(str::to_owned);
        let supervisor = up::start_in(None, &document, folder.path())?;
        let world = World { supervisor, private_database: database.is_none(), folder };
        world.wait_until_ready(stop)?;
        Ok(world)
    }

    fn wait_until_ready(&self, stop: &AtomicBool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            ensure_going(stop)?;
            self.must_be_well()?;
            let states = self.supervisor.states();
            let Some((name, state)) = states.iter().find(|(_, state)| !state.is_ready()) else {
                return Ok(());
            };
            if Instant::now() > end {
                bail!("{name} does not come up: {:?}", state.ready);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails when a service has ended.
    pub(super) fn must_be_well(&self) -> Result<()> {
        for (name, state) in self.supervisor.states() {
            if let Some(why) = state.why {
                bail!("{name}: {why}");
            }
        }
        Ok(())
    }

    pub(super) fn describe(&self) -> String {
        let timescaledb = match lab::postgres::timescaledb_unavailable() {
            None => "PostgreSQL with TimescaleDB",
            Some(_) => "PostgreSQL without TimescaleDB",
        };
        let archive = if self.private_database { timescaledb } else { "the archive in the database given" };
        format!("Redis, {archive}, features, archiver, in {}", self.folder.path().display())
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn redis(&self) -> &str {
        self.supervisor.redis()
    }

    pub(super) fn database(&self) -> &str {
        self.supervisor.database()
    }
}
