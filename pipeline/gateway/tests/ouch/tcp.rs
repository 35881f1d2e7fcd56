//! The line over TCP against a server that does as it is told.

use crate::support::*;
use bus::config::OuchSection;
use gateway::line::{Event, Line, LineError, Resume};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wire::soupbintcp::{NOT_AUTHORIZED, Packet};

struct Server(TcpListener);

impl Server {
    fn new() -> (Server, OuchSection) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let section = section(&listener.local_addr().unwrap().to_string());
        (Server(listener), section)
    }

    fn accept(&self) -> Peer {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer(stream)
    }

    /// Grants a login that asks for this, and is caught up.
    fn grant(&self, session: &str, number: u64, next_free: u32) -> Peer {
        let mut peer = self.accept();
        assert_eq!(peer.read(), Wrote::Login { session: session.to_owned(), number });
        peer.write(&[granted("DAY1", number), heartbeat()].concat());
        assert_eq!(peer.read(), Wrote::Query);
        peer.write(&free(next_free));
        peer
    }
}

struct Peer(TcpStream);

impl Peer {
    /// The next packet that is not a heartbeat.
    fn read(&mut self) -> Wrote {
        loop {
            let mut length = [0; 2];
            self.0.read_exact(&mut length).unwrap();
            let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
            self.0.read_exact(&mut packet).unwrap();
            match wrote(&[&length[..], &packet].concat()).remove(0) {
                Wrote::Heartbeat => {}
                other => return other,
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn is_closed(&mut self) {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
    }
}

fn fresh() -> Resume {
    Resume { session: String::new(), next_number: 1, next_wire_ref: 1 }
}

#[test]
fn an_order_is_sent_and_answered_and_in_the_drop_copy_before_its_answer() {
    let (server, section) = Server::new();
    let (mut line, heard) = line(&section, fresh());
    let mut peer = server.grant("", 1, 1);
    assert_eq!(heard.caught_up(), []);
    let order = new_order("A", line.assign());
    line.check(&order).unwrap();
    line.send(&order).unwrap();
    assert_eq!(peer.read(), Wrote::Enter(1));
    peer.write(&accepted(1, b'L'));
    let in_order = [heard.wire(), heard.wire()];
    assert_eq!(in_order.map(|(sent, bytes)| (sent, bytes[3])), [(true, b'O'), (false, b'A')]);
    line.stop();
    assert_eq!(peer.read(), Wrote::Logout);
    peer.is_closed();
}

#[test]
fn nothing_is_sent_without_a_login() {
    let (server, section) = Server::new();
    let (mut line, heard) = line(&section, fresh());
    let down = Err(LineError::Down { venue: "sim".to_owned() });
    assert_eq!(line.send(&new_order("A", 1)), down);
    assert_eq!(line.settle(&[new_order("A", 1)]), down);
    let mut peer = server.accept();
    peer.read();
    assert_eq!(line.send(&new_order("A", 1)), down);
    peer.write(&packet(&Packet::LoginRejected(NOT_AUTHORIZED)));
    assert!(heard.down().contains("password"));
    assert_eq!(line.send(&new_order("A", 1)), down);
    peer.is_closed();
    // It tries again.
    server.accept().read();
}

#[test]
fn a_session_that_is_taken_away_as_soon_as_it_is_granted_is_not_fought_for() {
    let (server, section) = Server::new();
    let (mut line, _heard) = line(&section, fresh());
    server.0.set_nonblocking(true).unwrap();
    let until = Instant::now() + Duration::from_secs(1);
    let mut granted_so_often = 0;
    while Instant::now() < until {
        let Ok((stream, _)) = server.0.accept() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Peer(stream);
        peer.read();
        peer.write(&granted("DAY1", 1));
        granted_so_often += 1;
    }
    line.stop();
    // After 10, 20, 40, 80 ms, then every 100; beginning anew at each logon it would be every 10 or 20. A slow machine only
    // makes it less.
    assert!((2..=14).contains(&granted_so_often), "{granted_so_often} times in a second");
}

#[test]
fn messages_in_pieces_are_whole_and_half_a_message_before_the_end_is_asked_for_again() {
    let (server, section) = Server::new();
    let (_line, heard) = line(&section, fresh());
    let mut peer = server.grant("", 1, 1);
    heard.caught_up();
    for byte in accepted(1, b'L') {
        peer.write(&[byte]);
    }
    heard.told();
    let next = executed(1, 10, 5);
    peer.write(&next[..7]);
    std::thread::sleep(Duration::from_millis(30));
    drop(peer);
    assert!(heard.down().contains("closed"));
    let mut peer = server.accept();
    assert_eq!(peer.read(), Wrote::Login { session: "DAY1".to_owned(), number: 3 });
    peer.write(&[granted("DAY1", 3), next].concat());
    heard.up();
    heard.told();
}

#[test]
fn a_connection_that_breaks_while_an_order_leaves_sends_it_once() {
    let (server, section) = Server::new();
    let (mut line, heard) = line(&section, fresh());
    let peer = server.grant("", 1, 1);
    heard.caught_up();
    drop(peer);
    // Whether the line has noticed or not.
    let order = new_order("A", line.assign());
    let sent = line.send(&order);
    let mut peer = server.accept();
    assert_eq!(peer.read(), Wrote::Login { session: "DAY1".to_owned(), number: 2 });
    peer.write(&granted("DAY1", 2));
    assert_eq!(peer.read(), Wrote::Query);
    peer.write(&free(1));
    loop {
        if heard.next() == Event::CaughtUp {
            break;
        }
    }
    line.settle(std::slice::from_ref(&order)).unwrap();
    assert_eq!(peer.read(), Wrote::Query, "not the order again, which was {sent:?}");
    peer.write(&free(1));
    let (_, what) = heard.told();
    assert_eq!(what, gateway::line::What::NeverArrived);
}

#[test]
fn an_order_that_leaves_in_part_ends_its_connection() {
    let (server, section) = Server::new();
    let (mut line, heard) = line(&section, fresh());
    let _peer = server.grant("", 1, 1);
    heard.caught_up();
    // Nobody reads: the kernel's buffers fill, and at some moment take only a part, or nothing.
    let error = loop {
        let order = new_order("A", line.assign());
        if let Err(error) = line.send(&order) {
            break error;
        }
    };
    match &error {
        LineError::Broken(_) => {}
        LineError::Down { .. } => eprintln!("the last order did not fit at all"),
        other => panic!("{other:?}"),
    }
    assert!(heard.down().contains("sending failed"));
    let next = new_order("B", line.assign());
    assert_eq!(line.send(&next), Err(LineError::Down { venue: "sim".to_owned() }));
}

#[test]
fn a_venue_that_falls_silent_is_left_and_logged_into_again() {
    let (server, mut section) = Server::new();
    (section.heartbeat_ms, section.silence_ms) = (100, 300);
    let (_line, heard) = line(&section, fresh());
    let peer = server.grant("", 1, 1);
    heard.caught_up();
    assert!(heard.down().contains("silent for"));
    drop(peer);
    server.grant("DAY1", 2, 1);
    heard.caught_up();
}

#[test]
fn an_unasked_cancel_is_told() {
    let (server, section) = Server::new();
    let (mut line, heard) = line(&section, fresh());
    let mut peer = server.grant("", 1, 1);
    heard.caught_up();
    line.send(&new_order("A", 1)).unwrap();
    peer.write(&[accepted(1, b'L'), cancelled(1, 40), cancelled(1, 60)].concat());
    heard.told();
    for quantity in [40, 60] {
        let (_, what) = heard.told();
        assert!(
            matches!(what, gateway::line::What::Cancelled { quantity: Some(told), .. } if told == quantity),
            "{what:?}"
        );
    }
}

#[test]
fn a_session_that_is_behind_holds_the_line_back_and_loses_nothing() {
    let (server, section) = Server::new();
    let (_line, heard) = line(&section, fresh());
    let mut peer = server.grant("", 1, 1);
    heard.caught_up();
    heard.full.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(50));
    peer.write(&(1..=500).flat_map(|number| executed(1, 1, number)).collect::<Vec<u8>>());
    std::thread::sleep(Duration::from_millis(50));
    heard.full.store(false, Ordering::SeqCst);
    for number in 1..=500_u64 {
        let (_, what) = heard.told();
        let execution = number.to_string();
        assert!(matches!(what, gateway::line::What::Filled { execution: told, .. } if told == execution));
    }
}

#[test]
fn a_line_stops_while_it_waits_for_a_venue_that_is_not_there() {
    let (server, section) = Server::new();
    drop(server);
    let (mut line, heard) = line(&section, fresh());
    assert!(heard.down().contains("cannot connect"));
    line.stop();
    line.stop();
}
