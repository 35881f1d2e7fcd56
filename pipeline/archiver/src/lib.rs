//! The archiver: everything on the streams into PostgreSQL, exactly once.
//!
//! It reads `raw_market_data`, `calculated_features`, `order_instructions` and `execution_reports` (all their shards,
//! divided among the members of the group `archiver`), `trading_state` and, where asked for, `drop_copy`, turns entries
//! into rows ([`follow`], [`rows`], [`order_rows`]) and stores each batch in one transaction with
//! the place in the stream that it leads to ([`store`]). What is missing or was refused is a row in `gaps`.
//! Instruments and schemas of features are kept beside ([`catalogue`]). What server it is, is found out at the
//! start ([`shape`]). The tables and the queries that they are made for: `docs/archive.md`.

pub mod catalogue;
pub mod drop_copy;
pub mod follow;
pub mod managed;
pub mod order_rows;
pub mod rows;
pub mod service;
pub mod shape;
pub mod store;
