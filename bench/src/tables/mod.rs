//! The tables, one module each.

mod arbiter;
mod archive;
mod backtest;
mod book;
mod decode;
mod events;
mod features;
mod latency;
mod model;
mod order;
mod receiver;
mod redis;
mod risk;

use crate::harness::{Effort, Table};
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A table: its letter, what it is about, and what measures it.
pub struct Entry {
    /// Its letter on the command line.
    pub id: char,
    /// What it measures, for the help text.
    pub about: &'static str,
    /// Measures it.
    pub run: fn(Effort) -> Result<Table>,
}

/// Every table, in the order of the report.
pub const ALL: &[Entry] = &[
    Entry { id: 'a', about: "receiver cost and top rate", run: receiver::table },
    Entry { id: 'b', about: "arbiter, per packet", run: arbiter::table },
    Entry { id: 'c', about: "decoders, per message", run: decode::table },
    Entry { id: 'd', about: "ticks a second into one Redis", run: redis::table },
    Entry { id: 'e', about: "packet to readable in Redis", run: latency::table },
    Entry { id: 'f', about: "order book, ns an update", run: book::table },
    Entry { id: 'g', about: "features, ticks a second on one core", run: features::table },
    Entry { id: 'h', about: "ticks a second into the archive", run: archive::table },
    Entry { id: 'i', about: "risk check of an order", run: risk::table },
    Entry { id: 'j', about: "tick to order", run: order::table },
    Entry { id: 'k', about: "backtest, ticks a second", run: backtest::table },
    Entry { id: 'l', about: "a model's score", run: model::table },
    Entry { id: 'm', about: "receiver beside 500 clients of the events", run: events::table },
];

/// What the reader of table (e), a process of its own, saw of a session: when its packets became readable,
/// counted from when they were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Readable {
    /// Packets seen.
    pub packets: u64,
    /// Median, ns.
    pub p50_ns: u64,
    /// 99 of 100 within, ns.
    pub p99_ns: u64,
    /// 999 of 1000 within, ns.
    pub p999_ns: u64,
    /// The longest, ns.
    pub max_ns: u64,
}
