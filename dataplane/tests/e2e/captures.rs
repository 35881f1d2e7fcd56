//! The exchange's own packets, played over veth and read back out of Redis.

use crate::rig::{Record, Rig, captures};
use bus::config::{Feed, FeedLine, FeedLines, FeedProtocol, FeedsDocument};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use tick::{Flags, Tick};
use venue::capture::Capture;
use venue::impair::Impairment;
use venue::recorded::Recorded;
use venue::script::Pace;
use venue::session::{Channel, LineAddress, Protocol};

const LINE_A: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 31, 64), 14_340);
const LINE_B: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 32, 64), 15_340);

fn feed(schema: &Path) -> Feed {
    let line = |(group, port): (Ipv4Addr, u16)| Some(FeedLine { group, port, source: None });
    Feed {
        name: "cme".into(),
        channel_id: 310,
        publisher_id: 1,
        protocol: FeedProtocol::Mdp3,
        schema: Some(schema.into()),
        lines: FeedLines { a: line(LINE_A), b: line(LINE_B) },
        first_sequence: None,
        window_packets: 4096,
        gap_timeout_us: 500_000,
    }
}

fn channel() -> Channel {
    let line = |(group, port): (Ipv4Addr, u16)| {
        // From whichever sender the capture has.
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        Some(LineAddress { destination: SocketAddrV4::new(group, port), source })
    };
    let lines = [line(LINE_A), line(LINE_B)];
    Channel { name: "cme".into(), channel_id: 310, protocol: Protocol::Mdp3, lines }
}

/// Plays the capture with no impairment at a multiple of its own timing.
fn play(test_name: &str, receive: &str) -> Option<(serde_json::Value, Vec<Record>)> {
    let folder = captures(test_name)?.join("cme_mdp3");
    let mut rig = Rig::new(test_name)?;
    rig.receive = receive.to_owned();
    let feeds = vec![feed(&folder.join("Cme.Futures.Mdp3.Sbe.v1.6.xml"))];
    rig.write_feeds(&FeedsDocument { feeds, filters: Vec::new() });
    rig.start();
    let capture = Capture::open(&folder.join("Cme.Mdp3.Sbe.v6.1.pcap")).unwrap();
    let session = Recorded::new(capture, vec![channel()]);
    let report = rig.play(session, Pace::PacketsPerSecond(20_000.0), [const { NONE }, const { NONE }], 1);
    assert_eq!(report.packets_sent, 10_000);
    Some((rig.stop(), rig.stream()))
}

const NONE: Impairment = Impairment {
    loss: 0.0,
    burst: None,
    duplicate: 0.0,
    reorder: None,
    skew_ns: 0,
    jitter_ns: 0,
    corrupt: 0.0,
    truncate: 0.0,
    silence: Vec::new(),
};

fn assert_is_the_capture(status: &serde_json::Value, records: &[Record]) {
    let channel = &status["workers"][0]["channels"][0];
    assert_eq!(channel["a"]["packets"], 5_000);
    assert_eq!(channel["b"]["packets"], 5_000);
    assert_eq!(channel["delivered_packets"], 5_000);
    assert_eq!((channel["gaps"].as_u64(), channel["lost"].as_u64()), (Some(0), Some(0)));
    let won = channel["a"]["won"].as_u64().unwrap() + channel["b"]["won"].as_u64().unwrap();
    assert_eq!(won, 5_000);
    // Counted from the captures' README: template 32 over both lines, halved.
    let levels: Vec<&Tick> = records
        .iter()
        .flat_map(Record::ticks)
        .filter(|tick| tick.flags.contains(Flags::MBP) && (1..=254).contains(&tick.depth))
        .collect();
    assert_eq!(levels.len(), 14_574);
    assert_eq!(levels.iter().map(|tick| u64::from(tick.size)).sum::<u64>(), 2_930_378 / 2);
    // Mantissas count 1e-7, ticks 1e-9.
    let prices: i128 = levels.iter().map(|tick| i128::from(tick.price)).sum();
    assert_eq!(prices, 64_327_835_000_000 / 2 * 100);
    assert_eq!(channel["delivered_sequences"], 5_000);
    assert!(records.first().unwrap().first >= 5_615 && records.last().unwrap().last <= 10_614);
}

#[test]
fn a_real_cme_capture_arrives_whole_through_xdp() {
    let name = "a_real_cme_capture_arrives_whole_through_xdp";
    if let Some((status, records)) = play(name, "  backend: xdp\n") {
        assert_is_the_capture(&status, &records);
        assert_eq!(status["workers"][0]["backend"], "xdp");
    }
}

#[test]
fn a_real_cme_capture_arrives_whole_through_sockets() {
    let name = "a_real_cme_capture_arrives_whole_through_sockets";
    if let Some((status, records)) = play(name, "  backend: socket\n") {
        assert_is_the_capture(&status, &records);
        assert_eq!(status["workers"][0]["backend"], "socket");
    }
}
