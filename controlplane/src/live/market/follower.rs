//! The follower of one shard: reads its ticks from the beginning, its features from now on, and shows what is watched.
//!
//! Invariant: the books have seen every entry up to the reader's cursor, in order, or a gap for what was not there. When
//! Redis has lost the stream, everything begins again with what is left of it.

use super::view::{BookView, FeatureValues, Print, TapeView, features_event, tape_event};
use super::{InstrumentKey, Market, Watched};
use crate::live::now_ns;
use book::{Books, Limits};
use bus::consumer::{Batch, ConsumerError, Link, Reader, StreamInfo};
use bus::names::{CALCULATED_FEATURES, FEATURE_SCHEMAS, RAW_MARKET_DATA, shard_stream};
use bus::{Content, Continuity, Entry, FeatureRecord, FeatureSchema, Record, StreamId, Verdict};
use metrics::counter;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tick::{GapReason, Tick};
use tracing::{debug, info, warn};

/// Entries of a stream that are read at a time: 4 MiB of ticks when they are full.
const ENTRIES: usize = 128;
/// Longest wait for ticks: how late a new watch is noticed.
const WAIT: Duration = Duration::from_millis(50);
/// How often an instrument is shown at most.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// How often one without news is shown, so that its age is seen.
const SHOW_ANYHOW: Duration = Duration::from_secs(1);
/// Trades of an instrument that are kept.
const TRADES_MAX: usize = 100;
/// Schemas that are kept; feature sets are a few.
const SCHEMAS_MAX: usize = 256;
/// How soon a schema that was not there is asked for again.
const SCHEMA_AGAIN: Duration = Duration::from_secs(1);

/// Starts the follower of a shard. It ends by itself when nothing of the shard is watched any more.
pub(super) fn start(market: Market, shard: u16) -> anyhow::Result<()> {
    let mut follower = Follower::new(&market.0.url, shard, market.0.shards)?;
    std::thread::Builder::new().name(format!("market-{shard}")).spawn(move || {
        info!(stream = follower.ticks, "somebody looks: ticks are followed");
        while let Some(watched) = market.still_watched(shard) {
            follower.turn(&watched);
        }
        info!(stream = follower.ticks, "nobody looks any more");
    })?;
    Ok(())
}

/// What is kept of an instrument besides its book.
#[derive(Default)]
struct Kept {
    ts_recv_ns: u64,
    /// Newest first.
    trades: VecDeque<Print>,
    /// How many of them came since they were last shown.
    new_trades: usize,
    changed: bool,
    shown: Option<Instant>,
    features: BTreeMap<String, FeatureValues>,
    new_features: Vec<String>,
}

struct Follower {
    reader: Reader,
    link: Link,
    ticks: String,
    features: String,
    limits: Limits,
    books: Books,
    continuity: Continuity,
    /// By publisher and instrument: of every instrument that has traded or is watched.
    kept: HashMap<InstrumentKey, Kept>,
    newest_ns: u64,
    /// The last read found the end of the stream.
    is_current: bool,
    /// Redis cannot be asked.
    trouble: bool,
    /// The features' stream is followed from where it ended.
    follows_features: bool,
    schemas: HashMap<u64, Result<FeatureSchema, Instant>>,
}

/// The shard's part of what the books of a whole feed take, and some more: shards are not equally full.
fn limits(shards: u16) -> Limits {
    let all = Limits::default();
    let part = |whole: usize| (whole * 2 / usize::from(shards.max(2))).max(1 << 12);
    Limits { instruments: part(all.instruments), orders: part(all.orders), levels: part(all.levels), ..all }
}

impl Follower {
    fn new(url: &str, shard: u16, shards: u16) -> Result<Follower, ConsumerError> {
        let ticks = shard_stream(RAW_MARKET_DATA, shard, shards);
        let mut reader = Reader::new(url, ENTRIES)?;
        reader.follow(&ticks, StreamId::default());
        Ok(Follower {
            reader,
            link: Link::new(url)?,
            features: shard_stream(CALCULATED_FEATURES, shard, shards),
            ticks,
            limits: limits(shards),
            books: Books::new(limits(shards)),
            continuity: Continuity::new(),
            kept: HashMap::new(),
            newest_ns: 0,
            is_current: false,
            trouble: false,
            follows_features: false,
            schemas: HashMap::new(),
        })
    }

    /// Reads once and shows what is due.
    fn turn(&mut self, watched: &[Arc<Watched>]) {
        for one in watched {
            self.kept.entry(one.key).or_default();
        }
        match self.read(watched) {
            Ok(()) => self.trouble = false,
            Err(error) => {
                if !self.trouble {
                    warn!(stream = self.ticks, %error, "ticks cannot be read");
                }
                (self.trouble, self.is_current) = (true, false);
                std::thread::sleep(WAIT);
            }
        }
        for one in watched {
            self.show(one);
        }
    }

    fn read(&mut self, watched: &[Arc<Watched>]) -> Result<(), ConsumerError> {
        if !self.follows_features {
            let end = StreamInfo::ask(&mut self.link, &self.features)?.last;
            self.reader.follow(&self.features, end);
            self.follows_features = true;
        }
        let batch = self.reader.read(WAIT)?;
        if batch.restarted.contains(&self.ticks) {
            self.begin_again();
            return Ok(());
        }
        self.take(&batch, watched)
    }

    /// Redis has lost the stream: what is left of it is read from its beginning.
    fn begin_again(&mut self) {
        warn!(stream = self.ticks, "Redis has lost the stream; its books begin again");
        self.books = Books::new(self.limits);
        self.continuity = Continuity::new();
        self.kept.values_mut().for_each(|kept| kept.changed = true);
        self.reader.leave(&self.ticks);
        self.reader.follow(&self.ticks, StreamId::default());
        self.is_current = false;
    }

    fn take(&mut self, batch: &Batch, watched: &[Arc<Watched>]) -> Result<(), ConsumerError> {
        let mut ticks = 0;
        for (name, records) in batch.streams()? {
            if name == self.ticks.as_bytes() {
                ticks = records.len();
                records.into_iter().for_each(|record| self.entry(record));
            } else {
                records.into_iter().for_each(|record| self.feature(record, watched));
            }
        }
        self.is_current = ticks < ENTRIES;
        Ok(())
    }

    fn entry(&mut self, record: Record<'_>) {
        let id = record.id;
        let refused = match record.fields {
            Ok(fields) => match Entry::parse(fields.iter().copied()) {
                Ok(entry) => return self.apply_entry(&entry),
                Err(error) => {
                    self.doubt(&fields);
                    error
                }
            },
            Err(error) => error,
        };
        counter!("feedplane_controlplane_refused_entries_total", "stream" => RAW_MARKET_DATA).increment(1);
        debug!(stream = self.ticks, %id, error = %refused, "an entry is passed over");
    }

    /// An entry that cannot be read makes its channel's books doubtful.
    fn doubt(&mut self, fields: &[(&[u8], &[u8])]) {
        let channel = fields.iter().find(|(name, _)| *name == b"c").map(|(_, value)| *value);
        let channel = channel.and_then(|value| std::str::from_utf8(value).ok()?.parse::<u16>().ok());
        if let Some(channel_id) = channel {
            let next = self.continuity.last(channel_id).map_or(1, |last| last.saturating_add(1));
            self.gap(channel_id, next, next);
        }
    }

    fn apply_entry(&mut self, entry: &Entry<'_>) {
        let mut from = 0;
        match self.continuity.check(entry) {
            Verdict::Begins | Verdict::Follows | Verdict::Restarts => {}
            Verdict::Missing { from, to } => self.gap(entry.channel_id, from, to),
            Verdict::Repeats { to, .. } => from = to.saturating_add(1),
        }
        if let Content::Gap(_) = entry.content {
            self.gap(entry.channel_id, entry.first, entry.last);
        }
        for tick in entry.ticks().filter(|tick| tick.sequence >= from) {
            self.newest_ns = self.newest_ns.max(tick.ts_recv);
            self.apply(&tick);
        }
    }

    fn gap(&mut self, channel_id: u16, from: u64, to: u64) {
        self.apply(&Tick::gap(0, channel_id, from, to, self.newest_ns, GapReason::Lost));
    }

    fn apply(&mut self, tick: &Tick) {
        let applied = self.books.apply(tick);
        if applied.channel_changed {
            self.kept.values_mut().for_each(|kept| kept.changed = true);
        }
        if tick.instrument_id == 0 {
            return;
        }
        let key = InstrumentKey { publisher_id: tick.publisher_id, instrument_id: tick.instrument_id };
        if let Some(trade) = &applied.trade {
            // As many instruments as have books.
            if self.kept.len() < self.limits.instruments || self.kept.contains_key(&key) {
                let kept = self.kept.entry(key).or_default();
                kept.trades.push_front(Print::of(trade, tick));
                kept.trades.truncate(TRADES_MAX);
                kept.new_trades = (kept.new_trades + 1).min(TRADES_MAX);
            }
        }
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.ts_recv_ns = kept.ts_recv_ns.max(tick.ts_recv);
            kept.changed = true;
        }
    }

    fn feature(&mut self, record: Record<'_>, watched: &[Arc<Watched>]) {
        let parsed = record.fields.ok().and_then(|fields| FeatureRecord::parse(fields).ok());
        let Some(record) = parsed else {
            counter!("feedplane_controlplane_refused_entries_total", "stream" => CALCULATED_FEATURES)
                .increment(1);
            return;
        };
        let key = InstrumentKey { publisher_id: record.publisher_id, instrument_id: record.instrument_id };
        if !watched.iter().any(|one| one.key == key) {
            return;
        }
        let Some(schema) = self.schema(record.schema_id) else { return };
        let values = FeatureValues::new(schema, &record);
        let Some(kept) = self.kept.get_mut(&key) else { return };
        if !kept.new_features.contains(&values.set) {
            kept.new_features.push(values.set.clone());
        }
        if kept.features.len() < SCHEMAS_MAX || kept.features.contains_key(&values.set) {
            kept.features.insert(values.set.clone(), values);
        }
    }

    /// The schema of a record. One that cannot be had is asked for again after a while.
    fn schema(&mut self, id: u64) -> Option<&FeatureSchema> {
        let known = match self.schemas.get(&id) {
            Some(Ok(_)) => true,
            Some(Err(asked)) => asked.elapsed() < SCHEMA_AGAIN,
            None => false,
        };
        if !known {
            if self.schemas.len() >= SCHEMAS_MAX {
                self.schemas.clear();
            }
            let mut ask = redis::cmd("HGET");
            ask.arg(FEATURE_SCHEMAS).arg(format!("{id:016x}"));
            let json: Option<Vec<u8>> = self.link.ask(&ask).ok().flatten();
            let schema = json.and_then(|json| serde_json::from_slice::<FeatureSchema>(&json).ok());
            // Its name is the sum of what it says.
            let schema = schema.filter(|schema| schema.id() == id);
            self.schemas.insert(id, schema.ok_or_else(Instant::now));
        }
        self.schemas.get(&id).and_then(|schema| schema.as_ref().ok())
    }

    /// Shows an instrument when something has changed and it is time.
    fn show(&mut self, watched: &Watched) {
        let is_current = self.is_current;
        let Some(kept) = self.kept.get_mut(&watched.key) else { return };
        let since = kept.shown.map_or(Duration::MAX, |shown| shown.elapsed());
        let is_first = is_current && !*watched.current.borrow();
        let is_due = since >= SHOW_ANYHOW || (kept.changed && since >= SHOW_EVERY) || is_first;
        if !is_due && (kept.new_features.is_empty() || since < SHOW_EVERY) {
            return;
        }
        kept.shown = Some(Instant::now());
        kept.changed = false;
        let doubt = match (self.trouble, is_current) {
            (true, _) => Some("unreachable"),
            (false, false) => Some("behind"),
            (false, true) => None,
        };
        let key = watched.key;
        let book = self.books.find(key.publisher_id, key.instrument_id).map(|id| self.books.book(id));
        let book = match book {
            Some(book) => BookView::of(&book, kept.ts_recv_ns, self.newest_ns).doubted(doubt),
            None => BookView::unknown(key, doubt.unwrap_or("nothing_seen")),
        };
        let new_trades = std::mem::take(&mut kept.new_trades).min(kept.trades.len());
        let trades: Vec<Print> = kept.trades.iter().cloned().collect();
        let tape_event = (new_trades > 0).then(|| tape_event(key, &trades[..new_trades])).flatten();
        let tape = TapeView {
            time_ns: now_ns(),
            publisher_id: key.publisher_id,
            instrument_id: key.instrument_id,
            trades,
            is_current,
        };
        let new: Vec<String> = std::mem::take(&mut kept.new_features);
        let sets: Vec<&FeatureValues> = new.iter().filter_map(|set| kept.features.get(set)).collect();
        let features_event = if sets.is_empty() { None } else { features_event(key, sets) };
        let events = [book.event(), tape_event, features_event];
        {
            let mut seen = watched.seen();
            seen.book = Some(Arc::new(book));
            seen.tape = Some(Arc::new(tape));
            seen.features.clone_from(&kept.features);
        }
        for event in events.into_iter().flatten() {
            counter!("feedplane_controlplane_events_total", "topic" => event.topic.word()).increment(1);
            // Nobody listens: a request has looked.
            let _ = watched.events.send(event);
        }
        if is_first {
            watched.current.send_replace(true);
        }
    }
}
