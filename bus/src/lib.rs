//! What feedplane's processes say to each other: stream names, records and configuration documents.
//!
//! Everything that two processes must agree on is here and nowhere else: what a stream and its keys are
//! called ([`names`]), what an entry of `raw_market_data` is ([`Entry`]), how far a channel is published
//! ([`Position`]), how a reader notices that something is missing ([`Continuity`]), and the documents
//! that configure the processes ([`config`]). The contract in words is `docs/streams.md`.

pub mod config;
mod continuity;
mod entry;
mod instrument;
pub mod names;
mod position;
mod reply;

pub use continuity::{Continuity, Verdict};
pub use entry::{Content, Entry, EntryError, is_channel_clear, reason_name};
pub use instrument::InstrumentRow;
pub use position::{Position, PositionError, Positions, WriteId};
pub use reply::{StreamEntries, StreamEntry, StreamId, entries_of_range, entries_of_read};
