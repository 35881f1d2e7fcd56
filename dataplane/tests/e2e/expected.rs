//! What the stream must hold: the same session through the pure core alone, without an impairment, less
//! what the venue withheld on both lines.

use crate::rig::{Kept, Record};
use bus::config::{Feed, FeedLine, FeedLines, FeedProtocol, FeedsDocument};
use dataplane::plan::{self, Schemas};
use feed::{Line, Sink, Stamp};
use std::collections::BTreeMap;
use tick::{Clock, ClockSource, Flags, GapReason, Instrument, Source as TickSource, Tick};
use venue::account::{ChannelReport, Report};
use venue::session::{Channel, Packet, Protocol, Source};

/// The feeds document for a session's channels, each expected from its first message.
pub(crate) fn feeds_of(channels: &[Channel]) -> FeedsDocument {
    let line = |at: &Option<venue::session::LineAddress>| {
        at.as_ref().map(|at| FeedLine {
            group: *at.destination.ip(),
            port: at.destination.port(),
            source: None,
        })
    };
    let feed = |channel: &Channel| Feed {
        name: channel.name.clone(),
        channel_id: channel.channel_id,
        publisher_id: 2,
        protocol: match channel.protocol {
            Protocol::Itch50 => FeedProtocol::Itch50,
            Protocol::Mdp3 => FeedProtocol::Mdp3,
        },
        schema: (channel.protocol == Protocol::Mdp3).then(|| "schema.xml".into()),
        lines: FeedLines { a: line(&channel.lines[0]), b: line(&channel.lines[1]) },
        first_sequence: Some(1),
        window_packets: 4096,
        // Loaded machines pause a sender for longer than a network delays a packet.
        gap_timeout_us: 500_000,
    };
    FeedsDocument { feeds: channels.iter().map(feed).collect(), filters: Vec::new() }
}

/// The ticks of a session, by channel, as one clean line would give them.
pub(crate) fn ticks_of(mut source: impl Source, feeds: &FeedsDocument) -> BTreeMap<u16, Vec<Tick>> {
    let mut schemas = Schemas::default();
    let mut channels: Vec<_> =
        feeds.feeds.iter().map(|feed| plan::channel(feed, Some(1), 2_048, &mut schemas).unwrap()).collect();
    let mut ticks: Vec<Ticks> = feeds.feeds.iter().map(|_| Ticks::default()).collect();
    let mut packet = Packet::default();
    let recv_ns = dataplane::clock::utc_now_ns();
    let stamp = Stamp { recv_ns, clock: Clock::new(ClockSource::User, false) };
    while source.next(&mut packet).unwrap() {
        channels[packet.channel].on_packet(Line::A, stamp, &packet.payload, &mut ticks[packet.channel]);
    }
    feeds.feeds.iter().map(|feed| feed.channel_id).zip(ticks.into_iter().map(|ticks| ticks.0)).collect()
}

#[derive(Default)]
struct Ticks(Vec<Tick>);

impl Sink for Ticks {
    fn tick(&mut self, tick: &Tick) {
        self.0.push(*tick);
    }
    fn instrument(&mut self, _: &Instrument) {}
}

/// A tick without what depends on when and how it arrived.
fn essence(tick: &Tick) -> Tick {
    Tick {
        ts_event: 0,
        ts_recv: 0,
        ts_in_delta: 0,
        flags: Flags(tick.flags.0 & !(Flags::MAYBE_BAD_BOOK | Flags::BAD_TS_RECV).0),
        source: TickSource::Local,
        clock: Clock(0),
        ..*tick
    }
}

/// Holds the stream against the venue's account: everything that a line delivered is there once and in
/// order, everything that both lost is declared, nothing else is, and no number is left out.
pub(crate) fn assert_adds_up(report: &Report, records: &[Record], expected: &BTreeMap<u16, Vec<Tick>>) {
    let mut continuity = bus::Continuity::new();
    for record in records {
        let entry = match &record.content {
            Kept::Ticks(_) => {
                bus::Entry::of_ticks(record.channel_id, record.first, record.last, record.ticks())
            }
            Kept::Gap(why) => bus::Entry::of_gap(record.channel_id, record.first, record.last, *why),
        };
        let verdict = continuity.check(&entry);
        assert!(
            matches!(verdict, bus::Verdict::Begins | bus::Verdict::Follows),
            "channel {} at {}..={}: {verdict:?}",
            record.channel_id,
            record.first,
            record.last
        );
    }
    for channel in &report.channels {
        let own: Vec<&Record> =
            records.iter().filter(|record| record.channel_id == channel.channel_id).collect();
        assert_channel(channel, &own, &expected[&channel.channel_id]);
        // The last numbers of a session may give no tick (heartbeats); the stream ends with the last that does.
        let reached = continuity.last(channel.channel_id).unwrap();
        assert!(reached <= channel.last_sequence, "channel {} reached {reached}", channel.channel_id);
    }
}

fn assert_channel(report: &ChannelReport, records: &[&Record], expected: &[Tick]) {
    let mut declared: Vec<(u64, u64)> = Vec::new();
    for record in records {
        if let Kept::Gap(why) = record.content {
            assert!(matches!(why, GapReason::Lost | GapReason::Offline), "{record:?}");
            match declared.last_mut() {
                Some(last) if last.1 + 1 == record.first => last.1 = record.last,
                _ => declared.push((record.first, record.last)),
            }
        }
    }
    let withheld: Vec<(u64, u64)> =
        report.must_be_declared.iter().map(|range| (range.from, range.to)).collect();
    assert_eq!(declared, withheld, "channel {}: declared, and withheld on both lines", report.channel_id);
    let lost = |sequence: u64| declared.iter().any(|&(from, to)| (from..=to).contains(&sequence));
    let published = records.iter().flat_map(|record| record.ticks()).map(essence);
    let wanted = expected.iter().filter(|tick| !lost(tick.sequence)).map(essence);
    let mut count = 0;
    for (index, pair) in published.zip(wanted).enumerate() {
        assert_eq!(pair.0, pair.1, "channel {}, tick {index}", report.channel_id);
        count += 1;
    }
    let published = records.iter().map(|record| record.ticks().len()).sum::<usize>();
    let wanted = expected.iter().filter(|tick| !lost(tick.sequence)).count();
    assert_eq!((published, wanted), (count, count), "channel {}: ticks", report.channel_id);
}
