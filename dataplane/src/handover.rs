//! The ring from a worker to the publisher. What one packet gives is staged and made visible at once, so that
//! the publisher never divides a packet over two writes. A full ring is a loss that is declared: the worker
//! remembers the sequence range, and puts a gap record in front of the next thing of that channel that fits.

use crate::publisher::Bell;
use crate::worker::{HandoverStats, SLOTS_MAX};
use feed::{Line, Sink};
use tick::{Action, Flags, GapReason, Instrument, Tick};

/// Records of one packet made visible together, at most: 128 KiB. The largest payload gives fewer; only the
/// end of a session, when a whole window is delivered, takes more than one commit.
const STAGED_MAX: usize = 2_048;

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

impl Owed {
    fn records(&self) -> impl Iterator<Item = Tick> + use<> {
        let Owed { from, to, ts_recv, publisher_id, channel_id, cleared } = *self;
        let clear = cleared.then(|| Tick::channel_clear(publisher_id, channel_id, from, ts_recv));
        let gap = Tick::gap(publisher_id, channel_id, from, to, ts_recv, GapReason::RingFull);
        clear.into_iter().chain([gap])
    }
}

/// The state of one slot.
#[derive(Clone, Copy, Default)]
struct SlotState {
    owed: Option<Owed>,
    /// A declared ring loss lies behind, and the books were not cleared since.
    suspect: bool,
    /// The channel was published before and begins anew: a clear goes before its first record.
    again: bool,
}

impl SlotState {
    #[inline]
    fn is_clean(&self) -> bool {
        self.owed.is_none() && !self.suspect && !self.again
    }
}

/// The worker's end of the rings.
pub struct RingSink {
    ticks: rtrb::Producer<Tick>,
    instruments: rtrb::Producer<Instrument>,
    staged: Vec<Tick>,
    slots: Box<[SlotState]>,
    slot: usize,
    /// Slots that owe a gap record.
    owing: usize,
    stats: HandoverStats,
    bell: Option<Bell>,
}

impl RingSink {
    /// A sink into these rings.
    pub fn new(ticks: rtrb::Producer<Tick>, instruments: rtrb::Producer<Instrument>) -> RingSink {
        RingSink {
            ticks,
            instruments,
            staged: Vec::with_capacity(STAGED_MAX),
            slots: vec![SlotState::default(); SLOTS_MAX].into_boxed_slice(),
            slot: 0,
            owing: 0,
            stats: HandoverStats::default(),
            bell: None,
        }
    }

    /// Rings from now on when there is something in the rings.
    pub fn ring(&mut self, bell: Option<Bell>) {
        self.bell = bell;
    }

    /// A channel begins in a slot. `again`: it was published before by this process, and what lay between is
    /// not part of the stream, so that its first record is preceded by a clear.
    pub fn open(&mut self, slot: u16, again: bool) {
        self.retry();
        let state = &mut self.slots[usize::from(slot).min(SLOTS_MAX - 1)];
        self.owing -= usize::from(state.owed.is_some());
        *state = SlotState { again, ..SlotState::default() };
    }

    /// What follows, up to [`RingSink::commit`], is of this slot's channel.
    #[inline]
    pub fn begin(&mut self, slot: u16) {
        self.slot = usize::from(slot).min(SLOTS_MAX - 1);
    }

    /// Makes what was staged visible to the publisher.
    #[inline]
    pub fn commit(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        if !self.slots[self.slot].is_clean() {
            self.commit_after_trouble();
        } else if !self.push_staged() {
            self.lose_staged();
        }
        self.staged.clear();
        self.wake();
    }

    #[inline]
    fn wake(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    /// Declares what is owed, as far as the ring has room. For when channels are quiet.
    pub fn retry(&mut self) {
        if self.owing == 0 {
            return;
        }
        for state in &mut self.slots {
            let Some(owed) = state.owed else { continue };
            let room = self.ticks.slots();
            if room < owed.records().count() {
                return;
            }
            for record in owed.records() {
                self.stats.records += u64::from(self.ticks.push(record).is_ok());
            }
            self.owing -= 1;
            *state = SlotState { owed: None, suspect: true, again: state.again };
        }
        self.wake();
    }

    /// The counters.
    pub fn stats(&self) -> HandoverStats {
        self.stats
    }

    #[inline]
    fn push_staged(&mut self) -> bool {
        let room = self.ticks.push_entire_slice(&self.staged).is_ok();
        self.stats.records += if room { self.staged.len() as u64 } else { 0 };
        room
    }

    /// The channel owes a declaration, is not cleared since one, or begins again.
    #[cold]
    fn commit_after_trouble(&mut self) {
        let state = self.slots[self.slot];
        let first = self.staged[0];
        let clear = state.again.then(|| {
            Tick::channel_clear(first.publisher_id, first.channel_id, first.sequence, first.ts_recv)
        });
        let before = || clear.into_iter().chain(state.owed.iter().flat_map(Owed::records));
        let needed = before().count() + self.staged.len();
        let Ok(room) = self.ticks.write_chunk_uninit(needed) else { return self.lose_staged() };
        let mut suspect = state.suspect || state.owed.is_some();
        for tick in &mut self.staged {
            suspect = suspect && !clears_channel(tick);
            if suspect {
                tick.flags |= Flags::MAYBE_BAD_BOOK;
            }
        }
        room.fill_from_iter(before().chain(self.staged.iter().copied()));
        self.stats.records += needed as u64;
        self.owing -= usize::from(state.owed.is_some());
        self.slots[self.slot] = SlotState { suspect, ..SlotState::default() };
    }

    #[cold]
    fn lose_staged(&mut self) {
        self.stats.ring_full += self.staged.len() as u64;
        let state = &mut self.slots[self.slot];
        self.owing += usize::from(state.owed.is_none());
        for tick in &self.staged {
            let to = tick.as_gap().map_or(tick.sequence, |(_, to, _)| to);
            let cleared = clears_channel(tick);
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
}

fn clears_channel(tick: &Tick) -> bool {
    tick.action == Action::Clear && tick.instrument_id == 0
}

impl Sink for RingSink {
    #[inline]
    fn tick(&mut self, tick: &Tick) {
        if self.staged.len() == STAGED_MAX {
            self.commit();
        }
        self.staged.push(*tick);
    }

    #[inline]
    fn instrument(&mut self, instrument: &Instrument) {
        if self.instruments.push(*instrument).is_err() {
            self.stats.instruments_dropped += 1;
        }
        self.wake();
    }

    #[inline]
    fn missing(&mut self, _: Line, _: u64, _: u64) {}
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

    /// One packet of these records.
    fn packet(sink: &mut RingSink, records: &[Tick]) {
        records.iter().for_each(|record| sink.tick(record));
        sink.commit();
    }

    #[test]
    fn a_packets_records_become_visible_together() {
        let (mut sink, ring) = sink(4);
        sink.tick(&tick(1));
        sink.tick(&tick(1));
        assert_eq!(ring.slots(), 0);
        sink.commit();
        assert_eq!(ring.slots(), 2);
    }

    #[test]
    fn a_packet_and_a_definition_wake_a_publisher_that_sleeps() {
        for wake in [
            |sink: &mut RingSink| packet(sink, &[tick(1)]),
            |sink: &mut RingSink| sink.instrument(&Instrument::new(1, 7, 1)),
        ] {
            let (mut sink, _ring) = sink(4);
            // Sleeps until it is woken: a bell that is not rung leaves this test hanging.
            let sleeper = std::thread::spawn(std::thread::park);
            sink.ring(Some(Bell(sleeper.thread().clone())));
            wake(&mut sink);
            sleeper.join().unwrap();
        }
    }

    #[test]
    fn what_a_full_ring_refused_is_declared_before_the_next_tick_of_that_channel() {
        let (mut sink, mut ring) = sink(3);
        sink.begin(3);
        packet(&mut sink, &[tick(1), tick(2)]);
        packet(&mut sink, &[tick(3), tick(4)]);
        packet(&mut sink, &[tick(5)]);
        assert_eq!((ring.pop().unwrap().sequence, ring.pop().unwrap().sequence), (1, 2));
        packet(&mut sink, &[tick(6)]);
        assert_eq!(ring.pop().unwrap().as_gap(), Some((3, 5, GapReason::RingFull)));
        let next = ring.pop().unwrap();
        assert_eq!((next.sequence, next.flags), (6, Flags::MAYBE_BAD_BOOK));
        assert_eq!(sink.stats().ring_full, 3);
    }

    #[test]
    fn one_channels_loss_does_not_mark_anothers_ticks() {
        let (mut sink, mut ring) = sink(1);
        sink.begin(0);
        packet(&mut sink, &[tick(1)]);
        packet(&mut sink, &[tick(2)]);
        ring.pop().unwrap();
        sink.begin(1);
        packet(&mut sink, &[tick(1)]);
        assert_eq!(ring.pop().unwrap().flags, Flags::NONE);
        sink.retry();
        assert_eq!(ring.pop().unwrap().as_gap(), Some((2, 2, GapReason::RingFull)));
    }

    #[test]
    fn a_cleared_channel_is_good_again_after_a_ring_loss() {
        let (mut sink, mut ring) = sink(2);
        packet(&mut sink, &[tick(1), tick(1)]);
        packet(&mut sink, &[tick(2)]);
        while ring.pop().is_ok() {}
        sink.retry();
        ring.pop().unwrap();
        packet(&mut sink, &[Tick::channel_clear(1, 7, 1, 0), tick(1)]);
        assert_eq!((ring.pop().unwrap().flags, ring.pop().unwrap().flags), (Flags::NONE, Flags::NONE));
    }

    #[test]
    fn a_declared_gap_that_finds_the_ring_full_is_part_of_what_is_owed() {
        let (mut sink, mut ring) = sink(1);
        packet(&mut sink, &[tick(1)]);
        packet(&mut sink, &[Tick::gap(1, 7, 2, 9, 0, GapReason::Lost)]);
        ring.pop().unwrap();
        sink.retry();
        assert_eq!(ring.pop().unwrap().as_gap(), Some((2, 9, GapReason::RingFull)));
    }

    #[test]
    fn a_clear_that_found_the_ring_full_is_made_up_for_before_the_loss_is_declared() {
        let (mut sink, mut ring) = sink(2);
        packet(&mut sink, &[tick(7), tick(8)]);
        packet(&mut sink, &[tick(9)]);
        packet(&mut sink, &[Tick::channel_clear(1, 7, 1, 0), tick(1)]);
        ring.pop().unwrap();
        sink.retry();
        assert_eq!(ring.pop().unwrap().sequence, 8, "a clear and its gap go together or wait");
        sink.retry();
        let clear = ring.pop().unwrap();
        assert_eq!((clear.action, clear.sequence), (Action::Clear, 1));
        assert_eq!(ring.pop().unwrap().as_gap(), Some((1, 1, GapReason::RingFull)));
    }

    #[test]
    fn a_channel_that_begins_again_is_cleared_first() {
        let (mut sink, mut ring) = sink(4);
        sink.open(5, true);
        sink.begin(5);
        packet(&mut sink, &[tick(40)]);
        packet(&mut sink, &[tick(41)]);
        let clear = ring.pop().unwrap();
        assert_eq!((clear.action, clear.sequence, clear.channel_id), (Action::Clear, 40, 7));
        assert_eq!((ring.pop().unwrap().sequence, ring.pop().unwrap().sequence), (40, 41));
        assert!(ring.pop().is_err());
    }

    #[test]
    fn more_than_can_be_staged_goes_in_pieces_and_in_order() {
        let (mut sink, mut ring) = sink(STAGED_MAX * 2);
        let records: Vec<Tick> = (0..STAGED_MAX as u64 + 10).map(tick).collect();
        packet(&mut sink, &records);
        for record in records {
            assert_eq!(ring.pop().unwrap().sequence, record.sequence);
        }
    }
}
