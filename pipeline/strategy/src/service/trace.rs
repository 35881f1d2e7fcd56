//! Log lines by which an order is followed: `trace` is its client order id, in every process. At level `debug`, because
//! there is one for each step of each order.

use bus::{FeatureRecord, Instruction, OrderAction, OrderError, OrderId, Report, StreamId};
use strategy::host::Output;
use tick::Tick;
use tracing::{debug, enabled, warn};

/// Whether anybody wants the lines.
pub(super) fn is_on() -> bool {
    enabled!(tracing::Level::DEBUG)
}

/// What a tick or a record of features is called in the lines: by it, the entry of the stream is found.
pub(super) struct Cause {
    by: &'static str,
    channel_id: u16,
    sequence: u64,
    ts_recv: u64,
}

impl From<&Tick> for Cause {
    fn from(tick: &Tick) -> Cause {
        let Tick { channel_id, sequence, ts_recv, .. } = *tick;
        Cause { by: "tick", channel_id, sequence, ts_recv }
    }
}

impl From<&FeatureRecord<'_>> for Cause {
    fn from(record: &FeatureRecord<'_>) -> Cause {
        let FeatureRecord { channel_id, sequence, time_ns, .. } = *record;
        Cause { by: "features", channel_id, sequence, ts_recv: time_ns }
    }
}

/// What came of a tick or of features, or of the time that went on until then: that names no tick.
pub(super) fn caused(outputs: &[Output], cause: &Cause) {
    let Cause { by, channel_id, sequence, ts_recv } = *cause;
    for output in outputs {
        match output {
            Output::Instruction(Instruction { id, strategy, instrument_id, action, cause_ns: 0, .. }) => {
                let action = word(action);
                debug!(trace = %id, by = "time", strategy, instrument_id, action, "instruction made");
            }
            Output::Instruction(Instruction { id, strategy, instrument_id, action, .. }) => {
                let action = word(action);
                debug!(trace = %id, by, channel_id, sequence, ts_recv, strategy, instrument_id, action, "instruction made");
            }
            Output::Denied(Report { id: Some(id), strategy, instrument_id, reason, text, .. }) => {
                debug!(
                    trace = %id, by, channel_id, sequence, ts_recv, strategy, instrument_id, reason, text,
                    "instruction denied before it was sent"
                );
            }
            Output::Again(_) | Output::Denied(_) | Output::Score(_) => {}
        }
    }
}

/// It is in its stream.
pub(super) fn published(outputs: &[Output]) {
    for output in outputs {
        match output {
            Output::Instruction(instruction) => of_instruction(instruction, false),
            Output::Again(instruction) => of_instruction(instruction, true),
            Output::Denied(report) => of_report(report, "denial published"),
            Output::Score(_) => {}
        }
    }
}

/// The gateway says something about an order.
pub(super) fn reported(report: &Report) {
    of_report(report, "report taken");
}

/// A report that breaks the contract, of an order whose id can be read, or of one that cannot.
pub(super) fn refused(stream: &str, entry: StreamId, error: &OrderError) {
    match error.id {
        Some(id) => warn!(trace = %id, stream, id = %entry, %error, "an entry is refused"),
        None => warn!(stream, id = %entry, %error, "an entry is refused"),
    }
}

fn of_instruction(instruction: &Instruction, again: bool) {
    let Instruction { id, venue, strategy, symbol, cause_ns, created_ns, action, .. } = instruction;
    let (of, action) = (named(action), word(action));
    debug!(
        trace = %id, of, venue, strategy, symbol, action, cause_ns, created_ns, again, "instruction published"
    );
}

fn of_report(report: &Report, message: &'static str) {
    let Some(id) = report.id else { return };
    let Report { number, venue, strategy, symbol, filled, leaves, execution, reason, cause_ns, .. } = report;
    let (kind, of) = (report.kind.word(), report.of.as_ref().map(OrderId::to_string));
    debug!(
        trace = %id, of, kind, number, venue, strategy, symbol, filled, leaves, execution, reason, cause_ns, "{message}"
    );
}

fn word(action: &OrderAction) -> &'static str {
    match action {
        OrderAction::New { .. } => "new",
        OrderAction::Replace { .. } => "replace",
        OrderAction::Cancel { .. } => "cancel",
    }
}

fn named(action: &OrderAction) -> Option<String> {
    match action {
        OrderAction::New { .. } => None,
        OrderAction::Replace { of, .. } | OrderAction::Cancel { of } => Some(of.to_string()),
    }
}
