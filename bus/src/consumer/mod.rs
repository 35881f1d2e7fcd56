//! Reading streams: from a stored place on, in order, by one member of a group at a time.
//!
//! ```text
//!            leases                     entries
//!   Members ────────► which streams are mine, with a token that fences my results
//!   Reader  ◄──────── XREAD from the cursor on ── Batch ──► effect, committed together with the cursor
//! ```
//!
//! A book, a feature or an archive needs an instrument's ticks in order, and Redis's own consumer groups hand
//! the entries of one stream to whoever asks. So a group here divides *streams* (shards) among its members:
//! each stream has one owner, by a lease. Where the owner has got to is stored by the owner, in the same
//! transaction as its results; a new owner of a dead member's stream goes on exactly there. A member that was
//! only asleep cannot spoil anything: its results carry an older token, and whatever stores them refuses it.
//!
//! Invariant: after [`Reader::follow`] every entry behind the cursor is returned once and in order, or its
//! absence is told: by [`Continuity`](crate::Continuity) for numbered records, by
//! [`Batch::restarted`] for a stream that Redis has lost.

mod info;
mod link;
mod members;
mod reader;

pub use info::{StreamInfo, WhyMissing};
pub use link::{ConsumerError, Link, Refusal};
pub use members::{Fence, Lease, Members, MembersConfig, Tended, process_name};
pub use reader::{Batch, Reader};

use link::ANSWER_WITHIN;
