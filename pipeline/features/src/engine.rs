//! The engine: who gets a tick, and when a record leaves.

use crate::instrument::{Event, Instrument};
use crate::plan::Plan;
use book::{BookId, Books, Limits, Refusal};
use bus::config::FeatureSet;
use bus::{FeatureRecord, FeatureSchema, Quality};
use tick::{Action, Flags, Tick};

/// Gaps and clears of one channel, counted. An instrument takes notice with its next tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) gaps: u64,
    pub(crate) clears: u64,
}

/// All features of one stream of ticks.
///
/// Memory: the books' ([`Limits`]), 1 MiB for the channels, and for each instrument that a set covers its
/// windows, up to 96 bytes a bar.
pub struct Engine {
    pub(crate) plans: Vec<Plan>,
    pub(crate) schemas: Vec<FeatureSchema>,
    pub(crate) books: Books,
    /// By channel id.
    pub(crate) channels: Vec<Channel>,
    /// By book id.
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) number: u64,
    /// The values of the record that leaves, in bytes.
    values: Vec<u8>,
}

impl Engine {
    /// An engine that has seen nothing. The sets are those of a valid document.
    pub fn new(sets: &[FeatureSet], limits: Limits) -> Engine {
        Engine::with_books(sets, Books::new(limits))
    }

    pub(crate) fn with_books(sets: &[FeatureSet], books: Books) -> Engine {
        let schemas: Vec<FeatureSchema> = sets.iter().map(FeatureSet::schema).collect();
        Engine {
            plans: sets.iter().zip(&schemas).map(|(set, schema)| Plan::new(set, schema)).collect(),
            schemas,
            books,
            channels: vec![Channel::default(); 1 << 16],
            instruments: Vec::new(),
            number: 0,
            values: Vec::new(),
        }
    }

    /// Goes on with other sets. A set that is unchanged (its name, too) goes on with all that it has gathered; one that is
    /// new, or changed in anything, begins here: with the books as they are and its windows empty.
    pub fn change_sets(&mut self, sets: &[FeatureSet]) {
        let schemas: Vec<FeatureSchema> = sets.iter().map(FeatureSet::schema).collect();
        let plans: Vec<Plan> =
            sets.iter().zip(&schemas).map(|(set, schema)| Plan::new(set, schema)).collect();
        let before: Vec<Option<usize>> = plans
            .iter()
            .map(|plan| self.plans.iter().position(|known| known.does_the_same_as(plan)))
            .collect();
        for (instrument, (_, book)) in self.instruments.iter_mut().zip(self.books.iter()) {
            instrument.change_sets(&plans, &before, book.key());
        }
        (self.plans, self.schemas) = (plans, schemas);
    }

    /// The schemas of the records, one for each set, in order.
    pub fn schemas(&self) -> &[FeatureSchema] {
        &self.schemas
    }

    /// The number of the last record given out; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The books as the last tick left them.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Takes the next tick of the stream, gaps and clears too, and gives what is to be published to
    /// `publish`: the set's index and the record.
    pub fn tick(&mut self, tick: &Tick, publish: &mut impl FnMut(usize, &FeatureRecord<'_>)) {
        let applied = self.books.apply(tick);
        let channel = &mut self.channels[usize::from(tick.channel_id)];
        if tick.action == Action::Gap {
            channel.gaps += 1;
            return;
        }
        if tick.instrument_id == 0 {
            channel.clears += u64::from(tick.action == Action::Clear);
            return;
        }
        let channel = *channel;
        let Some(id) = applied.book.or_else(|| self.books.find(tick.publisher_id, tick.instrument_id)) else {
            return;
        };
        let Some(instrument) = seat(&mut self.instruments, &self.plans, &self.books, id, channel) else {
            return;
        };
        if !instrument.is_covered() {
            return;
        }
        instrument.at(tick, channel, &self.plans);
        if let Some(trade) = &applied.trade {
            instrument.trade(trade, &self.plans);
        }
        if applied.refused == Some(Refusal::TradeWithoutPrice) {
            instrument.gap(&self.plans);
        }
        if tick.action == Action::Clear {
            instrument.forget_quote();
        }
        instrument.touched |= applied.depth_changed || applied.top_changed;
        if tick.flags.contains(Flags::LAST) {
            self.end_event(id, tick, publish);
        }
    }

    /// Looks at the quote, and publishes what is due.
    fn end_event(&mut self, id: BookId, tick: &Tick, publish: &mut impl FnMut(usize, &FeatureRecord<'_>)) {
        let book = self.books.book(id);
        let Some(instrument) = self.instruments.get_mut(id.index()) else { return };
        let mut doubts = Quality::of(tick);
        if !book.is_good() {
            doubts = doubts.with(Quality::BAD_BOOK);
        }
        instrument.look(&book, &self.plans);
        let event = Event { now: instrument.now, quote: instrument.quote, book, doubts };
        let touched = std::mem::take(&mut instrument.touched);
        for seat in &mut instrument.seats {
            let plan = &self.plans[seat.set];
            seat.touched |= touched;
            let Some(quality) = seat.due(plan, &event) else { continue };
            self.number += 1;
            self.values.clear();
            self.values.extend(seat.values.iter().flat_map(|value| value.to_le_bytes()));
            let record = FeatureRecord {
                number: self.number,
                publisher_id: tick.publisher_id,
                instrument_id: tick.instrument_id,
                time_ns: tick.ts_recv,
                channel_id: tick.channel_id,
                sequence: tick.sequence,
                schema_id: plan.schema_id,
                quality,
                values: &self.values,
            };
            publish(seat.set, &record);
        }
    }
}

/// The instrument of a book; ids are dense, so that a new one is the next.
fn seat<'a>(
    instruments: &'a mut Vec<Instrument>,
    plans: &[Plan],
    books: &Books,
    id: BookId,
    channel: Channel,
) -> Option<&'a mut Instrument> {
    while instruments.len() <= id.index() {
        let next = books.iter().nth(instruments.len())?.1;
        instruments.push(Instrument::new(plans, next.key(), channel));
    }
    instruments.get_mut(id.index())
}
