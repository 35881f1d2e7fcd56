//! What stands around one run: its page, sweeps over many, and the venue whose market our orders move.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod pages;
mod support;
mod sweeps;
mod venue;
