//! A strategy over recorded ticks, faster than they came, through the engines of the live services.
//!
//! ```text
//! source ─► ticks ─┬─► features::Engine ─ feature latency ─► Host ─ order latency ─► market ─┐
//!                  ├─► Host                                   ▲                              │
//!                  └─► market                                 └────── report latency ◄───────┘
//! ```
//!
//! [`document`] is what a run is made of, [`source`] yields the ticks in their order, [`mod@run`] is the loop, [`market`]
//! what the orders stand in, [`outcome`] what came of it. What is modelled and what is not is in `docs/backtest.md`.
//!
//! Invariant: a run is a function of its document and its ticks. No clock is read and nothing is drawn by lot, so the same input
//! gives the same bytes.

mod account;
pub mod document;
pub mod lines;
pub mod market;
pub mod outcome;
pub mod report;
pub mod run;
pub mod source;
pub mod sweep;
mod traded;

pub use document::{Backtest, BacktestDocument};
pub use outcome::Outcome;
pub use run::{Progress, RunError, Watch, run};
