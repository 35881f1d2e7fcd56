//! The session of table (j): ITCH 5.0 in MoldUDP64 packets, three messages each on average, made from a seed; each packet
//! is stamped when it is sent.
//!
//! Exchanges stamp their messages, so the send time travels in the messages' own time field, and every receiver hands it on
//! as the event's time.

use anyhow::{Context, Result};
use feed::{Channel, ChannelConfig, Itch50, Line, Sink, Stamp};
use tick::{Action, Clock, ClockSource, Instrument, Tick};
use venue::session::{Packet, Source};
use venue::synthetic::{SessionEnd, Synthetic, SyntheticSpec};
use wire::itch50::Head;
use wire::moldudp64::{BLOCK_LENGTH_BYTES, HEADER_BYTES};

/// Symbols of the session.
pub const SYMBOLS: u16 = 4;
/// Venue and dataset of its ticks.
pub const PUBLISHER: u16 = 1;
/// Its channel.
pub const CHANNEL: u16 = 1;
const SEED: u64 = 20_260_105;
/// Where a message's time of day is, and how long it is.
const TIME_AT: usize = 5;
const TIME_BYTES: usize = 6;
const _: () = assert!(size_of::<Head>() == TIME_AT + TIME_BYTES);

/// A packet of the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionPacket {
    /// Sequence number of its first message.
    pub first: u64,
    /// Its messages.
    pub messages: u32,
    /// The ticks that the data plane makes of it.
    pub ticks: u32,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// The session, packet by packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The packets, in sequence, without a hole.
    pub packets: Vec<SessionPacket>,
    /// Packets in front that open the day: what is listed, and that it trades. The first order is behind them.
    pub opening: usize,
    /// The ticks in all of them.
    pub ticks: u64,
}

#[derive(Default)]
struct Collect(Vec<Tick>);

impl Sink for Collect {
    fn tick(&mut self, tick: &Tick) {
        self.0.push(*tick);
    }

    fn instrument(&mut self, _: &Instrument) {}
}

/// A channel as the data plane has it.
fn channel() -> Result<Channel<Itch50>> {
    let config = ChannelConfig { next_sequence: Some(1), ..ChannelConfig::new(PUBLISHER, CHANNEL) };
    Ok(Channel::new(config, Itch50::new(PUBLISHER, CHANNEL))?)
}

fn stamp(recv_ns: u64) -> Stamp {
    Stamp { recv_ns, clock: Clock::new(ClockSource::Capture, true) }
}

impl Session {
    /// A session of at least so many ticks, always the same.
    ///
    /// # Errors
    /// The generator's settings are wrong.
    pub fn new(ticks: u64) -> Result<Session> {
        let spec =
            SyntheticSpec { symbols: SYMBOLS, ..SyntheticSpec::new(SessionEnd::Messages(u64::MAX), SEED) };
        let mut source = Synthetic::new(&spec)?;
        let (mut channel, mut made) = (channel()?, Collect::default());
        let mut session = Session { packets: Vec::new(), opening: 0, ticks: 0 };
        let mut is_opening = true;
        let mut packet = Packet::default();
        while session.ticks < ticks && source.next(&mut packet)? {
            if packet.messages == 0 {
                continue;
            }
            channel.on_packet(Line::A, stamp(packet.at_ns), &packet.payload, &mut made);
            session.packets.push(SessionPacket {
                first: packet.first,
                messages: packet.messages,
                ticks: made.0.len() as u32,
                payload: packet.payload.clone(),
            });
            session.ticks += made.0.len() as u64;
            is_opening &= !made.0.iter().any(|tick| tick.action == Action::Add);
            session.opening += usize::from(is_opening);
            made.0.clear();
        }
        Ok(session)
    }

    /// What the data plane makes of the packets, whose arrivals are what `recv_ns` says of each.
    ///
    /// # Errors
    /// None of this session.
    pub fn decode(&self, mut recv_ns: impl FnMut(&SessionPacket) -> u64) -> Result<Vec<Tick>> {
        let (mut channel, mut made) = (channel()?, Collect::default());
        for packet in &self.packets {
            channel.on_packet(Line::A, stamp(recv_ns(packet)), &packet.payload, &mut made);
        }
        Ok(made.0)
    }

    /// The packet that has the message of this number.
    pub fn packet_of(&self, sequence: u64) -> Option<usize> {
        let after = self.packets.partition_point(|packet| packet.first <= sequence);
        let at = after.checked_sub(1)?;
        (sequence < self.packets[at].first + u64::from(self.packets[at].messages)).then_some(at)
    }
}

/// The day's beginning as the messages count their time from it, ns since the epoch.
///
/// # Errors
/// The decoder makes nothing of a message.
pub fn day_begins_ns(now_ns: u64) -> Result<u64> {
    let session = Session::new(1)?;
    let mut packet = session.packets[0].clone();
    write_time(&mut packet.payload, 0);
    let made = Session { packets: vec![packet], opening: 0, ticks: 1 }.decode(|_| now_ns)?;
    made.iter().map(|tick| tick.ts_event).find(|&ns| ns > 0).context("a message without a time")
}

/// Writes the time of day into every message of a packet.
pub fn write_time(payload: &mut [u8], time_of_day_ns: u64) {
    let mut at = HEADER_BYTES;
    while let Some(length) = payload.get(at..at + BLOCK_LENGTH_BYTES) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let message = at + BLOCK_LENGTH_BYTES;
        if let Some(time) = payload.get_mut(message + TIME_AT..message + TIME_AT + TIME_BYTES) {
            time.copy_from_slice(&time_of_day_ns.to_be_bytes()[size_of::<u64>() - TIME_BYTES..]);
        }
        at = message + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_carries_the_time_that_was_written_into_it() {
        let session = Session::new(2_000).unwrap();
        let now_ns = 1_767_627_000_123_456_789;
        let begins_ns = day_begins_ns(now_ns).unwrap();
        assert!((0..86_400_000_000_000).contains(&(now_ns - begins_ns)));
        let mut stamped = session.clone();
        for packet in &mut stamped.packets {
            write_time(&mut packet.payload, now_ns - begins_ns + packet.first);
        }
        let made = stamped.decode(|packet| now_ns + packet.first).unwrap();
        assert_eq!(made.len() as u64, session.ticks);
        let of_messages = made.iter().filter(|tick| tick.ts_event > 0);
        for tick in of_messages {
            let packet = &session.packets[session.packet_of(tick.sequence).unwrap()];
            assert_eq!(tick.ts_event, now_ns + packet.first);
        }
    }

    #[test]
    fn every_number_is_in_one_packet() {
        let session = Session::new(500).unwrap();
        assert!(session.opening > 0 && session.opening < session.packets.len());
        let last = session.packets.last().unwrap();
        for sequence in 1..last.first + u64::from(last.messages) {
            let packet = &session.packets[session.packet_of(sequence).unwrap()];
            assert!((packet.first..packet.first + u64::from(packet.messages)).contains(&sequence));
        }
        assert_eq!(session.packet_of(0), None);
        assert_eq!(session.packet_of(last.first + u64::from(last.messages)), None);
    }
}
