//! Table (d): ticks a second into one Redis, against one `XADD` a tick.
//!
//! Every contender writes the same 64-byte ticks to `raw_market_data` of the same private server over its unix
//! socket, trimmed by `MAXLEN ~`, and is done when the server has acknowledged the last one. The stream is
//! emptied between rounds.

use crate::harness::{Contender, Effort, Kind, Round, Row, Table, Target, measure};
use crate::python;
use anyhow::{Context, Result, ensure};
use dataplane::publisher::{Bell, Publisher, PublisherConfig};
use lab::redis_server::RedisServer;
use redis::Connection;
use serde::Deserialize;
use std::time::{Duration, Instant};
use tick::{Action, Tick};
use zerocopy::IntoBytes;

const REFERENCE: &str = "redis crate, one XADD a tick";
/// Ticks that Redis keeps.
const STREAM_TICKS: usize = 1_000_000;
/// `XADD`s that go out together.
const DEPTH: usize = 512;

/// Empties the stream and opens a connection.
fn fresh(server: &RedisServer) -> Result<Connection> {
    let mut connection = redis::Client::open(server.url())?.get_connection()?;
    redis::cmd("FLUSHALL").arg("SYNC").exec(&mut connection)?;
    Ok(connection)
}

/// What a tick of its own entry is.
fn xadd(sequence: usize) -> redis::Cmd {
    let tick = Tick { sequence: sequence as u64, ..Tick::EMPTY };
    let mut command = redis::cmd("XADD");
    command.arg(bus::names::RAW_MARKET_DATA).arg("MAXLEN").arg("~").arg(STREAM_TICKS).arg("*");
    command.arg("c").arg(1).arg("s").arg(sequence).arg("n").arg(1).arg("d").arg(tick.as_bytes());
    command
}

/// The data plane's publisher, fed through a worker's ring as fast as Redis takes it.
fn publisher(server: &RedisServer, ticks: usize) -> Result<Round> {
    /// What a worker commits at a time.
    const COMMIT: usize = 256;
    fresh(server)?;
    let (mut ring, consumer) = rtrb::RingBuffer::new(1 << 16);
    let config = PublisherConfig {
        redis_url: server.url(),
        entries_max: (STREAM_TICKS / PublisherConfig::BATCH_TICKS) as u64,
        ..PublisherConfig::default()
    };
    let publisher = Publisher::start(config, vec![consumer], Vec::new())?;
    let bell = publisher.bell();
    let burst = vec![Tick { action: Action::Add, channel_id: 1, instrument_id: 7, ..Tick::EMPTY }; COMMIT];
    let bursts = ticks.div_ceil(COMMIT);
    let began = Instant::now();
    for _ in 0..bursts {
        // A ring beyond its half goes to the spool: as fast as Redis takes it, not faster.
        while ring.slots() < ring.buffer().capacity() * 3 / 4 {
            std::thread::yield_now();
        }
        ensure!(ring.push_entire_slice(&burst).is_ok(), "the ring has room, and takes nothing");
        bell.iter().for_each(Bell::ring);
    }
    let stats = publisher.stop(Duration::from_secs(60))?;
    let elapsed = began.elapsed().as_secs_f64();
    ensure!(stats.lost == 0 && stats.published as usize == bursts * COMMIT, "not everything was published");
    let per_entry = stats.published as f64 / stats.entries as f64;
    let note =
        format!("{per_entry:.0} ticks an entry, {:.0} entries a second", stats.entries as f64 / elapsed);
    Ok(Round { figures: vec![stats.published as f64 / elapsed], note })
}

/// One command, one answer, `ticks` times.
fn one_by_one(server: &RedisServer, ticks: usize) -> Result<f64> {
    let mut connection = fresh(server)?;
    let began = Instant::now();
    for sequence in 0..ticks {
        xadd(sequence).exec(&mut connection)?;
    }
    rate(server, ticks, began)
}

/// [`DEPTH`] commands on their way at a time.
fn pipelined(server: &RedisServer, ticks: usize) -> Result<f64> {
    let mut connection = fresh(server)?;
    let began = Instant::now();
    for first in (0..ticks).step_by(DEPTH) {
        let mut pipe = redis::pipe();
        for sequence in first..ticks.min(first + DEPTH) {
            pipe.add_command(xadd(sequence)).ignore();
        }
        pipe.exec(&mut connection)?;
    }
    rate(server, ticks, began)
}

/// Ticks a second since `began`, once the server is seen to have them.
fn rate(server: &RedisServer, ticks: usize, began: Instant) -> Result<f64> {
    let elapsed = began.elapsed().as_secs_f64();
    let mut connection = redis::Client::open(server.url())?.get_connection()?;
    let entries: usize = redis::cmd("XLEN").arg(bus::names::RAW_MARKET_DATA).query(&mut connection)?;
    ensure!(entries > 0 && entries <= ticks, "{entries} entries in the stream after {ticks} ticks");
    Ok(ticks as f64 / elapsed)
}

#[derive(Deserialize)]
struct Written {
    ticks: f64,
    ns: f64,
}

fn asyncio(server: &RedisServer, ticks: usize, depth: usize) -> Result<f64> {
    fresh(server)?;
    let mut command = python::reference("asyncio_xadd.py")?;
    command.arg(server.socket()).arg(ticks.to_string()).arg(depth.to_string());
    let written: Written = python::result(&mut command)?;
    Ok(written.ticks * 1e9 / written.ns)
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let server = RedisServer::start().context("table (d) needs a private redis-server")?;
    let server = &server;
    let contenders = vec![
        Contender::several(
            vec![
                Row::new(
                    "feedplane's publisher",
                    "many ticks an entry, one transaction in flight, positions stored",
                )
                .aiming(&[Target::Figure(5e6), Target::TimesReference(20.0)]),
            ],
            || publisher(server, effort.scaled(20_000_000)),
        ),
        Contender::new(Row::new(REFERENCE, "waits for each answer"), || {
            one_by_one(server, effort.scaled(100_000))
        }),
        Contender::new(
            Row::new("redis crate, pipelined", "512 XADDs on their way at a time, each one tick"),
            || pipelined(server, effort.scaled(1_000_000)),
        ),
        Contender::new(Row::new("Python asyncio, one XADD a tick", "redis.asyncio, each awaited"), || {
            asyncio(server, effort.scaled(20_000), 1)
        }),
        Contender::new(
            Row::new("Python asyncio, pipelined", "redis.asyncio, 512 XADDs a pipeline, each one tick"),
            || asyncio(server, effort.scaled(50_000), DEPTH),
        ),
    ];
    let kinds = [Kind::higher("ticks into one Redis", "ticks/s")];
    Ok(Table { id: 'd', title: "redis", metrics: measure(&kinds, REFERENCE, effort, contenders) })
}
