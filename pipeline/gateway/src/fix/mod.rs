//! The line to a venue that speaks FIX 4.4.
//!
//! ```text
//!   caller's thread:  send ─► orders ─► Session ─► socket             (no queue: written now, or an error)
//!   reader's thread:  socket ─► Session ─► reports ─► Events          (and heartbeats, logons, connecting again)
//! ```
//!
//! [`Session`] is the initiator's side of the protocol without a socket or a clock: bytes and a time in, bytes and
//! events out. `message` is the encoding, `orders` and `reports` map one message each, [`Numbers`] keeps our sequence
//! numbers on disk. [`FixLine`] is a [`Connection`](crate::connection::Connection), which decides nothing. What is sent
//! and understood is in `docs/gateway-fix.md`; why no engine is used in `docs/decisions/fix-engine.md`.
//!
//! Invariant: a message of ours has a number that none had before it, and is written once or never.

mod line;
mod message;
mod numbers;
mod orders;
mod reports;
mod session;
mod settings;
mod values;

pub use line::{FixLine, FixLineError};
pub use numbers::{Numbers, NumbersError};
pub use session::{Ready, Session};
pub use settings::{Settings, SettingsError};
