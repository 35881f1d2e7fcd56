//! The publisher's thread: rounds of taking, composing, sending and answering, and a pause when there was
//! nothing to do.

use super::address::Address;
use super::composer::Composer;
use super::instruments::Instruments;
use super::link::{Link, Progress};
use super::spool::Spool;
use super::stats::{self, ChannelPublished, Latency, PublisherStats};
use super::write::Write;
use super::{Command, PublisherConfig, PublisherError};
use crate::clock::utc_now_ns;
use crate::wait::{Idle, Wait};
use bus::{Position, Positions};
use hdrhistogram::Histogram;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};
use tick::{GapReason, Instrument, Tick};

/// Most records moved from one ring to the spool in a round: about 100 µs of work.
const SPOOL_ROUND: usize = 16_384;
/// Longest sleep while a write is in flight: how late a filling ring can be noticed.
const FLIGHT_SLEEP: Duration = Duration::from_millis(1);
/// Longest sleep of an idle thread: workers wake it ([`super::Bell`]), what goes by the clock does not.
const IDLE_SLEEP: Duration = Duration::from_millis(10);
/// Idle rounds between two looks at whether the server has hung up, when the thread does not sleep.
const IDLE_CHECK_ROUNDS: u32 = 1024;

pub(super) struct Thread {
    inbox: Receiver<Command>,
    rings: Vec<rtrb::Consumer<Tick>>,
    first_ring: usize,
    instruments: Instruments,
    spool: Spool,
    composer: Composer,
    /// The write in flight, when `in_flight`; its buffers otherwise.
    write: Write,
    in_flight: bool,
    /// Records in the write in flight.
    flight_records: u64,
    link: Link,
    /// Redis was reached once: it is known what it held when the run began.
    begun: bool,
    outage_since: Option<Instant>,
    wait: Wait,
    counts: PublisherStats,
    latency: Histogram<u64>,
    stopping: Option<(Instant, Sender<PublisherStats>)>,
}

impl Thread {
    pub(super) fn new(
        config: &PublisherConfig,
        rings: Vec<rtrb::Consumer<Tick>>,
        instruments: Vec<rtrb::Consumer<Instrument>>,
        inbox: Receiver<Command>,
    ) -> Result<Thread, PublisherError> {
        let streams = (0..config.shards)
            .map(|shard| bus::names::shard_stream(&config.stream, shard, config.shards))
            .collect();
        let mut thread = Thread {
            inbox,
            rings,
            first_ring: 0,
            instruments: Instruments::new(instruments),
            spool: Spool::open(&config.spool)?,
            composer: Composer::new(config, utc_now_ns()),
            write: Write::default(),
            in_flight: false,
            flight_records: 0,
            link: Link::new(Address::parse(&config.redis_url)?, streams),
            begun: false,
            outage_since: None,
            wait: Wait::resolve(config.wait, config.core.is_some()),
            counts: PublisherStats::default(),
            latency: stats::latency_histogram(),
            stopping: None,
        };
        match thread.link.open_now() {
            Ok(positions) => thread.begin(positions),
            Err(error) if error.is_transient() => {
                thread.link.down();
                thread.note_outage(&error);
            }
            Err(error) => return Err(error),
        }
        Ok(thread)
    }

    /// Whether it sleeps when there is nothing to do.
    pub(super) fn parks(&self) -> bool {
        self.wait == Wait::Park
    }

    pub(super) fn run(mut self) {
        let mut idle = Idle::new(self.wait);
        let mut idle_rounds = 0u32;
        loop {
            if !self.commands() {
                return;
            }
            let mut busy = self.advance_link();
            busy |= self.instruments.collect();
            busy |= self.take();
            busy |= self.dispatch();
            if self.is_finished() {
                if let Some((_, answer)) = self.stopping.take() {
                    let _ = answer.send(self.snapshot());
                }
                return;
            }
            if busy {
                idle.reset();
                idle_rounds = 0;
                continue;
            }
            idle_rounds = idle_rounds.wrapping_add(1);
            let slept = self.pause(&mut idle);
            if (slept || idle_rounds.is_multiple_of(IDLE_CHECK_ROUNDS))
                && !self.in_flight
                && let Some(error) = self.link.idle_check()
            {
                self.lose_link(&error);
            }
        }
    }

    /// Does what was asked; `false` when nobody can ask any more.
    fn commands(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::AddRings(ticks, instruments)) => {
                    self.rings.extend(ticks);
                    instruments.into_iter().for_each(|ring| self.instruments.add_ring(ring));
                }
                Ok(Command::Stats(answer)) => drop(answer.send(self.snapshot())),
                Ok(Command::Stop(deadline, answer)) => self.stopping = Some((deadline, answer)),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn is_finished(&self) -> bool {
        let Some((deadline, _)) = &self.stopping else { return false };
        self.waiting() == 0 && self.instruments.waiting() == 0 && !self.in_flight
            || Instant::now() >= *deadline
    }

    /// Records that are not acknowledged.
    fn waiting(&self) -> u64 {
        let rings: usize = self.rings.iter().map(rtrb::Consumer::slots).sum();
        let undeclared = u64::from(self.spool.waiting() == 0 && !self.spool.is_empty());
        (rings + self.spool.waiting() + self.composer.ticks()) as u64 + self.flight_records + undeclared
    }

    /// Lets others run; then, with nothing to do for a while, sleeps: on the socket while a write is in
    /// flight (nothing can be sent before its answer), else until the bell rings. Whether it slept to the end.
    fn pause(&mut self, idle: &mut Idle) -> bool {
        if !idle.should_park() {
            return false;
        }
        if self.in_flight {
            self.link.sleep(&self.write, FLIGHT_SLEEP);
            return false;
        }
        let began = Instant::now();
        std::thread::park_timeout(IDLE_SLEEP);
        began.elapsed() >= IDLE_SLEEP
    }

    // --- records ---

    /// Moves records from rings and spool into the composer, and from rings that fill into the spool.
    fn take(&mut self) -> bool {
        let mut busy = false;
        if self.begun && !self.spool.is_empty() {
            busy |= self.compose_from_spool();
        }
        for turn in 0..self.rings.len() {
            let index = (self.first_ring + turn) % self.rings.len();
            let direct = self.begun && self.spool.is_empty();
            if direct {
                busy |= self.compose_from_ring(index);
            }
            busy |= self.spool_from_ring(index);
        }
        if busy {
            self.first_ring = (self.first_ring + 1) % self.rings.len().max(1);
        }
        self.rings.retain(|ring| !(ring.is_abandoned() && ring.is_empty()));
        busy
    }

    fn compose_from_spool(&mut self) -> bool {
        let mut busy = false;
        while self.composer.room() > 0 {
            let front = self.spool.front();
            let count = self.composer.cut(front, None);
            if count == 0 {
                break;
            }
            self.composer.add(&front[..count]);
            self.spool.consume(count);
            busy = true;
        }
        if self.spool.is_empty() && self.spool.is_swollen() {
            self.spool.shrink();
        }
        busy
    }

    fn compose_from_ring(&mut self, index: usize) -> bool {
        let ring = &mut self.rings[index];
        let available = ring.slots();
        if available == 0 || self.composer.room() == 0 {
            return false;
        }
        // One more than there is room for, to see whether a packet would be cut.
        let Ok(chunk) = ring.read_chunk(available.min(self.composer.room() + 1)) else { return false };
        let (front, back) = chunk.as_slices();
        let mut count = self.composer.cut(front, back.first());
        self.composer.add(&front[..count]);
        if count == front.len() {
            let more = self.composer.cut(back, None);
            self.composer.add(&back[..more]);
            count += more;
        }
        chunk.commit(count);
        self.counts.records_in += count as u64;
        count > 0
    }

    /// The ring is the first buffer. What is beyond its half, or cannot go on directly, waits in the spool.
    fn spool_from_ring(&mut self, index: usize) -> bool {
        let ring = &mut self.rings[index];
        let available = ring.slots();
        let keep = if self.link.is_up() { ring.buffer().capacity() / 2 } else { 0 };
        if available <= keep {
            return false;
        }
        let Ok(chunk) = ring.read_chunk(available.min(SPOOL_ROUND)) else { return false };
        let (front, back) = chunk.as_slices();
        self.spool.push(front);
        self.spool.push(back);
        self.counts.records_in += (front.len() + back.len()) as u64;
        chunk.commit_all();
        true
    }

    // --- Redis ---

    /// Sends what was composed, when nothing is in flight.
    fn dispatch(&mut self) -> bool {
        if self.in_flight || !self.begun || !self.link.is_up() {
            return false;
        }
        self.instruments.fill(self.composer.write_mut());
        if self.composer.is_empty() {
            return false;
        }
        self.flight_records = self.composer.ticks() as u64;
        self.composer.finish(&mut self.write);
        self.in_flight = true;
        self.advance_write();
        true
    }

    fn advance_link(&mut self) -> bool {
        if self.link.is_up() {
            return self.in_flight && self.advance_write();
        }
        match self.link.connect() {
            None => false,
            Some(Ok(positions)) => {
                if !self.in_flight {
                    self.end_outage();
                }
                if self.begun {
                    self.resume(&positions);
                } else {
                    self.begin(positions);
                }
                true
            }
            Some(Err(error)) => {
                self.note_outage(&error);
                true
            }
        }
    }

    fn advance_write(&mut self) -> bool {
        match self.link.progress(&mut self.write) {
            Progress::Pending => false,
            Progress::Moved => true,
            Progress::Done => {
                self.acknowledge(Some(utc_now_ns()));
                true
            }
            Progress::Broken { error, partly } => {
                if partly {
                    // The stored position would say that it was carried out, and part of it was not.
                    self.write.witness = None;
                }
                self.lose_link(&error);
                true
            }
        }
    }

    fn begin(&mut self, positions: Vec<Positions>) {
        self.composer.begin_after(positions);
        self.begun = true;
    }

    /// A new connection in a run that goes on: settles the write whose answer was lost.
    fn resume(&mut self, positions: &[Positions]) {
        self.counts.reconnects += 1;
        if self.link.server_changed() {
            self.instruments.write_all_again();
        }
        let stored = |(shard, channel): (u16, u16)| positions[usize::from(shard)].get(&channel);
        let done = self.in_flight
            && self.write.witness.and_then(stored).is_some_and(|position| position.write == self.write.id);
        if done {
            self.counts.found_done += 1;
            self.acknowledge(None);
        } else if self.in_flight {
            self.write.sent = 0;
            self.counts.resent += 1;
        }
        self.look_for_rollback(positions);
    }

    /// Redis may hold less than it acknowledged: it was emptied, or went back to an older state. What it
    /// lost is gone; readers see it by the ranges of the entries.
    fn look_for_rollback(&mut self, positions: &[Positions]) {
        let run = self.write.id.run;
        let holds = |channel: &ChannelPublished, position: &Position| {
            position.write.run == run && position.write.number >= channel.write
        };
        let rolled_back = self.counts.channels.iter().any(|channel| {
            channel.write > 0
                && !positions
                    .iter()
                    .filter_map(|shard| shard.get(&channel.channel_id))
                    .any(|position| holds(channel, position))
        });
        if rolled_back {
            self.counts.rollbacks += 1;
            tracing::warn!(
                "Redis holds less than it had acknowledged; readers that were behind have lost data"
            );
        }
    }

    fn acknowledge(&mut self, now_ns: Option<u64>) {
        self.counts.channels.resize_with(self.composer.channel_count(), ChannelPublished::default);
        let counts = &mut self.counts;
        for entry in &self.write.entries {
            let channel = &mut counts.channels[entry.channel];
            channel.channel_id = self.composer.channel_id(entry.channel);
            channel.published += u64::from(entry.ticks);
            channel.last_sequence = entry.last;
            channel.write = self.write.id.number;
            counts.published += u64::from(entry.ticks);
            if let Some((numbers, why)) = entry.declared {
                counts.gaps += 1;
                channel.declared[declared_index(why)] += numbers;
            }
            if let Some(now) = now_ns
                && entry.oldest_ns != 0
            {
                self.latency.saturating_record(now.saturating_sub(entry.oldest_ns).max(1));
            }
        }
        counts.entries += self.write.entries.len() as u64;
        counts.writes += 1;
        counts.bytes += self.write.bytes.len() as u64;
        counts.instruments += self.write.instruments as u64;
        self.in_flight = false;
        self.flight_records = 0;
        self.end_outage();
    }

    fn lose_link(&mut self, error: &PublisherError) {
        self.link.down();
        self.note_outage(error);
    }

    fn note_outage(&mut self, error: &PublisherError) {
        let text = error.to_string();
        if self.outage_since.is_none() {
            tracing::warn!(error = text, "Redis does not take writes; ticks wait in the spool");
            self.outage_since = Some(Instant::now());
        }
        self.counts.last_error = Some(text);
    }

    fn end_outage(&mut self) {
        if let Some(since) = self.outage_since.take() {
            let (seconds, spooled) = (since.elapsed().as_secs_f64(), self.spool.waiting());
            tracing::info!(seconds, spooled, "Redis is there again");
        }
    }

    fn snapshot(&self) -> PublisherStats {
        let spool = self.spool.counts();
        PublisherStats {
            connected: self.link.is_up(),
            lost: spool.shed + spool.damaged,
            waiting: self.waiting(),
            spooled: self.spool.waiting() as u64,
            spool_high_water: spool.high_water,
            disk_refusals: spool.disk_refusals,
            instruments_dropped: self.instruments.dropped(),
            latency: Latency::of(&self.latency),
            latency_histogram: Some(self.latency.clone()),
            ..self.counts.clone()
        }
    }
}

fn declared_index(why: GapReason) -> usize {
    match why {
        GapReason::RingFull => 1,
        GapReason::SpoolFull => 2,
        GapReason::Offline => 3,
        _ => 0,
    }
}
