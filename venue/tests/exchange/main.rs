//! The simulated exchange: its rules as tables, its engine against a plain reference, its feed against its
//! books, its background against what it promises.
//!
//! `FEEDPLANE_SEEDS` sets how many random sessions are run, `FEEDPLANE_SEED` runs one alone.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test; a failed unwrap fails it")]

mod background;
mod feed;
mod model;
mod reference;
mod rules;
mod support;
