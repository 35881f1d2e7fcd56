//! The status as metrics: every number of `status.json`, under a name and with labels.
//!
//! Made from the status object itself, on the process's thread, so that the two cannot disagree and a worker
//! does nothing for it. The tables below are the list of what there is. Counts only grow in the metrics: one
//! that began anew (a feed that left and came back) is added to what was counted before it.
//!
//! Durations are seconds, as Prometheus has them; the status has ns.

use metrics::{Counter, Gauge, Label};
use serde_json::Value;
use std::collections::HashMap;

/// A field of the status object and what it is called as a metric.
type Named = (&'static str, &'static str);

const LOOP: &[Named] = &[
    ("busy_rounds", "feedplane_dataplane_busy_rounds_total"),
    ("idle_rounds", "feedplane_dataplane_idle_rounds_total"),
    ("no_feed", "feedplane_dataplane_no_feed_packets_total"),
];
const HANDOVER: &[Named] = &[
    ("records", "feedplane_dataplane_handover_records_total"),
    ("ring_full", "feedplane_dataplane_handover_ring_full_total"),
    ("instruments_dropped", "feedplane_dataplane_handover_instruments_dropped_total"),
];
const RECEIVER: &[Named] = &[
    ("packets", "feedplane_dataplane_received_packets_total"),
    ("payload_bytes", "feedplane_dataplane_received_bytes_total"),
];
/// Packets that a receiver took and could not use, or knows that it missed: label `reason`.
const REFUSED: &str = "feedplane_dataplane_refused_packets_total";
const REFUSALS: &[&str] = &[
    "bad_checksum",
    "foreign",
    "bad_descriptors",
    "unfilled",
    "socket_overflow",
    "oversized",
    "wrong_source",
    "errors",
];
/// The kernel's XDP statistics of a socket: label `reason`.
const XDP_DROPS: &str = "feedplane_dataplane_xdp_socket_drops_total";
const XDP_REASONS: &[&str] = &[
    "rx_dropped",
    "rx_invalid_descs",
    "tx_invalid_descs",
    "rx_ring_full",
    "rx_fill_ring_empty_descs",
    "tx_ring_empty_descs",
];
const XDP_GAUGES: &[Named] = &[
    ("frames", "feedplane_dataplane_xdp_socket_frames"),
    ("lent", "feedplane_dataplane_xdp_socket_lent_frames"),
];
const CHANNEL: &[Named] = &[
    ("delivered_packets", "feedplane_dataplane_delivered_packets_total"),
    ("delivered_sequences", "feedplane_dataplane_delivered_sequences_total"),
    ("gaps", "feedplane_dataplane_gaps_total"),
    ("lost", "feedplane_dataplane_lost_sequences_total"),
    ("resets", "feedplane_dataplane_resets_total"),
    ("sessions_ended", "feedplane_dataplane_sessions_ended_total"),
];
const CHANNEL_GAUGES: &[Named] = &[("window_packets_max", "feedplane_dataplane_window_packets_max")];
const LINE: &[Named] = &[
    ("packets", "feedplane_dataplane_line_packets_total"),
    ("won", "feedplane_dataplane_line_won_packets_total"),
    ("duplicates", "feedplane_dataplane_line_duplicate_packets_total"),
    ("late", "feedplane_dataplane_line_late_packets_total"),
    ("stale", "feedplane_dataplane_line_stale_packets_total"),
    ("unconfirmed", "feedplane_dataplane_line_unconfirmed_packets_total"),
    ("heartbeats", "feedplane_dataplane_line_heartbeats_total"),
];
const LINE_GAUGES: &[Named] = &[("missing", "feedplane_dataplane_line_missing_sequences")];
const MALFORMED: &[Named] = &[
    ("malformed_by_reason", "feedplane_dataplane_malformed_packets_total"),
    ("malformed_messages_by_reason", "feedplane_dataplane_malformed_messages_total"),
];
/// By how much a line led the other: label `quantile`, 1 = the longest.
const LEAD: &str = "feedplane_dataplane_line_lead_seconds";
const LEAD_COUNT: &str = "feedplane_dataplane_line_lead_samples_total";
const LEAD_QUANTILES: &[Named] = &[("p50", "0.5"), ("p99", "0.99"), ("max", "1")];
const PUBLISHER: &[Named] = &[
    ("records_in", "feedplane_dataplane_publisher_records_total"),
    ("published", "feedplane_dataplane_published_ticks_total"),
    ("entries", "feedplane_dataplane_published_entries_total"),
    ("writes", "feedplane_dataplane_published_writes_total"),
    ("bytes", "feedplane_dataplane_published_bytes_total"),
    ("gaps", "feedplane_dataplane_published_gaps_total"),
    ("lost", "feedplane_dataplane_publisher_lost_ticks_total"),
    ("disk_refusals", "feedplane_dataplane_spool_disk_refusals_total"),
    ("reconnects", "feedplane_dataplane_redis_reconnects_total"),
    ("resent", "feedplane_dataplane_resent_writes_total"),
    ("found_done", "feedplane_dataplane_found_done_writes_total"),
    ("rollbacks", "feedplane_dataplane_redis_rollbacks_total"),
    ("instruments", "feedplane_dataplane_published_instruments_total"),
    ("instruments_dropped", "feedplane_dataplane_publisher_instruments_dropped_total"),
];
const PUBLISHER_GAUGES: &[Named] = &[
    ("waiting", "feedplane_dataplane_waiting_ticks"),
    ("spooled", "feedplane_dataplane_spooled_ticks"),
    ("spool_high_water", "feedplane_dataplane_spooled_ticks_max"),
];
/// Packets that a filter took: labels `filter` and `action`.
const FILTERED: &str = "feedplane_dataplane_filter_packets_total";
/// Of the documents that came over the control socket: label `document`; 0 = the process's own file, or nothing waits.
const DOCUMENTS: &[Named] = &[
    ("version", "feedplane_dataplane_document_version"),
    ("waiting_version", "feedplane_dataplane_document_waiting_version"),
];
const REDIS_CONNECTED: &str = "feedplane_dataplane_redis_connected";
const PUBLISHED: &[Named] = &[("published", "feedplane_dataplane_channel_published_ticks_total")];
const PUBLISHED_GAUGES: &[Named] = &[("last_sequence", "feedplane_dataplane_channel_last_sequence")];
/// Sequence numbers declared missing in the stream: label `reason`.
const DECLARED: &str = "feedplane_dataplane_declared_lost_sequences_total";
const DECLARED_REASONS: [&str; 4] = ["lost", "ring_full", "spool_full", "offline"];
/// From arrival to Redis's answer: a histogram of entries, label `le`.
const LATENCY: &str = "feedplane_dataplane_publish_latency_seconds_bucket";
const LATENCY_COUNT: &str = "feedplane_dataplane_publish_latency_seconds_count";
const LATENCY_MAX: &str = "feedplane_dataplane_publish_latency_seconds_max";
/// The histogram's bounds are 2^k ns for these k: 1 µs to 69 s, further than the publisher counts.
const LATENCY_POWERS: std::ops::RangeInclusive<u32> = 10..=36;
/// What is in force on a worker, as labels; always 1.
const WORKER_INFO: &str = "feedplane_dataplane_worker_info";

/// Keeps the metrics of the process at what the last status said.
#[derive(Default)]
pub struct Metrics {
    counters: HashMap<Name, Counted>,
    gauges: HashMap<Name, Gauge>,
}

type Labels<'a> = &'a [(&'static str, &'a str)];
/// A metric's name and its labels' values in their order.
type Name = (&'static str, Vec<String>);

struct Counted {
    counter: Counter,
    last: u64,
}

impl Metrics {
    /// Nothing was shown yet.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Brings all metrics to a status as [`crate::process::Dataplane::status`] gives it.
    pub fn show(&mut self, status: &Value) {
        for worker in items(&status["workers"]) {
            self.worker(worker);
        }
        self.publisher(&status["publisher"]);
        for (document, held) in status["documents"].as_object().into_iter().flatten() {
            self.levels(DOCUMENTS, held, &[("document", document)]);
        }
    }

    fn worker(&mut self, worker: &Value) {
        let name = text(&worker["name"]);
        let labels: Labels<'_> = &[("worker", name)];
        self.info(worker);
        self.counts(LOOP, &worker["loop"], labels);
        self.counts(HANDOVER, &worker["handover"], labels);
        let receiver = &worker["receiver"];
        self.counts(RECEIVER, receiver, labels);
        self.reasons(REFUSED, REFUSALS, receiver, labels);
        for socket in items(&receiver["sockets"]) {
            let queue = socket["queue"].to_string();
            let labels: Labels<'_> =
                &[("worker", name), ("interface", text(&socket["interface"])), ("queue", &queue)];
            self.reasons(XDP_DROPS, XDP_REASONS, socket, labels);
            self.levels(XDP_GAUGES, socket, labels);
        }
        for interface in items(&worker["link"]) {
            let labels: Labels<'_> = &[("worker", name), ("interface", text(&interface["interface"]))];
            self.all("feedplane_dataplane_xdp_program_packets_total", &interface["program"], labels);
            self.all("feedplane_dataplane_nic_total", &interface["nic"], labels);
            for filter in items(&interface["filters"]) {
                let of_filter = [("filter", text(&filter["name"])), ("action", text(&filter["action"]))];
                self.count(FILTERED, &[labels, &of_filter].concat(), number(&filter["packets"]));
            }
        }
        for channel in items(&worker["channels"]) {
            self.channel(name, channel);
        }
    }

    fn info(&mut self, worker: &Value) {
        let core = worker["core"].as_u64().map_or("none".to_owned(), |core| core.to_string());
        let labels: Labels<'_> = &[
            ("worker", text(&worker["name"])),
            ("backend", text(&worker["backend"])),
            ("mode", text(&worker["receiver"]["sockets"][0]["mode"])),
            ("wait", text(&worker["wait"])),
            ("core", &core),
        ];
        self.level(WORKER_INFO, labels, 1.0);
    }

    fn channel(&mut self, worker: &str, channel: &Value) {
        let id = channel["channel_id"].to_string();
        let of_channel = [("worker", worker), ("channel", &id), ("feed", text(&channel["name"]))];
        self.counts(CHANNEL, channel, &of_channel);
        self.levels(CHANNEL_GAUGES, channel, &of_channel);
        for line in ["a", "b"] {
            let stats = &channel[line];
            let of_line = [of_channel[0], of_channel[1], of_channel[2], ("line", line)];
            self.counts(LINE, stats, &of_line);
            self.levels(LINE_GAUGES, stats, &of_line);
            for (field, name) in MALFORMED {
                self.all(name, &stats[field], &of_line);
            }
            let lead = &stats["lead_ns"];
            self.counts(&[("count", LEAD_COUNT)], lead, &of_line);
            for (field, quantile) in LEAD_QUANTILES {
                let labels = [&of_line[..], &[("quantile", *quantile)]].concat();
                self.level(LEAD, &labels, seconds(&lead[field]));
            }
        }
    }

    fn publisher(&mut self, publisher: &Value) {
        self.counts(PUBLISHER, publisher, &[]);
        self.levels(PUBLISHER_GAUGES, publisher, &[]);
        self.level(REDIS_CONNECTED, &[], f64::from(u8::from(publisher["connected"] == true)));
        for channel in items(&publisher["channels"]) {
            let id = channel["channel_id"].to_string();
            let labels: Labels<'_> = &[("channel", &id)];
            self.counts(PUBLISHED, channel, labels);
            self.levels(PUBLISHED_GAUGES, channel, labels);
            for (reason, count) in DECLARED_REASONS.iter().zip(items(&channel["declared"])) {
                self.count(DECLARED, &[("channel", &id), ("reason", reason)], number(count));
            }
        }
        self.latency(&publisher["latency"]);
    }

    fn latency(&mut self, latency: &Value) {
        let buckets: Vec<(u64, u64)> = items(&latency["buckets"])
            .iter()
            .map(|bucket| (number(&bucket[0]), number(&bucket[1])))
            .collect();
        for power in LATENCY_POWERS {
            let bound_ns = 1_u64 << power;
            let below = buckets.iter().filter(|(up_to_ns, _)| *up_to_ns <= bound_ns);
            let bound = (bound_ns as f64 / 1e9).to_string();
            self.count(LATENCY, &[("le", &bound)], below.map(|(_, count)| count).sum());
        }
        self.count(LATENCY, &[("le", "+Inf")], number(&latency["count"]));
        self.counts(&[("count", LATENCY_COUNT)], latency, &[]);
        self.level(LATENCY_MAX, &[], seconds(&latency["max_ns"]));
    }

    fn counts(&mut self, fields: &[Named], of: &Value, labels: Labels<'_>) {
        for (field, name) in fields {
            self.count(name, labels, number(&of[field]));
        }
    }

    fn levels(&mut self, fields: &[Named], of: &Value, labels: Labels<'_>) {
        for (field, name) in fields {
            self.level(name, labels, number(&of[field]) as f64);
        }
    }

    /// Those of the fields that are there.
    fn reasons(&mut self, name: &'static str, fields: &[&str], of: &Value, labels: Labels<'_>) {
        for field in fields {
            if let Some(count) = of[field].as_u64() {
                self.count(name, &[labels, &[("reason", field)]].concat(), count);
            }
        }
    }

    /// Every field of an object, by its own name.
    fn all(&mut self, name: &'static str, of: &Value, labels: Labels<'_>) {
        for (field, count) in of.as_object().into_iter().flatten() {
            self.count(name, &[labels, &[("reason", field)]].concat(), number(count));
        }
    }

    fn count(&mut self, name: &'static str, labels: Labels<'_>, now: u64) {
        let counted = self.counters.entry(key(name, labels)).or_insert_with(|| {
            let counter = metrics::counter!(name, owned(labels));
            Counted { counter, last: 0 }
        });
        let more = now.checked_sub(counted.last).unwrap_or(now);
        counted.counter.increment(more);
        counted.last = now;
    }

    fn level(&mut self, name: &'static str, labels: Labels<'_>, now: f64) {
        let gauge =
            self.gauges.entry(key(name, labels)).or_insert_with(|| metrics::gauge!(name, owned(labels)));
        gauge.set(now);
    }
}

fn key(name: &'static str, labels: Labels<'_>) -> Name {
    (name, labels.iter().map(|(_, value)| (*value).to_owned()).collect())
}

fn owned(labels: Labels<'_>) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn seconds(ns: &Value) -> f64 {
    number(ns) as f64 / 1e9
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::{ChannelPublished, Latency, PublisherStats};
    use feed::ChannelStats;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use serde_json::json;

    /// A status of everything that there can be, with every number different from every other.
    fn status(first: u64) -> Value {
        let publisher = PublisherStats {
            channels: vec![ChannelPublished::default()],
            latency: Latency { buckets: vec![(1 << 11, 0), (1 << 20, 0)], ..Latency::default() },
            ..PublisherStats::default()
        };
        let mut status = json!({
            "workers": [{
                "name": "w0", "core": null, "backend": "xdp", "wait": "park",
                "loop": {"busy_rounds": 0, "idle_rounds": 0, "no_feed": 0},
                "handover": {"records": 0, "ring_full": 0, "instruments_dropped": 0},
                "receiver": {"packets": 0, "payload_bytes": 0},
                "link": [{
                    "interface": "eth1", "program": {"fragment": 0}, "nic": {"rx_fifo": 0},
                    "filters": [{"name": "noise", "action": "drop", "packets": 0}],
                }],
                "channels": [crate::status::channel("es", 310, &ChannelStats::default())],
            }],
            "publisher": publisher,
            "documents": {"feeds": {"version": 0, "waiting_version": 0}},
        });
        status["publisher"]["channels"][0]["channel_id"] = 310.into();
        let receiver = status["workers"][0]["receiver"].as_object_mut().unwrap();
        receiver.extend(REFUSALS.iter().map(|&reason| (reason.to_owned(), 0.into())));
        let mut socket = json!({"interface": "eth1", "queue": 3, "mode": "copy", "frames": 0, "lent": 0});
        socket
            .as_object_mut()
            .unwrap()
            .extend(XDP_REASONS.iter().map(|&reason| (reason.to_owned(), 0.into())));
        receiver.insert("sockets".into(), json!([socket]));
        number_all(&mut status, &mut (first..));
        status
    }

    /// Gives every 0 the next number.
    fn number_all(value: &mut Value, next: &mut impl Iterator<Item = u64>) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| number_all(item, next)),
            Value::Object(fields) => fields.values_mut().for_each(|field| number_all(field, next)),
            Value::Number(number) if number.as_u64() == Some(0) => *value = next.next().into(),
            _ => {}
        }
    }

    /// Where every number is that [`status`] gave.
    fn numbers(at: &str, value: &Value, found: &mut Vec<(String, u64)>) {
        match value {
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| numbers(&format!("{at}/{i}"), item, found));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, field)| numbers(&format!("{at}/{name}"), field, found));
            }
            Value::Number(number) => found.extend(number.as_u64().map(|number| (at.to_owned(), number))),
            _ => {}
        }
    }

    fn rendered(statuses: &[Value]) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let mut metrics = Metrics::new();
            statuses.iter().for_each(|status| metrics.show(status));
        });
        handle.render()
    }

    #[test]
    fn every_number_of_the_status_is_a_metric() {
        let status = status(1_000_000);
        let text = rendered(std::slice::from_ref(&status));
        let shown: Vec<f64> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
            .collect();
        let mut found = Vec::new();
        numbers("", &status, &mut found);
        // The sums of what stands beside them; and quantiles that the histogram has.
        let told_otherwise =
            ["/malformed", "/malformed_messages", "/min_ns", "/p50_ns", "/p90_ns", "/p99_ns", "/p999_ns"];
        for (at, number) in found.iter().filter(|(_, number)| *number >= 1_000_000) {
            if told_otherwise.iter().any(|end| at.ends_with(end)) || at.contains("/latency/buckets/") {
                continue;
            }
            let is_shown =
                shown.iter().any(|&value| value == *number as f64 || (value * 1e9).round() == *number as f64);
            assert!(is_shown, "{at} is no metric:\n{text}");
        }
    }

    #[test]
    fn labels_say_whose_it_is() {
        let text = rendered(&[status(7)]);
        for expected in [
            r#"feedplane_dataplane_xdp_socket_drops_total{worker="w0",interface="eth1",queue="3",reason="rx_ring_full"}"#,
            r#"feedplane_dataplane_line_won_packets_total{worker="w0",channel="310",feed="es",line="b"}"#,
            r#"feedplane_dataplane_malformed_packets_total{worker="w0",channel="310",feed="es",line="a",reason="bad_length"}"#,
            r#"feedplane_dataplane_declared_lost_sequences_total{channel="310",reason="spool_full"}"#,
            r#"feedplane_dataplane_filter_packets_total{worker="w0",interface="eth1",filter="noise",action="drop"}"#,
            r#"feedplane_dataplane_document_version{document="feeds"}"#,
            r#"feedplane_dataplane_worker_info{worker="w0",backend="xdp",mode="copy",wait="park",core="none"} 1"#,
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn latency_is_a_cumulative_histogram() {
        let mut status = status(7);
        let latency = &mut status["publisher"]["latency"];
        latency["count"] = 9.into();
        latency["buckets"] = json!([[1 << 11, 4], [1 << 20, 5]]);
        let text = rendered(&[status]);
        for (bound, count) in [("0.000001024", 0), ("0.000002048", 4), ("0.000524288", 4), ("0.001048576", 9)]
        {
            let expected =
                format!("feedplane_dataplane_publish_latency_seconds_bucket{{le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&expected), "{expected} is not in\n{text}");
        }
        assert!(text.contains("le=\"+Inf\"} 9"), "{text}");
    }

    #[test]
    fn a_count_that_begins_anew_is_added_to_what_was_counted() {
        let status = |packets: u64| json!({"workers": [{"name": "w0", "receiver": {"packets": packets}}]});
        let text = rendered(&[status(10), status(15), status(3), status(4)]);
        assert!(text.contains("received_packets_total{worker=\"w0\"} 19"), "{text}");
    }
}
