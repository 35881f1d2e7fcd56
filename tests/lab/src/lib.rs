//! A private network and private servers for tests, benches and the demo: the one way to make them.
//! Everything is undone on drop, and by the kernel when the process dies.

pub mod allocations;
pub mod network;
pub mod postgres;
pub mod redis_server;
