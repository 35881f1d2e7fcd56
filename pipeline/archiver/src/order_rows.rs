//! Rows of orders in PostgreSQL's binary COPY format, as [`rows`](crate::rows) makes those of ticks: of
//! instructions, reports, trading states and drop copies.
//!
//! Invariant: no text in a row holds a zero byte, which PostgreSQL's text cannot: it would refuse the whole batch, for
//! ever. Text that a record does not have is NULL.

use crate::drop_copy::DropCopy;
use crate::rows::{put, timestamp_us};
use bus::{Instruction, OrderAction, OrderId, OrderSide, Report, TradingState};
use tick::Price;

/// The statement that takes rows of instructions.
pub const COPY_INSTRUCTIONS: &str = "COPY order_instructions (time, row, created_ns, cause_ns, \
     instrument_id, quantity, price, publisher_id, stream, id, action, of, side, tif, venue, symbol, strategy) \
     FROM STDIN (FORMAT binary)";
/// The statement that takes rows of reports.
pub const COPY_REPORTS: &str = "COPY execution_reports (time, row, number, time_ns, cause_ns, last_quantity, \
     last_price, filled, leaves, instrument_id, publisher_id, stream, kind, id, of, side, venue, strategy, symbol, \
     venue_order, execution, reason, text) FROM STDIN (FORMAT binary)";
/// The statement that takes rows of trading states.
pub const COPY_TRADING: &str =
    "COPY trading_state (time, row, time_ns, stream, mode, by, reason) FROM STDIN (FORMAT binary)";
/// The statement that takes rows of drop copies.
pub const COPY_DROP_COPY: &str =
    "COPY drop_copy (time, row, time_ns, stream, venue, way, protocol, bytes) FROM STDIN (FORMAT binary)";

/// Lays the columns of a row behind each other.
struct Columns<'a> {
    out: &'a mut Vec<u8>,
}

impl Columns<'_> {
    fn of(out: &mut Vec<u8>, count: u16) -> Columns<'_> {
        out.extend_from_slice(&count.to_be_bytes());
        Columns { out }
    }

    fn time(&mut self, ns: u64) {
        put(self.out, Some(&timestamp_us(ns).to_be_bytes()));
    }

    /// Unsigned numbers, bit for bit.
    fn numbers(&mut self, values: &[u64]) {
        for value in values {
            put(self.out, Some(&value.to_be_bytes()));
        }
    }

    fn optional(&mut self, value: Option<u64>) {
        put(self.out, value.map(u64::to_be_bytes).as_ref().map(|bytes| &bytes[..]));
    }

    fn price(&mut self, price: Option<Price>) {
        self.optional(price.map(|price| price.0 as u64));
    }

    fn publisher(&mut self, id: u16) {
        put(self.out, Some(&u32::from(id).to_be_bytes()));
    }

    fn stream(&mut self, stream: i16) {
        put(self.out, Some(&stream.to_be_bytes()));
    }

    /// Text; NULL when it is empty.
    fn texts(&mut self, texts: &[&str]) {
        for text in texts {
            if text.contains('\0') {
                put(self.out, Some(text.replace('\0', "\u{fffd}").as_bytes()));
            } else {
                put(self.out, (!text.is_empty()).then_some(text.as_bytes()));
            }
        }
    }
}

fn shown(id: &Option<OrderId>) -> &str {
    id.as_ref().map_or("", OrderId::as_str)
}

/// Appends the row of an instruction.
pub fn push_instruction(out: &mut Vec<u8>, stream: i16, row: u64, instruction: &Instruction) {
    let (word, of, side, quantity, price, tif) = match &instruction.action {
        OrderAction::New { side, quantity, price, time_in_force } => {
            ("new", "", side.word(), Some(*quantity), *price, time_in_force.word())
        }
        OrderAction::Replace { of, quantity, price } => {
            ("replace", of.as_str(), "", Some(*quantity), Some(*price), "")
        }
        OrderAction::Cancel { of } => ("cancel", of.as_str(), "", None, None, ""),
    };
    let mut columns = Columns::of(out, 17);
    columns.time(instruction.created_ns);
    let instrument = u64::from(instruction.instrument_id);
    columns.numbers(&[row, instruction.created_ns, instruction.cause_ns, instrument]);
    columns.optional(quantity);
    columns.price(price);
    columns.publisher(instruction.publisher_id);
    columns.stream(stream);
    columns.texts(&[instruction.id.as_str(), word, of, side, tif]);
    columns.texts(&[&instruction.venue, &instruction.symbol, &instruction.strategy]);
}

/// Appends the row of a report.
pub fn push_report(out: &mut Vec<u8>, stream: i16, row: u64, report: &Report) {
    let mut columns = Columns::of(out, 23);
    columns.time(report.time_ns);
    columns.numbers(&[row, report.number, report.time_ns, report.cause_ns, report.last_quantity]);
    columns.price(report.last_price);
    columns.numbers(&[report.filled, report.leaves, u64::from(report.instrument_id)]);
    columns.publisher(report.publisher_id);
    columns.stream(stream);
    let side = report.side.map_or("", OrderSide::word);
    columns.texts(&[report.kind.word(), shown(&report.id), shown(&report.of), side]);
    columns.texts(&[&report.venue, &report.strategy, &report.symbol, &report.venue_order, &report.execution]);
    columns.texts(&[&report.reason, &report.text]);
}

/// Appends the row of a trading state.
pub fn push_trading(out: &mut Vec<u8>, stream: i16, row: u64, state: &TradingState) {
    let mut columns = Columns::of(out, 7);
    columns.time(state.time_ns);
    columns.numbers(&[row, state.time_ns]);
    columns.stream(stream);
    columns.texts(&[state.mode.word(), &state.by, &state.reason]);
}

/// Appends the row of a drop copy.
pub fn push_drop_copy(out: &mut Vec<u8>, stream: i16, row: u64, copy: &DropCopy<'_>) {
    let mut columns = Columns::of(out, 8);
    columns.time(copy.time_ns);
    columns.numbers(&[row, copy.time_ns]);
    columns.stream(stream);
    columns.texts(&[copy.venue, copy.way, copy.protocol]);
    put(out, Some(copy.bytes));
}
