//! The archiver as a process, on a real Redis and a real PostgreSQL with TimescaleDB (or without).

#![allow(clippy::unwrap_used)] // A test may.

mod content;
mod failures;
mod managed;
mod orders;
mod rig;
mod trouble;
