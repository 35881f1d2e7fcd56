//! Side-by-side measurements: feedplane against what it replaces, in one run on one machine.
//!
//! [`harness`] says what a table is and how a figure is taken, [`tables`] holds one module for each table,
//! [`corpus`] and [`book`] make the bytes they work on, [`report`] and [`picture`] show the tables,
//! [`environment`] says where they were taken, `world` and `processes` start what is measured as processes. The Python
//! programs that some tables compare with are in `bench/reference/`, the original design is in
//! `bench/reference_asyncio/`.

pub mod book;
pub mod corpus;
pub mod environment;
pub mod harness;
pub mod lane;
pub mod picture;
mod processes;
pub mod python;
pub mod report;
pub mod session;
pub mod sink;
pub mod tables;
mod world;
