//! The shipped strategies on a real host: hand-made sequences, and random sessions in which what must always hold is
//! looked at after every input.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../host/support.rs"]
#[allow(dead_code, reason = "shared with the host's tests")]
mod host;
#[path = "../models/support.rs"]
#[allow(dead_code, reason = "shared with the models' tests")]
mod models;

mod model;
mod momentum;
mod quoter;
mod random;
mod rules;
mod support;
