//! Strategies, and what stands between them and a venue.
//!
//! ```text
//! inputs with their times ─► host ─► strategy ─► desk ─► risk ─► instructions, denials
//! ```
//!
//! [`host`] holds everything that a shard's strategies see and own, [`strategy`] says what a strategy is, [`desk`] what
//! it can do, [`strategies`] are those that are shipped, [`models`] what they score with. [`risk`] decides every order before it is sent, and follows what became of it.

pub mod desk;
pub mod host;
pub mod models;
pub mod risk;
pub mod strategies;
pub mod strategy;
