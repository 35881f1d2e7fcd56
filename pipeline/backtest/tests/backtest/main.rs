//! Backtests from end to end: matching by hand-computed cases and by properties, sources with what can be wrong with them, and
//! the real file of one future.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod archive;
mod documents;
mod field;
mod matching;
mod models;
mod random;
mod real;
mod runs;
mod session;
mod sources;
mod support;
