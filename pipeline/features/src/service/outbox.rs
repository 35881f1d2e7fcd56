//! Records on their way to Redis, and their numbers there.
//!
//! The engine numbers from 1. That is the number in the stream as long as the engine, or its kept state, has
//! seen the whole stream under one configuration. One that begins anew beside records that are there already
//! says nothing until the time of the newest of them, and goes on with the next number: so the stream's
//! numbers have no hole and none is there twice.

use bus::FeatureRecord;

/// How the engine's numbers become the stream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// The stream's number is the engine's and this, modulo 2⁶⁴.
    Counting {
        /// Added to the engine's number.
        offset: u64,
    },
    /// Records up to this time are there already, from an engine whose state is gone or of another
    /// configuration.
    Silent {
        /// The newest record's time, ns.
        up_to_ns: u64,
        /// The newest record's number.
        last: u64,
    },
}

/// A record that is not yet known to be in the stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pending {
    /// Which feature set.
    pub(super) set: usize,
    head: FeatureRecord<'static>,
    values: Vec<u8>,
}

impl Pending {
    /// The record as it is to be published.
    pub(super) fn record(&self) -> FeatureRecord<'_> {
        FeatureRecord { values: &self.values, ..self.head }
    }
}

/// The records of one stream that are to be published, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) numbering: Numbering,
    /// Highest number known to be in the stream.
    published: u64,
    pending: Vec<Pending>,
}

impl Outbox {
    pub(super) fn new(numbering: Numbering, published: u64) -> Outbox {
        Outbox { numbering, published, pending: Vec::new() }
    }

    /// Takes a record of the engine; one that is in the stream already is left out.
    pub(super) fn add(&mut self, set: usize, record: &FeatureRecord<'_>) {
        let offset = match self.numbering {
            Numbering::Counting { offset } => offset,
            Numbering::Silent { up_to_ns, .. } if record.time_ns <= up_to_ns => return,
            Numbering::Silent { last, .. } => {
                let offset = (last + 1).wrapping_sub(record.number);
                self.numbering = Numbering::Counting { offset };
                offset
            }
        };
        let number = record.number.wrapping_add(offset);
        if number > self.published {
            let head = FeatureRecord { number, values: &[], ..*record };
            self.pending.push(Pending { set, head, values: record.values.to_vec() });
        }
    }

    /// The first records, at most so many.
    pub(super) fn first(&self, count: usize) -> &[Pending] {
        &self.pending[..count.min(self.pending.len())]
    }

    /// All up to this number are in the stream.
    pub(super) fn are_published(&mut self, number: u64) {
        self.published = self.published.max(number);
        let published = self.published;
        let done = self.pending.partition_point(|pending| pending.head.number <= published);
        self.pending.drain(..done);
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether all that was in the stream at the beginning has been made again by an engine that is at this number: only
    /// the same feature sets make it.
    pub(super) fn has_caught_up(&self, engine: u64) -> bool {
        match self.numbering {
            Numbering::Silent { last, .. } => self.published <= last,
            Numbering::Counting { offset } => self.published <= engine.wrapping_add(offset),
        }
    }

    /// The highest number that can be in the stream from here: also of what was sent and not answered.
    pub(super) fn highest(&self) -> u64 {
        self.pending.last().map_or(self.published, |pending| pending.head.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Quality;

    fn record(number: u64, time_ns: u64) -> FeatureRecord<'static> {
        let quality = Quality::GOOD;
        let (publisher_id, instrument_id, channel_id, sequence, schema_id) = (1, 2, 3, 4, 5);
        let values = &[];
        FeatureRecord {
            number,
            publisher_id,
            instrument_id,
            time_ns,
            channel_id,
            sequence,
            schema_id,
            quality,
            values,
        }
    }

    fn numbers(outbox: &Outbox) -> Vec<u64> {
        outbox.first(usize::MAX).iter().map(|pending| pending.record().number).collect()
    }

    #[test]
    fn what_is_in_the_stream_is_not_published_again() {
        let mut outbox = Outbox::new(Numbering::Counting { offset: 0 }, 3);
        (1..=6).for_each(|number| outbox.add(0, &record(number, number)));
        assert_eq!(numbers(&outbox), [4, 5, 6]);
        outbox.are_published(5);
        assert_eq!((numbers(&outbox), outbox.highest()), (vec![6], 6));
        outbox.are_published(6);
        assert!(outbox.is_empty());
        assert_eq!(outbox.highest(), 6);
    }

    #[test]
    fn it_has_caught_up_when_the_engine_is_at_the_newest_record_that_was_there() {
        let outbox = Outbox::new(Numbering::Counting { offset: 2 }, 7);
        assert!(!outbox.has_caught_up(4) && outbox.has_caught_up(5) && outbox.has_caught_up(6));
        let silent = |published| Outbox::new(Numbering::Silent { up_to_ns: 9, last: 7 }, published);
        assert!(silent(7).has_caught_up(0) && !silent(8).has_caught_up(100));
    }

    #[test]
    fn an_engine_that_begins_anew_goes_on_behind_the_newest_record() {
        for engine_is_at in [1, 500] {
            let mut outbox = Outbox::new(Numbering::Silent { up_to_ns: 20, last: 100 }, 100);
            for (place, time_ns) in [10, 20, 21, 20, 30].into_iter().enumerate() {
                outbox.add(0, &record(engine_is_at + place as u64, time_ns));
            }
            assert_eq!(numbers(&outbox), [101, 102, 103]);
        }
    }
}
