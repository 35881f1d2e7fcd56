//! Whatever bytes come: the server's own stay whole packets, nothing is executed twice, and the ledgers add up.

use crate::support::{
    Room, cancel, enter, login, mass_cancel, modify, query, replace, texts, unsequenced, users,
};
use venue::exchange::{EngineConfig, Exchange, ExchangeSpec, FlowSpec, Owner, SessionId, Side, SymbolId};
use venue::order_entry::{Desk, User};
use wire::ouch50::Appendage;

#[test]
fn no_bytes_break_the_server() {
    bolero::check!().with_type::<(bool, Vec<Vec<u8>>)>().for_each(|(logged_in, pieces)| {
        let mut room = Room::new();
        let id = if *logged_in { room.alice() } else { room.connect() };
        for piece in pieces {
            room.say(id, piece);
            room.hear(id);
        }
    });
}

#[test]
fn no_message_of_a_user_breaks_the_desk() {
    bolero::check!().with_type::<Vec<Vec<u8>>>().for_each(|messages| {
        let mut room = Room::new();
        let id = room.alice();
        for (message, letter) in messages.iter().zip(b"OUXMCDEQ".iter().cycle()) {
            let mut message: Vec<u8> = message.iter().copied().take(900).collect();
            if let Some(first) = message.first_mut() {
                *first = *letter;
            }
            room.ask(id, &message);
        }
    });
}

/// One of a user's messages, out of four bytes.
fn some_message([what, number, shares, cents]: [u8; 4]) -> Vec<u8> {
    let (number, shares, cents) = (u32::from(number % 32), u32::from(shares), 1_000 + u64::from(cents % 4));
    match what % 8 {
        0 | 1 => enter(number, 'B', shares, cents),
        2 | 3 => enter(number, 'S', shares, cents),
        4 => replace(number / 2, number, shares, cents),
        5 => cancel(number, shares / 2),
        6 => modify(number, if what < 128 { 'S' } else { 'T' }, shares / 2),
        _ if shares == 7 => mass_cancel(number, b"ALIC", b"        ", Appendage::ABSENT),
        _ => query(),
    }
}

#[test]
fn whatever_two_users_do_the_desk_and_the_engine_agree() {
    bolero::check!().with_type::<Vec<(bool, [u8; 4])>>().for_each(|acts| {
        let mut room = Room::new();
        let ids = [room.alice(), room.bob()];
        let mut accepted = [0_u32; 2];
        for (who, act) in acts {
            let who = usize::from(*who);
            for heard in room.ask(ids[who], &some_message(*act)) {
                let words: Vec<&str> = heard.split(' ').collect();
                if let ["accepted", number, ..] = words[..] {
                    let number: u32 = number.parse().unwrap();
                    assert!(number > accepted[who], "a number enters one order");
                    accepted[who] = number;
                }
            }
        }
        let [alice, bob] = [0, 1].map(|user| &room.ledger(user).total);
        // They may have traded with themselves; all shares bought are sold.
        assert_eq!(alice.position + bob.position, 0);
        assert_eq!(alice.cash + bob.cash, 0);
        for user in 0..2_u16 {
            let owner = Owner::Session(SessionId(user.into()));
            let engine = room.exchange.engine();
            let resting = Side::BOTH
                .into_iter()
                .flat_map(|side| engine.orders(SymbolId(0), side))
                .filter(|order| order.owner == owner);
            assert_eq!(resting.count(), room.desk.open_orders(venue::order_entry::UserId(user)));
        }
    });
}

/// A day with background orders at times that are arguments; all that was said.
fn day(seed: u64) -> (Vec<String>, Vec<String>, String) {
    let users: Vec<User> = users();
    let spec = ExchangeSpec {
        flow: Some(FlowSpec { speed: 20.0, ..FlowSpec::default() }),
        ..ExchangeSpec::new(2, seed)
    };
    let mut room = Room::with(&users, EngineConfig::default());
    (room.exchange, room.now_ns) = (Exchange::new(&spec).unwrap(), 0);
    room.desk = Desk::new(&users, 0);
    let ids = [room.alice(), room.bob()];
    let mut random = crate::support::Random(seed);
    for number in 1..=300_u32 {
        room.pass(random.below(20_000_000));
        let side = if random.below(2) == 0 { 'B' } else { 'S' };
        room.say(
            ids[random.below(2) as usize],
            &unsequenced(&enter(number, side, 100, 1_990 + random.below(20))),
        );
    }
    let mut feed = venue::books::Digest::default();
    let mut packet = venue::session::Packet::default();
    while room.exchange.take_packet(&mut packet) {
        feed.add(&packet.payload);
    }
    (texts_of(&mut room, ids[0]), texts_of(&mut room, ids[1]), feed.hex())
}

fn texts_of(room: &mut Room, id: venue::order_entry::ConnectionId) -> Vec<String> {
    texts(room.server.output(id))
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let (first, second) = (day(3), day(3));
    assert!(first.0.len() > 100 && first.0.iter().any(|heard| heard.starts_with("executed")));
    assert_eq!(first, second);
    assert_ne!(first.2, day(4).2);
}

#[test]
fn a_login_among_other_bytes_is_found_only_where_a_packet_begins() {
    let mut room = Room::new();
    let id = room.connect();
    let mut bytes = vec![0, 60, b'+'];
    bytes.extend(login("alice", "secret", "", 0));
    bytes.resize(62, b' ');
    room.say(id, &bytes);
    assert!(room.hear(id).is_empty(), "it was text for people");
    room.say(id, &login("alice", "secret", "", 0));
    assert_eq!(room.hear(id), ["login 2"]);
}
