//! The exact account of a session: per channel and line what was sent and what was withheld and why, and the
//! sequence ranges that no line delivered, which are what a receiver must declare lost.

use crate::impair::{Fate, Withheld};
use crate::ranges::{RangeSet, SequenceRange};
use crate::session::{Channel, Line, Packet};
use serde::Serialize;
use std::fmt;

/// What was sent, and what was not. Built while playing; complete at its end.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How long sending took, s.
    pub duration_s: f64,
    /// Stopped before the session's end; the account is of what went out until then.
    pub interrupted: bool,
    /// Packets sent on all lines, duplicates included.
    pub packets_sent: u64,
    /// Messages in the session's packets, counted once for both lines.
    pub messages: u64,
    /// `packets_sent` a second.
    pub packets_per_s: f64,
    /// `messages` a second.
    pub messages_per_s: f64,
    /// Packets of a capture that belong to no feed and were passed over.
    pub not_of_a_feed: u64,
    /// Why the session's source ended early (a cut capture).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_error: Option<String>,
    /// One for each channel and run of its sender.
    pub channels: Vec<ChannelReport>,
}

/// One channel, from one start of its sender to the next.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelReport {
    /// The channel's name.
    pub name: String,
    /// The channel's number.
    pub channel_id: u16,
    /// Restarts of the sender before.
    pub run: u32,
    /// First sequence number of the session.
    pub first_sequence: u64,
    /// Last sequence number of the session.
    pub last_sequence: u64,
    /// Sequence numbers in the session.
    pub sequences: u64,
    /// Messages in the session.
    pub messages: u64,
    /// Sequence numbers that at least one line delivered whole.
    pub delivered: u64,
    /// Sequence numbers that no line delivered, and that a later packet gave away: exactly these must a
    /// receiver declare lost that knows the first sequence number and waits longer than one line is behind
    /// the other.
    pub must_be_declared: Vec<SequenceRange>,
    /// Sequence numbers that no line delivered and after which nothing came: no receiver can know of them.
    pub unknowable: Vec<SequenceRange>,
    /// Line A and line B.
    pub lines: LineReports,
}

/// The lines of a channel.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LineReports {
    /// Line A, where the channel has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<LineReport>,
    /// Line B, where the channel has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<LineReport>,
}

/// One line of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineReport {
    /// Packets that the session has for this line.
    pub packets: u64,
    /// Packets sent: damaged ones and duplicates included.
    pub sent: u64,
    /// Packets delivered whole, counted once.
    pub delivered: u64,
    /// Messages in the packets delivered whole.
    pub messages: u64,
    /// Second copies sent.
    pub duplicates: u64,
    /// Packets held back to be overtaken.
    pub reordered: u64,
    /// Packets not delivered whole.
    pub withheld: WithheldCounts,
    /// Sequence numbers that the session has and that this line never delivered whole.
    pub missing: Vec<SequenceRange>,
}

/// Packets not delivered whole, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WithheldCounts {
    /// Lost, alone or in a burst.
    pub loss: u64,
    /// Not sent in a silence.
    pub silence: u64,
    /// Sent with flipped bits.
    pub corrupt: u64,
    /// Sent cut.
    pub truncate: u64,
}

impl WithheldCounts {
    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.loss + self.silence + self.corrupt + self.truncate
    }

    fn count(&mut self, reason: Withheld) {
        match reason {
            Withheld::Loss => self.loss += 1,
            Withheld::Silence => self.silence += 1,
            Withheld::Corrupt => self.corrupt += 1,
            Withheld::Truncate => self.truncate += 1,
        }
    }
}

/// The account while it is being kept.
#[derive(Debug, Default)]
pub struct Account {
    /// The runs of each channel, oldest first.
    channels: Vec<Vec<Run>>,
}

#[derive(Debug, Default)]
struct Run {
    run: u32,
    /// Every sequence number of the session.
    all: RangeSet,
    /// Sequence number after the highest that a delivered packet gave away.
    known_until: u64,
    lines: [LineRun; 2],
    messages: u64,
}

#[derive(Debug, Default)]
struct LineRun {
    report: LineReport,
    delivered: RangeSet,
}

impl Account {
    /// An empty account of so many channels.
    pub fn new(channels: usize) -> Account {
        Account { channels: (0..channels).map(|_| Vec::new()).collect() }
    }

    /// Enters a packet and its fate on each line that carries it.
    pub fn enter(&mut self, packet: &Packet, fates: [Option<Fate>; 2]) {
        let runs = &mut self.channels[packet.channel];
        // The two lines of a capture restart one after the other, so the run before may come up again.
        let at = match runs.iter().rposition(|run| run.run == packet.run) {
            Some(at) => at,
            None => {
                runs.push(Run { run: packet.run, ..Run::default() });
                runs.len() - 1
            }
        };
        let run = &mut runs[at];
        let (first, count) = (packet.first, u64::from(packet.count));
        if !run.all.contains(first, count) {
            run.all.insert(first, count);
            run.messages += u64::from(packet.messages);
        }
        for (line, fate) in run.lines.iter_mut().zip(fates) {
            let Some(fate) = fate else { continue };
            line.report.packets += 1;
            line.report.sent += u64::from(fate.is_sent()) + u64::from(fate.duplicated);
            line.report.duplicates += u64::from(fate.duplicated);
            line.report.reordered += u64::from(fate.overtaken_by > 0);
            match fate.withheld {
                Some(reason) => line.report.withheld.count(reason),
                None => {
                    line.report.delivered += 1;
                    line.report.messages += u64::from(packet.messages);
                    line.delivered.insert(first, count);
                    run.known_until = run.known_until.max(first.saturating_add(count));
                }
            }
        }
    }

    /// The account per channel and run.
    pub fn report(&self, channels: &[Channel]) -> Vec<ChannelReport> {
        let of_channel = |(channel, runs): (&Channel, &Vec<Run>)| {
            runs.iter().map(|run| run.report(channel)).collect::<Vec<_>>()
        };
        channels.iter().zip(&self.channels).flat_map(of_channel).collect()
    }
}

impl Run {
    fn report(&self, channel: &Channel) -> ChannelReport {
        let [a, b] = &self.lines;
        let lost = self.all.minus(&a.delivered.union(&b.delivered));
        let mut known = RangeSet::default();
        known.insert(0, self.known_until);
        let ranges = self.all.ranges();
        let line = |line: Line| {
            channel.lines[line.index()].map(|_| {
                let run = &self.lines[line.index()];
                LineReport { missing: self.all.minus(&run.delivered).ranges().to_vec(), ..run.report.clone() }
            })
        };
        ChannelReport {
            name: channel.name.clone(),
            channel_id: channel.channel_id,
            run: self.run,
            first_sequence: ranges.first().map_or(0, |range| range.from),
            last_sequence: ranges.last().map_or(0, |range| range.to),
            sequences: self.all.count(),
            messages: self.messages,
            delivered: self.all.count() - lost.count(),
            unknowable: lost.minus(&known).ranges().to_vec(),
            must_be_declared: lost.minus(&lost.minus(&known)).ranges().to_vec(),
            lines: LineReports { a: line(Line::A), b: line(Line::B) },
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} packets and {} messages in {:.3} s: {:.0} packets/s, {:.0} messages/s{}",
            self.packets_sent,
            self.messages,
            self.duration_s,
            self.packets_per_s,
            self.messages_per_s,
            if self.interrupted { " (interrupted)" } else { "" },
        )?;
        if self.not_of_a_feed > 0 {
            writeln!(f, "{} packets of the capture are of no feed and were passed over", self.not_of_a_feed)?;
        }
        if let Some(error) = &self.source_error {
            writeln!(f, "the session ended early: {error}")?;
        }
        for channel in &self.channels {
            write!(f, "{channel}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ChannelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel {} {}", self.channel_id, self.name)?;
        if self.run > 0 {
            write!(f, " (after restart {})", self.run)?;
        }
        writeln!(
            f,
            ": sequence {}..{}, {} messages; delivered {} of {}",
            self.first_sequence, self.last_sequence, self.messages, self.delivered, self.sequences,
        )?;
        for (name, line) in [("A", &self.lines.a), ("B", &self.lines.b)] {
            let Some(line) = line else { continue };
            let WithheldCounts { loss, silence, corrupt, truncate } = line.withheld;
            writeln!(
                f,
                "  line {name}: {} packets, {} sent, {} twice, {} reordered; withheld {} (loss {loss}, silence \
                 {silence}, corrupt {corrupt}, truncated {truncate})",
                line.packets,
                line.sent,
                line.duplicates,
                line.reordered,
                line.withheld.total(),
            )?;
        }
        write_ranges(f, "must be declared lost", &self.must_be_declared)?;
        write_ranges(f, "lost at the end, unknowable", &self.unknowable)
    }
}

/// At most ten ranges are written out; the JSON report has all.
fn write_ranges(f: &mut fmt::Formatter<'_>, what: &str, ranges: &[SequenceRange]) -> fmt::Result {
    const SHOWN: usize = 10;
    if ranges.is_empty() {
        return Ok(());
    }
    let count: u64 = ranges.iter().map(SequenceRange::count).sum();
    write!(f, "  {what}: {count} in {} ranges:", ranges.len())?;
    for range in ranges.iter().take(SHOWN) {
        write!(f, " {}", range.from)?;
        if range.to > range.from {
            write!(f, "..{}", range.to)?;
        }
    }
    writeln!(f, "{}", if ranges.len() > SHOWN { " …" } else { "" })
}
