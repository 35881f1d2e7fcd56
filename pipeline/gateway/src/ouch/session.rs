//! The client's side of SoupBinTCP with OUCH in it, without a socket or a clock. Section numbers (§) are those of the
//! SoupBinTCP specification 3.00.
//!
//! ```text
//!           login                accepted             quiet, or nothing unsure        answered
//!   Down ─────────► LoggingIn ───────────► Replaying ─────────────────────────► Asked ─────────► Up
//!     ▲                                        (Event::Up)        account query      (Event::CaughtUp)
//!     └── Over: closed, silent, rejected, broken framing, end of session
//! ```
//!
//! Sequenced messages carry no number: both sides count (§1.2). `next` is the number of the message that comes next, and
//! what every login asks for. Where what was missed ends is not said either. An account query tells: its answer comes
//! behind it. But an answer to a query of an earlier connection may still stand among what was missed, and looks the
//! same. While there may be such a one (after a start, or when a connection broke with a query under way) the query waits
//! for the venue's heartbeat, which says that the venue had nothing to send for a second (§1.3).
//!
//! Invariants: each sequenced message takes one number, readable or not; the numbers of one venue session are never
//! counted on into another's.

use super::clock::new_york_midnight_ns;
use super::decode::{self, Place};
use super::encode::{self, PACKET_BYTES_MAX};
use super::settings::Settings;
use super::settle::{Answer, InDoubt, Question, Questions};
use crate::connection::{Io, Now, Over, Talk};
use crate::line::{Event, LineError, Outgoing, Resume, WireRef};
use bus::OrderAction;
use wire::ouch50::{AccountQuery, Appendage, Inbound, Outbound};
use wire::soupbintcp::{
    Frame, Framer, LoginAccepted, LoginRequest, NOT_AUTHORIZED, Number, Packet, PacketError,
    SESSION_NOT_AVAILABLE, Sender, left_padded,
};

/// Longest packet of the venue after its length, bytes: the longest OUCH message with every optional field has under 300.
/// A longer one means that the framing is lost.
const PACKET_LENGTH_MAX: u16 = 4_096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Down,
    LoggingIn,
    Replaying,
    Asked,
    Up,
}

/// What the next login asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asking {
    /// The session that is known, from the next message on.
    Next,
    /// Whatever session there is, from its first message on, to see whether it is the one that is known.
    First,
    /// As `First`; it is known that the numbers begin again.
    NewDay,
}

/// A packet ready to be written.
pub struct Ready {
    bytes: [u8; PACKET_BYTES_MAX],
    length: usize,
}

impl AsRef<[u8]> for Ready {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The client's side of the protocol.
pub struct Session {
    settings: Settings,
    phase: Phase,
    asking: Asking,
    framer: Framer,
    /// The front of a packet that is not whole yet.
    partial: Vec<u8>,
    /// The venue's name for its numbers; empty when it was never said.
    session: String,
    next: u64,
    /// While the first messages come again: the number that was reached before.
    recount: Option<u64>,
    /// There may be answers to queries of earlier connections among what was missed.
    unsure: bool,
    questions: Questions,
    /// To be asked about as soon as what was missed has come.
    held: Vec<InDoubt>,
    next_ref: WireRef,
    /// The highest reference that the venue has seen, as far as known: it passes over what is not above (§2.1 of OUCH).
    used_ref: WireRef,
    since_ns: u64,
    sent_ns: u64,
    received_ns: u64,
    last_why: String,
}

impl Session {
    /// A client that goes on where the journal ends.
    pub fn new(settings: Settings, resume: &Resume) -> Session {
        Session {
            settings,
            phase: Phase::Down,
            asking: Asking::Next,
            framer: Framer::new(Sender::Server, PACKET_LENGTH_MAX),
            partial: Vec::new(),
            session: resume.session.clone(),
            next: resume.next_number.max(1),
            recount: None,
            unsure: true,
            questions: Questions::default(),
            held: Vec::new(),
            next_ref: resume.next_wire_ref.max(1),
            used_ref: 0,
            since_ns: 0,
            sent_ns: 0,
            received_ns: 0,
            last_why: String::new(),
        }
    }

    /// Whether the venue granted the login of this connection.
    pub fn is_logged_on(&self) -> bool {
        matches!(self.phase, Phase::Replaying | Phase::Asked | Phase::Up)
    }

    /// The number of the message that comes next.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    fn packets(&mut self, now: Now, rest: &mut &[u8], io: &mut Io) -> Result<(), Over> {
        loop {
            let whole = *rest;
            let frame = self.framer.next(rest);
            let bytes = &whole[..whole.len() - rest.len()];
            if !bytes.is_empty() {
                let bytes = bytes.to_vec();
                io.events.push(Event::Wire { sent: false, time_ns: now.epoch_ns, bytes });
            }
            match frame {
                Ok(Frame::Need(_)) => return Ok(()),
                Ok(Frame::Packet(packet)) => self.packet(now, packet, io)?,
                Err(refused) => {
                    io.refused(refused.to_string());
                    if let PacketError::TooLong { .. } = refused.reason {
                        return Err(Over::soon(refused.to_string()));
                    }
                }
            }
        }
    }

    fn packet(&mut self, now: Now, packet: Packet<'_>, io: &mut Io) -> Result<(), Over> {
        match (self.phase, packet) {
            (_, Packet::Debug(_)) => {}
            (Phase::LoggingIn, Packet::LoginAccepted(accepted)) => self.accepted(now, accepted, io)?,
            (Phase::LoggingIn, Packet::LoginRejected(reason)) => return Err(self.rejected(reason)),
            (Phase::LoggingIn, Packet::ServerHeartbeat) => {}
            (_, Packet::EndOfSession) => {
                // What it means for the orders is told by the next login, when there is another session.
                return Err(Over::wait("the venue's session is over"));
            }
            (Phase::LoggingIn | Phase::Down, other) => {
                let kind = other.packet_type().escape_ascii();
                return Err(Over::soon(format!("packet type {kind} before the login was answered")));
            }
            (_, Packet::SequencedData(message)) => self.sequenced(now, message, io)?,
            (Phase::Replaying, Packet::ServerHeartbeat) => self.ask(now, Question::CatchUp, io),
            (_, Packet::ServerHeartbeat) => {}
            (_, other) => {
                let kind = other.packet_type().escape_ascii();
                io.refused(format!("packet type {kind} after the login"));
            }
        }
        Ok(())
    }

    fn accepted(&mut self, now: Now, accepted: &LoginAccepted, io: &mut Io) -> Result<(), Over> {
        let name = String::from_utf8_lossy(accepted.session.trim_ascii()).into_owned();
        let begins = accepted.next_sequence.get().unwrap_or(0);
        let other = !self.session.is_empty() && name != self.session;
        let asked = if self.asking == Asking::Next { self.next } else { 1 };
        if begins < asked || (other && self.asking == Asking::Next) {
            self.asking = if self.asking == Asking::NewDay { Asking::NewDay } else { Asking::First };
            let why = format!(
                "asked for message {asked} of session {:?} and granted {begins} of {name:?}: beginning at its first",
                self.session
            );
            io.refused(why.clone());
            return Err(Over::soon(why));
        }
        match self.asking {
            Asking::Next => {}
            Asking::First if !other => self.recount = Some(self.next.max(self.recount.unwrap_or(1))),
            Asking::First | Asking::NewDay => {
                self.recount = None;
                io.events.push(Event::NewDay);
            }
        }
        if begins > asked {
            io.refused(format!("messages {asked} to {} are lost: the venue has them no more", begins - 1));
        }
        self.unsure |= self.asking != Asking::Next;
        (self.asking, self.next, self.session, self.phase) = (Asking::Next, begins, name, Phase::Replaying);
        self.last_why.clear();
        io.events.push(Event::Up { session: self.session.clone() });
        if !self.unsure {
            self.ask(now, Question::CatchUp, io);
        }
        Ok(())
    }

    fn rejected(&mut self, reason: u8) -> Over {
        match reason {
            NOT_AUTHORIZED => Over::wait("login rejected: user or password is wrong"),
            SESSION_NOT_AVAILABLE => {
                // The session is another now, or it has not as many messages: its first message tells which.
                let known = !self.session.is_empty() || self.next > 1;
                let first = self.asking == Asking::Next && known;
                let why = format!(
                    "login rejected: no message {} of session {:?}",
                    if self.asking == Asking::Next { self.next } else { 1 },
                    self.session
                );
                if self.asking != Asking::NewDay {
                    self.asking = if first { Asking::First } else { Asking::Next };
                }
                Over { why, wait: !first }
            }
            other => Over::wait(format!("login rejected: reason {}", other.escape_ascii())),
        }
    }

    fn sequenced(&mut self, now: Now, message: &[u8], io: &mut Io) -> Result<(), Over> {
        let number = self.next;
        self.next = number.saturating_add(1);
        let message = match Outbound::parse(message) {
            Ok((message, _)) => message,
            Err(error) => {
                io.refused(format!("message {number}: {error}"));
                return Ok(());
            }
        };
        if let Outbound::AccountQueryResponse(response) = message {
            return self.answered(now, response.next_user_ref_num.get(), io);
        }
        let place = Place { number, midnight_ns: new_york_midnight_ns(now.epoch_ns) };
        match decode::told(&message, place) {
            Ok(None) => {}
            Ok(Some(told)) => {
                self.questions.heard(&told);
                io.events.push(Event::Told(told));
            }
            Err(error) => io.refused(format!("message {number}: {error}")),
        }
        Ok(())
    }

    fn answered(&mut self, now: Now, next_free: WireRef, io: &mut Io) -> Result<(), Over> {
        self.used_ref = self.used_ref.max(next_free.saturating_sub(1));
        self.next_ref = self.next_ref.max(next_free);
        match self.questions.answered(next_free, &mut io.events) {
            Answer::Earlier | Answer::Settled => {}
            Answer::CaughtUp => {
                if let Some(before) = self.recount.take()
                    && self.next < before
                {
                    self.asking = Asking::NewDay;
                    let (next, session) = (self.next, &self.session);
                    let why = format!(
                        "session {session:?} was at message {before} and is at {next}: it began again"
                    );
                    io.refused(why.clone());
                    return Err(Over::soon(why));
                }
                (self.phase, self.unsure) = (Phase::Up, false);
                io.events.push(Event::CaughtUp);
                let held = std::mem::take(&mut self.held);
                if !held.is_empty() {
                    self.ask(now, Question::Settle(held), io);
                }
            }
            Answer::Doubtful(orders) => {
                for order in &orders {
                    let mut buffer = [0; PACKET_BYTES_MAX];
                    if let Ok(length) = encode::cancel(order.wire_ref(), &mut buffer) {
                        io.out.extend_from_slice(&buffer[..length]);
                        self.wrote(now, &buffer[..length], io);
                    }
                }
                self.ask(now, Question::Confirm(orders), io);
            }
        }
        Ok(())
    }

    /// Sends an account query.
    fn ask(&mut self, now: Now, question: Question, io: &mut Io) {
        if matches!(question, Question::CatchUp) {
            self.phase = Phase::Asked;
        }
        let mut buffer = [0; PACKET_BYTES_MAX];
        let query = Inbound::AccountQuery(&AccountQuery {});
        // One byte in a packet fits always.
        if let Ok(length) = encode::packet(&query, Appendage::ABSENT, &mut buffer) {
            self.questions.push(question);
            io.out.extend_from_slice(&buffer[..length]);
            self.wrote(now, &buffer[..length], io);
        }
    }

    /// These bytes leave for the venue.
    fn wrote(&mut self, now: Now, bytes: &[u8], io: &mut Io) {
        self.sent_ns = now.monotonic_ns;
        io.events.push(Event::Wire { sent: true, time_ns: now.epoch_ns, bytes: bytes.to_vec() });
    }

    /// Puts a packet out; `shown` is what the drop copy has of it.
    fn say(&mut self, now: Now, packet: &Packet<'_>, shown: Option<&Packet<'_>>, io: &mut Io) {
        let mut buffer = [0; PACKET_BYTES_MAX];
        let Ok(length) = packet.write(&mut buffer) else { return };
        io.out.extend_from_slice(&buffer[..length]);
        if let Some(shown) = shown {
            let _ = shown.write(&mut buffer);
        }
        self.wrote(now, &buffer[..length], io);
    }

    fn down(&self) -> LineError {
        LineError::Down { venue: self.settings.venue.clone() }
    }
}

impl Talk for Session {
    type Ready = Ready;

    /// A reference that was never given out.
    fn assign(&mut self) -> WireRef {
        let assigned = self.next_ref;
        self.next_ref = assigned.saturating_add(1);
        assigned
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError> {
        encode::outgoing(&self.settings, outgoing, &mut [0; PACKET_BYTES_MAX]).map(|_| ())
    }

    fn connected(&mut self, now: Now, io: &mut Io) -> Result<(), Over> {
        self.phase = Phase::LoggingIn;
        self.framer = Framer::new(Sender::Server, PACKET_LENGTH_MAX);
        self.partial.clear();
        (self.since_ns, self.received_ns) = (now.monotonic_ns, now.monotonic_ns);
        let (session, number) = match self.asking {
            Asking::Next if !self.session.is_empty() => (&self.session, self.next),
            Asking::Next => (&self.settings.session, self.next),
            Asking::First | Asking::NewDay => (&self.settings.session, 1),
        };
        let request = LoginRequest {
            username: self.settings.user,
            password: self.settings.password,
            // A name that does not fit was never granted; blank asks for the session that runs.
            session: left_padded(session).unwrap_or([b' '; 10]),
            next_sequence: Number::sequence(number),
        };
        let shown = LoginRequest { password: [b'*'; 10], ..request };
        self.say(now, &Packet::LoginRequest(&request, None), Some(&Packet::LoginRequest(&shown, None)), io);
        Ok(())
    }

    /// Its reference must be above those that the venue has seen: such an order would be passed over without an answer.
    fn ready(&mut self, _: Now, outgoing: &Outgoing) -> Result<Ready, LineError> {
        if !self.is_logged_on() {
            return Err(self.down());
        }
        let mut bytes = [0; PACKET_BYTES_MAX];
        let length = encode::outgoing(&self.settings, outgoing, &mut bytes)?;
        if !matches!(outgoing.action, OrderAction::Cancel { .. }) {
            let (wire_ref, used) = (outgoing.wire_ref, self.used_ref);
            if wire_ref <= used {
                let why = format!("UserRefNum {wire_ref} is not above {used}, which the venue has seen");
                return Err(LineError::Unspeakable { what: "reference", why });
            }
            self.used_ref = wire_ref;
        }
        Ok(Ready { bytes, length })
    }

    fn sent(&mut self, now: Now, ready: &Ready, left: usize, io: &mut Io) {
        self.wrote(now, &ready.bytes[..left], io);
    }

    /// Asks how these stand, as [`crate::line::Line::settle`] says. Before what was missed has come, the question waits
    /// for it.
    fn settle(&mut self, now: Now, in_doubt: &[Outgoing], io: &mut Io) -> Result<(), LineError> {
        if !self.is_logged_on() {
            return Err(self.down());
        }
        let orders = in_doubt.iter().map(InDoubt::of);
        if self.phase == Phase::Up {
            let orders: Vec<InDoubt> = orders.collect();
            self.ask(now, Question::Settle(orders), io);
        } else {
            self.held = orders.collect();
        }
        Ok(())
    }

    fn received(&mut self, now: Now, bytes: &[u8], io: &mut Io) -> Result<(), Over> {
        self.received_ns = now.monotonic_ns;
        let mut held = std::mem::take(&mut self.partial);
        held.extend_from_slice(bytes);
        let mut rest = held.as_slice();
        let result = self.packets(now, &mut rest, io);
        let consumed = held.len() - rest.len();
        held.drain(..consumed);
        self.partial = held;
        result
    }

    fn not_reading(&mut self, now: Now) {
        self.received_ns = now.monotonic_ns;
    }

    fn tick(&mut self, now: Now, io: &mut Io) -> Result<(), Over> {
        let since = |then_ns: u64| now.monotonic_ns.saturating_sub(then_ns);
        match self.phase {
            Phase::Down => {}
            Phase::LoggingIn if since(self.since_ns) >= self.settings.logon_ns => {
                return Err(Over::soon("the login was not answered in time"));
            }
            Phase::LoggingIn => {}
            _ if since(self.received_ns) >= self.settings.silence_ns => {
                let silent_ms = since(self.received_ns) / 1_000_000;
                return Err(Over::soon(format!("the venue was silent for {silent_ms} ms")));
            }
            _ if since(self.sent_ns) >= self.settings.heartbeat_ns => {
                self.say(now, &Packet::ClientHeartbeat, None, io);
            }
            _ => {}
        }
        Ok(())
    }

    fn closed(&mut self, now: Now, why: &str, io: &mut Io) -> bool {
        if !self.partial.is_empty() {
            let bytes = std::mem::take(&mut self.partial);
            io.events.push(Event::Wire { sent: false, time_ns: now.epoch_ns, bytes });
        }
        let was_logged_on = self.is_logged_on();
        self.unsure |= !self.questions.is_empty();
        self.questions.clear();
        self.held.clear();
        self.phase = Phase::Down;
        // A venue that is not there is told once, not with every attempt.
        if was_logged_on || why != self.last_why {
            why.clone_into(&mut self.last_why);
            io.events.push(Event::Down { why: why.to_owned() });
        }
        was_logged_on
    }

    /// §2.3.4.
    fn log_out(&mut self, now: Now, io: &mut Io) {
        if self.is_logged_on() {
            self.say(now, &Packet::LogoutRequest, None, io);
        }
    }

    /// The venue closes without an answer.
    fn is_logging_out(&self) -> bool {
        false
    }

    fn finish(&mut self) {}
}
