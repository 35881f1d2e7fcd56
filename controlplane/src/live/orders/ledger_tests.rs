use super::*;
use bus::{OrderSide, TimeInForce};
use tick::Price;

const VENUE: &str = "xnas";

fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

fn new(order: &str, quantity: u64) -> Instruction {
    let action = OrderAction::New {
        side: OrderSide::Buy,
        quantity,
        price: Some(Price(2_500_000_000)),
        time_in_force: TimeInForce::Day,
    };
    Instruction {
        id: id(order),
        action,
        venue: VENUE.into(),
        publisher_id: 2,
        instrument_id: 7,
        symbol: "AAPL".into(),
        strategy: "ofi".into(),
        cause_ns: 1,
        created_ns: 2,
    }
}

fn replace(order: &str, of: &str, quantity: u64) -> Instruction {
    let action = OrderAction::Replace { of: id(of), quantity, price: Price(2_000_000_000) };
    Instruction { action, ..new(order, 1) }
}

fn cancel(order: &str, of: &str) -> Instruction {
    Instruction { action: OrderAction::Cancel { of: id(of) }, ..new(order, 1) }
}

struct Told {
    ledger: Ledger,
    number: u64,
}

impl Told {
    fn new() -> Told {
        Told { ledger: Ledger::new(), number: 0 }
    }

    fn tell(&mut self, kind: ReportKind, order: &str, of: Option<&str>, with: impl FnOnce(&mut Report)) {
        self.number += 1;
        let mut report = Report {
            number: self.number,
            id: Some(id(order)),
            of: of.map(id),
            venue: VENUE.into(),
            strategy: "ofi".into(),
            symbol: "AAPL".into(),
            publisher_id: 2,
            instrument_id: 7,
            side: Some(OrderSide::Buy),
            ..Report::new(kind, 100 + self.number)
        };
        with(&mut report);
        self.ledger.report("execution_reports", &report);
    }

    fn fill(&mut self, order: &str, last: u64, at: i64, filled: u64, leaves: u64) {
        self.tell(ReportKind::Filled, order, None, |report| {
            (report.last_quantity, report.last_price) = (last, Some(Price(at)));
            (report.filled, report.leaves) = (filled, leaves);
        });
    }

    fn state(&self, order: &str) -> OrderState {
        self.ledger.order(&id(order)).unwrap().state
    }
}

#[test]
fn an_order_goes_from_instruction_to_its_end_and_makes_a_position() {
    let mut told = Told::new();
    told.ledger.instruct(&new("A1", 10));
    assert_eq!(told.state("A1"), OrderState::Instructed);
    told.tell(ReportKind::Sent, "A1", None, |_| ());
    assert_eq!(told.state("A1"), OrderState::Sent);
    told.tell(ReportKind::Accepted, "A1", None, |report| report.leaves = 10);
    told.fill("A1", 4, 2_000_000_000, 4, 6);
    assert_eq!(told.state("A1"), OrderState::Open);
    told.fill("A1", 6, 3_000_000_000, 10, 0);
    assert_eq!(told.state("A1"), OrderState::Filled);
    assert_eq!(told.ledger.open().count(), 0);
    let positions = told.ledger.positions();
    assert_eq!((positions[0].position, positions[0].trades), (10, 2));
    assert_eq!(positions[0].bought_at.as_deref(), Some("2.60"));
    told.tell(ReportKind::Broken, "A1", None, |report| {
        (report.last_quantity, report.last_price, report.filled) = (6, Some(Price(3_000_000_000)), 4);
    });
    let positions = told.ledger.positions();
    assert_eq!((positions[0].position, positions[0].bought_at.as_deref()), (4, Some("2.00")));
    assert_eq!(told.state("A1"), OrderState::Filled);
}

#[test]
fn a_replacement_takes_the_place_of_its_original_and_a_cancel_is_no_order() {
    let mut told = Told::new();
    told.ledger.instruct(&new("A1", 10));
    told.tell(ReportKind::Accepted, "A1", None, |report| report.leaves = 10);
    told.ledger.instruct(&replace("A2", "A1", 20));
    told.tell(ReportKind::Sent, "A2", Some("A1"), |_| ());
    told.tell(ReportKind::Replaced, "A2", Some("A1"), |report| report.leaves = 20);
    assert_eq!((told.state("A1"), told.state("A2")), (OrderState::Replaced, OrderState::Open));
    assert_eq!(told.ledger.order(&id("A2")).unwrap().side, Some("buy"));
    told.ledger.instruct(&cancel("A3", "A2"));
    told.tell(ReportKind::Sent, "A3", Some("A2"), |_| ());
    assert_eq!(told.state("A2"), OrderState::Open);
    told.tell(ReportKind::CancelRejected, "A3", Some("A2"), |report| report.reason = "too_late".into());
    assert_eq!(told.state("A2"), OrderState::Open);
    told.tell(ReportKind::Cancelled, "A3", Some("A2"), |_| ());
    assert_eq!(told.state("A2"), OrderState::Cancelled);
    assert!(told.ledger.order(&id("A3")).is_none());
    // A replacement that the venue does not do ends, and its original goes on.
    told.ledger.instruct(&new("B1", 5));
    told.tell(ReportKind::Accepted, "B1", None, |report| report.leaves = 5);
    told.ledger.instruct(&replace("B2", "B1", 6));
    told.tell(ReportKind::CancelRejected, "B2", Some("B1"), |_| ());
    assert_eq!((told.state("B1"), told.state("B2")), (OrderState::Open, OrderState::Rejected));
}

#[test]
fn reports_that_come_again_change_nothing_and_missing_ones_are_counted() {
    let mut told = Told::new();
    told.ledger.instruct(&new("A1", 10));
    told.fill("A1", 4, 2_000_000_000, 4, 6);
    told.number = 0;
    told.fill("A1", 4, 2_000_000_000, 4, 6);
    assert_eq!(told.ledger.positions()[0].position, 4);
    assert_eq!((told.ledger.repeated_reports, told.ledger.missing_reports), (1, 0));
    told.number = 5;
    told.fill("A1", 1, 2_000_000_000, 5, 5);
    assert_eq!(told.ledger.missing_reports, 4);
    // Another venue's numbers are its own.
    told.number = 0;
    told.tell(ReportKind::Accepted, "C1", None, |report| report.venue = "xcme".into());
    assert_eq!(told.ledger.missing_reports, 4);
}

#[test]
fn denials_count_by_reason_and_end_only_an_order_that_was_never_sent() {
    let mut told = Told::new();
    told.ledger.instruct(&new("A1", 10));
    told.tell(ReportKind::Denied, "A1", None, |report| {
        report.number = 0;
        report.reason = "position".into();
        report.text = "11 > 10".into();
    });
    assert_eq!(told.state("A1"), OrderState::Denied);
    told.ledger.instruct(&new("A2", 10));
    told.tell(ReportKind::Sent, "A2", None, |_| ());
    told.tell(ReportKind::Denied, "A2", None, |report| report.reason = "duplicate".into());
    assert_eq!(told.state("A2"), OrderState::Sent);
    let reasons = told.ledger.reasons();
    let seen: Vec<_> = reasons.iter().map(|r| (r.denied_by, r.reason.as_str(), r.count)).collect();
    assert_eq!(seen, [("gateway", "duplicate", 1), ("strategy", "position", 1)]);
    assert_eq!(told.ledger.denials().next().unwrap().reason, "duplicate");
    let (orders, more, denials) = told.ledger.changes(10);
    assert_eq!((orders.len(), more, denials.len()), (2, 0, 2));
    assert!(!told.ledger.has_changes());
}

#[test]
fn an_order_whose_instruction_was_not_read_is_known_from_its_reports() {
    let mut told = Told::new();
    told.fill("A1", 3, 1_000_000_000, 3, 7);
    let order = told.ledger.order(&id("A1")).unwrap().clone();
    assert_eq!((order.state, order.side, order.leaves), (OrderState::Open, Some("buy"), 7));
    told.ledger.instruct(&new("A1", 10));
    let order = told.ledger.order(&id("A1")).unwrap();
    assert_eq!((order.quantity, order.filled), (Some(10), 3));
    assert_eq!(told.ledger.open().count(), 1);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut told = Told::new();
    for n in 0..FINISHED_MAX + 50 {
        let order = format!("N{n}");
        told.ledger.instruct(&new(&order, 1));
        told.tell(ReportKind::Rejected, &order, None, |report| report.reason = format!("r{n}"));
        told.tell(ReportKind::Denied, &order, None, |report| report.reason = format!("r{n}"));
        told.ledger.instruct(&cancel(&format!("K{n}"), &order));
    }
    assert_eq!(told.ledger.orders().count(), FINISHED_MAX);
    assert_eq!(told.ledger.orders.len(), FINISHED_MAX);
    assert_eq!(told.ledger.denials().count(), DENIALS_MAX);
    assert!(told.ledger.reasons().len() <= REASONS_MAX + 1);
    let (orders, more, _) = told.ledger.changes(100);
    assert!(orders.len() == 100 && more == FINISHED_MAX - 100, "{more}");
}

#[test]
fn a_trade_without_a_price_is_in_the_position_and_no_average_is_told() {
    let mut told = Told::new();
    told.tell(ReportKind::Filled, "A1", None, |report| (report.last_quantity, report.filled) = (3, 3));
    let position = &told.ledger.positions()[0];
    assert_eq!((position.position, position.bought_at.as_deref()), (3, None));
    told.tell(ReportKind::Filled, "A2", None, |report| report.side = None);
    assert_eq!(told.ledger.trades_left_out(), 1);
}
