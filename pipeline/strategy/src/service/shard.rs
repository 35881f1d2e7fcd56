//! One shard: its host, its feed of ticks, and what waits to be published.
//!
//! ```text
//! open ─► books as kept, or none ─► orders and positions from both streams ─► catching up with the ticks ─► live
//! ```
//!
//! While it catches up, strategies are not called: a tick that is minutes old is nothing to act on, and a strategy whose
//! every wish is refused would only learn wrong things. They begin with the books, features, positions and orders of now.
//!
//! Invariant: what the host gave out is in the stream or in the outbox, in order.

use super::feed::Feed;
use super::kept::Kept;
use super::store::{OUTPUTS_A_WRITE, Store, Streams};
use super::{figures, trace};
use bus::config::InstrumentKey;
use bus::consumer::{ConsumerError, Fence, Reader, StreamInfo};
use bus::names::shard_of;
use bus::{FeatureRecord, Instruction, Record, Report, StreamId, TradingMode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use strategy::host::{Counts, Host, Output, Rebuilt, rebuild};
use strategy::models::Model;
use tracing::{info, warn};

/// Shortest time between two looks for what is not known yet: definitions, schemas.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Now, ns since the epoch.
pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
}

/// Where a shard stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Reads ticks from before; strategies are called when it has come this far.
    CatchingUp {
        /// The stream's last entry when it was opened.
        until: StreamId,
    },
    /// Strategies are called.
    Live,
}

pub(super) struct Shard {
    pub(super) streams: Streams,
    pub(super) number: u16,
    shards: u16,
    pub(super) token: u64,
    pub(super) host: Host,
    pub(super) feed: Feed,
    pub(super) phase: Phase,
    /// Why not all orders and reports could be read back; none when they were.
    pub(super) not_whole: Option<String>,
    /// How far the reports were read back.
    pub(super) reports_read: StreamId,
    /// How far features were read.
    pub(super) features_read: StreamId,
    outbox: Vec<Output>,
    /// When the books were kept, and how far they were.
    kept: Option<(Instant, StreamId)>,
    looked: Option<Instant>,
    looked_for_schemas: Option<Instant>,
    took_ticks: bool,
    /// What was shown of the host's counts.
    shown: Counts,
}

impl Shard {
    pub(super) fn new(
        streams: Streams,
        (number, shards): (u16, u16),
        token: u64,
        host: Host,
        feed: Feed,
        until: StreamId,
        features_read: StreamId,
    ) -> Shard {
        Shard {
            streams,
            number,
            shards,
            token,
            host,
            feed,
            phase: Phase::CatchingUp { until },
            not_whole: None,
            reports_read: StreamId::default(),
            features_read,
            outbox: Vec::new(),
            kept: None,
            looked: None,
            looked_for_schemas: None,
            took_ticks: false,
            shown: Counts::default(),
        }
    }

    /// Reads orders and positions back from both streams.
    pub(super) fn rebuild(&mut self, store: &mut Store) -> Result<Rebuilt, ConsumerError> {
        let (mut instructions, mut reports) = (Vec::new(), Vec::new());
        let (mut unreadable, Streams { instructions: sent, reports: told, .. }) = (0u64, &self.streams);
        // Instructions first: nobody but the owner of the lease writes them, so reports know no later one.
        store.read_whole(sent, |id, fields| match fields.map(Instruction::parse) {
            Ok(Ok(instruction)) => instructions.push((id, instruction)),
            _ => unreadable += 1,
        })?;
        self.reports_read = store.read_whole(told, |id, fields| match fields.map(Report::parse) {
            Ok(Ok(report)) => reports.push((id, report)),
            _ => unreadable += 1,
        })?;
        let rebuilt = rebuild(&mut self.host, &instructions, &reports);
        // Looked at last: what was trimmed meanwhile shows, too.
        let mut why = Vec::new();
        for stream in [sent, told] {
            why.extend(missing(stream, &store.info(stream)?));
        }
        // Whoever wrote it: the gateway could not read such an instruction either, and a report that is missing leaves a
        // hole in the numbers.
        if unreadable > 0 {
            warn!(stream = self.streams.ticks, unreadable, "instructions and reports cannot be read");
            (0..unreadable).for_each(|_| figures::refused(told));
        }
        why.extend(self.host.trouble().map(|trouble| trouble.to_string()));
        self.not_whole = (!why.is_empty()).then(|| why.join("; "));
        if self.not_whole.is_none() {
            self.host.rebuilt();
        }
        Ok(rebuilt)
    }

    /// Whether nothing waits to be published.
    pub(super) fn is_silent(&self) -> bool {
        self.host.is_silent() && self.outbox.is_empty()
    }

    pub(super) fn is_rebuilt(&self) -> bool {
        self.not_whole.is_none() && self.host.trouble().is_none()
    }

    /// Takes a record of the stream of ticks.
    pub(super) fn take_ticks(&mut self, record: Record<'_>, reader: &mut Reader) {
        let now_ns = now_ns();
        let (host, is_traced) = (&mut self.host, trace::is_on());
        self.feed.take(record, reader, &mut |tick| {
            let before = host.pending().len();
            host.tick(now_ns, tick);
            if is_traced {
                trace::caused(&host.pending()[before..], &tick.into());
            }
        });
        self.took_ticks = true;
    }

    /// Takes a record of features.
    pub(super) fn take_features(&mut self, record: Record<'_>, store: &mut Store) {
        self.features_read = record.id;
        let fields = match record.fields {
            Ok(fields) => fields,
            Err(error) => return self.refuse(&self.streams.features, record.id, &error),
        };
        match FeatureRecord::parse(fields) {
            Ok(record) => {
                if !self.host.knows_schema(record.schema_id) {
                    self.look_for_schemas(store);
                }
                let before = self.host.pending().len();
                self.host.features(now_ns(), &record);
                if trace::is_on() {
                    trace::caused(&self.host.pending()[before..], &(&record).into());
                }
            }
            Err(error) => self.refuse(&self.streams.features, record.id, &error),
        }
    }

    /// Takes a report.
    pub(super) fn take_report(&mut self, record: Record<'_>) {
        self.reports_read = record.id;
        let fields = match record.fields {
            Ok(fields) => fields,
            Err(error) => return self.refuse(&self.streams.reports, record.id, &error),
        };
        match Report::parse(fields) {
            Ok(report) => {
                if trace::is_on() {
                    trace::reported(&report);
                }
                self.host.report(now_ns(), &report);
            }
            Err(error) => {
                trace::refused(&self.streams.reports, record.id, &error);
                figures::refused(&self.streams.reports);
            }
        }
    }

    fn refuse(&self, stream: &str, id: StreamId, error: &dyn std::fmt::Display) {
        warn!(stream, %id, %error, "an entry is refused");
        figures::refused(stream);
    }

    /// Asks what values features have, now and then at most.
    pub(super) fn look_for_schemas(&mut self, store: &mut Store) {
        if self.looked_for_schemas.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked_for_schemas = Some(Instant::now());
        match store.schemas() {
            Ok(schemas) => schemas.into_iter().for_each(|(id, schema)| self.host.add_schema(id, schema)),
            Err(error) => warn!(%error, "the schemas of features cannot be read; trying again"),
        }
    }

    /// Asks for the definitions of instruments that have ticks and none, now and then at most.
    pub(super) fn look_for_definitions(&mut self, store: &mut Store) -> Result<(), ConsumerError> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.define(store)?;
        }
        Ok(())
    }

    fn define(&mut self, store: &mut Store) -> Result<(), ConsumerError> {
        for publisher_id in self.host.take_undefined() {
            self.looked = Some(Instant::now());
            let (rows, unreadable) = store.instruments(publisher_id)?;
            if unreadable > 0 {
                warn!(publisher_id, unreadable, "rows of the instrument table cannot be read");
            }
            for (instrument_id, row) in rows {
                if shard_of(instrument_id, self.shards) == self.number {
                    self.host.define(InstrumentKey { publisher_id, instrument_id }, &row);
                }
            }
        }
        Ok(())
    }

    /// Lets strategies begin, when all ticks from before were read.
    pub(super) fn go_live_when_due(&mut self, store: &mut Store) -> Result<(), ConsumerError> {
        let Phase::CatchingUp { until } = self.phase else { return Ok(()) };
        if self.feed.cursor < until {
            return Ok(());
        }
        self.define(store)?;
        self.look_for_schemas(store);
        let keys: Vec<_> = self.host.traded().collect();
        let host = &mut self.host;
        store.latest_features(&keys, |fields| {
            for record in latest_records(fields) {
                host.features(now_ns(), &record);
            }
        })?;
        self.phase = Phase::Live;
        self.host.go_live(now_ns());
        let (stream, instruments) = (&self.streams.ticks, keys.len());
        match &self.not_whole {
            None => info!(stream, instruments, open_orders = self.host.open_orders(), "live"),
            Some(why) => tracing::error!(
                stream,
                why,
                "live, but orders and positions are not known: nothing new is sent, cancels only. Stop the \
                 strategies and the gateway, say in `opening` what is owned, delete both streams and the report \
                 numbers, then start them (docs/strategy.md)"
            ),
        }
        Ok(())
    }

    pub(super) fn model(&mut self, model: &Model) {
        self.host.model(now_ns(), model);
    }

    pub(super) fn trading(&mut self, mode: Option<TradingMode>) {
        self.host.trading(now_ns(), mode);
    }

    /// Publishes what the host gave out; `false` when the lease is another's.
    pub(super) fn publish(
        &mut self,
        store: &mut Store,
        fence: Option<Fence>,
        entries_max: u64,
    ) -> Result<bool, ConsumerError> {
        self.outbox.extend(self.host.outputs());
        let Some(fence) = fence else { return Ok(false) };
        while !self.outbox.is_empty() {
            let part = &self.outbox[..self.outbox.len().min(OUTPUTS_A_WRITE)];
            if !store.publish(&fence, &self.streams, entries_max, part)? {
                figures::fenced(&self.streams.ticks);
                return Ok(false);
            }
            if trace::is_on() {
                trace::published(part);
            }
            let count = |of: fn(&Output) -> bool| part.iter().filter(|output| of(output)).count() as u64;
            for (what, count) in [
                ("new", count(|output| matches!(output, Output::Instruction(_)))),
                ("again", count(|output| matches!(output, Output::Again(_)))),
                ("denied", count(|output| matches!(output, Output::Denied(_)))),
                ("score", count(|output| matches!(output, Output::Score(_)))),
            ] {
                figures::published(&self.streams.ticks, what, count);
            }
            let done = part.len();
            self.outbox.drain(..done);
        }
        Ok(true)
    }

    /// Whether it is time to keep the books: they have changed and so much time has passed, in a quiet moment.
    pub(super) fn is_due(&self, every: Duration, quiet: bool) -> bool {
        self.kept.is_none_or(|(when, cursor)| {
            let wait = if quiet { every } else { every * 2 };
            cursor != self.feed.cursor && when.elapsed() >= wait
        })
    }

    /// Keeps the books; `false` when the lease is another's.
    pub(super) fn keep(&mut self, store: &mut Store, fence: Option<Fence>) -> Result<bool, ConsumerError> {
        let Some(fence) = fence else { return Ok(false) };
        let begun = Instant::now();
        let mut books = Vec::new();
        self.host.books().save(&mut books);
        let kept = Kept {
            token: self.token,
            cursor: self.feed.cursor,
            newest_ns: self.feed.newest_ns,
            trimmed: self.feed.trimmed,
            channels: self.feed.channels(),
            market: self.host.market().clone(),
            books,
        };
        let bytes = kept.encode();
        let is_kept = store.keep(&fence, &self.streams.ticks, &bytes)?;
        if is_kept {
            self.kept = Some((Instant::now(), self.feed.cursor));
            figures::state_kept(&self.streams.ticks, bytes.len(), begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(is_kept)
    }

    /// What it shows of now is another's to show.
    pub(super) fn is_gone(&self) {
        figures::gone(&self.streams.ticks);
        for (strategy, key, _) in self.host.positions() {
            figures::position(strategy, key.publisher_id, key.instrument_id, 0);
        }
    }

    /// Shows how far the newest tick of this turn is behind now; 0 when it brought none.
    pub(super) fn show(&mut self) {
        let behind_ns = if self.took_ticks { now_ns().saturating_sub(self.feed.newest_ns) } else { 0 };
        self.took_ticks = false;
        figures::lag(&self.streams.ticks, behind_ns as f64 / 1e6);
        figures::shard(&self.streams.ticks, &self.host, &mut self.shown);
        figures::state(&self.streams.ticks, Some(self.phase), self.is_rebuilt());
        for (strategy, key, position) in self.host.positions() {
            figures::position(strategy, key.publisher_id, key.instrument_id, position);
        }
    }
}

/// Why not all of a stream can be there, if so.
fn missing(stream: &str, info: &StreamInfo) -> Option<String> {
    match info.added {
        None => Some(format!("this Redis does not say whether {stream} was trimmed; version 7.0 does")),
        Some(added) if added > info.length => Some(format!(
            "{stream} has {} of {added} entries, its beginning was trimmed or deleted",
            info.length
        )),
        Some(_) => None,
    }
}

/// The records in a hash of latest features: fields `<set>.<field>`.
fn latest_records(fields: &BTreeMap<String, Vec<u8>>) -> Vec<FeatureRecord<'_>> {
    let mut sets: BTreeMap<&str, bus::Fields<'_>> = BTreeMap::new();
    for (name, value) in fields {
        if let Some((set, field)) = name.rsplit_once('.') {
            sets.entry(set).or_default().push((field.as_bytes(), value));
        }
    }
    sets.into_values().filter_map(|fields| FeatureRecord::parse(fields).ok()).collect()
}
