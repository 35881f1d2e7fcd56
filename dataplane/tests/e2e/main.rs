//! The data plane as a process, end to end: frames on veth pairs in a namespace of its own, XDP, AF_XDP, a
//! real Redis, and what a reader finds in the stream held against what the venue says it sent.
//!
//! Every test needs root and says so when it is skipped. Nothing is left behind: namespace, Redis and
//! process end with the test, also when it fails.

#![allow(clippy::unwrap_used)]

mod captures;
mod control;
mod control_faults;
mod expected;
mod failures;
mod link;
mod live_change;
mod rig;
mod sessions;
