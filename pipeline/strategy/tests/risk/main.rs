//! The risk engine from outside: each check at, below and above its limit, races of reports, and random sessions
//! beside a plain re-computation.
//!
//! `FEEDPLANE_SEEDS` sets how many instructions the random sessions have in all.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod checks;
mod races;
mod random;
mod support;
