//! Each message about orders: as it is written, and as it is read.

use super::wire::{Desk, cancel, from_venue, id, new, replace, settings, target};
use bus::{OrderAction, OrderSide, TimeInForce};
use gateway::connection::Talk;
use gateway::line::{Event, LineError, OrderName, Outgoing, Told, What};
use tick::Price;

fn sold(name: &str, side: OrderSide, price: Option<Price>, time_in_force: TimeInForce) -> Outgoing {
    let action = OrderAction::New { side, quantity: 300, price, time_in_force };
    Outgoing { action, ..new(name, "ACME", 1) }
}

#[test]
fn orders_are_written_with_the_fields_that_the_specification_requires() {
    let mut account = settings();
    account.account = Some("DESK7".into());
    let mut desk = Desk::up_with(account);
    let order = new("A1", "ACME", 100);
    assert_eq!(desk.order(&order), "35=D|34=3|11=A1|1=DESK7|55=ACME|54=1|38=100|40=2|44=10.25|59=0|21=1");

    let mut desk = Desk::up();
    let (day, ioc) = (TimeInForce::Day, TimeInForce::ImmediateOrCancel);
    for (outgoing, written) in [
        (sold("A2", OrderSide::Sell, None, ioc), "35=D|34=3|11=A2|55=ACME|54=2|38=300|40=1|59=3|21=1"),
        (
            sold("A3", OrderSide::SellShort, Some(Price(-1)), day),
            "35=D|34=4|11=A3|55=ACME|54=5|38=300|40=2|44=-0.000000001|59=0|21=1|114=N",
        ),
        (
            replace("B1", &order, 150, Price(9_500_000_000)),
            "35=G|34=5|11=B1|41=A1|55=ACME|54=1|38=150|40=2|44=9.50|59=0|21=1",
        ),
        (cancel("C1", &order), "35=F|34=6|11=C1|41=A1|55=ACME|54=1|38=100"),
        (
            Outgoing {
                target: Some(gateway::line::Target { venue_order: "V77".into(), ..target(&order) }),
                ..cancel("C2", &order)
            },
            "35=F|34=7|11=C2|41=A1|37=V77|55=ACME|54=1|38=100",
        ),
    ] {
        assert_eq!(desk.order(&outgoing), written);
    }
    // What `shown` leaves out: our names and the times.
    let ready = desk.session.ready(desk.now, &order).unwrap();
    let text = String::from_utf8(ready.as_ref().to_vec()).unwrap();
    for field in ["49=FEEDPLANE", "56=VENUE", "52=20260921-14:13:20.000", "60=20260921-14:13:20.000"] {
        assert!(text.contains(&format!("\x01{field}\x01")), "{field} in {text}");
    }
}

#[test]
fn what_fix_cannot_say_is_refused_before_it_is_sent() {
    let mut desk = Desk::up();
    let order = new("A1", "ACME", 1);
    for (outgoing, field) in [
        (Outgoing { symbol: "AC\x01ME".into(), ..order.clone() }, "symbol"),
        (Outgoing { symbol: String::new(), ..order.clone() }, "symbol"),
        (sold("A2", OrderSide::Sell, Some(Price::UNDEFINED), TimeInForce::Day), "price"),
        (Outgoing { target: None, ..cancel("C1", &order) }, "target"),
    ] {
        let error = desk.session.ready(desk.now, &outgoing).err().unwrap();
        assert!(matches!(error, LineError::Unspeakable { what, .. } if what == field), "{error:?}");
    }
    assert!(desk.order(&order).starts_with("35=D|34=3|"), "no number was used");
}

const HEAD: &str = "37=V1|11=A1|17=E1|55=ACME|54=1|6=0|60=20260921-14:13:19.5|";

/// What an ExecutionReport with these fields tells.
fn told(fields: &str) -> Vec<Told> {
    let mut desk = Desk::up();
    desk.take(&from_venue("8", 3, &format!("{HEAD}{fields}"))).unwrap();
    assert!(desk.sent.is_empty(), "{fields}: {:?}", desk.sent);
    desk.orders()
}

fn one(order: &str, what: What) -> Vec<Told> {
    let venue_time_ns = super::wire::EPOCH_NS - 500_000_000;
    vec![Told { number: 3, order: OrderName::Id(id(order)), what, venue_time_ns }]
}

fn cancelled(reason: &str, by: Option<&str>) -> What {
    What::Cancelled { quantity: None, reason: reason.into(), by: by.map(id) }
}

fn filled(quantity: u64, price: i64) -> What {
    What::Filled { quantity, price: Price(price), execution: "E1".into() }
}

#[test]
fn execution_reports_tell_what_happened() {
    let accepted = What::Accepted { venue_order: "V1".into(), leaves: 100 };
    assert_eq!(told("150=0|39=0|14=0|151=100|"), one("A1", accepted));
    assert_eq!(told("150=F|39=1|14=40|151=60|32=40|31=10.2500|"), one("A1", filled(40, 10_250_000_000)));
    assert_eq!(told("150=2|39=2|14=40|151=0|32=40.0|31=.000000001|"), one("A1", filled(40, 1)));
    assert_eq!(told("150=4|39=4|14=0|151=0|"), one("A1", cancelled("by_venue", None)));
    assert_eq!(told("150=4|39=4|41=A1|14=0|151=0|"), one("A1", cancelled("by_venue", None)));
    assert_eq!(told("150=4|39=4|41=A0|14=0|151=0|"), one("A0", cancelled("requested", Some("A1"))));
    assert_eq!(told("150=C|39=C|14=0|151=0|"), one("A1", cancelled("expired", None)));
    assert_eq!(told("150=3|39=3|14=0|151=0|"), one("A1", cancelled("done_for_day", None)));
    let replaced = What::Replaced {
        venue_order: "V1".into(),
        quantity: Some(150),
        leaves: 110,
        price: Some(Price(9_500_000_000)),
    };
    assert_eq!(told("150=5|39=1|41=A0|38=150|44=9.5|14=40|151=110|"), one("A1", replaced));
    let rejected = What::Rejected { reason: "exceeds_limit".into(), text: "no".into(), original_lives: true };
    assert_eq!(told("150=8|39=8|103=3|58=no|14=0|151=0|"), one("A1", rejected));
    let broken = What::Broken { execution: "E0".into(), quantity: None, price: None };
    assert_eq!(told("150=H|39=1|19=E0|14=0|151=0|"), one("A1", broken.clone()));
    let stands = What::Stands { filled: 40, leaves: 10, venue_order: "V1".into() };
    assert_eq!(told("150=D|39=1|14=40|151=10|378=5|"), one("A1", stands.clone()));
    assert_eq!(told("150=I|39=1|14=40|151=10|"), one("A1", stands));

    let corrected = told("150=G|39=1|19=E0|14=40|151=60|32=40|31=10|");
    assert_eq!(corrected[0], Told { number: 0, ..one("A1", broken).remove(0) });
    assert_eq!(corrected[1..], one("A1", filled(40, 10_000_000_000)));
}

#[test]
fn reports_that_only_say_that_something_is_on_its_way_tell_nothing() {
    for kind in ["A", "E", "6", "7", "9", "B", "L"] {
        assert_eq!(told(&format!("150={kind}|39=0|14=0|151=100|")), [], "{kind}");
    }
}

#[test]
fn names_that_reports_cannot_carry_are_shortened_the_same_way_each_time() {
    let long = "2026-09-21/segment 4/trade 000000000000000123";
    let fields = |execution: &str| {
        format!("37=V1|11=A1|17={execution}|150=F|39=1|55=ACME|54=1|14=1|151=1|6=0|32=1|31=1|")
    };
    let mut desk = Desk::up();
    for (number, execution) in [(3, long), (4, long), (5, &long[..44]), (6, "E 1")] {
        desk.take(&from_venue("8", number, &fields(execution))).unwrap();
    }
    let names: Vec<_> = desk
        .orders()
        .into_iter()
        .map(|told| match told.what {
            What::Filled { execution, .. } => execution,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names[0], names[1]);
    assert_ne!(names[0], names[2]);
    assert!(names[0].starts_with("2026-09-21/segm~") && names[3].starts_with("E_1~"), "{names:?}");
    assert!(names.iter().all(|name| name.len() <= 32));
}

#[test]
fn reports_about_no_order_of_ours_are_named() {
    let mut desk = Desk::up();
    desk.take(&from_venue("8", 3, "37=V|17=E|150=F|39=2|32=1|31=1|14=1|151=0|")).unwrap();
    desk.take(&from_venue("8", 4, "11=not one of ours|150=0|39=0|37=V|151=1|")).unwrap();
    let refused = desk.refused();
    assert_eq!(refused.len(), 2);
    assert!(refused[1].contains("field 11 \"not one of ours\" names no order of ours"), "{refused:?}");
}

#[test]
fn a_refused_cancel_or_replacement_names_itself_and_the_order() {
    let mut desk = Desk::up();
    desk.take(&from_venue("9", 3, "37=V1|11=C1|41=A1|39=0|434=1|102=0|")).unwrap();
    desk.take(&from_venue("9", 4, "37=NONE|11=B1|41=A1|39=8|434=2|102=1|58=what|")).unwrap();
    desk.take(&from_venue("9", 5, "37=NONE|11=C2|41=no order|39=8|434=1|102=77|")).unwrap();
    let told: Vec<_> = desk.orders().into_iter().map(|told| (told.order, told.what)).collect();
    let rejected = |order: &str, by: &str, reason: &str| {
        let what = What::CancelRejected { by: Some(id(by)), reason: reason.into() };
        (OrderName::Id(id(order)), what)
    };
    assert_eq!(
        told,
        [
            rejected("A1", "C1", "too_late"),
            rejected("A1", "B1", "unknown_order"),
            rejected("C2", "C2", "code_77"),
        ]
    );
}

#[test]
fn a_refusal_by_number_is_about_the_message_that_had_it() {
    let mut desk = Desk::up();
    let order = new("A1", "ACME", 1);
    desk.order(&order);
    desk.order(&replace("B1", &order, 2, Price(1)));
    desk.order(&cancel("C1", &order));
    desk.take(&from_venue("3", 3, "45=3|371=55|372=D|373=5|58=no such symbol|")).unwrap();
    desk.take(&from_venue("j", 4, "45=4|372=G|380=4|58=closed|")).unwrap();
    desk.take(&from_venue("j", 5, "372=F|379=C1|380=0|58=no|")).unwrap();
    let told: Vec<_> = desk.orders().into_iter().map(|told| (told.order, told.what)).collect();
    let kept = |by: &str, reason: &str| {
        (OrderName::Id(order.id), What::CancelRejected { by: Some(id(by)), reason: reason.into() })
    };
    let rejected = What::Rejected {
        reason: "session_reject_5".into(),
        text: "no such symbol".into(),
        original_lives: true,
    };
    assert_eq!(
        told,
        [
            (OrderName::Id(order.id), rejected),
            kept("B1", "business_reject_4"),
            kept("C1", "business_reject_0"),
        ]
    );
    desk.take(&from_venue("j", 6, "45=2|372=1|380=0|58=what is that|")).unwrap();
    let refused = desk.refused();
    assert!(
        refused[0]
            .ends_with("the venue refused a message (RefMsgType 1, RefSeqNum 2, reason 0): what is that")
    );
}

/// The answer to a status request about an order.
fn answer(number: u64, id: &str, fields: &str) -> Vec<u8> {
    from_venue("8", number, &format!("37=V1|11={id}|17=0|150=I|55=ACME|54=1|6=0|{fields}"))
}

fn whats(desk: &mut Desk) -> Vec<(u64, OrderName, What)> {
    desk.orders().into_iter().map(|told| (told.number, told.order, told.what)).collect()
}

#[test]
fn orders_in_doubt_are_asked_about_by_their_ids_and_cancels_by_the_order_that_they_name() {
    let mut desk = Desk::up();
    let (a, b) = (new("A1", "ACME", 5), new("A2", "ACME", 5));
    desk.settle(&[a.clone(), replace("B1", &a, 9, Price(1)), cancel("C1", &b), cancel("C2", &b)]);
    assert_eq!(
        desk.sent,
        ["35=H|34=3|11=A1|55=ACME|54=1", "35=H|34=4|11=B1|55=ACME|54=1", "35=H|34=5|11=A2|55=ACME|54=1"]
    );
    let name = |text: &str| OrderName::Id(id(text));
    let stands = |filled, leaves| What::Stands { filled, leaves, venue_order: "V1".into() };
    desk.take(&answer(3, "A1", "39=8|103=5|14=0|151=0|58=unknown order|")).unwrap();
    assert_eq!(whats(&mut desk), [(3, name("A1"), What::NeverArrived)]);
    desk.take(&answer(4, "B1", "39=1|14=2|151=7|")).unwrap();
    assert_eq!(whats(&mut desk), [(4, name("B1"), stands(2, 7))]);
    // It stands open: neither cancel reached it.
    desk.take(&answer(5, "A2", "39=0|14=0|151=5|")).unwrap();
    assert_eq!(
        whats(&mut desk),
        [
            (0, name("A2"), stands(0, 5)),
            (0, name("C1"), What::NeverArrived),
            (5, name("C2"), What::NeverArrived)
        ]
    );
    // Over: whatever ended it, nothing is left to be cancelled.
    desk.settle(&[cancel("C3", &b)]);
    desk.take(&answer(6, "A2", "39=4|14=1|151=0|")).unwrap();
    assert_eq!(whats(&mut desk), [(6, name("A2"), stands(1, 0))]);
}

#[test]
fn a_venue_that_refuses_the_question_for_an_unknown_order_has_answered_it() {
    let mut desk = Desk::up();
    let order = new("A1", "ACME", 5);
    desk.settle(&[order.clone(), cancel("C1", &order)]);
    assert_eq!(desk.sent.len(), 1);
    desk.take(&from_venue("j", 3, "45=3|372=H|380=1|58=no such order|")).unwrap();
    let told = whats(&mut desk);
    assert_eq!(
        told,
        [(0, OrderName::Id(order.id), What::NeverArrived), (3, OrderName::Id(id("C1")), What::NeverArrived)]
    );
    // One that does not answer questions leaves the doubt.
    desk.settle(&[order]);
    desk.take(&from_venue("j", 4, "45=4|372=H|380=3|58=not here|")).unwrap();
    assert!(desk.told.iter().all(|event| matches!(event, Event::Refused { .. })));
}
