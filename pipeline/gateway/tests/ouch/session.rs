//! Logins, numbers, silence and damage, without a socket.

use crate::support::*;
use gateway::connection::Talk;
use gateway::line::{Event, Resume};
use wire::soupbintcp::{NOT_AUTHORIZED, Packet, SESSION_NOT_AVAILABLE};

fn resumed(next_number: u64) -> Resume {
    Resume { session: "DAY1".to_owned(), next_number, next_wire_ref: 40 }
}

fn login(session: &str, number: u64) -> Vec<Wrote> {
    vec![Wrote::Login { session: session.to_owned(), number }]
}

#[test]
fn a_login_asks_for_the_session_and_the_message_that_the_journal_says() {
    assert_eq!(Client::fresh().connect(), login("", 1));
    assert_eq!(Client::new(&resumed(12)).connect(), login("DAY1", 12));
    let configured = settings(|section| section.session = Some("TEST".to_owned()));
    let nothing = Resume { session: String::new(), next_number: 0, next_wire_ref: 0 };
    assert_eq!(Client::with(configured, &nothing).connect(), login("TEST", 1));
}

#[test]
fn what_was_missed_is_numbered_and_ends_with_the_answer_to_a_query() {
    let mut client = Client::new(&resumed(12));
    client.connect();
    client.hear(&[granted("DAY1", 12), accepted(38, b'L'), executed(38, 10, 1)].concat()).unwrap();
    assert!(client.session.is_logged_on());
    let events = client.events();
    assert_eq!(events[0], up("DAY1"));
    assert_eq!(
        told(&events[1..]).iter().map(|told| (told.0, told.1)).collect::<Vec<_>>(),
        [(12, 38), (13, 38)]
    );
    assert_eq!(client.wrote(), [], "the venue may have more");
    client.hear(&heartbeat()).unwrap();
    assert_eq!(client.wrote(), [Wrote::Query], "a second of silence says that it has not");
    client.hear(&executed(38, 5, 2)).unwrap();
    client.hear(&free(39)).unwrap();
    let events = client.events();
    assert_eq!(told(&events[..1])[0].0, 14);
    assert_eq!(events[1..], [Event::CaughtUp]);
    assert_eq!(client.session.next_number(), 16, "the answer has a number, too");
}

#[test]
fn an_old_answer_among_what_was_missed_ends_nothing() {
    let mut client = Client::new(&resumed(12));
    client.connect();
    client.hear(&[granted("DAY1", 12), free(38), accepted(38, b'L')].concat()).unwrap();
    let events = client.events();
    assert_eq!(events.len(), 2, "{events:?}");
    client.hear(&[heartbeat(), free(39)].concat()).unwrap();
    assert_eq!(client.events(), [Event::CaughtUp]);
}

#[test]
fn a_connection_that_broke_without_a_question_is_caught_up_at_once() {
    let mut client = Client::up();
    assert_eq!(client.again(), login("DAY1", 2));
    client.hear(&granted("DAY1", 2)).unwrap();
    assert_eq!(client.wrote(), [Wrote::Query]);
    client.hear(&[accepted(1, b'L'), free(2)].concat()).unwrap();
    let events = client.events();
    assert_eq!((&events[0], &events[1]), (&Event::Down { why: "test".to_owned() }, &up("DAY1")));
    assert_eq!(events[3..], [Event::CaughtUp]);
}

#[test]
fn a_connection_that_broke_with_a_question_under_way_waits_for_the_heartbeat() {
    let mut client = Client::up();
    client.settle(&[]);
    assert_eq!(client.wrote(), [Wrote::Query]);
    client.again();
    client.hear(&granted("DAY1", 2)).unwrap();
    client.hear(&free(1)).unwrap();
    assert_eq!(client.wrote(), [], "that was the answer to the first question");
    client.hear(&heartbeat()).unwrap();
    assert_eq!(client.wrote(), [Wrote::Query]);
    client.hear(&free(1)).unwrap();
    assert_eq!(client.events().last(), Some(&Event::CaughtUp));
}

#[test]
fn another_session_is_a_new_day_whose_messages_begin_at_1() {
    let mut client = Client::new(&resumed(12));
    client.connect();
    let over = client.hear(&packet(&Packet::LoginRejected(SESSION_NOT_AVAILABLE))).unwrap_err();
    assert!(over.why.contains("no message 12 of session \"DAY1\"") && !over.wait, "{over:?}");
    assert_eq!(client.again(), login("", 1));
    client.events();
    client.hear(&[granted("DAY2", 1), accepted(3, b'L')].concat()).unwrap();
    let events = client.events();
    assert_eq!(events[..2], [Event::NewDay, up("DAY2")]);
    assert_eq!(told(&events[2..])[0].0, 1);
    assert_eq!(client.session.assign(), 40, "references rise over the days of a process");
}

#[test]
fn a_session_that_has_fewer_messages_than_it_told_began_again() {
    let mut client = Client::new(&resumed(12));
    client.connect();
    client.hear(&packet(&Packet::LoginRejected(SESSION_NOT_AVAILABLE))).unwrap_err();
    assert_eq!(client.again(), login("", 1));
    let over = client.hear(&[granted("DAY1", 1), heartbeat(), free(1)].concat()).unwrap_err();
    assert!(over.why.contains("was at message 12 and is at 2"), "{over:?}");
    assert!(!client.events().contains(&Event::NewDay), "not before all of it is told again");
    client.wrote();
    assert_eq!(client.again(), login("", 1));
    client.events();
    client.hear(&[granted("DAY1", 1), accepted(3, b'L'), free(1), heartbeat(), free(4)].concat()).unwrap();
    let events = client.events();
    assert_eq!(events[..2], [Event::NewDay, up("DAY1")]);
    assert_eq!((events.len(), events.last()), (4, Some(&Event::CaughtUp)));
}

#[test]
fn a_login_that_is_rejected_without_reason_makes_no_new_day() {
    let mut client = Client::new(&resumed(3));
    client.connect();
    client.hear(&packet(&Packet::LoginRejected(SESSION_NOT_AVAILABLE))).unwrap_err();
    client.again();
    client.events();
    let again = [granted("DAY1", 1), accepted(1, b'L'), executed(1, 5, 1)].concat();
    client.hear(&again).unwrap();
    client.hear(&[heartbeat(), free(2)].concat()).unwrap();
    let events = client.events();
    assert_eq!(events[0], up("DAY1"));
    assert_eq!(told(&events[1..3]).iter().map(|told| told.0).collect::<Vec<_>>(), [1, 2], "told again");
    assert_eq!(events[3..], [Event::CaughtUp]);
}

#[test]
fn a_grant_from_further_on_names_what_is_lost() {
    let mut client = Client::new(&resumed(12));
    client.connect();
    client.hear(&[granted("DAY1", 15), accepted(38, b'L')].concat()).unwrap();
    let events = client.events();
    assert!(refused(&events[0]).contains("messages 12 to 14 are lost"), "{events:?}");
    assert_eq!(told(&events[2..])[0].0, 15);
}

#[test]
fn a_grant_of_another_session_or_of_fewer_messages_is_looked_at_from_its_first_message() {
    for grant in [granted("DAY2", 12), granted("DAY1", 5)] {
        let mut client = Client::new(&resumed(12));
        client.connect();
        client.hear(&grant).unwrap_err();
        assert!(!client.session.is_logged_on());
        assert_eq!(client.again(), login("", 1));
    }
}

#[test]
fn a_wrong_password_is_said_and_tried_no_more_for_a_while() {
    let mut client = Client::fresh();
    client.connect();
    let over = client.hear(&packet(&Packet::LoginRejected(NOT_AUTHORIZED))).unwrap_err();
    assert!(over.wait && over.why.contains("password"), "{over:?}");
    client.session.check(&new_order("A", 1)).unwrap();
    assert!(client.session.ready(client.now(), &new_order("A", 1)).is_err());
}

#[test]
fn who_says_nothing_for_a_second_says_that_it_is_there() {
    let mut client = Client::up();
    client.tick(999).unwrap();
    assert_eq!(client.wrote(), []);
    client.tick(1_000).unwrap();
    client.tick(1_999).unwrap();
    assert_eq!(client.wrote(), [Wrote::Heartbeat]);
    client.tick(2_000).unwrap();
    assert_eq!(client.wrote(), [Wrote::Heartbeat]);
}

#[test]
fn a_venue_that_is_silent_is_gone() {
    let mut client = Client::up();
    client.tick(14_999).unwrap();
    client.hear(&heartbeat()[..1]).unwrap();
    client.tick(29_998).unwrap();
    let over = client.tick(29_999).unwrap_err();
    assert!(over.why.contains("silent for 15000 ms"), "{over:?}");
}

#[test]
fn a_venue_that_is_not_read_is_not_silent() {
    let mut client = Client::up();
    client.tick(14_000).unwrap();
    client.session.not_reading(client.now());
    client.tick(28_999).unwrap();
    client.tick(29_000).unwrap_err();
}

#[test]
fn a_login_that_is_not_answered_is_over() {
    let mut client = Client::fresh();
    client.connect();
    client.hear(&heartbeat()).unwrap();
    client.tick(4_999).unwrap();
    client.tick(5_000).unwrap_err();
    assert_eq!(client.wrote(), [], "no heartbeat before the login is granted");
}

#[test]
fn anything_before_the_login_is_answered_is_over() {
    for bytes in [accepted(1, b'L'), packet(&Packet::UnsequencedData(b"x"))] {
        let mut client = Client::fresh();
        client.connect();
        client.hear(&packet(&Packet::Debug(b"hello"))).unwrap();
        client.hear(&bytes).unwrap_err();
    }
}

#[test]
fn the_end_of_the_session_is_no_new_day_before_there_is_another() {
    let mut client = Client::up();
    let over = client.hear(&packet(&Packet::EndOfSession)).unwrap_err();
    assert!(over.wait);
    assert_eq!(client.again(), login("DAY1", 2));
    assert!(!client.events().contains(&Event::NewDay));
}

#[test]
fn what_cannot_be_read_is_named_takes_its_number_and_costs_nothing_beside_it() {
    let mut client = Client::up();
    let bytes = [
        packet(&Packet::SequencedData(b"Ashort")),
        packet(&Packet::SequencedData(b"?")),
        packet(&Packet::SequencedData(b"")),
        b"\0\x01?\0\0".to_vec(),
        packet(&Packet::UnsequencedData(b"x")),
        granted("DAY1", 9),
        accepted(1, b'L'),
    ];
    client.hear(&bytes.concat()).unwrap();
    let events = client.events();
    let expected = [
        "message 2: message type 0x41 takes at least 62 bytes, not 6",
        "message 3: unknown message type 0x3f",
        "message 4: message without bytes",
        "unknown packet type 0x3f",
        "packet without a type",
        "packet type U after the login",
        "packet type A after the login",
    ];
    for (event, expected) in events.iter().zip(expected) {
        assert!(refused(event).contains(expected), "{event:?} should say {expected:?}");
    }
    assert_eq!(told(&events[expected.len()..])[0].0, 5);
}

#[test]
fn a_packet_that_is_too_long_is_over_and_what_came_before_is_told() {
    let mut client = Client::up();
    client.hear(&[accepted(1, b'L'), b"\x10\x01S".to_vec()].concat()).unwrap_err();
    let events = client.events();
    assert_eq!(told(&events[..1])[0].0, 2);
    assert!(refused(&events[1]).contains("at most 4096"), "{events:?}");
}

#[test]
fn every_byte_is_in_the_drop_copy_but_the_password() {
    let mut client = Client::fresh();
    client.connect();
    let heard = [granted("DAY1", 1), heartbeat(), b"\0\x01?".to_vec(), accepted(1, b'L')].concat();
    client.hear(&[&heard[..], b"\0\x05S"].concat()).unwrap();
    client.lose();
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for event in client.all_events() {
        if let Event::Wire { sent: ours, bytes, .. } = event {
            if ours { &mut sent } else { &mut received }.extend(bytes);
        }
    }
    assert_eq!(received, [&heard[..], b"\0\x05S"].concat());
    let login = b"\0\x2fLfplane**********                             1\0\x02UQ";
    assert_eq!(sent.escape_ascii().to_string(), login.escape_ascii().to_string());
}

#[test]
fn a_venue_that_is_not_there_is_told_once() {
    let mut client = Client::fresh();
    for _ in 0..3 {
        client.lose();
    }
    assert_eq!(client.events(), [Event::Down { why: "test".to_owned() }]);
}

#[test]
fn who_stops_logs_out() {
    let mut client = Client::up();
    client.log_out();
    assert_eq!(client.wrote(), [Wrote::Logout]);
    client.lose();
    client.log_out();
    assert_eq!(client.wrote(), []);
}
