//! The database: one connection, what is asked of it, and what its refusals mean.
//!
//! Invariant: rows and the place that they lead to are in one transaction, and that transaction begins by moving
//! the place from where the rows begin, under the token of our lease. So a batch is stored once, whoever else
//! writes and however often it is tried: a transaction whose answer was lost is recognised by the place.

use crate::follow::{Batch, Kind, Place, Told};
use crate::shape::{self, Edition};
use crate::{catalogue, rows};
use bus::StreamId;
use bus::config::RetentionSection;
use bus::consumer::Lease;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// Longest wait for the database to answer: as frozen counts what is silent for longer. A batch takes well under
/// a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest time to bring a database into shape: tables with rows in them may have to become hypertables.
const SHAPED_WITHIN: Duration = Duration::from_secs(3_600);
/// Most bytes of rows that are handed to the connection at a time.
const COPY_BYTES: usize = 256 << 10;
/// Of the advisory lock that keeps two archivers from shaping the same database at a time.
const LOCK: i64 = 0x6665_6564_706c_616e;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not an address of a PostgreSQL.
    #[error("the database's address cannot be understood: {0}")]
    Address(sqlx::Error),
    /// It cannot be reached, or the connection broke.
    #[error("the database cannot be reached: {0}")]
    Unreachable(sqlx::Error),
    /// It has not answered in time.
    #[error("the database has not answered within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
    /// It answers, but refuses.
    #[error("the database refuses ({code}): {message}{}", advice(.code))]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// What it said.
        message: String,
    },
    /// What it answers, or the state that it is in, is not what an archive is.
    #[error("the database holds no archive of this version: {0}")]
    Foreign(String),
}

/// What to do about a refusal.
fn advice(code: &str) -> &'static str {
    match code {
        "42501" => {
            "; the user lacks rights: let it own the schema feedplane (CREATE SCHEMA feedplane AUTHORIZATION …)"
        }
        "25006" => {
            "; the server is a standby or the user is read-only: name the primary and a user who may write"
        }
        "28000" | "28P01" => "; check the user, and the password in PGPASSWORD or ~/.pgpass",
        "3D000" => "; create the database",
        "53100" => "; free or add disk space: the archiver goes on by itself",
        "53300" => "; raise max_connections",
        _ => "",
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::Database(refusal) => {
                let code = refusal.code().unwrap_or_default().into_owned();
                // 57P0x: it is shutting down or starting, 08xxx: the connection.
                if code.starts_with("57P") || code.starts_with("08") {
                    StoreError::Unreachable(sqlx::Error::Database(refusal))
                } else {
                    StoreError::Refused { code, message: refusal.message().to_owned() }
                }
            }
            sqlx::Error::Configuration(_) => StoreError::Address(error),
            sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. } => {
                StoreError::Foreign(error.to_string())
            }
            error => StoreError::Unreachable(error),
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// It is in the archive.
    Yes,
    /// It is not: the stream is another member's by now.
    NotOurs,
}

/// The archive.
pub struct Store {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    retention: RetentionSection,
    edition: Option<Edition>,
}

impl Store {
    /// An archive at this address; nothing is connected yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(database: &str, retention: RetentionSection) -> Result<Store, StoreError> {
        let options = PgConnectOptions::from_str(database).map_err(StoreError::Address)?;
        let options = options
            .application_name("feedplane-archiver")
            .options([("search_path", "feedplane,public")])
            .disable_statement_logging();
        Ok(Store { options, connection: None, retention, edition: None })
    }

    /// What the server can do; known once it was connected.
    pub fn edition(&self) -> Option<Edition> {
        self.edition
    }

    /// Does what is asked within [`ANSWER_WITHIN`]. A connection that anything went wrong on is given up.
    async fn ask<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let within = if self.edition.is_some() { ANSWER_WITHIN } else { SHAPED_WITHIN };
        let asked = tokio::time::timeout(within, async {
            self.connect().await?;
            match &mut self.connection {
                Some(connection) => work(connection).await,
                None => Err(StoreError::Silent),
            }
        });
        let result = asked.await.unwrap_or(Err(StoreError::Silent));
        if let Err(error) = &result {
            self.connection = None;
            if matches!(error, StoreError::Refused { code, .. } if code == "42P01" || code == "3F000") {
                // No such table or schema: somebody has made the database anew.
                self.edition = None;
            }
        }
        result
    }

    /// Connects; the first time, brings the database into shape.
    async fn connect(&mut self) -> Result<(), StoreError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let mut connection = self.options.connect().await?;
        if self.edition.is_none() {
            // On a connection of its own: a server that is not set up for the extension ends it.
            shape::create_extension(&mut connection).await?;
            drop(connection);
            connection = self.options.connect().await?;
            sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
            let edition = shape::shape(&mut connection, &self.retention).await?;
            sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut connection).await?;
            tracing::info!("the archive is on {edition}");
            self.edition = Some(edition);
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Takes over a stream under a lease: from now on, older leases' batches are refused. Nothing when a
    /// newer lease has it.
    ///
    /// # Errors
    /// [`StoreError`]; the claim can be repeated.
    pub async fn claim(&mut self, kind: Kind, lease: &Lease) -> Result<Option<Place>, StoreError> {
        self.ask(async |connection| {
            connection
                .execute(
                    sqlx::query("INSERT INTO stream_positions (name, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                        .bind(&lease.stream)
                        .bind(kind.name()),
                )
                .await?;
            let claim = sqlx::query(
                "UPDATE stream_positions SET token = $2 WHERE name = $1 AND token <= $2 \
                 RETURNING stream, entry_id, next_row, number, channels::text AS channels, venues::text AS venues",
            );
            let row =
                claim.bind(&lease.stream).bind(lease.token as i64).fetch_optional(&mut *connection).await?;
            let Some(row) = row else { return Ok(None) };
            let entry: String = row.try_get("entry_id")?;
            let channels: String = row.try_get("channels")?;
            let venues: String = row.try_get("venues")?;
            let foreign = |what: &str| StoreError::Foreign(format!("stream_positions.{what} of {}", lease.stream));
            Ok(Some(Place {
                stream: row.try_get("stream")?,
                entry: StreamId::parse(entry.as_bytes()).ok_or_else(|| foreign("entry_id"))?,
                next_row: row.try_get::<i64, _>("next_row")? as u64,
                number: row.try_get::<i64, _>("number")? as u64,
                channels: serde_json::from_str::<BTreeMap<u16, u64>>(&channels)
                    .map_err(|_| foreign("channels"))?,
                venues: serde_json::from_str::<BTreeMap<String, (u64, u64)>>(&venues)
                    .map_err(|_| foreign("venues"))?
                    .into_iter()
                    .map(|(venue, (number, time_ns))| (venue, Told { number, time_ns }))
                    .collect(),
            }))
        })
        .await
    }

    /// Stores a batch of a stream that was claimed with this lease.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is lost by storing the batch again.
    pub async fn store(&mut self, kind: Kind, lease: &Lease, batch: &Batch) -> Result<Stored, StoreError> {
        self.ask(async |connection| {
            let mut transaction = connection.begin().await?;
            // Serialisation of a map of numbers cannot fail.
            let channels = serde_json::to_string(&batch.to.channels).unwrap_or_default();
            let venues: BTreeMap<&str, (u64, u64)> = batch.to.venues.iter().map(|(v, t)| (v.as_str(), (t.number, t.time_ns))).collect();
            let venues = serde_json::to_string(&venues).unwrap_or_default();
            let moved = sqlx::query(
                "UPDATE stream_positions SET entry_id = $4, next_row = $5, number = $6, channels = $7::jsonb, \
                 venues = $8::jsonb, committed_at = now() WHERE name = $1 AND token = $2 AND entry_id = $3",
            )
            .bind(&lease.stream)
            .bind(lease.token as i64)
            .bind(batch.from.to_string())
            .bind(batch.to.entry.to_string())
            .bind(batch.to.next_row as i64)
            .bind(batch.to.number as i64)
            .bind(channels)
            .bind(venues)
            .execute(&mut *transaction)
            .await?;
            if moved.rows_affected() == 0 {
                let there =
                    sqlx::query("SELECT 1 FROM stream_positions WHERE name = $1 AND token = $2 AND entry_id = $3")
                        .bind(&lease.stream)
                        .bind(lease.token as i64)
                        .bind(batch.to.entry.to_string())
                        .fetch_optional(&mut *transaction)
                        .await?;
                return Ok(if there.is_some() { Stored::Yes } else { Stored::NotOurs });
            }
            copy(&mut transaction, kind.copy(), &batch.data).await?;
            copy(&mut transaction, rows::COPY_GAPS, &batch.gaps).await?;
            transaction.commit().await?;
            Ok(Stored::Yes)
        })
        .await
    }

    /// Writes instruments that are new or say something new.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store_instruments(
        &mut self,
        instruments: &[catalogue::Instrument],
    ) -> Result<(), StoreError> {
        self.ask(async |connection| {
            let mut transaction = connection.begin().await?;
            for catalogue::Instrument { publisher_id, instrument_id, row } in instruments {
                sqlx::query(
                    "INSERT INTO instruments VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                     ON CONFLICT (publisher_id, instrument_id) DO UPDATE SET symbol = $3, tick_size = $4, \
                     multiplier = $5, lot_size = $6, kind = $7, product_group = $8, currency = $9, \
                     channel_id = $10, changed_at = now()",
                )
                .bind(i32::from(*publisher_id))
                .bind(i64::from(*instrument_id))
                .bind(&row.symbol)
                .bind(row.tick_size)
                .bind(row.multiplier)
                .bind(i64::from(row.lot_size))
                .bind(&row.kind)
                .bind(&row.group)
                .bind(&row.currency)
                .bind(i32::from(row.channel_id))
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    /// Writes schemas of features.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store_schemas(&mut self, schemas: &[catalogue::Schema]) -> Result<(), StoreError> {
        self.ask(async |connection| {
            for catalogue::Schema { id, schema } in schemas {
                let (names, units): (Vec<&str>, Vec<&str>) =
                    schema.features.iter().map(|spec| (spec.name.as_str(), spec.unit.as_str())).unzip();
                sqlx::query(
                    "INSERT INTO feature_schemas VALUES ($1, $2, $3, $4, $5) ON CONFLICT (schema_id) DO UPDATE \
                     SET feature_set = $3, names = $4, units = $5, changed_at = now()",
                )
                .bind(*id as i64)
                .bind(format!("{id:016x}"))
                .bind(&schema.set)
                .bind(names)
                .bind(units)
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        })
        .await
    }

    /// Deletes what is older than is to be kept, where no policy of the server does it. Returns what it did;
    /// when that is something, there may be more to do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn retain(&mut self) -> Result<Vec<String>, StoreError> {
        let (retention, edition) = (self.retention, self.edition);
        self.ask(async |connection| shape::retain(connection, &retention, edition).await).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check(&mut self) -> Result<(), StoreError> {
        self.ask(async |connection| Ok(connection.ping().await?)).await
    }
}

async fn copy(connection: &mut PgConnection, statement: &str, data: &[u8]) -> Result<(), StoreError> {
    if data.is_empty() {
        return Ok(());
    }
    let mut copy = connection.copy_in_raw(statement).await?;
    copy.send(rows::HEADER).await?;
    for part in data.chunks(COPY_BYTES) {
        copy.send(part).await?;
    }
    copy.send(rows::TRAILER).await?;
    copy.finish().await?;
    Ok(())
}
