//! What was sent against what is in the stream, channel by channel.

use super::look::{Kept, Record};
use anyhow::Result;
use bus::{Continuity, Entry, Verdict};
use serde_json::Value;
use venue::account::ChannelReport;

/// One channel's sums, in sequence numbers.
struct Sums {
    sent: u64,
    published: u64,
    declared: u64,
    ticks: u64,
    problems: Vec<String>,
}

/// Prints the account; whether it adds up.
pub(super) fn print(sent: &[ChannelReport], stream: &[Record], status: &Value) -> Result<bool> {
    println!();
    println!("What was sent, and what is in the stream (sequence numbers)");
    println!(
        "  {:<16}{:>10}{:>11}{:>9}{:>9}{:>10}{:>12}{:>11}  adds up",
        "channel", "sent", "published", "lost", "ticks", "won A/B", "duplicates", "corrupted"
    );
    let mut all_good = true;
    for channel in sent {
        let sums = sums(channel, stream);
        let lines = line_status(status, channel.channel_id);
        let good = sums.problems.is_empty();
        all_good &= good;
        println!(
            "  {:<16}{:>10}{:>11}{:>9}{:>9}{:>10}{:>12}{:>11}  {}",
            channel.name,
            sums.sent,
            sums.published,
            sums.declared,
            sums.ticks,
            lines.as_ref().map_or("?".into(), won),
            lines.as_ref().map_or(0, |[a, b]| number(&a["duplicates"]) + number(&b["duplicates"])),
            [&channel.lines.a, &channel.lines.b]
                .into_iter()
                .flatten()
                .map(|line| line.withheld.corrupt)
                .sum::<u64>(),
            if good { "yes" } else { "NO" },
        );
        for problem in &sums.problems {
            println!("      {problem}");
        }
    }
    println!(
        "  sent = published + declared lost, and what was declared is exactly what neither line delivered"
    );
    Ok(all_good)
}

fn sums(channel: &ChannelReport, stream: &[Record]) -> Sums {
    let mut continuity = Continuity::new();
    let mut sums =
        Sums { sent: channel.sequences, published: 0, declared: 0, ticks: 0, problems: Vec::new() };
    let mut declared: Vec<(u64, u64)> = Vec::new();
    let mut covered = 0;
    for record in stream.iter().filter(|record| record.channel_id == channel.channel_id) {
        let entry = match &record.content {
            Kept::Ticks(ticks) => Entry::of_ticks(record.channel_id, record.first, record.last, ticks),
            Kept::Gap(why) => Entry::of_gap(record.channel_id, record.first, record.last, *why),
        };
        match continuity.check(&entry) {
            Verdict::Begins | Verdict::Follows => {}
            // A capture may hold several runs of a sender; each begins a count of its own.
            Verdict::Restarts => covered = 0,
            verdict => sums.problems.push(format!("the stream at {}: {verdict:?}", record.first)),
        }
        let new = (record.last + 1).saturating_sub(record.first.max(covered));
        covered = covered.max(record.last + 1);
        match &record.content {
            Kept::Ticks(ticks) => {
                sums.published += new;
                sums.ticks += ticks.len() as u64;
            }
            Kept::Gap(_) => {
                sums.declared += new;
                match declared.last_mut() {
                    Some(last) if last.1 + 1 == record.first => last.1 = record.last,
                    _ => declared.push((record.first, record.last)),
                }
            }
        }
    }
    let withheld: Vec<(u64, u64)> =
        channel.must_be_declared.iter().map(|range| (range.from, range.to)).collect();
    if declared != withheld {
        sums.problems.push(format!("declared lost {declared:?}, withheld on both lines {withheld:?}"));
    }
    // What nobody could know of, and what gives no tick at the end of a session, is not in the stream.
    let unknowable: u64 = channel.unknowable.iter().map(|range| range.to - range.from + 1).sum();
    let silent_end =
        channel.last_sequence.saturating_sub(covered.saturating_sub(1)).saturating_sub(unknowable);
    if silent_end > 0 {
        println!("  ({}: the last {silent_end} sequence numbers give no tick)", channel.name);
    }
    if sums.published + sums.declared + unknowable + silent_end != sums.sent {
        sums.problems.push(format!(
            "sent {} ≠ published {} + declared {} + unknowable {unknowable} + without a tick {silent_end}",
            sums.sent, sums.published, sums.declared
        ));
    }
    sums
}

fn line_status(status: &Value, channel_id: u16) -> Option<[Value; 2]> {
    let workers = status["workers"].as_array()?;
    let mut channels = workers.iter().filter_map(|worker| worker["channels"].as_array()).flatten();
    let channel = channels.find(|channel| channel["channel_id"] == channel_id)?;
    Some([channel["a"].clone(), channel["b"].clone()])
}

fn won([a, b]: &[Value; 2]) -> String {
    let (a, b) = (number(&a["won"]), number(&b["won"]));
    let whole = (a + b).max(1);
    format!("{}/{} %", a * 100 / whole, 100 - a * 100 / whole)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
