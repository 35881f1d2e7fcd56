//! The order gateway: `order_instructions` in, orders on the wire, what became of them in `execution_reports`.
//!
//! `docs/trading.md` has the rules that hold across the processes, `docs/gateway.md` this room.

pub mod connection;
pub mod fix;
pub mod journal;
pub mod line;
pub mod lines;
pub mod managed;
pub mod orders;
pub mod ouch;
pub mod service;
pub mod session;
