//! Reading streams: from a stored place on, in order, by one member of a group at a time.
//!
//! ```text
//!            leases                     entries
//!   Members ────────► which streams are mine, with a token that fences my results
//!   Reader  ◄──────── XREAD from the cursor on ── Batch ──► effect, committed together with the cursor
//! ```
//!
//! A book, a feature or an archive needs an instrument's ticks in order, and Redis's own consumer groups hand
//! the entries of one stream to whoever asks. So a group here divides *streams* (shards) among its members:
//! each stream has one owner, by a lease. Where the owner has got to is stored by the owner, in the same
//! transaction as its results; a new owner of a dead member's stream goes on exactly there. A member that was
//! only asleep cannot spoil anything: its results carry an older token, and whatever stores them refuses it.
//!
//! Invariant: after [`Reader::follow`] every entry behind the cursor is returned once and in order, or its
//! absence is told: by [`Continuity`](crate::Continuity) for numbered records, by
//! [`Batch::restarted`] for a stream that Redis has lost.

mod members;
mod reader;

pub use members::{Lease, Members, MembersConfig, Tended};
pub use reader::{Batch, Reader};

use std::time::Duration;

/// Why Redis could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Not an address of a Redis.
    #[error("{url:?} is not the address of a Redis: {source}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        source: redis::RedisError,
    },
    /// It cannot be reached, or the connection broke. Asking again connects anew.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(redis::RedisError),
    /// It answers, but refuses (rights, a key of another type, out of memory).
    #[error("Redis refuses: {0}")]
    Refused(redis::RedisError),
    /// It answers what is not an answer to this.
    #[error("Redis's answer cannot be read: {0}")]
    Answer(#[from] crate::EntryError),
}

impl ConsumerError {
    fn of(error: redis::RedisError) -> ConsumerError {
        if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || is_starting(&error) {
            ConsumerError::Unreachable(error)
        } else {
            ConsumerError::Refused(error)
        }
    }
}

/// Whether the server is loading its data, or its master is.
fn is_starting(error: &redis::RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN"))
}

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
/// Longest wait for Redis to take or to give bytes, beyond what was asked to wait for.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A connection that is made when it is needed, and made anew when it broke.
struct Link {
    client: redis::Client,
    connection: Option<redis::Connection>,
}

impl Link {
    fn new(url: &str) -> Result<Link, ConsumerError> {
        let client = redis::Client::open(url)
            .map_err(|source| ConsumerError::Address { url: url.to_owned(), source })?;
        Ok(Link { client, connection: None })
    }

    fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Asks; a connection that breaks is dropped. After an attempt that failed it waits for [`RETRY`].
    fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, ConsumerError> {
        let asked =
            self.connected().and_then(|connection| command.query(connection)).map_err(ConsumerError::of);
        if matches!(asked, Err(ConsumerError::Unreachable(_))) {
            self.connection = None;
            std::thread::sleep(RETRY);
        }
        asked
    }

    fn connected(&mut self) -> redis::RedisResult<&mut redis::Connection> {
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
