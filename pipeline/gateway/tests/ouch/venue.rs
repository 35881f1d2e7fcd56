//! The line against the simulated venue.

#[path = "live.rs"]
pub mod live;

use crate::support::*;
use bus::{OrderAction, OrderSide, TimeInForce};
use gateway::line::{Line, OrderName, Outgoing, Resume, What};
use gateway::ouch::OuchLine;
use live::{Proxy, Venue, VenueSpec};

fn fresh() -> Resume {
    Resume { session: String::new(), next_number: 1, next_wire_ref: 1 }
}

fn as_user(address: &str, user: &str, resume: Resume) -> (OuchLine, Heard) {
    let mut section = section(address);
    section.user = user.to_owned();
    line(&section, resume)
}

/// Two users of a venue that are up.
fn two(address: &str) -> [(OuchLine, Heard); 2] {
    ["fplane", "other"].map(|user| {
        let (line, heard) = as_user(address, user, fresh());
        assert_eq!(heard.caught_up(), []);
        (line, heard)
    })
}

fn limit(line: &mut OuchLine, name: &str, side: OrderSide, quantity: u64, at: &str) -> Outgoing {
    let mut order = new_order(name, line.assign());
    order.action =
        OrderAction::New { side, quantity, price: Some(price(at)), time_in_force: TimeInForce::Day };
    line.send(&order).unwrap();
    order
}

fn is_accepted(heard: &Heard, order: &Outgoing, open: u64) {
    let (name, what) = heard.told();
    assert_eq!(name, OrderName::Wire(order.wire_ref));
    assert!(matches!(what, What::Accepted { leaves, .. } if leaves == open), "{what:?}");
}

fn is_filled(heard: &Heard, order: &Outgoing, shares: u64) {
    let (name, what) = heard.told();
    assert_eq!(name, OrderName::Wire(order.wire_ref));
    assert!(matches!(what, What::Filled { quantity, .. } if quantity == shares), "{what:?}");
}

fn is_cancelled(heard: &Heard, order: &Outgoing, shares: u64, word: &str) {
    let (name, what) = heard.told();
    assert_eq!(name, OrderName::Wire(order.wire_ref));
    let expected = What::Cancelled { quantity: Some(shares), reason: word.to_owned(), by: None };
    assert_eq!(what, expected);
}

#[test]
fn orders_are_accepted_filled_in_parts_and_cancelled() {
    let venue = Venue::start(&VenueSpec::default());
    let [(mut line, heard), (mut other, others)] = two(&venue.address.to_string());
    let bid = limit(&mut line, "BID", OrderSide::Buy, 100, "20.00");
    is_accepted(&heard, &bid, 100);
    let ask = limit(&mut other, "ASK", OrderSide::Sell, 30, "20.00");
    is_accepted(&others, &ask, 30);
    is_filled(&heard, &bid, 30);
    is_filled(&others, &ask, 30);
    let cancelling = cancel("C", line.assign(), &bid);
    line.send(&cancelling).unwrap();
    is_cancelled(&heard, &bid, 70, "requested_by_the_user");
    let mut ioc = new_order("IOC", line.assign());
    ioc.action = OrderAction::New {
        side: OrderSide::SellShort,
        quantity: 10,
        price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
    };
    line.send(&ioc).unwrap();
    is_accepted(&heard, &ioc, 10);
    is_cancelled(&heard, &ioc, 10, "immediate_or_cancel");
    drop((line, other));
    let report = venue.end();
    assert_eq!(
        (report.total.position, report.total.orders.entered, report.user_ref_nums_repeated),
        (30, 2, 0)
    );
}

#[test]
fn a_refusal_says_why() {
    let venue = Venue::start(&VenueSpec::default());
    let [(mut line, heard), _] = two(&venue.address.to_string());
    let mut order = new_order("A", line.assign());
    order.symbol = "NOWHERE".to_owned();
    line.send(&order).unwrap();
    let (name, what) = heard.told();
    assert_eq!(name, OrderName::Wire(order.wire_ref));
    assert!(matches!(&what, What::Rejected { reason, .. } if reason == "invalid_symbol"), "{what:?}");
    let next = limit(&mut line, "B", OrderSide::Buy, 100, "20.00");
    is_accepted(&heard, &next, 100);
}

#[test]
fn replacements_carry_on_race_with_fills_and_end_their_order_when_invalid() {
    let venue = Venue::start(&VenueSpec::default());
    let [(mut line, heard), (mut other, others)] = two(&venue.address.to_string());
    let bid = limit(&mut line, "BID", OrderSide::Buy, 100, "20.00");
    is_accepted(&heard, &bid, 100);
    let ask = limit(&mut other, "ASK", OrderSide::Sell, 30, "20.00");
    is_accepted(&others, &ask, 30);
    is_filled(&heard, &bid, 30);
    is_filled(&others, &ask, 30);
    // In all, what was filled counts.
    let more = replacement("MORE", line.assign(), &bid, 150, "20.01");
    line.send(&more).unwrap();
    let (name, what) = heard.told();
    assert_eq!(name, OrderName::Wire(more.wire_ref));
    assert!(
        matches!(what, What::Replaced { leaves: 120, quantity: None, price: Some(limit), .. }
        if limit == price("20.01")),
        "{what:?}"
    );
    // One that comes after the order is filled is passed over, and settled.
    let ask = limit(&mut other, "ASK2", OrderSide::Sell, 120, "20.01");
    is_accepted(&others, &ask, 120);
    is_filled(&heard, &more, 120);
    is_filled(&others, &ask, 120);
    let late = replacement("LATE", line.assign(), &more, 200, "20.01");
    line.send(&late).unwrap();
    line.settle(std::slice::from_ref(&late)).unwrap();
    assert_eq!(heard.told(), (OrderName::Id(late.id), What::NeverArrived));
    // One that is invalid takes its order with it, and is not answered itself.
    let bid = limit(&mut line, "BID2", OrderSide::Buy, 100, "19.00");
    is_accepted(&heard, &bid, 100);
    let mut invalid = replacement("BAD", line.assign(), &bid, 50, "19.00");
    invalid.target.as_mut().unwrap().time_in_force = TimeInForce::ImmediateOrCancel;
    line.send(&invalid).unwrap();
    is_cancelled(&heard, &bid, 100, "requested_by_the_user");
    line.settle(std::slice::from_ref(&invalid)).unwrap();
    assert_eq!(heard.told(), (OrderName::Id(invalid.id), What::NeverArrived));
    let next = limit(&mut line, "NEXT", OrderSide::Buy, 1, "18.00");
    is_accepted(&heard, &next, 1);
}

#[test]
fn a_cancel_that_comes_too_late_is_settled() {
    let venue = Venue::start(&VenueSpec::default());
    let [(mut line, heard), (mut other, _others)] = two(&venue.address.to_string());
    let bid = limit(&mut line, "BID", OrderSide::Buy, 100, "20.00");
    is_accepted(&heard, &bid, 100);
    limit(&mut other, "ASK", OrderSide::Sell, 100, "20.00");
    is_filled(&heard, &bid, 100);
    let late = cancel("LATE", line.assign(), &bid);
    line.send(&late).unwrap();
    line.settle(std::slice::from_ref(&late)).unwrap();
    assert_eq!(heard.told(), (OrderName::Id(late.id), What::NeverArrived));
}

#[test]
fn what_was_missed_is_told_after_a_reconnection_and_to_the_next_process() {
    let venue = Venue::start(&VenueSpec::default());
    let proxy = Proxy::to(venue.address);
    let (mut line, heard) = as_user(&proxy.address.to_string(), "fplane", fresh());
    heard.caught_up();
    let (mut other, _others) = as_user(&venue.address.to_string(), "other", fresh());
    let bid = limit(&mut line, "BID", OrderSide::Buy, 100, "20.00");
    is_accepted(&heard, &bid, 100);
    proxy.close(true);
    heard.down();
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    limit(&mut other, "ASK", OrderSide::Sell, 30, "20.00");
    std::thread::sleep(std::time::Duration::from_millis(100));
    proxy.close(false);
    let missed = heard.caught_up();
    let (number, wire_ref, what) = told(&missed)[0];
    assert_eq!((missed.len(), wire_ref), (1, bid.wire_ref));
    assert!(matches!(what, What::Filled { quantity: 30, .. }));
    // Another process goes on from the last that is in the journal.
    line.stop();
    let resume = Resume { session: "DAY1".to_owned(), next_number: number, next_wire_ref: bid.wire_ref + 1 };
    let (mut next, heard_next) = as_user(&venue.address.to_string(), "fplane", resume);
    let again = heard_next.caught_up();
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(told(&again), told(&missed), "told again with the same number");
    let cancelling = cancel("C", next.assign(), &bid);
    next.send(&cancelling).unwrap();
    is_cancelled(&heard_next, &bid, 70, "requested_by_the_user");
}

#[test]
fn orders_end_with_the_connection_where_the_venue_is_told_so() {
    let venue = Venue::start(&VenueSpec { cancel_on_disconnect: true, ..VenueSpec::default() });
    let proxy = Proxy::to(venue.address);
    let (mut line, heard) = as_user(&proxy.address.to_string(), "fplane", fresh());
    heard.caught_up();
    let bid = limit(&mut line, "BID", OrderSide::Buy, 100, "20.00");
    is_accepted(&heard, &bid, 100);
    proxy.close(true);
    heard.down();
    std::thread::sleep(std::time::Duration::from_millis(100));
    proxy.close(false);
    let missed = heard.caught_up();
    let expected =
        What::Cancelled { quantity: Some(100), reason: "cancelled_by_the_system".to_owned(), by: None };
    assert_eq!(told(&missed).iter().map(|told| told.2).collect::<Vec<_>>(), [&expected]);
}

#[test]
fn a_venue_that_starts_again_is_a_new_day() {
    for session in ["DAY2", "DAY1"] {
        let venue = Venue::start(&VenueSpec::default());
        let proxy = Proxy::to(venue.address);
        let (mut line, heard) = as_user(&proxy.address.to_string(), "fplane", fresh());
        heard.caught_up();
        let bid = limit(&mut line, "BID", OrderSide::Buy, 100, "20.00");
        is_accepted(&heard, &bid, 100);
        proxy.close(true);
        heard.down();
        let venue = Venue::start(&VenueSpec { session, ..VenueSpec::default() });
        proxy.lead_to(venue.address);
        proxy.close(false);
        let mut events = vec![heard.next()];
        while events.last() != Some(&gateway::line::Event::CaughtUp) {
            events.push(heard.next());
        }
        let days = events.iter().filter(|event| **event == gateway::line::Event::NewDay).count();
        assert_eq!(days, 1, "{session}: {events:?}");
        let next = limit(&mut line, "NEXT", OrderSide::Buy, 100, "20.00");
        is_accepted(&heard, &next, 100);
    }
}
