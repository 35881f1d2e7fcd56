//! Turns records in order of arrival into writes: grouped by channel and shard, each channel's order and
//! coverage kept.
//!
//! Coverage is per (channel, shard), which is what a reader sees: an entry's `s` is the number after the
//! last one covered there, so that numbers without a tick (or with ticks in other shards only) are said to
//! be covered and not missing. Gaps and clears are in every shard. A write ends between two sequence
//! numbers wherever a batch allows it, so that a stored position names a number that is wholly published.

use super::config::PublisherConfig;
use super::write::{Write, XaddTo};
use bus::{Entry, Position, Positions, WriteId};
use tick::{Action, Flags, GapReason, Tick};

/// No channel at this place of the table.
const NONE: u32 = u32::MAX;

/// The ticks of one channel and shard that wait to become an entry.
#[derive(Default)]
struct Lane {
    /// Last number that the shard's stream covers for the channel.
    covered: Option<u64>,
    open: bool,
    first: u64,
    last: u64,
    ticks: Vec<Tick>,
    /// Covers more than the last write said.
    moved: bool,
}

struct Channel {
    id: u16,
    epoch: u64,
    /// Last number handed on, in any shard.
    last: Option<u64>,
    /// What a clear's entry covers is not published yet: the position stays before it.
    position: u64,
    /// A loss in the spool lies behind, and the channel was not cleared since.
    suspect: bool,
    lanes: Vec<Lane>,
}

pub(super) struct Composer {
    streams: Vec<XaddTo>,
    position_keys: Vec<String>,
    shards: u16,
    ticks_max: usize,
    run: u64,
    writes: u64,
    table: Box<[u32]>,
    channels: Vec<Channel>,
    /// Channels with an open lane or a moved position, in order of first touch.
    touched: Vec<usize>,
    ticks: usize,
    stored: Vec<Positions>,
    write: Write,
}

impl Composer {
    pub(super) fn new(config: &PublisherConfig, run: u64) -> Composer {
        let streams: Vec<String> = (0..config.shards)
            .map(|shard| bus::names::shard_stream(&config.stream, shard, config.shards))
            .collect();
        Composer {
            position_keys: streams.iter().map(|stream| bus::names::positions_key(stream)).collect(),
            streams: streams.iter().map(|stream| XaddTo::new(stream, config.entries_max)).collect(),
            shards: config.shards,
            ticks_max: config.batch_ticks_max,
            run,
            writes: 0,
            table: vec![NONE; 1 << 16].into_boxed_slice(),
            channels: Vec::new(),
            touched: Vec::new(),
            ticks: 0,
            stored: vec![Positions::new(); usize::from(config.shards)],
            write: Write::default(),
        }
    }

    /// What Redis held when the run began. Channels that begin later are joined to it.
    pub(super) fn begin_after(&mut self, stored: Vec<Positions>) {
        self.stored = stored;
    }

    pub(super) fn room(&self) -> usize {
        self.ticks_max.saturating_sub(self.ticks)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ticks == 0 && self.write.is_empty()
    }

    pub(super) fn ticks(&self) -> usize {
        self.ticks
    }

    /// The write being filled, for instrument rows.
    pub(super) fn write_mut(&mut self) -> &mut Write {
        &mut self.write
    }

    /// The id of the channel at an index that a [`super::write::WrittenEntry`] carries.
    pub(super) fn channel_id(&self, index: usize) -> u16 {
        self.channels[index].id
    }

    pub(super) fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// How many records from the front of `records` (and of `behind`, which follows them) belong in this
    /// write: as many as fit, back to a change of sequence number if there is one.
    pub(super) fn cut(&self, records: &[Tick], behind: Option<&Tick>) -> usize {
        let room = self.room();
        let next = if records.len() > room { Some(&records[room]) } else { behind };
        let fit = records.len().min(room);
        let Some(next) = next.filter(|_| fit == room) else { return fit };
        let same = |tick: &Tick| tick.sequence == next.sequence && tick.channel_id == next.channel_id;
        let apart = records[..fit].iter().rposition(|tick| !same(tick)).map_or(0, |last| last + 1);
        // A sequence number with more ticks than a whole write must be cut somewhere.
        if apart == 0 && self.ticks == 0 { fit } else { apart }
    }

    /// Takes records.
    pub(super) fn add(&mut self, records: &[Tick]) {
        let mut at = 0;
        while at < records.len() {
            let record = &records[at];
            let channel = self.channel(record);
            if record.action == Action::Gap {
                self.gap(channel, record);
                at += 1;
            } else if bus::is_channel_clear(record) {
                self.clear(channel, record);
                at += 1;
            } else {
                at += self.ticks_of(channel, &records[at..]);
            }
        }
        self.ticks += records.len();
    }

    /// The channel's index; a channel seen for the first time is joined to what Redis holds of it.
    #[inline]
    fn channel(&mut self, record: &Tick) -> usize {
        match self.table[usize::from(record.channel_id)] {
            NONE => self.begin_channel(record),
            index => index as usize,
        }
    }

    #[cold]
    fn begin_channel(&mut self, record: &Tick) -> usize {
        let id = record.channel_id;
        let index = self.channels.len();
        self.table[usize::from(id)] = index as u32;
        let mut furthest = Positions::new();
        self.stored.iter().for_each(|shard| super::session::merge(&mut furthest, shard));
        let stored = furthest.get(&id).copied();
        let epoch = stored.map_or(0, |position| position.epoch);
        let lanes = self.stored.iter().map(|shard| {
            let here = shard.get(&id).filter(|position| position.epoch == epoch);
            Lane { covered: here.map(|position| position.last), ..Lane::default() }
        });
        self.channels.push(Channel {
            id,
            epoch,
            last: stored.map(|position| position.last),
            position: stored.map_or(0, |position| position.last),
            suspect: false,
            lanes: lanes.collect(),
        });
        if let Some(stored) = stored
            && !bus::is_channel_clear(record)
        {
            self.join(index, stored.last, record);
        }
        index
    }

    /// Joins a channel to what an earlier run left in the stream: it goes on, perhaps after a hole, or its
    /// count has started over.
    fn join(&mut self, index: usize, stored: u64, record: &Tick) {
        let Tick { publisher_id, channel_id, sequence, ts_recv, .. } = *record;
        if sequence <= stored {
            self.clear(index, &Tick::channel_clear(publisher_id, channel_id, sequence, ts_recv));
        } else if sequence > stored + 1 {
            let (from, to) = (stored + 1, sequence - 1);
            let gap = Tick::gap(publisher_id, channel_id, from, to, ts_recv, GapReason::Offline);
            self.gap(index, &gap);
        }
    }

    /// Takes the ticks at the front of `records` that are of this channel and in order; returns how many.
    #[inline]
    fn ticks_of(&mut self, index: usize, records: &[Tick]) -> usize {
        let channel = &mut self.channels[index];
        let id = channel.id;
        let mut last = channel.last.unwrap_or(0);
        if records[0].sequence < last {
            self.out_of_order(index, &records[0]);
            return 1;
        }
        let belongs =
            |tick: &Tick| tick.channel_id == id && tick.action != Action::Gap && !bus::is_channel_clear(tick);
        let mut count = 0;
        for tick in records {
            if !belongs(tick) || tick.sequence < last {
                break;
            }
            last = tick.sequence;
            count += 1;
        }
        let ticks = &records[..count];
        touch(&mut self.touched, channel, index);
        if self.shards == 1 {
            channel.lanes[0].extend(ticks, channel.suspect);
        } else {
            for tick in ticks {
                let shard = bus::names::shard_of(tick.instrument_id, self.shards);
                channel.lanes[usize::from(shard)].extend(std::slice::from_ref(tick), channel.suspect);
            }
        }
        channel.last = Some(last);
        channel.position = last;
        count
    }

    /// A tick whose number was passed already: an entry of its own, which readers see as a repeat.
    #[cold]
    fn out_of_order(&mut self, index: usize, tick: &Tick) {
        let shard = usize::from(bus::names::shard_of(tick.instrument_id, self.shards));
        touch(&mut self.touched, &self.channels[index], index);
        self.close(index, shard);
        let ticks = std::slice::from_ref(tick);
        let entry = Entry::of_ticks(tick.channel_id, tick.sequence, tick.sequence, ticks);
        self.write.entry(&self.streams[shard], index, &entry, ticks);
        self.channels[index].lanes[shard].moved = true;
    }

    #[cold]
    fn gap(&mut self, index: usize, record: &Tick) {
        let Some((from, to, why)) = record.as_gap() else { return };
        touch(&mut self.touched, &self.channels[index], index);
        for shard in 0..usize::from(self.shards) {
            self.cover(index, shard, from);
            let channel = &mut self.channels[index];
            let entry = Entry::of_gap(channel.id, from.min(to), to, why);
            self.write.gap(&self.streams[shard], index, &entry, shard == 0);
            let lane = &mut channel.lanes[shard];
            lane.covered = Some(lane.covered.map_or(to, |covered| covered.max(to)));
            lane.moved = true;
        }
        let channel = &mut self.channels[index];
        channel.last = Some(channel.last.map_or(to, |last| last.max(to)));
        channel.position = channel.position.max(to);
        // What was given up before it came here is marked there.
        channel.suspect |= why == GapReason::SpoolFull;
    }

    #[cold]
    fn clear(&mut self, index: usize, record: &Tick) {
        touch(&mut self.touched, &self.channels[index], index);
        for shard in 0..usize::from(self.shards) {
            self.close(index, shard);
            let lane = &mut self.channels[index].lanes[shard];
            (lane.open, lane.moved) = (true, true);
            (lane.first, lane.last) = (record.sequence, record.sequence);
            lane.covered = Some(record.sequence);
            lane.ticks.push(*record);
        }
        let channel = &mut self.channels[index];
        channel.epoch = record.ts_recv.max(channel.epoch.saturating_add(1));
        channel.last = Some(record.sequence);
        channel.position = record.sequence.saturating_sub(1);
        channel.suspect = false;
    }

    /// Says that everything before `next` is covered, and closes the lane.
    fn cover(&mut self, index: usize, shard: usize, next: u64) {
        let Some(to) = next.checked_sub(1) else { return self.close(index, shard) };
        let channel = &mut self.channels[index];
        let lane = &mut channel.lanes[shard];
        if lane.open {
            lane.last = lane.last.max(to);
        } else if let Some(covered) = lane.covered.filter(|&covered| covered < to) {
            let entry = Entry::of_ticks(channel.id, covered + 1, to, &[]);
            self.write.entry(&self.streams[shard], index, &entry, &[]);
        }
        self.close(index, shard);
    }

    /// Turns what waits in a lane into an entry.
    fn close(&mut self, index: usize, shard: usize) {
        let channel = &mut self.channels[index];
        let lane = &mut channel.lanes[shard];
        if !lane.open {
            return;
        }
        lane.open = false;
        lane.moved = true;
        lane.covered = Some(lane.covered.map_or(lane.last, |covered| covered.max(lane.last)));
        let entry = Entry::of_ticks(channel.id, lane.first, lane.last, &lane.ticks);
        self.write.entry(&self.streams[shard], index, &entry, &lane.ticks);
        lane.ticks.clear();
    }

    /// Finishes the write, gives it to `into`, and begins the next.
    pub(super) fn finish(&mut self, into: &mut Write) {
        let touched = std::mem::take(&mut self.touched);
        for &index in &touched {
            for shard in 0..usize::from(self.shards) {
                self.close(index, shard);
            }
        }
        self.writes += 1;
        let id = WriteId { run: self.run, number: self.writes };
        for shard in 0..usize::from(self.shards) {
            self.positions(shard, &touched, id);
        }
        self.touched = touched;
        self.touched.clear();
        self.write.id = id;
        self.write.finish();
        self.ticks = 0;
        into.clear();
        std::mem::swap(&mut self.write, into);
    }

    /// Writes the positions of a shard's channels that moved.
    fn positions(&mut self, shard: usize, touched: &[usize], id: WriteId) {
        let count = touched.iter().filter(|&&index| self.channels[index].lanes[shard].moved).count();
        if count == 0 {
            return;
        }
        self.write.begin(2 + 2 * count);
        self.write.argument(b"HSET");
        self.write.argument(self.position_keys[shard].as_bytes());
        for &index in touched {
            let channel = &mut self.channels[index];
            let lane = &mut channel.lanes[shard];
            if !std::mem::take(&mut lane.moved) {
                continue;
            }
            let last = lane.covered.unwrap_or(0).min(channel.position);
            let position = Position { epoch: channel.epoch, last, write: id };
            self.write.argument(channel.id.to_string().as_bytes());
            self.write.argument(position.to_string().as_bytes());
            self.write.witness.get_or_insert((shard as u16, channel.id));
        }
    }
}

impl Lane {
    /// Adds ticks, whose numbers do not go back.
    #[inline]
    fn extend(&mut self, ticks: &[Tick], suspect: bool) {
        if !self.open {
            self.open = true;
            let next = ticks[0].sequence;
            self.first = match self.covered {
                // Numbers between yielded no tick here; a number that goes on over two entries is in both.
                Some(covered) if covered < next => covered + 1,
                _ => next,
            };
        }
        self.last = ticks[ticks.len() - 1].sequence;
        let from = self.ticks.len();
        self.ticks.extend_from_slice(ticks);
        if suspect {
            self.ticks[from..].iter_mut().for_each(|tick| tick.flags |= Flags::MAYBE_BAD_BOOK);
        }
    }
}

#[inline]
fn touch(touched: &mut Vec<usize>, channel: &Channel, index: usize) {
    if !channel.lanes.iter().any(|lane| lane.open || lane.moved) {
        touched.push(index);
    }
}
