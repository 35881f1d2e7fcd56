//! Table (e): from a packet on the wire to its data readable in Redis, against the original design.
//!
//! A sender puts MDP 3.0 packets with one book entry each on two veth pairs, line A and line B, at an even
//! rate, stamped as they leave. The receiver under test takes both lines, drops the second copy and publishes
//! to a private Redis. A reader, a process of its own, blocks in `XREAD` and takes the time at which the data
//! is there. All of it shares the cores of this machine. A rate counts packets of the session; each is sent on
//! both lines, so twice as many arrive.

mod receivers;
mod sender;

use crate::harness::{Contender, Effort, Kind, Metric, Round, Row, Table, Target, measure};
use crate::tables::Readable;
use crate::world::World;
use anyhow::{Result, ensure};
use receivers::{Asyncio, Feedplane, Receiving, Running};

const REFERENCE: &str = "Python asyncio";
/// Packets a second.
const RATES: [u64; 2] = [10_000, 100_000];
/// Of sending.
const SECONDS: f64 = 2.0;
/// What the reader waits for after the last packet was sent, ms.
const GRACE_MS: u64 = 2_000;

/// One round at one rate.
fn round<R: Receiving>(world: &World, rate: u64, effort: Effort, receiver: &R) -> Result<Round> {
    let seconds = if effort.short { 0.2 } else { SECONDS };
    let packets = (rate as f64 * seconds) as u64;
    world.empty_redis()?;
    let running = receiver.start(world)?;
    let within_ms = (seconds * 1000.0) as u64 + GRACE_MS;
    let reader = world.start_reader(R::ENTRIES, packets, within_ms)?;
    let behind_ns = sender::send(world.network(), rate, packets)?;
    let Readable { packets: read, p50_ns, p99_ns, p999_ns, .. } = reader.finish()?;
    let mut note = running.finish()?;
    ensure!(read > 0, "nothing became readable{}{note}", if note.is_empty() { "" } else { ": " });
    if read < packets {
        let share = 100.0 * read as f64 / packets as f64;
        note.push_str(&format!(
            "; only {share:.1} % became readable within {GRACE_MS} ms of the last packet"
        ));
    }
    if behind_ns > 1_000_000 {
        note.push_str(&format!("; the sender was up to {:.1} ms late", behind_ns as f64 / 1e6));
    }
    let figures = [p50_ns, p99_ns, p999_ns].iter().map(|&ns| ns as f64 / 1e3).collect();
    Ok(Round { figures, note: note.trim_start_matches("; ").to_owned() })
}

fn contender<'a, R: Receiving + 'a>(
    (what, does): (&str, &str),
    median: &[Target],
    world: &'a World,
    rate: u64,
    effort: Effort,
    receiver: R,
) -> Contender<'a> {
    let rows = vec![Row::new(what, does).aiming(median), Row::new(what, does), Row::new(what, does)];
    Contender::several(rows, move || round(world, rate, effort, &receiver))
}

fn metrics(world: &World, rate: u64, effort: Effort) -> Vec<Metric> {
    let median: &[Target] = match rate {
        100_000 => &[Target::Figure(60.0), Target::TimesReference(10.0)],
        _ => &[],
    };
    let new = |name, median, receiver| contender(name, median, world, rate, effort, receiver);
    let contenders = vec![
        new(
            ("feedplane", "the data plane's process on AF_XDP, as `make demo` starts it"),
            median,
            Feedplane::XDP,
        ),
        new(("feedplane on sockets", "the same process without XDP"), &[], Feedplane::SOCKETS),
        contender(
            (REFERENCE, "the original design: two datagram protocols, a dict, one awaited XADD a tick"),
            &[],
            world,
            rate,
            effort,
            Asyncio { pipelined: false },
        ),
        contender(
            ("Python asyncio, pipelined", "the same, up to 512 XADDs in one pipeline"),
            &[],
            world,
            rate,
            effort,
            Asyncio { pipelined: true },
        ),
    ];
    let kind = |quantile| Kind::lower(&format!("{quantile} at {} k packets/s", rate / 1000), "µs");
    measure(&["median", "p99", "p99.9"].map(kind), REFERENCE, effort, contenders)
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    ensure!(
        lab::network::require_root("table (e)"),
        "it needs root and a sound kernel, for XDP and network namespaces"
    );
    let world = World::new()?;
    let metrics = RATES.iter().flat_map(|&rate| metrics(&world, rate, effort)).collect();
    Ok(Table { id: 'e', title: "latency", metrics })
}
