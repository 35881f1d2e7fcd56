//! Between feeds files and the venue's channels, both ways.

use anyhow::{Context, Result};
use bus::config::{Feed, FeedLine, FeedLines, FeedProtocol, FeedsDocument, GAP_TIMEOUT_US_MAX};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use venue::impair::Impairment;
use venue::recorded::Recorded;
use venue::session::{Channel, LineAddress, Packet, Protocol, Source};

/// DBN publisher ids of the datasets behind the protocols.
const PUBLISHER_GLOBEX_MDP3: u16 = 1;
const PUBLISHER_NASDAQ_ITCH: u16 = 2;
/// Name of the template file that is written beside the feeds file of a made-up MDP 3.0 session.
const TEMPLATE_FILE: &str = "feedplane-mdp3.xml";

/// The channels that a feeds file names, or, without one, those that the capture seems to hold.
pub(crate) fn channels(feeds: Option<&Path>, capture: &Path) -> Result<Vec<Channel>> {
    let Some(path) = feeds else { return guessed(capture) };
    let document = FeedsDocument::load(path).with_context(|| path.display().to_string())?;
    Ok(document.feeds.iter().map(channel_of).collect())
}

fn guessed(capture: &Path) -> Result<Vec<Channel>> {
    let feeds = crate::decode::guess_feeds(capture)?;
    let channel = |(channel_id, feed): (u16, &crate::decode::GuessedFeed)| {
        let protocol = protocol_of(feed.protocol);
        let name = format!("{}-{}-{}", protocol_name(protocol), feed.a.ip(), feed.a.port());
        let line = |to: SocketAddrV4| LineAddress { destination: to, source: any_source() };
        Channel { name, channel_id, protocol, lines: [Some(line(feed.a)), feed.b.map(line)] }
    };
    Ok((1..).zip(&feeds).map(channel).collect())
}

fn any_source() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)
}

fn channel_of(feed: &Feed) -> Channel {
    let line = |line: &Option<FeedLine>| {
        line.as_ref().map(|line| LineAddress {
            destination: SocketAddrV4::new(line.group, line.port),
            source: line.source.map_or_else(any_source, |source| SocketAddrV4::new(source, 0)),
        })
    };
    Channel {
        name: feed.name.clone(),
        channel_id: feed.channel_id,
        protocol: protocol_of(feed.protocol),
        lines: [line(&feed.lines.a), line(&feed.lines.b)],
    }
}

fn protocol_of(protocol: FeedProtocol) -> Protocol {
    match protocol {
        FeedProtocol::Mdp3 => Protocol::Mdp3,
        FeedProtocol::Itch50 => Protocol::Itch50,
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mdp3 => "mdp3",
        Protocol::Itch50 => "itch50",
    }
}

/// The lowest sequence number of each channel before its sender restarts.
pub(crate) fn first_sequences(mut source: impl Source) -> Vec<Option<u64>> {
    let mut firsts = vec![None; source.channels().len()];
    let mut packet = Packet::default();
    // Damage ends the session here as it will when it is played, and is reported then.
    while let Ok(true) = source.next(&mut packet) {
        if packet.run == 0 && packet.count > 0 {
            let first: &mut Option<u64> = &mut firsts[packet.channel];
            *first = Some(first.map_or(packet.first, |first| first.min(packet.first)));
        }
    }
    firsts
}

/// When a capture's first packet of a feed was captured, ns since the Unix epoch; 0 when there is none.
pub(crate) fn begin_ns(mut capture: Recorded) -> u64 {
    // Damage is reported when it is played.
    let _ = capture.next(&mut Packet::default());
    capture.begin_ns()
}

/// Lets the receivers of a written feeds file wait for a missing packet longer than a line that is impaired so
/// can be behind the other.
pub(crate) fn wait_longer_than_the_skew(path: &Path, impairments: &[Impairment; 2]) -> Result<()> {
    let behind_ns =
        |line: &Impairment| line.skew_ns + line.jitter_ns + line.reorder.map_or(0, |reorder| reorder.hold_ns);
    let twice_us = impairments.iter().map(behind_ns).max().unwrap_or(0) / 500;
    let mut document = FeedsDocument::parse(&std::fs::read(path)?)?;
    for feed in &mut document.feeds {
        feed.gap_timeout_us = feed.gap_timeout_us.max(twice_us).min(GAP_TIMEOUT_US_MAX);
    }
    Ok(std::fs::write(path, serde_saphyr::to_string(&document)?)?)
}

/// Writes the feeds file of a made-up session, and the template file that it names.
pub(crate) fn write_for_synthetic(path: &Path, channels: &[Channel]) -> Result<()> {
    let mdp3 = channels.iter().any(|channel| channel.protocol == Protocol::Mdp3);
    if mdp3 {
        let template = path.parent().unwrap_or(Path::new("")).join(TEMPLATE_FILE);
        std::fs::write(&template, wire::mdp3::FIXTURE).with_context(|| template.display().to_string())?;
    }
    write(path, channels, mdp3.then(|| Path::new(TEMPLATE_FILE)), &vec![Some(1); channels.len()])
}

/// Writes a feeds file by which a data plane receives these channels.
pub(crate) fn write(
    path: &Path,
    channels: &[Channel],
    schema: Option<&Path>,
    first_sequences: &[Option<u64>],
) -> Result<()> {
    let feeds = channels.iter().zip(first_sequences).map(|(channel, first)| feed_of(channel, schema, *first));
    let document = FeedsDocument { feeds: feeds.collect(), filters: Vec::new() };
    let text = serde_saphyr::to_string(&document)?;
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn feed_of(channel: &Channel, schema: Option<&Path>, first_sequence: Option<u64>) -> Feed {
    let line = |index: usize| {
        channel.lines[index].map(|LineAddress { destination, .. }| FeedLine {
            group: *destination.ip(),
            port: destination.port(),
            source: None,
        })
    };
    let (protocol, publisher_id, schema) = match channel.protocol {
        Protocol::Mdp3 => (FeedProtocol::Mdp3, PUBLISHER_GLOBEX_MDP3, schema.map(PathBuf::from)),
        Protocol::Itch50 => (FeedProtocol::Itch50, PUBLISHER_NASDAQ_ITCH, None),
    };
    Feed {
        name: channel.name.clone(),
        channel_id: channel.channel_id,
        publisher_id,
        protocol,
        schema,
        lines: FeedLines { a: line(0), b: line(1) },
        first_sequence,
        window_packets: 1024,
        gap_timeout_us: 5_000,
    }
}
