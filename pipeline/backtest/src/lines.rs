//! Instructions, reports and scores as lines of JSON: the fields of their streams, in the streams' order, each as text.

use crate::market::Told;
use bus::{Instruction, Score};
use serde_json::{Map, Value};

/// A line of `instructions.jsonl`, with its end.
pub fn instruction(instruction: &Instruction) -> String {
    let mut fields = Map::new();
    instruction.for_each_field(|name, value| put(&mut fields, name, value));
    line(fields)
}

/// A line of `reports.jsonl`, with its end. `liquidity` says of a trade whether the order was resting (`maker`) or came
/// and took (`taker`).
pub fn report(told: &Told) -> String {
    let mut fields = Map::new();
    told.report.for_each_field(|name, value| put(&mut fields, name, value));
    if let Some(liquidity) = told.liquidity {
        put(&mut fields, "liquidity", liquidity.word().as_bytes());
    }
    line(fields)
}

/// A line of `scores.jsonl`, with its end.
pub fn score(score: &Score) -> String {
    let mut fields = Map::new();
    score.for_each_field(|name, value| put(&mut fields, name, value));
    line(fields)
}

fn put(fields: &mut Map<String, Value>, name: &str, value: &[u8]) {
    fields.insert(name.to_owned(), String::from_utf8_lossy(value).into_owned().into());
}

fn line(fields: Map<String, Value>) -> String {
    let mut line = Value::Object(fields).to_string();
    line.push('\n');
    line
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
