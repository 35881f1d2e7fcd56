//! Turns the entries of one stream into rows and knows the place that those rows lead to.
//!
//! No socket and no clock in here: bytes of entries in, rows in COPY format out, so that it is tested and
//! measured alone. Why something is missing is asked of the caller, who can ask Redis.
//!
//! Entries of orders are in `orders`. Invariant: the rows of a stream are numbered 1, 2, 3 … in the order of the stream, and a [`Batch`] holds
//! with its rows the place behind them; the two are only ever stored together. Within a batch, ticks lie by
//! instrument: then a query for one instrument finds its rows on few pages, and the server's index is written
//! from one end to the other, which is a third of its work saved.

mod orders;

use crate::drop_copy::DropCopy;
use crate::order_rows;
use crate::rows::{self, GapRow, TICK_ROW_BYTES};
use bus::consumer::WhyMissing;
use bus::{Content, Continuity, Entry, FeatureRecord, Fields, Record, StreamId, Verdict, reason_name};
use bus::{Instruction, Report, TradingState};
pub use orders::Told;
use std::collections::BTreeMap;

/// What the entries of a stream are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Of `raw_market_data`.
    Ticks,
    /// Of `calculated_features`.
    Features,
    /// Of `order_instructions`.
    Instructions,
    /// Of `execution_reports`.
    Reports,
    /// Of `trading_state`.
    Trading,
    /// Of `drop_copy`.
    DropCopy,
}

impl Kind {
    /// As it is stored: its table's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ticks => "ticks",
            Kind::Features => "features",
            Kind::Instructions => "order_instructions",
            Kind::Reports => "execution_reports",
            Kind::Trading => "trading_state",
            Kind::DropCopy => "drop_copy",
        }
    }

    /// The statement that takes its rows.
    pub fn copy(self) -> &'static str {
        match self {
            Kind::Ticks => rows::COPY_TICKS,
            Kind::Features => rows::COPY_FEATURES,
            Kind::Instructions => order_rows::COPY_INSTRUCTIONS,
            Kind::Reports => order_rows::COPY_REPORTS,
            Kind::Trading => order_rows::COPY_TRADING,
            Kind::DropCopy => order_rows::COPY_DROP_COPY,
        }
    }

    /// Whether its entries say nothing of what is missing before them.
    pub fn is_unnumbered(self) -> bool {
        matches!(self, Kind::Instructions | Kind::Trading | Kind::DropCopy)
    }
}

/// How far the archive has a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The stream's number in the archive.
    pub stream: i16,
    /// The last entry that is archived.
    pub entry: StreamId,
    /// The number of the next row.
    pub next_row: u64,
    /// Of ticks: the last sequence number covered on each channel.
    pub channels: BTreeMap<u16, u64>,
    /// Of features: the last record's number; 0 before the first.
    pub number: u64,
    /// Of reports: the last of each venue.
    pub venues: BTreeMap<String, Told>,
}

impl Place {
    /// A stream's beginning.
    pub fn beginning(stream: i16) -> Place {
        Place {
            stream,
            entry: StreamId::default(),
            next_row: 1,
            channels: BTreeMap::new(),
            number: 0,
            venues: BTreeMap::new(),
        }
    }
}

/// Rows of one stream that are stored in one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The place that the archive must be at for this to be stored.
    pub from: StreamId,
    /// The place that the rows lead to.
    pub to: Place,
    /// Rows for the table of the stream's kind, in COPY format.
    pub data: Vec<u8>,
    /// How many.
    pub rows: u64,
    /// Rows for the table of gaps, in COPY format.
    pub gaps: Vec<u8>,
    /// How many, by reason.
    pub gap_counts: BTreeMap<&'static str, u64>,
    /// Reports that were archived before, and left out.
    pub repeats: u64,
    /// Entries that went into it.
    pub entries: u64,
}

impl Batch {
    fn from(place: Place, room: usize) -> Batch {
        Batch {
            from: place.entry,
            to: place,
            data: Vec::with_capacity(room),
            rows: 0,
            gaps: Vec::new(),
            gap_counts: BTreeMap::new(),
            repeats: 0,
            entries: 0,
        }
    }

    /// How much it is, in rows of ticks: what the size of a batch is counted in, whatever its rows are.
    pub fn weight(&self) -> u64 {
        ((self.data.len() + self.gaps.len()) / TICK_ROW_BYTES) as u64
    }

    /// Memory that its rows take, bytes.
    pub fn bytes(&self) -> usize {
        self.data.capacity() + self.gaps.capacity()
    }
}

/// Follows one stream from a place on.
pub struct Follower {
    kind: Kind,
    continuity: Continuity,
    /// The last entry of each channel; 0 stands for all of a features stream.
    last_entries: BTreeMap<u16, StreamId>,
    /// The last entry of each venue's reports.
    last_reports: BTreeMap<String, StreamId>,
    /// Redis has lost the stream or a part of it, and its entries do not tell.
    is_lost: bool,
    /// The last entry that was refused: what is missing right behind it is what it held.
    refused: StreamId,
    resumed: StreamId,
    batch: Batch,
    /// Of the ticks in the batch: instrument, and which row of the batch.
    order: Vec<(u32, u32)>,
}

/// An entry that was refused, to be logged.
pub type Refused = String;

impl Follower {
    /// Goes on at a place of the archive.
    pub fn new(kind: Kind, place: Place) -> Follower {
        let mut continuity = Continuity::new();
        for (&channel, &last) in &place.channels {
            continuity.resume(channel, last);
        }
        Follower {
            kind,
            continuity,
            last_entries: BTreeMap::new(),
            last_reports: BTreeMap::new(),
            is_lost: false,
            refused: StreamId::default(),
            resumed: place.entry,
            order: Vec::new(),
            batch: Batch::from(place, 0),
        }
    }

    /// What has gathered so far.
    pub fn gathered(&self) -> &Batch {
        &self.batch
    }

    /// Takes what has gathered; the next begins behind it.
    pub fn take(&mut self) -> Batch {
        if self.kind == Kind::Ticks {
            self.batch.data = by_instrument(&self.batch.data, &mut self.order);
        }
        let next = Batch::from(self.batch.to.clone(), self.batch.data.len());
        std::mem::replace(&mut self.batch, next)
    }

    /// Redis has lost the stream or a part of it. Where numbers tell what is missing, nothing more is to be said; where
    /// there are none, a row of gaps before the next entry says it.
    pub fn lost(&mut self) {
        self.is_lost = self.kind.is_unnumbered();
    }

    /// Takes one entry of the stream. `why` is asked for what is missing behind an entry.
    pub fn push(
        &mut self,
        record: Record<'_>,
        why: &mut dyn FnMut(StreamId) -> Option<WhyMissing>,
    ) -> Option<Refused> {
        let id = record.id;
        if std::mem::take(&mut self.is_lost) {
            self.gap(id, None, None, "redis_lost", "entries have no numbers that would tell how many");
        }
        let taken = match record.fields {
            Ok(fields) => self.entry(id, fields, why),
            Err(error) => Err(error.to_string()),
        };
        self.batch.to.entry = id;
        self.batch.entries += 1;
        let error = taken.err()?;
        self.refused = id;
        self.gap(id, None, None, "malformed", &error);
        Some(format!("entry {id}: {error}"))
    }

    fn entry(
        &mut self,
        id: StreamId,
        fields: Fields<'_>,
        why: &mut dyn FnMut(StreamId) -> Option<WhyMissing>,
    ) -> Result<(), String> {
        match self.kind {
            Kind::Ticks => self.ticks(id, &Entry::parse(fields).map_err(|error| error.to_string())?, why),
            Kind::Features => {
                let record = FeatureRecord::parse(fields).map_err(|error| error.to_string())?;
                self.feature(id, &record, why);
            }
            Kind::Instructions => {
                let instruction = Instruction::parse(fields).map_err(|error| error.to_string())?;
                self.row(|out, stream, row| order_rows::push_instruction(out, stream, row, &instruction));
            }
            Kind::Reports => {
                let report = Report::parse(fields).map_err(|error| error.to_string())?;
                self.report(id, &report, why)?;
            }
            Kind::Trading => {
                let state = TradingState::parse(fields).map_err(|error| error.to_string())?;
                self.row(|out, stream, row| order_rows::push_trading(out, stream, row, &state));
            }
            Kind::DropCopy => {
                let copy = DropCopy::parse(&fields)?;
                if copy.lost > 0 {
                    let detail = format!("{} messages found no room at the gateway", copy.lost);
                    self.venue_gap(id, copy.venue, None, "lost", &detail);
                    return Ok(());
                }
                self.row(|out, stream, row| order_rows::push_drop_copy(out, stream, row, &copy));
            }
        }
        Ok(())
    }

    /// Appends one row.
    fn row(&mut self, push: impl FnOnce(&mut Vec<u8>, i16, u64)) {
        let Batch { data, rows, to, .. } = &mut self.batch;
        push(data, to.stream, to.next_row);
        to.next_row += 1;
        *rows += 1;
    }

    fn ticks(
        &mut self,
        id: StreamId,
        entry: &Entry<'_>,
        why: &mut dyn FnMut(StreamId) -> Option<WhyMissing>,
    ) {
        let channel = entry.channel_id;
        match self.continuity.check(entry) {
            Verdict::Missing { from, to } => {
                let reason = self.why(channel, why);
                self.gap(id, Some(channel), Some((from, to)), reason, "");
            }
            Verdict::Repeats { from, to } => {
                self.gap(id, Some(channel), Some((from, to)), "repeated", "numbers that were there before");
            }
            Verdict::Begins | Verdict::Follows | Verdict::Restarts => {}
        }
        if let Some(last) = self.continuity.last(channel) {
            self.batch.to.channels.insert(channel, last);
        }
        self.last_entries.insert(channel, id);
        if let Content::Gap(reason) = entry.content {
            self.gap(id, Some(channel), Some((entry.first, entry.last)), reason_name(reason), "");
            return;
        }
        let Batch { data, rows, to, .. } = &mut self.batch;
        for tick in entry.ticks() {
            self.order.push((tick.instrument_id, *rows as u32));
            rows::push_tick(data, to.stream, to.next_row, &tick);
            to.next_row += 1;
            *rows += 1;
        }
    }

    fn feature(
        &mut self,
        id: StreamId,
        record: &FeatureRecord<'_>,
        why: &mut dyn FnMut(StreamId) -> Option<WhyMissing>,
    ) {
        let (before, number) = (self.batch.to.number, record.number);
        if before != 0 && number > before + 1 {
            let reason = self.why(0, why);
            self.gap(id, None, Some((before + 1, number - 1)), reason, "");
        } else if before != 0 && number <= before {
            let detail = format!("the count went back from {before} to {number}");
            self.gap(id, None, None, "restarted", &detail);
        }
        self.last_entries.insert(0, id);
        self.batch.to.number = number;
        self.row(|out, stream, row| rows::push_feature(out, stream, row, record));
    }

    /// Why numbers are missing behind the last entry of a channel.
    fn why(&self, channel: u16, ask: &mut dyn FnMut(StreamId) -> Option<WhyMissing>) -> &'static str {
        self.why_behind(self.last_entries.get(&channel).copied(), ask)
    }

    /// Why numbers are missing behind an entry, or behind where reading began.
    fn why_behind(
        &self,
        entry: Option<StreamId>,
        ask: &mut dyn FnMut(StreamId) -> Option<WhyMissing>,
    ) -> &'static str {
        let after = entry.unwrap_or(self.resumed);
        if self.refused > after {
            return "malformed";
        }
        ask(after).map_or("unknown", WhyMissing::name)
    }

    fn gap(
        &mut self,
        entry: StreamId,
        channel_id: Option<u16>,
        range: Option<(u64, u64)>,
        reason: &'static str,
        detail: &str,
    ) {
        let before_row = self.batch.to.next_row;
        self.push_gap(&GapRow { entry, before_row, channel_id, range, reason, detail, venue: None });
    }

    fn push_gap(&mut self, gap: &GapRow<'_>) {
        rows::push_gap(&mut self.batch.gaps, self.batch.to.stream, gap);
        *self.batch.gap_counts.entry(gap.reason).or_default() += 1;
    }
}

/// The rows by instrument, those of each in the order in which they were. `order` is left empty.
fn by_instrument(data: &[u8], order: &mut Vec<(u32, u32)>) -> Vec<u8> {
    order.sort_unstable();
    let mut sorted = Vec::with_capacity(data.len());
    for (_, row) in order.drain(..) {
        let at = row as usize * TICK_ROW_BYTES;
        sorted.extend_from_slice(&data[at..at + TICK_ROW_BYTES]);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Quality;
    use tick::{GapReason, Tick};

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    fn fields(entry: &Entry<'_>) -> Fields {
        let mut fields = Vec::new();
        entry.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
        fields
    }

    fn ticks(first: u64, count: u64) -> Fields {
        let ticks: Vec<Tick> =
            (first..first + count).map(|sequence| Tick { sequence, channel_id: 7, ..Tick::EMPTY }).collect();
        fields(&Entry::of_ticks(7, first, first + count - 1, &ticks))
    }

    fn feature(number: u64) -> Fields {
        let record = FeatureRecord {
            number,
            publisher_id: 1,
            instrument_id: 2,
            time_ns: 3,
            channel_id: 7,
            sequence: 5,
            schema_id: 6,
            quality: Quality::GOOD,
            values: &[0; 16],
        };
        let mut fields = Vec::new();
        record.for_each_field(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
        fields
    }

    /// Pushes entries with ids 1-0, 2-0, …; nothing in the stream is older than what is asked for.
    fn follow(kind: Kind, entries: &[Fields]) -> (Batch, Vec<String>) {
        let mut follower = Follower::new(kind, Place::beginning(3));
        let mut refused = Vec::new();
        for (at, fields) in entries.iter().enumerate() {
            let fields = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            let record = Record { id: StreamId { ms: at as u64 + 1, seq: 0 }, fields: Ok(fields) };
            refused.extend(follower.push(record, &mut |_| Some(WhyMissing::Trimmed)));
        }
        (follower.take(), refused)
    }

    #[test]
    fn rows_are_numbered_and_the_place_behind_them_is_known() {
        let (batch, refused) = follow(Kind::Ticks, &[ticks(10, 3), ticks(13, 2)]);
        assert!(refused.is_empty() && batch.gaps.is_empty());
        assert_eq!((batch.rows, batch.entries, batch.data.len()), (5, 2, 5 * TICK_ROW_BYTES));
        assert_eq!(batch.to.entry, StreamId { ms: 2, seq: 0 });
        assert_eq!((batch.to.next_row, batch.to.channels.get(&7)), (6, Some(&14)));
    }

    #[test]
    fn the_rows_of_a_batch_lie_by_instrument_and_keep_their_numbers() {
        let ticks = [5, 3, 5, 3, 4].map(|instrument_id| Tick { instrument_id, channel_id: 7, ..Tick::EMPTY });
        let (batch, _) = follow(Kind::Ticks, &[fields(&Entry::of_ticks(7, 0, 0, &ticks))]);
        let numbers: Vec<u8> = batch.data.chunks(TICK_ROW_BYTES).map(|row| row[2 + 12 + 11]).collect();
        assert_eq!(numbers, [2, 4, 5, 1, 3]);
    }

    #[test]
    fn declared_and_undeclared_gaps_become_rows_with_their_reason() {
        let gap = fields(&Entry::of_gap(7, 13, 20, GapReason::RingFull));
        let (batch, _) = follow(Kind::Ticks, &[ticks(10, 3), gap, ticks(25, 1), ticks(11, 1)]);
        let reasons: Vec<_> = batch.gap_counts.into_iter().collect();
        assert_eq!(reasons, [("repeated", 1), ("ring_full", 1), ("trimmed", 1)]);
    }

    #[test]
    fn a_refused_entry_is_named_and_what_it_held_is_called_malformed() {
        let mut cut = ticks(13, 2);
        cut[4].1.pop();
        let (batch, refused) = follow(Kind::Ticks, &[ticks(10, 3), cut, ticks(15, 1), ticks(17, 1)]);
        assert_eq!(refused.len(), 1);
        assert!(refused[0].starts_with("entry 2-0: n says 2 ticks, d holds 127 bytes"), "{refused:?}");
        let reasons: Vec<_> = batch.gap_counts.into_iter().collect();
        assert_eq!(reasons, [("malformed", 2), ("trimmed", 1)]);
        assert_eq!(batch.rows, 5);
    }

    #[test]
    fn holes_in_the_numbers_of_features_become_rows_and_a_new_count_loses_nothing() {
        let entries = [feature(5), feature(6), feature(9), feature(1), feature(2), vec![]];
        let (batch, refused) = follow(Kind::Features, &entries);
        let reasons: Vec<_> = batch.gap_counts.into_iter().collect();
        assert_eq!(reasons, [("malformed", 1), ("restarted", 1), ("trimmed", 1)]);
        assert_eq!((batch.rows, batch.to.number, batch.to.next_row), (5, 2, 6));
        assert_eq!(refused, ["entry 6-0: field `v` is missing"]);
    }

    #[test]
    fn the_next_batch_begins_where_the_last_one_ended() {
        let mut follower = Follower::new(Kind::Ticks, Place::beginning(0));
        for (ms, fields) in [(1, ticks(1, 1)), (2, ticks(2, 1))] {
            let fields = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            follower.push(Record { id: StreamId { ms, seq: 0 }, fields: Ok(fields) }, &mut |_| None);
            let batch = follower.take();
            assert_eq!((batch.from.ms, batch.to.entry.ms, batch.to.next_row), (ms - 1, ms, ms + 1));
        }
    }
}
