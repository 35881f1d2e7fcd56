//! The server's side of SoupBinTCP, without a socket: who is logged in, what each connection is still to be sent,
//! and when it is closed. Section numbers (§) are those of the SoupBinTCP specification 3.00.
//!
//! Invariants: bytes of two messages never mix; a user has at most one connection; what a connection holds in memory
//! is at most one packet that is not whole yet and the few packets that are not of the stream.

use super::stream::{Stream, Streams};
use super::{User, UserError};
use serde::Serialize;
use std::collections::BTreeMap;
use wire::soupbintcp::{
    Frame, Framer, HeartbeatTimeout, LENGTH_BYTES, LoginAccepted, LoginRequest, NOT_AUTHORIZED, Number,
    Packet, PacketError, SESSION_NOT_AVAILABLE, Sender,
};

/// Connections at a time; one more is closed at once. Each costs one place in a poll.
pub const MAX_CONNECTIONS: usize = 256;
/// Longest packet of a client after its length, bytes: an OUCH order with every optional field has under 200.
pub const MAX_PACKET_BYTES: u16 = 1_024;
/// A server that was silent for this long sends a heartbeat (§1.5), ns.
const HEARTBEAT_NS: u64 = 1_000_000_000;
/// A client that is silent for this long, or has not logged in by then, is gone (§1.5, §1.6), ns.
const SILENCE_NS: u64 = 15_000_000_000;
/// What a client may ask for instead (version 4.10), ms.
const SILENCE_MS: std::ops::RangeInclusive<u64> = 1_000..=60_000;
/// A client that takes no byte for this long while some wait is closed, ns: longer than any pause of a process
/// that lives, and it can log in again and have all of it.
const SLOW_NS: u64 = 5_000_000_000;
/// While more than this waits for a client, nothing is read from it, bytes: it cannot ask faster than it listens.
const BACKLOG_BYTES: u64 = 1 << 20;
/// A closing connection has so long to take its last bytes, ns.
const CLOSING_NS: u64 = 2_000_000_000;

/// A user, by its place in the list that the server was made with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(pub u16);

/// A connection. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Why a connection was closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The client asked (§2.3.4).
    Logout,
    /// The client closed it, or the network did.
    Gone,
    /// A newer login of the same user took its place.
    Replaced,
    /// User name or password is wrong.
    NotAuthorized,
    /// There is no such session, or it has no such message yet.
    NoSession,
    /// No login in time.
    NoLogin,
    /// Something other than a login came first.
    NotLoggedIn,
    /// A second login.
    LoggedInTwice,
    /// The client was silent for too long.
    Silent,
    /// The client took nothing for too long.
    Slow,
    /// A packet longer than any that makes sense.
    TooLong,
    /// Bytes that are no packet of a client.
    Garbage,
    /// As many connections as there may be.
    TooMany,
    /// The session is over (§2.2.5).
    EndOfSession,
}

/// What stands behind the server: it is handed whole messages and appends to the users' streams.
pub trait Application {
    /// A user sent this.
    fn message(&mut self, user: UserId, message: &[u8], told: &mut Streams);
    /// The user's connection is gone, and no newer login took its place.
    fn disconnected(&mut self, user: UserId, told: &mut Streams);
}

/// What was counted over all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections that were closed, by reason.
    pub closed: BTreeMap<Closed, u64>,
    /// The last thing that was no packet: which connection, which byte, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refused: Option<String>,
}

/// What was counted for one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserCounts {
    /// Logins that were granted.
    pub logins: u64,
    /// Whether it is logged in.
    pub logged_in: bool,
    /// Messages that it sent.
    pub messages_received: u64,
    /// Messages for it, sent or kept.
    pub messages_sequenced: u64,
}

struct Account {
    name: [u8; 6],
    password: [u8; 10],
    connection: Option<ConnectionId>,
    logins: u64,
    messages: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    LoggedIn(UserId),
    /// Nothing is read any more; gone when all is sent.
    Closing,
}

struct Connection {
    id: ConnectionId,
    state: State,
    framer: Framer,
    /// The front of a packet that is not whole yet.
    partial: Vec<u8>,
    /// Packets that are not of the stream, sent before it goes on.
    control: Vec<u8>,
    control_sent: usize,
    /// Whose stream is sent, from where on.
    stream: Option<(UserId, u64)>,
    silence_ns: u64,
    received_ns: u64,
    sent_ns: u64,
    /// When it last took something, or had all.
    progress_ns: u64,
    /// To be dropped now.
    dead: bool,
}

/// The server. Times are ns on the venue's clock and never step back.
pub struct Server {
    session: [u8; 10],
    accounts: Vec<Account>,
    streams: Streams,
    connections: Vec<Connection>,
    last_id: u64,
    counts: Counts,
    ended: bool,
}

impl Server {
    /// A server for these users, of a session with this name (padded on the left).
    ///
    /// # Errors
    /// Two users have one name, or there are too many.
    pub fn new(session: [u8; 10], users: &[User]) -> Result<Server, UserError> {
        if users.len() > usize::from(u16::MAX) {
            return Err(UserError::TooMany(users.len()));
        }
        let mut accounts: Vec<Account> = Vec::new();
        for user in users {
            let name = field(&user.name);
            if accounts.iter().any(|account| account.name == name) {
                return Err(UserError::Twice(user.name.clone()));
            }
            let password = field(&user.password);
            accounts.push(Account { name, password, connection: None, logins: 0, messages: 0 });
        }
        Ok(Server {
            session,
            streams: Streams::new(accounts.len()),
            accounts,
            connections: Vec::new(),
            last_id: 0,
            counts: Counts::default(),
            ended: false,
        })
    }

    /// Somebody connected; `None`: close it, there are too many.
    pub fn open(&mut self, now_ns: u64) -> Option<ConnectionId> {
        if self.connections.len() >= MAX_CONNECTIONS {
            *self.counts.closed.entry(Closed::TooMany).or_default() += 1;
            return None;
        }
        self.last_id += 1;
        self.counts.connections += 1;
        let id = ConnectionId(self.last_id);
        self.connections.push(Connection {
            id,
            state: State::New,
            framer: Framer::new(Sender::Client, MAX_PACKET_BYTES),
            partial: Vec::new(),
            control: Vec::new(),
            control_sent: 0,
            stream: None,
            silence_ns: SILENCE_NS,
            received_ns: now_ns,
            sent_ns: now_ns,
            progress_ns: now_ns,
            dead: false,
        });
        Some(id)
    }

    /// Bytes came from a client. All whole packets in them are dealt with.
    pub fn receive(&mut self, id: ConnectionId, now_ns: u64, bytes: &[u8], app: &mut impl Application) {
        let Some(at) = self.find(id) else { return };
        let connection = &mut self.connections[at];
        if connection.state != State::New {
            connection.received_ns = now_ns;
        }
        let mut held = std::mem::take(&mut connection.partial);
        let mut framer = connection.framer.clone();
        let mut rest = bytes;
        if !held.is_empty() {
            held.extend_from_slice(bytes);
            rest = &held;
        }
        while self.listens(id) {
            match framer.next(&mut rest) {
                Ok(Frame::Need(_)) => break,
                Ok(Frame::Packet(packet)) => self.packet(id, now_ns, packet, app),
                Err(refused) => {
                    self.counts.last_refused = Some(format!("connection {}: {refused}", id.0));
                    let too_long = matches!(refused.reason, PacketError::TooLong { .. });
                    self.close(id, if too_long { Closed::TooLong } else { Closed::Garbage }, app);
                }
            }
        }
        if let Some(at) = self.find(id)
            && self.connections[at].is_open()
        {
            debug_assert!(rest.len() < usize::from(MAX_PACKET_BYTES) + LENGTH_BYTES);
            self.connections[at].framer = framer;
            self.connections[at].partial = rest.to_vec();
        }
    }

    /// The client's side is closed or broken.
    pub fn lost(&mut self, id: ConnectionId, app: &mut impl Application) {
        if self.find(id).is_some_and(|at| self.connections[at].is_open()) {
            self.close(id, Closed::Gone, app);
        }
        self.connections.retain(|connection| connection.id != id);
    }

    /// What is to be sent next, as far as it lies in one piece.
    pub fn output(&self, id: ConnectionId) -> &[u8] {
        self.find(id).map_or(&[], |at| self.connections[at].output(&self.streams))
    }

    /// So many bytes of [`Server::output`] were sent.
    pub fn sent(&mut self, id: ConnectionId, bytes: usize, now_ns: u64) {
        if bytes == 0 {
            return;
        }
        let Some(at) = self.find(id) else { return };
        let connection = &mut self.connections[at];
        connection.sent_ns = now_ns;
        connection.progress_ns = now_ns;
        if connection.control_sent < connection.control.len() {
            connection.control_sent += bytes;
            if connection.control_sent >= connection.control.len() {
                connection.control.clear();
                connection.control_sent = 0;
            }
        } else if let Some((_, position)) = &mut connection.stream {
            *position += bytes as u64;
        }
    }

    /// Whether more is to be read from a client now.
    pub fn wants_input(&self, id: ConnectionId) -> bool {
        self.find(id).is_some_and(|at| {
            let connection = &self.connections[at];
            connection.is_open() && connection.backlog(&self.streams) < BACKLOG_BYTES
        })
    }

    /// Whether the connection is to be closed now: it has had its last bytes, or is not to have them.
    pub fn is_over(&self, id: ConnectionId) -> bool {
        self.find(id).is_none_or(|at| {
            let connection = &self.connections[at];
            let done = connection.state == State::Closing && connection.output(&self.streams).is_empty();
            connection.dead || done
        })
    }

    /// Whether a connection, when it is over, has had all that is for it: its client is to hear it, then.
    pub fn ends_in_peace(&self, id: ConnectionId) -> bool {
        self.find(id).is_some_and(|at| !self.connections[at].dead)
    }

    /// Deals with what the time asks for: heartbeats, and clients that are silent or slow. To be called at least ten
    /// times a second.
    pub fn tick(&mut self, now_ns: u64, app: &mut impl Application) {
        let mut to_close = Vec::new();
        for connection in &mut self.connections {
            let idle = connection.output(&self.streams).is_empty();
            if idle {
                connection.progress_ns = now_ns;
            }
            let stuck_ns = now_ns.saturating_sub(connection.progress_ns);
            if connection.state == State::Closing {
                connection.dead |= stuck_ns >= CLOSING_NS;
                continue;
            }
            if stuck_ns >= SLOW_NS {
                to_close.push((connection.id, Closed::Slow));
                continue;
            }
            // Nothing is read from it: its silence is ours.
            if connection.state != State::New && connection.backlog(&self.streams) >= BACKLOG_BYTES {
                connection.received_ns = now_ns;
            }
            if now_ns.saturating_sub(connection.received_ns) >= connection.silence_ns {
                let new = connection.state == State::New;
                to_close.push((connection.id, if new { Closed::NoLogin } else { Closed::Silent }));
            } else if idle
                && connection.state != State::New
                && now_ns.saturating_sub(connection.sent_ns) >= HEARTBEAT_NS
            {
                connection.say(Packet::ServerHeartbeat);
                connection.sent_ns = now_ns;
            }
        }
        for (id, reason) in to_close {
            self.close(id, reason, app);
        }
        self.end_those_that_have_all();
    }

    /// The session is over: whoever has had all messages is told so and closed. Logins are still granted, for those
    /// who missed some.
    pub fn end_session(&mut self) {
        self.ended = true;
        self.end_those_that_have_all();
    }

    /// The streams, to append to.
    pub fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// A user's stream.
    pub fn stream(&self, user: UserId) -> Option<&Stream> {
        self.streams.of(user)
    }

    /// Every open connection.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.iter().map(|connection| connection.id)
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        Counts { open: self.connections.len() as u64, ..self.counts.clone() }
    }

    /// What was counted for a user.
    pub fn user_counts(&self, user: UserId) -> UserCounts {
        let Some(account) = self.accounts.get(usize::from(user.0)) else { return UserCounts::default() };
        UserCounts {
            logins: account.logins,
            logged_in: account.connection.is_some(),
            messages_received: account.messages,
            messages_sequenced: self.stream(user).map_or(0, |stream| stream.next_sequence() - 1),
        }
    }

    fn find(&self, id: ConnectionId) -> Option<usize> {
        self.connections.iter().position(|connection| connection.id == id)
    }

    /// Whether a connection is there and open.
    fn listens(&self, id: ConnectionId) -> bool {
        self.find(id).is_some_and(|at| self.connections[at].is_open())
    }

    fn packet(&mut self, id: ConnectionId, now_ns: u64, packet: Packet<'_>, app: &mut impl Application) {
        let Some(at) = self.find(id) else { return };
        match (self.connections[at].state, packet) {
            (_, Packet::Debug(_)) => {}
            (State::New, Packet::LoginRequest(request, timeout)) => {
                self.login(id, now_ns, request, timeout, app);
            }
            (State::LoggedIn(_), Packet::LoginRequest(..)) => self.close(id, Closed::LoggedInTwice, app),
            (_, Packet::LogoutRequest) => self.close(id, Closed::Logout, app),
            (State::New, _) => self.close(id, Closed::NotLoggedIn, app),
            (State::LoggedIn(user), Packet::UnsequencedData(message)) => {
                self.accounts[usize::from(user.0)].messages += 1;
                app.message(user, message, &mut self.streams);
            }
            // A heartbeat: that it came is all that it says. The framer lets nothing else pass.
            _ => {}
        }
    }

    fn login(
        &mut self,
        id: ConnectionId,
        now_ns: u64,
        request: &LoginRequest,
        timeout: Option<&HeartbeatTimeout>,
        app: &mut impl Application,
    ) {
        let (mut name, mut password) = (request.username, request.password);
        name.make_ascii_uppercase();
        password.make_ascii_uppercase();
        let found = self.accounts.iter().position(|account| account.name == name);
        let Some(at) = found.filter(|&at| self.accounts[at].password == password) else {
            return self.reject(id, NOT_AUTHORIZED, Closed::NotAuthorized, app);
        };
        let stream = &self.streams.0[at];
        let wanted = match request.next_sequence.get() {
            None | Some(0) => stream.next_sequence(),
            Some(wanted) => wanted,
        };
        let ours = request.session.trim_ascii().is_empty()
            || request.session.trim_ascii() == self.session.trim_ascii();
        let (true, Some(position)) = (ours, stream.position(wanted)) else {
            return self.reject(id, SESSION_NOT_AVAILABLE, Closed::NoSession, app);
        };
        if let Some(older) = self.accounts[at].connection.take() {
            self.close(older, Closed::Replaced, app);
        }
        let user = UserId(at as u16);
        self.accounts[at].connection = Some(id);
        self.accounts[at].logins += 1;
        let accepted = LoginAccepted { session: self.session, next_sequence: Number::sequence(wanted) };
        if let Some(at) = self.find(id) {
            let connection = &mut self.connections[at];
            connection.state = State::LoggedIn(user);
            connection.stream = Some((user, position));
            connection.received_ns = now_ns;
            connection.say(Packet::LoginAccepted(&accepted));
            if let Some(wanted_ms) = timeout.and_then(Number::get).filter(|&ms| ms > 0) {
                connection.silence_ns =
                    wanted_ms.clamp(*SILENCE_MS.start(), *SILENCE_MS.end()).saturating_mul(1_000_000);
            }
        }
    }

    fn reject(&mut self, id: ConnectionId, code: u8, reason: Closed, app: &mut impl Application) {
        if let Some(at) = self.find(id) {
            self.connections[at].say(Packet::LoginRejected(code));
        }
        self.close(id, reason, app);
    }

    /// Ends a connection. Those that end in peace may still take what waits for them.
    fn close(&mut self, id: ConnectionId, reason: Closed, app: &mut impl Application) {
        let Some(at) = self.find(id) else { return };
        let connection = &mut self.connections[at];
        let state = std::mem::replace(&mut connection.state, State::Closing);
        if state == State::Closing {
            return;
        }
        *self.counts.closed.entry(reason).or_default() += 1;
        // Its stream goes on on another connection, or not at all; a packet must not end in the middle.
        let says_more = matches!(reason, Closed::NotAuthorized | Closed::NoSession | Closed::EndOfSession);
        connection.dead = !says_more;
        if let State::LoggedIn(user) = state {
            let account = &mut self.accounts[usize::from(user.0)];
            if account.connection == Some(id) {
                account.connection = None;
                if reason != Closed::EndOfSession {
                    app.disconnected(user, &mut self.streams);
                }
            }
        }
    }

    fn end_those_that_have_all(&mut self) {
        if !self.ended {
            return;
        }
        for connection in &mut self.connections {
            if let State::LoggedIn(user) = connection.state
                && connection.output(&self.streams).is_empty()
            {
                connection.say(Packet::EndOfSession);
                connection.state = State::Closing;
                self.accounts[usize::from(user.0)].connection = None;
                *self.counts.closed.entry(Closed::EndOfSession).or_default() += 1;
            }
        }
    }
}

impl Connection {
    fn is_open(&self) -> bool {
        self.state != State::Closing && !self.dead
    }

    /// Puts a packet before what comes next of the stream: between two messages, as nothing of one is half sent
    /// when this is called.
    fn say(&mut self, packet: Packet<'_>) {
        let mut buffer = [0; 64];
        let bytes = packet.write(&mut buffer).unwrap_or(0);
        self.control.extend_from_slice(&buffer[..bytes]);
    }

    fn output<'c>(&'c self, streams: &'c Streams) -> &'c [u8] {
        if self.dead {
            return &[];
        }
        if self.control_sent < self.control.len() {
            return &self.control[self.control_sent..];
        }
        match self.stream {
            Some((user, position)) => streams.0[usize::from(user.0)].from(position),
            None => &[],
        }
    }

    fn backlog(&self, streams: &Streams) -> u64 {
        self.stream.map_or(0, |(user, position)| streams.0[usize::from(user.0)].bytes() - position)
    }
}

/// A field of a login, as it is compared: in capitals, padded with spaces on the right.
fn field<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    field
}
