//! What must be in the archive before anything is learned from it: asked for by number.

use anyhow::{Context, Result, bail, ensure};
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Between two looks.
const TURN: Duration = Duration::from_millis(100);
/// Longest time in which nothing more is archived.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rows of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Archived {
    pub(super) ticks: u64,
    pub(super) features: u64,
}

/// A connection to the archive.
pub(super) struct Archive {
    runtime: Runtime,
    connection: PgConnection,
}

impl Archive {
    pub(super) fn connect(url: &str) -> Result<Archive> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(PgConnection::connect(url)).context("the archive")?;
        Ok(Archive { runtime, connection })
    }

    /// Fails when there is an archive of something else.
    pub(super) fn must_be_empty(&mut self) -> Result<()> {
        ensure!(
            self.counts()? == Archived { ticks: 0, features: 0 },
            "the database has an archive already: name one without"
        );
        Ok(())
    }

    /// Waits until all of it is there and named.
    ///
    /// # Errors
    /// Something is there that was not expected, or comes no more; or what `look` says.
    pub(super) fn wait(
        &mut self,
        ticks: u64,
        features: u64,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<Archived> {
        let wanted = Archived { ticks, features };
        let (mut before, mut since) = (self.counts()?, Instant::now());
        loop {
            look()?;
            let now = self.counts()?;
            ensure!(
                now.ticks <= ticks && now.features <= features,
                "the archive has {now:?}, more than the {wanted:?} that belong there"
            );
            if now == wanted && self.is_named()? {
                return Ok(now);
            }
            if now != before {
                (before, since) = (now, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                bail!("the archive has {now:?} of {wanted:?}, and nothing has come for {PATIENCE:?}");
            }
            std::thread::sleep(TURN);
        }
    }

    fn counts(&mut self) -> Result<Archived> {
        let query =
            "SELECT (SELECT count(*) FROM feedplane.ticks), (SELECT count(*) FROM feedplane.features)";
        let counted = sqlx::query_as::<_, (i64, i64)>(query).fetch_one(&mut self.connection);
        let (ticks, features) = self.runtime.block_on(counted)?;
        Ok(Archived { ticks: u64::try_from(ticks)?, features: u64::try_from(features)? })
    }

    /// Schema and instrument come a few seconds after the rows.
    fn is_named(&mut self) -> Result<bool> {
        let query = "SELECT EXISTS (SELECT FROM feedplane.feature_schemas) AND EXISTS (SELECT FROM feedplane.instruments)";
        let named = sqlx::query_scalar(query).fetch_one(&mut self.connection);
        Ok(self.runtime.block_on(named)?)
    }
}
