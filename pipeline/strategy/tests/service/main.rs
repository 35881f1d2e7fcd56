//! The strategy service as a process on a real Redis, with a market that moves and a gateway of a few lines: killed,
//! frozen, contended, halted, misconfigured and fed with what nobody should write.

#![allow(clippy::unwrap_used)]

mod faults;
mod gateway;
mod interruptions;
mod managed;
#[path = "../models/support.rs"]
#[allow(dead_code, reason = "shared with the models' tests")]
mod model_support;
mod models;
mod rig;
