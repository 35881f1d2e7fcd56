//! A channel of any protocol that feedplane speaks, for those who hold several side by side.

use crate::{Channel, ChannelStats, Itch50, Line, Mdp3, Sink, Stamp};

/// A [`Channel`] of one of the protocols. Every method is that of the channel.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once a channel and never moved on the hot path")]
pub enum AnyChannel {
    /// CME MDP 3.0.
    Mdp3(Channel<Mdp3>),
    /// Nasdaq TotalView-ITCH 5.0 over MoldUDP64.
    Itch50(Channel<Itch50>),
}

macro_rules! each {
    ($any:expr, $channel:ident => $call:expr) => {
        match $any {
            AnyChannel::Mdp3($channel) => $call,
            AnyChannel::Itch50($channel) => $call,
        }
    };
}

impl AnyChannel {
    /// See [`Channel::on_packet`].
    #[inline]
    pub fn on_packet(&mut self, line: Line, stamp: Stamp, payload: &[u8], sink: &mut impl Sink) {
        each!(self, channel => channel.on_packet(line, stamp, payload, sink));
    }

    /// See [`Channel::on_time`].
    #[inline]
    pub fn on_time(&mut self, now_ns: u64, sink: &mut impl Sink) {
        each!(self, channel => channel.on_time(now_ns, sink));
    }

    /// See [`Channel::finish`].
    pub fn finish(&mut self, sink: &mut impl Sink) {
        each!(self, channel => channel.finish(sink));
    }

    /// See [`Channel::believe_last`].
    pub fn believe_last(&mut self, sink: &mut impl Sink) {
        each!(self, channel => channel.believe_last(sink));
    }

    /// See [`Channel::take_over`]. A channel of another protocol is finished instead.
    pub fn take_over(&mut self, old: &mut AnyChannel, sink: &mut impl Sink) {
        match (self, old) {
            (AnyChannel::Mdp3(new), AnyChannel::Mdp3(old)) => new.take_over(old, sink),
            (AnyChannel::Itch50(new), AnyChannel::Itch50(old)) => new.take_over(old, sink),
            (_, old) => old.finish(sink),
        }
    }

    /// See [`Channel::stats`].
    pub fn stats(&self) -> &ChannelStats {
        each!(self, channel => channel.stats())
    }

    /// See [`Channel::expected`].
    pub fn expected(&self) -> Option<u64> {
        each!(self, channel => channel.expected())
    }

    /// See [`Channel::session`].
    pub fn session(&self) -> Option<u128> {
        each!(self, channel => channel.session())
    }

    /// See [`Channel::waiting`].
    pub fn waiting(&self) -> usize {
        each!(self, channel => channel.waiting())
    }

    /// See [`Channel::message_counts`].
    pub fn message_counts(&self, visit: &mut dyn FnMut(&str, u64)) {
        each!(self, channel => channel.message_counts(visit));
    }
}
