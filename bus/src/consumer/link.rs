//! The connection of a reader or member, and what can go wrong with it.
//!
//! A link connects when it is asked and again after it broke. Every wait ends: a Redis that is frozen is
//! like one that is gone, after [`ANSWER_WITHIN`].

use super::Fence;
use redis::{Cmd, Connection, ErrorKind, RedisError};
use std::fmt;
use std::time::Duration;

const ADVICE_ON_PASSWORDS: &str =
    "name a user in the address, redis://user@host, and give the password there or in REDISCLI_AUTH";
/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
/// Longest wait for Redis to take or to give bytes, beyond what was asked to wait for.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why Redis could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Not an address of a Redis.
    #[error("{url:?} is not the address of a Redis: {source}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        source: RedisError,
    },
    /// It cannot be reached, or the connection broke. Asking again connects anew.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(RedisError),
    /// It answers, but refuses (rights, a key of another type, out of memory).
    #[error("Redis refuses {0}")]
    Refused(Refusal),
    /// It answers what is not an answer to this.
    #[error("Redis's answer cannot be read: {0}")]
    Answer(#[from] crate::EntryError),
}

/// What Redis refused, and why.
#[derive(Debug)]
pub struct Refusal {
    /// The command, as `XREAD`.
    pub command: String,
    /// What Redis said.
    pub error: RedisError,
    /// The key that is at fault, when that is known.
    pub key: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.command)?;
        if let Some(key) = &self.key {
            write!(f, " of {key}")?;
        }
        write!(f, ": {}", self.error)?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    /// What to do about it.
    fn advice(&self) -> Option<&'static str> {
        if self.error.kind() == ErrorKind::AuthenticationFailed {
            return Some(ADVICE_ON_PASSWORDS);
        }
        Some(match self.error.code()? {
            "NOPERM" => "give the user the rights that docs/consumers.md lists",
            "NOAUTH" | "WRONGPASS" => ADVICE_ON_PASSWORDS,
            "WRONGTYPE" => "another program uses this key: delete it, or take another database",
            "OOM" => "Redis is at maxmemory: raise it, or let streams hold fewer entries",
            "READONLY" => "this is a replica: name the master in the address",
            "MISCONF" => "Redis cannot write its disk: free it, see Redis's log",
            _ => return None,
        })
    }
}

impl ConsumerError {
    fn of(command: impl FnOnce() -> String, error: RedisError) -> ConsumerError {
        if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || is_starting(&error) {
            return ConsumerError::Unreachable(error);
        }
        ConsumerError::Refused(Refusal { command: command(), error, key: None })
    }

    /// The code that Redis refused with, as `WRONGTYPE`.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            ConsumerError::Refused(refusal) => refusal.error.code(),
            _ => None,
        }
    }
}

/// Whether the server is loading its data, or its master is.
fn is_starting(error: &RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN"))
}

/// A connection that is made when it is needed, and made anew when it broke. For services' own writes, too.
pub struct Link {
    client: redis::Client,
    connection: Option<Connection>,
}

impl Link {
    /// A link to a Redis (`unix:///path` or `redis://host:port/db`). Nothing is connected yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(url: &str) -> Result<Link, ConsumerError> {
        let client = crate::redis_address(url)
            .and_then(redis::Client::open)
            .map_err(|source| ConsumerError::Address { url: url.to_owned(), source })?;
        Ok(Link { client, connection: None })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Asks. A connection that breaks is dropped, and whether Redis has carried the command out is not known
    /// then. After an attempt that failed it waits for a tenth of a second.
    ///
    /// # Errors
    /// When Redis cannot be asked, or refuses.
    pub fn ask<T: redis::FromRedisValue>(&mut self, command: &Cmd) -> Result<T, ConsumerError> {
        let asked = self.connected().and_then(|connection| command.query(connection));
        self.judge(asked, || match command.args_iter().next() {
            Some(redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
            _ => String::new(),
        })
    }

    /// Carries out the commands of an atomic pipeline as long as `fence` holds; `false`, and nothing done, when
    /// it does not.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub fn transact(&mut self, fence: &Fence, commands: &redis::Pipeline) -> Result<bool, ConsumerError> {
        self.ask::<()>(redis::cmd("WATCH").arg(&fence.key))?;
        let found: Option<String> = self.ask(redis::cmd("GET").arg(&fence.key))?;
        if found.as_ref() != Some(&fence.value) {
            self.ask::<()>(&redis::cmd("UNWATCH"))?;
            return Ok(false);
        }
        // On a connection that was made anew, nothing is watched.
        let connection = self.connection.as_mut();
        let asked = connection.map_or(Ok(redis::Value::Nil), |connection| commands.query(connection));
        self.judge(asked, || "EXEC".to_owned()).map(|done| done != redis::Value::Nil)
    }

    fn judge<T>(
        &mut self,
        asked: redis::RedisResult<T>,
        command: impl FnOnce() -> String,
    ) -> Result<T, ConsumerError> {
        let asked = asked.map_err(|error| ConsumerError::of(command, error));
        if matches!(asked, Err(ConsumerError::Unreachable(_))) {
            self.connection = None;
            std::thread::sleep(RETRY);
        }
        asked
    }

    fn connected(&mut self) -> redis::RedisResult<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(ANSWER_WITHIN)?;
                connection.set_write_timeout(Some(ANSWER_WITHIN))?;
                connection.set_read_timeout(Some(ANSWER_WITHIN))?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }
}
