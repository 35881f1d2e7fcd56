//! The tables, one module each.

mod arbiter;
mod decode;
mod receiver;
mod redis;

use crate::harness::{Effort, Table};
use anyhow::Result;

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
];
