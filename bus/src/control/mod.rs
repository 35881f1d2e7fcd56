//! How versioned configuration reaches a process, and how the process says what it runs.
//!
//! The control plane writes a [`ConfigVersion`] into `config:<service>`; a managed process lays it over its own document
//! ([`lay_over`]), takes it or not, and writes a [`ProcessReport`] into `processes:<service>`; a [`Follower`] does that for it. Which fields stay the
//! process's own is said in one place ([`local_fields`]). The contract in words is `docs/controlplane.md`.
//!
//! Invariant: what is read from Redis is checked before it is used, here and by whoever writes it. A key that holds
//! something else is refused with the reason, and whoever reads it goes on with what it has.

mod document;
mod follower;
mod local;
mod report;
mod version;
mod watch;

pub use document::{ManagedDocument, SERVICES, parse_document};
pub use follower::{AtStart, Begin, Follower, FollowerConfig, FollowerError, Offered, Started};
pub use local::{lay_over, local_fields, strip_local_fields, strip_local_schema};
pub use report::{
    MEMBER_BYTES_MAX, PROCESS_REPORT_BYTES_MAX, PROCESS_STALE, ProcessReport, ProcessReportError,
    ProcessState, REASON_BYTES_MAX,
};
pub use version::{CONFIG_CHANGES_ENTRIES_MAX, CONFIG_TEXT_BYTES_MAX, ConfigVersion, ConfigVersionError};
