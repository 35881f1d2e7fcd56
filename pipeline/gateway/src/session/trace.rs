//! Log lines by which an order is followed: `trace` is its client order id, in every process. At level `debug`, because
//! there is one for each step of each order.

use crate::orders::{About, Went};
use bus::{Instruction, OrderAction, OrderId, Report};
use tracing::{debug, enabled};

/// Passed all checks: to be journalled, then sent.
pub(super) fn taken(instruction: &Instruction, wire_ref: u32, is_own: bool) {
    if !enabled!(tracing::Level::DEBUG) {
        return;
    }
    let Instruction { id, venue, strategy, symbol, cause_ns, created_ns, .. } = instruction;
    let (action, of) = match &instruction.action {
        OrderAction::New { .. } => ("new", None),
        OrderAction::Replace { of, .. } => ("replace", Some(of.to_string())),
        OrderAction::Cancel { of } => ("cancel", Some(of.to_string())),
    };
    debug!(
        trace = %id, of, venue, strategy, symbol, action, cause_ns, created_ns, wire_ref, is_own, "instruction taken"
    );
}

/// Came again with an id that is known: its last report is given again.
pub(super) fn asked(venue: &str, id: &OrderId) {
    debug!(trace = %id, venue, "instruction known already");
}

/// Refused. The report says so as well, where there is an id.
pub(super) fn denied(venue: &str, about: &About, reason: &str, text: &str) {
    let About { strategy, symbol, cause_ns, .. } = about;
    let trace = about.id.as_ref().map(OrderId::to_string);
    debug!(trace, venue, strategy, symbol, cause_ns, reason, text, "instruction denied");
}

/// The wire took it, or not.
pub(super) fn went(venue: &str, id: &OrderId, how: &Went) {
    match how {
        Went::Sent => debug!(trace = %id, venue, "sent"),
        Went::Not { reason, text } => debug!(trace = %id, venue, reason, text, "not sent"),
        Went::Broken { text } => debug!(trace = %id, venue, text, "the connection broke while it was sent"),
    }
}

/// What became of an order.
pub(super) fn reported(report: &Report) {
    let Some(id) = report.id.filter(|_| enabled!(tracing::Level::DEBUG)) else { return };
    let Report { number, venue, strategy, symbol, filled, leaves, venue_order, execution, reason, .. } =
        report;
    let (kind, of, cause_ns) =
        (report.kind.word(), report.of.as_ref().map(OrderId::to_string), report.cause_ns);
    debug!(
        trace = %id, of, kind, number, venue, strategy, symbol, filled, leaves, venue_order, execution, reason, cause_ns,
        "report"
    );
}
