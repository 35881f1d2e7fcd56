//! The OUCH line: the protocol without a socket, against captured packets, against a scripted server, and against the
//! simulated venue.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test; a failed unwrap fails it")]

mod captured;
mod hostile;
mod mapping;
mod session;
mod settling;
mod support;
mod tcp;
mod venue;

#[path = "../../../../wire/tests/ouch50_common/mod.rs"]
mod ouch50_common;
