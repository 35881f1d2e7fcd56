//! A venue's side of the wire by hand, written apart from the line's own encoding, and a session with its clock.

use bus::{OrderAction, OrderId, OrderSide, TimeInForce};
use gateway::connection::{Io, Now, Over, Talk};
use gateway::fix::{Numbers, Session, Settings};
use gateway::line::{Event, Outgoing, Target, Told};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tick::Price;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// 2026-09-21 14:13:20 UTC.
pub(crate) const EPOCH_NS: u64 = 1_790_000_000 * SECOND_NS;
pub(crate) const TIME: &str = "20260921-14:13:20";

/// A message with `|` for the delimiter: `fields` begins behind BodyLength (9).
pub(crate) fn raw(fields: &str) -> Vec<u8> {
    let body = fields.replace('|', "\x01");
    let head = format!("8=FIX.4.4\x019={}\x01", body.len());
    let sum: u32 = head.bytes().chain(body.bytes()).map(u32::from).sum();
    format!("{head}{body}10={:03}\x01", sum % 256).into_bytes()
}

/// A message of the venue.
pub(crate) fn from_venue(kind: &str, number: u64, body: &str) -> Vec<u8> {
    raw(&format!("35={kind}|34={number}|49=VENUE|56=FEEDPLANE|52={TIME}|{body}"))
}

/// As [`from_venue`], sent again.
pub(crate) fn again(kind: &str, number: u64, body: &str) -> Vec<u8> {
    from_venue(kind, number, &format!("43=Y|122={TIME}|{body}"))
}

/// A message's fields with `|` for the delimiter, without its head and checksum.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace('\x01', "|");
    let from = text.find("35=").unwrap_or(0);
    let to = text.rfind("10=").unwrap_or(text.len());
    let fields = text[from..to].split('|').filter(|field| {
        !["49=", "56=", "52=", "60=", "122="].iter().any(|head| field.starts_with(head)) && !field.is_empty()
    });
    fields.collect::<Vec<_>>().join("|")
}

pub(crate) fn settings() -> Settings {
    Settings {
        venue: "sim".into(),
        sender: "FEEDPLANE".into(),
        target: "VENUE".into(),
        heartbeat: Duration::from_secs(10),
        logon: Duration::from_secs(5),
        user: None,
        password: None,
        account: None,
        reset_on_new_day: false,
    }
}

/// A session, what it sent and told, and the time.
pub(crate) struct Desk {
    pub(crate) session: Session,
    pub(crate) now: Now,
    pub(crate) sent: Vec<String>,
    pub(crate) told: Vec<Event>,
    pub(crate) folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk::with(settings(), 1)
    }

    pub(crate) fn with(settings: Settings, expected: u64) -> Desk {
        // In memory where there is such a folder: thousands of sessions, each synced.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let numbers = Numbers::open(folder.path()).unwrap();
        Desk {
            session: Session::new(settings, numbers, expected),
            now: Now { monotonic_ns: 0, epoch_ns: EPOCH_NS },
            sent: Vec::new(),
            told: Vec::new(),
            folder,
        }
    }

    /// Logged on and caught up: the venue's next number is 3, ours too.
    pub(crate) fn up() -> Desk {
        Desk::up_with(settings())
    }

    pub(crate) fn up_with(settings: Settings) -> Desk {
        let mut desk = Desk::with(settings, 1);
        desk.connect().unwrap();
        desk.take(&from_venue("A", 1, "98=0|108=10|")).unwrap();
        desk.take(&from_venue("0", 2, "112=T2|")).unwrap();
        assert_eq!(desk.sent.last().map(String::as_str), Some("35=1|34=2|112=T2"));
        assert!(desk.told.contains(&Event::CaughtUp));
        desk.forget();
        desk
    }

    pub(crate) fn forget(&mut self) {
        self.sent.clear();
        self.told.clear();
    }

    fn keep(&mut self, io: Io) {
        let mut rest = &io.out[..];
        while !rest.is_empty() {
            let end = rest.windows(4).position(|window| window == b"\x0110=").unwrap() + 8;
            self.sent.push(shown(&rest[..end]));
            rest = &rest[end..];
        }
        self.told.extend(io.events.into_iter().filter(|event| !matches!(event, Event::Wire { .. })));
    }

    pub(crate) fn connect(&mut self) -> Result<(), Over> {
        let mut io = Io::default();
        let outcome = self.session.connected(self.now, &mut io);
        self.keep(io);
        outcome
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let mut io = Io::default();
        let outcome = self.session.received(self.now, bytes, &mut io);
        self.keep(io);
        outcome
    }

    pub(crate) fn pass(&mut self, seconds: u64) -> Result<(), Over> {
        self.now.monotonic_ns += seconds * SECOND_NS;
        self.now.epoch_ns += seconds * SECOND_NS;
        let mut io = Io::default();
        let outcome = self.session.tick(self.now, &mut io);
        self.keep(io);
        outcome
    }

    /// Sends an order, as the line does.
    pub(crate) fn order(&mut self, outgoing: &Outgoing) -> String {
        let ready = self.session.ready(self.now, outgoing).unwrap();
        let mut io = Io::default();
        self.session.sent(self.now, &ready, ready.as_ref().len(), &mut io);
        shown(ready.as_ref())
    }

    pub(crate) fn settle(&mut self, in_doubt: &[Outgoing]) {
        let mut io = Io::default();
        self.session.settle(self.now, in_doubt, &mut io).unwrap();
        self.keep(io);
    }

    /// What was told about orders since the last call.
    pub(crate) fn orders(&mut self) -> Vec<Told> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter_map(|event| if let Event::Told(told) = event { Some(told) } else { None }).collect()
    }

    /// What was passed over since the last call.
    pub(crate) fn refused(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter_map(|event| if let Event::Refused { what } = event { Some(what) } else { None }).collect()
    }
}

pub(crate) fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

pub(crate) fn new(name: &str, symbol: &str, quantity: u64) -> Outgoing {
    Outgoing {
        id: id(name),
        wire_ref: 0,
        action: OrderAction::New {
            side: OrderSide::Buy,
            quantity,
            price: Some(Price(10_250_000_000)),
            time_in_force: TimeInForce::Day,
        },
        symbol: symbol.into(),
        target: None,
    }
}

pub(crate) fn target(of: &Outgoing) -> Target {
    let OrderAction::New { side, quantity, price, time_in_force } = of.action else { unreachable!() };
    Target { id: of.id, wire_ref: 0, venue_order: String::new(), side, quantity, price, time_in_force }
}

pub(crate) fn cancel(name: &str, of: &Outgoing) -> Outgoing {
    Outgoing {
        id: id(name),
        wire_ref: 0,
        action: OrderAction::Cancel { of: of.id },
        symbol: of.symbol.clone(),
        target: Some(target(of)),
    }
}

pub(crate) fn replace(name: &str, of: &Outgoing, quantity: u64, price: Price) -> Outgoing {
    Outgoing {
        id: id(name),
        wire_ref: 0,
        action: OrderAction::Replace { of: of.id, quantity, price },
        symbol: of.symbol.clone(),
        target: Some(target(of)),
    }
}
