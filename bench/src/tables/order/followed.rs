//! Each order from the packet that caused it to the venue: the stamps of sender, feed handler, strategy, reader and sink
//! brought together.

use super::contenders::Ticks;
use crate::harness::median;
use crate::session::Session;
use crate::sink::Arrived;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Largest delay that is told apart, ns.
const DELAY_MAX_NS: u64 = 1_000_000_000_000;
/// Entries asked for at a time.
const COUNT: usize = 4_096;

/// What the reader saw of an instruction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Instruction {
    /// Its id.
    pub(crate) id: String,
    /// Arrival of the tick that caused it, as the feed handler has it, ns since the epoch.
    pub(crate) cause_ns: u64,
    /// When it was made, ns since the epoch.
    pub(crate) created_ns: u64,
    /// When it could be read, ns since the epoch.
    pub(crate) readable_ns: u64,
}

/// The stages, in order. The first four are of single orders, the others of the services' own metrics; where a contender has
/// those, they are taken out of the stage that holds them.
pub(super) const STAGES: [&str; 8] = [WIRE, TO_REDIS, TO_STRATEGY, TICKS, ORDER_OUT, JOURNAL, GATEWAY, SEND];
/// From the sender to the feed handler's time of arrival.
const WIRE: &str = "wire";
/// From arrival to Redis's answer to the publisher.
pub(super) const TO_REDIS: &str = "worker, publisher, XADD";
/// From there to the strategy that has read the tick.
const TO_STRATEGY: &str = "strategy reads";
/// Both, where they cannot be told apart.
const TICKS: &str = "feed handler, Redis, strategy reads";
/// From the tick read to the instruction readable.
const ORDER_OUT: &str = "decision, XADD";
/// Writing and syncing the journal.
pub(super) const JOURNAL: &str = "journal, fsync";
/// The rest from the instruction readable to the order at the venue.
const GATEWAY: &str = "gateway reads, checks, sends";
/// All of that, where it cannot be told apart.
const SEND: &str = "sender reads, sends";

/// The sequence number behind each time of arrival: of the first tick that has it.
pub(super) fn causes(world: &World, ticks: Ticks) -> Result<HashMap<u64, u64>> {
    let mut connection = redis::Client::open(world.redis().url())?.get_connection()?;
    let (mut causes, mut from) = (HashMap::new(), "-".to_owned());
    loop {
        let mut range = redis::cmd("XRANGE");
        range.arg(bus::names::RAW_MARKET_DATA).arg(&from).arg("+").arg("COUNT").arg(COUNT);
        let reply: redis::Value = range.query(&mut connection)?;
        let records = bus::records_of_range(&reply)?;
        let Some(last) = records.last() else { return Ok(causes) };
        from = format!("({}", last.id);
        for record in records {
            let fields = record.fields?;
            ticks(&fields, &mut |recv_ns, sequence| {
                causes.entry(recv_ns).or_insert(sequence);
            })?;
        }
    }
}

/// The times of the ticks that brought about records of features.
pub(super) fn of_features(world: &World) -> Result<HashSet<u64>> {
    let mut connection = redis::Client::open(world.redis().url())?.get_connection()?;
    let mut range = redis::cmd("XRANGE");
    let reply: redis::Value =
        range.arg(bus::names::CALCULATED_FEATURES).arg("-").arg("+").query(&mut connection)?;
    let mut times = HashSet::new();
    for record in bus::records_of_range(&reply)? {
        let fields = record.fields?;
        let time = fields.iter().find(|(name, _)| *name == b"t").map(|(_, value)| *value);
        times.extend(time.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok()));
    }
    Ok(times)
}

/// The orders' delays from the sender on, and their stages.
pub(super) struct Followed {
    pub(super) readable_ns: Vec<u64>,
    pub(super) at_venue_ns: Vec<u64>,
    stages_ns: BTreeMap<&'static str, Vec<f64>>,
}

impl Followed {
    pub(super) fn of(
        session: &Session,
        stamps_ns: &[u64],
        instructions: &[Instruction],
        caused: &HashMap<u64, u64>,
        of_features: &HashSet<u64>,
        arrived: &[Arrived],
    ) -> Result<Followed> {
        let arrived: HashMap<&[u8], u64> =
            arrived.iter().map(|order| (order.cl_ord_id.trim_ascii_end(), order.time_ns)).collect();
        let mut followed =
            Followed { readable_ns: Vec::new(), at_venue_ns: Vec::new(), stages_ns: BTreeMap::new() };
        // What time, a report or a record of features brought about did not come from a tick straight away.
        let by_tick = |order: &&Instruction| order.cause_ns > 0 && !of_features.contains(&order.cause_ns);
        for order in instructions.iter().filter(by_tick) {
            let sequence = *caused.get(&order.cause_ns).context("an instruction that no tick caused")?;
            let packet = session.packet_of(sequence).context("a tick that was not sent")?;
            let sent_ns = stamps_ns[packet];
            let mut stage = |name, from_ns: u64, to_ns: u64| {
                followed.stages_ns.entry(name).or_default().push((to_ns as f64 - from_ns as f64) / 1e3);
            };
            stage(WIRE, sent_ns, order.cause_ns);
            stage(TICKS, order.cause_ns, order.created_ns);
            stage(ORDER_OUT, order.created_ns, order.readable_ns);
            followed.readable_ns.push(order.readable_ns.saturating_sub(sent_ns));
            if let Some(&at_ns) = arrived.get(order.id.as_bytes()) {
                stage(SEND, order.readable_ns, at_ns);
                followed.at_venue_ns.push(at_ns.saturating_sub(sent_ns));
            }
        }
        ensure!(!followed.readable_ns.is_empty(), "no instruction of a tick became readable");
        Ok(followed)
    }

    /// Adds this round's medians to those of the rounds before. What the services told of theirs is there already and is
    /// taken out of the stage that holds it.
    pub(super) fn note(&self, stages: &mut BTreeMap<&'static str, Vec<f64>>) {
        let parts = [(TICKS, TO_REDIS, TO_STRATEGY), (SEND, JOURNAL, GATEWAY)];
        for (&name, figures) in &self.stages_ns {
            let Some(whole) = median(figures) else { continue };
            let part = parts.iter().find(|(of, _, _)| *of == name);
            let told = part.and_then(|(_, part, rest)| Some((*stages.get(part)?.last()?, *rest)));
            match told {
                Some((part, rest)) => stages.entry(rest).or_default().push((whole - part).max(0.0)),
                None => stages.entry(name).or_default().push(whole.max(0.0)),
            }
        }
    }
}

/// Quantiles of delays, ns.
pub(super) struct Quantiles([u64; 3]);

impl Quantiles {
    pub(super) fn of(delays_ns: &[u64]) -> Result<Quantiles> {
        ensure!(!delays_ns.is_empty(), "no order came so far");
        let mut histogram = Histogram::<u64>::new_with_max(DELAY_MAX_NS, 3)?;
        delays_ns.iter().for_each(|&ns| histogram.saturating_record(ns));
        Ok(Quantiles([0.5, 0.99, 0.999].map(|quantile| histogram.value_at_quantile(quantile))))
    }

    /// Median, p99 and p99.9, µs.
    pub(super) fn micros(&self) -> [f64; 3] {
        self.0.map(|ns| ns as f64 / 1e3)
    }
}
