//! A stream of the archive, in chunks by row. What the table `gaps` says is missing becomes gap ticks where it was.
//!
//! The tables are described in `docs/archive.md`. Rows count 1, 2, 3 … in each stream without a hole; a row that is not there was
//! removed by retention, and is refused in the middle of what is read.

use super::{Definition, Position, Reader, SourceError};
use crate::document::ArchiveSection;
use bus::InstrumentRow;
use bus::config::InstrumentKey;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use tick::{Action, Clock, Flags, GapReason, Side, Source, Tick};
use tokio::runtime::Runtime;

/// Rows that a query should bring: some 4 MB.
const CHUNK_ROWS: usize = 20_000;
/// Most rows that are kept until those before them come: 320 MB.
const KEPT_ROWS_MAX: usize = 4_000_000;
/// Widths of the time that one query is about, µs: the first, and the widest.
const WIDTH_US: i64 = 1_000_000;
const WIDTH_US_MAX: i64 = 6 * 3_600 * 1_000_000;
/// How much earlier than the first tick a tick behind it may have been received, µs.
const SLACK_US: i64 = 60_000_000;

/// The table has an index on time and none on rows, so time is what is asked by.
const TICKS: &str = "SELECT row, ts_event, ts_recv, sequence, order_id, price, size, instrument_id, ts_in_delta, \
    publisher_id, channel_id, flags, depth, clock, reserved, action, side, source FROM feedplane.ticks \
    WHERE stream = $1 AND row >= $2 AND row < $3 AND time >= timestamptz 'epoch' + $4 * interval '1 microsecond' \
    AND time < timestamptz 'epoch' + $5 * interval '1 microsecond' ORDER BY row";
const GAPS: &str = "SELECT before_row, channel_id, first, last, reason FROM feedplane.gaps WHERE stream = $1 \
    AND before_row >= $2 AND before_row < $3 AND channel_id IS NOT NULL AND reason <> 'repeated' \
    ORDER BY before_row, entry_id, first";
const BOUNDS: &str = "SELECT min(row) AS first, max(row) AS last, min(ts_recv) AS first_ns, max(ts_recv) AS last_ns \
    FROM feedplane.ticks WHERE stream = $1 AND ts_recv >= $2 AND ts_recv < $3 \
    AND time >= timestamptz 'epoch' + ($2 / 1000) * interval '1 microsecond' \
    AND time <= timestamptz 'epoch' + ($3 / 1000) * interval '1 microsecond'";
const TABLE: &str = "SELECT publisher_id, instrument_id, symbol, tick_size, multiplier, lot_size, kind, product_group, \
    currency, channel_id FROM feedplane.instruments ORDER BY publisher_id, instrument_id";

/// A gap, in front of a row.
struct Missing {
    before_row: i64,
    tick: Tick,
}

/// Reads a stream of the archive.
pub struct ArchiveReader {
    runtime: Runtime,
    rows: Rows,
    at: String,
    definitions: Vec<Definition>,
}

/// The rows that are asked for, and how far they are read.
struct Rows {
    connection: PgConnection,
    stream: i16,
    first_row: i64,
    next_row: i64,
    /// The row behind the last.
    end_row: i64,
    /// Up to where time was asked, and how much is asked next, µs.
    asked_us: i64,
    width_us: i64,
    last_us: i64,
    /// Rows whose predecessors have not come yet.
    kept: BTreeMap<i64, Tick>,
    last_ns: u64,
}

impl ArchiveReader {
    /// Connects, and finds the rows.
    ///
    /// # Errors
    /// When the database cannot be asked, is no archive, or has no ticks of that stream in that time.
    pub fn open(section: &ArchiveSection) -> Result<ArchiveReader, SourceError> {
        let at = format!("archive {}, stream {}", without_secret(&section.database), section.stream);
        let failed = |what: String| SourceError::new(at.clone(), what);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(format!("no runtime: {error}")))?;
        let connected = runtime.block_on(PgConnection::connect(&section.database));
        let mut connection =
            connected.map_err(|error| failed(format!("the database cannot be reached: {error}")))?;
        let found = runtime.block_on(find(&mut connection, section));
        let Found { stream, rows, times_ns, definitions } = found.map_err(|why| failed(why.to_string()))?;
        let rows = Rows {
            connection,
            stream,
            first_row: rows.start,
            next_row: rows.start,
            end_row: rows.end,
            asked_us: times_ns.start / 1_000 - SLACK_US,
            width_us: WIDTH_US + SLACK_US,
            last_us: times_ns.end / 1_000,
            kept: BTreeMap::new(),
            last_ns: 0,
        };
        Ok(ArchiveReader { runtime, rows, at, definitions })
    }
}

/// The address without what is between a colon and `@`.
fn without_secret(address: &str) -> String {
    let Some((user, host)) = address.rsplit_once('@') else { return address.to_owned() };
    match user.rsplit_once(':').filter(|(name, _)| name.contains("//")) {
        Some((name, _)) => format!("{name}:…@{host}"),
        None => address.to_owned(),
    }
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the database refuses: {0}")]
    Database(#[from] sqlx::Error),
    #[error("there is no schema feedplane; name the database that the archiver writes")]
    NoArchive,
    #[error("no such stream; there are {0}")]
    NoStream(String),
    #[error("no ticks in it{0}; nothing to run")]
    Empty(&'static str),
    #[error("row {0} is missing: retention has removed a part of what is asked for; begin later")]
    Removed(i64),
    #[error("row {0} comes far later than its time says; it cannot be put in its place")]
    Disorder(i64),
}

struct Found {
    stream: i16,
    rows: Range<i64>,
    times_ns: Range<i64>,
    definitions: Vec<Definition>,
}

async fn find(connection: &mut PgConnection, section: &ArchiveSection) -> Result<Found, Refusal> {
    let there = sqlx::query("SELECT to_regclass('feedplane.stream_positions') IS NOT NULL AS there");
    if !there.fetch_one(&mut *connection).await?.try_get::<bool, _>("there")? {
        return Err(Refusal::NoArchive);
    }
    let named =
        sqlx::query("SELECT stream, name FROM feedplane.stream_positions WHERE kind = 'ticks' ORDER BY name");
    let streams = named.fetch_all(&mut *connection).await?;
    let names: Vec<(i16, String)> = streams
        .iter()
        .map(|row| Ok((row.try_get("stream")?, row.try_get("name")?)))
        .collect::<Result<_, sqlx::Error>>()?;
    let Some((stream, _)) = names.iter().find(|(_, name)| *name == section.stream) else {
        let names: Vec<_> = names.into_iter().map(|(_, name)| name).collect();
        return Err(Refusal::NoStream(if names.is_empty() { "none".into() } else { names.join(", ") }));
    };
    let (from, to) = (section.from_ns.map_or(0, signed), section.to_ns.map_or(i64::MAX, signed));
    let row = sqlx::query(BOUNDS).bind(stream).bind(from).bind(to).fetch_one(&mut *connection).await?;
    let bound = |column: &str| row.try_get::<Option<i64>, _>(column);
    let bounds = (bound("first")?, bound("last")?, bound("first_ns")?, bound("last_ns")?);
    let (Some(first), Some(last), Some(first_ns), Some(last_ns)) = bounds else {
        let windowed = section.from_ns.is_some() || section.to_ns.is_some();
        return Err(Refusal::Empty(if windowed { " in that time" } else { "" }));
    };
    let rows = sqlx::query(TABLE).fetch_all(&mut *connection).await?;
    let definitions = rows.iter().map(definition_of).collect::<Result<_, sqlx::Error>>()?;
    Ok(Found { stream: *stream, rows: first..last + 1, times_ns: first_ns..last_ns, definitions })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn definition_of(row: &PgRow) -> Result<Definition, sqlx::Error> {
    let publisher_id: i32 = row.try_get("publisher_id")?;
    let instrument_id: i64 = row.try_get("instrument_id")?;
    let (lot_size, channel_id): (i64, i32) = (row.try_get("lot_size")?, row.try_get("channel_id")?);
    Ok(Definition {
        key: InstrumentKey { publisher_id: publisher_id as u16, instrument_id: instrument_id as u32 },
        row: InstrumentRow {
            symbol: row.try_get("symbol")?,
            tick_size: row.try_get("tick_size")?,
            multiplier: row.try_get("multiplier")?,
            lot_size: u32::try_from(lot_size).unwrap_or(0),
            kind: row.try_get("kind")?,
            group: row.try_get("product_group")?,
            currency: row.try_get("currency")?,
            channel_id: channel_id as u16,
        },
    })
}

/// A row as the tick that it was. Unsigned numbers are stored in signed columns bit for bit.
fn tick_of(row: &PgRow) -> Result<(i64, Tick), sqlx::Error> {
    let long = |column: &str| row.try_get::<i64, _>(column);
    let int = |column: &str| row.try_get::<i32, _>(column);
    let short = |column: &str| row.try_get::<i16, _>(column);
    let letter = |column: &str| row.try_get::<i8, _>(column).map(|letter| letter as u8);
    let tick = Tick {
        ts_event: long("ts_event")? as u64,
        ts_recv: long("ts_recv")? as u64,
        sequence: long("sequence")? as u64,
        order_id: long("order_id")? as u64,
        price: long("price")?,
        size: long("size")? as u32,
        instrument_id: long("instrument_id")? as u32,
        ts_in_delta: int("ts_in_delta")?,
        publisher_id: int("publisher_id")? as u16,
        channel_id: int("channel_id")? as u16,
        action: Action(letter("action")?),
        side: Side(letter("side")?),
        flags: Flags(short("flags")? as u8),
        depth: short("depth")? as u8,
        source: Source(letter("source")?),
        clock: Clock(short("clock")? as u8),
        reserved: short("reserved")? as u16,
    };
    Ok((long("row")?, tick))
}

/// The gap of a row; its time and publisher are those of its neighbours.
fn gap_of(row: &PgRow) -> Result<Missing, sqlx::Error> {
    let reason: String = row.try_get("reason")?;
    let why = match reason.as_str() {
        "ring_full" => GapReason::RingFull,
        "spool_full" => GapReason::SpoolFull,
        "offline" => GapReason::Offline,
        _ => GapReason::Lost,
    };
    let channel_id: i32 = row.try_get("channel_id")?;
    let (first, last): (Option<i64>, Option<i64>) = (row.try_get("first")?, row.try_get("last")?);
    let (first, last) = (first.unwrap_or(0) as u64, last.unwrap_or(0) as u64);
    let tick = Tick::gap(0, channel_id as u16, first, last, 0, why);
    Ok(Missing { before_row: row.try_get("before_row")?, tick })
}

impl Rows {
    /// Asks for the next stretch of time, and gives out the rows whose turn it is, with the gaps in front of them.
    async fn chunk(&mut self, ticks: &mut Vec<Tick>) -> Result<(), Refusal> {
        let until_us = self.asked_us.saturating_add(self.width_us);
        let query = sqlx::query(TICKS).bind(self.stream).bind(self.next_row).bind(self.end_row);
        let rows = query.bind(self.asked_us).bind(until_us).fetch_all(&mut self.connection).await?;
        for row in &rows {
            let (number, tick) = tick_of(row)?;
            self.kept.insert(number, tick);
        }
        self.asked_us = until_us;
        if rows.len() > 2 * CHUNK_ROWS {
            self.width_us = (self.width_us / 2).max(1);
        } else if rows.len() < CHUNK_ROWS {
            self.width_us = (self.width_us * 2).min(WIDTH_US_MAX);
        }
        self.give(ticks).await?;
        if self.next_row < self.end_row {
            if self.asked_us > self.last_us.saturating_add(SLACK_US) {
                return Err(Refusal::Removed(self.next_row));
            }
            if self.kept.len() > KEPT_ROWS_MAX {
                return Err(Refusal::Disorder(self.next_row));
            }
        }
        Ok(())
    }

    async fn give(&mut self, ticks: &mut Vec<Tick>) -> Result<(), Refusal> {
        let from = self.next_row;
        let mut run = Vec::with_capacity(self.kept.len());
        while let Some(tick) = self.kept.remove(&self.next_row) {
            run.push(tick);
            self.next_row += 1;
        }
        // What is missing before the first row was missing before what is asked for.
        let first = from.max(self.first_row + 1);
        let query = sqlx::query(GAPS).bind(self.stream).bind(first).bind(self.next_row);
        let rows = query.fetch_all(&mut self.connection).await?;
        let mut missing: VecDeque<Missing> = rows.iter().map(gap_of).collect::<Result<_, _>>()?;
        for (number, tick) in (from..).zip(run) {
            while let Some(gap) = missing.pop_front_if(|gap| gap.before_row <= number) {
                let (ts_recv, publisher_id) = (self.last_ns, tick.publisher_id);
                ticks.push(Tick { ts_recv, publisher_id, ..gap.tick });
            }
            self.last_ns = tick.ts_recv;
            ticks.push(tick);
        }
        Ok(())
    }
}

impl Reader for ArchiveReader {
    fn read(
        &mut self,
        ticks: &mut Vec<Tick>,
        definitions: &mut VecDeque<Definition>,
    ) -> Result<bool, SourceError> {
        definitions.extend(self.definitions.drain(..));
        if self.rows.next_row >= self.rows.end_row {
            return Ok(false);
        }
        let read = self.runtime.block_on(self.rows.chunk(ticks));
        read.map_err(|why| SourceError::new(self.at.clone(), why.to_string()))?;
        Ok(true)
    }

    fn position(&self) -> Position {
        let Rows { first_row, next_row, end_row, .. } = self.rows;
        let (done, total) = (next_row - first_row, end_row - first_row);
        Position { done: done.unsigned_abs(), total: Some(total.unsigned_abs()) }
    }
}
