//! What the tests share: orders, the venue's packets, and a client without a socket.

use bus::config::{OuchSection, ReconnectSection};
use bus::{OrderAction, OrderId, OrderSide, TimeInForce};
use gateway::connection::{Io, Now, Over, Talk};
use gateway::line::{Event, Outgoing, Resume, Target, Told, What, WireRef};
use gateway::ouch::{Session, Settings};
use tick::Price;
use wire::ouch50::{
    AccountQueryResponse, Appendage, Inbound, OrderAccepted, OrderCanceled, OrderExecuted, Outbound,
    Price as OuchPrice,
};
use wire::soupbintcp::{
    Frame, Framer, LoginAccepted, LoginRequest, Number, Packet, Sender, left_padded, right_padded,
};

pub const MS: u64 = 1_000_000;

pub fn section(address: &str) -> OuchSection {
    OuchSection {
        address: address.to_owned(),
        user: "fplane".to_owned(),
        password: Some("secret".to_owned()),
        password_file: None,
        session: None,
        firm: None,
        heartbeat_ms: 1_000,
        silence_ms: 15_000,
    }
}

pub fn settings(change: impl FnOnce(&mut OuchSection)) -> Settings {
    let mut section = section("127.0.0.1:1");
    change(&mut section);
    Settings::new("sim", &section, &ReconnectSection::default()).expect("settings")
}

pub fn id(text: &str) -> OrderId {
    text.parse().expect("an id")
}

pub fn price(text: &str) -> Price {
    text.parse().expect("a price")
}

pub fn new_order(name: &str, wire_ref: WireRef) -> Outgoing {
    Outgoing {
        id: id(name),
        wire_ref,
        action: OrderAction::New {
            side: OrderSide::Buy,
            quantity: 100,
            price: Some(price("20.00")),
            time_in_force: TimeInForce::Day,
        },
        symbol: "S1".to_owned(),
        target: None,
    }
}

pub fn target(of: &Outgoing) -> Target {
    let (quantity, price) = match of.action {
        OrderAction::New { quantity, price, .. } => (quantity, price),
        OrderAction::Replace { quantity, price, .. } => (quantity, Some(price)),
        OrderAction::Cancel { .. } => panic!("a cancel is no target"),
    };
    Target {
        id: of.id,
        wire_ref: of.wire_ref,
        venue_order: String::new(),
        side: OrderSide::Buy,
        quantity,
        price,
        time_in_force: TimeInForce::Day,
    }
}

pub fn cancel(name: &str, wire_ref: WireRef, of: &Outgoing) -> Outgoing {
    let action = OrderAction::Cancel { of: of.id };
    Outgoing { id: id(name), wire_ref, action, symbol: of.symbol.clone(), target: Some(target(of)) }
}

pub fn replacement(name: &str, wire_ref: WireRef, of: &Outgoing, quantity: u64, limit: &str) -> Outgoing {
    let action = OrderAction::Replace { of: of.id, quantity, price: price(limit) };
    Outgoing { id: id(name), wire_ref, action, symbol: of.symbol.clone(), target: Some(target(of)) }
}

/// A packet's bytes.
pub fn packet(packet: &Packet<'_>) -> Vec<u8> {
    let mut buffer = [0; 512];
    let length = packet.write(&mut buffer).expect("room");
    buffer[..length].to_vec()
}

pub fn granted(session: &str, next: u64) -> Vec<u8> {
    let session = left_padded(session).expect("fits");
    packet(&Packet::LoginAccepted(&LoginAccepted { session, next_sequence: Number::sequence(next) }))
}

/// A message of the venue in its packet.
pub fn sequenced(message: &Outbound<'_>) -> Vec<u8> {
    let mut buffer = [0; 256];
    let length = message.write(Appendage::ABSENT, &mut buffer).expect("room");
    packet(&Packet::SequencedData(&buffer[..length]))
}

pub fn accepted(wire_ref: WireRef, state: u8) -> Vec<u8> {
    sequenced(&Outbound::OrderAccepted(&OrderAccepted {
        timestamp_ns: 34_200_000_000_000.into(),
        user_ref_num: wire_ref.into(),
        side: b'B',
        quantity: 100.into(),
        symbol: right_padded("S1").expect("fits"),
        price: OuchPrice::new(200_000),
        time_in_force: b'0',
        display: b'Y',
        order_reference: (7_000 + u64::from(wire_ref)).into(),
        capacity: b'P',
        intermarket_sweep: b'N',
        cross_type: b'N',
        order_state: state,
        cl_ord_id: [b' '; 14],
    }))
}

pub fn executed(wire_ref: WireRef, quantity: u32, match_number: u64) -> Vec<u8> {
    sequenced(&Outbound::OrderExecuted(&OrderExecuted {
        timestamp_ns: 0.into(),
        user_ref_num: wire_ref.into(),
        quantity: quantity.into(),
        price: OuchPrice::new(200_000),
        liquidity_flag: b'A',
        match_number: match_number.into(),
    }))
}

pub fn cancelled(wire_ref: WireRef, quantity: u32) -> Vec<u8> {
    sequenced(&Outbound::OrderCanceled(&OrderCanceled {
        timestamp_ns: 0.into(),
        user_ref_num: wire_ref.into(),
        quantity: quantity.into(),
        reason: b'U',
    }))
}

/// The answer to an account query.
pub fn free(next: WireRef) -> Vec<u8> {
    sequenced(&Outbound::AccountQueryResponse(&AccountQueryResponse {
        timestamp_ns: 0.into(),
        next_user_ref_num: next.into(),
    }))
}

pub fn heartbeat() -> Vec<u8> {
    packet(&Packet::ServerHeartbeat)
}

/// What the client wrote, by packet.
#[derive(Clone, PartialEq, Debug)]
pub enum Wrote {
    Login { session: String, number: u64 },
    Query,
    Heartbeat,
    Logout,
    Enter(WireRef),
    Replace(WireRef, WireRef),
    Cancel(WireRef),
}

pub fn wrote(bytes: &[u8]) -> Vec<Wrote> {
    let mut framer = Framer::new(Sender::Client, 1_024);
    let mut rest = bytes;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let Frame::Packet(packet) = framer.next(&mut rest).expect("a packet") else {
            panic!("half a packet")
        };
        all.push(match packet {
            Packet::LoginRequest(request, None) => login(request),
            Packet::ClientHeartbeat => Wrote::Heartbeat,
            Packet::LogoutRequest => Wrote::Logout,
            Packet::UnsequencedData(message) => match Inbound::parse(message).expect("a message").0 {
                Inbound::AccountQuery(_) => Wrote::Query,
                Inbound::EnterOrder(order) => Wrote::Enter(order.user_ref_num.get()),
                Inbound::CancelOrder(order) => Wrote::Cancel(order.user_ref_num.get()),
                Inbound::ReplaceOrder(order) => {
                    Wrote::Replace(order.orig_user_ref_num.get(), order.user_ref_num.get())
                }
                other => panic!("{other:?} is never sent"),
            },
            other => panic!("{other:?} is never sent"),
        });
    }
    all
}

fn login(request: &LoginRequest) -> Wrote {
    assert_eq!((request.username, request.password), (*b"fplane", *b"secret    "));
    let session = String::from_utf8_lossy(request.session.trim_ascii()).into_owned();
    Wrote::Login { session, number: request.next_sequence.get().expect("a number") }
}

/// A client without a socket; its time is given in ms.
pub struct Client {
    pub session: Session,
    io: Io,
    pub at_ms: u64,
}

impl Client {
    pub fn new(resume: &Resume) -> Client {
        Client::with(settings(|_| {}), resume)
    }

    pub fn with(settings: Settings, resume: &Resume) -> Client {
        Client { session: Session::new(settings, resume), io: Io::default(), at_ms: 0 }
    }

    /// One that never traded.
    pub fn fresh() -> Client {
        Client::new(&Resume { session: String::new(), next_number: 1, next_wire_ref: 1 })
    }

    /// One that never traded and is up, with what it said and heard passed over.
    pub fn up() -> Client {
        let mut client = Client::fresh();
        client.connect();
        client.hear(&[granted("DAY1", 1), heartbeat(), free(1)].concat()).expect("goes on");
        client.wrote();
        assert_eq!(client.events(), [up("DAY1"), Event::CaughtUp]);
        client
    }

    pub fn now(&self) -> Now {
        Now { monotonic_ns: self.at_ms * MS, epoch_ns: 1_751_300_000_000_000_000 + self.at_ms * MS }
    }

    pub fn connect(&mut self) -> Vec<Wrote> {
        self.session.connected(self.now(), &mut self.io).unwrap();
        self.wrote()
    }

    pub fn hear(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.session.received(self.now(), bytes, &mut self.io)
    }

    pub fn tick(&mut self, at_ms: u64) -> Result<(), Over> {
        self.at_ms = at_ms;
        self.session.tick(self.now(), &mut self.io)
    }

    /// Loses the connection.
    pub fn lose(&mut self) {
        self.session.closed(self.now(), "test", &mut self.io);
    }

    /// Loses it, connects again, and is granted what it asked for.
    pub fn again(&mut self) -> Vec<Wrote> {
        self.lose();
        self.connect()
    }

    pub fn settle(&mut self, orders: &[Outgoing]) {
        self.session.settle(self.now(), orders, &mut self.io).expect("logged on");
    }

    pub fn log_out(&mut self) {
        self.session.log_out(self.now(), &mut self.io);
    }

    pub fn wrote(&mut self) -> Vec<Wrote> {
        wrote(&std::mem::take(&mut self.io.out))
    }

    /// All events since the last call.
    pub fn all_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.io.events)
    }

    /// Those that are not for the drop copy.
    pub fn events(&mut self) -> Vec<Event> {
        self.all_events().into_iter().filter(|event| !matches!(event, Event::Wire { .. })).collect()
    }
}

pub fn up(session: &str) -> Event {
    Event::Up { session: session.to_owned() }
}

/// The number, the order and what was told, of events that all are told.
pub fn told(events: &[Event]) -> Vec<(u64, WireRef, &What)> {
    let of = |event| match event {
        &Event::Told(Told { number, order: gateway::line::OrderName::Wire(wire_ref), ref what, .. }) => {
            (number, wire_ref, what)
        }
        other => panic!("{other:?} is not told of a reference"),
    };
    events.iter().map(of).collect()
}

/// The words of an event that is refused.
pub fn refused(event: &Event) -> &str {
    match event {
        Event::Refused { what } => what,
        other => panic!("{other:?} is not refused"),
    }
}

/// The events of a line, in a channel.
pub struct Heard {
    events: std::sync::mpsc::Receiver<Event>,
    pub full: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

struct Mouth {
    events: std::sync::mpsc::Sender<Event>,
    full: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl gateway::line::Events for Mouth {
    fn push(&self, event: Event) {
        let _ = self.events.send(event);
    }
    fn is_full(&self) -> bool {
        self.full.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Longest wait for something that comes at once.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

impl Heard {
    /// The next event that is not for the drop copy.
    pub fn next(&self) -> Event {
        loop {
            match self.events.recv_timeout(PATIENCE).expect("an event in time") {
                Event::Wire { .. } => {}
                event => return event,
            }
        }
    }

    /// What is told next, of which order.
    pub fn told(&self) -> (gateway::line::OrderName, What) {
        match self.next() {
            Event::Told(told) => (told.order, told.what),
            other => panic!("{other:?} is not told"),
        }
    }

    /// The next event that is for the drop copy: whether it was sent, and its bytes.
    pub fn wire(&self) -> (bool, Vec<u8>) {
        loop {
            if let Event::Wire { sent, bytes, .. } = self.events.recv_timeout(PATIENCE).expect("in time") {
                return (sent, bytes);
            }
        }
    }

    pub fn up(&self) {
        let event = self.next();
        assert!(matches!(event, Event::Up { .. }), "{event:?}");
    }

    /// Up and caught up, with what was missed between. Attempts that fail before are passed over.
    pub fn caught_up(&self) -> Vec<Event> {
        let mut missed = Vec::new();
        let mut is_up = false;
        loop {
            match self.next() {
                Event::Up { .. } => is_up = true,
                Event::Down { .. } if !is_up => {}
                Event::Down { why } => panic!("down before it was caught up: {why}"),
                Event::CaughtUp => return missed,
                event => missed.push(event),
            }
        }
    }

    /// Why it went down.
    pub fn down(&self) -> String {
        match self.next() {
            Event::Down { why } => why,
            other => panic!("{other:?} is not down"),
        }
    }
}

/// A line that runs.
pub fn line(section: &OuchSection, resume: Resume) -> (gateway::ouch::OuchLine, Heard) {
    let (sender, events) = std::sync::mpsc::channel();
    let full = std::sync::Arc::default();
    let mouth = Mouth { events: sender, full: std::sync::Arc::clone(&full) };
    let start = gateway::line::LineStart {
        venue: "sim".to_owned(),
        reconnect: ReconnectSection { first_ms: 10, most_ms: 100, logon_ms: 1_000 },
        events: std::sync::Arc::new(mouth),
        resume,
        folder: std::env::temp_dir(),
    };
    (gateway::ouch::OuchLine::start(section, start).expect("a line"), Heard { events, full })
}
