//! The arbiter of one channel: packets of two lines in, each message out once and in order.
//!
//! `docs/arbitration.md` has the rules and a drawing. The channel owns all its memory from the start: the
//! window of packets that wait for a missing one, the history that knows a copy when it sees one, and one
//! packet kept aside because nothing confirmed it yet. The hot path is [`Channel::on_packet`] down to
//! `take`; what is rare is marked cold.
//!
//! Invariants: nothing that waits begins at or below the next number, unless the start is still held; what
//! waits does not overlap; every number from the start on is delivered or declared, once, in order.

use crate::epoch::{Epoch, REACH, SEQUENCE_MAX, SILENCE_NS, Turn, Verdict};
use crate::history::History;
use crate::output::{Output, local_stamp};
use crate::window::{Arrived, Slot, Waiting, Window};
use crate::{ChannelStats, Header, Line, Malformed, MalformedReason, PacketKind, Protocol, Sink, Stamp};

/// How a channel is to arbitrate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelConfig {
    /// Venue and dataset in gap and clear records.
    pub publisher_id: u16,
    /// The channel in gap and clear records.
    pub channel_id: u16,
    /// Packets that may wait for a missing one, 1 to [`ChannelConfig::WINDOW_PACKETS_MAX`]. Too few, and a
    /// loss is declared before the slower line could fill it.
    pub window_packets: usize,
    /// Longest payload taken, bytes, 1 to [`ChannelConfig::PAYLOAD_BYTES_MAX`]. Each packet of the window
    /// takes so much memory.
    pub payload_bytes_max: usize,
    /// How long a missing packet is waited for, ns, and for how long the start is held. Less than the skew
    /// of the lines, and what the slower line would fill is declared lost.
    pub gap_timeout_ns: u64,
    /// The sequence number to be delivered first, below 2^63. `None`: what arrives sets the start.
    pub next_sequence: Option<u64>,
    /// The session that `next_sequence` belongs to. `None`: that of the first packet.
    pub resume_session: Option<u128>,
}

impl ChannelConfig {
    /// Most packets in a window.
    pub const WINDOW_PACKETS_MAX: usize = 65_536;
    /// Largest payload of a UDP datagram, bytes.
    pub const PAYLOAD_BYTES_MAX: usize = 65_535;

    /// The defaults: 1,024 packets of up to 2,048 bytes (2 MiB), 5 ms, started by what arrives.
    pub const fn new(publisher_id: u16, channel_id: u16) -> ChannelConfig {
        ChannelConfig {
            publisher_id,
            channel_id,
            window_packets: 1024,
            payload_bytes_max: 2048,
            gap_timeout_ns: 5_000_000,
            next_sequence: None,
            resume_session: None,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=ChannelConfig::WINDOW_PACKETS_MAX).contains(&self.window_packets) {
            Err(ConfigError::WindowPackets(self.window_packets))
        } else if !(1..=ChannelConfig::PAYLOAD_BYTES_MAX).contains(&self.payload_bytes_max) {
            Err(ConfigError::PayloadBytes(self.payload_bytes_max))
        } else if self.next_sequence.is_some_and(|next| next > SEQUENCE_MAX) {
            Err(ConfigError::NextSequence)
        } else if self.resume_session.is_some() && self.next_sequence.is_none() {
            Err(ConfigError::SessionWithoutSequence)
        } else {
            Ok(())
        }
    }
}

/// Why a channel cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The window is empty or too large.
    #[error("window of {0} packets: 1 to {max} are possible", max = ChannelConfig::WINDOW_PACKETS_MAX)]
    WindowPackets(usize),
    /// The longest payload is nothing, or longer than UDP carries.
    #[error("payloads of {0} bytes: 1 to {max} are possible", max = ChannelConfig::PAYLOAD_BYTES_MAX)]
    PayloadBytes(usize),
    /// A sequence number above 2^63 − 1.
    #[error("next sequence number above 2^63 - 1")]
    NextSequence,
    /// A session to resume, but no place in it.
    #[error("a session to resume needs the next sequence number in it")]
    SessionWithoutSequence,
}

/// A packet that waits, outside the window, for a second one to confirm it.
struct Suspect {
    turn: Turn,
    slot: Slot,
}

/// Messages `from..to` of one packet that no other packet brought before.
#[derive(Clone, Copy)]
struct Run {
    from: u64,
    to: u64,
    revealed_ns: u64,
}

/// The arbiter of one channel, and the decoder behind it.
pub struct Channel<P> {
    output: Output<P>,
    epoch: Epoch,
    window: Window,
    history: History,
    suspect: Option<Suspect>,
    payload_bytes_max: usize,
    gap_timeout_ns: u64,
}

impl<P> core::fmt::Debug for Channel<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Channel")
            .field("epoch", &self.epoch)
            .field("waiting", &self.window.packets())
            .finish_non_exhaustive()
    }
}

impl<P: Protocol> Channel<P> {
    /// Makes a channel. All its memory is allocated here.
    ///
    /// # Errors
    /// When a bound of the configuration is not kept.
    pub fn new(config: ChannelConfig, protocol: P) -> Result<Channel<P>, ConfigError> {
        config.check()?;
        let mut history = History::new();
        history.begin(config.next_sequence.unwrap_or(0));
        Ok(Channel {
            output: Output::new(protocol, config.publisher_id, config.channel_id),
            epoch: Epoch::new(P::SEQUENCE_BITS, config.next_sequence, config.resume_session),
            window: Window::new(config.window_packets, config.payload_bytes_max),
            history,
            suspect: None,
            payload_bytes_max: config.payload_bytes_max,
            gap_timeout_ns: config.gap_timeout_ns,
        })
    }

    /// Takes a packet that arrived on `line`.
    ///
    /// No hole is given up for its age here, only in [`Channel::on_time`]: a worker that was held up takes
    /// what has gathered on both lines before it looks at the clock.
    #[inline]
    pub fn on_packet(&mut self, line: Line, stamp: Stamp, payload: &[u8], sink: &mut impl Sink) {
        self.output.stats.lines[line.index()].packets += 1;
        match self.check(payload) {
            Ok(header) => match self.epoch.place(&header) {
                Some(first) if !self.epoch.went_back(first, &header) => {
                    self.take(&Arrived { line, stamp, header, first }, payload, sink);
                }
                _ => self.outside(Arrived { line, stamp, header, first: header.first }, payload, sink),
            },
            Err(malformed) => self.refuse(line, malformed),
        }
    }

    /// Gives up what has been waited for since `gap_timeout_ns` or longer. Cheap when nothing waits. To be
    /// called after every round over both lines; offline, before each packet with the packet's time.
    #[inline]
    pub fn on_time(&mut self, now_ns: u64, sink: &mut impl Sink) {
        if !self.window.is_empty() {
            self.expire(now_ns, sink);
        }
    }

    /// Believes a packet that lies far ahead in the same session and waits for a second one to confirm it. For
    /// the end of a recording, where no second one can come; a live channel lets it go. To be called before
    /// [`Channel::finish`].
    pub fn believe_last(&mut self, sink: &mut impl Sink) {
        if let Some(suspect) = self.suspect.take_if(|suspect| suspect.turn == Turn::Jump) {
            let arrived = *self.window.packet(&suspect.slot).0;
            self.turn(Turn::Jump, true, Some(suspect.slot), &arrived, sink);
        }
    }

    /// The input is over: delivers or declares what waits, and reports what each line missed. A packet that
    /// nothing confirmed is dropped. The channel may be used on.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        let stamp = local_stamp(self.epoch.last_ns);
        self.flush(stamp, sink);
        self.drop_suspect();
        self.history.flush(&mut |line, from, to| sink.missing(line, from, to));
        self.history.begin(self.epoch.next);
    }

    /// Goes on exactly where `old` stands, with this channel's window and times: the place in the count, what
    /// waits, the history, the decoder's state and the statistics are taken over. What the smaller window
    /// does not hold is delivered or declared. Both must be the same channel of the same venue.
    pub fn take_over(&mut self, old: &mut Channel<P>, sink: &mut impl Sink) {
        core::mem::swap(&mut self.output, &mut old.output);
        core::mem::swap(&mut self.epoch, &mut old.epoch);
        core::mem::swap(&mut self.history, &mut old.history);
        while let Some(waiting) = old.window.pop_due(u64::MAX) {
            let Some(slot) = waiting.slot else {
                self.window.insert_mark(waiting.first, waiting.revealed_ns);
                continue;
            };
            let (arrived, payload) = old.window.packet(&slot);
            if payload.len() > self.payload_bytes_max {
                self.flush(arrived.stamp, sink);
                self.advance(waiting.first, arrived.stamp, sink);
            }
            let run = Run { from: waiting.first, to: waiting.end, revealed_ns: waiting.revealed_ns };
            self.place_run(arrived, payload, run, sink);
            old.window.release(slot);
        }
        self.drop_suspect();
        if let Some(suspect) = old.suspect.take() {
            let (arrived, payload) = old.window.packet(&suspect.slot);
            if payload.len() <= self.payload_bytes_max {
                let slot = self.window.keep(arrived, payload);
                self.suspect = Some(Suspect { turn: suspect.turn, slot });
            }
            old.window.release(suspect.slot);
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> &ChannelStats {
        &self.output.stats
    }

    /// The sequence number that is to be delivered next; `None` until the start is settled.
    pub fn expected(&self) -> Option<u64> {
        (!self.epoch.unanchored).then_some(self.epoch.next)
    }

    /// The session that [`Channel::expected`] belongs to; `None` before the first packet.
    pub fn session(&self) -> Option<u128> {
        self.epoch.started.then_some(self.epoch.session)
    }

    /// Packets that wait for a missing one.
    pub fn waiting(&self) -> usize {
        self.window.packets()
    }

    /// Calls `visit` with each message type or template and how many were delivered.
    pub fn message_counts(&self, visit: &mut dyn FnMut(&str, u64)) {
        self.output.protocol.message_counts(visit);
    }

    /// The decoder.
    pub fn protocol(&self) -> &P {
        &self.output.protocol
    }

    #[inline]
    fn check(&self, payload: &[u8]) -> Result<Header, Malformed> {
        if payload.len() > self.payload_bytes_max {
            let offset = self.payload_bytes_max as u32;
            return Err(Malformed { reason: MalformedReason::Oversized, offset });
        }
        let header = self.output.protocol.header(payload)?;
        // A message takes at least a byte: a larger count is not to be believed.
        if header.count as usize > payload.len() {
            return Err(Malformed { reason: MalformedReason::BadLength, offset: 0 });
        }
        if header.first > SEQUENCE_MAX {
            return Err(Malformed { reason: MalformedReason::BadValue, offset: 0 });
        }
        Ok(header)
    }

    #[cold]
    fn refuse(&mut self, line: Line, malformed: Malformed) {
        let line = &mut self.output.stats.lines[line.index()];
        line.malformed[malformed.reason as usize] += 1;
        line.malformed_last = Some(malformed);
    }

    /// Takes a packet of this count that lies within reach.
    #[inline]
    fn take(&mut self, arrived: &Arrived, payload: &[u8], sink: &mut impl Sink) {
        let (line, header, recv_ns) = (arrived.line, &arrived.header, arrived.stamp.recv_ns);
        let (first, end) = (arrived.first, arrived.end());
        self.epoch.note(line, end, recv_ns);
        if header.kind != PacketKind::Data {
            self.note_kind(line, header.kind);
        }
        if header.count == 0 {
            return self.take_empty(arrived);
        }
        self.make_room(end, sink);
        let next = self.epoch.next;
        let brought = if end <= next {
            false
        } else if first <= next && self.window.is_empty() && !self.epoch.unanchored {
            self.output.deliver(arrived, payload, next, end, sink);
            self.epoch.next = end;
            true
        } else {
            self.place_new(arrived, payload, sink)
        };
        self.mark(arrived, brought);
    }

    #[inline]
    fn make_room(&mut self, end: u64, sink: &mut impl Sink) {
        if !self.history.has_room(end) {
            self.history.make_room(end, &mut |line, from, to| sink.missing(line, from, to));
        }
    }

    /// Notes in history and statistics what a packet brought.
    #[inline]
    fn mark(&mut self, arrived: &Arrived, brought: bool) {
        let (line, recv_ns) = (arrived.line, arrived.stamp.recv_ns);
        let stats = &mut self.output.stats;
        let marked = self.history.mark(line, arrived.first, arrived.end(), recv_ns, &mut stats.lines);
        let counts = &mut stats.lines[line.index()];
        if brought {
            counts.won += 1;
            self.epoch.note_sent(arrived.header.send_ns);
        } else if marked.lost {
            counts.late += 1;
        } else {
            counts.duplicates += 1;
        }
        if let Some(other_first_ns) = marked.other_first_ns {
            self.output.note_lead(line, recv_ns, other_first_ns);
        }
    }

    #[cold]
    fn note_kind(&mut self, line: Line, kind: PacketKind) {
        let counts = &mut self.output.stats.lines[line.index()];
        match kind {
            PacketKind::Data => {}
            PacketKind::Heartbeat => counts.heartbeats += 1,
            PacketKind::EndOfSession => {
                counts.ends_of_session += 1;
                self.output.stats.sessions_ended += u64::from(!self.epoch.ended);
                self.epoch.ended = true;
            }
        }
    }

    /// A packet without messages: it only says that all numbers before its own exist.
    #[cold]
    fn take_empty(&mut self, arrived: &Arrived) {
        self.output.stats.lines[arrived.line.index()].empty += 1;
        if arrived.first > self.epoch.next || self.epoch.unanchored {
            self.window.insert_mark(arrived.first, arrived.stamp.recv_ns);
        }
    }

    /// Delivers or keeps each run of messages that no packet brought before; says whether there was one.
    #[cold]
    #[inline(never)]
    fn place_new(&mut self, arrived: &Arrived, payload: &[u8], sink: &mut impl Sink) -> bool {
        let end = arrived.end();
        let mut at = arrived.first.max(self.epoch.next);
        let mut brought = false;
        while let Some((from, to)) = self.history.next_unseen(at, end) {
            let run = Run { from, to, revealed_ns: arrived.stamp.recv_ns };
            self.place_run(arrived, payload, run, sink);
            brought = true;
            at = to;
        }
        brought
    }

    fn place_run(&mut self, arrived: &Arrived, payload: &[u8], run: Run, sink: &mut impl Sink) {
        loop {
            if run.from == self.epoch.next && !self.epoch.unanchored {
                self.output.deliver(arrived, payload, run.from, run.to, sink);
                self.epoch.next = run.to;
                return self.drain(sink);
            }
            if !self.window.is_full() {
                let slot = self.window.keep(arrived, payload);
                return self.wait(run, slot);
            }
            let oldest = self.window.front().map_or(run.from, |waiting| waiting.first.min(run.from));
            self.advance(oldest, arrived.stamp, sink);
        }
    }

    fn wait(&mut self, run: Run, slot: Slot) {
        self.window.insert(run.from, run.to, slot, run.revealed_ns);
        let most = &mut self.output.stats.window_packets_max;
        *most = (*most).max(self.window.packets() as u32);
    }

    /// Gives up everything below `to`, which is nothing that waits, and goes on from there.
    fn advance(&mut self, to: u64, stamp: Stamp, sink: &mut impl Sink) {
        let from = self.epoch.next;
        self.make_room(to, sink);
        self.history.mark_lost(from, to);
        if self.epoch.unanchored {
            self.epoch.unanchored = false;
        } else if from < to {
            self.output.gap(from, to, stamp, sink);
        }
        self.epoch.next = to;
        self.epoch.note_end(to);
        self.drain(sink);
    }

    /// Delivers what waits and has its turn.
    fn drain(&mut self, sink: &mut impl Sink) {
        while let Some(waiting) = self.window.pop_due(self.epoch.next) {
            if let Some(slot) = waiting.slot {
                debug_assert_eq!(waiting.first, self.epoch.next);
                let (arrived, payload) = self.window.packet(&slot);
                self.output.deliver(arrived, payload, waiting.first, waiting.end, sink);
                self.window.release(slot);
                self.epoch.next = waiting.end;
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn expire(&mut self, now_ns: u64, sink: &mut impl Sink) {
        while let Some(front) = self.window.front_mut() {
            // A stamp from the future (a clock was stepped) counts from now.
            front.revealed_ns = front.revealed_ns.min(now_ns);
            let (first, waited_ns) = (front.first, now_ns - front.revealed_ns);
            if waited_ns < self.gap_timeout_ns {
                return;
            }
            self.advance(first, local_stamp(now_ns), sink);
        }
    }

    /// Delivers or declares everything that waits.
    fn flush(&mut self, stamp: Stamp, sink: &mut impl Sink) {
        while let Some(front) = self.window.front() {
            let first = front.first;
            self.advance(first, stamp, sink);
        }
    }

    /// A packet that is not of this count, or not within reach. Its `first` is not unwrapped yet.
    #[cold]
    #[inline(never)]
    fn outside(&mut self, mut arrived: Arrived, payload: &[u8], sink: &mut impl Sink) {
        if !self.epoch.started {
            self.epoch.start(&arrived.header);
            if self.epoch.unanchored {
                self.history.begin(self.epoch.next);
            }
        }
        let lone_start = self.lone_start();
        let counts = &mut self.output.stats.lines[arrived.line.index()];
        match self.epoch.judge(arrived.line, arrived.stamp.recv_ns, &arrived.header, lone_start) {
            Verdict::Near(first) => {
                arrived.first = first;
                self.take(&arrived, payload, sink);
            }
            Verdict::Stale => counts.stale += 1,
            Verdict::Old => counts.late += 1,
            Verdict::PastWindow => {
                self.make_way(&arrived.header, arrived.stamp, sink);
                self.take_near(arrived, payload, sink);
            }
            Verdict::Turn { turn, sure } => self.consider(turn, sure, arrived, payload, sink),
        }
    }

    /// The window reaches [`REACH`] numbers, however few packets are in it: gives up the oldest holes until
    /// the packet is within reach.
    fn make_way(&mut self, header: &Header, stamp: Stamp, sink: &mut impl Sink) {
        while let Some(front) = self.window.front()
            && self.epoch.near(header.first).is_none()
        {
            let first = front.first;
            self.advance(first, stamp, sink);
        }
    }

    fn take_near(&mut self, mut arrived: Arrived, payload: &[u8], sink: &mut impl Sink) {
        match self.epoch.near(arrived.header.first) {
            Some(first) => {
                arrived.first = first;
                self.take(&arrived, payload, sink);
            }
            None => self.output.stats.lines[arrived.line.index()].unconfirmed += 1,
        }
    }

    /// A packet that would change the count: believed when it proves it, or when the packet kept aside
    /// says the same; otherwise kept aside itself.
    fn consider(&mut self, turn: Turn, sure: bool, arrived: Arrived, payload: &[u8], sink: &mut impl Sink) {
        let partner = self.suspect.take_if(|suspect| {
            let (kept, _) = self.window.packet(&suspect.slot);
            suspect.turn == turn
                && arrived.stamp.recv_ns.saturating_sub(kept.stamp.recv_ns) <= SILENCE_NS
                && self.epoch.confirms((kept.line, &kept.header), (arrived.line, &arrived.header))
        });
        self.drop_suspect();
        if sure || partner.is_some() {
            let kept = partner.map(|suspect| suspect.slot);
            self.turn(turn, sure, kept, &arrived, sink);
            self.take_near(arrived, payload, sink);
        } else {
            let slot = self.window.keep(&arrived, payload);
            self.suspect = Some(Suspect { turn, slot });
        }
    }

    fn drop_suspect(&mut self) {
        if let Some(suspect) = self.suspect.take() {
            let line = self.window.packet(&suspect.slot).0.line;
            self.output.stats.lines[line.index()].unconfirmed += 1;
            self.window.release(suspect.slot);
        }
    }

    /// Goes to the new place or count, and lets the packet that was kept aside wait for its turn there.
    fn turn(&mut self, turn: Turn, sure: bool, kept: Option<Slot>, arrived: &Arrived, sink: &mut impl Sink) {
        let stamp = arrived.stamp;
        let mut low = arrived.header;
        if let Some(slot) = &kept {
            low = *self.epoch.lower(&self.window.packet(slot).0.header, &low);
        }
        if self.lone_start() && !sure && low.session == self.epoch.session {
            self.forget_start(&low);
        } else if turn == Turn::Jump {
            self.flush(stamp, sink);
            if self.epoch.near(low.first).is_none() {
                self.advance(self.epoch.unwrap_ahead(low.first), stamp, sink);
            }
        } else {
            self.restart(&low, stamp, sink);
        }
        if let Some(slot) = kept {
            self.admit(slot, sink);
        }
    }

    /// Ends the old count and begins the new one.
    fn restart(&mut self, low: &Header, stamp: Stamp, sink: &mut impl Sink) {
        self.flush(stamp, sink);
        self.history.flush(&mut |line, from, to| sink.missing(line, from, to));
        let start = self.epoch.restart(low, stamp.recv_ns);
        self.history.begin(start);
        // A channel reset clears the books itself when it is delivered, which is at once if it is first.
        if !(low.reset && low.first == start && low.count > 0) {
            self.output.clear(start, stamp, sink);
        }
        if low.first - start > REACH {
            self.advance(low.first, stamp, sink);
        }
    }

    /// Whether the start is held, and only one packet of one line says where it is.
    fn lone_start(&self) -> bool {
        self.epoch.unanchored && self.window.len() == 1 && self.epoch.one_line()
    }

    /// The start was set by one packet, and two others agree on another place: the one was damaged.
    fn forget_start(&mut self, low: &Header) {
        if let Some(Waiting { first, end, slot: Some(slot), .. }) = self.window.pop_due(u64::MAX) {
            let line = self.window.packet(&slot).0.line;
            let lines = &mut self.output.stats.lines;
            lines[line.index()].won -= 1;
            lines[line.index()].unconfirmed += 1;
            lines[line.other().index()].missing -= end - first;
            self.window.release(slot);
        }
        self.history.flush(&mut |_, _, _| {});
        self.epoch.hold_start(low);
        self.history.begin(self.epoch.next);
    }

    /// Takes the packet that was kept aside, now that its count is the channel's.
    fn admit(&mut self, slot: Slot, sink: &mut impl Sink) {
        let mut kept = *self.window.packet(&slot).0;
        let (line, recv_ns) = (kept.line, kept.stamp.recv_ns);
        let place = self.epoch.near(kept.header.first).filter(|&first| first >= self.epoch.next);
        let Some(first) = place else {
            self.output.stats.lines[line.index()].unconfirmed += 1;
            return self.window.release(slot);
        };
        kept.first = first;
        self.window.packet_mut(&slot).first = first;
        self.epoch.note(line, kept.end(), recv_ns);
        self.note_kind(line, kept.header.kind);
        if kept.header.count == 0 {
            self.window.release(slot);
            return self.take_empty(&kept);
        }
        self.make_room(kept.end(), sink);
        self.wait(Run { from: first, to: kept.end(), revealed_ns: recv_ns }, slot);
        if !self.epoch.unanchored {
            self.drain(sink);
        }
        self.mark(&kept, true);
    }
}
