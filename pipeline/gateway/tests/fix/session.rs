//! The session's rules, one by one, without a socket: what the specification's volume 2 asks of an initiator.

use super::wire::{Desk, TIME, again, from_venue, new, raw, settings};
use gateway::connection::Talk;
use gateway::fix::{Numbers, Session};
use gateway::line::{Event, LineError};

fn accepted(number: u64, id: &str) -> Vec<u8> {
    from_venue("8", number, &report(id))
}

fn report(id: &str) -> String {
    format!("37=V|11={id}|17=E{id}|150=0|39=0|55=REST|54=1|14=0|151=5|6=0|")
}

fn numbers(desk: &mut Desk) -> Vec<u64> {
    desk.orders().iter().map(|told| told.number).collect()
}

#[test]
fn nothing_is_missing_once_a_test_request_is_answered() {
    let mut desk = Desk::new();
    desk.connect().unwrap();
    assert_eq!(desk.sent, ["35=A|34=1|98=0|108=10"]);
    desk.take(&from_venue("A", 1, "98=0|108=10|")).unwrap();
    assert_eq!(desk.sent[1..], ["35=1|34=2|112=T2"]);
    assert_eq!(desk.told, [Event::Up { session: String::new() }]);
    let early = desk.session.ready(desk.now, &new("A1", "REST", 5)).err();
    assert_eq!(early, Some(LineError::Down { venue: "sim".into() }));
    desk.take(&from_venue("0", 2, "112=T1|")).unwrap();
    assert_eq!(desk.told.len(), 1, "that answers another");
    desk.take(&from_venue("0", 3, "112=T2|")).unwrap();
    assert_eq!(desk.told[1..], [Event::CaughtUp]);
    assert!(desk.order(&new("A1", "REST", 5)).starts_with("35=D|34=3|11=A1|"));
}

#[test]
fn what_was_missed_is_asked_for_told_in_order_and_only_then_all_is_caught_up() {
    let mut desk = Desk::with(settings(), 5);
    desk.connect().unwrap();
    desk.take(&from_venue("A", 9, "98=0|108=10|")).unwrap();
    assert_eq!(desk.sent[1..], ["35=2|34=2|7=5|16=0"]);
    // Sent before the venue read our request: it comes again.
    desk.take(&accepted(10, "C")).unwrap();
    desk.take(&again("8", 5, &report("A"))).unwrap();
    desk.take(&again("4", 6, "123=Y|36=8|")).unwrap();
    desk.take(&again("8", 8, &report("B"))).unwrap();
    desk.take(&again("4", 9, "123=Y|36=10|")).unwrap();
    assert_eq!(desk.sent.len(), 2, "10 is still missing");
    desk.take(&again("8", 10, &report("C"))).unwrap();
    assert_eq!(desk.sent[2..], ["35=1|34=3|112=T3"]);
    assert!(!desk.told.contains(&Event::CaughtUp));
    assert_eq!(numbers(&mut desk), [5, 8, 10]);
    desk.take(&from_venue("0", 11, "112=T3|")).unwrap();
    assert_eq!(desk.told, [Event::CaughtUp]);
}

#[test]
fn a_gap_within_the_session_is_asked_for_once() {
    let mut desk = Desk::up();
    desk.take(&accepted(5, "A")).unwrap();
    desk.take(&accepted(6, "B")).unwrap();
    assert_eq!(desk.sent, ["35=2|34=3|7=3|16=0"]);
    desk.take(&again("4", 3, "123=Y|36=5|")).unwrap();
    desk.take(&again("8", 5, &report("A"))).unwrap();
    desk.take(&again("8", 6, &report("B"))).unwrap();
    desk.take(&accepted(7, "C")).unwrap();
    assert_eq!(numbers(&mut desk), [5, 6, 7]);
    assert_eq!(desk.sent.len(), 1);
}

#[test]
fn a_gap_that_is_not_filled_is_asked_for_again_and_ends_the_connection_at_last() {
    let mut desk = Desk::up();
    desk.take(&accepted(5, "A")).unwrap();
    desk.forget();
    let mut asked = 1;
    let over = loop {
        // The venue lives: its heartbeats come.
        desk.take(&from_venue("0", 6, "")).unwrap();
        match desk.pass(7) {
            Ok(()) => asked += desk.sent.iter().filter(|sent| sent.starts_with("35=2|")).count(),
            Err(over) => break over,
        }
        desk.forget();
    };
    assert_eq!(asked, 3);
    assert!(over.why.contains("ResendRequest"), "{over:?}");
    assert!(desk.sent.last().is_some_and(|sent| sent.starts_with("35=5|")));
}

#[test]
fn a_number_that_is_too_low_ends_the_connection_with_a_logout_that_says_so() {
    let mut desk = Desk::up();
    let over = desk.take(&accepted(2, "A")).unwrap_err();
    assert_eq!(over.why, "MsgSeqNum (34) too low: expected 3, received 2");
    assert_eq!(desk.sent, ["35=5|34=3|58=MsgSeqNum (34) too low: expected 3, received 2"]);
    assert!(desk.orders().is_empty());

    let mut desk = Desk::with(settings(), 9);
    desk.connect().unwrap();
    let over = desk.take(&from_venue("A", 1, "98=0|108=10|")).unwrap_err();
    assert!(over.wait && over.why.contains("too low: expected 9, received 1"), "{over:?}");
    assert!(desk.told.is_empty(), "never up");
}

#[test]
fn a_duplicate_of_what_is_known_is_passed_over() {
    let mut desk = Desk::up();
    desk.take(&accepted(3, "A")).unwrap();
    desk.take(&again("8", 3, &report("A"))).unwrap();
    desk.take(&again("8", 1, &report("A"))).unwrap();
    desk.take(&accepted(4, "B")).unwrap();
    assert_eq!(numbers(&mut desk), [3, 4]);
    assert!(desk.sent.is_empty());
}

#[test]
fn a_duplicate_must_say_when_it_was_sent_first() {
    let mut desk = Desk::up();
    desk.take(&from_venue("8", 3, &format!("43=Y|{}", report("A")))).unwrap();
    assert_eq!(desk.sent, ["35=3|34=3|45=3|371=122|372=8|373=1|58=field 122 is missing"]);
    desk.take(&from_venue("8", 4, &format!("43=Y|122=20260921-14:13:21|{}", report("A")))).unwrap();
    assert!(desk.sent[1].starts_with("35=3|34=4|45=4|371=122|372=8|373=10|"), "{}", desk.sent[1]);
    assert!(desk.orders().is_empty());
}

#[test]
fn a_resend_request_gets_one_gap_fill_and_never_an_order() {
    let mut desk = Desk::up();
    desk.settle(&[new("A1", "REST", 5), new("A2", "REST", 5), new("A3", "REST", 5)]);
    desk.forget();
    for (range, answer) in [
        ("7=1|16=0|", "35=4|34=1|43=Y|123=Y|36=6"),
        ("7=4|16=4|", "35=4|34=4|43=Y|123=Y|36=5"),
        ("7=2|16=999999|", "35=4|34=2|43=Y|123=Y|36=6"),
    ] {
        let number = 3 + desk.sent.len() as u64;
        desk.take(&from_venue("2", number, range)).unwrap();
        assert_eq!(desk.sent.last().map(String::as_str), Some(answer));
    }
    // The answer takes no number of its own.
    assert!(desk.order(&new("A4", "REST", 5)).starts_with("35=D|34=6|"));
    desk.forget();
    for range in ["7=0|16=0|", "7=99|16=0|", "7=5|16=4|", "16=0|", "7=1|", "7=x|16=0|"] {
        let number = 6 + desk.sent.len() as u64;
        desk.take(&from_venue("2", number, range)).unwrap();
        assert!(desk.sent.last().unwrap().starts_with("35=3|"), "{range}: {:?}", desk.sent.last());
    }
}

#[test]
fn a_venue_that_asks_for_orders_in_flight_gets_a_gap_fill_and_the_connection_ends_to_settle_them() {
    let mut desk = Desk::up();
    desk.order(&new("A1", "REST", 5));
    desk.order(&new("A2", "REST", 5));
    let over = desk.take(&from_venue("2", 3, "7=3|16=0|")).unwrap_err();
    assert_eq!(over.why, "orders are asked for again, and not sent again");
    assert_eq!(desk.sent[0], "35=4|34=3|43=Y|123=Y|36=5");
    assert!(desk.sent[1].starts_with("35=5|34=5|") && desk.sent.len() == 2);
    // At the next logon the same question is part of catching up.
    desk.session.closed(desk.now, &over.why, &mut gateway::connection::Io::default());
    desk.forget();
    desk.connect().unwrap();
    desk.take(&from_venue("A", 4, "98=0|108=10|")).unwrap();
    desk.take(&from_venue("2", 5, "7=3|16=0|")).unwrap();
    assert_eq!(
        desk.sent,
        [
            "35=A|34=6|98=0|108=10",
            "35=1|34=7|112=T7",
            "35=4|34=3|43=Y|123=Y|36=8",
            // The first was filled, too.
            "35=1|34=8|112=T8"
        ]
    );
    desk.take(&from_venue("0", 6, "112=T8|")).unwrap();
    assert!(desk.told.contains(&Event::CaughtUp));
}

#[test]
fn a_resend_request_above_a_gap_is_answered_so_that_both_sides_go_on() {
    let mut desk = Desk::up();
    desk.take(&from_venue("2", 7, "7=1|16=0|")).unwrap();
    assert_eq!(desk.sent, ["35=4|34=1|43=Y|123=Y|36=3", "35=2|34=3|7=3|16=0"]);
    desk.take(&again("4", 3, "123=Y|36=8|")).unwrap();
    desk.take(&accepted(8, "A")).unwrap();
    assert_eq!(numbers(&mut desk), [8]);
}

#[test]
fn a_gap_fill_never_goes_back() {
    let mut desk = Desk::up();
    for (number, next) in [(3, "3"), (4, "2"), (5, "x"), (6, "0")] {
        desk.take(&from_venue("4", number, &format!("123=Y|36={next}|"))).unwrap();
        assert!(desk.sent.last().unwrap().starts_with("35=3|"), "{next}");
    }
    desk.take(&accepted(7, "A")).unwrap();
    assert_eq!(numbers(&mut desk), [7]);
}

#[test]
fn a_reset_moves_on_whatever_its_number_says_what_is_lost_and_never_goes_back() {
    let mut desk = Desk::up();
    desk.take(&from_venue("4", 900, "36=20|")).unwrap();
    assert_eq!(
        desk.refused(),
        ["the venue leaves out its messages 3 to 19 (SequenceReset): what they said is not known"]
    );
    assert!(desk.sent.is_empty(), "its own number asks for nothing");
    desk.take(&from_venue("4", 20, "123=N|36=10|")).unwrap();
    assert!(desk.sent.last().unwrap().starts_with("35=3|34=3|45=20|371=36|372=4|373=5|"));
    desk.take(&accepted(20, "A")).unwrap();
    assert_eq!(numbers(&mut desk), [20]);
}

#[test]
fn names_that_are_not_agreed_are_rejected_and_end_the_connection() {
    for (names, tag) in [("49=EVIL|56=FEEDPLANE|", 49), ("49=VENUE|56=YOU|", 56), ("49=VENUE|", 56)] {
        let mut desk = Desk::up();
        let over = desk.take(&raw(&format!("35=0|34=3|{names}52={TIME}|"))).unwrap_err();
        assert!(over.why.contains(&format!("field {tag} is not the agreed one")), "{over:?}");
        assert!(desk.sent[0].starts_with(&format!("35=3|34=3|45=3|371={tag}|372=0|373=9|")));
        assert!(desk.sent[1].starts_with("35=5|34=4|"));
    }
}

#[test]
fn a_wrong_version_or_no_number_ends_the_connection() {
    let mut desk = Desk::up();
    let old = String::from_utf8(from_venue("0", 3, "")).unwrap().replace("FIX.4.4", "FIX.4.2");
    let sum: u32 = old[..old.len() - 7].bytes().map(u32::from).sum();
    let old = format!("{}10={:03}\x01", &old[..old.len() - 7], sum % 256);
    assert!(desk.take(old.as_bytes()).unwrap_err().why.contains("BeginString"));
    let mut desk = Desk::up();
    let over = desk.take(&raw(&format!("35=0|49=VENUE|56=FEEDPLANE|52={TIME}|"))).unwrap_err();
    assert_eq!(over.why, "MsgSeqNum (34) is missing");
}

#[test]
fn a_sending_time_far_from_ours_is_rejected_and_ends_the_connection_unless_it_is_a_duplicate() {
    let late = "35=0|34=3|49=VENUE|56=FEEDPLANE|52=20260921-14:10:00|";
    let mut desk = Desk::up();
    desk.take(&raw(late)).unwrap_err();
    assert!(desk.sent[0].starts_with("35=3|34=3|45=3|371=52|372=0|373=10|"));
    assert!(desk.sent[1].starts_with("35=5|"));
    let mut desk = Desk::up();
    desk.take(&raw(&format!("{late}43=Y|122=20260921-14:10:00|"))).unwrap();
    assert!(desk.sent.is_empty());
}

#[test]
fn silence_is_answered_with_a_test_request_and_then_the_connection_ends() {
    let mut desk = Desk::up();
    desk.pass(9).unwrap();
    assert!(desk.sent.is_empty());
    desk.pass(1).unwrap();
    assert_eq!(desk.sent, ["35=0|34=3"], "our own heartbeat");
    desk.pass(3).unwrap();
    assert_eq!(desk.sent[1..], ["35=1|34=4|112=T4"]);
    desk.take(&from_venue("0", 3, "112=T4|")).unwrap();
    desk.pass(12).unwrap();
    desk.forget();
    desk.pass(1).unwrap();
    assert!(desk.sent[0].starts_with("35=1|"));
    desk.pass(12).unwrap();
    assert_eq!(desk.pass(1).unwrap_err().why, "no answer to a TestRequest");
}

#[test]
fn a_venue_that_talks_but_never_takes_in_what_we_send_is_down() {
    let mut desk = Desk::new();
    desk.connect().unwrap();
    desk.take(&from_venue("A", 1, "98=0|108=10|")).unwrap();
    let over = (2..).find_map(|number| {
        desk.take(&from_venue("0", number, "")).unwrap();
        desk.pass(5).err()
    });
    assert_eq!(over.unwrap().why, "no answer to a TestRequest");
}

#[test]
fn a_test_request_is_answered_with_its_id() {
    let mut desk = Desk::up();
    desk.take(&from_venue("1", 3, "112=are you there|")).unwrap();
    desk.take(&from_venue("1", 4, "")).unwrap();
    assert_eq!(
        desk.sent,
        ["35=0|34=3|112=are you there", "35=3|34=4|45=4|371=112|372=1|373=1|58=field 112 is missing"]
    );
}

#[test]
fn a_logon_that_is_refused_or_not_answered_is_no_logon() {
    for (answer, why) in [
        (from_venue("5", 1, "58=who are you|"), "the venue refused the logon: who are you"),
        (from_venue("3", 1, "45=1|58=no|"), "the venue refused the logon: no"),
        (accepted(1, "A"), "the venue's first message is no Logon: 35=8"),
    ] {
        let mut desk = Desk::new();
        desk.connect().unwrap();
        assert_eq!(desk.take(&answer).unwrap_err().why, why);
        assert!(desk.told.is_empty());
    }
    let mut desk = Desk::new();
    desk.connect().unwrap();
    desk.pass(5).unwrap();
    assert_eq!(desk.pass(1).unwrap_err().why, "no answer to the Logon");
}

#[test]
fn the_venues_logout_is_answered_and_ours_waits_for_its_answer() {
    let mut desk = Desk::up();
    assert_eq!(
        desk.take(&from_venue("5", 3, "58=good night|")).unwrap_err().why,
        "the venue logged out: good night"
    );
    assert_eq!(desk.sent, ["35=5|34=3"]);

    let mut desk = Desk::up();
    let mut io = gateway::connection::Io::default();
    desk.session.log_out(desk.now, &mut io);
    assert!(desk.session.is_logging_out());
    desk.take(&accepted(3, "A")).unwrap();
    assert_eq!(numbers(&mut desk), [3], "what comes before the answer is told");
    assert_eq!(desk.take(&from_venue("5", 4, "")).unwrap_err().why, "logged out");
}

#[test]
fn garbled_bytes_are_told_and_passed_over_and_the_message_behind_them_is_taken() {
    let mut desk = Desk::up();
    let mut garbled = accepted(3, "A");
    garbled[30] ^= 1;
    desk.take(&[garbled, accepted(3, "B")].concat()).unwrap();
    assert_eq!(desk.told.len(), 2, "{:?}", desk.told);
    assert!(matches!(&desk.told[0], Event::Refused { what } if what.contains("CheckSum")));
    assert_eq!(numbers(&mut desk), [3]);
    // Half a message, and the rest later.
    let whole = accepted(4, "C");
    desk.take(&whole[..40]).unwrap();
    assert!(desk.orders().is_empty());
    desk.take(&whole[40..]).unwrap();
    assert_eq!(numbers(&mut desk), [4]);
    // Half a message, and the connection is gone: the half is not put before the next connection's bytes.
    desk.take(&accepted(5, "D")[..40]).unwrap();
    desk.session.closed(desk.now, "gone", &mut gateway::connection::Io::default());
    desk.connect().unwrap();
    desk.take(&from_venue("A", 6, "98=0|108=10|")).unwrap();
    assert!(desk.sent.last().unwrap().starts_with("35=2|34=4|7=5|16=0"), "{:?}", desk.sent);
}

#[test]
fn a_message_that_breaks_the_rules_is_rejected_with_its_field_and_takes_its_number() {
    let cases = [
        ("8", "55=|", "371=55|372=8|373=4"),
        ("8", "x=1|", "372=8|373=0"),
        ("8", "11=A|150=0|39=0|37=V|", "371=151|372=8|373=1"),
        ("8", "11=A|150=0|39=0|37=V|151=1.5|", "371=151|372=8|373=6"),
        ("8", "11=A|150=Z|39=0|", "371=150|372=8|373=5"),
        ("8", "11=A|150=0|150=4|39=0|", "371=150|372=8|373=13"),
        ("8", "11=A|150=F|39=1|17=E|32=0|31=1|", "371=32|372=8|373=5"),
        ("8", "11=A|150=F|39=1|17=E|32=1|31=1e3|", "371=31|372=8|373=6"),
        ("3", "58=x|", "371=45|372=3|373=1"),
    ];
    let mut desk = Desk::up();
    for (at, (kind, body, refusal)) in cases.into_iter().enumerate() {
        let number = 3 + at as u64;
        desk.take(&from_venue(kind, number, body)).unwrap();
        let start = format!("35=3|34={number}|45={number}|{refusal}|58=");
        assert!(desk.sent[at].starts_with(&start), "{body}: {}", desk.sent[at]);
        assert_eq!(desk.refused().len(), 1, "{body}");
    }
}

#[test]
fn what_an_application_cannot_use_is_refused_as_the_business_level_asks() {
    let mut desk = Desk::up();
    desk.take(&from_venue("B", 3, "148=news|")).unwrap();
    desk.take(&from_venue("8", 4, "11=A|150=F|39=1|17=E|31=1|")).unwrap();
    assert_eq!(
        desk.sent,
        [
            "35=j|34=3|45=3|372=B|380=3|58=MsgType (35) \"B\" is not taken here",
            "35=j|34=4|45=4|372=8|380=5|58=field 32 is missing",
        ]
    );
    assert_eq!(desk.refused().len(), 2);
}

#[test]
fn a_day_begins_with_a_reset_where_that_is_agreed_until_a_logon_is_answered() {
    let mut settings = settings();
    settings.reset_on_new_day = true;
    let mut desk = Desk::with(settings.clone(), 1);
    for _ in 0..2 {
        desk.connect().unwrap();
        assert_eq!(desk.sent.pop().unwrap(), "35=A|34=1|98=0|108=10|141=Y");
        desk.session.closed(desk.now, "cut", &mut gateway::connection::Io::default());
    }
    desk.connect().unwrap();
    desk.take(&from_venue("A", 1, "98=0|108=10|141=Y|")).unwrap();
    desk.session.closed(desk.now, "cut", &mut gateway::connection::Io::default());
    desk.connect().unwrap();
    assert_eq!(desk.sent.last().unwrap(), "35=A|34=3|98=0|108=10");
    // Another owner, after a kill: no reset either, and no number twice.
    let folder = desk.folder;
    let mut next = Desk::with(settings, 2);
    next.session = Session::new(super::wire::settings(), Numbers::open(folder.path()).unwrap(), 2);
    next.connect().unwrap();
    assert_eq!(next.sent, ["35=A|34=257|98=0|108=10"]);
}

#[test]
fn a_reset_that_is_not_agreed_ends_the_connection() {
    let mut desk = Desk::new();
    desk.connect().unwrap();
    let over = desk.take(&from_venue("A", 1, "98=0|108=10|141=Y|")).unwrap_err();
    assert!(over.wait && over.why.contains("day_begins"), "{over:?}");
    let mut desk = Desk::up();
    let over = desk.take(&from_venue("A", 3, "98=0|108=10|141=Y|")).unwrap_err();
    assert!(over.why.contains("ResetSeqNumFlag"), "{over:?}");
}

#[test]
fn the_password_is_sent_and_not_told() {
    let mut settings = settings();
    (settings.user, settings.password) = (Some("me".into()), Some("hush".into()));
    let mut desk = Desk::with(settings, 1);
    let mut io = gateway::connection::Io::default();
    desk.session.connected(desk.now, &mut io).unwrap();
    assert!(String::from_utf8(io.out.clone()).unwrap().contains("\x01553=me\x01554=hush\x01"));
    let Event::Wire { bytes, sent: true, .. } = &io.events[0] else { panic!("{:?}", io.events) };
    let told = String::from_utf8(bytes.clone()).unwrap();
    assert!(told.contains("\x01554=****\x01") && !told.contains("hush"), "{told}");
    assert_eq!(bytes.len(), io.out.len());
}

#[test]
fn all_bytes_are_told_before_what_they_say() {
    let desk = &mut Desk::up();
    let mut io = gateway::connection::Io::default();
    desk.session.received(desk.now, &accepted(3, "A"), &mut io).unwrap();
    let Event::Wire { bytes, sent: false, time_ns } = &io.events[0] else { panic!("{:?}", io.events) };
    assert_eq!((bytes, *time_ns), (&accepted(3, "A"), desk.now.epoch_ns));
    assert!(matches!(io.events[1], Event::Told(_)));
}
