//! A simulated exchange: plays captures or synthetic sessions on two impaired lines.
//!
//! ```text
//! capture ──┐                          ┌─ line A: Impairer ─ queue ─┐
//!           ├─ Source ─ Packet ─ Script┤                            ├─ Dispatch ─ Outlet (raw, UDP, file)
//! synthetic ┘                   │      └─ line B: Impairer ─ queue ─┘
//!                               └─ Account: sent, withheld and why, lost on both lines
//! ```
//!
//! Everything up to the dispatch is pure and repeatable: the seed decides, not the machine.

pub mod account;
pub mod background;
pub mod books;
pub mod capture;
pub mod exchange;
pub mod frame;
pub mod impair;
pub mod live;
pub mod live_report;
pub mod new_york;
pub mod order_entry;
pub mod play;
pub mod ranges;
pub mod recorded;
pub mod script;
pub mod send;
pub mod session;
pub mod synthetic;
