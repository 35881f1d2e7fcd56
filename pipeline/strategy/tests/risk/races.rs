//! Reports that cross instructions on their way.

use crate::support::*;
use bus::OrderSide::{Buy, SellShort};
use bus::{Report, ReportKind};
use strategy::risk::{Engine, Followed, Reason, Standing};

fn standing(engine: &Engine) -> (i128, i128, i128) {
    let Standing { position, open_buys, open_sells, .. } = engine.standing(A.0, A.1).unwrap();
    (position, open_buys, open_sells)
}

fn with_order(quantity: u64) -> Engine {
    let mut engine = ready(&document(&[]));
    engine.check(&order(1, A, Buy, quantity, 99 * UNIT), NOW).unwrap();
    engine
}

#[test]
fn a_fill_that_arrives_after_the_cancel_was_sent_or_confirmed_counts() {
    let mut engine = with_order(10);
    engine.check(&cancel(2, A, 1), NOW).unwrap();
    assert_eq!(standing(&engine), (0, 10, 0), "a cancel gives nothing back before it is confirmed");
    assert_eq!(engine.report(&fill(1, 4, 99 * UNIT, 4, 6)), Followed::Booked);
    assert_eq!(standing(&engine), (4, 6, 0));
    let cancelled = Report { of: Some(id(1)), ..report(ReportKind::Cancelled, 2) };
    assert_eq!(engine.report(&cancelled), Followed::Booked);
    assert_eq!(standing(&engine), (4, 0, 0));
    let late =
        Report { side: Some(Buy), publisher_id: A.0, instrument_id: A.1, ..fill(1, 1, 99 * UNIT, 5, 0) };
    assert_eq!(engine.report(&late), Followed::Booked);
    assert_eq!(standing(&engine), (5, 0, 0));
    assert_eq!(engine.report(&late), Followed::Nothing, "told twice");
    assert_eq!((standing(&engine), engine.doubts()), ((5, 0, 0), 0));
}

#[test]
fn while_a_replacement_is_on_its_way_the_larger_of_both_counts() {
    let mut engine = with_order(10);
    engine.check(&replace(2, A, 1, 25, 98 * UNIT), NOW).unwrap();
    assert_eq!(standing(&engine), (0, 25, 0));
    assert_eq!(reason(engine.check(&replace(3, A, 1, 30, 98 * UNIT), NOW)), Some(Reason::ReplacePending));
    engine.report(&fill(1, 4, 99 * UNIT, 4, 6));
    assert_eq!(standing(&engine), (4, 21, 0));
    let replaced = Report { of: Some(id(1)), filled: 4, leaves: 21, ..report(ReportKind::Replaced, 2) };
    assert_eq!(engine.report(&replaced), Followed::Booked);
    assert!(engine.is_open(&id(2)) && !engine.is_open(&id(1)));
    engine.check(&replace(4, A, 2, 5, 98 * UNIT), NOW).unwrap();
    assert_eq!(standing(&engine), (4, 21, 0), "less counts only when it is in force");
    engine.report(&Report { of: Some(id(2)), ..report(ReportKind::CancelRejected, 4) });
    assert_eq!(standing(&engine), (4, 21, 0));
    engine.check(&replace(5, A, 2, 5, 98 * UNIT), NOW).unwrap();
    engine.report(&Report { of: Some(id(2)), filled: 4, leaves: 1, ..report(ReportKind::Replaced, 5) });
    assert_eq!(standing(&engine), (4, 1, 0));
}

#[test]
fn an_order_that_ends_while_its_replacement_is_on_its_way_waits_for_the_answer() {
    let mut engine = with_order(10);
    engine.check(&replace(2, A, 1, 25, 98 * UNIT), NOW).unwrap();
    engine.report(&fill(1, 10, 99 * UNIT, 10, 0));
    assert_eq!(standing(&engine), (10, 15, 0));
    engine.report(&report(ReportKind::Rejected, 2));
    assert_eq!((standing(&engine), engine.open_orders()), ((10, 0, 0), 0));
}

#[test]
fn a_broken_trade_takes_back_position_and_profit() {
    let mut engine = with_order(10);
    engine.report(&fill(1, 10, 99 * UNIT, 10, 0));
    let broken = Report {
        kind: ReportKind::Broken,
        side: Some(Buy),
        publisher_id: A.0,
        instrument_id: A.1,
        ..fill(1, 10, 99 * UNIT, 0, 0)
    };
    assert_eq!(engine.report(&broken), Followed::Booked);
    assert_eq!(engine.report(&broken), Followed::Nothing);
    let standing = engine.standing(A.0, A.1).unwrap();
    assert_eq!((standing.position, standing.profit), (0, Some(0)));
}

#[test]
fn an_order_of_unknown_fate_stops_new_ones_until_it_is_known() {
    let mut engine = with_order(10);
    engine.report(&report(ReportKind::Unknown, 1));
    assert_eq!(reason(engine.check(&order(2, A, Buy, 1, 98 * UNIT), NOW)), Some(Reason::OrderUnknown));
    assert_eq!(reason(engine.check(&replace(2, A, 1, 5, 98 * UNIT), NOW)), None, "lowers risk");
    assert_eq!(reason(engine.check(&cancel(3, A, 1), NOW)), None);
    engine.report(&report(ReportKind::Accepted, 1));
    assert_eq!(reason(engine.check(&order(4, A, Buy, 1, 98 * UNIT), NOW)), None);
}

#[test]
fn a_report_that_does_not_fit_makes_doubt_that_only_a_rebuild_ends() {
    let mut engine = with_order(10);
    assert_eq!(engine.report(&fill(1, 4, 99 * UNIT, 6, 4)), Followed::Doubt, "a trade was never told");
    assert_eq!(reason(engine.check(&order(2, A, Buy, 1, 98 * UNIT), NOW)), Some(Reason::StateDoubtful));
    let mut engine = with_order(10);
    assert_eq!(engine.report(&fill(1, 11, 99 * UNIT, 11, 0)), Followed::Doubt, "more than ordered");
    assert_eq!(standing(&engine), (11, 0, 0), "what traded is booked all the same");
    assert_eq!(engine.report(&fill(99, 1, 99 * UNIT, 1, 0)), Followed::Doubt, "whose, and which way?");
}

#[test]
fn after_a_restart_instructions_and_reports_give_the_same_state() {
    let mut live = ready(&document(&[]));
    let instructions = [
        order(1, A, Buy, 10, 99 * UNIT),
        order(2, A, SellShort, 7, 101 * UNIT),
        replace(3, A, 1, 20, 98 * UNIT),
    ];
    let reports = [fill(1, 4, 99 * UNIT, 4, 6), report(ReportKind::Rejected, 2)];
    for instruction in &instructions {
        live.check(instruction, NOW).unwrap();
    }
    let mut again = ready(&document(&[]));
    instructions.iter().for_each(|instruction| again.assume(instruction));
    for engine in [&mut live, &mut again] {
        reports.iter().for_each(|report| assert_eq!(engine.report(report), Followed::Booked));
    }
    assert_eq!(live.standing(A.0, A.1), again.standing(A.0, A.1));
    assert_eq!(standing(&again), (4, 16, 0));
    // Without the instruction the limit is not known: it is taken for the worst.
    let mut blind = ready(&document(&[]));
    let sent = Report {
        side: Some(Buy),
        publisher_id: A.0,
        instrument_id: A.1,
        leaves: 10,
        ..report(ReportKind::Sent, 1)
    };
    assert_eq!(blind.report(&sent), Followed::Booked);
    assert_eq!(standing(&blind), (0, 10, 0));
    assert_eq!(reason(blind.check(&order(9, A, SellShort, 1, 104 * UNIT), NOW)), Some(Reason::SelfMatch));
}
