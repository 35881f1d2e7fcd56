//! Redis, PostgreSQL and the two services that read: everything that a whole session needs, private and gone
//! with the test.

use crate::publish;
use crate::service::Service;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use bus::names::{self, CALCULATED_FEATURES, RAW_MARKET_DATA};
use lab::postgres::PostgresServer;
use lab::redis_server::RedisServer;
use sqlx::Connection;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for the services to have read everything.
const PATIENCE: Duration = Duration::from_secs(500);

/// How many instruments Redis knows.
const INSTRUMENTS: &str = "local n = 0
for _, key in ipairs(redis.call('KEYS', 'instruments:*')) do n = n + redis.call('HLEN', key) end
return n";

/// Feature sets with every feature, over every kind of bar.
pub const SETS: &str = "
sets:
  - name: quotes
    publish: {every_ms: 100, on_change: [{value: mid, by: 0.25}, {value: imbalance_1, by: 0.5}]}
    features: [spread, mid, microprice, imbalance: {levels: 1}, imbalance: {levels: 5}]
  - name: seconds
    bars: {time_ms: 1000}
    publish: {every_ms: 500}
    features: [vwap: {bars: 60}, sma: {bars: 10}, ema: {bars: 20}, rsi: {bars: 14}, bollinger: {bars: 20},
      realised_volatility: {bars: 30}, ofi: {bars: 10}, trade_imbalance: {bars: 10}, kyle_lambda: {bars: 20},
      amihud: {bars: 20}, vwap_session: {}, vpin: {bucket: 1000, buckets: 20}]
  - name: trades
    bars: {trades: 10}
    publish: {every_ms: 250}
    features: [vwap: {bars: 5}, sma: {bars: 3}, ema: {bars: 3}, rsi: {bars: 3}, bollinger: {bars: 5, deviations: 2.5},
      realised_volatility: {bars: 5}, ofi: {bars: 3}, trade_imbalance: {bars: 5}, kyle_lambda: {bars: 5},
      amihud: {bars: 5}, vwap_session: {start_s: 52210}]
  - name: volume
    bars: {volume: 300}
    publish: {every_ms: 1000, on_change: [{value: imbalance_3, by: 0.25}]}
    features: [imbalance: {levels: 3}, vwap: {bars: 4}, ofi: {bars: 4}, ema: {bars: 4}, vpin: {bucket: 50, buckets: 5}]
";

/// The servers and the services' documents.
pub struct World {
    /// Where ticks and features are.
    pub redis: RedisServer,
    /// Where the archive is.
    pub postgres: PostgresServer,
    folder: tempfile::TempDir,
    shards: u16,
}

impl World {
    /// Starts the servers; says loudly when there are none to be had.
    ///
    /// # Errors
    /// A server does not start.
    pub fn start(shards: u16) -> Result<Option<World>> {
        if let Some(why) = lab::postgres::unavailable() {
            eprintln!("SKIPPED: {why}");
            return Ok(None);
        }
        let world = World {
            redis: RedisServer::start()?,
            postgres: PostgresServer::start()?,
            folder: tempfile::Builder::new().prefix("feedplane-pipeline-").tempdir()?,
            shards,
        };
        let head =
            format!("redis: {}\nshards: {shards}\nhealth: {{listen: '127.0.0.1:0'}}\n", world.redis.url());
        std::fs::write(world.features_document(), format!("{head}state: {{every_ms: 50}}\n{SETS}"))?;
        let archiver = format!("{head}database: {}\nbatch: {{wait_ms: 50}}\n", world.postgres.url());
        std::fs::write(world.path("archiver.yaml"), archiver)?;
        Ok(Some(world))
    }

    /// A path in the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `features.yaml`.
    pub fn features_document(&self) -> PathBuf {
        self.path("features.yaml")
    }

    /// Starts feedplane-features.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn features(&self) -> Result<Service> {
        self.service("feedplane-features", &self.features_document())
    }

    /// Starts feedplane-archiver.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn archiver(&self) -> Result<Service> {
        self.service("feedplane-archiver", &self.path("archiver.yaml"))
    }

    fn service(&self, name: &str, document: &Path) -> Result<Service> {
        let document = document.to_str().context("a path in UTF-8")?;
        Service::start(name, &["--config", document], self.folder.path())
    }

    /// Publishes a whole session while both services run, waits until all of it is in the archive, and ends them.
    ///
    /// # Errors
    /// A service ends, or does not come to the end of what it reads.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut services = [self.features()?, self.archiver()?];
        publish::instruments(&self.redis.url(), &session.instruments)?;
        publish::ticks(&self.redis.url(), self.shards, &session.ticks)?;
        self.wait_until_archived(&mut services)?;
        services.into_iter().try_for_each(Service::stop)
    }

    /// Waits until the features of every tick are published and everything is in the archive.
    ///
    /// # Errors
    /// A service ends, or does not come to the end of what it reads.
    pub fn wait_until_archived(&self, services: &mut [Service]) -> Result<()> {
        let mut redis = redis::Client::open(self.redis.url())?.get_connection()?;
        for shard in 0..self.shards {
            let ticks = names::shard_stream(RAW_MARKET_DATA, shard, self.shards);
            let features = names::shard_stream(CALCULATED_FEATURES, shard, self.shards);
            let end = newest(&mut redis, &ticks)?;
            wait(services, &format!("features of {ticks}"), || Ok(calculated(&mut redis, &ticks)? == end))?;
            wait(services, &format!("archive of {ticks}"), || {
                Ok(self.archived(&ticks)?.as_ref() == Some(&end))
            })?;
            let end = newest(&mut redis, &features)?;
            wait(services, &format!("archive of {features}"), || {
                Ok(self.archived(&features)?.as_ref() == Some(&end))
            })?;
        }
        // The catalogue comes a few seconds later than the rows.
        let unnamed = "SELECT count(*) FROM (SELECT schema_id FROM feedplane.features \
                       EXCEPT SELECT schema_id FROM feedplane.feature_schemas) unnamed";
        wait(services, "archive of the schemas", || Ok(self.number(unnamed)? == 0))?;
        let known: i64 = redis::cmd("EVAL").arg(INSTRUMENTS).arg(0).query(&mut redis)?;
        wait(services, "archive of the instruments", || {
            Ok(self.number("SELECT count(*) FROM feedplane.instruments")? == known)
        })
    }

    /// How far a stream is archived; nothing as long as the archive does not know it.
    fn archived(&self, stream: &str) -> Result<Option<String>> {
        let known = "SELECT count(*) FROM pg_tables WHERE schemaname = 'feedplane' AND tablename = 'stream_positions'";
        if self.number(known)? == 0 {
            return Ok(None);
        }
        self.ask(|mut connection| async move {
            let query = "SELECT entry_id FROM feedplane.stream_positions WHERE name = $1";
            Ok(sqlx::query_scalar(query).bind(stream).fetch_optional(&mut connection).await?)
        })
    }

    /// The one number that a query of the archive gives.
    ///
    /// # Errors
    /// What the database says.
    pub fn number(&self, query: &'static str) -> Result<i64> {
        self.ask(
            |mut connection| async move { Ok(sqlx::query_scalar(query).fetch_one(&mut connection).await?) },
        )
    }

    /// A count and a number that a query of the archive gives for the number `$1`.
    ///
    /// # Errors
    /// What the database says.
    pub fn numbers(&self, query: &'static str, given: i64) -> Result<(i64, f64)> {
        self.ask(|mut connection| async move {
            Ok(sqlx::query_as(query).bind(given).fetch_one(&mut connection).await?)
        })
    }

    fn ask<T, F: Future<Output = Result<T>>>(
        &self,
        question: impl FnOnce(sqlx::PgConnection) -> F,
    ) -> Result<T> {
        ask(&self.postgres.url(), question)
    }
}

/// What a question to a database gives.
///
/// # Errors
/// What the database says.
pub fn ask<T, F: Future<Output = Result<T>>>(
    url: &str,
    question: impl FnOnce(sqlx::PgConnection) -> F,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connection = sqlx::PgConnection::connect(url).await?;
        question(connection).await
    })
}

fn newest(redis: &mut redis::Connection, stream: &str) -> Result<String> {
    let info: std::collections::HashMap<String, redis::Value> =
        redis::cmd("XINFO").arg("STREAM").arg(stream).query(redis)?;
    let id = info.get("last-generated-id").context("XINFO STREAM has no last-generated-id")?;
    Ok(redis::from_redis_value(id.clone())?)
}

/// How far the features of a stream are published: the kept state says it (bytes 20 to 36), and it is kept only when
/// nothing waits to be published.
fn calculated(redis: &mut redis::Connection, stream: &str) -> Result<String> {
    let state: Vec<u8> =
        redis::cmd("GETRANGE").arg(format!("features:state:{stream}")).arg(20).arg(35).query(redis)?;
    let number = |at: usize| {
        state.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    };
    Ok(format!("{}-{}", number(0), number(8)))
}

fn wait(services: &mut [Service], what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !done()? {
        for service in &mut *services {
            service.must_run()?;
        }
        if Instant::now() > end {
            let logs: Vec<String> = services.iter().map(Service::log).collect();
            bail!("{what}: not done in {PATIENCE:?}\n{}", logs.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
