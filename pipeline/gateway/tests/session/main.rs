//! Sessions with a scripted line, a real Redis and a real journal, in this process.

#![allow(clippy::unwrap_used, missing_docs)] // A test may.

mod disk;
mod interruptions;
mod orders;
mod rig;
