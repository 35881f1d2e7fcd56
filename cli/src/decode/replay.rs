//! A capture through the core: the same channels as in the data plane, with the capture's time for a clock.
//!
//! Time is the largest capture time so far, so that a capture merged out of order does not turn it back.
//! Before each packet its channel is told that time; all channels are told it whenever it has moved on by
//! [`SWEEP_NS`], so that a gap on a quiet channel is declared as close to its time as the data plane would.

use super::feeds::{Routes, first_of};
use super::outputs::Taker;
use super::reorder::Held;
use super::report::{ChannelReport, Gap, PerLine, Sequences};
use bus::config::FeedsDocument;
use feed::{AnyChannel, Line, LineStats, MalformedReason, Sink, Stamp};
use std::collections::BTreeMap;
use tick::{Action, Clock, ClockSource, Instrument, Source, Tick};
use wire::mdp3::Kind;

/// Capture time between two looks at all channels, ns. The shortest sensible gap time is some 100 µs.
const SWEEP_NS: u64 = 50_000;

const REASONS: [MalformedReason; MalformedReason::COUNT] = [
    MalformedReason::ShortHeader,
    MalformedReason::BadLength,
    MalformedReason::TrailingBytes,
    MalformedReason::UnknownMessage,
    MalformedReason::WrongSize,
    MalformedReason::BadValue,
    MalformedReason::Oversized,
];

/// Capture times are taken as they stand: what clock they are from is not in the file.
const CLOCK: Clock = Clock::new(ClockSource::Capture, true);

/// The channels at work.
pub(super) struct Replay<'a, T> {
    document: &'a FeedsDocument,
    routes: Routes,
    channels: Vec<Replayed>,
    outputs: T,
    now_ns: u64,
    swept_ns: u64,
    unmatched: u64,
}

struct Replayed {
    channel: AnyChannel,
    seen: Seen,
}

/// What a channel's output said, for its report.
#[derive(Default)]
struct Seen {
    ticks: u64,
    gaps: Vec<Gap>,
    /// Which count of the sender we are in: it goes up with each restart.
    count: u32,
    missing: [Vec<Missing>; 2],
    joined: [Option<Joined>; 2],
}

/// Numbers of one count that one line did not bring.
struct Missing {
    count: u32,
    from: u64,
    to: u64,
}

/// Where a line's first packet stands.
struct Joined {
    count: u32,
    first: u64,
}

impl<'a, T: Taker> Replay<'a, T> {
    pub(super) fn new(document: &'a FeedsDocument, channels: Vec<AnyChannel>, outputs: T) -> Replay<'a, T> {
        let channels =
            channels.into_iter().map(|channel| Replayed { channel, seen: Seen::default() }).collect();
        let routes = Routes::new(document);
        Replay { document, routes, channels, outputs, now_ns: 0, swept_ns: 0, unmatched: 0 }
    }

    /// Takes one datagram; false when there is no use in going on.
    pub(super) fn take(&mut self, datagram: &Held) -> bool {
        let ts_ns = datagram.ts_ns;
        self.now_ns = self.now_ns.max(ts_ns);
        if self.now_ns - self.swept_ns >= SWEEP_NS {
            self.swept_ns = self.now_ns;
            for at in 0..self.channels.len() {
                self.with(at, |channel, now_ns, sink| channel.on_time(now_ns, sink));
            }
        }
        match self.routes.find(*datagram.source.ip(), datagram.destination) {
            Some((at, line)) => {
                let stamp = Stamp { recv_ns: ts_ns, clock: CLOCK };
                self.with(at, |channel, now_ns, sink| {
                    channel.on_time(now_ns, sink);
                    channel.on_packet(line, stamp, &datagram.payload, sink);
                });
                self.channels[at].note_joined(line, &datagram.payload);
            }
            None => self.unmatched += 1,
        }
        !self.outputs.failed()
    }

    /// The capture is over: what waits is delivered or declared, the outputs are completed, the counts told,
    /// together with the number of datagrams that belonged to no feed.
    pub(super) fn finish(mut self) -> anyhow::Result<(Vec<ChannelReport>, u64)> {
        for at in 0..self.channels.len() {
            self.with(at, |channel, _, sink| {
                channel.believe_last(sink);
                channel.finish(sink);
            });
        }
        self.outputs.finish()?;
        let feeds = self.document.feeds.iter();
        Ok((feeds.zip(&self.channels).map(|(feed, channel)| channel.report(feed)).collect(), self.unmatched))
    }

    fn with(&mut self, at: usize, call: impl FnOnce(&mut AnyChannel, u64, &mut Observer<'_, T>)) {
        let Replayed { channel, seen } = &mut self.channels[at];
        let name = &self.document.feeds[at].name;
        call(channel, self.now_ns, &mut Observer { name, seen, outputs: &mut self.outputs });
    }
}

impl Replayed {
    /// Notes a line's first packet that the channel took.
    fn note_joined(&mut self, line: Line, payload: &[u8]) {
        let joined = &mut self.seen.joined[line.index()];
        if joined.is_none() {
            let LineStats { won, duplicates, late, .. } = self.channel.stats().line(line);
            if won + duplicates + late > 0 {
                let count = self.seen.count;
                *joined = first_of(&self.channel, payload).map(|first| Joined { count, first });
            }
        }
    }

    /// Heartbeats: of MDP 3.0, where each has a sequence number of its own, after arbitration like all other
    /// messages; of MoldUDP64, where they are no part of the stream, those of both lines.
    fn heartbeats(&self) -> u64 {
        match &self.channel {
            AnyChannel::Mdp3(channel) => {
                let templates = channel.protocol().schema().templates().iter();
                let heartbeats = templates.filter(|template| template.kind == Kind::Heartbeat);
                let names: Vec<String> = heartbeats.map(|template| template.id.to_string()).collect();
                let mut total = 0;
                channel.message_counts(&mut |name, count| {
                    total += if names.iter().any(|heartbeat| heartbeat == name) { count } else { 0 };
                });
                total
            }
            AnyChannel::Itch50(channel) => channel.stats().lines.iter().map(|line| line.heartbeats).sum(),
        }
    }

    fn report(&self, feed: &bus::config::Feed) -> ChannelReport {
        let stats = self.channel.stats();
        let (a, b) = (stats.line(Line::A), stats.line(Line::B));
        let mut messages = BTreeMap::new();
        self.channel.message_counts(&mut |name, count| {
            if count > 0 {
                messages.insert(name.to_owned(), count);
            }
        });
        let malformed_reasons: BTreeMap<String, u64> = REASONS
            .into_iter()
            .map(|reason| (reason.to_string(), malformed(a, reason) + malformed(b, reason)))
            .filter(|&(_, count)| count > 0)
            .collect();
        let missing = |line: Line, has_line: bool| {
            if has_line {
                self.seen.missing(line, feed.first_sequence.is_some())
            } else {
                Sequences::default()
            }
        };
        ChannelReport {
            channel: feed.name.clone(),
            packets: PerLine { a: a.packets, b: b.packets },
            won: PerLine { a: a.won, b: b.won },
            duplicates: a.duplicates + b.duplicates,
            missing: PerLine {
                a: missing(Line::A, feed.lines.a.is_some()),
                b: missing(Line::B, feed.lines.b.is_some()),
            },
            gaps: self.seen.gaps.clone(),
            resets: stats.resets,
            heartbeats: self.heartbeats(),
            late: a.late + b.late,
            stale: a.stale + b.stale,
            unconfirmed: a.unconfirmed + b.unconfirmed,
            malformed: malformed_reasons.values().sum(),
            malformed_reasons,
            messages,
            ticks: self.seen.ticks,
        }
    }
}

fn malformed(line: &LineStats, reason: MalformedReason) -> u64 {
    line.malformed[reason as usize] + line.malformed_messages[reason as usize]
}

impl Seen {
    /// What a line missed. Before its first packet a line is not taken for lossy: the capture may have begun
    /// between the two copies, or the line was joined later. A line that never brought anything missed all,
    /// and so does one in a feed of which the file says where it starts.
    fn missing(&self, line: Line, start_is_known: bool) -> Sequences {
        let joined = self.joined[line.index()].as_ref().filter(|_| !start_is_known);
        let ranges = self.missing[line.index()].iter().filter_map(|missing| {
            let from = match joined {
                Some(joined) if missing.count < joined.count => return None,
                Some(joined) if missing.count == joined.count => missing.from.max(joined.first),
                _ => missing.from,
            };
            (from <= missing.to).then_some(from..=missing.to)
        });
        Sequences(ranges.collect())
    }
}

/// Notes what the report needs and passes ticks on.
struct Observer<'a, T> {
    name: &'a str,
    seen: &'a mut Seen,
    outputs: &'a mut T,
}

impl<T: Taker> Sink for Observer<'_, T> {
    fn tick(&mut self, tick: &Tick) {
        match tick.as_gap() {
            Some((from, to, _)) => self.seen.gaps.push(Gap { from, to }),
            None if tick.source != Source::Local => self.seen.ticks += 1,
            None => self.seen.count += u32::from(tick.action == Action::Clear),
        }
        self.outputs.write(self.name, tick);
    }

    fn instrument(&mut self, instrument: &Instrument) {
        self.outputs.instrument(instrument);
    }

    fn missing(&mut self, line: Line, from: u64, to: u64) {
        self.seen.missing[line.index()].push(Missing { count: self.seen.count, from, to });
    }
}
