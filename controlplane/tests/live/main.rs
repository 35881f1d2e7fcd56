//! What lives, against a real Redis: versions reach it, halts reach it, events reach many clients, and what is hostile in
//! it is counted and passed over.

#![allow(clippy::unwrap_used)] // Test helpers are not seen as tests by clippy.

mod dataplane;
mod distribution;
mod events;
mod hostile;
mod http;
mod market;
mod orders;
mod rig;
mod trading;
