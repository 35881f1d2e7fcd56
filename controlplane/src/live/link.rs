//! A connection to Redis for the tasks here: made when it is needed, made anew when it broke, shared by those who ask.
//!
//! Invariant: every wait ends. What Redis did with a command whose answer did not come is not known; whoever cannot live
//! with that makes a command that may be said twice.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError};
use std::time::Duration;
use tokio::sync::Mutex;

/// Longest wait for a connection or an answer: a person waits for what is asked here.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Why Redis could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Not an address of a Redis.
    #[error("`redis` is not the address of a Redis; use redis://host:port/db or unix:///path: {0}")]
    Address(RedisError),
    /// It cannot be reached, or the connection broke.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(RedisError),
    /// It answers, but refuses.
    #[error("Redis refuses: {0}")]
    Refused(RedisError),
    /// What it answered is no answer to this.
    #[error("Redis's answer cannot be read: {0}")]
    Answer(String),
}

impl BusError {
    /// Whether Redis is not there, as opposed to refusing.
    pub fn is_gone(&self) -> bool {
        matches!(self, BusError::Unreachable(_))
    }
}

impl From<RedisError> for BusError {
    fn from(error: RedisError) -> BusError {
        let starting = matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN"));
        if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || starting {
            BusError::Unreachable(error)
        } else {
            BusError::Refused(error)
        }
    }
}

/// A link to a Redis.
pub struct BusLink {
    client: redis::Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl BusLink {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(url: &str) -> Result<BusLink, BusError> {
        let client = bus::redis_address(url).and_then(redis::Client::open).map_err(BusError::Address)?;
        Ok(BusLink { client, connection: Mutex::new(None) })
    }

    async fn connected(&self) -> Result<MultiplexedConnection, BusError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(kept.insert(connection).clone())
    }

    async fn judge<T>(&self, asked: Result<T, RedisError>) -> Result<T, BusError> {
        let asked = asked.map_err(BusError::from);
        if asked.as_ref().is_err_and(BusError::is_gone) {
            *self.connection.lock().await = None;
        }
        asked
    }

    /// Asks.
    ///
    /// # Errors
    /// When Redis cannot be asked, or refuses.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BusError> {
        let mut connection = self.connected().await?;
        self.judge(command.query_async(&mut connection).await).await
    }

    /// Asks several things at once, or has them done in one transaction when the pipeline is atomic.
    ///
    /// # Errors
    /// As [`BusLink::ask`].
    pub async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, BusError> {
        let mut connection = self.connected().await?;
        self.judge(commands.query_async(&mut connection).await).await
    }

    /// Carries out the commands of an atomic pipeline when `may` says so of what the hash `key` holds in these fields, and
    /// nobody has changed it meanwhile. Only on a link of its own: what is watched is watched for the whole connection.
    ///
    /// # Errors
    /// As [`BusLink::ask`].
    pub async fn change_hash(
        &self,
        key: &str,
        fields: &[&str],
        may: impl FnOnce(&[Option<Vec<u8>>]) -> bool,
        commands: &Pipeline,
    ) -> Result<bool, BusError> {
        let mut connection = self.connected().await?;
        let work = async || {
            redis::cmd("WATCH").arg(key).query_async::<()>(&mut connection).await?;
            let found: Vec<Option<Vec<u8>>> =
                redis::cmd("HMGET").arg(key).arg(fields).query_async(&mut connection).await?;
            if !may(&found) {
                redis::cmd("UNWATCH").query_async::<()>(&mut connection).await?;
                return Ok(false);
            }
            let done: redis::Value = commands.query_async(&mut connection).await?;
            Ok(done != redis::Value::Nil)
        };
        let done = work().await;
        self.judge(done).await
    }

    /// The names of the keys that match a pattern, at most `keys_max`, in no order.
    ///
    /// # Errors
    /// As [`BusLink::ask`].
    pub async fn keys(&self, pattern: &str, kind: &str, keys_max: usize) -> Result<Vec<String>, BusError> {
        let (mut cursor, mut found) = (0_u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1_000).arg("TYPE").arg(kind);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask(&scan).await?;
            found.extend(keys.into_iter().filter_map(|key| String::from_utf8(key).ok()));
            cursor = next;
            if cursor == 0 || found.len() >= keys_max {
                // SCAN may give a key twice.
                found.sort_unstable();
                found.dedup();
                found.truncate(keys_max);
                return Ok(found);
            }
        }
    }
}
