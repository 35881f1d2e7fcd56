//! The archiver as a process, on a real Redis and a real PostgreSQL with TimescaleDB (or without).

mod content;
mod failures;
mod rig;
mod trouble;
