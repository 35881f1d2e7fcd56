//! What the control plane remembers: versions of documents, the audit, tokens, kept answers, the wanted trading state.
//!
//! One database, SQLite in a file or PostgreSQL. **Whatever changes is one transaction** ([`Change`]): what is changed, its
//! audit entry and the answer kept for the idempotency key are there together or not at all. Changes are made one after
//! another (a lock in this process, the database's own between processes), so that versions and the audit's chain have no
//! gaps. Reads do not wait for them.

mod audit;
mod change;
mod tokens;
mod trading;
mod versions;

pub use audit::{AuditEntry, AuditQuery, Chain, Refusal};
pub use change::{Change, Done};
pub(crate) use tokens::secret_matches;
pub use tokens::{NewToken, TOKENS_MAX, Token};
pub use trading::WantedTrading;
pub use versions::{Version, VersionHead};

use crate::api::Problem;
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyPool, Executor, Row, Transaction};
use std::fmt::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;

/// Connections to the database. Readers are the API and the sampler; changes use one.
const CONNECTIONS: u32 = 8;
/// Longest wait for a connection, and for another process's lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// Audit entries that wait for a slow listener; one that is slower misses some.
const LISTENER_ENTRIES: usize = 1_024;
/// What a store of SQLite is set to: a commit is on the disk before it is answered.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                       PRAGMA wal_autocheckpoint = 1000; PRAGMA foreign_keys = ON;";

/// What is the matter with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made or its mode not be set.
    #[error("cannot use the store {path}: {source}; give a file in a folder that this user may write")]
    File {
        /// As in the document.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database refuses.
    #[error("the store: {0}")]
    Database(#[from] sqlx::Error),
    /// The tables cannot be made.
    #[error("the store's tables: {0}; was it made by a later version?")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Something in it cannot be understood.
    #[error("the store holds {0}, which this version does not know")]
    Unknown(String),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Database(
                sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed,
            ) => {
                tracing::warn!("the store does not answer: {error}");
                Problem::unavailable("the store does not answer; try again")
            }
            error => Problem::internal(error),
        }
    }
}

/// The store. Cheap to copy.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    shared: Arc<Shared>,
}

struct Shared {
    sqlite: bool,
    /// Bytes from which on nothing but the trading state is changed.
    bytes_max: u64,
    writer: Arc<tokio::sync::Mutex<()>>,
    entries: broadcast::Sender<AuditEntry>,
    chain: Mutex<Chain>,
}

impl Store {
    /// Opens the store, makes it when it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn open(address: &str, mib_max: u32) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let sqlite = !address.contains("://");
        let url = if sqlite { file_url(address)? } else { address.to_owned() };
        let mut options = AnyPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        if sqlite {
            options = options.after_connect(|connection, _| {
                Box::pin(async move { connection.execute(PRAGMAS).await.map(drop) })
            });
        }
        let pool = options.connect(&url).await?;
        if sqlite {
            sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        } else {
            sqlx::migrate!("migrations/postgres").run(&pool).await?;
        }
        let shared = Shared {
            sqlite,
            bytes_max: u64::from(mib_max) << 20,
            writer: Arc::default(),
            entries: broadcast::channel(LISTENER_ENTRIES).0,
            chain: Mutex::new(Chain::default()),
        };
        Ok(Store { pool, shared: Arc::new(shared) })
    }

    /// Each entry of the audit, as it is committed by this process.
    pub fn audit_entries(&self) -> broadcast::Receiver<AuditEntry> {
        self.shared.entries.subscribe()
    }

    /// What kind of database it is, and its size, bytes.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn size(&self) -> Result<(&'static str, u64), StoreError> {
        let (kind, query) = match self.shared.sqlite {
            true => ("sqlite", "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
            false => ("postgres", "SELECT pg_database_size(current_database())"),
        };
        let bytes: i64 = sqlx::query(query).fetch_one(&self.pool).await?.try_get(0)?;
        Ok((kind, bytes.unsigned_abs()))
    }

    /// Whether it has reached the size up to which documents are kept.
    async fn is_full(&self) -> Result<bool, StoreError> {
        Ok(self.size().await?.1 >= self.shared.bytes_max)
    }

    /// A transaction that changes: alone among all, whichever process makes them.
    async fn transaction(&self) -> Result<Transaction<'static, Any>, StoreError> {
        if self.shared.sqlite {
            return Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?);
        }
        let mut transaction = self.pool.begin().await?;
        transaction.execute("LOCK TABLE audit IN EXCLUSIVE MODE").await?;
        Ok(transaction)
    }

    /// Ends all connections. For an orderly end.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The address of the file for sqlx, after it is there with mode 0600: it holds the tokens' checksums and all documents.
fn file_url(path: &str) -> Result<String, StoreError> {
    let refused = |source| StoreError::File { path: path.to_owned(), source };
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(refused)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
    let whole = Path::new(path).canonicalize().map_err(refused)?;
    let mut url = String::from("sqlite://");
    for byte in whole.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(*byte));
            }
            byte => {
                // Writing into a string does not fail.
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url.push_str("?mode=rw");
    Ok(url)
}

/// Now, ns since the epoch, UTC.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// As the database's integer. Times and counts here are far below its end.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Hexadecimal, small letters.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
