//! The feature service as a process on a real Redis: killed, frozen, contended, misconfigured and fed with
//! what nobody should write. Each test compares with an engine that was never interrupted.

#![allow(clippy::unwrap_used)]

mod faults;
mod interruptions;
mod managed;
mod rig;
