//! From the entries of a shard's stream of ticks to ticks and gaps, in order and each once.
//!
//! Invariant: `cursor` and `continuity` belong together: all up to the cursor was given out, and nothing behind it. What
//! is missing was given out as a gap where its ticks would have been.

use super::figures;
use bus::consumer::{Reader, WhyMissing};
use bus::{Continuity, Entry, EntryError, Record, StreamId, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use tick::{GapReason, Tick};
use tracing::warn;

pub(super) struct Feed {
    stream: String,
    pub(super) cursor: StreamId,
    continuity: Continuity,
    pub(super) newest_ns: u64,
    /// The stream's beginning had been trimmed before it was first read: a channel that begins may have had more.
    pub(super) trimmed: bool,
    /// Where each channel was last heard of since reading began, and where that was.
    heard: BTreeMap<u16, StreamId>,
    began: StreamId,
    /// Channels that have not been heard of since Redis lost entries: a count that starts over may be lost.
    uncertain: BTreeSet<u16>,
}

impl Feed {
    /// One that begins at the stream's beginning.
    pub(super) fn anew(stream: &str, trimmed: bool) -> Feed {
        Feed {
            stream: stream.to_owned(),
            cursor: StreamId::default(),
            continuity: Continuity::new(),
            newest_ns: 0,
            trimmed,
            heard: BTreeMap::new(),
            began: StreamId::default(),
            uncertain: BTreeSet::new(),
        }
    }

    /// One that goes on behind a place.
    pub(super) fn resumed(
        stream: &str,
        cursor: StreamId,
        newest_ns: u64,
        trimmed: bool,
        channels: &[(u16, u64)],
    ) -> Feed {
        let mut feed = Feed { cursor, newest_ns, began: cursor, ..Feed::anew(stream, trimmed) };
        channels.iter().for_each(|&(channel_id, last)| feed.continuity.resume(channel_id, last));
        feed
    }

    /// Every channel and how far it came.
    pub(super) fn channels(&self) -> Vec<(u16, u64)> {
        self.continuity.channels().collect()
    }

    /// Redis has lost entries of this stream.
    pub(super) fn redis_lost_entries(&mut self) {
        self.uncertain = self.continuity.channels().map(|(channel_id, _)| channel_id).collect();
    }

    /// Takes the next record of the stream, and gives its ticks and what is missing before them.
    pub(super) fn take(&mut self, record: Record<'_>, reader: &mut Reader, give: &mut impl FnMut(&Tick)) {
        match record.fields {
            Ok(fields) => match Entry::parse(fields.iter().copied()) {
                Ok(entry) => {
                    self.take_entry(&entry, reader, give);
                    self.heard.insert(entry.channel_id, record.id);
                }
                Err(error) => self.refuse(record.id, &error, &fields, give),
            },
            Err(error) => self.refuse(record.id, &error, &[], give),
        }
        self.cursor = record.id;
    }

    fn take_entry(&mut self, entry: &Entry<'_>, reader: &mut Reader, give: &mut impl FnMut(&Tick)) {
        let channel_id = entry.channel_id;
        let uncertain = self.uncertain.remove(&channel_id);
        let mut ticks_from = 0;
        match self.continuity.check(entry) {
            Verdict::Follows | Verdict::Restarts => {}
            Verdict::Begins if self.trimmed && entry.first > 1 => {
                self.gap(channel_id, 1, entry.first - 1, give);
                figures::hole(&self.stream, WhyMissing::Trimmed.name());
            }
            Verdict::Begins => {}
            Verdict::Missing { from, to } => self.missing(channel_id, from, to, reader, give),
            // Nothing is read twice, so this is a new count whose beginning Redis lost.
            Verdict::Repeats { .. } if uncertain => {
                self.continuity.resume(channel_id, entry.last);
                let first = entry.first.saturating_sub(1).max(1);
                self.missing(channel_id, first, first, reader, give);
            }
            Verdict::Repeats { from, to } => {
                warn!(stream = self.stream, channel_id, from, to, "sequence numbers come again");
                figures::repeated_entry(&self.stream);
                ticks_from = to.saturating_add(1);
            }
        }
        if let bus::Content::Gap(why) = entry.content {
            give(&Tick::gap(0, channel_id, entry.first, entry.last, self.newest_ns, why));
        }
        for tick in entry.ticks().filter(|tick| tick.sequence >= ticks_from) {
            self.newest_ns = self.newest_ns.max(tick.ts_recv);
            give(&tick);
        }
    }

    fn missing(
        &mut self,
        channel_id: u16,
        from: u64,
        to: u64,
        reader: &mut Reader,
        give: &mut impl FnMut(&Tick),
    ) {
        let after = self.heard.get(&channel_id).copied().unwrap_or(self.began);
        let why = reader.why_missing(&self.stream, after).map_or("unknown", WhyMissing::name);
        warn!(stream = self.stream, channel_id, from, to, why, "ticks are missing");
        figures::hole(&self.stream, why);
        self.gap(channel_id, from, to, give);
    }

    /// An entry that cannot be read costs what it says it covers: the channel's books are doubtful. What it does not say
    /// shows as missing with the channel's next entry.
    fn refuse(
        &mut self,
        id: StreamId,
        error: &EntryError,
        fields: &[(&[u8], &[u8])],
        give: &mut impl FnMut(&Tick),
    ) {
        warn!(stream = self.stream, %id, %error, "an entry is refused");
        figures::refused(&self.stream);
        let number = |name: &[u8]| {
            let (_, value) = fields.iter().find(|(field, _)| *field == name)?;
            std::str::from_utf8(value).ok()?.parse::<u64>().ok()
        };
        let Some(channel_id) = number(b"c").and_then(|channel| u16::try_from(channel).ok()) else { return };
        let next = self.continuity.last(channel_id).map_or(1, |last| last.saturating_add(1));
        match (number(b"s"), number(b"l")) {
            (Some(first), Some(last)) if first <= last => self.gap(channel_id, first, last, give),
            _ => self.gap(channel_id, next, next, give),
        }
    }

    fn gap(&self, channel_id: u16, from: u64, to: u64, give: &mut impl FnMut(&Tick)) {
        give(&Tick::gap(0, channel_id, from, to, self.newest_ns, GapReason::Lost));
    }
}
