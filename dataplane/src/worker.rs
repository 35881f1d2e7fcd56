//! The worker: one thread that polls one receiver, arbitrates the feeds on it and hands ticks to the
//! publisher over a ring. After start-up it never allocates, locks, logs or waits for another thread.
//!
//! Everything that changes while it runs (feeds, sockets, a report that somebody wants to read) is prepared
//! elsewhere and arrives as a [`Command`]; whatever the worker no longer needs goes back as a [`Reply`], so
//! that memory is freed elsewhere too.

use crate::arrival::{Arrival, Receiver};
use crate::clock::{TimeMap, utc_now_ns};
use crate::handover::RingSink;
use crate::receiver::{AnyReceiver, ReceiverReport};
use crate::socket::{FeedSocket, SocketRequest};
use crate::wait::{Idle, Wait};
use arc_swap::ArcSwap;
use feed::{AnyChannel, ChannelStats};
use std::sync::Arc;
use std::time::Duration;

/// Feeds that one worker can hold. Slots are small numbers in the steering map and index an array here.
pub const SLOTS_MAX: usize = 256;
/// Packets taken in one round before commands and time are looked at: a few microseconds of work.
const ROUND_PACKETS: usize = 256;
/// Longest sleep of a parked worker: how late a command or a gap's deadline can be noticed.
const PARK_MAX: Duration = Duration::from_millis(1);

/// A change prepared for a worker.
#[derive(Debug)]
pub enum Command {
    /// A feed begins in a free slot.
    Add {
        /// The slot.
        slot: u16,
        /// The feed's channel.
        channel: Box<AnyChannel>,
        /// The channel was published before by this process: its first record is preceded by a clear.
        again: bool,
    },
    /// A feed's parameters change: the new channel goes on exactly where the one in the slot stands.
    Replace(u16, Box<AnyChannel>),
    /// A feed ends: what waits in it is delivered or declared, then it comes back.
    Remove(u16),
    /// A socket to poll (socket backend).
    AddSocket(Box<FeedSocket>),
    /// A socket to give back (socket backend).
    RemoveSocket(SocketRequest),
    /// A report to fill.
    Report(Box<WorkerReport>),
    /// Deliver or declare what waits in every feed.
    Finish,
    /// End.
    Stop,
}

/// What a worker gives back.
#[derive(Debug)]
pub enum Reply {
    /// The channel that was in this slot.
    Channel(u16, Box<AnyChannel>),
    /// A socket no longer polled.
    Socket(Box<FeedSocket>),
    /// A filled report.
    Report(Box<WorkerReport>),
}

/// What a worker has counted. Made by the reader with room for every slot, filled by the worker.
#[derive(Debug)]
pub struct WorkerReport {
    /// Statistics of the channel in each slot.
    pub channels: Vec<Option<ChannelStats>>,
    /// Ticks handed over and lost on the way to the publisher.
    pub handover: HandoverStats,
    /// The receiver's counters.
    pub receiver: ReceiverReport,
    /// The loop's counters.
    pub counters: WorkerCounters,
}

impl WorkerReport {
    /// An empty report with room for every slot.
    pub fn new() -> Box<WorkerReport> {
        Box::new(WorkerReport {
            channels: vec![None; SLOTS_MAX],
            handover: HandoverStats::default(),
            receiver: ReceiverReport::default(),
            counters: WorkerCounters::default(),
        })
    }
}

/// Counters of the ring to the publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandoverStats {
    /// Records put into the ring (ticks, gaps, clears).
    pub records: u64,
    /// Ticks that found the ring full; each is covered by a declared gap.
    pub ring_full: u64,
    /// Instrument definitions that found their ring full.
    pub instruments_dropped: u64,
}

/// Counters of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounters {
    /// Rounds in which something was received.
    pub busy_rounds: u64,
    /// Rounds in which nothing was.
    pub idle_rounds: u64,
    /// Packets for a slot that holds no feed (it was just taken out).
    pub no_feed: u64,
    /// Replies that found no room and were kept for the next round.
    pub replies_delayed: u64,
}

/// One worker, ready to run on its thread.
pub struct Worker {
    receiver: AnyReceiver,
    sink: RingSink,
    clock: Arc<ArcSwap<TimeMap>>,
    commands: rtrb::Consumer<Command>,
    replies: rtrb::Producer<Reply>,
    wait: Wait,
    channels: Box<[Option<Box<AnyChannel>>]>,
    queue_packets: usize,
}

impl Worker {
    /// A worker without feeds. `queue_packets` is what the receiver's queues hold at most.
    pub fn new(
        receiver: AnyReceiver,
        sink: RingSink,
        clock: Arc<ArcSwap<TimeMap>>,
        commands: rtrb::Consumer<Command>,
        replies: rtrb::Producer<Reply>,
        wait: Wait,
        queue_packets: usize,
    ) -> Worker {
        let channels = (0..SLOTS_MAX).map(|_| None).collect();
        Worker { receiver, sink, clock, commands, replies, wait, channels, queue_packets }
    }

    /// Runs until [`Command::Stop`].
    pub fn run(mut self) {
        let mut counters = WorkerCounters::default();
        let mut idle = Idle::new(self.wait);
        let mut horizon = Horizon::new(self.queue_packets);
        loop {
            if let Obeyed::Stop = self.obey(&mut counters) {
                return;
            }
            horizon.begin_round();
            let taken = self.round(&mut counters);
            if let Some(seen_until_ns) = horizon.end_round(taken, taken < ROUND_PACKETS) {
                self.expire(seen_until_ns);
            }
            if taken > 0 {
                counters.busy_rounds += 1;
                idle.reset();
            } else {
                counters.idle_rounds += 1;
                self.sink.retry();
                if idle.should_park() {
                    self.receiver.wait(PARK_MAX);
                }
            }
        }
    }

    /// Takes what arrived through arbiter and decoder. The whole hot path is below this line.
    #[inline]
    fn round(&mut self, counters: &mut WorkerCounters) -> usize {
        let map = self.clock.load();
        let (channels, sink) = (&mut self.channels, &mut self.sink);
        self.receiver.poll(ROUND_PACKETS, &mut |arrival: Arrival<'_>| {
            let Some(Some(channel)) = channels.get_mut(usize::from(arrival.slot)) else {
                counters.no_feed += 1;
                return;
            };
            let stamp = map.stamp(arrival.line, arrival.times, utc_now_ns);
            sink.begin(arrival.slot);
            channel.on_packet(arrival.line, stamp, arrival.payload, sink);
            sink.commit();
        })
    }

    /// Declares the gaps whose time was over at `seen_until_ns`.
    fn expire(&mut self, seen_until_ns: u64) {
        for (slot, channel) in self.channels.iter_mut().enumerate() {
            if let Some(channel) = channel {
                self.sink.begin(slot as u16);
                channel.on_time(seen_until_ns, &mut self.sink);
                self.sink.commit();
            }
        }
    }

    /// Takes the commands that came, as long as there is room to answer them.
    fn obey(&mut self, counters: &mut WorkerCounters) -> Obeyed {
        while !self.commands.is_empty() {
            if self.replies.is_full() {
                counters.replies_delayed += 1;
                break;
            }
            let Ok(command) = self.commands.pop() else { break };
            let reply = match command {
                Command::Stop => return Obeyed::Stop,
                Command::Finish => self.finish(),
                Command::Add { slot, channel, again } => self.place(slot, channel, again),
                Command::Replace(slot, channel) => self.replace(slot, channel),
                Command::Remove(slot) => self.remove(slot),
                Command::AddSocket(socket) => self.receiver.add_socket(socket).map(Reply::Socket),
                Command::RemoveSocket(request) => self.receiver.remove_socket(&request).map(Reply::Socket),
                Command::Report(report) => Some(self.report(report, counters)),
            };
            if let Some(reply) = reply {
                // There was room, and nobody else puts anything in.
                let _ = self.replies.push(reply);
            }
        }
        Obeyed::Continue
    }

    fn place(&mut self, slot: u16, channel: Box<AnyChannel>, again: bool) -> Option<Reply> {
        let place = self.channels.get_mut(usize::from(slot))?;
        self.sink.open(slot, again);
        place.replace(channel).map(|old| Reply::Channel(slot, old))
    }

    fn replace(&mut self, slot: u16, mut channel: Box<AnyChannel>) -> Option<Reply> {
        let place = self.channels.get_mut(usize::from(slot))?;
        if let Some(old) = place {
            self.sink.begin(slot);
            channel.take_over(old, &mut self.sink);
            self.sink.commit();
        }
        place.replace(channel).map(|old| Reply::Channel(slot, old))
    }

    fn remove(&mut self, slot: u16) -> Option<Reply> {
        let mut channel = self.channels.get_mut(usize::from(slot))?.take()?;
        self.sink.begin(slot);
        channel.finish(&mut self.sink);
        self.sink.commit();
        Some(Reply::Channel(slot, channel))
    }

    fn report(&mut self, mut report: Box<WorkerReport>, counters: &WorkerCounters) -> Reply {
        for (into, channel) in report.channels.iter_mut().zip(&self.channels) {
            match (into.as_mut(), channel) {
                (Some(stats), Some(channel)) => stats.clone_from(channel.stats()),
                (_, channel) => *into = channel.as_ref().map(|channel| channel.stats().clone()),
            }
        }
        report.handover = self.sink.stats();
        self.receiver.report(&mut report.receiver);
        report.counters = *counters;
        Reply::Report(report)
    }

    fn finish(&mut self) -> Option<Reply> {
        for (slot, channel) in self.channels.iter_mut().enumerate() {
            if let Some(channel) = channel {
                self.sink.begin(slot as u16);
                channel.finish(&mut self.sink);
                self.sink.commit();
            }
        }
        self.sink.retry();
        None
    }
}

enum Obeyed {
    Continue,
    Stop,
}

/// Knows until which moment everything that had arrived has been seen.
///
/// A packet that fills a hole may lie in one queue while later packets of the other line are taken from
/// another: a hole's deadline may be judged only by a moment whose arrivals were all looked at. That is so
/// when a round that began then emptied the queues, or when as many packets as the queues hold were taken
/// since.
struct Horizon {
    queue_packets: usize,
    since_ns: u64,
    taken: usize,
    open: bool,
}

impl Horizon {
    fn new(queue_packets: usize) -> Horizon {
        Horizon { queue_packets, since_ns: 0, taken: 0, open: false }
    }

    #[inline]
    fn begin_round(&mut self) {
        if !self.open {
            self.since_ns = utc_now_ns();
            self.taken = 0;
            self.open = true;
        }
    }

    #[inline]
    fn end_round(&mut self, taken: usize, emptied: bool) -> Option<u64> {
        self.taken += taken;
        // A round that emptied the queues closes a horizon that an earlier round opened, too.
        (emptied || self.taken > self.queue_packets).then(|| {
            self.open = false;
            self.since_ns
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_seen_through_when_the_queues_were_emptied_after_it() {
        let mut horizon = Horizon::new(100);
        horizon.begin_round();
        let opened = horizon.since_ns;
        assert_eq!(horizon.end_round(64, false), None);
        horizon.begin_round();
        assert_eq!(horizon.end_round(0, true), Some(opened));
    }

    #[test]
    fn a_moment_is_seen_through_when_more_was_taken_than_the_queues_hold() {
        let mut horizon = Horizon::new(100);
        horizon.begin_round();
        let opened = horizon.since_ns;
        assert_eq!(horizon.end_round(64, false), None);
        horizon.begin_round();
        assert_eq!(horizon.end_round(64, false), Some(opened));
        horizon.begin_round();
        assert!(horizon.since_ns >= opened);
        assert_eq!(horizon.end_round(64, false), None);
    }
}
