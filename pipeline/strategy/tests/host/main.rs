//! The host as a function: the same inputs give the same bytes, a restart changes nothing, and what is not known lets
//! nothing new pass.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod determinism;
mod faults;
mod restart;
mod support;
