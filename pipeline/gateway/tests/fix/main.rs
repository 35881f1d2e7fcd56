//! The FIX 4.4 line: its session by itself, its messages, and all of it against QuickFIX, a counterparty that
//! was written by others.
//!
//! The tests with QuickFIX need the package `quickfix` in `FEEDPLANE_PYTHON`; without it they say SKIPPED.

#![allow(clippy::unwrap_used)] // A test may.

mod acceptor;
mod fuzz;
mod kills;
mod mapping;
mod rig;
mod session;
mod venue;
mod wire;
