//! The streams as the data plane writes them, in one go.

use anyhow::Result;
use bus::names::{self, RAW_MARKET_DATA};
use bus::{Entry, InstrumentRow};
use std::collections::HashMap;
use tick::{Instrument, Tick};

/// Most ticks in an entry, as the publisher has it.
const ENTRY_TICKS_MAX: usize = 512;
/// Entries sent to Redis at a time.
const PIPELINE_ENTRIES: usize = 256;

/// Writes `ticks` to the shards' streams: entries of one channel each, of sizes between 1 and 512 ticks, that
/// say which sequence numbers they cover, so that each joins the one before. Returns entries written by shard.
///
/// # Errors
/// What Redis says.
pub fn ticks(url: &str, shards: u16, ticks: &[Tick]) -> Result<Vec<usize>> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    (0..shards).map(|shard| write_shard(&mut connection, shard, shards, ticks)).collect()
}

/// Writes the instrument table.
///
/// # Errors
/// What Redis says.
pub fn instruments(url: &str, instruments: &[Instrument]) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    for instrument in instruments {
        redis::cmd("HSET")
            .arg(names::instruments_key(instrument.publisher_id))
            .arg(instrument.instrument_id)
            .arg(InstrumentRow::from(instrument).to_json())
            .exec(&mut connection)?;
    }
    Ok(())
}

fn write_shard(connection: &mut redis::Connection, shard: u16, shards: u16, ticks: &[Tick]) -> Result<usize> {
    let stream = names::shard_stream(RAW_MARKET_DATA, shard, shards);
    let ticks: Vec<Tick> = ticks.iter().filter(|tick| is_in(tick, shard, shards)).copied().collect();
    let mut writer = Writer { connection, stream, pipeline: redis::pipe(), entries: 0 };
    // Where each channel of the stream stands.
    let mut covered: HashMap<u16, u64> = HashMap::new();
    let mut rest = ticks.as_slice();
    while !rest.is_empty() {
        let (own, behind) = rest.split_at(entry_length(rest, writer.entries));
        rest = behind;
        if let Some(entry) = silence_before(&own[0], &covered) {
            writer.add(&entry)?;
        }
        writer.add(&entry_of(own, &mut covered))?;
    }
    writer.send()?;
    Ok(writer.entries)
}

/// Entries on their way into a stream, some hundred at a time.
struct Writer<'a> {
    connection: &'a mut redis::Connection,
    stream: String,
    pipeline: redis::Pipeline,
    entries: usize,
}

impl Writer<'_> {
    fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let command = self.pipeline.cmd("XADD").arg(&self.stream).arg("*");
        entry.for_each_field(|name, value| {
            command.arg(name).arg(value);
        });
        command.ignore();
        self.entries += 1;
        if self.entries.is_multiple_of(PIPELINE_ENTRIES) { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        self.pipeline.exec(self.connection)?;
        self.pipeline.clear();
        Ok(())
    }
}

/// What lies between the channel's last entry and a gap and yielded no tick in this shard: an entry without ticks.
fn silence_before(tick: &Tick, covered: &HashMap<u16, u64>) -> Option<Entry<'static>> {
    let (from, ..) = tick.as_gap()?;
    let next = covered.get(&tick.channel_id)? + 1;
    (next < from).then(|| Entry::of_ticks(tick.channel_id, next, from - 1, &[]))
}

/// Gaps and channel clears are in every shard.
fn is_in(tick: &Tick, shard: u16, shards: u16) -> bool {
    tick.as_gap().is_some()
        || bus::is_channel_clear(tick)
        || names::shard_of(tick.instrument_id, shards) == shard
}

/// How many of the first ticks make an entry: of one channel, a gap alone, a channel clear first.
fn entry_length(ticks: &[Tick], number: usize) -> usize {
    if ticks[0].as_gap().is_some() {
        return 1;
    }
    // Sizes as in bursts and in quiet times, the same in every run.
    let wanted = 1 + (number * 7_919) % ENTRY_TICKS_MAX;
    let ends = |tick: &Tick| {
        tick.channel_id != ticks[0].channel_id || tick.as_gap().is_some() || bus::is_channel_clear(tick)
    };
    let own = ticks.iter().skip(1).take(wanted - 1).take_while(|tick| !ends(tick)).count();
    1 + own
}

fn entry_of<'a>(ticks: &'a [Tick], covered: &mut HashMap<u16, u64>) -> Entry<'a> {
    let channel_id = ticks[0].channel_id;
    if let Some((from, to, why)) = ticks[0].as_gap() {
        covered.insert(channel_id, to);
        return Entry::of_gap(channel_id, from, to, why);
    }
    let last = ticks.iter().map(|tick| tick.sequence).max().unwrap_or_default();
    let lowest = ticks.iter().map(|tick| tick.sequence).min().unwrap_or_default();
    let first = match covered.get(&channel_id) {
        Some(&before) if !bus::is_channel_clear(&ticks[0]) => lowest.min(before + 1),
        _ => lowest,
    };
    covered.insert(channel_id, last);
    Entry::of_ticks(channel_id, first, last, ticks)
}
