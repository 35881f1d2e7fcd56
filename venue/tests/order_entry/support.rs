//! What the tests share: a venue without sockets, short ways to say a message, and messages as short text.

use venue::exchange::{EngineConfig, Exchange, ExchangeSpec};
use venue::order_entry::{ConnectionId, Desk, Floor, Server, User, UserId};
use wire::ouch50::{
    AccountQuery, Appendage, CancelOrder, DisableOrderEntry, EnableOrderEntry, EnterOrder, Inbound,
    MassCancel, ModifyOrder, Outbound, Price, ReplaceOrder, reject_reason,
};
use wire::soupbintcp::{Frame, Framer, LoginRequest, Number, Packet, Sender, left_padded, right_padded};

pub const SESSION: &str = "TEST";
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

/// A random number generator that nobody else uses: SplitMix64 of G. Steele and others, 2014.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

pub fn users() -> Vec<User> {
    vec![User::new("alice", "secret").unwrap(), User::new("bob", "hidden").unwrap()]
}

/// Server, desk and exchange at a time that the test says.
pub struct Room {
    pub server: Server,
    pub desk: Desk,
    pub exchange: Exchange,
    pub now_ns: u64,
}

impl Room {
    /// Two users and one symbol, S1, which nobody else trades; open since 10 ms.
    pub fn new() -> Room {
        Room::with(&users(), EngineConfig::default())
    }

    pub fn with(users: &[User], engine: EngineConfig) -> Room {
        let spec = ExchangeSpec { flow: None, engine, ..ExchangeSpec::new(2, 1) };
        let mut server = Server::new(left_padded(SESSION).unwrap(), users).unwrap();
        let desk = Desk::new(users, 0);
        desk.say_start_of_day(server.streams());
        let mut room = Room { server, desk, exchange: Exchange::new(&spec).unwrap(), now_ns: 0 };
        room.pass(20 * MS);
        room
    }

    fn act(&mut self, act: impl FnOnce(&mut Server, u64, &mut Floor<'_>)) {
        let now_ns = self.now_ns;
        let mut floor = Floor { desk: &mut self.desk, exchange: &mut self.exchange, now_ns };
        act(&mut self.server, now_ns, &mut floor);
    }

    /// Lets time pass in steps in which nothing is missed.
    pub fn pass(&mut self, ns: u64) {
        let until_ns = self.now_ns + ns;
        while self.now_ns < until_ns {
            self.now_ns = until_ns.min(self.now_ns + 50 * MS);
            self.exchange.advance(self.now_ns);
            self.desk.tell(&mut self.exchange, self.server.streams());
            self.act(|server, now_ns, floor| server.tick(now_ns, floor));
        }
    }

    pub fn connect(&mut self) -> ConnectionId {
        self.server.open(self.now_ns).unwrap()
    }

    pub fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.act(|server, now_ns, floor| server.receive(id, now_ns, bytes, floor));
    }

    pub fn lose(&mut self, id: ConnectionId) {
        self.act(|server, _, floor| server.lost(id, floor));
    }

    /// What waits for a connection, taken, as text; and "over" when it is closed behind that.
    pub fn hear(&mut self, id: ConnectionId) -> Vec<String> {
        let mut bytes = Vec::new();
        loop {
            let output = self.server.output(id).to_vec();
            if output.is_empty() {
                break;
            }
            self.server.sent(id, output.len(), self.now_ns);
            bytes.extend_from_slice(&output);
        }
        let mut heard = texts(&bytes);
        if self.server.is_over(id) {
            self.lose(id);
            heard.push("over".to_owned());
        }
        heard
    }

    /// Logs in and takes what comes; the connection and all that was heard.
    pub fn login(&mut self, name: &str, password: &str, next: u64) -> (ConnectionId, Vec<String>) {
        let id = self.connect();
        self.say(id, &login(name, password, "", next));
        let heard = self.hear(id);
        // As a socket does: whoever is over leaves room.
        let server = &self.server;
        let over = |of: &ConnectionId| *of != id && server.is_over(*of);
        let over: Vec<ConnectionId> = server.connections().filter(over).collect();
        for other in over {
            self.lose(other);
        }
        (id, heard)
    }

    /// A user that is logged in and has heard all.
    pub fn alice(&mut self) -> ConnectionId {
        self.login("alice", "secret", 0).0
    }

    pub fn bob(&mut self) -> ConnectionId {
        self.login("bob", "hidden", 0).0
    }

    /// Says a message and gives back all that is heard then.
    pub fn ask(&mut self, id: ConnectionId, message: &[u8]) -> Vec<String> {
        self.say(id, &unsequenced(message));
        self.hear(id)
    }

    pub fn ledger(&self, user: u16) -> &venue::order_entry::Ledger {
        self.desk.ledger(UserId(user))
    }
}

pub fn packet(packet: Packet<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 2_048];
    let bytes = packet.write(&mut buffer).unwrap();
    buffer.truncate(bytes);
    buffer
}

pub fn login(name: &str, password: &str, session: &str, next: u64) -> Vec<u8> {
    let request = LoginRequest {
        username: right_padded(name).unwrap(),
        password: right_padded(password).unwrap(),
        session: left_padded(session).unwrap(),
        next_sequence: Number::sequence(next),
    };
    packet(Packet::LoginRequest(&request, None))
}

pub fn unsequenced(message: &[u8]) -> Vec<u8> {
    packet(Packet::UnsequencedData(message))
}

pub fn message(inbound: Inbound<'_>, appendage: Appendage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 512];
    let bytes = inbound.write(appendage, &mut buffer).unwrap();
    buffer.truncate(bytes);
    buffer
}

/// An order for S1 for the day; the price in cents.
pub fn order(number: u32, side: char, shares: u32, cents: u64) -> EnterOrder {
    let mut cl_ord_id = [b' '; 14];
    let name = format!("c{number}");
    cl_ord_id[..name.len()].copy_from_slice(name.as_bytes());
    EnterOrder {
        user_ref_num: number.into(),
        side: side as u8,
        quantity: shares.into(),
        symbol: *b"S1      ",
        price: Price::new(cents * 100),
        time_in_force: b'0',
        display: b'Y',
        capacity: b'P',
        intermarket_sweep: b'N',
        cross_type: b'N',
        cl_ord_id,
    }
}

pub fn enter_this(order: &EnterOrder) -> Vec<u8> {
    message(Inbound::EnterOrder(order), Appendage::ABSENT)
}

pub fn enter(number: u32, side: char, shares: u32, cents: u64) -> Vec<u8> {
    enter_this(&order(number, side, shares, cents))
}

pub fn replace(old: u32, number: u32, shares: u32, cents: u64) -> Vec<u8> {
    let mut cl_ord_id = [b' '; 14];
    let name = format!("c{number}");
    cl_ord_id[..name.len()].copy_from_slice(name.as_bytes());
    let replace = ReplaceOrder {
        orig_user_ref_num: old.into(),
        user_ref_num: number.into(),
        quantity: shares.into(),
        price: Price::new(cents * 100),
        time_in_force: b'0',
        display: b'Y',
        intermarket_sweep: b'N',
        cl_ord_id,
    };
    message(Inbound::ReplaceOrder(&replace), Appendage::ABSENT)
}

pub fn cancel(number: u32, shares: u32) -> Vec<u8> {
    let cancel = CancelOrder { user_ref_num: number.into(), quantity: shares.into() };
    message(Inbound::CancelOrder(&cancel), Appendage::ABSENT)
}

pub fn modify(number: u32, side: char, shares: u32) -> Vec<u8> {
    let modify = ModifyOrder { user_ref_num: number.into(), side: side as u8, quantity: shares.into() };
    message(Inbound::ModifyOrder(&modify), Appendage::ABSENT)
}

pub fn mass_cancel(number: u32, firm: &[u8; 4], symbol: &[u8; 8], appendage: Appendage<'_>) -> Vec<u8> {
    let request = MassCancel { user_ref_num: number.into(), firm: *firm, symbol: *symbol };
    message(Inbound::MassCancel(&request), appendage)
}

pub fn disable(number: u32, firm: &[u8; 4]) -> Vec<u8> {
    let request = DisableOrderEntry { user_ref_num: number.into(), firm: *firm };
    message(Inbound::DisableOrderEntry(&request), Appendage::ABSENT)
}

pub fn enable(number: u32, firm: &[u8; 4]) -> Vec<u8> {
    let request = EnableOrderEntry { user_ref_num: number.into(), firm: *firm };
    message(Inbound::EnableOrderEntry(&request), Appendage::ABSENT)
}

pub fn query() -> Vec<u8> {
    message(Inbound::AccountQuery(&AccountQuery {}), Appendage::ABSENT)
}

/// A server's bytes, each packet as text. They must be whole.
pub fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut framer = Framer::new(Sender::Server, u16::MAX);
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        match framer.next(&mut bytes).unwrap() {
            Frame::Packet(packet) => texts.push(text(&packet)),
            Frame::Need(_) => panic!("the server's bytes end inside a packet"),
        }
    }
    texts
}

pub fn text(packet: &Packet<'_>) -> String {
    match packet {
        Packet::LoginAccepted(accepted) => format!("login {}", accepted.next_sequence.get().unwrap()),
        Packet::LoginRejected(code) => format!("no login {}", *code as char),
        Packet::ServerHeartbeat => "heartbeat".to_owned(),
        Packet::EndOfSession => "end".to_owned(),
        Packet::SequencedData(message) => said(message),
        other => format!("{other:?}"),
    }
}

/// A message from the market as text: what a test compares.
pub fn said(message: &[u8]) -> String {
    let price = |price: Price| format!("{}.{:02}", price.units() / 10_000, price.units() % 10_000 / 100);
    match Outbound::parse(message).unwrap().0 {
        Outbound::SystemEvent(event) => format!("day {}", event.event_code as char),
        Outbound::OrderAccepted(a) => {
            let letters = [a.time_in_force, a.display, a.capacity, a.order_state].map(char::from);
            assert!(a.order_reference.get() > 0);
            let id = a.cl_ord_id.trim_ascii().escape_ascii().to_string();
            let letters: String = letters.iter().collect();
            format!(
                "accepted {} {} {} @{} {letters} {id}",
                a.user_ref_num,
                a.side as char,
                a.quantity,
                price(a.price)
            )
        }
        Outbound::OrderReplaced(r) => {
            assert!(r.order_reference.get() > 0);
            let (old, new, open) = (r.orig_user_ref_num, r.user_ref_num, r.quantity);
            format!("replaced {old}>{new} {} {open} @{}", r.side as char, price(r.price))
        }
        Outbound::OrderCanceled(c) => {
            format!("canceled {} {} {}", c.user_ref_num, c.quantity, c.reason as char)
        }
        Outbound::AiqCanceled(c) => format!(
            "aiq {} {} prevented {} @{} {}",
            c.user_ref_num,
            c.decrement_shares,
            c.quantity_prevented,
            price(c.execution_price),
            c.liquidity_flag as char
        ),
        Outbound::OrderExecuted(e) => format!(
            "executed {} {} @{} {}",
            e.user_ref_num,
            e.quantity,
            price(e.price),
            e.liquidity_flag as char
        ),
        Outbound::Rejected(r) => {
            format!("rejected {} {}", r.user_ref_num, reject_reason(r.reason.get()).unwrap())
        }
        Outbound::OrderModified(m) => {
            format!("modified {} {} {}", m.user_ref_num, m.side as char, m.quantity)
        }
        Outbound::MassCancelResponse(m) => format!("mass cancel {}", m.user_ref_num),
        Outbound::DisableOrderEntryResponse(m) => format!("disabled {}", m.user_ref_num),
        Outbound::EnableOrderEntryResponse(m) => format!("enabled {}", m.user_ref_num),
        Outbound::AccountQueryResponse(q) => format!("next {}", q.next_user_ref_num),
        other => panic!("never said: {other:?}"),
    }
}
