//! The orders of a session as a state machine: one table of races, random interleavings beside a model venue.

#![allow(clippy::unwrap_used, missing_docs)] // A test may.

mod judging;
mod races;
mod random;
mod rig;
