//! The API, whole: who is let in, what is accepted, what is kept, and what a killed process leaves. One program, so that it
//! is linked once.

#![allow(clippy::unwrap_used)] // A test may.

mod common;
mod documents;
mod hostile;
mod killed;
mod process;
mod roles;
mod schemathesis;
mod store;
mod tls;
