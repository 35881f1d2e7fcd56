//! Exchanges' own packets through the arbiter: CME's two lines as they were captured, and real messages
//! framed on two lines and impaired (*derived*, where no capture has both lines).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../wire/tests/itch_common/mod.rs"]
mod itch_common;

use feed::{Channel, ChannelConfig, Itch50, Line, Mdp3, Protocol, Sink, Stamp};
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use tick::{Action, Clock, ClockSource, Flags, Instrument, Source, Tick};
use wire::itch50::Frames;
use wire::mdp3::Schema;
use wire::moldudp64::PacketWriter;

const START_NS: u64 = 1_577_716_200_000_000_000;

/// What comes out, without what depends on the line and the time.
#[derive(Default)]
struct Kept {
    ticks: Vec<Tick>,
    instruments: Vec<Instrument>,
    missing: Vec<(Line, u64, u64)>,
}

impl Sink for Kept {
    fn tick(&mut self, tick: &Tick) {
        self.ticks.push(Tick {
            ts_recv: 0,
            ts_in_delta: 0,
            source: Source::Local,
            clock: Tick::EMPTY.clock,
            ..*tick
        });
    }
    fn instrument(&mut self, instrument: &Instrument) {
        self.instruments.push(*instrument);
    }
    fn missing(&mut self, line: Line, from: u64, to: u64) {
        self.missing.push((line, from, to));
    }
}

fn at(recv_ns: u64) -> Stamp {
    Stamp { recv_ns, clock: Clock::new(ClockSource::Capture, true) }
}

struct Captured {
    group: Ipv4Addr,
    recv_ns: u64,
    payload: Vec<u8>,
}

fn cme_folder() -> Option<PathBuf> {
    itch_common::captures().map(|folder| folder.join("cme_mdp3"))
}

fn schema(version: u16) -> Arc<Schema> {
    let file = cme_folder().unwrap().join(format!("Cme.Futures.Mdp3.Sbe.v1.{version}.xml"));
    Arc::new(Schema::parse(&std::fs::read_to_string(file).unwrap()).unwrap())
}

/// The UDP packets of a capture: pcap in µs, or pcapng in ns.
fn captured(name: &str) -> Option<Vec<Captured>> {
    let file = std::fs::File::open(cme_folder()?.join(name)).unwrap();
    let mut reader = create_reader(1 << 16, file).unwrap();
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::Legacy(packet) => {
                        let recv_ns =
                            u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_usec) * 1_000;
                        packets.extend(udp(packet.data, recv_ns));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let recv_ns = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                        packets.extend(udp(packet.data, recv_ns));
                    }
                    _ => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return Some(packets),
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{name}: {error:?}"),
        }
    }
}

fn udp(frame: &[u8], recv_ns: u64) -> Option<Captured> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    while matches!(word(at)?, 0x8100 | 0x88A8) {
        at += 4;
    }
    let ip = frame.get(at + 2..)?;
    if word(at)? != 0x0800 || *ip.get(9)? != 17 {
        return None;
    }
    let udp = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    let group = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    Some(Captured { group, recv_ns, payload: udp.get(8..length)?.to_vec() })
}

fn play<P: Protocol>(channel: &mut Channel<P>, packets: &[(Line, u64, Vec<u8>)]) -> Kept {
    let mut kept = Kept::default();
    for (line, recv_ns, payload) in packets {
        channel.on_time(*recv_ns, &mut kept);
        channel.on_packet(*line, at(*recv_ns), payload, &mut kept);
    }
    channel.finish(&mut kept);
    kept
}

#[test]
fn two_real_lines_of_cme_give_each_packet_once_and_tell_who_led() {
    let Some(packets) = captured("Cme.Mdp3.Sbe.v6.1.pcap") else { return };
    let line = |group: Ipv4Addr| if group.octets()[2] == 31 { Line::A } else { Line::B };
    let packets: Vec<_> = packets.into_iter().map(|p| (line(p.group), p.recv_ns, p.payload)).collect();
    let mut channel = Channel::new(ChannelConfig::new(1, 310), Mdp3::new(1, 310, schema(6))).unwrap();
    let kept = play(&mut channel, &packets);
    let stats = channel.stats();
    assert_eq!((stats.delivered_packets, stats.delivered_sequences), (5_000, 5_000));
    assert_eq!((stats.gaps, stats.lost, stats.resets, channel.expected()), (0, 0, 0, Some(10_615)));
    for line in Line::BOTH {
        let stats = stats.line(line);
        assert_eq!((stats.packets, stats.missing, stats.late, stats.malformed_total()), (5_000, 0, 0, 0));
        assert_eq!(stats.won + stats.duplicates, 5_000);
    }
    // The capture's own figures: B first 4,807 times, by at most 15.4 µs; A by at most 6.1 µs.
    let (a, b) = (&stats.line(Line::A).lead, &stats.line(Line::B).lead);
    assert_eq!((a.count() + b.count(), b.count()), (5_000, 4_807));
    assert!((6_050..6_150).contains(&a.max_ns()) && (15_350..15_450).contains(&b.max_ns()), "{a:?} {b:?}");
    assert_eq!(kept.missing, []);
    assert!(kept.ticks.is_sorted_by_key(|tick| tick.sequence));
}

#[test]
fn the_real_losses_of_one_line_are_filled_by_the_other_and_named() {
    let Some(packets) = captured("Cme.Mdp3.Sbe.v9.1.Example.pcap") else { return };
    let mut channels: BTreeMap<u8, Vec<(Line, u64, Vec<u8>)>> = BTreeMap::new();
    for packet in packets {
        let last = packet.group.octets()[3];
        let (pair, line) = if last < 128 { (last, Line::A) } else { (last - 127, Line::B) };
        channels.entry(pair).or_default().push((line, packet.recv_ns, packet.payload));
    }
    assert_eq!(channels.len(), 9);
    let mut missing = Vec::new();
    for (pair, packets) in &channels {
        let mut channel = Channel::new(ChannelConfig::new(1, 1), Mdp3::new(1, 1, schema(9))).unwrap();
        let kept = play(&mut channel, packets);
        assert_eq!((channel.stats().gaps, channel.stats().resets), (0, 0), "channel {pair}");
        missing.extend(kept.missing.into_iter().map(|(line, from, to)| (*pair, line, from, to)));
    }
    let inner = |sequence| (sequence, sequence);
    for (line, (from, to)) in [
        (Line::A, inner(1_160_085)),
        (Line::A, inner(911_523)),
        (Line::A, inner(1_028_099)),
        (Line::B, inner(579_465)),
    ] {
        assert!(missing.iter().any(|&(_, l, f, t)| (l, f, t) == (line, from, to)), "{from} in {missing:?}");
    }
    println!("missing at the edges of the capture too: {missing:?}");
}

/// A small generator, so that a failure repeats.
fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Frames messages on a line, up to `most` in a packet.
fn frame(messages: &[&[u8]], line: Line, most: u64, state: &mut u64) -> Vec<(Line, u64, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut first = 0;
    while first < messages.len() {
        let count = (1 + dice(state) % most).min((messages.len() - first) as u64) as usize;
        let mut buffer = [0; 1400];
        let mut writer = PacketWriter::new(&mut buffer, *b"DERIVED001", 1 + first as u64).unwrap();
        messages[first..first + count].iter().for_each(|message| writer.push(message).unwrap());
        let recv_ns = START_NS + (first + count) as u64 * 2_000 + dice(state) % 30_000;
        packets.push((line, recv_ns, writer.finish().to_vec()));
        first += count;
    }
    packets
}

fn itch_channel() -> Channel<Itch50> {
    let config = ChannelConfig { next_sequence: Some(1), ..ChannelConfig::new(2, 40) };
    Channel::new(config, Itch50::new(2, 40)).unwrap()
}

/// The numbers that a MoldUDP64 packet covers.
fn covers(payload: &[u8]) -> std::ops::Range<u64> {
    let header = Itch50::new(2, 40).header(payload).unwrap();
    header.first..header.first + u64::from(header.count)
}

#[test]
fn derived_real_itch_on_two_impaired_lines_decodes_to_what_one_clean_line_gives() {
    let Some(file) = itch_common::nasdaq_file("12302019_SNIPPET.NASDAQ_ITCH50") else { return };
    let messages: Vec<&[u8]> = Frames::new(&file).map_while(Result::ok).collect();
    assert_eq!(messages.len(), 1000);
    let clean = play(&mut itch_channel(), &frame(&messages, Line::A, 1, &mut 1));
    assert!(clean.ticks.len() >= 1000);
    for loss_per_mille in [1, 10, 100] {
        for seed in 0..20 {
            let mut state = 7_000 + seed;
            let mut packets = frame(&messages, Line::A, 8, &mut state);
            packets.extend(frame(&messages, Line::B, 5, &mut state));
            packets.retain(|_| dice(&mut state) % 1000 >= loss_per_mille);
            packets.sort_by_key(|packet| packet.1);
            let brought: BTreeSet<u64> = packets.iter().flat_map(|packet| covers(&packet.2)).collect();
            let end = brought.last().map_or(1, |last| last + 1);
            let lost: BTreeSet<u64> = (1..end).filter(|sequence| !brought.contains(sequence)).collect();
            let mut channel = itch_channel();
            let impaired = play(&mut channel, &packets);

            let is_gap = |tick: &&Tick| tick.action == Action::Gap;
            let declared: BTreeSet<u64> =
                impaired.ticks.iter().filter(is_gap).flat_map(|gap| gap.sequence..=gap.order_id).collect();
            assert_eq!(declared, lost);
            assert_eq!(channel.stats().lost, lost.len() as u64);
            let first_lost = lost.first().copied().unwrap_or(u64::MAX);
            let expected: Vec<Tick> = clean
                .ticks
                .iter()
                .filter(|tick| brought.contains(&tick.sequence))
                .map(|tick| {
                    let mark = if tick.sequence > first_lost { Flags::MAYBE_BAD_BOOK } else { Flags::NONE };
                    Tick { flags: tick.flags | mark, ..*tick }
                })
                .collect();
            let came: Vec<Tick> = impaired.ticks.iter().filter(|tick| !is_gap(tick)).copied().collect();
            assert_eq!(came, expected, "loss {loss_per_mille} per mille, seed {seed}");
        }
    }
}

#[test]
fn derived_cmes_packets_with_losses_that_the_other_line_fills_give_the_same_ticks() {
    let Some(packets) = captured("Cme.Mdp3.Sbe.v6.1.pcap") else { return };
    let schema = schema(6);
    let channel =
        || Channel::new(ChannelConfig::new(1, 310), Mdp3::new(1, 310, Arc::clone(&schema))).unwrap();
    let line = |group: Ipv4Addr| if group.octets()[2] == 31 { Line::A } else { Line::B };
    let mut packets: Vec<_> = packets.into_iter().map(|p| (line(p.group), p.recv_ns, p.payload)).collect();
    let clean = play(&mut channel(), &packets);
    // A tenth of the numbers is lost on A, another tenth on B, and line B is 40 µs slower.
    let number = |payload: &[u8]| u32::from_le_bytes(payload[..4].try_into().unwrap());
    packets.retain(|(line, _, payload)| {
        (number(payload).wrapping_mul(2_654_435_761) >> 16) % 10 != *line as u32
    });
    packets.iter_mut().filter(|packet| packet.0 == Line::B).for_each(|packet| packet.1 += 40_000);
    packets.sort_by_key(|packet| packet.1);
    let mut impaired = channel();
    let kept = play(&mut impaired, &packets);
    let stats = impaired.stats();
    assert_eq!((stats.gaps, stats.delivered_sequences), (0, 5_000));
    assert!(stats.line(Line::A).missing > 400 && stats.line(Line::B).missing > 400);
    assert_eq!(kept.instruments, clean.instruments);
    assert_eq!(kept.ticks, clean.ticks);
}
