//! Table (a): what a received packet costs, and how many a second can be taken.
//!
//! A veth pair in a namespace of its own carries 100-byte frames that the kernel itself makes, faster than any
//! receiver takes them. The generator has the last core, the receiver the first. Two figures for each:
//!
//! - **draining**: the queue is filled while nobody reads, the generator rests, and the receiver alone takes
//!   what waits. This is the receiver's own cost.
//! - **top rate**: the generator never rests. What the receiver takes in a second.
//!
//! Every receiver reads the sequence number of each packet, Python excepted, which only counts.

mod asyncio;
mod receivers;
mod wire;

use crate::harness::{Contender, Effort, Kind, Round, Row, Table, Target, measure};
use anyhow::{Result, ensure};
use receivers::{Kernel, OneByOne, Take, Xdp};
use std::time::{Duration, Instant};
use wire::Wire;

const REFERENCE: &str = "recvmmsg";
/// Fillings of the queue that a draining figure is taken from.
const FILLINGS: usize = 10;
/// Packets that a receiver is asked for at a time.
const BUDGET: usize = 64;
/// Before counting begins at the top rate.
const WARM_UP: Duration = Duration::from_millis(200);
/// Of counting.
const COUNTING: Duration = Duration::from_secs(1);
/// How late the first packet may be on a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// Draining, then the top rate, of a receiver that `open` opens for each.
fn round<T: Take>(wire: &Wire, effort: Effort, open: impl Fn(&Wire) -> Result<T> + Sync) -> Result<Round> {
    let (cost, mut note) = wire.inside(|| drain(wire, effort, &open))?;
    let (rate, idle) = wire.inside(|| top_rate(wire, effort, &open))?;
    if idle > 0.1 {
        note.push_str(&format!("; at the top rate it found nothing in {:.0} % of its polls", idle * 100.0));
    }
    Ok(Round { figures: vec![cost, rate], note })
}

/// ns a packet, and what there is to say of it.
fn drain<T: Take>(wire: &Wire, effort: Effort, open: impl Fn(&Wire) -> Result<T>) -> Result<(f64, String)> {
    let mut receiver = open(wire)?;
    let (mut taken, mut ns) = (0, 0);
    for _ in 0..effort.scaled(FILLINGS) {
        while receiver.take(BUDGET) > 0 {}
        wire.fill()?;
        let filled = Instant::now();
        let mut began = filled;
        // On a busy machine the first may be late; the time runs from when it is there.
        let mut got = receiver.take(BUDGET);
        while got == 0 && filled.elapsed() < LATE {
            began = Instant::now();
            got = receiver.take(BUDGET);
        }
        while got > 0 {
            taken += got;
            got = receiver.take(BUDGET);
        }
        ns += began.elapsed().as_nanos();
    }
    ensure!(taken > 0, "nothing arrived");
    let per_filling = taken / effort.scaled(FILLINGS);
    Ok((ns as f64 / taken as f64, format!("{}; {per_filling} packets a queue", receiver.mode())))
}

/// Packets a second, and the share of polls that found nothing.
fn top_rate<T: Take>(wire: &Wire, effort: Effort, open: impl Fn(&Wire) -> Result<T>) -> Result<(f64, f64)> {
    let mut receiver = open(wire)?;
    let flood = wire.flood()?;
    let counting = if effort.short { COUNTING / 20 } else { COUNTING };
    let warm = Instant::now();
    while warm.elapsed() < WARM_UP {
        receiver.take(BUDGET);
    }
    let (mut taken, mut polls, mut empty) = (0_usize, 0_u64, 0_u64);
    let began = Instant::now();
    let elapsed = loop {
        for _ in 0..16 {
            let got = receiver.take(BUDGET);
            taken += got;
            polls += 1;
            empty += u64::from(got == 0);
        }
        let elapsed = began.elapsed();
        if elapsed >= counting && (taken > 0 || elapsed >= LATE) {
            break elapsed;
        }
    };
    flood.stop()?;
    ensure!(taken > 0, "nothing arrived");
    Ok((taken as f64 / elapsed.as_secs_f64(), empty as f64 / polls as f64))
}

/// The receiver of the worker alone with what fills its queue: for the table that asks what disturbs it.
pub(super) struct Alone(Wire);

impl Alone {
    /// Where it runs. Nothing else is to run there.
    pub(super) const CORE: usize = wire::RECEIVER_CORE;

    /// Makes its wire.
    pub(super) fn new() -> Result<Alone> {
        Ok(Alone(Wire::new()?))
    }

    /// What a packet costs it, ns, and what there is to say of it.
    pub(super) fn drain(&self, effort: Effort) -> Result<(f64, String)> {
        self.0.inside(|| drain(&self.0, effort, Xdp::open))
    }
}

fn rows(what: &str, does: &str, cost: &[Target]) -> Vec<Row> {
    vec![Row::new(what, does).aiming(cost), Row::new(what, does)]
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    ensure!(
        lab::network::require_root("table (a)"),
        "it needs root and a sound kernel, for XDP and network namespaces"
    );
    let wire = &Wire::new()?;
    let contenders = vec![
        Contender::several(
            rows(
                "AF_XDP",
                "feedplane's receiver: steered in the driver, checksum and metadata checked, in place",
                &[Target::Figure(40.0), Target::TimesReference(20.0)],
            ),
            || round(wire, effort, Xdp::open),
        ),
        Contender::several(
            rows(REFERENCE, "feedplane's fallback: 64 datagrams a call, kernel timestamps", &[]),
            || round(wire, effort, Kernel::open),
        ),
        Contender::several(rows("recv", "one datagram a call, no timestamps", &[]), || {
            round(wire, effort, OneByOne::open)
        }),
        Contender::several(
            rows("Python asyncio", "a datagram protocol that counts, as in the original design", &[]),
            || asyncio::round(wire, effort),
        ),
    ];
    let kinds = [
        Kind::lower("receiver alone, draining a full queue", "ns/packet"),
        Kind::higher("top rate", "packets/s"),
    ];
    Ok(Table { id: 'a', title: "receiver", metrics: measure(&kinds, REFERENCE, effort, contenders) })
}
