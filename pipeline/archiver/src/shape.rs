//! Brings a database into the shape of an archive: the migrations, then what this server can do on top.
//!
//! One way for three kinds of server, told apart by asking (extension, `timescaledb.license`):
//!
//! | | plain PostgreSQL | TimescaleDB, Apache | TimescaleDB, community |
//! |---|---|---|---|
//! | ticks, features, orders | tables | hypertables | hypertables, columnstore |
//! | `ohlcv_1s`, `ohlcv_1m` | views | views | continuous aggregates |
//! | retention | `DELETE` by the archiver | `drop_chunks` by the archiver | policies |
//!
//! Invariant: it can be run at every start, and a server that has gained TimescaleDB gains the rest.

use crate::store::StoreError;
use bus::config::RetentionSection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use std::fmt;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What a server can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edition {
    /// No TimescaleDB.
    Plain,
    /// TimescaleDB under `timescaledb.license = apache`.
    Apache,
    /// TimescaleDB under `timescaledb.license = timescale`.
    Community,
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Edition::Plain => {
                "plain PostgreSQL: no chunks and no columnstore; OHLCV are views, old rows are deleted by the \
                 archiver"
            }
            Edition::Apache => {
                "TimescaleDB, Apache edition: hypertables, no columnstore; OHLCV are views, old chunks are dropped \
                 by the archiver"
            }
            Edition::Community => {
                "TimescaleDB, community edition: hypertables, columnstore, OHLCV as continuous aggregates, \
                 retention by policies"
            }
        })
    }
}

/// The hypertables: name, chunk interval, what the columnstore keeps together (each in order of time and row). Orders are
/// few and are asked for by id, which looks into every chunk: theirs are large.
const HYPERTABLES: [(&str, &str, &str); 5] = [
    ("ticks", "1 hour", "publisher_id, instrument_id"),
    ("features", "1 day", "publisher_id, instrument_id"),
    ("order_instructions", "7 days", "strategy"),
    ("execution_reports", "7 days", "strategy"),
    ("drop_copy", "1 day", "venue"),
];
/// The bars: name, width, how far back a policy refreshes, how often.
const BARS: [(&str, &str, &str, &str); 2] =
    [("ohlcv_1s", "1 second", "10 minutes", "10 seconds"), ("ohlcv_1m", "1 minute", "2 hours", "1 minute")];
/// Rows that one `DELETE` of a plain server takes: short transactions let vacuum keep up.
const DELETE_ROWS: u32 = 100_000;

/// Creates the extension where the server offers it. Where that is not allowed, an archive without it is made,
/// and the log says so.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn create_extension(connection: &mut PgConnection) -> Result<(), StoreError> {
    let offered = "SELECT 1 FROM pg_available_extensions a WHERE name = 'timescaledb' \
                   AND NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = a.name)";
    if sqlx::query(offered).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(());
    }
    if let Err(error) = connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public").await {
        let error = StoreError::from(error);
        tracing::warn!(%error, "TimescaleDB is installed but its extension cannot be created here");
    }
    Ok(())
}

/// Brings the database into shape and tells what the server can do.
///
/// # Errors
/// [`StoreError`], as a user who may not create what is missing.
pub(crate) async fn shape(
    connection: &mut PgConnection,
    retention: &RetentionSection,
) -> Result<Edition, StoreError> {
    let there = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = 'feedplane'");
    if there.fetch_optional(&mut *connection).await?.is_none() {
        connection.execute("CREATE SCHEMA feedplane").await?;
    }
    MIGRATIONS.run(&mut *connection).await.map_err(of_migration)?;
    let edition = edition(connection).await?;
    if edition != Edition::Plain {
        for (table, chunk, _) in HYPERTABLES {
            let make = format!(
                "SELECT create_hypertable('{table}', 'time', chunk_time_interval => interval '{chunk}', \
                 create_default_indexes => false, if_not_exists => true, migrate_data => true)"
            );
            connection.execute(make.as_str()).await?;
        }
    }
    for (name, width, refresh_from, every) in BARS {
        bars(connection, edition, name, width, refresh_from, every).await?;
    }
    if edition == Edition::Community {
        policies(connection, retention).await?;
    }
    Ok(edition)
}

fn of_migration(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => StoreError::Foreign(error.to_string()),
    }
}

async fn edition(connection: &mut PgConnection) -> Result<Edition, StoreError> {
    let ask = "SELECT current_setting('timescaledb.license', true) AS licence \
               FROM pg_extension WHERE extname = 'timescaledb'";
    let Some(row) = sqlx::query(ask).fetch_optional(connection).await? else { return Ok(Edition::Plain) };
    let licence: Option<String> = row.try_get("licence")?;
    Ok(if licence.as_deref() == Some("timescale") { Edition::Community } else { Edition::Apache })
}

/// The select of bars: by TimescaleDB's functions or by PostgreSQL's own.
fn select_bars(edition: Edition, width: &str) -> String {
    let priced = "FILTER (WHERE price <> 9223372036854775807)";
    let (bucket, open, close) = match edition {
        Edition::Plain => (
            format!("date_bin(interval '{width}', time, timestamptz 'epoch')"),
            format!("(array_agg(price ORDER BY time, row) {priced})[1]"),
            format!("(array_agg(price ORDER BY time DESC, row DESC) {priced})[1]"),
        ),
        Edition::Apache | Edition::Community => (
            format!("time_bucket(interval '{width}', time)"),
            format!("first(price, row) {priced}"),
            format!("last(price, row) {priced}"),
        ),
    };
    format!(
        "SELECT {bucket} AS time, publisher_id, instrument_id, \
         ({open})::double precision / 1e9 AS open, (max(price) {priced})::double precision / 1e9 AS high, \
         (min(price) {priced})::double precision / 1e9 AS low, ({close})::double precision / 1e9 AS close, \
         sum(size) FILTER (WHERE size <> 4294967295) AS volume, count(*) AS trades, \
         count(*) FILTER (WHERE price = 9223372036854775807) AS trades_without_price \
         FROM ticks WHERE action = 'T' GROUP BY 1, 2, 3"
    )
}

/// Makes the bars of one width: what is there of another kind is replaced, unless it holds data.
async fn bars(
    connection: &mut PgConnection,
    edition: Edition,
    name: &str,
    width: &str,
    refresh_from: &str,
    every: &str,
) -> Result<(), StoreError> {
    let select = select_bars(edition, width);
    if edition != Edition::Community {
        let held = "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                    WHERE nspname = 'feedplane' AND relname = $1 AND pg_get_viewdef(c.oid) LIKE $2";
        let function = if edition == Edition::Plain { "%date_bin%" } else { "%time_bucket%" };
        if sqlx::query(held).bind(name).bind(function).fetch_optional(&mut *connection).await?.is_none() {
            connection.execute(format!("DROP VIEW IF EXISTS {name}").as_str()).await?;
            connection.execute(format!("CREATE VIEW {name} AS {select}").as_str()).await?;
        }
        return Ok(());
    }
    let held = "SELECT 1 FROM timescaledb_information.continuous_aggregates \
                WHERE view_schema = 'feedplane' AND view_name = $1";
    if sqlx::query(held).bind(name).fetch_optional(&mut *connection).await?.is_some() {
        return Ok(());
    }
    connection.execute(format!("DROP VIEW IF EXISTS {name}").as_str()).await?;
    let make = format!(
        "CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS \
         {select} WITH NO DATA"
    );
    connection.execute(make.as_str()).await?;
    let refresh = format!(
        "SELECT add_continuous_aggregate_policy('{name}', start_offset => interval '{refresh_from}', \
         end_offset => interval '{every}', schedule_interval => interval '{every}', if_not_exists => true)"
    );
    connection.execute(refresh.as_str()).await?;
    Ok(())
}

/// How long the rows of each table are kept, days.
fn kept(retention: &RetentionSection) -> [(&'static str, Option<u32>); 7] {
    [
        ("ticks", retention.ticks_days),
        ("features", retention.features_days),
        ("gaps", retention.ticks_days),
        ("order_instructions", retention.orders_days),
        ("execution_reports", retention.orders_days),
        ("trading_state", retention.orders_days),
        ("drop_copy", retention.orders_days),
    ]
}

fn is_hypertable(table: &str) -> bool {
    HYPERTABLES.iter().any(|(name, ..)| *name == table)
}

/// Sets the policies of the community edition to what the document says: an earlier one is replaced.
async fn policies(connection: &mut PgConnection, retention: &RetentionSection) -> Result<(), StoreError> {
    for (table, days) in kept(retention).into_iter().filter(|(table, _)| is_hypertable(table)) {
        let forget = format!("SELECT remove_retention_policy('{table}', if_exists => true)");
        connection.execute(forget.as_str()).await?;
        if let Some(days) = days {
            let set = format!("SELECT add_retention_policy('{table}', drop_after => interval '{days} days')");
            connection.execute(set.as_str()).await?;
        }
    }
    let Some(days) = retention.columnstore_days else { return Ok(()) };
    for (table, _, segment) in HYPERTABLES {
        let columns = format!(
            "ALTER TABLE {table} SET (timescaledb.compress, \
             timescaledb.compress_segmentby = '{segment}', timescaledb.compress_orderby = 'time, row')"
        );
        connection.execute(columns.as_str()).await?;
        let forget = format!("SELECT remove_compression_policy('{table}', if_exists => true)");
        connection.execute(forget.as_str()).await?;
        let set =
            format!("SELECT add_compression_policy('{table}', compress_after => interval '{days} days')");
        connection.execute(set.as_str()).await?;
    }
    Ok(())
}

/// Deletes what is older than is to be kept, as far as no policy does it. Returns what was done.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn retain(
    connection: &mut PgConnection,
    retention: &RetentionSection,
    edition: Option<Edition>,
) -> Result<Vec<String>, StoreError> {
    let mut done = Vec::new();
    for (table, days) in kept(retention) {
        let Some(days) = days else { continue };
        let chunks = is_hypertable(table);
        match edition {
            Some(Edition::Community) if chunks => {}
            Some(Edition::Apache) if chunks => {
                let drop = format!("SELECT drop_chunks('{table}', older_than => interval '{days} days')");
                let dropped = sqlx::query(&drop).fetch_all(&mut *connection).await?.len();
                if dropped > 0 {
                    done.push(format!("{table}: {dropped} chunks dropped"));
                }
            }
            _ => {
                let delete = format!(
                    "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} \
                     WHERE time < now() - interval '{days} days' LIMIT {DELETE_ROWS}))"
                );
                let deleted = connection.execute(delete.as_str()).await?.rows_affected();
                if deleted > 0 {
                    done.push(format!("{table}: {deleted} rows deleted"));
                }
            }
        }
    }
    Ok(done)
}
