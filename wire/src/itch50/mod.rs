//! Nasdaq TotalView-ITCH 5.0, all 23 message types of the specification of 28 April 2023.
//!
//! Every message is a plain struct over the wire's own bytes: big-endian integers, no padding, alignment 1.
//! The same struct decodes ([`Message::parse`] borrows the bytes) and encodes (`as_bytes` of zerocopy's
//! `IntoBytes`). Section numbers (§) are those of the specification. Nothing in here allocates or copies.
//!
//! Invariant: a struct's size is the length that the specification gives; it is asserted at compile time.

mod fields;
mod file;
mod messages;

pub use fields::{Price4, Price8, Timestamp, alpha};
pub use file::{Frames, Truncated};
pub use messages::*;

/// Why bytes are not a message of this specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// There is not even a type.
    #[error("message without bytes")]
    Empty,
    /// A type that the specification does not name.
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
    /// A known type whose length is not the specification's.
    #[error("message type {message_type:#04x} takes {expected} bytes, not {actual}")]
    WrongSize {
        /// The type.
        message_type: u8,
        /// Bytes that the type takes.
        expected: usize,
        /// Bytes that there are.
        actual: usize,
    },
}
