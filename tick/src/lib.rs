//! The record everything downstream of the wire speaks: one [`Tick`] is 64 bytes, one cache line.
//!
//! The bytes are the contract. They are written by the data plane, carried unchanged through Redis
//! Streams and read in place by Rust (zerocopy) and Python (one numpy dtype). Field meanings and flag
//! bits follow Databento's DBN (<https://databento.com/docs/standards-and-conventions>), so that export
//! to DBN is a mapping and not a translation.

#[cfg(target_endian = "big")]
compile_error!("a Tick is little-endian in memory; reading it in place on a big-endian host would be wrong");

#[cfg(feature = "dbn")]
pub mod dbn;
mod fields;
mod instrument;
mod price;
mod record;

pub use fields::{Action, Clock, ClockSource, Flags, GapReason, Side, Source, StatusAction};
pub use instrument::{Instrument, InstrumentKind};
pub use price::{PRICE_SCALE, Price, PriceError};
pub use record::{DEPTH_BY_ORDER, DEPTH_NO_LEVEL, Tick};
