//! A venue that runs: orders over TCP, executions on both lines of the feed, and a report in which all of it adds up.

use crate::support::{
    Random, SESSION, cancel, enter, login, packet, query, replace, text, unsequenced, users,
};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use venue::books::{Books, Digest};
use venue::exchange::{ExchangeSpec, FlowSpec, Price, Side};
use venue::live::{Live, LiveSpec};
use venue::live_report::LiveReport;
use venue::order_entry::{Closed, User};
use venue::send::UdpOutlet;
use wire::itch50::{Message, alpha};
use wire::moldudp64::{Kind, Packet as MoldPacket};
use wire::soupbintcp::{Frame, Framer, Packet, Sender};

const PATIENCE: Duration = Duration::from_secs(20);

/// A venue in a thread of its own, and a reader of its feed.
struct Venue {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    runs: JoinHandle<LiveReport>,
    reports: Arc<Mutex<Vec<LiveReport>>>,
    lines: [JoinHandle<Feed>; 2],
}

/// Orders by reference: side, price, open shares, and the number of the message that put them in their place.
type FeedBook = HashMap<u64, (Side, Price, u32, u64)>;

/// What a line carried, or both together, by sequence number.
#[derive(Default)]
struct Feed {
    messages: BTreeMap<u64, Vec<u8>>,
    packets: u64,
}

impl Venue {
    fn start(change: impl FnOnce(&mut LiveSpec)) -> Venue {
        let lines = [Ipv4Addr::new(239, 77, 1, 9), Ipv4Addr::new(239, 77, 2, 9)].map(receiver);
        let mut exchange =
            ExchangeSpec { flow: None, feed_session: alpha(SESSION), ..ExchangeSpec::new(2, 1) };
        exchange.destinations = [0, 1].map(|line| Some(lines[line].1));
        let listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let mut spec = LiveSpec { exchange, impairments: Default::default(), listen, users: users() };
        change(&mut spec);
        let stop = Arc::new(AtomicBool::new(false));
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (tell, address) = channel();
        let runs = std::thread::spawn({
            let (stop, reports) = (Arc::clone(&stop), Arc::clone(&reports));
            move || {
                let outlet = UdpOutlet::new([Ipv4Addr::LOCALHOST; 2], 0).unwrap();
                let mut live = Live::new(&spec, None, outlet).unwrap();
                tell.send(live.address()).unwrap();
                live.run(&stop, |report| reports.lock().unwrap().push(report)).unwrap()
            }
        });
        let lines = lines.map(|(socket, _)| std::thread::spawn(move || read_line(&socket)));
        Venue { address: address.recv().unwrap(), stop, runs, reports, lines }
    }

    fn client(&self, name: &str, password: &str, next: u64) -> Client {
        let mut client = Client::connect(self.address);
        client.write(&login(name, password, "", next));
        client
    }

    /// A user that is logged in and has heard "login".
    fn user(&self, name: &str, password: &str) -> Client {
        let mut client = self.client(name, password, 0);
        assert!(client.hear(1)[0].starts_with("login"));
        client
    }

    fn finish(self) -> (LiveReport, Feed, Vec<LiveReport>) {
        self.stop.store(true, Ordering::Relaxed);
        let report = self.runs.join().unwrap();
        let [mut feed, b] = self.lines.map(|line| line.join().unwrap());
        feed.packets += b.packets;
        for (sequence, message) in b.messages {
            let kept = feed.messages.entry(sequence).or_insert_with(|| message.clone());
            assert_eq!(*kept, message, "both lines say the same");
        }
        let reports = std::mem::take(&mut *self.reports.lock().unwrap());
        (report, feed, reports)
    }
}

fn receiver(group: Ipv4Addr) -> (UdpSocket, SocketAddrV4) {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    // Beyond the system's limit where this process may; else what the limit gives.
    let _ = socket.set_recv_buffer_size(8 << 20);
    let _ = set_socket_recv_buffer_size_force(&socket, 8 << 20);
    let socket = UdpSocket::from(socket);
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, SocketAddrV4::new(group, port))
}

/// Reads until the line says that the session is over.
fn read_line(line: &UdpSocket) -> Feed {
    let mut feed = Feed::default();
    let begun = Instant::now();
    let mut buffer = vec![0; 2_048];
    while begun.elapsed() < 4 * PATIENCE {
        let Ok(bytes) = line.recv(&mut buffer) else { continue };
        let packet = MoldPacket::parse(&buffer[..bytes]).unwrap();
        assert_eq!(packet.session(), alpha(SESSION));
        feed.packets += 1;
        if packet.kind() == Kind::EndOfSession {
            break;
        }
        for (sequence, message) in (packet.sequence()..).zip(packet.messages()) {
            feed.messages.insert(sequence, message.to_vec());
        }
    }
    feed
}

impl Feed {
    /// Digests of orders, by stock locate code, of the book that the feed's messages make up to a number.
    fn digests(&self, until: u64) -> BTreeMap<u16, String> {
        let mut books: BTreeMap<u16, FeedBook> = BTreeMap::new();
        for (expected, (&sequence, message)) in (1..).zip(self.messages.range(..=until)) {
            assert_eq!(sequence, expected, "the lines together miss nothing");
            let message = Message::parse(message).unwrap();
            let book = books.entry(message.head().stock_locate.get()).or_default();
            let mut take = |reference: u64, shares: u32| {
                let order = book.get_mut(&reference).unwrap();
                order.2 -= shares;
                if order.2 == 0 {
                    book.remove(&reference);
                }
            };
            match message {
                Message::AddOrder(add) => {
                    let side = if add.side == b'B' { Side::Buy } else { Side::Sell };
                    let order = (side, Price(add.price.units()), add.shares.get(), sequence);
                    book.insert(add.order_reference.get(), order);
                }
                Message::OrderExecuted(e) => take(e.order_reference.get(), e.executed_shares.get()),
                Message::OrderExecutedWithPrice(e) => take(e.order_reference.get(), e.executed_shares.get()),
                Message::OrderCancel(c) => take(c.order_reference.get(), c.cancelled_shares.get()),
                Message::OrderDelete(d) => drop(book.remove(&d.order_reference.get()).unwrap()),
                Message::OrderReplace(r) => {
                    let (side, ..) = book.remove(&r.original_reference.get()).unwrap();
                    let order = (side, Price(r.price.units()), r.shares.get(), sequence);
                    book.insert(r.new_reference.get(), order);
                }
                _ => {}
            }
        }
        books.iter().map(|(&locate, book)| (locate, digest(book))).collect()
    }

    fn agrees_with(&self, books: &Books) {
        let digests = self.digests(books.sequence);
        for book in &books.symbols {
            assert_eq!(digests[&book.locate], book.digest, "{} at {}", book.symbol, books.sequence);
        }
    }
}

fn digest(book: &FeedBook) -> String {
    let mut digest = Digest::default();
    for side in Side::BOTH {
        let mut orders: Vec<_> = book.iter().filter(|(_, order)| order.0 == side).collect();
        orders.sort_by_key(|(_, (_, price, _, arrival))| match side {
            Side::Buy => (u32::MAX - price.0, *arrival),
            Side::Sell => (price.0, *arrival),
        });
        for (&reference, &(side, price, open, _)) in orders {
            digest.add_order(side, reference, open, price);
        }
    }
    digest.hex()
}

/// A client on TCP.
struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    framer: Framer,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, bytes: Vec::new(), framer: Framer::new(Sender::Server, u16::MAX) }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn say(&mut self, message: &[u8]) {
        self.write(&unsequenced(message));
    }

    /// The next packet that is no heartbeat, as text; `None` when the server closed.
    fn next(&mut self) -> Option<String> {
        loop {
            let mut rest = &self.bytes[..];
            if let Frame::Packet(packet) = self.framer.next(&mut rest).unwrap() {
                let heard = (packet != Packet::ServerHeartbeat).then(|| text(&packet));
                let left = rest.len();
                self.bytes.drain(..self.bytes.len() - left);
                match heard {
                    Some(heard) => return Some(heard),
                    None => continue,
                }
            }
            let mut buffer = [0; 4_096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(bytes) => self.bytes.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing heard: {error}"),
            }
        }
    }

    fn hear(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next().unwrap()).collect()
    }

    /// All until the server closes.
    fn hear_out(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn ask(&mut self, message: &[u8], answers: usize) -> Vec<String> {
        self.say(message);
        self.hear(answers)
    }
}

fn position(report: &LiveReport, user: usize) -> (i64, i128) {
    (report.users[user].total.position, report.users[user].total.cash)
}

#[test]
fn an_order_is_on_the_feed_answered_and_in_the_report() {
    let venue = Venue::start(|_| {});
    let (mut alice, mut bob) = (venue.user("alice", "secret"), venue.user("bob", "hidden"));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(alice.ask(&enter(1, 'B', 100, 2_000), 1), ["accepted 1 B 100 @20.00 0YPL c1"]);
    bob.ask(&enter(1, 'S', 40, 2_000), 2);
    assert_eq!(alice.hear(1), ["executed 1 40 @20.00 A"]);
    let waiting = std::thread::spawn(move || (alice.hear_out(), bob.hear_out()));
    let (report, feed, _) = venue.finish();
    let (alice, bob) = waiting.join().unwrap();
    assert_eq!(alice, ["canceled 1 60 E", "day E", "end"]);
    assert_eq!(bob, ["day E", "end"]);
    assert_eq!(position(&report, 0), (40, -40 * 200_000));
    assert_eq!(position(&report, 1), (-40, 40 * 200_000));
    let book = &report.books.symbols[0];
    assert_eq!((book.symbol.as_str(), book.state, book.orders), ("S1", "open", 1));
    assert_eq!((book.bids[0].price, book.bids[0].shares, book.bids[0].orders), (Price(200_000), 60, 1));
    feed.agrees_with(&report.books);
    assert!(report.over && report.feed.interrupted);
    let channel = &report.feed.channels[0];
    assert_eq!(channel.last_sequence, *feed.messages.keys().last().unwrap());
    assert_eq!(channel.messages, feed.messages.len() as u64);
    let sent = [&channel.lines.a, &channel.lines.b].map(|line| line.as_ref().unwrap().sent);
    // The reader leaves at the first of three packets that end a line.
    assert_eq!(sent[0] + sent[1] - 4, feed.packets);
    assert_eq!(report.order_entry.closed[&Closed::EndOfSession], 2);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["users"][0]["total"]["cash"], "-800.0000");
    assert_eq!(json["users"][0]["symbols"]["S1"]["position"], 40);
    assert_eq!(json["books"]["symbols"][0]["bids"][0]["price"], "20.0000");
}

#[test]
fn what_crosses_the_close_is_answered_before_the_session_ends() {
    let venue = Venue::start(|_| {});
    let mut alice = venue.user("alice", "secret");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(alice.ask(&enter(1, 'B', 100, 2_000), 1), ["accepted 1 B 100 @20.00 0YPL c1"]);
    venue.stop.store(true, Ordering::Relaxed);
    assert_eq!(alice.hear(2), ["canceled 1 100 E", "day E"]);
    // A replacement of what is gone is passed over in silence: the account query tells what its sender is to think of it.
    alice.say(&replace(1, 2, 50, 2_000));
    assert_eq!(alice.ask(&query(), 1), ["next 2"]);
    assert_eq!(alice.ask(&enter(3, 'B', 100, 2_000), 1), ["rejected 3 destination closed"]);
    assert_eq!(alice.hear_out(), ["end"]);
    venue.finish();
}

#[test]
fn who_still_speaks_at_the_close_and_listens_late_hears_all_to_the_end() {
    let venue = Venue::start(|_| {});
    let mut alice = venue.user("alice", "secret");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(alice.ask(&enter(1, 'B', 100, 2_000), 1), ["accepted 1 B 100 @20.00 0YPL c1"]);
    let mut speaker = alice.stream.try_clone().unwrap();
    let speaks = std::thread::spawn(move || {
        let heartbeat = packet(Packet::ClientHeartbeat);
        while speaker.write_all(&heartbeat).is_ok() {
            std::thread::sleep(Duration::from_micros(100));
        }
    });
    venue.stop.store(true, Ordering::Relaxed);
    // Two seconds after the close the session ends; she listens when that is past.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(alice.hear_out(), ["canceled 1 100 E", "day E", "end"]);
    assert!(!speaks.is_finished(), "the connection was reset under her");
    // She leaves, and so ends the thread, too.
    alice.stream.shutdown(std::net::Shutdown::Both).unwrap();
    speaks.join().unwrap();
    assert_eq!(venue.finish().0.order_entry.closed[&Closed::EndOfSession], 1);
}

#[test]
fn the_books_of_who_reads_the_feed_are_the_engines_with_background_orders_and_a_lossy_line() {
    let venue = Venue::start(|spec| {
        let flow = FlowSpec::default().with_events_per_s(5_000.0, spec.exchange.activity());
        spec.exchange.flow = Some(flow);
        spec.exchange.duration_ns = Some(2_500_000_000);
        spec.impairments =
            ["loss=0.2,duplicate=0.1", "skew=3ms,jitter=100us"].map(|text| text.parse().unwrap());
    });
    let mut alice = venue.user("alice", "secret");
    let mut random = Random(7);
    for number in 1..=200 {
        let side = if random.below(2) == 0 { 'B' } else { 'S' };
        alice.say(&enter(number, side, 1 + random.below(500) as u32, 1_990 + random.below(20)));
        std::thread::sleep(Duration::from_millis(5));
    }
    let heard = alice.hear_out();
    let (report, feed, reports) = venue.finish();
    assert_eq!(heard.last().unwrap(), "end");
    assert!(report.feed.messages > 5_000 && !report.feed.interrupted);
    assert!(reports.len() >= 2);
    for report in reports.iter().chain([&report]) {
        feed.agrees_with(&report.books);
    }
    let lines = &report.feed.channels[0].lines;
    assert!(lines.a.as_ref().unwrap().withheld.loss > 0);
    assert!(report.feed.channels[0].must_be_declared.is_empty());
    let (bought, sold, paid) = executions(&heard, &BTreeMap::new());
    assert!(bought + sold > 0, "the background traded with alice");
    let total = &report.users[0].total;
    assert_eq!(total.orders.shares_bought + total.orders.shares_sold, bought + sold);
    assert_eq!(total.position, total.orders.shares_bought as i64 - total.orders.shares_sold as i64);
    assert!(paid > 0);
}

/// Shares executed as a buyer and a seller, and units of 0.0001 paid and received in all, by what a user heard. Orders
/// have the side that they were accepted with, or that of the order that they replaced.
fn executions(heard: &[String], known: &BTreeMap<u32, bool>) -> (u64, u64, u64) {
    let (mut buys, mut sums) = (known.clone(), (0, 0, 0));
    for line in heard {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["accepted", number, side, ..] => {
                buys.insert(number.parse().unwrap(), side == "B");
            }
            ["replaced", numbers, side, ..] => {
                let (_, new) = numbers.split_once('>').unwrap();
                buys.insert(new.parse().unwrap(), side == "B");
            }
            ["executed", number, shares, price, _] => {
                let shares: u64 = shares.parse().unwrap();
                let cents: u64 = price[1..].replace('.', "").parse().unwrap();
                let number: u32 = number.parse().unwrap();
                if buys[&number] {
                    sums.0 += shares;
                } else {
                    sums.1 += shares;
                }
                sums.2 += shares * cents * 100;
            }
            _ => {}
        }
    }
    sums
}

#[test]
fn fills_race_with_replacements_and_cancels_and_every_share_is_somewhere() {
    let venue = Venue::start(|_| {});
    std::thread::sleep(Duration::from_millis(50));
    let address = venue.address;
    let racer = |name: &'static str, password: &'static str, side: char, seed: u64| {
        std::thread::spawn(move || {
            let mut client = Client::connect(address);
            client.write(&login(name, password, "", 1));
            let (mut random, mut number, mut last) = (Random(seed), 0, 0);
            for _ in 0..2_000 {
                let (shares, cents) = (1 + random.below(200) as u32, 1_999 + random.below(3));
                match random.below(4) {
                    0 if last > 0 => {
                        number += 1;
                        client.say(&replace(last, number, shares + 100, cents));
                        last = number;
                    }
                    1 if last > 0 => client.say(&cancel(last, shares / 2)),
                    _ => {
                        number += 1;
                        last = number;
                        client.say(&enter(number, side, shares, cents));
                    }
                }
            }
            // An answer to this is an answer to all.
            client.say(&query());
            client
        })
    };
    let [alice, bob] = [racer("alice", "secret", 'B', 1), racer("bob", "hidden", 'S', 2)];
    let (mut alice, mut bob) = (alice.join().unwrap(), bob.join().unwrap());
    let hear = |client: &mut Client| {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last: &String| !last.starts_with("next")) {
            heard.extend(client.next());
        }
        heard
    };
    let mut heard = [hear(&mut alice), hear(&mut bob)];
    let waiting = std::thread::spawn(move || [alice.hear_out(), bob.hear_out()]);
    let (report, feed, _) = venue.finish();
    for (heard, rest) in heard.iter_mut().zip(waiting.join().unwrap()) {
        heard.extend(rest);
    }
    feed.agrees_with(&report.books);
    for (user, heard) in heard.iter().enumerate() {
        every_order_adds_up(heard);
        let (bought, sold, value) = executions(heard, &BTreeMap::new());
        let total = &report.users[user].total;
        assert_eq!((total.orders.shares_bought, total.orders.shares_sold), (bought, sold));
        assert_eq!(total.cash.unsigned_abs(), u128::from(value));
        assert_eq!(report.users[user].user_ref_nums_repeated, 0);
        assert_eq!(report.users[user].cl_ord_ids_repeated, 0);
        assert_eq!(report.users[user].open_orders, 0);
    }
    let [alice, bob] = [position(&report, 0), position(&report, 1)];
    assert!(alice.0 > 0, "they traded");
    assert_eq!((alice.0 + bob.0, alice.1 + bob.1), (0, 0));
}

/// Of each order, what was open is executed, cancelled or taken over by its replacement; nothing comes after its end.
fn every_order_adds_up(heard: &[String]) {
    let mut open: BTreeMap<u32, i64> = BTreeMap::new();
    for line in heard {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["accepted", number, _, shares, ..] => {
                assert!(open.insert(number.parse().unwrap(), shares.parse().unwrap()).is_none(), "{line}");
            }
            ["replaced", numbers, _, shares, _] => {
                let (old, new) = numbers.split_once('>').unwrap();
                assert!(open.remove(&old.parse().unwrap()).unwrap() > 0, "{line}");
                assert!(open.insert(new.parse().unwrap(), shares.parse().unwrap()).is_none(), "{line}");
            }
            ["executed" | "canceled", number, shares, ..] => {
                let number = number.parse().unwrap();
                let left = open.get_mut(&number).unwrap();
                *left -= shares.parse::<i64>().unwrap();
                assert!(*left >= 0, "{line}");
                if *left == 0 {
                    open.remove(&number);
                }
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "the close cancelled what was left");
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let venue = Venue::start(|_| {});
    let mut all = Vec::new();
    for number in 1..=50 {
        let mut alice = venue.client("alice", "secret", all.len() as u64 + 1);
        assert_eq!(alice.hear(1), [format!("login {}", all.len() + 1)]);
        if all.is_empty() {
            all.extend(alice.hear(1));
        }
        all.extend(alice.ask(&enter(number, 'B', 10, 1_000 + u64::from(number)), 1));
        // Half a message is no message.
        let next = unsequenced(&enter(number + 1, 'B', 1_000, 1));
        alice.write(&next[..next.len() / 2]);
    }
    let mut alice = venue.client("alice", "secret", 1);
    assert_eq!(alice.hear(52)[1..], all);
    let (report, ..) = venue.finish();
    assert_eq!(report.users[0].session.logins, 51);
    assert_eq!(report.users[0].total.orders.entered, 50);
}

#[test]
fn the_exchanges_clock_goes_on_when_nothing_happens() {
    let venue = Venue::start(|_| {});
    let mut alice = venue.user("alice", "secret");
    std::thread::sleep(Duration::from_millis(700));
    alice.ask(&query(), 1);
    let (report, ..) = venue.finish();
    assert!(
        report.books.at_ns >= 700_000_000,
        "the question was read after that time: {}",
        report.books.at_ns
    );
}

#[test]
fn two_logins_of_one_user_leave_the_newer_one() {
    let venue = Venue::start(|_| {});
    let mut old = venue.user("alice", "secret");
    let mut new = venue.user("alice", "secret");
    assert_eq!(old.next(), None);
    assert_eq!(new.ask(&query(), 1), ["next 1"]);
    let mut wrong = venue.client("alice", "wrong", 0);
    assert_eq!(wrong.hear_out(), ["no login A"]);
    new.write(&packet(Packet::LogoutRequest));
    assert_eq!(new.next(), None);
    venue.finish();
}

#[test]
fn orders_go_with_the_connection_of_who_wants_it() {
    let venue = Venue::start(|spec| {
        spec.users =
            vec![User { cancel_on_disconnect: true, ..spec.users[0].clone() }, spec.users[1].clone()];
    });
    let mut alice = venue.user("alice", "secret");
    alice.ask(&enter(1, 'B', 100, 2_000), 1);
    drop(alice);
    let mut alice = venue.client("alice", "secret", 3);
    assert_eq!(alice.hear(2), ["login 3", "canceled 1 100 Z"]);
    venue.finish();
}

#[test]
fn hostile_clients_are_closed_and_the_others_do_not_notice() {
    let venue = Venue::start(|_| {});
    let address = venue.address;
    let mut good = venue.user("bob", "hidden");
    // Garbage, and a packet that never ends.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 4_096], &[0, 1, b'?'], &[4, 0, b'L']] {
        let mut client = Client::connect(address);
        client.write(bytes);
        assert!(bytes == [4, 0, b'L'] || client.next().is_none());
    }
    // A flood from somebody who never reads: it is read no more, and closed.
    let (logged_in, floods) = channel();
    let flood = std::thread::spawn(move || {
        let mut client = Client::connect(address);
        client.write(&login("alice", "secret", "", 0));
        client.hear(1);
        logged_in.send(()).unwrap();
        client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let question = unsequenced(&query()).repeat(1_000);
        let mut written = 0_u64;
        while client.stream.write_all(&question).is_ok() {
            written += 1_000;
            assert!(written < 50_000_000, "it is not read without end");
        }
        written
    });
    floods.recv().unwrap();
    // Connections without end: each beyond the limit is closed at once, and no login is kept out for good.
    let crowd: Vec<TcpStream> = (0..400).filter_map(|_| TcpStream::connect(address).ok()).collect();
    for number in 1..=100 {
        assert_eq!(good.ask(&enter(number, 'B', 1, 1_000), 1).len(), 1);
    }
    drop(crowd);
    assert!(flood.join().unwrap() > 0);
    assert_eq!(good.ask(&query(), 1), ["next 101"]);
    let mut alice = venue.client("alice", "secret", 0);
    assert!(alice.hear(1)[0].starts_with("login"));
    let (report, ..) = venue.finish();
    let closed = |reason| report.order_entry.closed.get(&reason).copied().unwrap_or(0);
    assert_eq!(closed(Closed::Slow), 1);
    assert_eq!((closed(Closed::TooLong), closed(Closed::Garbage)), (2, 1));
    assert!(closed(Closed::TooMany) > 0);
    assert_eq!(report.users[1].total.orders.accepted, 100);
}
