//! SoupBinTCP: who gets in, what is sent again, and who is closed.

use crate::support::{MS, Room, S, enter, login, packet, query, texts, unsequenced, users};
use venue::order_entry::{Closed, MAX_CONNECTIONS, MAX_PACKET_BYTES, User, UserError};
use wire::soupbintcp::{HeartbeatTimeout, LoginRequest, Number, Packet, left_padded, right_padded};

fn closed(room: &Room, reason: Closed) -> u64 {
    room.server.counts().closed.get(&reason).copied().unwrap_or(0)
}

#[test]
fn a_login_is_granted_by_name_and_password_whatever_their_case() {
    let mut room = Room::new();
    assert_eq!(room.login("ALICE", "Secret", 0).1, ["login 2"]);
    assert_eq!(room.login("bob", "hidden", 1).1, ["login 1", "day S"]);
    assert_eq!(room.login("alice", "hidden", 0).1, ["no login A", "over"]);
    assert_eq!(room.login("carol", "secret", 0).1, ["no login A", "over"]);
    assert_eq!(closed(&room, Closed::NotAuthorized), 2);
}

#[test]
fn a_login_names_this_session_or_none_and_a_message_that_is_or_comes_next() {
    let mut room = Room::new();
    for (session, next, heard) in [
        ("TEST", 1, &["login 1", "day S"][..]),
        ("TEST", 2, &["login 2"]),
        ("", 0, &["login 2"]),
        ("", 3, &["no login S", "over"]),
        ("OTHER", 1, &["no login S", "over"]),
    ] {
        let id = room.connect();
        room.say(id, &login("alice", "secret", session, next));
        assert_eq!(room.hear(id), heard, "{session} {next}");
    }
    assert_eq!(closed(&room, Closed::NoSession), 2);
}

#[test]
fn a_newer_login_of_the_same_user_closes_the_older_connection_and_cancels_nothing() {
    let cancelling = User { cancel_on_disconnect: true, ..users()[0].clone() };
    let mut room = Room::with(&[cancelling], Default::default());
    let old = room.alice();
    assert_eq!(room.ask(old, &enter(1, 'B', 100, 2_000)), ["accepted 1 B 100 @20.00 0YPL c1"]);
    let (new, heard) = room.login("alice", "secret", 0);
    assert_eq!(heard, ["login 3"]);
    assert_eq!(room.hear(old), ["over"]);
    room.say(old, &unsequenced(&enter(2, 'B', 100, 2_000)));
    assert_eq!(room.ask(new, &query()), ["next 2"]);
    assert_eq!(closed(&room, Closed::Replaced), 1);
    // Only when the last connection is gone are the orders, too.
    room.lose(new);
    assert_eq!(room.login("alice", "secret", 3).1, ["login 3", "next 2", "canceled 1 100 Z"]);
}

#[test]
fn all_messages_can_be_had_again_from_every_number() {
    let mut room = Room::new();
    let id = room.alice();
    let mut all = vec!["day S".to_owned()];
    for number in 1..=300 {
        all.extend(room.ask(id, &enter(number, 'B', 100 + number, 2_000)));
    }
    assert_eq!(all.len(), 301);
    for next in 1..=all.len() + 1 {
        let (_, heard) = room.login("alice", "secret", next as u64);
        assert_eq!(heard[0], format!("login {next}"));
        assert_eq!(heard[1..], all[next - 1..]);
    }
}

#[test]
fn messages_for_a_user_that_is_away_wait_for_it() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    room.say(alice, &packet(Packet::LogoutRequest));
    assert_eq!(room.hear(alice), ["over"]);
    assert_eq!(room.ask(bob, &enter(1, 'S', 60, 2_000)).len(), 2);
    assert_eq!(room.login("alice", "secret", 3).1, ["login 3", "executed 1 60 @20.00 A"]);
}

#[test]
fn a_silent_server_sends_heartbeats_and_one_that_speaks_does_not() {
    let mut room = Room::new();
    let id = room.alice();
    room.pass(950 * MS);
    assert!(room.hear(id).is_empty());
    room.pass(100 * MS);
    assert_eq!(room.hear(id), ["heartbeat"]);
    for number in 1..=10 {
        room.pass(400 * MS);
        assert_eq!(room.ask(id, &enter(number, 'B', 1, 100)).len(), 1, "no heartbeat between messages");
    }
}

#[test]
fn a_client_that_is_silent_for_15_s_is_closed_and_one_with_heartbeats_is_not() {
    let mut room = Room::new();
    let (silent, alive) = (room.alice(), room.bob());
    for _ in 0..16 {
        room.pass(S);
        room.say(alive, &packet(Packet::ClientHeartbeat));
        room.hear(alive);
        room.hear(silent);
    }
    assert_eq!(closed(&room, Closed::Silent), 1);
    assert!(!room.server.wants_input(silent) && room.server.wants_input(alive));
}

#[test]
fn a_client_may_ask_for_another_time_of_silence() {
    let mut room = Room::new();
    let request = LoginRequest {
        username: right_padded("alice").unwrap(),
        password: right_padded("secret").unwrap(),
        session: left_padded("").unwrap(),
        next_sequence: Number::sequence(0),
    };
    let id = room.connect();
    let timeout = HeartbeatTimeout::new(3_000).unwrap();
    room.say(id, &packet(Packet::LoginRequest(&request, Some(&timeout))));
    for (pass_ns, open) in [(2 * S, true), (2 * S, false)] {
        room.pass(pass_ns);
        room.hear(id);
        assert_eq!(room.server.wants_input(id), open);
    }
}

#[test]
fn who_does_not_log_in_within_15_s_is_closed_whatever_it_sends() {
    let mut room = Room::new();
    let id = room.connect();
    for _ in 0..16 {
        room.say(id, &packet(Packet::Debug(b"still here")));
        room.pass(S);
    }
    assert_eq!(room.hear(id), ["over"]);
    assert_eq!(closed(&room, Closed::NoLogin), 1);
}

#[test]
fn what_is_out_of_turn_closes_the_connection() {
    for (first, then, reason) in [
        (packet(Packet::ClientHeartbeat), Vec::new(), Closed::NotLoggedIn),
        (unsequenced(&query()), Vec::new(), Closed::NotLoggedIn),
        (login("alice", "secret", "", 0), login("alice", "secret", "", 0), Closed::LoggedInTwice),
        (login("alice", "secret", "", 0), packet(Packet::SequencedData(b"x")), Closed::Garbage),
        (login("alice", "secret", "", 0), vec![0, 0], Closed::Garbage),
        (login("alice", "secret", "", 0), vec![0, 1, b'?'], Closed::Garbage),
        (login("alice", "secret", "", 0), vec![0, 2, b'R', b' '], Closed::Garbage),
        (login("alice", "secret", "", 0), (MAX_PACKET_BYTES + 1).to_be_bytes().to_vec(), Closed::TooLong),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Vec::new(), Closed::TooLong),
    ] {
        let mut room = Room::new();
        let id = room.connect();
        room.say(id, &[first, then].concat());
        assert_eq!(room.hear(id).last().unwrap(), "over", "{reason:?}");
        assert_eq!(closed(&room, reason), 1, "{reason:?}");
        assert_eq!(room.server.connections().count(), 0);
    }
}

#[test]
fn packets_arrive_in_whatever_pieces() {
    let bytes = [
        login("alice", "secret", "", 1),
        packet(Packet::ClientHeartbeat),
        unsequenced(&enter(1, 'B', 100, 2_000)),
        unsequenced(&query()),
    ]
    .concat();
    for piece in 1..=bytes.len() {
        let mut room = Room::new();
        let id = room.connect();
        for piece in bytes.chunks(piece) {
            room.say(id, piece);
        }
        assert_eq!(room.hear(id), ["login 1", "day S", "accepted 1 B 100 @20.00 0YPL c1", "next 2"]);
    }
}

#[test]
fn a_slow_reader_is_read_no_more_and_then_closed_and_has_lost_nothing() {
    let mut room = Room::new();
    let id = room.alice();
    let mut asked = 0_u64;
    while room.server.wants_input(id) {
        room.say(id, &unsequenced(&query()));
        asked += 1;
    }
    assert!((10_000..200_000).contains(&asked), "a megabyte of answers: {asked}");
    // A byte now and then is enough to stay.
    for _ in 0..20 {
        room.pass(S);
        room.server.sent(id, 1, room.now_ns);
        room.say(id, &packet(Packet::ClientHeartbeat));
    }
    assert_eq!(closed(&room, Closed::Slow), 0);
    room.pass(6 * S);
    assert_eq!(room.hear(id), ["over"]);
    assert_eq!(closed(&room, Closed::Slow), 1);
    let (_, heard) = room.login("alice", "secret", 1);
    assert_eq!(heard.len() as u64, asked + 2);
}

#[test]
fn connections_are_bounded_and_room_is_made_by_closing() {
    let mut room = Room::new();
    let first = room.connect();
    for _ in 1..MAX_CONNECTIONS {
        room.connect();
    }
    assert_eq!(room.server.open(room.now_ns), None);
    room.lose(first);
    assert!(room.server.open(room.now_ns).is_some());
    assert_eq!((closed(&room, Closed::TooMany), closed(&room, Closed::Gone)), (1, 1));
}

#[test]
fn after_the_session_everybody_has_all_messages_and_then_its_end() {
    let mut room = Room::new();
    let (alice, bob) = (room.alice(), room.bob());
    room.ask(alice, &enter(1, 'B', 100, 2_000));
    room.exchange.close(room.now_ns);
    room.desk.tell(&mut room.exchange, room.server.streams());
    room.desk.say_end_of_day(room.now_ns, room.server.streams());
    room.server.end_session();
    // Not before the messages are taken.
    assert_eq!(texts(room.server.output(alice)), ["canceled 1 100 E", "day E"]);
    room.hear(alice);
    room.hear(bob);
    room.pass(50 * MS);
    assert_eq!(room.hear(alice), ["end", "over"]);
    assert_eq!(room.hear(bob), ["end", "over"]);
    let (late, heard) = room.login("alice", "secret", 3);
    assert_eq!(heard, ["login 3", "canceled 1 100 E", "day E"]);
    room.pass(50 * MS);
    assert_eq!(room.hear(late), ["end", "over"]);
    assert_eq!(closed(&room, Closed::EndOfSession), 3);
}

#[test]
fn users_have_names_and_passwords_that_fit_and_are_one_each() {
    for (text, error) in [
        ("alice", UserError::NoColon),
        ("toolong:x", UserError::Name("toolong".to_owned())),
        (":x", UserError::Name(String::new())),
        ("a b:x", UserError::Name("a b".to_owned())),
        ("alice:", UserError::Password("alice".to_owned())),
        ("alice:12345678901", UserError::Password("alice".to_owned())),
    ] {
        assert_eq!(text.parse::<User>().unwrap_err(), error);
    }
    let user: User = "alice:se:cret".parse().unwrap();
    assert_eq!((&user.name[..], &user.password[..], &user.firm), ("alice", "se:cret", b"ALIC"));
    assert!(!format!("{user:?}").contains("cret"), "no log holds a password");
    let twice = [user.clone(), User::new("ALICE", "x").unwrap()];
    let error = venue::order_entry::Server::new([b' '; 10], &twice).err().unwrap();
    assert_eq!(error, UserError::Twice("ALICE".to_owned()));
}
