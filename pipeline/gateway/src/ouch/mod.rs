//! The line to a venue that speaks OUCH 5.0 over SoupBinTCP.
//!
//! ```text
//!   caller's thread:  send ─► encode ─► socket                     (no queue: written now, or an error)
//!   reader's thread:  socket ─► Session ─► decode ─► Events        (and heartbeats, logins, connecting again)
//! ```
//!
//! [`Session`] is the client's side of the protocol without a socket or a clock: bytes and a time in, bytes and events
//! out. `encode` and `decode` map one message each. [`OuchLine`] is a [`Connection`](crate::connection::Connection), which decides nothing. Why a lost
//! order is settled as it is, is in `docs/gateway-ouch.md`.
//!
//! Invariant: the venue's numbers are counted in one place, [`Session`], and each message takes one, readable or not.

mod clock;
mod decode;
mod encode;
mod line;
mod session;
mod settings;
mod settle;

pub use line::OuchLine;
pub use session::{Ready, Session};
pub use settings::{Settings, SettingsError};
