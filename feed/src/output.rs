//! The way out of a channel: packets to the decoder, gaps and clears to the sink, in order.
//!
//! Invariant: after a gap every tick carries `MAYBE_BAD_BOOK` until the channel is cleared.

use crate::window::Arrived;
use crate::{ChannelStats, Delivery, Line, Protocol, Sink, Stamp};
use tick::{Clock, ClockSource, Flags, GapReason, Tick};

pub(crate) struct Output<P> {
    pub(crate) protocol: P,
    pub(crate) stats: ChannelStats,
    publisher_id: u16,
    channel_id: u16,
    /// `MAYBE_BAD_BOOK`, or nothing.
    book: Flags,
}

impl<P: Protocol> Output<P> {
    pub(crate) fn new(protocol: P, publisher_id: u16, channel_id: u16) -> Output<P> {
        Output { protocol, stats: ChannelStats::default(), publisher_id, channel_id, book: Flags::NONE }
    }

    /// Hands the messages `from..end` of a packet to the decoder.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        arrived: &Arrived,
        payload: &[u8],
        from: u64,
        end: u64,
        sink: &mut impl Sink,
    ) {
        debug_assert!(arrived.first <= from && from < end && end <= arrived.end());
        if arrived.header.reset && from == arrived.first {
            self.clear(from, arrived.stamp, sink);
        }
        let stamp = arrived.stamp;
        let clock = if stamp.clock.in_sync() { Flags::NONE } else { Flags::BAD_TS_RECV };
        let take = (end - from) as u32;
        self.stats.delivered_packets += 1;
        self.stats.delivered_sequences += u64::from(take);
        let delivery = Delivery {
            payload,
            header: arrived.header,
            sequence: arrived.first,
            skip: (from - arrived.first) as u32,
            take,
            source: arrived.line.source(),
            stamp,
            flags: self.book | clock,
        };
        let line = &mut self.stats.lines[arrived.line.index()];
        self.protocol.decode(&delivery, sink, &mut |malformed| {
            line.malformed_messages[malformed.reason as usize] += 1;
            line.malformed_last = Some(malformed);
        });
    }

    /// Declares `from..end` lost.
    pub(crate) fn gap(&mut self, from: u64, end: u64, stamp: Stamp, sink: &mut impl Sink) {
        debug_assert!(from < end);
        self.stats.gaps += 1;
        self.stats.lost += end - from;
        self.book = Flags::MAYBE_BAD_BOOK;
        let gap =
            Tick::gap(self.publisher_id, self.channel_id, from, end - 1, stamp.recv_ns, GapReason::Lost);
        sink.tick(&Tick { clock: stamp.clock, ..gap });
    }

    /// The channel starts over at `sequence`: the books are empty, and good again.
    #[cold]
    pub(crate) fn clear(&mut self, sequence: u64, stamp: Stamp, sink: &mut impl Sink) {
        self.stats.resets += 1;
        self.book = Flags::NONE;
        self.protocol.reset();
        let clear = Tick::channel_clear(self.publisher_id, self.channel_id, sequence, stamp.recv_ns);
        sink.tick(&Tick { clock: stamp.clock, ..clear });
    }

    /// Counts how a packet that may have been led by the other line compares with it.
    #[inline]
    pub(crate) fn note_lead(&mut self, line: Line, recv_ns: u64, other_first_ns: u64) {
        if recv_ns >= other_first_ns {
            self.stats.lines[line.other().index()].lead.record(recv_ns - other_first_ns);
        } else {
            self.stats.lines[line.index()].lead.record(other_first_ns - recv_ns);
        }
    }
}

/// The stamp of something that no packet caused.
pub(crate) const fn local_stamp(now_ns: u64) -> Stamp {
    Stamp { recv_ns: now_ns, clock: Clock::new(ClockSource::User, false) }
}
