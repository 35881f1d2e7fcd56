//! What a strategy is: something that is told what happens and may send orders, each in one call.
//!
//! The same code runs live and in a backtest. A strategy has no clock, file, socket, thread or random number of its
//! own: what it knows comes through [`Desk`] and its own fields, so the same inputs give the same orders.

use crate::desk::{Desk, Features};
use crate::models::Model;
use bus::Report;
use tick::Tick;

/// A trading strategy. Every call may send, replace and cancel orders by the desk.
pub trait Strategy: Send {
    /// A tick of one of its instruments was applied to the book.
    fn on_tick(&mut self, desk: &mut Desk<'_>, tick: &Tick) {
        let _ = (desk, tick);
    }

    /// New values of features of one of its instruments.
    fn on_features(&mut self, desk: &mut Desk<'_>, features: &Features<'_>) {
        let _ = (desk, features);
    }

    /// Something happened to one of its orders; positions and open orders are after it.
    fn on_report(&mut self, desk: &mut Desk<'_>, report: &Report) {
        let _ = (desk, report);
    }

    /// A model is ready to be served. Whose it is not lets it pass; a lower version than the one in force, too.
    fn on_model(&mut self, model: &Model) {
        let _ = model;
    }

    /// Time went on: called between inputs, at most every [`TIME_STEP_NS`] of the inputs' own time.
    fn on_time(&mut self, desk: &mut Desk<'_>) {
        let _ = desk;
    }
}

/// How far time goes between two calls of [`Strategy::on_time`], ns.
pub const TIME_STEP_NS: u64 = 10_000_000;
