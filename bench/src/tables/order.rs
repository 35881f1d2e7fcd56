//! Table (j): from a tick to an order, readable in Redis and at the venue, against the original design.
//!
//! A sender puts one ITCH session on two veth pairs, line A and line B, at an even rate of ticks, stamped as the packets
//! leave. Both contenders run whole, a process for each box: feed handler, features, order-flow momentum, order line; they
//! share Redis and the cores of this machine with what measures them. An order is followed from the packet that caused it:
//! a reader, a process of its own, blocks in `XREAD` on `order_instructions`, and a sink at the other end of the order
//! line's TCP connection notes when the order's bytes came out of the socket.
//!
//! Measured are the orders that a tick caused straight away; features, reports and time bring about others.
//! Time counts from the sender's stamp for both: a Python program's own time of arrival is when it came to look.
//! The last metrics compare the hop from data plane to strategy over Redis with one over shared memory.

mod contenders;
mod followed;
mod hop;
mod sender;

use crate::harness::{Contender, Effort, Kind, Metric, Round, Row, Stage, Table, Target, measure, median};
use crate::session::Session;
use crate::sink::OrderSink;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use contenders::{Contending, Feedplane, Reference};
use followed::{Followed, Quantiles};
use std::cell::RefCell;
use std::collections::BTreeMap;

const REFERENCE: &str = "Python asyncio";
/// Ticks a second.
const RATES: [u64; 2] = [10_000, 100_000];
/// Of sending.
const SECONDS: f64 = 3.0;
/// What the reader waits for after the last packet was sent, ms.
const GRACE_MS: u64 = 2_000;

/// The stages' medians of a contender, round by round, µs.
type Stages = RefCell<BTreeMap<&'static str, Vec<f64>>>;

/// One round at one rate.
fn round<C: Contending>(
    world: &World,
    session: &Session,
    rate: u64,
    contending: &C,
    stages: &Stages,
) -> Result<Round> {
    world.empty_redis()?;
    let sink = world.network().run(OrderSink::start)?;
    let running = contending.start(world, sink.address())?;
    let within_ms = session.ticks * 1_000 / rate + sender::OPENING.as_millis() as u64 + GRACE_MS;
    let reader = world.start_reader("orders", u64::MAX, within_ms)?;
    let sent = sender::send(world.network(), session, rate)?;
    let instructions: Vec<followed::Instruction> = reader.finish()?;
    let (caused, of_features) = (followed::causes(world, C::TICKS)?, followed::of_features(world)?);
    let mut note = running.finish(stages)?;
    let arrived = sink.finish()?;
    let followed = Followed::of(session, &sent.stamps_ns, &instructions, &caused, &of_features, &arrived)
        .with_context(|| note.clone())?;
    followed.note(&mut stages.borrow_mut());
    let (readable, at_venue) = (Quantiles::of(&followed.readable_ns)?, Quantiles::of(&followed.at_venue_ns)?);
    note.push_str(&format!(
        "; {} orders, {} at the venue, {} caused by a tick and measured",
        instructions.len(),
        arrived.len(),
        followed.readable_ns.len()
    ));
    if sent.latest_ns > 1_000_000 {
        note.push_str(&format!("; the sender was up to {:.1} ms late", sent.latest_ns as f64 / 1e6));
    }
    let figures = [readable, at_venue].iter().flat_map(Quantiles::micros).collect();
    Ok(Round { figures, note: note.trim_start_matches("; ").to_owned() })
}

fn metrics(world: &World, rate: u64, effort: Effort) -> Result<Vec<Metric>> {
    // Shorter, and a smoke run on a busy machine might see no order.
    let seconds = if effort.short { 1.0 } else { SECONDS };
    let session = &Session::new((rate as f64 * seconds) as u64)?;
    let stages: [Stages; 2] = Default::default();
    let (ours, theirs) = (
        (
            "feedplane",
            "data plane on AF_XDP, features, strategy, gateway with risk, journal and leases: a process each",
        ),
        (REFERENCE, "the original design: bench/reference_asyncio, a process for each of its four parts"),
    );
    let rows = |(what, does): (&str, &str), targets: &[Target]| -> Vec<Row> {
        // Median and p99 have a target, of both distances.
        (0..6).map(|at| Row::new(what, does).aiming(if at % 3 < 2 { targets } else { &[] })).collect()
    };
    let contenders = vec![
        Contender::several(rows(ours, &[Target::TimesReference(10.0)]), || {
            round(world, session, rate, &Feedplane, &stages[0])
        }),
        Contender::several(rows(theirs, &[]), || round(world, session, rate, &Reference, &stages[1])),
    ];
    let kind =
        |(what, quantile)| Kind::lower(&format!("{what}, {quantile} at {} k ticks/s", rate / 1000), "µs");
    let kinds: Vec<Kind> = ["tick to instruction readable", "tick to order at the venue"]
        .into_iter()
        .flat_map(|what| ["median", "p99", "p99.9"].map(|quantile| kind((what, quantile))))
        .collect();
    let mut metrics = measure(&kinds, REFERENCE, effort, contenders);
    metrics.push(where_the_time_goes(rate, [ours.0, theirs.0], &stages));
    Ok(metrics)
}

/// The median of each stage, one after the other: their sum is near the median of the whole, not equal to it.
fn where_the_time_goes(rate: u64, names: [&str; 2], stages: &[Stages; 2]) -> Metric {
    let row = |(name, stages): (&str, &Stages)| {
        let stages = stages.borrow();
        let stage = |name: &&'static str| {
            let figure = median(stages.get(name)?)?;
            Some(Stage { what: (*name).to_owned(), figure })
        };
        let stages: Vec<Stage> = followed::STAGES.iter().filter_map(stage).collect();
        let whole: f64 = stages.iter().map(|stage| stage.figure).sum();
        let rounds = if stages.is_empty() { Vec::new() } else { vec![whole] };
        Row { rounds, stages, ..Row::new(name, "medians of the stages, added up") }
    };
    Metric {
        name: format!("where the time goes, at {} k ticks/s", rate / 1000),
        unit: "µs",
        better: crate::harness::Better::Lower,
        reference: REFERENCE.to_owned(),
        rows: names.into_iter().zip(stages).map(row).collect(),
    }
    .settled()
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    ensure!(
        lab::network::require_root("table (j)"),
        "it needs root and a sound kernel, for XDP and network namespaces"
    );
    let world = World::new()?;
    let mut all = Vec::new();
    for rate in RATES {
        all.extend(metrics(&world, rate, effort)?);
        all.extend(hop::metrics(&world, rate, effort));
    }
    Ok(Table { id: 'j', title: "tick to order", metrics: all })
}
