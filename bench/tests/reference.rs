//! The Python reference of table (j), run as a whole on a private Redis: it makes of a session what ours make, and its orders
//! reach the venue's end.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Test helpers are not seen as tests by clippy.

use bench::python;
use bench::session::{PUBLISHER, Session};
use bench::sink::OrderSink;
use book::{Books, Limits};
use lab::redis_server::RedisServer;
use redis::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};
use tick::{Action, Flags, Side, Tick};

/// More than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the reference; killed when dropped.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(module: &str, redis: &RedisServer, arguments: &[&str]) -> Process {
        let mut command = python::reference_asyncio(module).unwrap();
        command.arg("--redis").arg(redis.socket()).args(arguments);
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "{module}");
        Process { child, output }
    }

    fn finish(mut self) -> serde_json::Value {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A tick of the reference: 48 bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Theirs {
    received: u64,
    sequence: u64,
    order: u64,
    price: i64,
    size: u32,
    instrument: u32,
    action: u8,
    side: u8,
}

fn theirs(bytes: &[u8]) -> Theirs {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    Theirs {
        received: word(0),
        sequence: word(16),
        order: word(24),
        price: word(32).cast_signed(),
        size: u32::from_le_bytes(bytes[40..44].try_into().unwrap()),
        instrument: u32::from(u16::from_le_bytes(bytes[44..46].try_into().unwrap())),
        action: bytes[46],
        side: bytes[47],
    }
}

fn entries(redis: &mut Connection, stream: &str) -> Vec<BTreeMap<String, Vec<u8>>> {
    let reply: redis::Value = redis::cmd("XRANGE").arg(stream).arg("-").arg("+").query(redis).unwrap();
    let named = |(name, value): (&[u8], &[u8])| (String::from_utf8_lossy(name).into_owned(), value.to_vec());
    let records = bus::records_of_range(&reply).unwrap();
    records.into_iter().map(|record| record.fields.unwrap().into_iter().map(named).collect()).collect()
}

fn number(fields: &BTreeMap<String, Vec<u8>>, name: &str) -> u64 {
    std::str::from_utf8(&fields[name]).unwrap().parse().unwrap()
}

/// Asks again until the answer is there.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends the session on both lines.
fn send(session: &Session, ports: [u16; 2]) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for packet in &session.packets {
        for port in ports {
            socket.send_to(&packet.payload, ("127.0.0.1", port)).unwrap();
        }
        // So that neither a socket's queue overflows nor all of it lies within one interval of the features.
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn free_ports() -> [u16; 2] {
    [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).map(|socket| socket.local_addr().unwrap().port())
}

/// What our book has at the end of each event of an instrument: twice the middle, imbalance, and the VWAP so far.
fn quotes(ticks: &[Tick]) -> BTreeMap<(u32, u64), [f64; 3]> {
    let mut books = Books::new(Limits::SMALL);
    let mut traded: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    let mut quotes = BTreeMap::new();
    for tick in ticks {
        let applied = books.apply(tick);
        if let Some(trade) = applied.trade {
            let (value, volume) = traded.entry(tick.instrument_id).or_default();
            *value += trade.price as f64 / 1e9 * f64::from(trade.size);
            *volume += f64::from(trade.size);
        }
        let Some(id) = applied.book.filter(|_| tick.flags.contains(Flags::LAST)) else { continue };
        let book = books.book(id);
        let (Some(bid), Some(ask)) = (book.best(Side::Bid), book.best(Side::Ask)) else { continue };
        let (bids, asks) = (bid.size as f64, ask.size as f64);
        let (value, volume) = traded.get(&tick.instrument_id).copied().unwrap_or_default();
        let of = [value / volume, (bid.price + ask.price) as f64 / 2e9, (bids - asks) / (bids + asks)];
        quotes.insert((tick.instrument_id, tick.sequence), of);
    }
    quotes
}

/// Every add of ours is one of theirs with the same side where ours says it, and sizes that go agree where ours says them.
fn compare_ticks(ours: &[Tick], theirs: &[Theirs]) {
    let adds = |side: u8, ours: Side| match ours {
        Side::Bid => side == b'B',
        Side::Ask => side == b'S',
        _ => true,
    };
    let our_changes: Vec<&Tick> =
        ours.iter().filter(|tick| matches!(tick.action, Action::Add | Action::Cancel)).collect();
    let their_changes: Vec<&Theirs> = theirs.iter().filter(|tick| tick.action != b'P').collect();
    assert_eq!(our_changes.len(), their_changes.len());
    for (our, their) in our_changes.iter().zip(&their_changes) {
        let is_add = our.action == Action::Add;
        assert_eq!(
            (our.sequence, our.order_id, our.instrument_id, is_add),
            (their.sequence, their.order, their.instrument, their.action == b'A')
        );
        assert!(our.size == Tick::SIZE_UNDEFINED || our.size == their.size, "{our:?} {their:?}");
        assert!(!is_add || our.price == their.price * 100_000, "{our:?} {their:?}");
        assert!(!is_add || adds(their.side, our.side), "{our:?} {their:?}");
    }
    let traded = |sizes: Vec<(u64, u32)>| sizes.into_iter().collect::<BTreeSet<_>>();
    let our_trades = ours.iter().filter(|tick| tick.action == Action::Trade);
    let their_trades = theirs.iter().filter(|tick| matches!(tick.action, b'T' | b'P'));
    assert_eq!(
        traded(our_trades.map(|tick| (tick.sequence, tick.size)).collect()),
        traded(their_trades.map(|tick| (tick.sequence, tick.size)).collect())
    );
}

#[test]
fn the_reference_makes_of_a_session_what_ours_make_and_its_orders_reach_the_venue() {
    if python::interpreter().is_none() {
        println!("SKIPPED: the reference needs FEEDPLANE_PYTHON (scripts/setup.sh makes one)");
        return;
    }
    let session = Session::new(6_000).unwrap();
    let ours = session.decode(|packet| packet.first).unwrap();
    let redis = RedisServer::start().unwrap();
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let sink = OrderSink::start().unwrap();
    let ports = free_ports();
    let lines = ports.map(|port| format!("127.0.0.1:{port}"));
    let venue = sink.address().to_string();
    let ingest = Process::start("ingest", &redis, &["--a", &lines[0], "--b", &lines[1]]);
    let features = Process::start("features", &redis, &[]);
    let strategy = Process::start("strategy", &redis, &["--enter-ticks", "0.01", "--pause-ms", "5"]);
    let sender = Process::start("sender", &redis, &["--venue", &venue]);
    send(&session, ports);

    let read = |redis: &mut Connection| -> Vec<Theirs> {
        let entries = entries(redis, bus::names::RAW_MARKET_DATA);
        entries.iter().flat_map(|fields| fields["d"].chunks_exact(48).map(theirs)).collect()
    };
    let last_ours =
        ours.iter().rfind(|tick| matches!(tick.action, Action::Add | Action::Cancel | Action::Trade));
    let last_ours = last_ours.unwrap().sequence;
    let found = until(|| {
        Some(read(&mut connection))
            .filter(|ticks| ticks.last().is_some_and(|tick| tick.sequence >= last_ours))
    });
    compare_ticks(&ours, &found);
    let received: BTreeSet<u64> = found.iter().map(|tick| tick.received).collect();

    // Every record that it published is what our book says there. It may publish in the middle of a replacement, where
    // the book shows what never was in the market: ours does not look there.
    let quotes = quotes(&ours);
    let records = until(|| {
        Some(entries(&mut connection, bus::names::CALCULATED_FEATURES)).filter(|records| records.len() >= 16)
    });
    let mut ticks_of: BTreeMap<u64, u32> = BTreeMap::new();
    found.iter().for_each(|tick| *ticks_of.entry(tick.sequence).or_default() += 1);
    let mut compared = 0;
    for record in &records {
        let values: Vec<f64> =
            record["v"].chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
        let key = (number(record, "i") as u32, number(record, "s"));
        if ticks_of[&key.1] > 1 {
            continue;
        }
        compared += 1;
        let Some(expected) = quotes.get(&key) else { panic!("{key:?} is the end of no event of ours") };
        for (value, expected) in values.iter().zip(expected) {
            let near = (value - expected).abs() <= 1e-9 * expected.abs().max(1.0);
            assert!(near || (value.is_nan() && expected.is_nan()), "{key:?}: {values:?} {expected:?}");
        }
    }

    assert!(compared > 0);

    // Its instructions are of the form that ours have, each because of a tick, and they reach the venue in order.
    until(|| {
        let reports: u64 =
            redis::cmd("XLEN").arg(bus::names::EXECUTION_REPORTS).query(&mut connection).unwrap();
        (reports > 0).then_some(())
    });
    let ended = [ingest.finish(), features.finish(), strategy.finish(), sender.finish()];
    let orders = entries(&mut connection, bus::names::ORDER_INSTRUCTIONS);
    let parsed: Vec<bus::Instruction> = orders
        .iter()
        .map(|fields| {
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
            bus::Instruction::parse(fields).unwrap()
        })
        .collect();
    assert!(parsed.iter().all(|order| received.contains(&order.cause_ns) && order.publisher_id == PUBLISHER));
    let arrived: Vec<String> = sink
        .finish()
        .unwrap()
        .iter()
        .map(|order| String::from_utf8_lossy(&order.cl_ord_id).trim().to_owned())
        .collect();
    let sent: Vec<String> = parsed.iter().map(|order| order.id.to_string()).take(arrived.len()).collect();
    assert!(!arrived.is_empty());
    assert_eq!(arrived, sent);
    assert_eq!((ended[0]["lost"].as_u64(), ended[0]["waiting"].as_u64()), (Some(0), Some(0)), "{ended:?}");
    assert!(ended.iter().skip(1).all(|counted| counted.is_object()), "{ended:?}");
}
