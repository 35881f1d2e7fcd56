//! Orders whose fate is open, and references.

use crate::support::*;
use gateway::connection::{Io, Talk};
use gateway::line::{Event, LineError, OrderName, Resume, Told, What};

fn never_arrived(name: &str) -> Event {
    Event::Told(Told {
        number: 0,
        order: OrderName::Id(id(name)),
        what: What::NeverArrived,
        venue_time_ns: 0,
    })
}

#[test]
fn an_order_that_the_venue_has_not_counted_never_arrived() {
    let mut client = Client::up();
    client.settle(&[new_order("A", 5), new_order("B", 6)]);
    assert_eq!(client.wrote(), [Wrote::Query]);
    client.hear(&free(5)).unwrap();
    assert_eq!(client.events(), [never_arrived("A"), never_arrived("B")]);
}

#[test]
fn an_order_that_is_answered_before_the_question_is_settled_by_its_answer() {
    let mut client = Client::up();
    client.settle(&[new_order("A", 5), new_order("B", 6)]);
    client.hear(&[accepted(5, b'L'), free(6)].concat()).unwrap();
    let events = client.events();
    assert!(matches!(events[0], Event::Told(Told { number: 2, order: OrderName::Wire(5), .. })));
    assert_eq!(events[1..], [never_arrived("B")]);
}

#[test]
fn an_order_that_is_counted_and_not_answered_is_cancelled_to_be_sure() {
    let mut client = Client::up();
    client.settle(&[new_order("A", 5), new_order("B", 9)]);
    client.wrote();
    client.hear(&free(6)).unwrap();
    assert_eq!(client.wrote(), [Wrote::Cancel(5), Wrote::Query]);
    assert_eq!(client.events(), [never_arrived("B")]);
    client.hear(&free(6)).unwrap();
    let events = client.events();
    assert!(refused(&events[0]).contains("UserRefNum 5"), "{events:?}");
    assert_eq!(events[1..], [never_arrived("A")]);
}

#[test]
fn an_order_that_lived_after_all_is_told_as_cancelled() {
    let mut client = Client::up();
    client.settle(&[new_order("A", 5)]);
    client.hear(&[free(6), cancelled(5, 100), free(6)].concat()).unwrap();
    let events = client.events();
    assert!(matches!(told(&events)[..], [(3, 5, What::Cancelled { quantity: Some(100), .. })]), "{events:?}");
}

#[test]
fn a_cancel_in_doubt_is_settled_by_its_order_or_never_arrived() {
    let (order, other) = (new_order("A", 1), new_order("B", 2));
    let mut client = Client::up();
    client.settle(&[cancel("C", 3, &order), cancel("D", 4, &other)]);
    client.hear(&[cancelled(1, 100), executed(2, 10, 1), free(3)].concat()).unwrap();
    let events = client.events();
    assert_eq!(events[2..], [never_arrived("D")]);
}

#[test]
fn a_replacement_that_was_passed_over_never_arrived() {
    let order = new_order("A", 1);
    let mut client = Client::up();
    client.settle(&[replacement("B", 2, &order, 50, "20.01")]);
    client.hear(&[executed(1, 100, 1), free(2)].concat()).unwrap();
    assert_eq!(client.events()[1..], [never_arrived("B")]);
}

#[test]
fn a_question_before_all_is_caught_up_waits_for_it() {
    let mut client = Client::fresh();
    client.connect();
    let not_yet = client.session.settle(client.now(), &[new_order("A", 5)], &mut Io::default());
    assert_eq!(not_yet, Err(LineError::Down { venue: "sim".to_owned() }));
    client.hear(&granted("DAY1", 1)).unwrap();
    client.settle(&[new_order("A", 5)]);
    assert_eq!(client.wrote(), []);
    client.hear(&[heartbeat(), free(5)].concat()).unwrap();
    assert_eq!(client.wrote(), [Wrote::Query, Wrote::Query]);
    client.hear(&free(5)).unwrap();
    assert_eq!(client.events(), [up("DAY1"), Event::CaughtUp, never_arrived("A")]);
}

#[test]
fn two_questions_are_answered_in_their_order() {
    let mut client = Client::up();
    client.settle(&[new_order("A", 5)]);
    client.settle(&[new_order("B", 6)]);
    client.hear(&free(5)).unwrap();
    assert_eq!(client.events(), [never_arrived("A")]);
    client.hear(&free(5)).unwrap();
    assert_eq!(client.events(), [never_arrived("B")]);
    client.hear(&free(5)).unwrap();
    assert_eq!(client.events(), []);
}

#[test]
fn references_rise_over_those_of_the_journal_and_those_that_the_venue_counted() {
    let mut client = Client::new(&Resume { session: String::new(), next_number: 1, next_wire_ref: 7 });
    assert_eq!((client.session.assign(), client.session.assign()), (7, 8));
    client.connect();
    client.hear(&[granted("DAY1", 1), heartbeat(), free(100)].concat()).unwrap();
    assert_eq!(client.session.assign(), 100);
}

#[test]
fn an_order_is_not_sent_with_a_reference_that_the_venue_would_pass_over() {
    let mut client = Client::up();
    let now = client.now();
    client.session.ready(now, &new_order("A", 5)).ok().unwrap();
    for wire_ref in [5, 4] {
        let error = client.session.ready(now, &new_order("B", wire_ref)).err().unwrap();
        assert!(matches!(error, LineError::Unspeakable { what: "reference", .. }), "{error:?}");
    }
    client.session.ready(now, &cancel("C", 3, &new_order("A", 5))).ok().unwrap();
    client.session.ready(now, &new_order("D", 6)).ok().unwrap();
    client.again();
    client.hear(&[granted("DAY1", 2), free(20)].concat()).unwrap();
    client.session.ready(now, &new_order("E", 19)).err().unwrap();
    client.session.ready(now, &new_order("E", 20)).ok().unwrap();
}
