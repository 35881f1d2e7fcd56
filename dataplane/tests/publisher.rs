//! The publisher against a real Redis: what goes into the rings is in the stream once and in order, or
//! declared missing in its place, whatever happens to Redis and to the connection.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "publisher/contract.rs"]
mod contract;
#[path = "publisher/faults.rs"]
mod faults;
#[path = "publisher/outages.rs"]
mod outages;
#[path = "publisher/proxy.rs"]
mod proxy;
#[path = "publisher/python.rs"]
mod python;
#[path = "publisher/rig.rs"]
mod rig;
#[path = "publisher/shards.rs"]
mod shards;
