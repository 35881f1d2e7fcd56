//! Finds the feeds of a capture by what its packets say, for a user who has no feeds file yet.
//!
//! A destination (address and port) carries a protocol when most of its packets are whole packets of it.
//! Two destinations are line A and line B of one channel when they carry the same messages under the same
//! sequence numbers; addresses play no part in that. To compare streams of any length in bounded memory each
//! destination keeps a sketch: the [`SKETCH_SIZE`] smallest fingerprints of its messages. Streams with the
//! same content keep the same ones, whatever their order and start.

use bus::config::{FEEDS_MAX, FeedProtocol};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddrV4;
use std::path::Path;
use wire::itch50::Message;
use wire::{mdp3, moldudp64};

/// Fingerprints kept per destination. Two lines that share a twentieth of their messages share about a
/// dozen of these.
const SKETCH_SIZE: usize = 256;
/// Two destinations are a pair when they share at least one in this many fingerprints.
const SHARED_ONE_IN: usize = 20;
/// Destinations looked at: as many as a document may have feeds. The first ones are kept.
const DESTINATIONS_MAX: usize = FEEDS_MAX;

/// DBN publisher ids of the datasets behind the protocols.
const PUBLISHER_GLOBEX_MDP3: u16 = 1;
const PUBLISHER_NASDAQ_ITCH: u16 = 2;

/// Looks at the datagrams of a capture, one after the other.
#[derive(Default)]
pub(super) struct Guess {
    destinations: HashMap<SocketAddrV4, Destination>,
    dropped_destinations: bool,
}

/// A destination at which at least one packet was recognised.
#[derive(Default)]
struct Destination {
    mdp3_packets: u64,
    itch50_packets: u64,
    other_packets: u64,
    sketch: Sketch,
}

impl Guess {
    /// Takes one datagram into account.
    pub(super) fn look(&mut self, to: SocketAddrV4, payload: &[u8]) {
        let protocol = recognise(payload);
        let is_full = self.destinations.len() >= DESTINATIONS_MAX;
        let destination = match (protocol, self.destinations.get_mut(&to)) {
            (_, Some(destination)) => destination,
            (None, None) => return,
            (Some(_), None) if is_full => {
                self.dropped_destinations = true;
                return;
            }
            (Some(_), None) => self.destinations.entry(to).or_default(),
        };
        match protocol {
            Some(FeedProtocol::Mdp3) => {
                destination.mdp3_packets += 1;
                destination.sketch.add(fingerprint(0, payload));
            }
            Some(FeedProtocol::Itch50) => {
                destination.itch50_packets += 1;
                for (sequence, message) in (mold_sequence(payload)..).zip(moldudp64::Messages::of(payload)) {
                    destination.sketch.add(fingerprint(sequence, message));
                }
            }
            None => destination.other_packets += 1,
        }
    }

    /// Whether there were more destinations than are looked at.
    pub(super) fn dropped_destinations(&self) -> bool {
        self.dropped_destinations
    }

    /// The feeds found, in the order of their A lines' ports and addresses.
    pub(super) fn feeds(&self) -> Vec<GuessedFeed> {
        let mut seen: Vec<Seen<'_>> = self
            .destinations
            .iter()
            .filter_map(|(&to, destination)| {
                Some(Seen { to, protocol: destination.protocol()?, sketch: &destination.sketch })
            })
            .collect();
        // Within a pair the lower one is line A, so the order makes the choice.
        seen.sort_by_key(|seen| (seen.to.port(), *seen.to.ip()));
        let partner = pair_up(&seen);
        let is_a = |index: usize| partner[index].is_none_or(|other| index < other);
        (0..seen.len())
            .filter(|&index| is_a(index))
            .map(|index| GuessedFeed {
                protocol: seen[index].protocol,
                a: seen[index].to,
                b: partner[index].map(|other| seen[other].to),
            })
            .collect()
    }
}

/// One feed that a capture seems to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GuessedFeed {
    pub(crate) protocol: FeedProtocol,
    pub(crate) a: SocketAddrV4,
    pub(crate) b: Option<SocketAddrV4>,
}

/// The feeds as the text of a feeds file. `schema` goes into those that need one.
pub(super) fn feeds_file(feeds: &[GuessedFeed], schema: Option<&Path>) -> String {
    let mut text = "# Assumed by feedplane decode from what the capture holds.\nfeeds:\n".to_owned();
    for (feed, channel_id) in feeds.iter().zip(1..) {
        let (protocol, publisher_id) = match feed.protocol {
            FeedProtocol::Mdp3 => ("mdp3", PUBLISHER_GLOBEX_MDP3),
            FeedProtocol::Itch50 => ("itch50", PUBLISHER_NASDAQ_ITCH),
        };
        let _ = writeln!(text, "  - name: {protocol}-{}-{}", feed.a.ip(), feed.a.port());
        let _ = writeln!(text, "    channel_id: {channel_id}\n    publisher_id: {publisher_id}");
        let _ = writeln!(text, "    protocol: {protocol}");
        if let (FeedProtocol::Mdp3, Some(schema)) = (feed.protocol, schema) {
            // A JSON string is a YAML string.
            let _ = writeln!(text, "    schema: {}", serde_json::Value::from(schema.to_string_lossy()));
        }
        let _ = writeln!(text, "    lines:");
        for (line, to) in [("a", Some(feed.a)), ("b", feed.b)] {
            if let Some(to) = to {
                let _ = writeln!(text, "      {line}: {{ group: {}, port: {} }}", to.ip(), to.port());
            }
        }
    }
    text
}

impl Destination {
    /// The protocol that more than half of the packets here speak.
    fn protocol(&self) -> Option<FeedProtocol> {
        let all = self.mdp3_packets + self.itch50_packets + self.other_packets;
        let most = |packets: u64| packets * 2 > all;
        if most(self.mdp3_packets) {
            Some(FeedProtocol::Mdp3)
        } else if most(self.itch50_packets) {
            Some(FeedProtocol::Itch50)
        } else {
            None
        }
    }
}

struct Seen<'a> {
    to: SocketAddrV4,
    protocol: FeedProtocol,
    sketch: &'a Sketch,
}

/// For each destination the index of the one with the same content. The pairs that share most come first.
fn pair_up(seen: &[Seen<'_>]) -> Vec<Option<usize>> {
    // Only neighbours among the holders of a fingerprint are compared: with one stream on thousands of
    // destinations, all pairs would be many.
    let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, seen) in seen.iter().enumerate() {
        for &print in &seen.sketch.smallest {
            holders.entry(print).or_default().push(index);
        }
    }
    let candidates: BTreeSet<(usize, usize)> = holders
        .values()
        .flat_map(|holders| holders.windows(2).map(|pair| (pair[0], pair[1])))
        .filter(|&(a, b)| seen[a].protocol == seen[b].protocol)
        .collect();
    let mut matches: Vec<(usize, usize, usize)> = candidates
        .into_iter()
        .filter_map(|(a, b)| seen[a].sketch.shared(seen[b].sketch).map(|shared| (shared, a, b)))
        .collect();
    matches.sort_by_key(|&(shared, a, b)| (std::cmp::Reverse(shared), a, b));
    let mut partner = vec![None; seen.len()];
    for (_, a, b) in matches {
        if partner[a].is_none() && partner[b].is_none() {
            (partner[a], partner[b]) = (Some(b), Some(a));
        }
    }
    partner
}

/// The protocol of which a payload is a whole packet.
fn recognise(payload: &[u8]) -> Option<FeedProtocol> {
    if is_mdp3(payload) {
        Some(FeedProtocol::Mdp3)
    } else if is_itch50(payload) {
        Some(FeedProtocol::Itch50)
    } else {
        None
    }
}

/// MDP 3.0: at least one message behind the packet header, the chain whole, each message of CME's schema.
fn is_mdp3(payload: &[u8]) -> bool {
    const SCHEMA_ID: u16 = 1;
    payload.len() > mdp3::PACKET_HEADER_BYTES
        && mdp3::Messages::new(payload)
            .all(|message| message.is_ok_and(|message| message.schema_id == SCHEMA_ID))
}

/// ITCH 5.0 in MoldUDP64: a whole block chain of which every message has a known type and its length. Without
/// a message (heartbeat, end of session) it is only the framing, and the session's text must be text.
fn is_itch50(payload: &[u8]) -> bool {
    moldudp64::Packet::parse(payload).is_ok_and(|packet| {
        packet.session().iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic())
            && packet.messages().all(|message| Message::parse(message).is_ok())
    })
}

fn mold_sequence(payload: &[u8]) -> u64 {
    moldudp64::Packet::parse(payload).map_or(0, |packet| packet.sequence())
}

/// A number for a message at its place. The same in every run: the hasher has no random key.
fn fingerprint(sequence: u64, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    sequence.hash(&mut hasher);
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The smallest fingerprints of a stream, [`SKETCH_SIZE`] at most.
#[derive(Default)]
struct Sketch {
    smallest: BTreeSet<u64>,
}

impl Sketch {
    fn add(&mut self, print: u64) {
        if self.smallest.len() == SKETCH_SIZE {
            if self.smallest.last().is_none_or(|&largest| print >= largest) {
                return;
            }
            if self.smallest.insert(print) {
                self.smallest.pop_last();
            }
        } else {
            self.smallest.insert(print);
        }
    }

    /// Up to which fingerprint this sketch knows the whole stream.
    fn horizon(&self) -> u64 {
        if self.smallest.len() < SKETCH_SIZE { u64::MAX } else { self.smallest.last().copied().unwrap_or(0) }
    }

    /// How many fingerprints both hold, if that is enough to be the same content.
    fn shared(&self, other: &Sketch) -> Option<usize> {
        let horizon = self.horizon().min(other.horizon());
        let within = |sketch: &Sketch| sketch.smallest.range(..=horizon).count();
        let shared = self.smallest.intersection(&other.smallest).count();
        (shared > 0 && shared * SHARED_ONE_IN >= within(self).min(within(other))).then_some(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::config::{FeedLine, FeedsDocument};
    use std::net::Ipv4Addr;
    use wire::itch50::SystemEvent;
    use zerocopy::IntoBytes;

    fn to(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(224, 0, 28, last), port)
    }

    fn mold(sequence: u64, time_ns: u64) -> Vec<u8> {
        let mut buffer = [0; 100];
        let mut packet = moldudp64::PacketWriter::new(&mut buffer, *b"0000000001", sequence).unwrap();
        let event = SystemEvent { head: SystemEvent::head(0, 0, time_ns), event_code: b'S' };
        packet.push(event.as_bytes()).unwrap();
        packet.finish().to_vec()
    }

    fn mdp(sequence: u32, sent_ns: u64) -> Vec<u8> {
        let mut packet = [&sequence.to_le_bytes()[..], &sent_ns.to_le_bytes()].concat();
        for word in [10_u16, 0, 12, 1, 9] {
            packet.extend_from_slice(&word.to_le_bytes());
        }
        packet
    }

    fn found(guess: &Guess) -> Vec<(u16, Option<u16>)> {
        guess.feeds().iter().map(|feed| (feed.a.port(), feed.b.map(|b| b.port()))).collect()
    }

    #[test]
    fn two_destinations_with_the_same_messages_are_one_channel_and_the_lower_port_is_line_a() {
        let mut guess = Guess::default();
        for number in 0..1000 {
            guess.look(to(9, 15_000), &mold(number, number * 7));
            guess.look(to(200, 14_000), &mold(number, number * 7));
        }
        let expected =
            GuessedFeed { protocol: FeedProtocol::Itch50, a: to(200, 14_000), b: Some(to(9, 15_000)) };
        assert_eq!(guess.feeds(), [expected]);
    }

    #[test]
    fn the_same_sequence_numbers_with_other_content_are_another_channel() {
        let mut guess = Guess::default();
        for number in 0..100 {
            guess.look(to(1, 14_001), &mdp(number, u64::from(number)));
            guess.look(to(128, 15_001), &mdp(number, u64::from(number) + 1_000_000));
        }
        assert_eq!(found(&guess), [(14_001, None), (15_001, None)]);
    }

    #[test]
    fn lines_that_lose_half_their_packets_each_are_still_a_pair() {
        let mut guess = Guess::default();
        for number in 0..20_000_u64 {
            if number % 2 == 0 {
                guess.look(to(1, 14_001), &mold(number, number));
            }
            if number % 3 == 0 {
                guess.look(to(2, 14_002), &mold(number, number));
            }
        }
        assert_eq!(found(&guess), [(14_001, Some(14_002))]);
    }

    #[test]
    fn of_three_destinations_the_two_that_share_most_are_the_pair() {
        let mut guess = Guess::default();
        for number in 0..200_u64 {
            guess.look(to(1, 14_001), &mold(number, number));
            guess.look(to(3, 14_003), &mold(number, number));
            if number % 10 == 0 {
                guess.look(to(2, 14_002), &mold(number, number));
            }
        }
        assert_eq!(found(&guess), [(14_001, Some(14_003)), (14_002, None)]);
    }

    #[test]
    fn a_stream_on_thousands_of_destinations_is_paired_without_comparing_all_with_all() {
        let mut guess = Guess::default();
        for port in 1..=2000 {
            for number in 0..4_u64 {
                guess.look(to(1, port), &mold(number, number));
            }
        }
        assert_eq!(guess.feeds().len(), DESTINATIONS_MAX / 2);
        assert!(guess.dropped_destinations());
    }

    #[test]
    fn what_is_no_whole_packet_of_a_protocol_is_not_recognised() {
        let whole = mold(1, 1);
        let unknown_type = {
            let mut bytes = whole.clone();
            bytes[moldudp64::HEADER_BYTES + moldudp64::BLOCK_LENGTH_BYTES] = b'?';
            bytes
        };
        let other_schema = {
            let mut bytes = mdp(1, 1);
            bytes[18] = 2;
            bytes
        };
        let cases: [&[u8]; 7] = [
            b"",
            b"hello, this is text.",
            &whole[..whole.len() - 1],
            &unknown_type,
            &other_schema,
            &mdp(1, 1)[..12],
            &[0; 64],
        ];
        for payload in cases {
            assert_eq!(recognise(payload), None, "{payload:02x?}");
        }
        assert_eq!(recognise(&whole), Some(FeedProtocol::Itch50));
        assert_eq!(recognise(&mdp(1, 1)), Some(FeedProtocol::Mdp3));
    }

    #[test]
    fn a_destination_of_which_most_is_something_else_carries_no_feed() {
        let mut guess = Guess::default();
        guess.look(to(1, 53), &mold(1, 1));
        for _ in 0..2 {
            guess.look(to(1, 53), b"something else");
        }
        assert!(guess.feeds().is_empty());
    }

    #[test]
    fn the_feeds_file_reads_back_as_what_was_guessed() {
        let feeds = [
            GuessedFeed { protocol: FeedProtocol::Mdp3, a: to(1, 14_310), b: Some(to(128, 15_310)) },
            GuessedFeed { protocol: FeedProtocol::Itch50, a: to(255, 65_535), b: None },
        ];
        let schema = Path::new("a \"b\": #c\\.xml");
        let document = FeedsDocument::parse(feeds_file(&feeds, Some(schema)).as_bytes()).unwrap();
        assert_eq!(document.feeds[0].schema.as_deref(), Some(schema));
        assert_eq!(document.feeds[1].name, "itch50-224.0.28.255-65535");
        for (feed, guessed) in document.feeds.iter().zip(feeds) {
            let line = |line: &FeedLine| SocketAddrV4::new(line.group, line.port);
            assert_eq!(feed.protocol, guessed.protocol);
            assert_eq!(feed.lines.a.as_ref().map(line), Some(guessed.a));
            assert_eq!(feed.lines.b.as_ref().map(line), guessed.b);
        }
    }
}
