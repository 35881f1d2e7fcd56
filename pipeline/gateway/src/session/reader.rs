//! Reads the instructions of all shards and the trading state, on a thread of its own, into the session's inbox.
//!
//! Every session reads all instructions and takes those with its own name. One whose venue cannot be read is nobody's: the
//! first session of the document refuses it.

use super::inbox::{Arrived, Inbox, Item};
use crate::orders::About;
use bus::consumer::{Batch, ConsumerError, Link, Reader};
use bus::names::{ORDER_INSTRUCTIONS, TRADING_STATE, shard_stream};
use bus::{Fields, Instruction, OrderFault, StreamId, TradingMode, TradingState, records_of_range};
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::{error, warn};

/// Most entries of a stream in one read.
const ENTRIES_A_READ: usize = 256;
/// Longest wait for entries, and for room in the inbox: the delay of an end.
const WAIT: Duration = Duration::from_millis(50);

/// What the reader is started with.
pub(super) struct Reading {
    pub(super) redis: String,
    pub(super) venue: String,
    pub(super) shards: u16,
    /// Whether this session refuses what names no venue.
    pub(super) answers_strays: Arc<AtomicBool>,
    pub(super) cursors: Vec<StreamId>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) stop: Arc<AtomicBool>,
}

/// Reads until it is stopped. Redis may be gone meanwhile.
pub(super) fn read(reading: &Reading) {
    let mut said = None;
    while !reading.is_stopped() {
        match Work::begin(reading).and_then(|mut work| work.run(&mut said)) {
            Ok(()) => return,
            Err(error) => say(&mut said, &error),
        }
        std::thread::sleep(WAIT);
    }
}

/// Says what is wrong when it is another thing than before.
fn say(said: &mut Option<String>, error: &ConsumerError) {
    let text = error.to_string();
    if said.as_ref() != Some(&text) {
        error!("reading instructions: {text}; trying again");
        *said = Some(text);
    }
}

impl Reading {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn push(&self, mut item: Item) {
        while let Err(back) = self.inbox.push_within(item, WAIT) {
            if self.is_stopped() {
                return;
            }
            item = back;
        }
    }
}

struct Work<'a> {
    reading: &'a Reading,
    streams: Vec<String>,
    reader: Reader,
    link: Link,
}

impl Work<'_> {
    fn begin(reading: &Reading) -> Result<Work<'_>, ConsumerError> {
        let shards = reading.shards;
        let streams = (0..shards).map(|shard| shard_stream(ORDER_INSTRUCTIONS, shard, shards)).collect();
        let reader = Reader::new(&reading.redis, ENTRIES_A_READ)?;
        let mut work = Work { reading, streams, reader, link: Link::new(&reading.redis)? };
        // Who may trade comes before the first instruction.
        work.read_trading()?;
        for (stream, cursor) in work.streams.iter().zip(&reading.cursors) {
            work.reader.follow(stream, *cursor);
        }
        Ok(work)
    }

    /// The last trading state, and follows it from there on.
    fn read_trading(&mut self) -> Result<(), ConsumerError> {
        let mut ask = redis::cmd("XREVRANGE");
        ask.arg(TRADING_STATE).arg("+").arg("-").arg("COUNT").arg(1);
        let reply: Value = self.link.ask(&ask)?;
        let mut after = StreamId::default();
        for record in records_of_range(&reply)? {
            after = record.id;
            self.trading(record.fields.as_ref().ok());
        }
        self.reader.follow(TRADING_STATE, after);
        Ok(())
    }

    fn trading(&self, fields: Option<&Fields<'_>>) {
        let parsed = fields.map(|fields| TradingState::parse(fields.iter().copied()));
        let state = match parsed {
            Some(Ok(state)) => state,
            refused => {
                let why = match refused {
                    Some(Err(error)) => error.to_string(),
                    _ => "it has no fields".to_owned(),
                };
                error!("the trading state cannot be read, so it is halted: {why}");
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                TradingState {
                    mode: TradingMode::Halted,
                    by: "gateway".into(),
                    reason: why,
                    time_ns: now.as_nanos() as u64,
                }
            }
        };
        self.reading.push(Item::Trading(state));
    }

    fn run(&mut self, said: &mut Option<String>) -> Result<(), ConsumerError> {
        while !self.reading.is_stopped() {
            match self.reader.read(WAIT).and_then(|batch| self.take(&batch)) {
                Ok(()) => *said = None,
                // The places are kept: it goes on there.
                Err(error) => {
                    say(said, &error);
                    std::thread::sleep(WAIT);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, batch: &Batch) -> Result<(), ConsumerError> {
        for stream in &batch.restarted {
            warn!(stream, "Redis has lost what was read of the stream, in part or whole");
            if stream == TRADING_STATE {
                self.read_trading()?;
            }
        }
        let streams = batch.streams()?;
        for (_, records) in streams.iter().filter(|(stream, _)| *stream == TRADING_STATE.as_bytes()) {
            records.iter().for_each(|record| self.trading(record.fields.as_ref().ok()));
        }
        for (stream, records) in streams {
            let Some(shard) = self.streams.iter().position(|known| known.as_bytes() == stream) else {
                continue;
            };
            let Some(to) = records.last().map(|record| record.id) else { continue };
            let entries = records.iter().filter_map(|record| {
                let fields = record.fields.as_ref().map_or(&[][..], Vec::as_slice);
                Some((record.id, self.arrived(fields)?))
            });
            let entries = entries.collect();
            self.reading.push(Item::Entries { shard: shard as u16, entries, to });
        }
        Ok(())
    }

    /// What an entry is to this session; nothing when it is another's.
    fn arrived(&self, fields: &[(&[u8], &[u8])]) -> Option<Arrived> {
        let venue = text(fields, "venue").filter(|venue| !venue.is_empty());
        match venue {
            Some(venue) if venue == self.reading.venue => {}
            None if self.reading.answers_strays.load(Ordering::Acquire) => {}
            _ => return None,
        }
        Some(match Instruction::parse(fields.iter().copied()) {
            Ok(instruction) => Arrived::Instruction(Box::new(instruction)),
            Err(error) => {
                let reason = match error.what {
                    OrderFault::Version(_) => "version",
                    _ => "malformed",
                };
                Arrived::Refused { about: about(fields, error.id), reason, fault: error.to_string() }
            }
        })
    }
}

fn text<'a>(fields: &[(&[u8], &'a [u8])], name: &str) -> Option<&'a str> {
    let (_, value) = fields.iter().find(|(known, _)| *known == name.as_bytes())?;
    std::str::from_utf8(value).ok()
}

/// What can be read of an instruction that breaks the contract, so that whoever made it hears of it.
fn about(fields: &[(&[u8], &[u8])], id: Option<bus::OrderId>) -> About {
    let name = |field| {
        let text = text(fields, field).unwrap_or_default();
        let plain =
            text.len() <= bus::ORDER_NAME_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain { text.to_owned() } else { String::new() }
    };
    About {
        id,
        of: text(fields, "of").and_then(|of| of.parse().ok()),
        strategy: name("strategy"),
        symbol: name("symbol"),
        publisher_id: text(fields, "publisher").and_then(|id| id.parse().ok()).unwrap_or(0),
        instrument_id: text(fields, "instrument").and_then(|id| id.parse().ok()).unwrap_or(0),
        cause_ns: text(fields, "cause_ns").and_then(|time| time.parse().ok()).unwrap_or(0),
        side: None,
    }
}
