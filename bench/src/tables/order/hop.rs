//! The trial in table (j): one hop from the data plane to a strategy on the same machine, over Redis and over shared memory.
//!
//! One thread pushes ticks at an even rate, each with its time; a reader, a process of its own, counts from that time.

use crate::harness::{Contender, Effort, Kind, Metric, Round, Row, measure};
use crate::lane::LaneWriter;
use crate::processes::sleep_exactly;
use crate::tables::Readable;
use crate::world::{Reader, World, beside_this};
use anyhow::{Context, Result, ensure};
use dataplane::publisher::{Bell, Publisher, PublisherConfig};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tick::{Action, Tick};

const REFERENCE: &str = "Redis";
/// Of sending.
const SECONDS: f64 = 2.0;
/// What the reader waits for after the last tick was sent, ms.
const GRACE_MS: u64 = 2_000;
/// Ticks that wait for the publisher at most, as the data plane has it.
const RING_TICKS: usize = 1 << 16;

/// Gives what is due to `push`, a tick at a time, and calls it with none when a batch is whole.
fn pace(rate: u64, ticks: u64, mut push: impl FnMut(Option<&Tick>) -> Result<()>) -> Result<()> {
    sleep_exactly();
    let began = Instant::now();
    let mut sent = 0;
    while sent < ticks {
        let passed_ns = began.elapsed().as_nanos() as u64;
        let due = (passed_ns * rate / 1_000_000_000 + 1).min(ticks);
        if sent == due {
            push(None)?;
            let next_ns = sent * 1_000_000_000 / rate;
            std::thread::sleep(Duration::from_nanos(next_ns.saturating_sub(passed_ns)));
            continue;
        }
        while sent < due {
            sent += 1;
            let ts_recv = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
            let tick = Tick {
                ts_recv,
                sequence: sent,
                action: Action::Add,
                channel_id: 1,
                instrument_id: 7,
                ..Tick::EMPTY
            };
            push(Some(&tick))?;
        }
    }
    push(None)
}

fn round_of(reader: Reader, ticks: u64, note: &str) -> Result<Round> {
    let Readable { packets, p50_ns, p99_ns, p999_ns, .. } = reader.finish()?;
    ensure!(packets > 0, "nothing was read");
    let missed = if packets == ticks {
        String::new()
    } else {
        format!("; {} of {ticks} ticks missed", ticks - packets)
    };
    let figures = [p50_ns, p99_ns, p999_ns].iter().map(|&ns| ns as f64 / 1e3).collect();
    Ok(Round { figures, note: format!("{note}{missed}") })
}

fn within_ms(ticks: u64, rate: u64) -> u64 {
    ticks * 1_000 / rate + GRACE_MS
}

/// Worker's ring, publisher's thread, `XADD`, `XREAD` of another process.
fn over_redis(world: &World, rate: u64, ticks: u64) -> Result<Round> {
    world.empty_redis()?;
    let (mut ring, consumer) = rtrb::RingBuffer::new(RING_TICKS);
    let config = PublisherConfig { redis_url: world.redis().url(), ..PublisherConfig::default() };
    let publisher = Publisher::start(config, vec![consumer], Vec::new())?;
    // What gathers while it connects is not the hop.
    while !publisher.stats().connected {
        std::thread::sleep(Duration::from_millis(1));
    }
    let reader = world.start_reader("ticks", ticks, within_ms(ticks, rate))?;
    let bell = publisher.bell();
    pace(rate, ticks, |tick| match tick {
        Some(tick) => {
            ring.push(*tick).ok().context("the publisher is too slow")?;
            bell.iter().for_each(Bell::ring);
            Ok(())
        }
        None => Ok(()),
    })?;
    let round = round_of(reader, ticks, "")?;
    publisher.stop(Duration::from_secs(60))?;
    Ok(round)
}

/// The ring of shared memory, read by another process.
fn over_memory(world: &World, rate: u64, ticks: u64, entries: &str) -> Result<Round> {
    // A file of tmpfs is memory and nothing else; where there is none, the page cache does.
    let shared = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let path = shared.path().join("lane");
    let mut writer = LaneWriter::create(&path)?;
    let mut command = Command::new(beside_this("feedplane-bench-reader")?);
    command.arg("--redis").arg(&path).args(["--entries", entries, "--packets", &ticks.to_string()]);
    command.args(["--within-ms", &within_ms(ticks, rate).to_string()]);
    let reader = Reader::start(world.network().command(&mut command))?;
    pace(rate, ticks, |tick| {
        match tick {
            Some(tick) => writer.push(tick),
            None => writer.publish(),
        }
        Ok(())
    })?;
    round_of(reader, ticks, "")
}

/// The metrics at one rate.
pub(super) fn metrics(world: &World, rate: u64, effort: Effort) -> Vec<Metric> {
    let seconds = if effort.short { 0.2 } else { SECONDS };
    let ticks = (rate as f64 * seconds) as u64;
    let rows =
        |what: &str, does: &str| vec![Row::new(what, does), Row::new(what, does), Row::new(what, does)];
    let contenders = vec![
        Contender::several(
            rows(REFERENCE, "a worker's ring, the publisher, XADD, XREAD in another process"),
            || over_redis(world, rate, ticks),
        ),
        Contender::several(
            rows(
                "shared memory, reader asleep",
                "a ring in a file that both map; the reader sleeps on a futex",
            ),
            || over_memory(world, rate, ticks, "lane-sleeping"),
        ),
        Contender::several(
            rows("shared memory, reader spinning", "the same; the reader never gives up its core"),
            || over_memory(world, rate, ticks, "lane-spinning"),
        ),
    ];
    let kind = |quantile| {
        Kind::lower(&format!("one hop to another process, {quantile} at {} k ticks/s", rate / 1000), "µs")
    };
    measure(&["median", "p99", "p99.9"].map(kind), REFERENCE, effort, contenders)
}
