//! The line and QuickFIX: orders of each kind, and what the two do when the wire or one of them misbehaves.

use super::rig::{Rig, Venue, Wire, is_type, lose_one, section, start};
use super::wire::{cancel, id, new, replace};
use bus::{OrderAction, OrderSide, TimeInForce};
use gateway::line::{Event, Line, LineError, OrderName, Outgoing, Told, What};
use std::sync::Arc;
use std::time::Duration;
use tick::Price;

fn name(text: &str) -> OrderName {
    OrderName::Id(id(text))
}

fn about(told: &Told) -> (OrderName, &What) {
    (told.order, &told.what)
}

fn accepted(order: &str, leaves: u64) -> What {
    What::Accepted { venue_order: format!("V{order}"), leaves }
}

#[test]
fn orders_of_each_kind_are_taken_by_quickfix_and_what_becomes_of_them_is_told() {
    let Some(mut rig) = Rig::up() else { return };
    let events = Arc::clone(&rig.events);
    let next = || {
        let told = events.told();
        assert!(told.number > 0 && told.venue_time_ns > 0, "{told:?}");
        (told.order, told.what)
    };
    let filled = |what: &What| match what {
        What::Filled { quantity, price, execution } => {
            assert!(!execution.is_empty());
            (*quantity, *price)
        }
        other => panic!("{other:?}"),
    };

    rig.line.send(&new("A1", "FILL", 100)).unwrap();
    assert_eq!(next(), (name("A1"), accepted("A1", 100)));
    assert_eq!(filled(&next().1), (100, Price(10_250_000_000)));

    let partly = new("A2", "PART", 100);
    rig.line.send(&partly).unwrap();
    assert_eq!(next(), (name("A2"), accepted("A2", 100)));
    assert_eq!(filled(&next().1), (50, Price(10_250_000_000)));
    rig.line.send(&replace("B2", &partly, 150, Price(9_750_000_000))).unwrap();
    let replaced = What::Replaced {
        venue_order: "VB2".into(),
        quantity: Some(150),
        leaves: 100,
        price: Some(Price(9_750_000_000)),
    };
    assert_eq!(next(), (name("B2"), replaced));
    rig.line.send(&cancel("C2", &Outgoing { id: id("B2"), ..partly.clone() })).unwrap();
    let (order, what) = next();
    assert_eq!(order, name("B2"));
    assert!(matches!(&what, What::Cancelled { by: Some(by), .. } if *by == id("C2")), "{what:?}");

    let short = OrderAction::New {
        side: OrderSide::SellShort,
        quantity: 11,
        price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
    };
    rig.line.send(&Outgoing { action: short, ..new("A3", "REST", 1) }).unwrap();
    assert_eq!(next(), (name("A3"), accepted("A3", 11)));
    assert_eq!(filled(&next().1), (6, Price(1_000_000_000)));
    assert!(matches!(next().1, What::Cancelled { by: None, .. }));

    rig.line.send(&new("A4", "REFUSE", 1)).unwrap();
    let (_, what) = next();
    assert!(
        matches!(&what, What::Rejected { reason, text, .. } if reason == "exceeds_limit" && text == "too much")
    );

    let kept = new("A5", "KEEP", 5);
    rig.line.send(&kept).unwrap();
    assert_eq!(next(), (name("A5"), accepted("A5", 5)));
    for outgoing in [cancel("C5", &kept), replace("B5", &kept, 6, Price(1_000_000_000))] {
        rig.line.send(&outgoing).unwrap();
        let (order, what) = next();
        assert_eq!(order, name("A5"));
        assert!(
            matches!(&what, What::CancelRejected { by: Some(by), reason } if *by == outgoing.id && reason == "broker")
        );
    }
    let state = rig.venue.state();
    assert_eq!(state["positions"], serde_json::json!({"FILL": 100, "PART": 50, "REST": -6}));
    rig.venue.assert_nothing_came_twice();
}

#[test]
fn what_the_venue_does_by_itself_is_told() {
    let Some(mut rig) = Rig::up() else { return };
    for (order, symbol) in [("A1", "REST"), ("A2", "REST"), ("A3", "REST"), ("A4", "REST")] {
        rig.line.send(&new(order, symbol, 100)).unwrap();
        assert_eq!(about(&rig.events.told()), (name(order), &accepted(order, 100)));
    }
    for (command, wanted) in [
        ("say A1 6", None),
        ("say A1 E", None),
        ("cancel A1", Some("by_venue")),
        ("expire A2", Some("expired")),
        ("done A3", Some("done_for_day")),
    ] {
        rig.venue.tell(command);
        let Some(wanted) = wanted else { continue };
        let told = rig.events.told();
        assert!(
            matches!(&told.what, What::Cancelled { quantity: None, reason, by: None } if reason == wanted),
            "{command}: {told:?}"
        );
    }
    rig.venue.tell("fill A4 10 10.25");
    rig.venue.tell("fill A4 20 10.125");
    let executions: Vec<String> = (0..2)
        .map(|_| match rig.events.told().what {
            What::Filled { execution, .. } => execution,
            other => panic!("{other:?}"),
        })
        .collect();
    rig.venue.tell(&format!("correct {} 15 10.5", executions[1]));
    let broken = What::Broken { execution: executions[1].clone(), quantity: None, price: None };
    assert_eq!(about(&rig.events.told()), (name("A4"), &broken));
    assert!(matches!(
        rig.events.told().what,
        What::Filled { quantity: 15, price: Price(10_500_000_000), .. }
    ));
    rig.venue.tell(&format!("bust {}", executions[0]));
    let broken = What::Broken { execution: executions[0].clone(), quantity: None, price: None };
    assert_eq!(about(&rig.events.told()), (name("A4"), &broken));
    rig.venue.tell("raw B 148=headline 33=1 58=text");
    assert!(rig.events.refused().contains("is not taken here"));
    let business = rig.venue.wait(|line| line["got"]["35"] == "j");
    assert_eq!(business["got"]["380"], "3");
}

#[test]
fn a_refusal_by_number_ends_the_order() {
    let Some(mut rig) = Rig::up() else { return };
    rig.line.send(&new("A1", "MUTE", 5)).unwrap();
    let got = rig.venue.wait(|line| line["got"]["35"] == "D");
    rig.venue.tell(&format!("refuse D {} A1", got["got"]["34"].as_str().unwrap()));
    let told = rig.events.told();
    assert_eq!(told.order, name("A1"));
    assert!(matches!(&told.what, What::Rejected { reason, .. } if reason == "business_reject_0"), "{told:?}");
    // QuickFIX's own validation: a symbol that is empty there is one that its dictionary refuses.
    rig.wire.spoil_to_venue(|bytes| {
        let mut text = String::from_utf8(bytes).unwrap();
        if text.contains("\x0111=A2\x01") {
            text = text.replace("\x0154=1\x01", "\x0154=Z\x01");
            let sum: u32 = text[..text.len() - 7].bytes().map(u32::from).sum();
            text.replace_range(text.len() - 4..text.len() - 1, &format!("{:03}", sum % 256));
        }
        text.into_bytes()
    });
    rig.line.send(&new("A2", "REST", 5)).unwrap();
    let told = rig.events.told();
    assert_eq!(told.order, name("A2"));
    assert!(matches!(&told.what, What::Rejected { reason, .. } if reason == "session_reject_5"), "{told:?}");
}

#[test]
fn a_report_that_was_lost_comes_again_and_is_told_once_in_its_place() {
    let Some(mut rig) = Rig::up() else { return };
    rig.wire.spoil_from_venue(lose_one("8"));
    // The pending report is lost, which tells nothing; then the next message shows the gap.
    rig.line.send(&new("A1", "PART", 100)).unwrap();
    let (first, second) = (rig.events.told(), rig.events.told());
    assert_eq!(about(&first), (name("A1"), &accepted("A1", 100)));
    assert!(matches!(second.what, What::Filled { quantity: 50, .. }));
    assert!(second.number > first.number);
    assert_eq!(rig.venue.got("2").len(), 1);
    rig.line.send(&new("A2", "REST", 1)).unwrap();
    let third = rig.events.told();
    assert_eq!(about(&third), (name("A2"), &accepted("A2", 1)));
    assert!(third.number > second.number);
}

#[test]
fn an_order_that_the_venue_asks_for_again_is_never_sent_again() {
    let Some(mut rig) = Rig::up() else { return };
    rig.wire.spoil_to_venue(lose_one("D"));
    rig.line.send(&new("A1", "FILL", 100)).unwrap();
    rig.line.send(&new("A2", "FILL", 1)).unwrap();
    // QuickFIX sees the gap and asks for both; what it holds of the second counts as filled, too.
    assert_eq!(rig.events.down(), "orders are asked for again, and not sent again");
    rig.events.caught_up();
    rig.line.settle(&[new("A1", "FILL", 100), new("A2", "FILL", 1)]).unwrap();
    assert_eq!(about(&rig.events.told()), (name("A1"), &What::NeverArrived));
    assert_eq!(about(&rig.events.told()), (name("A2"), &What::NeverArrived));
    rig.line.send(&new("A3", "FILL", 2)).unwrap();
    assert_eq!(about(&rig.events.told()), (name("A3"), &accepted("A3", 2)));
    rig.events.told();
    assert_eq!(rig.venue.state()["positions"], serde_json::json!({"FILL": 2}));
    let fills = rig.venue.got("4");
    assert!(fills.iter().any(|got| got["123"] == "Y"), "{fills:?}");
    rig.venue.assert_nothing_came_twice();
}

#[test]
fn a_garbled_message_is_passed_over_and_comes_again() {
    let Some(mut rig) = Rig::up() else { return };
    let mut spoilt = false;
    rig.wire.spoil_from_venue(move |mut bytes| {
        if !spoilt && is_type(&bytes, "8") {
            spoilt = true;
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }
        bytes
    });
    rig.line.send(&new("A1", "FILL", 7)).unwrap();
    assert!(rig.events.refused().contains("garbled"));
    assert_eq!(about(&rig.events.told()), (name("A1"), &accepted("A1", 7)));
    assert!(matches!(rig.events.told().what, What::Filled { quantity: 7, .. }));
    assert!(!rig.venue.got("2").is_empty());
}

#[test]
fn half_a_message_and_a_cut_lose_nothing() {
    let Some(mut rig) = Rig::up() else { return };
    rig.line.send(&new("A1", "REST", 7)).unwrap();
    rig.events.told();
    let mut half = false;
    rig.wire.spoil_from_venue(move |mut bytes| {
        if half || is_type(&bytes, "8") {
            half = true;
            bytes.truncate(bytes.len() / 2);
        }
        bytes
    });
    rig.venue.tell("fill A1 3 10.25");
    std::thread::sleep(Duration::from_millis(200));
    rig.wire.heal();
    rig.wire.cut();
    rig.events.down();
    let seen = rig.events.caught_up();
    let told: Vec<_> = seen.iter().filter(|event| matches!(event, Event::Told(_))).collect();
    assert!(
        matches!(told[..], [Event::Told(Told { what: What::Filled { quantity: 3, .. }, .. })]),
        "{seen:?}"
    );
}

#[test]
fn orders_in_flight_when_the_connection_broke_are_settled_by_asking() {
    let Some(mut rig) = Rig::up() else { return };
    let open = new("A0", "REST", 9);
    rig.line.send(&open).unwrap();
    rig.events.told();
    // One arrives without an answer, one and a cancel do not arrive.
    rig.line.send(&new("A1", "MUTE", 5)).unwrap();
    rig.venue.wait(|line| line["got"]["11"] == "A1");
    rig.wire.spoil_to_venue(|_| Vec::new());
    rig.line.send(&new("A2", "FILL", 5)).unwrap();
    rig.line.send(&cancel("C0", &open)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    rig.wire.heal();
    rig.wire.cut();
    rig.events.down();
    rig.events.caught_up();
    let in_doubt = [new("A1", "MUTE", 5), new("A2", "FILL", 5), cancel("C0", &open)];
    rig.line.settle(&in_doubt).unwrap();
    let told: Vec<_> = (0..4).map(|_| rig.events.told()).map(|told| (told.order, told.what)).collect();
    let stands = |order: &str, leaves| What::Stands { filled: 0, leaves, venue_order: format!("V{order}") };
    assert_eq!(
        told,
        [
            (name("A1"), stands("A1", 5)),
            (name("A2"), What::NeverArrived),
            (name("A0"), stands("A0", 9)),
            (name("C0"), What::NeverArrived)
        ]
    );
    assert_eq!(rig.venue.state()["positions"], serde_json::json!({}));
    rig.venue.assert_nothing_came_twice();
}

#[test]
fn a_silent_venue_is_down_and_a_silent_line_is_down_at_the_venue() {
    let Some(rig) = Rig::up() else { return };
    rig.wire.spoil_from_venue(|_| Vec::new());
    let why = rig.events.down();
    assert_eq!(why, "no answer to a TestRequest");
    rig.wire.heal();
    rig.events.caught_up();
    // Now the venue hears nothing: its TestRequest has no answer that arrives.
    rig.wire.spoil_to_venue(|_| Vec::new());
    rig.events.down();
    rig.wire.heal();
    rig.events.caught_up();
}

#[test]
fn the_venues_numbers_too_low_end_the_connection_until_they_are_mended() {
    let Some(mut rig) = Rig::up() else { return };
    rig.line.send(&new("A1", "REST", 5)).unwrap();
    rig.events.told();
    rig.venue.tell("sends 2");
    rig.venue.tell("say A1 6");
    let why = rig.events.down();
    assert!(why.starts_with("MsgSeqNum (34) too low: expected"), "{why}");
    let logout = rig.venue.wait(|line| line["got"]["35"] == "5");
    assert!(logout["got"]["58"].as_str().unwrap().contains("too low"));
    // Too low again at each logon, until somebody mends it.
    std::thread::sleep(Duration::from_millis(700));
    rig.venue.tell("sends 60");
    let seen = rig.events.caught_up();
    assert!(seen.iter().any(|event| matches!(event, Event::Up { .. })));
}

#[test]
fn the_venues_numbers_too_high_are_asked_for_and_filled() {
    let Some(mut rig) = Rig::up() else { return };
    rig.line.send(&new("A1", "REST", 5)).unwrap();
    rig.events.told();
    rig.venue.tell("sends 40");
    rig.venue.tell("fill A1 5 10.25");
    let told = rig.events.told();
    assert!(matches!(told.what, What::Filled { quantity: 5, .. }));
    assert_eq!(told.number, 40);
    assert_eq!(rig.venue.got("2").len(), 1);
}

#[test]
fn our_numbers_too_low_for_the_venue_are_a_refused_logon_and_too_high_a_gap_that_is_filled() {
    let Some(mut rig) = Rig::up() else { return };
    rig.venue.tell("expects 900");
    rig.venue.state();
    rig.wire.cut();
    rig.events.down();
    std::thread::sleep(Duration::from_millis(600));
    // Each attempt is answered by a logout that says what is expected; the operator mends it.
    let before = rig.venue.got("A").len();
    rig.venue.tell("expects 1");
    rig.events.caught_up();
    assert!(before >= 1);
    assert!(rig.venue.got("4").iter().any(|got| got["123"] == "Y" && got["34"] == "1"));
    rig.line.send(&new("A1", "FILL", 5)).unwrap();
    assert_eq!(about(&rig.events.told()), (name("A1"), &accepted("A1", 5)));
}

#[test]
fn names_that_the_venue_does_not_know_are_no_logon() {
    let Some(venue) = Venue::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let events = Arc::default();
    let mut section = section(venue.port, false);
    section.sender_comp_id = "STRANGER".into();
    let mut line = start(&section, folder.path(), 1, &events);
    std::thread::sleep(Duration::from_millis(700));
    while let Some(event) = events.next(Duration::ZERO) {
        assert!(matches!(event, Event::Wire { .. }), "{event:?}");
    }
    assert!(matches!(line.send(&new("A1", "FILL", 1)), Err(LineError::Down { .. })));
}

#[test]
fn the_venues_logout_is_answered_and_the_line_logs_on_again() {
    let Some(mut rig) = Rig::up() else { return };
    rig.venue.tell("logout");
    let why = rig.events.down();
    assert_eq!(why, "the venue logged out: the test says so");
    rig.venue.wait(|line| line["got"]["35"] == "5");
    rig.venue.tell("logon");
    rig.events.caught_up();
}

#[test]
fn an_orderly_end_leaves_no_hole_and_the_next_owner_hears_what_it_missed() {
    let Some(mut rig) = Rig::up() else { return };
    rig.line.send(&new("A1", "REST", 9)).unwrap();
    let told = rig.events.told();
    rig.line.stop();
    rig.venue.wait(|line| line["event"] == "logout");
    rig.venue.tell("fill A1 4 10.25");
    rig.next_owner(told.number + 1);
    let seen = rig.events.caught_up();
    assert!(
        seen.iter()
            .any(|event| matches!(event, Event::Told(Told { what: What::Filled { quantity: 4, .. }, .. }))),
        "{seen:?}"
    );
    let asked = rig.venue.got.iter().filter(|got| got["35"] == "4").count();
    assert_eq!(asked, 0, "the venue missed nothing");
    // An owner whose journal has nothing of the day hears all of it again, under the same numbers.
    rig.next_owner(1);
    let all = rig.events.caught_up();
    let again = all.iter().find_map(|event| match event {
        Event::Told(again) => Some(again),
        _ => None,
    });
    assert_eq!(again.map(|again| (again.number, &again.what)), Some((told.number, &told.what)));
}

#[test]
fn a_venue_that_crashed_goes_on_with_its_numbers() {
    let Some(mut rig) = Rig::up() else { return };
    rig.line.send(&new("A1", "REST", 9)).unwrap();
    rig.events.told();
    rig.venue.restart();
    rig.events.down();
    rig.events.caught_up();
    // It has forgotten the order, and says so.
    rig.line.settle(&[new("A1", "REST", 9)]).unwrap();
    assert_eq!(about(&rig.events.told()), (name("A1"), &What::NeverArrived));
}

#[test]
fn a_new_day_begins_its_numbers_at_one_on_both_sides() {
    let Some(mut rig) = Rig::up_with(&[], true) else { return };
    rig.line.send(&new("A1", "FILL", 9)).unwrap();
    let yesterday = (rig.events.told().number, rig.events.told().number);
    assert_eq!(yesterday, (4, 5));
    rig.line.stop();
    // The gateway's folder of the next day is empty, and its journal has nothing.
    rig.folder = tempfile::tempdir().unwrap();
    rig.next_owner(1);
    let seen = rig.events.caught_up();
    assert!(!seen.iter().any(|event| matches!(event, Event::Told(_))), "nothing of yesterday: {seen:?}");
    rig.line.send(&new("B1", "FILL", 9)).unwrap();
    assert_eq!((rig.events.told().number, rig.events.told().number), yesterday);
    let logons = rig.venue.got("A");
    assert!(logons.iter().all(|got| got["141"] == "Y" && got["34"] == "1"), "{logons:?}");
    assert_eq!(logons.len(), 2);
}

#[test]
fn two_lines_of_one_session_do_not_use_a_number_twice() {
    let Some(rig) = Rig::up() else { return };
    let second = Arc::default();
    let mut other = start(&rig.section, rig.folder.path(), 1, &second);
    // QuickFIX keeps the connection that it has, and the second gets none.
    std::thread::sleep(Duration::from_millis(500));
    assert!(matches!(other.send(&new("A1", "FILL", 1)), Err(LineError::Down { .. })));
    rig.wire.cut();
    other.stop();
    drop(rig);
}

#[test]
fn a_venue_that_is_not_there_is_tried_again() {
    let Some(mut venue) = Venue::start(&[]) else { return };
    let wire = Wire::to(1);
    let events = Arc::default();
    let folder = tempfile::tempdir().unwrap();
    let mut line = start(&section(wire.port, false), folder.path(), 1, &events);
    std::thread::sleep(Duration::from_millis(300));
    line.stop();
    let wire = Wire::to(venue.port);
    let _line = start(&section(wire.port, false), folder.path(), 1, &events);
    events.caught_up();
    venue.state();
}
