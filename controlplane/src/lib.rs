//! The control plane: holds the versions of every configuration document, gives them to the processes, shows what they
//! do, and stops trading when told to. The contract is `docs/controlplane.md`.
//!
//! It is never in the data's way. What a process runs, it goes on running when this one is gone.
//!
//! Every request passes [`access`] before a handler of [`api`] sees it: one table, made from the served OpenAPI
//! description, says which role an operation needs, so that what is written there and what is enforced cannot differ.
//! Whatever changes something is one transaction of [`store`]: the change, its audit entry and the answer kept for the
//! idempotency key.

pub mod access;
pub mod api;
pub mod app;
pub mod config;
pub mod console;
pub mod link;
pub mod live;
pub mod server;
pub mod store;
