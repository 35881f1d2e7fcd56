//! The recording, and its way into the stream: as the data plane would have written it, and as fast as Redis takes it.

use super::ensure_going;
use anyhow::{Context, Result, bail, ensure};
use backtest::source::{DbnReader, Reader};
use book::Limits;
use bus::config::{FeatureSet, InstrumentKey, PriceText};
use bus::names::{self, RAW_MARKET_DATA};
use bus::{Entry, InstrumentRow};
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tick::Tick;

/// Most ticks of a recording: they are in memory and, with their features, in the private Redis. Some 4 GB in all.
const TICKS_MAX: usize = 20_000_000;
/// Most ticks in an entry, as the publisher has it.
const ENTRY_TICKS_MAX: usize = 512;
/// Entries sent to Redis at a time; its answer is waited for.
const PIPELINE_ENTRIES: usize = 64;

/// A recording of one instrument.
pub(super) struct Recording {
    pub(super) path: PathBuf,
    /// In the file's order.
    pub(super) ticks: Vec<Tick>,
    pub(super) key: InstrumentKey,
    /// What the file says of the instrument, and the command line.
    pub(super) row: InstrumentRow,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is too long, or holds another number of instruments than one.
    pub(super) fn read(path: &Path, tick_size: PriceText, multiplier: PriceText) -> Result<Recording> {
        let mut reader = DbnReader::open(path)?;
        let (mut ticks, mut definitions) = (Vec::new(), VecDeque::new());
        while reader.read(&mut ticks, &mut definitions)? {
            ensure!(ticks.len() <= TICKS_MAX, "{}: more than {TICKS_MAX} ticks; cut it", path.display());
        }
        raise_sequences(&mut ticks);
        let [definition] = definitions.make_contiguous() else {
            let have = definitions.len();
            bail!("{}: has symbols of {have} instruments; a model is trained on one here", path.display());
        };
        let key = definition.key;
        if let Some(other) = ticks.iter().find(|tick| tick.instrument_id != key.instrument_id) {
            bail!("{}: instrument {} is in it, too", path.display(), other.instrument_id);
        }
        let mut row = definition.row.clone();
        (row.tick_size, row.multiplier) = (Some(tick_size.0.0), Some(multiplier.0.0));
        Ok(Recording { path: std::path::absolute(path)?, ticks, key, row })
    }

    /// In a line.
    pub(super) fn describe(&self) -> String {
        let [first, last] = self.times_ns();
        let seconds = last.saturating_sub(first) / 1_000_000_000;
        format!(
            "{}: {} ticks of {}, {}:{:02} h from first to last",
            self.path.display(),
            self.ticks.len(),
            self.row.symbol,
            seconds / 3_600,
            seconds / 60 % 60
        )
    }

    /// The first and the last `ts_recv`, ns since the epoch.
    pub(super) fn times_ns(&self) -> [u64; 2] {
        let times = || self.ticks.iter().map(|tick| tick.ts_recv);
        [times().min().unwrap_or(0), times().max().unwrap_or(0)]
    }
}

/// A file opens with a snapshot whose records carry the numbers of the messages that the orders came with. In a stream, no
/// number of a channel goes back.
fn raise_sequences(ticks: &mut [Tick]) {
    let mut highest: HashMap<u16, u64> = HashMap::new();
    for tick in ticks {
        let highest = highest.entry(tick.channel_id).or_default();
        *highest = tick.sequence.max(*highest);
        tick.sequence = *highest;
    }
}

/// Publishes the instrument and all ticks. How many records the feature sets make of them, as calculated here.
///
/// # Errors
/// What Redis says; or it was to stop.
pub(super) fn publish(
    recording: &Recording,
    sets: &[FeatureSet],
    redis: &str,
    stop: &AtomicBool,
) -> Result<u64> {
    let mut connection = redis::Client::open(redis)?.get_connection().context("the private Redis")?;
    redis::cmd("HSET")
        .arg(names::instruments_key(recording.key.publisher_id))
        .arg(recording.key.instrument_id)
        .arg(recording.row.to_json())
        .exec(&mut connection)?;
    let mut engine = features::Engine::new(sets, Limits::default());
    let mut covered: HashMap<u16, u64> = HashMap::new();
    let mut pipeline = redis::pipe();
    let mut entries = 0;
    for ticks in recording.ticks.chunk_by(|a, b| a.channel_id == b.channel_id) {
        for ticks in ticks.chunks(ENTRY_TICKS_MAX) {
            let entry = entry_of(ticks, &mut covered);
            let command = pipeline.cmd("XADD").arg(RAW_MARKET_DATA).arg("*");
            entry.for_each_field(|name, value| {
                command.arg(name).arg(value);
            });
            command.ignore();
            entries += 1;
            ticks.iter().for_each(|tick| engine.tick(tick, &mut |_, _| {}));
            if entries % PIPELINE_ENTRIES == 0 {
                ensure_going(stop)?;
                pipeline.exec(&mut connection)?;
                pipeline.clear();
            }
        }
    }
    pipeline.exec(&mut connection)?;
    Ok(engine.number())
}

/// An entry that joins the one before it of its channel: a recording has no gaps.
fn entry_of<'a>(ticks: &'a [Tick], covered: &mut HashMap<u16, u64>) -> Entry<'a> {
    let (channel_id, first) = (ticks[0].channel_id, ticks[0].sequence);
    let last = ticks.last().map_or(first, |tick| tick.sequence);
    let first = covered.insert(channel_id, last).map_or(first, |before| first.min(before + 1));
    Entry::of_ticks(channel_id, first, last, ticks)
}
