//! A capture as a session: its packets, at its times, on the lines that its destinations are.

use crate::capture::{Capture, Progress};
use crate::frame;
use crate::session::{Channel, Line, LineAddress, Packet, Protocol, Source, SourceError};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use wire::mdp3::{Messages, PacketHeader};
use wire::moldudp64::{Kind, Packet as MoldPacket};

/// A sender that is back at its first sequence number after more than this has restarted.
const RESTART_AFTER: u64 = 64;

/// A capture being played.
pub struct Recorded {
    capture: Capture,
    channels: Vec<Channel>,
    /// Places by destination; more than one where senders are told apart.
    lines: HashMap<SocketAddrV4, Vec<Place>>,
    /// Sessions by channel, in the order in which they began: a session's index is its run.
    sessions: Vec<Vec<[u8; 10]>>,
    begin_ns: Option<u64>,
    last_ns: u64,
    passed_over: u64,
    ended: bool,
}

struct Place {
    channel: usize,
    line: Line,
    /// Only packets from this sender.
    only_from: Option<Ipv4Addr>,
    seen: bool,
    next_sequence: u64,
    run: u32,
}

/// Where a packet stands in its channel's sequence.
#[derive(Default)]
struct Position {
    first: u64,
    count: u32,
    messages: u32,
    session: Option<[u8; 10]>,
}

impl Recorded {
    /// Plays of `capture` what is sent to the lines of these channels. A line's source address is taken from
    /// its first packet; one that is given here and is not 0.0.0.0 is a filter.
    pub fn new(capture: Capture, channels: Vec<Channel>) -> Recorded {
        let mut lines: HashMap<_, Vec<Place>> = HashMap::new();
        for (index, channel) in channels.iter().enumerate() {
            for line in Line::BOTH {
                let Some(LineAddress { destination, source }) = channel.lines[line.index()] else { continue };
                let only_from = (!source.ip().is_unspecified()).then_some(*source.ip());
                let place = Place { channel: index, line, only_from, seen: false, next_sequence: 0, run: 0 };
                lines.entry(destination).or_default().push(place);
            }
        }
        let sessions = vec![Vec::new(); channels.len()];
        Recorded {
            capture,
            channels,
            lines,
            sessions,
            begin_ns: None,
            last_ns: 0,
            passed_over: 0,
            ended: false,
        }
    }

    /// When the first packet was captured, ns since the Unix epoch; 0 before one was read.
    pub fn begin_ns(&self) -> u64 {
        self.begin_ns.unwrap_or(0)
    }

    /// How far the capture was read.
    pub fn progress(&self) -> Progress {
        self.capture.progress()
    }
}

impl Source for Recorded {
    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn next(&mut self, packet: &mut Packet) -> Result<bool, SourceError> {
        while !self.ended {
            let Some(record) = self.capture.next_record()? else { break };
            let Ok(datagram) = frame::parse(record.link, record.frame) else {
                self.passed_over += 1;
                continue;
            };
            let wanted = |place: &&mut Place| place.only_from.is_none_or(|ip| ip == *datagram.source.ip());
            let places = self.lines.get_mut(&datagram.destination);
            let Some(place) = places.and_then(|places| places.iter_mut().find(wanted)) else {
                self.passed_over += 1;
                continue;
            };
            let channel = &mut self.channels[place.channel];
            if !place.seen {
                place.seen = true;
                let destination = datagram.destination;
                channel.lines[place.line.index()] =
                    Some(LineAddress { destination, source: datagram.source });
            }
            let begin_ns = *self.begin_ns.get_or_insert(record.ts_ns);
            self.last_ns = self.last_ns.max(record.ts_ns.saturating_sub(begin_ns));
            let position = position(channel.protocol, datagram.payload)
                .unwrap_or(Position { first: place.next_sequence, ..Position::default() });
            packet.run = place.run(&position, &mut self.sessions[place.channel]);
            packet.at_ns = self.last_ns;
            packet.channel = place.channel;
            packet.on_lines = [place.line == Line::A, place.line == Line::B];
            packet.first = position.first;
            packet.count = position.count;
            packet.messages = position.messages;
            packet.closing = false;
            packet.payload.clear();
            packet.payload.extend_from_slice(datagram.payload);
            return Ok(true);
        }
        Ok(false)
    }

    fn end_early(&mut self) {
        self.ended = true;
    }

    fn passed_over(&self) -> u64 {
        self.passed_over
    }
}

impl Place {
    fn run(&mut self, position: &Position, sessions: &mut Vec<[u8; 10]>) -> u32 {
        let end = position.first + u64::from(position.count);
        if let Some(session) = position.session {
            let at = sessions.iter().rposition(|known| *known == session).unwrap_or_else(|| {
                sessions.push(session);
                sessions.len() - 1
            });
            self.run = at as u32;
        } else if position.first <= 1 && self.next_sequence > RESTART_AFTER {
            self.run += 1;
            self.next_sequence = 0;
        }
        self.next_sequence = self.next_sequence.max(end);
        self.run
    }
}

/// Reads a packet's place; `None` for one whose framing is damaged (it is played all the same).
fn position(protocol: Protocol, payload: &[u8]) -> Option<Position> {
    match protocol {
        Protocol::Itch50 => {
            let packet = MoldPacket::parse(payload).ok()?;
            let count = match packet.kind() {
                Kind::Data(count) => u32::from(count),
                Kind::Heartbeat | Kind::EndOfSession => 0,
            };
            let (first, session) = (packet.sequence(), Some(packet.session()));
            Some(Position { first, count, messages: count, session })
        }
        Protocol::Mdp3 => {
            let header = PacketHeader::read(payload)?;
            let messages = Messages::new(payload).filter(Result::is_ok).count() as u32;
            Some(Position { first: header.sequence.into(), count: 1, messages, session: None })
        }
    }
}
