//! A document, an engine that lets orders pass, and short ways to write instructions and reports.

use bus::config::RiskDocument;
use bus::{Instruction, OrderAction, OrderId, OrderSide, Report, ReportKind, TimeInForce};
use strategy::risk::{Denial, Engine, Reason};
use tick::{Price, StatusAction};

/// Thursday, 2026-01-01, 15:00 UTC.
pub(crate) const NOW: u64 = 1_767_279_600_000_000_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const UNIT: i64 = 1_000_000_000;
pub(crate) const A: (u16, u32) = (2, 7);
pub(crate) const B: (u16, u32) = (2, 9);

pub(crate) const DOCUMENT: &str = "
total: {position_max: 1500, exposure_max: 150000, open_orders_max: 5, messages_per_second: 1000, message_burst: 100, drawdown_max: 2000, order_ids_max: 1000}
default:
  collar_basis_points: 500
  collar_price: '4.00'
  order_quantity_max: 500
  order_notional_max: 45000
  position_max: 1000
  exposure_max: 100000
  open_orders_max: 4
  messages_per_second: 100
  message_burst: 8
  duplicate_window_ms: 500
  quote_age_max_ms: 2000
  drawdown_max: 1000
  multiplier: '1'
restricted:
  - {instrument: {publisher_id: 2, instrument_id: 40}}
  - {instrument: {publisher_id: 2, instrument_id: 41}, short_sale_only: true}
sessions:
  - {days: [thursday], open: '13:30', close: '20:00'}
";

/// The document with replacements, each of which must change it.
pub(crate) fn document(changes: &[(&str, &str)]) -> RiskDocument {
    let text = changes.iter().fold(DOCUMENT.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    RiskDocument::parse(text.as_bytes()).unwrap()
}

/// Everything known: quotes 99.99 to 100.01 at NOW, trading.
pub(crate) fn ready(document: &RiskDocument) -> Engine {
    let mut engine = Engine::new(document);
    for key in [A, B, (2, 40), (2, 41)] {
        engine.define(key.0, key.1, "SYM", None);
        quote(&mut engine, key, 99_990_000_000, 100_010_000_000, NOW);
        engine.status(key.0, key.1, StatusAction::Trading);
    }
    engine.rebuilt();
    engine
}

pub(crate) fn quote(engine: &mut Engine, key: (u16, u32), bid: i64, ask: i64, time_ns: u64) {
    engine.quote(key.0, key.1, Price(bid), Price(ask), time_ns);
}

pub(crate) fn id(number: u64) -> OrderId {
    format!("o{number}").parse().unwrap()
}

fn instruction(number: u64, key: (u16, u32), action: OrderAction) -> Instruction {
    Instruction {
        id: id(number),
        action,
        venue: "V".into(),
        publisher_id: key.0,
        instrument_id: key.1,
        symbol: "SYM".into(),
        strategy: "s".into(),
        cause_ns: 0,
        created_ns: 0,
    }
}

pub(crate) fn order(number: u64, key: (u16, u32), side: OrderSide, quantity: u64, price: i64) -> Instruction {
    let price = Some(Price(price));
    instruction(number, key, OrderAction::New { side, quantity, price, time_in_force: TimeInForce::Day })
}

pub(crate) fn replace(number: u64, key: (u16, u32), of: u64, quantity: u64, price: i64) -> Instruction {
    instruction(number, key, OrderAction::Replace { of: id(of), quantity, price: Price(price) })
}

pub(crate) fn cancel(number: u64, key: (u16, u32), of: u64) -> Instruction {
    instruction(number, key, OrderAction::Cancel { of: id(of) })
}

pub(crate) fn report(kind: ReportKind, number: u64) -> Report {
    Report { id: Some(id(number)), symbol: "SYM".into(), ..Report::new(kind, 0) }
}

/// A trade; `filled` and `leaves` as after it.
pub(crate) fn fill(number: u64, quantity: u64, price: i64, filled: u64, leaves: u64) -> Report {
    Report {
        last_quantity: quantity,
        last_price: Some(Price(price)),
        filled,
        leaves,
        ..report(ReportKind::Filled, number)
    }
}

pub(crate) fn reason(decision: Result<(), Denial>) -> Option<Reason> {
    decision.err().map(|denial| denial.reason)
}
