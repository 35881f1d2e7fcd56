//! Table (h): ticks a second into the archive, against what a quant would write with psycopg.
//!
//! Every contender writes ticks of the same 500 instruments into the archive's table (with its indexes, a
//! hypertable where the server has TimescaleDB) of the same private server over its unix socket, and is done when
//! the last row is committed, durably. The table is emptied between rounds.

use crate::harness::{Contender, Effort, Kind, Round, Row, Table, Target, measure};
use crate::python;
use anyhow::{Context, Result, bail, ensure};
use archiver::follow::{Batch, Follower, Kind as StreamKind};
use archiver::store::{Store, Stored};
use bus::config::RetentionSection;
use bus::consumer::Lease;
use bus::{Entry, Record, StreamId};
use lab::postgres::PostgresServer;
use serde::Deserialize;
use sqlx::{Connection, Executor, PgConnection, Row as _};
use std::cell::Cell;
use std::io::Write;
use std::time::Instant;
use tick::{Action, Side, Tick};
use tokio::runtime::Runtime;
use zerocopy::IntoBytes;

const REFERENCE: &str = "psycopg, COPY";
/// Ticks in an entry of the stream, as in a burst.
const ENTRY_TICKS: usize = 512;
/// Rows in a transaction, as the archiver's document has it by default.
const BATCH_ROWS: u64 = 50_000;
/// Batches that wait for the connection, as in the service.
const QUEUE: usize = 2;

struct Rig {
    server: PostgresServer,
    runtime: Runtime,
    ticks: Vec<Tick>,
    /// The stream's next entry.
    next_ms: Cell<u64>,
}

/// Ticks 10 µs apart.
fn ticks(count: usize) -> Vec<Tick> {
    let tick = |at: usize| Tick {
        ts_event: 1_577_000_000_000_000_000 + at as u64 * 10_000,
        ts_recv: 1_577_000_000_000_050_000 + at as u64 * 10_000,
        sequence: at as u64 + 1,
        order_id: at as u64 * 7_919,
        price: 100_000_000_000 + (at % 1_000) as i64 * 10_000_000,
        size: (at % 300) as u32,
        instrument_id: (at * 7 % 500) as u32,
        ts_in_delta: 50_000,
        publisher_id: 2,
        channel_id: 7,
        action: [Action::Add, Action::Cancel, Action::Modify, Action::Trade][at % 4],
        side: [Side::Bid, Side::Ask][at % 2],
        ..Tick::EMPTY
    };
    (0..count).map(tick).collect()
}

impl Rig {
    fn start(count: usize) -> Result<Rig> {
        if let Some(why) = lab::postgres::unavailable() {
            bail!(why);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let rig =
            Rig { server: PostgresServer::start()?, runtime, ticks: ticks(count), next_ms: Cell::new(1) };
        rig.runtime.block_on(Store::new(&rig.server.url(), RetentionSection::default())?.check())?;
        Ok(rig)
    }

    fn sql(&self, sql: &str) -> Result<Option<i64>> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.server.url()).await?;
            let row = connection.fetch_optional(sql).await?;
            connection.close().await?;
            row.map(|row| Ok(row.try_get(0)?)).transpose()
        })
    }

    fn empty(&self) -> Result<()> {
        self.sql("TRUNCATE feedplane.ticks")?;
        self.sql("CHECKPOINT").map(drop)
    }

    /// Ticks a second, once the server is seen to have them.
    fn rate(&self, ticks: usize, seconds: f64) -> Result<f64> {
        let there = self.sql("SELECT count(*) FROM feedplane.ticks")?;
        ensure!(there == Some(ticks as i64), "{there:?} rows in the archive after {ticks} ticks");
        Ok(ticks as f64 / seconds)
    }

    /// The archiver's own way from entries to committed rows, on two threads as in the service.
    fn ours(&self) -> Result<Round> {
        self.empty()?;
        let entries: Vec<Vec<(Vec<u8>, Vec<u8>)>> = self
            .ticks
            .chunks(ENTRY_TICKS)
            .map(|ticks| {
                let (first, last) = (ticks[0].sequence, ticks[ticks.len() - 1].sequence);
                let mut fields = Vec::new();
                Entry::of_ticks(7, first, last, ticks)
                    .for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
                fields
            })
            .collect();
        let lease = Lease { stream: format!("bench-{}", self.next_ms.get()), token: self.next_ms.get() };
        self.next_ms.set(self.next_ms.get() + 1);
        let mut store = Store::new(&self.server.url(), RetentionSection::default())?;
        let place = self.runtime.block_on(store.claim(StreamKind::Ticks, &lease))?.context("the claim")?;
        let began = Instant::now();
        let (send, queue) = std::sync::mpsc::sync_channel::<Batch>(QUEUE);
        let batches = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut follower = Follower::new(StreamKind::Ticks, place);
                for (at, fields) in entries.iter().enumerate() {
                    let fields =
                        fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
                    let id = StreamId { ms: at as u64 + 1, seq: 0 };
                    follower.push(Record { id, fields: Ok(fields) }, &mut |_| None);
                    if follower.gathered().rows >= BATCH_ROWS && send.send(follower.take()).is_err() {
                        return;
                    }
                }
                // When the other side has failed, it says why.
                let _ = send.send(follower.take());
            });
            self.runtime.block_on(async {
                let mut batches = 0u32;
                while let Ok(batch) = queue.recv() {
                    ensure!(store.store(StreamKind::Ticks, &lease, &batch).await? == Stored::Yes, "refused");
                    batches += 1;
                }
                Ok(batches)
            })
        })?;
        let rate = self.rate(self.ticks.len(), began.elapsed().as_secs_f64())?;
        let kind = if self.server.has_timescaledb() { "hypertable" } else { "plain table" };
        Ok(Round { figures: vec![rate], note: format!("{batches} transactions, {kind}") })
    }

    /// A reference program in Python, which is given the ticks in a file.
    fn psycopg(&self, how: &str, count: usize) -> Result<f64> {
        self.empty()?;
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(self.ticks[..count].as_bytes())?;
        let mut command = python::reference("psycopg_rows.py")?;
        command.arg(self.server.url()).arg(file.path()).arg(how);
        let written: Written = python::result(&mut command)?;
        self.rate(count, written.ns / 1e9)
    }
}

#[derive(Deserialize)]
struct Written {
    ns: f64,
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let rig = Rig::start(effort.scaled(1_000_000)).context("table (h) needs a private PostgreSQL")?;
    let rig = &rig;
    let contenders = vec![
        Contender::several(
            vec![
                Row::new(
                    "feedplane's archiver",
                    "entries parsed, binary COPY made by hand, place and 50,000 rows a transaction",
                )
                .aiming(&[Target::Figure(300_000.0)]),
            ],
            || rig.ours(),
        ),
        Contender::new(
            Row::new(REFERENCE, "numpy to tuples, copy.write_row for each, 50,000 rows a transaction"),
            || rig.psycopg("copy", effort.scaled(200_000)),
        ),
        Contender::new(Row::new("psycopg, COPY binary", "the same with FORMAT binary and set_types"), || {
            rig.psycopg("copy-binary", effort.scaled(200_000))
        }),
        Contender::new(
            Row::new(
                "psycopg, executemany",
                "INSERT of a row each, pipelined by psycopg, 10,000 rows a transaction",
            ),
            || rig.psycopg("insert", effort.scaled(30_000)),
        ),
    ];
    let kinds = [Kind::higher("ticks into the archive", "ticks/s")];
    Ok(Table { id: 'h', title: "archive", metrics: measure(&kinds, REFERENCE, effort, contenders) })
}
