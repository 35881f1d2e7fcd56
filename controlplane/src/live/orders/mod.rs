//! What was ordered, what became of it, and where that leaves us: orders, denials and positions.
//!
//! `ledger` takes instructions and reports and knows the state; `follower` reads the streams on a thread of its own and says
//! what changed. It is a picture for people: what decides about orders is the gateway's journal and the strategy's risk engine.

mod follower;
mod ledger;
mod positions;

pub use follower::{Desk, OrdersEvent, OrdersNow};
pub use ledger::{Denial, DenialReason, Ledger, Order, OrderState};
pub use positions::Position;
