//! How the process is, as one JSON object: what the demo's table, the tests and an operator read. Written
//! to a file whole, so that a reader never sees half of one.

use crate::clock::utc_now_ns;
#[cfg(feature = "xdp")]
use crate::link::Interfaces;
use crate::publisher::PublisherStats;
use crate::receiver::{ReceiverReport, ReceiverStats};
use crate::running::RunningWorker;
use crate::socket::SocketStats;
use crate::worker::WorkerReport;
use anyhow::Context;
use feed::{ChannelStats, LeadHistogram, Line, LineStats, MalformedReason};
use serde_json::{Value, json};
use std::path::Path;

/// Asks each worker how it is.
pub(crate) fn workers(running: &mut [RunningWorker]) -> anyhow::Result<Vec<Value>> {
    running.iter_mut().map(worker).collect()
}

/// The status of the whole process.
pub(crate) fn whole(workers: &[Value], publisher: &PublisherStats) -> Value {
    json!({
        "version": 1,
        "pid": std::process::id(),
        "time_ns": utc_now_ns(),
        "workers": workers,
        "publisher": publisher,
    })
}

fn worker(running: &mut RunningWorker) -> anyhow::Result<Value> {
    let names: Vec<(usize, String, u16)> =
        running.feeds().map(|(slot, feed)| (slot, feed.name.clone(), feed.channel_id)).collect();
    let link = running.link.status();
    let report = running.port.report()?;
    let channels: Vec<Value> = names
        .iter()
        .filter_map(|(slot, name, id)| Some(channel(name, *id, report.channels[*slot].as_ref()?)))
        .collect();
    let WorkerReport { handover, counters, receiver, .. } = report;
    let receiver = receiver_status(receiver);
    #[cfg(feature = "xdp")]
    let receiver = with_interfaces(receiver, &running.interfaces);
    Ok(json!({
        "name": running.name,
        "core": running.core,
        "wait": running.wait.name(),
        "backend": running.link.name(),
        "fallback": running.fallback,
        "interfaces": running.interfaces.names,
        "link": link,
        "receiver": receiver,
        "loop": {
            "busy_rounds": counters.busy_rounds,
            "idle_rounds": counters.idle_rounds,
            "no_feed": counters.no_feed,
        },
        "handover": {
            "records": handover.records,
            "ring_full": handover.ring_full,
            "instruments_dropped": handover.instruments_dropped,
        },
        "channels": channels,
    }))
}

fn receiver_status(report: &ReceiverReport) -> Value {
    match &report.stats {
        #[cfg(feature = "xdp")]
        ReceiverStats::Xdp(stats) => crate::link::receiver_status(stats, &report.sockets),
        ReceiverStats::Socket(stats) => {
            let SocketStats { packets, payload_bytes, socket_overflow, oversized, wrong_source, errors } =
                stats;
            json!({
                "packets": packets,
                "payload_bytes": payload_bytes,
                "socket_overflow": socket_overflow,
                "oversized": oversized,
                "wrong_source": wrong_source,
                "errors": errors,
            })
        }
    }
}

/// The kernel numbers interfaces; people and metrics name them.
#[cfg(feature = "xdp")]
fn with_interfaces(mut status: Value, interfaces: &Interfaces) -> Value {
    for socket in status["sockets"].as_array_mut().into_iter().flatten() {
        let at = interfaces.indices.iter().position(|&index| socket["ifindex"] == index);
        socket["interface"] = at.map(|at| interfaces.names[at].clone()).into();
    }
    status
}

pub(crate) fn channel(name: &str, id: u16, stats: &ChannelStats) -> Value {
    json!({
        "name": name,
        "channel_id": id,
        "a": line(stats.line(Line::A)),
        "b": line(stats.line(Line::B)),
        "delivered_packets": stats.delivered_packets,
        "delivered_sequences": stats.delivered_sequences,
        "gaps": stats.gaps,
        "lost": stats.lost,
        "resets": stats.resets,
        "sessions_ended": stats.sessions_ended,
        "window_packets_max": stats.window_packets_max,
    })
}

fn line(stats: &LineStats) -> Value {
    json!({
        "packets": stats.packets,
        "won": stats.won,
        "duplicates": stats.duplicates,
        "late": stats.late,
        "stale": stats.stale,
        "unconfirmed": stats.unconfirmed,
        "heartbeats": stats.heartbeats,
        "malformed": stats.malformed_total(),
        "malformed_messages": stats.malformed_messages_total(),
        "malformed_by_reason": by_reason(&stats.malformed),
        "malformed_messages_by_reason": by_reason(&stats.malformed_messages),
        "malformed_last": stats.malformed_last.map(|malformed| malformed.to_string()),
        "missing": stats.missing,
        "lead_ns": {
            "count": stats.lead.count(),
            "p50": stats.lead.quantile_ns(0.5),
            "p99": stats.lead.quantile_ns(0.99),
            "max": stats.lead.max_ns(),
            "buckets": doubling(&stats.lead),
        },
    })
}

/// A histogram in steps that double, for a picture: `[less than so many ns, count]`, ascending, 38 at most; steps
/// without a count are left out.
fn doubling(lead: &LeadHistogram) -> Vec<[u64; 2]> {
    let mut steps: Vec<[u64; 2]> = Vec::new();
    for (upper_ns, count) in lead.buckets() {
        let below_ns = upper_ns.saturating_add(1).checked_next_power_of_two().unwrap_or(u64::MAX);
        match steps.last_mut() {
            Some(last) if last[0] == below_ns => last[1] += count,
            _ => steps.push([below_ns, count]),
        }
    }
    steps
}

/// The short names of [`feed::MalformedReason`], in its order.
const MALFORMED_REASONS: [&str; MalformedReason::COUNT] = [
    "short_header",
    "bad_length",
    "trailing_bytes",
    "unknown_message",
    "wrong_size",
    "bad_value",
    "oversized",
];

fn by_reason(counts: &[u64; MalformedReason::COUNT]) -> Value {
    MALFORMED_REASONS
        .iter()
        .zip(counts)
        .map(|(&name, &count)| (name.to_owned(), Value::from(count)))
        .collect()
}

/// Replaces the status file.
///
/// # Errors
/// When it cannot be written.
pub fn write(file: &Path, status: &Value) -> anyhow::Result<()> {
    let beside = file.with_extension("json.new");
    std::fs::write(&beside, format!("{status:#}\n"))
        .and_then(|()| std::fs::rename(&beside, file))
        .with_context(|| format!("cannot write the status file {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_are_told_in_steps_that_double_and_none_is_lost() {
        let mut lead = LeadHistogram::default();
        for ns in [0, 1, 2, 3, 900, 1_000, 1_023, 1_024, 5_000_000, u64::MAX] {
            lead.record(ns);
        }
        let steps = doubling(&lead);
        assert_eq!(steps[..5], [[1, 1], [2, 1], [4, 2], [1_024, 3], [2_048, 1]]);
        assert_eq!(steps.iter().map(|[_, count]| count).sum::<u64>(), lead.count());
        assert!(steps.is_sorted_by(|a, b| a[0] < b[0]) && steps.len() <= 38, "{steps:?}");
    }
}
