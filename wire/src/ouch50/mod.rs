//! Nasdaq OUCH 5.0, the order entry of Nasdaq's equity markets: all 8 messages to the market, all 17 from it.
//!
//! Followed is revision 1.05 of the specification (October 2025), by way of public readers of it that agree
//! with each other and with captured packets; section numbers (§) are its own. What the earlier revision of
//! April 2023 sends is read as well. Integers are big-endian, text is ASCII padded with
//! spaces on the right, prices have four implied decimals, times are nanoseconds since midnight in New York.
//! The same letter means different things in each direction, so [`Inbound`] and [`Outbound`] are two enums.
//!
//! A message is a type, a body of fixed length and, behind most, an [`Appendage`]: a length and a chain of
//! optional fields, each a [`Tag`]. A body is a plain struct over the wire's own bytes without the type; the
//! enum adds it. Decoder and encoder are each other's inverse: an appendage keeps its bytes, tags that this
//! revision does not know included, and keeps whether there was one at all. Nothing in here allocates.
//!
//! Invariant: a body's size is what the specification gives, asserted at compile time; an [`Appendage`]'s
//! chain is whole and its known tags have their width.

mod appendage;
mod codes;
mod fields;
mod messages;

pub use appendage::{Appendage, AppendageWriter, Tag, Tags};
pub use codes::{cancel_reason, reject_reason};
pub use fields::Price;
pub use messages::*;

/// Why bytes are not a message of this specification. Offsets count from the message's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// There is not even a type.
    #[error("message without bytes")]
    Empty,
    /// A type that the specification does not name in this direction.
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
    /// The message ends inside its fixed part, or before the appendage that its type must have.
    #[error("message type {message_type:#04x} takes at least {expected} bytes, not {actual}")]
    TooShort {
        /// The type.
        message_type: u8,
        /// Bytes that the type takes at least.
        expected: usize,
        /// Bytes that there are.
        actual: usize,
    },
    /// Bytes are left after all that the message announces.
    #[error("bytes left at {offset}, after the message")]
    TrailingBytes {
        /// Where they begin.
        offset: usize,
    },
    /// The appendage's length, or the appendage itself, runs past the end of the message.
    #[error("appendage at byte {offset} runs past the end")]
    AppendagePastEnd {
        /// Where its length is.
        offset: usize,
    },
    /// An optional field without even a tag.
    #[error("optional field at byte {offset} has no tag")]
    NoTag {
        /// Where the field begins.
        offset: usize,
    },
    /// An optional field runs past the end of the appendage.
    #[error("optional field at byte {offset} runs past the end of the appendage")]
    TagPastEnd {
        /// Where the field begins.
        offset: usize,
    },
    /// A known tag whose value has another width.
    #[error("tag {tag} at byte {offset} takes {expected} bytes, not {actual}")]
    WrongTagSize {
        /// Where the field begins.
        offset: usize,
        /// The tag.
        tag: u8,
        /// Bytes that the tag takes.
        expected: usize,
        /// Bytes that there are.
        actual: usize,
    },
}

/// Why a message or an optional field was not written. Nothing of it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// The buffer is too short, or the appendage would be longer than its length can say.
    #[error("no room for the message")]
    NoRoom,
    /// An appendage for a message that has none.
    #[error("message type {0:#04x} has no appendage")]
    NoAppendage(u8),
    /// [`Tag::Unknown`] with a number that this revision knows: its value might have any width.
    #[error("tag {0} is known: write it by its name")]
    KnownTag(u8),
}
