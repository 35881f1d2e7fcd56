//! A look into Redis as a person would take it: XRANGE, the first ticks, the instruments, and how long it
//! took from the wire.

use super::name_of;
use super::world::World;
use anyhow::{Context, Result};
use redis::{Connection, Value as Reply};
use serde_json::Value;
use std::collections::HashMap;
use tick::{Action, GapReason, Tick};
use venue::session::Channel;

/// Entries read by one XRANGE.
const PAGE: usize = 500;
/// Ticks shown.
const TICKS_SHOWN: usize = 8;

/// An entry of the stream, kept.
pub(super) struct Record {
    pub(super) channel_id: u16,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) content: Kept,
}

impl Record {
    pub(super) fn ticks(&self) -> &[Tick] {
        match &self.content {
            Kept::Ticks(ticks) => ticks,
            Kept::Gap(_) => &[],
        }
    }
}

pub(super) enum Kept {
    Ticks(Vec<Tick>),
    Gap(GapReason),
}

pub(super) fn connect(world: &World) -> Result<Connection> {
    redis::Client::open(world.redis_url()?)?.get_connection().context("the demo's Redis")
}

/// Everything in the stream, in order.
pub(super) fn read_stream(world: &World) -> Result<Vec<Record>> {
    let mut connection = connect(world)?;
    let mut records = Vec::new();
    let mut from = "-".to_owned();
    loop {
        let mut range = redis::cmd("XRANGE");
        range.arg(bus::names::RAW_MARKET_DATA).arg(&from).arg("+").arg("COUNT").arg(PAGE);
        let reply: Reply = range.query(&mut connection)?;
        let page = bus::entries_of_range(&reply)?;
        let Some(last) = page.last() else { return Ok(records) };
        from = format!("({}", last.id);
        for at in &page {
            let entry = at.entry.as_ref().map_err(|error| anyhow::anyhow!("entry {}: {error}", at.id))?;
            let content = match entry.content {
                bus::Content::Gap(why) => Kept::Gap(why),
                bus::Content::Ticks(_) => Kept::Ticks(entry.ticks().collect()),
            };
            let (channel_id, first, last) = (entry.channel_id, entry.first, entry.last);
            records.push(Record { channel_id, first, last, content });
        }
    }
}

/// The latency distribution, from the arrival of an entry's oldest packet to Redis's answer.
pub(super) fn latency(status: &Value) {
    let latency = &status["publisher"]["latency"];
    let micros = |name: &str| latency[name].as_u64().unwrap_or(0) as f64 / 1e3;
    println!("\nWire to Redis, from a packet's arrival to Redis's answer ({} entries)", latency["count"]);
    let buckets: Vec<(u64, u64)> = serde_json::from_value(latency["buckets"].clone()).unwrap_or_default();
    let most = buckets.iter().map(|&(_, count)| count).max().unwrap_or(1).max(1);
    for (up_to_ns, count) in &buckets {
        let bar = "█".repeat((count * 50).div_ceil(most) as usize);
        println!("  ≤ {:>9.1} µs {count:>8}  {bar}", *up_to_ns as f64 / 1e3);
    }
    println!(
        "  p50 {:.1} µs   p90 {:.1} µs   p99 {:.1} µs   p99.9 {:.1} µs   max {:.1} µs",
        micros("p50_ns"),
        micros("p90_ns"),
        micros("p99_ns"),
        micros("p999_ns"),
        micros("max_ns")
    );
}

/// Prints the first entries as redis-cli would show them, and the first ticks as a person reads them.
pub(super) fn stream(world: &World, records: &[Record], channels: &[Channel]) -> Result<()> {
    let mut connection = connect(world)?;
    let stream = bus::names::RAW_MARKET_DATA;
    println!("\nXRANGE {stream} - + COUNT 3    (of {} entries)", records.len());
    let reply: Reply =
        redis::cmd("XRANGE").arg(stream).arg("-").arg("+").arg("COUNT").arg(3).query(&mut connection)?;
    for at in bus::entries_of_range(&reply)? {
        let Ok(entry) = at.entry else { continue };
        let (c, s, l) = (entry.channel_id, entry.first, entry.last);
        match entry.content {
            bus::Content::Gap(why) => {
                println!("  {}  c {c}  s {s}  l {l}  g {}", at.id, bus::reason_name(why));
            }
            bus::Content::Ticks(bytes) => {
                println!(
                    "  {}  c {c}  s {s}  l {l}  n {}  d <{} bytes>",
                    at.id,
                    entry.ticks().count(),
                    bytes.len()
                );
            }
        }
    }
    let of_the_book = |tick: &&Tick| !matches!(tick.action, Action::Status | Action::None | Action::Clear);
    let ticks: Vec<Tick> =
        records.iter().flat_map(Record::ticks).filter(of_the_book).take(TICKS_SHOWN).copied().collect();
    let symbols = symbols(&mut connection, &ticks)?;
    println!("\nThe first ticks of the book");
    for tick in &ticks {
        println!("  {}", told(tick, name_of(channels, tick.channel_id), &symbols));
    }
    Ok(())
}

/// One tick in words.
fn told(tick: &Tick, channel: &str, symbols: &HashMap<u32, String>) -> String {
    let symbol = symbols.get(&tick.instrument_id).map_or("?", String::as_str);
    format!(
        "{channel} #{:<6} {:<8}{:<7}{:<5}{:>10} × {:<6} order {:<8} line {:?}, stamped by {:?}, {:?}",
        tick.sequence,
        symbol,
        format!("{:?}", tick.action),
        format!("{:?}", tick.side),
        tick.price().to_string(),
        if tick.size == Tick::SIZE_UNDEFINED { "all".into() } else { tick.size.to_string() },
        tick.order_id,
        tick.source,
        tick.clock,
        tick.flags,
    )
}

pub(super) fn symbols(connection: &mut Connection, ticks: &[Tick]) -> Result<HashMap<u32, String>> {
    let mut symbols = HashMap::new();
    for tick in ticks {
        if symbols.contains_key(&tick.instrument_id) {
            continue;
        }
        let mut get = redis::cmd("HGET");
        get.arg(bus::names::instruments_key(tick.publisher_id)).arg(tick.instrument_id);
        let row: Option<String> = get.query(connection)?;
        let row: Value = row.and_then(|row| serde_json::from_str(&row).ok()).unwrap_or_default();
        symbols.insert(tick.instrument_id, row["symbol"].as_str().unwrap_or("?").to_owned());
    }
    Ok(symbols)
}
