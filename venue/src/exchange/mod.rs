//! A simulated exchange: orders in, executions and a market data feed out.
//!
//! ```text
//! sessions' orders ──┐                    ┌─ Report ─────► the sessions (a gateway maps them to OUCH)
//!                    ├─ Engine ─ Listener ┤
//! background Flow ───┘  (the books)       └─ MarketEvent ─► Publisher ─ ITCH in MoldUDP64 ─ Packet ─► Script
//! ```
//!
//! No socket, clock or thread in here: time is an argument, ns since the session's begin, and a seed decides
//! what the background does. The same calls give the same bytes.
//!
//! - [`Engine`] is the matching engine alone, for backtests and tests: see [`Listener`].
//! - [`Exchange`] is the engine with its feed, its background flow and its trading day. It is a
//!   [`Source`](crate::session::Source), so that [`Script`](crate::script::Script) can play it on two impaired
//!   lines; a live venue calls [`Exchange::advance`] and the orders' functions instead.
//!
//! `docs/venue.md` has the rules: priority, states, refusals, what is published when.

mod book;
mod engine;
mod flow;
mod listing;
mod order;
mod publish;
mod simulation;

pub use book::Level;
pub use engine::{Engine, EngineConfig, Placed, SelfMatch};
pub use flow::FlowSpec;
pub use listing::{Band, EngineError, SymbolSpec};
pub use order::{
    CancelReason, Liquidity, Listener, MarketEvent, NewOrder, Order, OrderKind, Owner, Price, RejectReason,
    Replacement, Report, SHARES_MAX, SessionId, Side, SymbolId, TradingState,
};
pub use simulation::{Addressed, Exchange, ExchangeError, ExchangeSpec, Listing};
