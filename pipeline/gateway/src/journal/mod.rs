//! The journal of a venue session: what the gateway knew, on disk before it had an effect.
//!
//! ```text
//! <journal>/<venue>/<day>/<token>.journal     one file for each owner of the lease, appended to by its owner only
//!
//! file   = frame frame …                      the first holds Begin, the others an Entry each
//! frame  = marker "FPJ1" (4)  length (4)  batch (8)  CRC-32 of length, batch and body (4)  body
//! ```
//!
//! All little-endian. A **batch** is what is written and synced at once, named by where in the file it begins; it is begun
//! only when all before it is on disk. So a damaged frame with nothing of a later batch behind it was never relied on: it is a torn tail and cut off. One
//! with a later batch behind it is damage, and the journal is refused.
//!
//! A new owner begins its own file. Its [`Begin`] says which files it read and how far: what a former owner that was only
//! asleep appends behind that is never read by anyone. Nobody changes or truncates another's file.
//!
//! Invariant: what [`Journal::commit`] acknowledged is read back by every later owner, whole and in order, or the day is
//! refused.

mod fields;
mod folder;
mod frame;
mod record;
mod write;

pub use folder::{DayRead, Folder, read_reports};
pub use record::Record;
pub use write::{Journal, JournalState};

use bus::{OrderFault, StreamId, TradingState};
use std::io;
use std::path::PathBuf;

/// Longest body of a frame, bytes: a [`Begin`] with every position is the largest.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Most positions that a [`Begin`] carries on.
pub const POSITIONS_MAX: usize = 50_000;
/// Most bytes that wait for a disk that takes none.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// What an owner began with: the head of its file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Begin {
    /// When, ns since the epoch.
    pub time_ns: u64,
    /// The session.
    pub venue: String,
    /// The day, `YYYY-MM-DD`: the date on which it began, UTC.
    pub day: String,
    /// The owner's lease.
    pub token: u64,
    /// The number of the last report of each shard before this file.
    pub numbers: Vec<u64>,
    /// The number of the last report of each shard before the day's first file.
    pub base: Vec<u64>,
    /// How far the instructions of each shard were read before this file.
    pub cursors: Vec<StreamId>,
    /// The files of the day that were read, and how far.
    pub before: Vec<Extent>,
    /// Positions at the beginning of the day, by publisher and instrument.
    pub positions: Vec<((u16, u32), i128)>,
    /// The trading state at the beginning of the day, if one was ever seen.
    pub trading: Option<TradingState>,
}

/// A file as far as it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Its owner.
    pub token: u64,
    /// Its length.
    pub bytes: u64,
}

/// Why bytes are not a record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("it ends too early")]
    Short,
    /// They do not end.
    #[error("{0} bytes are left behind it")]
    Trailing(usize),
    /// No record of this version.
    #[error("kind {0} is not known; it was written by another version")]
    Kind(u8),
    /// A field is not there.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field cannot be read.
    #[error("field `{0}` cannot be read")]
    Value(&'static str),
    /// An instruction or report in it breaks the contract.
    #[error("{0}")]
    Order(OrderFault),
}

/// Why a journal cannot be used. Nothing new is sent then.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was on disk is not there any more as it was.
    #[error(
        "{} is damaged at byte {offset}: {why}; bring the file back as it was, or reconcile with the venue by hand \
         and move the day's folder away",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A later owner has begun a file.
    #[error("{} is of a later owner; the lease with token {token} is over", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The token that came too late.
        token: u64,
    },
    /// The backlog is full.
    #[error("{BACKLOG_BYTES_MAX} bytes wait for the disk; no more is kept")]
    BacklogFull,
}
