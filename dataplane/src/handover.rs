//! The ring from a worker to the publisher. A full ring is a loss that is declared: the worker remembers
//! the sequence range, and puts a gap record in front of the next thing of that channel that fits.

use crate::worker::{HandoverStats, SLOTS_MAX};
use feed::Sink;
use tick::{Action, Flags, GapReason, Instrument, Tick};

/// What a channel lost to a full ring and has not yet declared.
#[derive(Clone, Copy)]
struct Owed {
    from: u64,
    to: u64,
    ts_recv: u64,
    publisher_id: u16,
    channel_id: u16,
    /// The record that cleared the channel was lost: what is owed is of the new count.
    cleared: bool,
}

/// The state of one slot.
#[derive(Clone, Copy, Default)]
struct SlotState {
    owed: Option<Owed>,
    /// A declared ring loss lies behind, and the books were not cleared since.
    suspect: bool,
}

/// The worker's end of the rings.
pub struct RingSink {
    ticks: rtrb::Producer<Tick>,
    instruments: rtrb::Producer<Instrument>,
    slots: Box<[SlotState]>,
    slot: usize,
    /// Slots that owe a gap record.
    owing: usize,
    stats: HandoverStats,
}

impl RingSink {
    /// A sink into these rings.
    pub fn new(ticks: rtrb::Producer<Tick>, instruments: rtrb::Producer<Instrument>) -> RingSink {
        RingSink {
            ticks,
            instruments,
            slots: vec![SlotState::default(); SLOTS_MAX].into_boxed_slice(),
            slot: 0,
            owing: 0,
            stats: HandoverStats::default(),
        }
    }

    /// What follows is of this slot's channel.
    #[inline]
    pub fn begin(&mut self, slot: u16) {
        self.slot = usize::from(slot).min(SLOTS_MAX - 1);
    }

    /// Declares what is owed, as far as the ring has room. For when channels are quiet.
    pub fn retry(&mut self) {
        if self.owing == 0 {
            return;
        }
        for slot in 0..SLOTS_MAX {
            if self.slots[slot].owed.is_some() && !self.declare(slot) {
                return;
            }
        }
    }

    /// The counters.
    pub fn stats(&self) -> HandoverStats {
        self.stats
    }

    /// Puts the gap record of a slot into the ring; whether there was room.
    #[cold]
    fn declare(&mut self, slot: usize) -> bool {
        let Some(owed) = self.slots[slot].owed else { return true };
        let Owed { from, to, ts_recv, publisher_id, channel_id, cleared } = owed;
        let records = 1 + usize::from(cleared);
        let Ok(mut room) = self.ticks.write_chunk_uninit(records) else { return false };
        let clear = cleared.then(|| Tick::channel_clear(publisher_id, channel_id, from, ts_recv));
        let gap = Tick::gap(publisher_id, channel_id, from, to, ts_recv, GapReason::RingFull);
        room.fill_from_iter(clear.into_iter().chain([gap]));
        self.stats.records += records as u64;
        self.owing -= 1;
        self.slots[slot] = SlotState { owed: None, suspect: true };
        true
    }

    #[cold]
    fn lose(&mut self, tick: &Tick) {
        self.stats.ring_full += 1;
        let to = tick.as_gap().map_or(tick.sequence, |(_, to, _)| to);
        let cleared = tick.action == Action::Clear && tick.instrument_id == 0;
        let state = &mut self.slots[self.slot];
        self.owing += usize::from(state.owed.is_none());
        match &mut state.owed {
            // What was owed before the clear is of books that are empty now.
            Some(owed) if !cleared => owed.to = owed.to.max(to),
            _ => {
                state.owed = Some(Owed {
                    from: tick.sequence,
                    to,
                    ts_recv: tick.ts_recv,
                    publisher_id: tick.publisher_id,
                    channel_id: tick.channel_id,
                    cleared,
                });
            }
        }
    }
}

impl Sink for RingSink {
    #[inline]
    fn tick(&mut self, tick: &Tick) {
        let state = &self.slots[self.slot];
        if state.owed.is_some() && !self.declare(self.slot) {
            self.lose(tick);
            return;
        }
        let mut record = *tick;
        let state = &mut self.slots[self.slot];
        if state.suspect {
            if tick.action == Action::Clear && tick.instrument_id == 0 {
                state.suspect = false;
            } else {
                record.flags |= Flags::MAYBE_BAD_BOOK;
            }
        }
        match self.ticks.push(record) {
            Ok(()) => self.stats.records += 1,
            Err(_) => self.lose(tick),
        }
    }

    #[inline]
    fn instrument(&mut self, instrument: &Instrument) {
        if self.instruments.push(*instrument).is_err() {
            self.stats.instruments_dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(capacity: usize) -> (RingSink, rtrb::Consumer<Tick>) {
        let (ticks, consumer) = rtrb::RingBuffer::new(capacity);
        let (instruments, _) = rtrb::RingBuffer::new(1);
        (RingSink::new(ticks, instruments), consumer)
    }

    fn tick(sequence: u64) -> Tick {
        Tick { sequence, channel_id: 7, action: Action::Add, ..Tick::EMPTY }
    }

    #[test]
    fn what_a_full_ring_refused_is_declared_before_the_next_tick_of_that_channel() {
        let (mut sink, mut ring) = sink(2);
        sink.begin(3);
        for sequence in 1..=5 {
            sink.tick(&tick(sequence));
        }
        assert_eq!((ring.pop().unwrap().sequence, ring.pop().unwrap().sequence), (1, 2));
        sink.tick(&tick(6));
        let gap = ring.pop().unwrap();
        assert_eq!(gap.as_gap(), Some((3, 5, GapReason::RingFull)));
        let next = ring.pop().unwrap();
        assert_eq!((next.sequence, next.flags), (6, Flags::MAYBE_BAD_BOOK));
        assert_eq!(sink.stats().ring_full, 3);
    }

    #[test]
    fn one_channels_loss_does_not_mark_anothers_ticks() {
        let (mut sink, mut ring) = sink(1);
        sink.begin(0);
        sink.tick(&tick(1));
        sink.tick(&tick(2));
        ring.pop().unwrap();
        sink.begin(1);
        sink.tick(&tick(1));
        assert_eq!(ring.pop().unwrap().flags, Flags::NONE);
        sink.retry();
        assert_eq!(ring.pop().unwrap().as_gap(), Some((2, 2, GapReason::RingFull)));
    }

    #[test]
    fn a_cleared_channel_is_good_again_after_a_ring_loss() {
        let (mut sink, mut ring) = sink(1);
        sink.tick(&tick(1));
        sink.tick(&tick(2));
        ring.pop().unwrap();
        sink.retry();
        ring.pop().unwrap();
        sink.tick(&Tick::channel_clear(1, 7, 1, 0));
        ring.pop().unwrap();
        sink.tick(&tick(1));
        assert_eq!(ring.pop().unwrap().flags, Flags::NONE);
    }

    #[test]
    fn a_clear_that_found_the_ring_full_is_made_up_for_before_the_loss_is_declared() {
        let (mut sink, mut ring) = sink(2);
        sink.tick(&tick(7));
        sink.tick(&tick(8));
        sink.tick(&tick(9));
        sink.tick(&Tick::channel_clear(1, 7, 1, 0));
        sink.tick(&tick(2));
        ring.pop().unwrap();
        sink.retry();
        assert_eq!(ring.pop().unwrap().sequence, 8, "a clear and its gap go together or wait");
        sink.retry();
        let clear = ring.pop().unwrap();
        assert_eq!((clear.action, clear.sequence), (Action::Clear, 1));
        assert_eq!(ring.pop().unwrap().as_gap(), Some((1, 2, GapReason::RingFull)));
    }

    #[test]
    fn a_declared_gap_that_finds_the_ring_full_is_part_of_what_is_owed() {
        let (mut sink, mut ring) = sink(1);
        sink.tick(&tick(1));
        sink.tick(&Tick::gap(1, 7, 2, 9, 0, GapReason::Lost));
        ring.pop().unwrap();
        sink.retry();
        assert_eq!(ring.pop().unwrap().as_gap(), Some((2, 9, GapReason::RingFull)));
    }
}
