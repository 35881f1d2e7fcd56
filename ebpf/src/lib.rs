//! The XDP programs, and all that user space does with them: loading the one that an interface takes,
//! attaching it, changing feeds and the program while packets flow, reading its counters.
//!
//! [`Steering`] is the door. [`Metadata`] is what a steered packet carries in front of it. [`diagnose`]
//! turns a bare error number into what is missing and what to do. [`Generator`] and [`Pass`] make traffic
//! for benches and tests.

mod counters;
pub mod diagnose;
mod errors;
mod feeds;
mod filters;
mod libbpf_log;
mod link;
mod metadata;
mod program;
mod run;
mod steering;
mod traffic;

pub use counters::{Counters, Reason};
pub use errors::{AttachError, ChangeError, Errno, LoadError};
pub use feeds::{FeedKey, FeedValue};
pub use filters::{FilterAction, FilterKey};
pub use link::{AttachMode, DriverFeatures, driver_features};
pub use metadata::Metadata;
pub use program::{MapSizes, Program, ProgramIdentity, Variant};
pub use run::{Outcome, Verdict};
pub use steering::{AttachRequest, Fallback, HardwareTime, LoadRequest, Steering};
pub use traffic::{Generator, Pass, Stamp};
