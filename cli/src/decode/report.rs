//! What `decode` found, as one JSON object or as tables for a person.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::RangeInclusive;

/// One value for each line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct PerLine<T> {
    pub(super) a: T,
    pub(super) b: T,
}

/// Sequence numbers, kept as ranges; in JSON a flat list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequences(pub(super) Vec<RangeInclusive<u64>>);

impl Sequences {
    fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end() - range.start() + 1).sum()
    }
}

impl Serialize for Sequences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().cloned().flatten())
    }
}

/// Sequence numbers that no line brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The capture file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CaptureReport {
    /// Records in the file.
    pub(super) records: u64,
    /// Records that belong to no feed.
    pub(super) other: u64,
    /// Frames that the capture kept only in part.
    pub(super) cut: u64,
    /// Damaged datagrams, by their UDP checksum; not decoded.
    pub(super) bad_checksum: u64,
    /// Where and why reading ended early.
    pub(super) damage: Option<String>,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChannelReport {
    pub(super) channel: String,
    pub(super) packets: PerLine<u64>,
    pub(super) won: PerLine<u64>,
    pub(super) duplicates: u64,
    pub(super) missing: PerLine<Sequences>,
    pub(super) gaps: Vec<Gap>,
    pub(super) resets: u64,
    pub(super) heartbeats: u64,
    pub(super) late: u64,
    pub(super) stale: u64,
    pub(super) unconfirmed: u64,
    pub(super) malformed: u64,
    pub(super) malformed_reasons: BTreeMap<String, u64>,
    pub(super) messages: BTreeMap<String, u64>,
    pub(super) ticks: u64,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) capture: CaptureReport,
    pub(super) channels: Vec<ChannelReport>,
}

impl Report {
    /// One JSON object and a line end.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// Tables: one row a channel, then what is particular about each.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let CaptureReport { records, other, cut, bad_checksum, .. } = self.capture;
        write!(out, "{records} records")?;
        if other > 0 {
            write!(out, ", {other} of no feed")?;
        }
        if cut > 0 {
            write!(out, ", {cut} cut by the capture's snapshot length")?;
        }
        if bad_checksum > 0 {
            write!(out, ", {bad_checksum} with a wrong UDP checksum")?;
        }
        write!(out, "\n\n{}", self.table())?;
        for channel in &self.channels {
            write!(out, "\n{}", channel.details())?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let head = [
            "channel",
            "packets A",
            "packets B",
            "won A",
            "won B",
            "duplicates",
            "missing A",
            "missing B",
            "gaps",
            "resets",
            "heartbeats",
            "malformed",
            "ticks",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.channels.iter().map(ChannelReport::row));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut table = String::new();
        for row in &rows {
            let _ = write!(table, "{:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(table, "  {cell:>width$}");
            }
            table.push('\n');
        }
        table
    }
}

impl ChannelReport {
    fn row(&self) -> [String; 13] {
        [
            self.channel.clone(),
            self.packets.a.to_string(),
            self.packets.b.to_string(),
            self.won.a.to_string(),
            self.won.b.to_string(),
            self.duplicates.to_string(),
            self.missing.a.count().to_string(),
            self.missing.b.count().to_string(),
            self.gaps.len().to_string(),
            self.resets.to_string(),
            self.heartbeats.to_string(),
            self.malformed.to_string(),
            self.ticks.to_string(),
        ]
    }

    fn details(&self) -> String {
        let mut text = format!("{}\n", self.channel);
        let pairs = |counts: &BTreeMap<String, u64>| {
            let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            each.join(", ")
        };
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(text, "  {name:<17} {value}");
            }
        };
        line("messages", pairs(&self.messages));
        line("missing on A", ranges(self.missing.a.0.iter().map(|range| (*range.start(), *range.end()))));
        line("missing on B", ranges(self.missing.b.0.iter().map(|range| (*range.start(), *range.end()))));
        line("gaps", ranges(self.gaps.iter().map(|gap| (gap.from, gap.to))));
        line("malformed", pairs(&self.malformed_reasons));
        for (name, count) in
            [("packets late", self.late), ("packets stale", self.stale), ("unconfirmed", self.unconfirmed)]
        {
            line(name, if count > 0 { format!("{count}, not delivered") } else { String::new() });
        }
        text
    }
}

/// Ranges as a person reads them; a long list is cut.
fn ranges(all: impl ExactSizeIterator<Item = (u64, u64)>) -> String {
    const SHOWN_MAX: usize = 20;
    let left = all.len().saturating_sub(SHOWN_MAX);
    let mut shown: Vec<String> = all
        .take(SHOWN_MAX)
        .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}–{to}") })
        .collect();
    if left > 0 {
        shown.push(format!("and {left} more (--json has all)"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            capture: CaptureReport { records: 12, other: 2, cut: 0, bad_checksum: 0, damage: None },
            channels: vec![ChannelReport {
                channel: "es".into(),
                packets: PerLine { a: 5, b: 4 },
                won: PerLine { a: 5, b: 1 },
                duplicates: 3,
                missing: PerLine { a: Sequences(vec![7..=7]), b: Sequences(vec![3..=4, 9..=9]) },
                gaps: vec![Gap { from: 11, to: 12 }],
                resets: 0,
                heartbeats: 1,
                late: 3,
                stale: 0,
                unconfirmed: 0,
                malformed: 2,
                malformed_reasons: [("unknown message type or template".to_owned(), 2)].into(),
                messages: [("32".to_owned(), 6), ("12".to_owned(), 1)].into(),
                ticks: 20,
            }],
        }
    }

    fn text(report: &Report) -> String {
        let mut bytes = Vec::new();
        report.write_text(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_has_the_keys_that_the_documentation_names() {
        let mut bytes = Vec::new();
        report().write_json(&mut bytes).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let channel = &value["channels"][0];
        assert_eq!(channel["packets"], serde_json::json!({"a": 5, "b": 4}));
        assert_eq!(channel["missing"], serde_json::json!({"a": [7], "b": [3, 4, 9]}));
        assert_eq!(channel["gaps"], serde_json::json!([{"from": 11, "to": 12}]));
        assert_eq!(channel["messages"], serde_json::json!({"12": 1, "32": 6}));
        assert_eq!(channel["ticks"], 20);
        assert!(value["capture"]["damage"].is_null());
    }

    #[test]
    fn text_lines_numbers_up_under_their_heads_and_names_the_losses() {
        let text = text(&report());
        let table: Vec<&str> = text.lines().skip(2).take(2).collect();
        assert_eq!(table[0].len(), table[1].len(), "{text}");
        assert!(text.contains("missing on B      3–4, 9\n"), "{text}");
        assert!(text.contains("gaps              11–12\n"), "{text}");
        assert!(text.contains("packets late      3, not delivered\n"), "{text}");
        assert!(text.starts_with("12 records, 2 of no feed\n"), "{text}");
    }

    #[test]
    fn text_leaves_out_what_did_not_happen() {
        let mut quiet = report();
        quiet.channels[0].gaps.clear();
        quiet.channels[0].malformed_reasons.clear();
        let text = text(&quiet);
        assert!(!text.contains("  gaps   "), "{text}");
        assert!(!text.contains("  malformed   "), "{text}");
    }

    #[test]
    fn a_long_list_of_ranges_is_cut_and_says_so() {
        let many: Vec<(u64, u64)> = (0..30).map(|n| (n * 2, n * 2)).collect();
        assert!(ranges(many.into_iter()).ends_with("38, and 10 more (--json has all)"));
    }
}
