//! The process: one thread that reads and one that writes.
//!
//! ```text
//!  reader thread (sync)                              writer thread (tokio)
//!  Members ─ leases ─► claim ──────────────────────► stream_positions: token, place
//!  Reader ─ entries ─► Follower ─ Batch ─► queue ──► one transaction: place, COPY
//!        ◄──────────── claimed, stored, not ours ◄──
//! ```
//!
//! Memory is bounded: nothing is read while a batch waits for its place in the queue, so what is in memory is one
//! reply of Redis and [`memory_max`] of rows. A database that is away only makes the reader wait: the stream
//! keeps what was not read, as long as it is not trimmed.

mod lag;
mod reader;
mod writer;

use crate::catalogue::News;
use crate::drop_copy::MESSAGE_BYTES_MAX;
use crate::follow::{Batch, Kind, Place};
use crate::rows::TICK_ROW_BYTES;
use crate::store::{Store, StoreError};
use bus::config::ArchiverDocument;
use bus::consumer::{ConsumerError, Lease};
use bus::names::{
    CALCULATED_FEATURES, DROP_COPY, EXECUTION_REPORTS, ORDER_INSTRUCTIONS, RAW_MARKET_DATA, TRADING_STATE,
    shard_stream,
};
use std::io;
use std::thread::JoinHandle;
use vitals::{Part, Stop, Vitals};

/// Batches that wait between the two threads.
const QUEUE: usize = 2;
/// Entries that are read at a time, of all streams of ticks and features together; of one stream at least
/// [`READ_ENTRIES_MIN`]. An entry of the others is less than one of full ticks.
const READ_ENTRIES: usize = 256;
/// Entries of one stream that are read at a time, at least.
const READ_ENTRIES_MIN: usize = 8;
/// Ticks in the fullest entry.
const ENTRY_TICKS: usize = 512;

/// Why an archiver does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Redis's address.
    #[error("redis: {0}")]
    Redis(#[from] ConsumerError),
    /// The database's address.
    #[error("database: {0}")]
    Database(#[from] StoreError),
    /// The system.
    #[error("cannot start a thread: {0}")]
    System(#[from] io::Error),
}

/// What the reader asks of the writer.
enum Work {
    Claim { kind: Kind, lease: Lease },
    Store { kind: Kind, lease: Lease, batch: Batch },
    News(News),
}

/// What the writer tells the reader.
enum Event {
    /// The stream is ours from this place on; without a place a newer lease has it.
    Claimed { lease: Lease, place: Option<Place> },
    /// A batch is in the archive.
    Stored { lease: Lease, to: bus::StreamId, entries: u64 },
    /// A batch was refused: a newer lease has the stream.
    NotOurs { lease: Lease },
}

/// The streams of a document, and what is in them.
fn streams(document: &ArchiverDocument) -> Vec<(String, Kind)> {
    let shards = document.shards;
    let of = |stream, kind| (0..shards).map(move |shard| (shard_stream(stream, shard, shards), kind));
    let drop_copy = document.drop_copy.then(|| (DROP_COPY.to_owned(), Kind::DropCopy));
    of(RAW_MARKET_DATA, Kind::Ticks)
        .chain(of(CALCULATED_FEATURES, Kind::Features))
        .chain(of(ORDER_INSTRUCTIONS, Kind::Instructions))
        .chain(of(EXECUTION_REPORTS, Kind::Reports))
        .chain([(TRADING_STATE.to_owned(), Kind::Trading)])
        .chain(drop_copy)
        .collect()
}

/// Entries of one stream that are read at a time.
fn read_entries(document: &ArchiverDocument) -> usize {
    (READ_ENTRIES / (2 * usize::from(document.shards))).max(READ_ENTRIES_MIN)
}

/// Most memory that rows take, bytes: gathering, being sorted, made from one reply, in the queue and being
/// written.
pub fn memory_max(document: &ArchiverDocument) -> usize {
    let entries = read_entries(document);
    let ticks = entries * 2 * usize::from(document.shards) * ENTRY_TICKS * TICK_ROW_BYTES;
    let messages = if document.drop_copy { entries * MESSAGE_BYTES_MAX } else { 0 };
    let batches = 3 + QUEUE + 1;
    batches * document.batch.rows_max as usize * TICK_ROW_BYTES + ticks + messages
}

/// A part of the process whose state is logged when it changes.
struct Condition {
    part: Part,
    what: &'static str,
    bad: Option<String>,
}

impl Condition {
    fn new(vitals: &Vitals, what: &'static str) -> Condition {
        Condition { part: vitals.part(what), what, bad: Some("starting".into()) }
    }

    fn is_good(&mut self) {
        if self.bad.take().is_some() {
            self.part.is_good();
            tracing::info!("{}: good", self.what);
        }
    }

    fn is_bad(&mut self, why: String) {
        if self.bad.as_ref() != Some(&why) {
            self.part.is_bad(why.clone());
            tracing::error!("{}: {why}", self.what);
            self.bad = Some(why);
        }
    }
}

/// A running archiver.
pub struct Archiver {
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Archiver {
    /// Starts it. Neither Redis nor the database need be there yet.
    ///
    /// # Errors
    /// When an address cannot be understood.
    pub fn start(document: &ArchiverDocument, vitals: &Vitals, stop: &Stop) -> Result<Archiver, StartError> {
        let store = Store::new(&document.database, document.retention)?;
        let (work, queue) = tokio::sync::mpsc::channel(QUEUE);
        let (tell, events) = std::sync::mpsc::channel();
        let reader = reader::Service::new(document, work, events, Condition::new(vitals, "redis"))?;
        let database = Condition::new(vitals, "database");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let writer = writer::Writer::new(store, queue, tell, database, stop.clone());
        let mebibytes = memory_max(document) >> 20;
        tracing::info!("rows take at most {mebibytes} MiB of memory");
        let writer = std::thread::Builder::new()
            .name("archive-writer".into())
            .spawn(move || runtime.block_on(writer.run()))?;
        let stop = stop.clone();
        let reader =
            std::thread::Builder::new().name("archive-reader".into()).spawn(move || reader.run(&stop))?;
        Ok(Archiver { reader, writer })
    }

    /// Whether one of its threads has ended.
    pub fn is_ended(&self) -> bool {
        self.reader.is_finished() || self.writer.is_finished()
    }

    /// Waits until it has ended: when the stop is asked for, what was read is stored first. `false` when a
    /// thread has died by a defect of its own.
    pub fn join(self) -> bool {
        let reader = self.reader.join();
        let writer = self.writer.join();
        reader.is_ok() && writer.is_ok()
    }
}
