//! Instructions, reports and scores as lines of JSON: the fields of their streams, in the streams' order, each as text.

use crate::market::Told;
use bus::{Instruction, Score};
use std::io::Write;

/// A line of `instructions.jsonl`, with its end.
pub fn instruction(instruction: &Instruction) -> String {
    let mut line = Line::new();
    instruction.for_each_field(|name, value| line.put(name, value));
    line.end()
}

/// A line of `reports.jsonl`, with its end. `liquidity` says of a trade whether the order was resting (`maker`) or came
/// and took (`taker`).
pub fn report(told: &Told) -> String {
    let mut line = Line::new();
    told.report.for_each_field(|name, value| line.put(name, value));
    if let Some(liquidity) = told.liquidity {
        line.put("liquidity", liquidity.word().as_bytes());
    }
    line.end()
}

/// A line of `scores.jsonl`, with its end.
pub fn score(score: &Score) -> String {
    let mut line = Line::new();
    score.for_each_field(|name, value| line.put(name, value));
    line.end()
}

/// An object that is being written.
struct Line(Vec<u8>);

impl Line {
    fn new() -> Line {
        Line(Vec::with_capacity(512))
    }

    fn put(&mut self, name: &str, value: &[u8]) {
        let first = if self.0.is_empty() { '{' } else { ',' };
        // Writing into memory cannot fail, and text can always be written as JSON.
        let _ = write!(self.0, "{first}\"{name}\":");
        let _ = serde_json::to_writer(&mut self.0, &String::from_utf8_lossy(value));
    }

    fn end(mut self) -> String {
        self.0.extend_from_slice(b"}\n");
        String::from_utf8(self.0).unwrap_or_default()
    }
}

/// FNV-1a, 64 bits: tells apart what differs by accident, and is no protection against intent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.0 = bytes.iter().fold(self.0, step);
    }

    pub(crate) fn text(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::{Report, ReportKind};

    #[test]
    fn a_line_is_the_streams_fields_in_their_order_as_text() {
        let report = Report {
            number: 7,
            id: Some("a1".parse().unwrap()),
            venue: "sim".into(),
            text: "say \"so\"\n".into(),
            ..Report::new(ReportKind::Cancelled, 9)
        };
        assert_eq!(
            super::report(&Told { report, liquidity: None }),
            "{\"v\":\"1\",\"n\":\"7\",\"id\":\"a1\",\"kind\":\"cancelled\",\"venue\":\"sim\",\"publisher\":\"0\",\"instrument\":\"0\",\
             \"last_quantity\":\"0\",\"filled\":\"0\",\"leaves\":\"0\",\"text\":\"say \\\"so\\\"\\n\",\"cause_ns\":\"0\",\"time_ns\":\"9\"}\n"
        );
    }
}
