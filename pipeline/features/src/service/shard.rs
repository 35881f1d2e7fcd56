//! One stream of ticks and the engine that follows it.
//!
//! Invariant: `cursor`, `continuity` and the engine belong together. The engine has seen every entry up to
//! the cursor and none behind it, and what it gave out is published or in the outbox.

use super::figures;
use super::kept::Kept;
use super::outbox::{Numbering, Outbox};
use bus::config::FeatureSet;
use bus::consumer::{Reader, WhyMissing};
use bus::{Continuity, Entry, EntryError, Record, StreamId, Verdict};
use features::{Engine, StateError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tick::{GapReason, Tick};
use tracing::warn;

pub(super) struct Shard {
    pub(super) stream: String,
    /// The features' stream.
    pub(super) features: String,
    pub(super) token: u64,
    pub(super) cursor: StreamId,
    pub(super) outbox: Outbox,
    /// What the engine calculates. Those of another document come in when nothing is on its way.
    pub(super) sets: Vec<FeatureSet>,
    /// The last kept state: when, how far, and how it numbers.
    kept: Option<(Instant, StreamId, Numbering)>,
    engine: Engine,
    continuity: Continuity,
    newest_ns: u64,
    /// In this turn.
    took_ticks: bool,
    /// The stream's beginning had been trimmed before it was first read: a channel that begins may have had
    /// more.
    trimmed: bool,
    /// Where each channel was last heard of since reading began, and where that was.
    heard: BTreeMap<u16, StreamId>,
    began: StreamId,
    /// Channels that have not been heard of since Redis lost entries: a count that starts over may be lost.
    uncertain: BTreeSet<u16>,
}

/// What identifies the newest record in the features' stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) number: u64,
    pub(super) time_ns: u64,
}

impl Shard {
    /// One that begins at the stream's beginning.
    pub(super) fn anew(
        stream: String,
        features: String,
        token: u64,
        sets: &[FeatureSet],
        newest: Newest,
        trimmed: bool,
    ) -> Shard {
        let numbering = match newest.number {
            0 => Numbering::Counting { offset: 0 },
            last => Numbering::Silent { up_to_ns: newest.time_ns, last },
        };
        Shard {
            stream,
            features,
            token,
            cursor: StreamId::default(),
            outbox: Outbox::new(numbering, newest.number),
            sets: sets.to_vec(),
            kept: None,
            engine: Engine::new(sets, book::Limits::default()),
            continuity: Continuity::new(),
            newest_ns: 0,
            took_ticks: false,
            trimmed,
            heard: BTreeMap::new(),
            began: StreamId::default(),
            uncertain: BTreeSet::new(),
        }
    }

    /// One that goes on at a kept state, with the sets that led to it.
    pub(super) fn restored(
        stream: String,
        features: String,
        token: u64,
        newest: Newest,
        kept: Kept,
    ) -> Result<Shard, StateError> {
        let mut continuity = Continuity::new();
        kept.channels.iter().for_each(|&(channel_id, last)| continuity.resume(channel_id, last));
        Ok(Shard {
            stream,
            features,
            token,
            cursor: kept.cursor,
            outbox: Outbox::new(kept.numbering, newest.number),
            kept: None,
            engine: Engine::restore(&kept.sets, book::Limits::default(), &kept.engine)?,
            sets: kept.sets,
            continuity,
            newest_ns: kept.newest_ns,
            took_ticks: false,
            trimmed: kept.trimmed,
            heard: BTreeMap::new(),
            began: kept.cursor,
            uncertain: BTreeSet::new(),
        })
    }

    /// The state to be kept. Only when the outbox is empty: what is in it would be missing after a restart.
    pub(super) fn state(&self) -> Vec<u8> {
        debug_assert!(self.outbox.is_empty());
        let kept = Kept {
            token: self.token,
            cursor: self.cursor,
            newest_ns: self.newest_ns,
            numbering: self.outbox.numbering,
            trimmed: self.trimmed,
            channels: self.continuity.channels().collect(),
            sets: self.sets.clone(),
            engine: self.engine.save(),
        };
        kept.encode()
    }

    /// Whether other sets can come in: all that these made is in the stream, and made again after a restart.
    pub(super) fn may_change_sets(&self) -> bool {
        self.outbox.is_empty() && self.outbox.has_caught_up(self.engine.number())
    }

    /// Goes on with other sets. To be kept before anything is read: what they make is not made from an earlier state.
    pub(super) fn change_sets(&mut self, sets: &[FeatureSet]) {
        debug_assert!(self.may_change_sets());
        self.engine.change_sets(sets);
        self.sets = sets.to_vec();
        self.kept = None;
    }

    /// Whether its state was ever kept since it was opened or its sets were changed.
    pub(super) fn is_kept_at_all(&self) -> bool {
        self.kept.is_some()
    }

    /// The state is kept as it is now.
    pub(super) fn is_kept(&mut self) {
        self.kept = Some((Instant::now(), self.cursor, self.outbox.numbering));
    }

    /// Whether it is time to keep the state: it has changed, and either so much time has passed or the numbers
    /// have been settled. Never with records that are not published yet.
    pub(super) fn is_due(&self, every: Duration) -> bool {
        let due = self.kept.is_none_or(|(when, cursor, numbering)| {
            numbering != self.outbox.numbering || (cursor != self.cursor && when.elapsed() >= every)
        });
        due && self.outbox.is_empty()
    }

    /// How old the kept state is.
    pub(super) fn state_age(&self) -> Option<Duration> {
        self.kept.map(|(when, ..)| when.elapsed())
    }

    /// Shows how far the newest tick of this turn is behind now; 0 when it brought none.
    pub(super) fn show_lag(&mut self) {
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let behind_ns = if self.took_ticks { now_ns.saturating_sub(self.newest_ns) } else { 0 };
        self.took_ticks = false;
        figures::lag(&self.stream, behind_ns as f64 / 1e6);
    }

    /// Whether the engine in memory may go on although the lease was lost meanwhile: nobody else published
    /// or kept a state in between (Redis lost its memory, or we slept and nobody took the lease).
    pub(super) fn may_go_on(&self, kept: Option<&Kept>, newest: Newest) -> bool {
        kept.is_none_or(|kept| kept.token <= self.token) && newest.number <= self.outbox.highest()
    }

    /// Redis has lost entries of this stream.
    pub(super) fn redis_lost_entries(&mut self) {
        self.uncertain = self.continuity.channels().map(|(channel_id, _)| channel_id).collect();
    }

    /// Takes the next record of the stream.
    pub(super) fn take(&mut self, record: Record<'_>, reader: &mut Reader) {
        match record.fields {
            Ok(fields) => match Entry::parse(fields.iter().copied()) {
                Ok(entry) => {
                    self.take_entry(&entry, reader);
                    self.heard.insert(entry.channel_id, record.id);
                }
                Err(error) => self.refuse(record.id, &error, &fields),
            },
            Err(error) => self.refuse(record.id, &error, &[]),
        }
        self.cursor = record.id;
    }

    fn take_entry(&mut self, entry: &Entry<'_>, reader: &mut Reader) {
        let channel_id = entry.channel_id;
        let before = self.continuity.last(channel_id);
        let uncertain = self.uncertain.remove(&channel_id);
        let mut ticks_from = 0;
        match self.continuity.check(entry) {
            Verdict::Follows | Verdict::Restarts => {}
            Verdict::Begins if self.trimmed && entry.first > 1 => {
                self.gap(channel_id, 1, entry.first - 1);
                figures::hole(&self.stream, WhyMissing::Trimmed.name());
            }
            Verdict::Begins => {}
            Verdict::Missing { from, to } => self.missing(channel_id, from, to, reader),
            // Nothing is read twice, so this is a new count whose beginning Redis lost.
            Verdict::Repeats { .. } if uncertain => {
                self.continuity.resume(channel_id, entry.last);
                let first = entry.first.saturating_sub(1).max(1);
                self.missing(channel_id, first, first, reader);
            }
            Verdict::Repeats { from, to } => {
                warn!(stream = self.stream, channel_id, from, to, ?before, "sequence numbers come again");
                figures::repeated(&self.stream);
                ticks_from = to.saturating_add(1);
            }
        }
        if let bus::Content::Gap(why) = entry.content {
            self.feed(&Tick::gap(0, channel_id, entry.first, entry.last, self.newest_ns, why));
        }
        for tick in entry.ticks().filter(|tick| tick.sequence >= ticks_from) {
            self.newest_ns = self.newest_ns.max(tick.ts_recv);
            self.took_ticks = true;
            self.feed(&tick);
        }
        figures::ticks(&self.stream, entry.ticks().count() as u64);
    }

    fn missing(&mut self, channel_id: u16, from: u64, to: u64, reader: &mut Reader) {
        let after = self.heard.get(&channel_id).copied().unwrap_or(self.began);
        let why = reader.why_missing(&self.stream, after).map_or("unknown", WhyMissing::name);
        warn!(stream = self.stream, channel_id, from, to, why, "ticks are missing");
        figures::hole(&self.stream, why);
        self.gap(channel_id, from, to);
    }

    /// An entry that cannot be read costs what it says it covers: the channel's books are doubtful. What it
    /// does not say shows as missing with the channel's next entry.
    fn refuse(&mut self, id: StreamId, error: &EntryError, fields: &[(&[u8], &[u8])]) {
        warn!(stream = self.stream, %id, %error, "an entry is refused");
        figures::refused(&self.stream, error);
        let number = |name: &[u8]| {
            let (_, value) = fields.iter().find(|(field, _)| *field == name)?;
            std::str::from_utf8(value).ok()?.parse::<u64>().ok()
        };
        let Some(channel_id) = number(b"c").and_then(|channel| u16::try_from(channel).ok()) else { return };
        let next = self.continuity.last(channel_id).map_or(1, |last| last.saturating_add(1));
        match (number(b"s"), number(b"l")) {
            (Some(first), Some(last)) if first <= last => self.gap(channel_id, first, last),
            _ => self.gap(channel_id, next, next),
        }
    }

    fn gap(&mut self, channel_id: u16, from: u64, to: u64) {
        self.feed(&Tick::gap(0, channel_id, from, to, self.newest_ns, GapReason::Lost));
    }

    fn feed(&mut self, tick: &Tick) {
        let outbox = &mut self.outbox;
        self.engine.tick(tick, &mut |set, record| outbox.add(set, record));
    }
}
