//! Models: their scores are Python's, and what cannot be served is refused with its reason.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod refused;
mod scores;
mod support;
