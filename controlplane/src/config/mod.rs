//! The configuration documents: which there are, what makes one acceptable, how two differ, and how they are changed.
//!
//! A version is accepted when its shape is right, when its type's own `validate` finds nothing, when it has no field of one
//! process and no password, and when the documents fit together ([`cross`]). All problems are found, each with its place.

pub mod cross;
mod diff;
mod kind;
mod models;
mod parts;
mod propose;
mod read;
mod seed;

pub use diff::{Difference, differences};
pub use kind::{Kind, Typed};
pub use models::{Cards, models_named};
pub use parts::{PART_NAME_BYTES_MAX, PARTS, Part, Place, Shows};
pub use propose::{Accepted, Edit, Expected, NewDocument, Proposal, Proposed, Rehearsal, answer, propose};
pub use read::{DocumentBody, Written, json_without_doubles, to_yaml};
pub use seed::seed;
