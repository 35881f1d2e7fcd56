//! Reads instructions and reports of every shard, from the streams' beginning on, and says what changed.

use super::Ledger;
use crate::live::events::{Hub, Topic};
use crate::live::now_ns;
use bus::consumer::{ConsumerError, Reader};
use bus::names::{EXECUTION_REPORTS, ORDER_INSTRUCTIONS, shard_stream};
use bus::{Instruction, Record, Report, StreamId};
use metrics::{counter, gauge};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vitals::Stop;

/// Entries of a stream that are read at a time.
const ENTRIES: usize = 1_000;
/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_millis(100);
/// Most orders and denials in one event; the rest is counted, and asked for.
const CHANGES_MAX: usize = 500;

/// The ledger and what is known of its reading.
#[derive(Debug, Default)]
struct Desks {
    ledger: Ledger,
    now: OrdersNow,
}

/// How the reading of orders stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrdersNow {
    /// Why the streams cannot be read; none when they are.
    pub trouble: Option<String>,
    /// Everything that was there at the start has been read.
    pub is_current: bool,
    /// Entries that could not be read.
    pub refused: u64,
    /// How often Redis has lost a stream.
    pub losses: u64,
    /// Reports that are missing in the numbers, trades that are in no position, open orders that are not followed.
    pub missing_reports: u64,
    /// See `missing_reports`.
    pub trades_left_out: u64,
    /// See `missing_reports`.
    pub dropped_orders: u64,
}

/// The orders of the whole pipeline, followed. Cheap to copy.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Desks>>);

impl Desk {
    /// Follows the streams of `shards` shards on a thread of its own, until it is asked to stop.
    ///
    /// # Errors
    /// When the address cannot be understood, or there is no thread.
    pub fn start(url: &str, shards: u16, hub: Arc<Hub>, stop: Stop) -> anyhow::Result<Desk> {
        let mut reader = Reader::new(url, ENTRIES)?;
        for shard in 0..shards {
            reader.follow(&shard_stream(ORDER_INSTRUCTIONS, shard, shards), StreamId::default());
            reader.follow(&shard_stream(EXECUTION_REPORTS, shard, shards), StreamId::default());
        }
        let desk = Desk::default();
        let followed = desk.clone();
        let follow = move || followed.follow(&mut reader, &hub, &stop);
        std::thread::Builder::new().name("orders".into()).spawn(follow)?;
        Ok(desk)
    }

    fn lock(&self) -> MutexGuard<'_, Desks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the ledger.
    pub fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock().ledger)
    }

    /// How the reading stands.
    pub fn now(&self) -> OrdersNow {
        let desks = self.lock();
        OrdersNow {
            missing_reports: desks.ledger.missing_reports,
            trades_left_out: desks.ledger.trades_left_out(),
            dropped_orders: desks.ledger.dropped_orders,
            ..desks.now.clone()
        }
    }

    fn follow(&self, reader: &mut Reader, hub: &Hub, stop: &Stop) {
        let mut told = Instant::now();
        while !stop.is_asked() {
            match reader.read(GATHER) {
                Ok(batch) => self.take(&batch),
                Err(error) => {
                    self.trouble(&error);
                    std::thread::sleep(GATHER);
                }
            }
            if told.elapsed() >= GATHER {
                told = Instant::now();
                self.tell(hub);
            }
        }
    }

    fn trouble(&self, error: &ConsumerError) {
        let mut desks = self.lock();
        if desks.now.trouble.is_none() {
            tracing::warn!(%error, "orders cannot be read");
        }
        desks.now.trouble = Some(error.to_string());
    }

    fn take(&self, batch: &bus::consumer::Batch) {
        let streams = match batch.streams() {
            Ok(streams) => streams,
            Err(error) => return self.trouble(&ConsumerError::Answer(error)),
        };
        let mut desks = self.lock();
        desks.now.trouble = None;
        desks.now.losses += batch.restarted.len() as u64;
        // A read that is not full has reached the end of every stream.
        let full = streams.iter().any(|(_, records)| records.len() == ENTRIES);
        let reaches_the_end = !full && batch.restarted.is_empty();
        for (name, records) in streams {
            let stream = String::from_utf8_lossy(name);
            let is_report = stream.starts_with(EXECUTION_REPORTS);
            for record in records {
                if let Err(why) = desks.ledger.read(&stream, is_report, &record) {
                    let kind = if is_report { EXECUTION_REPORTS } else { ORDER_INSTRUCTIONS };
                    counter!("feedplane_controlplane_refused_entries_total", "stream" => kind).increment(1);
                    desks.now.refused += 1;
                    tracing::debug!(%stream, id = %record.id, why, "an entry is passed over");
                }
            }
        }
        if reaches_the_end && !desks.now.is_current {
            desks.now.is_current = true;
            // What is read of the past at the start is no news.
            desks.ledger.changes(0);
        }
        gauge!("feedplane_controlplane_open_orders").set(desks.ledger.open().count() as f64);
    }

    fn tell(&self, hub: &Hub) {
        let mut desks = self.lock();
        if !desks.now.is_current || !desks.ledger.has_changes() {
            return;
        }
        let (orders, more, denials) = desks.ledger.changes(CHANGES_MAX);
        let positions = desks.ledger.positions_of(&orders);
        drop(desks);
        hub.tell(Topic::Orders, &OrdersEvent { time_ns: now_ns(), orders, more, denials, positions });
    }
}

/// What changed of orders since the event before.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct OrdersEvent {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// The orders that changed, as they are now.
    pub orders: Vec<super::Order>,
    /// So many more changed than are told here; ask `GET /v1/orders`.
    pub more: usize,
    /// New denials.
    pub denials: Vec<super::Denial>,
    /// The positions that these orders are about, as they are now.
    pub positions: Vec<super::Position>,
}

impl Ledger {
    /// Takes an entry of either stream.
    fn read(&mut self, stream: &str, is_report: bool, record: &Record<'_>) -> Result<(), String> {
        let fields = record.fields.as_ref().map_err(ToString::to_string)?.iter().copied();
        if is_report {
            self.report(stream, &Report::parse(fields).map_err(|error| error.to_string())?);
        } else {
            self.instruct(&Instruction::parse(fields).map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}
