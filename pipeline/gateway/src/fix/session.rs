//! The initiator's side of a FIX 4.4 session, without a socket or a clock: bytes and a time in, bytes and events out.
//! The rules are those of the specification's volume 2, "FIX Session Protocol".
//!
//! ```text
//!        Logon               answered            no gap, TestRequest         answered
//!   Off ──────► LoggingOn ─────────────► Catching ─────────────────────────────────► Up
//!    ▲                     (Event::Up)     asks for what it missed  (Event::CaughtUp)
//!    └── Over: closed, silent, refused, number too low, wrong names, logout
//! ```
//!
//! A message is taken in when it has the number that is expected. One above is passed over and all from the expected
//! one on is asked for, which brings it again. The TestRequest is answered behind everything before it, also behind
//! what the venue asks of us: after the answer neither side lacks anything.
//!
//! Invariants: each number is on disk before it is used ([`Numbers`]). Nothing is ever sent again: whatever a
//! ResendRequest asks for is answered with a gap fill, which the specification allows for orders that have aged. So an
//! order that did not arrive never will, and the status request says so. A venue that asks for orders while they are in
//! flight ends the connection by that: they have to be settled.

mod recovery;

use super::message::{self, BEGIN_STRING, Body, Fault, Frame, Framer, Message, RejectReason};
use super::numbers::{Numbers, NumbersError};
use super::orders::{self, Named};
use super::reports::{Read, Reports};
use super::settings::Settings;
use super::values;
use crate::connection::{Io, Now, Over, Talk};
use crate::line::{Event, LineError, Outgoing, WireRef};
use bus::OrderId;

/// How far SendingTime (52) may be from our time, ns: two minutes, as the specification proposes.
const SENDING_TIME_NS: u64 = 120_000_000_000;
/// Times that a gap without an answer is asked for, a silence apart.
const GAP_QUESTIONS_MAX: u32 = 3;
/// Longest text that is shown of what the venue wrote, characters.
const TEXT_CHARACTERS_MAX: usize = 200;
/// ResetSeqNumFlag (141).
const RESET_FLAG: u32 = 141;

impl From<NumbersError> for Over {
    fn from(error: NumbersError) -> Over {
        Over::wait(format!("no number can be used: {error}"))
    }
}

/// An order or question ready to be written.
pub struct Ready {
    named: Named,
    number: u64,
    bytes: Vec<u8>,
}

impl AsRef<[u8]> for Ready {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Off,
    /// Since when, monotonic, and whether the numbers begin again.
    LoggingOn {
        since_ns: u64,
        reset: bool,
    },
    Catching,
    Up,
    LoggingOut {
        since_ns: u64,
    },
}

/// Messages that are missing, up to this number.
#[derive(Clone, Copy, Debug)]
struct Gap {
    high: u64,
    /// What was expected when it was asked for last.
    from: u64,
    asked_ns: u64,
    asked: u32,
}

/// A TestRequest without an answer.
#[derive(Clone, Debug)]
struct Test {
    id: String,
    since_ns: u64,
}

/// One session of a day, over all its connections.
pub struct Session {
    settings: Settings,
    numbers: Numbers,
    framer: Framer,
    reports: Reports,
    phase: Phase,
    /// The number of the venue's next message.
    expected: u64,
    gap: Option<Gap>,
    test: Option<Test>,
    sent_ns: u64,
    heard_ns: u64,
}

impl Session {
    /// A session whose numbers go on where the store and the journal (`expected`) have them.
    pub fn new(settings: Settings, numbers: Numbers, expected: u64) -> Session {
        Session {
            settings,
            numbers,
            framer: Framer::default(),
            reports: Reports::default(),
            phase: Phase::Off,
            expected: expected.max(1),
            gap: None,
            test: None,
            sent_ns: 0,
            heard_ns: 0,
        }
    }
}

impl Talk for Session {
    type Ready = Ready;

    fn assign(&mut self) -> WireRef {
        // FIX names orders by their client order ids.
        0
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), LineError> {
        orders::check(outgoing)
    }

    fn is_logging_out(&self) -> bool {
        matches!(self.phase, Phase::LoggingOut { .. })
    }

    fn connected(&mut self, now: Now, io: &mut Io) -> Result<(), Over> {
        self.framer.clear();
        (self.gap, self.test) = (None, None);
        (self.sent_ns, self.heard_ns) = (now.monotonic_ns, now.monotonic_ns);
        let reset = self.settings.reset_on_new_day && !self.numbers.begun() && self.expected == 1;
        if reset {
            self.numbers.restart();
        }
        self.phase = Phase::LoggingOn { since_ns: now.monotonic_ns, reset };
        let body = Body::default().with(98, 0).with(108, self.settings.heartbeat.as_secs());
        let body = body.with_some(RESET_FLAG, reset.then_some('Y'));
        let body = body.with_some(553, self.settings.user.as_deref());
        let body = body.with_some(554, self.settings.password.as_deref());
        self.send(now, "A", &body, io)
    }

    fn closed(&mut self, _: Now, why: &str, io: &mut Io) -> bool {
        let was_on = matches!(self.phase, Phase::Catching | Phase::Up | Phase::LoggingOut { .. });
        self.phase = Phase::Off;
        self.reports.forget_questions();
        if was_on {
            io.events.push(Event::Down { why: why.to_owned() });
        }
        was_on
    }

    fn log_out(&mut self, now: Now, io: &mut Io) {
        if matches!(self.phase, Phase::Catching | Phase::Up)
            && self.send(now, "5", &Body::default(), io).is_ok()
        {
            self.phase = Phase::LoggingOut { since_ns: now.monotonic_ns };
        }
    }

    /// The next owner goes on without a hole.
    fn finish(&mut self) {
        if let Err(error) = self.numbers.close() {
            tracing::warn!(venue = self.settings.venue, %error, "the next owner leaves a hole in the numbers");
        }
    }

    fn not_reading(&mut self, now: Now) {
        self.heard_ns = now.monotonic_ns;
    }

    fn ready(&mut self, now: Now, outgoing: &Outgoing) -> Result<Ready, LineError> {
        let (named, body) = orders::order(outgoing, self.settings.account.as_deref(), now.epoch_ns)?;
        if self.phase != Phase::Up {
            return Err(self.down());
        }
        let number = self.numbers.take().map_err(|_| self.down())?;
        Ok(Ready { named, number, bytes: self.encode(now, named.message_type(), number, &body) })
    }

    fn sent(&mut self, now: Now, ready: &Ready, left: usize, io: &mut Io) {
        self.sent_ns = now.monotonic_ns;
        self.reports.sent(ready.number, ready.named);
        let bytes = ready.bytes[..left].to_vec();
        io.events.push(Event::Wire { sent: true, time_ns: now.epoch_ns, bytes });
    }

    fn settle(&mut self, now: Now, in_doubt: &[Outgoing], io: &mut Io) -> Result<(), LineError> {
        if self.phase != Phase::Up {
            return Err(self.down());
        }
        let mut asked_now: Vec<OrderId> = Vec::with_capacity(in_doubt.len());
        for outgoing in in_doubt {
            let question = orders::status(outgoing, self.settings.account.as_deref());
            let (asked, body) = question.ok_or_else(|| LineError::Unspeakable {
                what: "target",
                why: "an OrderStatusRequest names the order's side, which is not known".to_owned(),
            })?;
            self.reports.ask(asked, outgoing);
            if asked_now.contains(&asked) {
                continue;
            }
            asked_now.push(asked);
            let number = self.numbers.take().map_err(|_| self.down())?;
            let named = Named::Status(asked);
            self.reports.sent(number, named);
            let bytes = self.encode(now, named.message_type(), number, &body);
            self.write(now, bytes, io);
        }
        Ok(())
    }

    fn received(&mut self, now: Now, bytes: &[u8], io: &mut Io) -> Result<(), Over> {
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next() {
            let (bytes, why) = match frame {
                Frame::Message(bytes) => (bytes, None),
                Frame::Garbled(bytes, why) => (bytes, Some(why)),
            };
            io.events.push(Event::Wire { sent: false, time_ns: now.epoch_ns, bytes: bytes.clone() });
            match why {
                None => self.message(now, &Message::of(bytes), io)?,
                Some(why) => io.refused(format!("{} garbled bytes passed over: {why}", bytes.len())),
            }
        }
        Ok(())
    }

    /// At least ten times in a heartbeat interval.
    fn tick(&mut self, now: Now, io: &mut Io) -> Result<(), Over> {
        let waited = |since_ns: u64| now.monotonic_ns.saturating_sub(since_ns);
        let heartbeat_ns = self.settings.heartbeat.as_nanos() as u64;
        let logon_ns = self.settings.logon.as_nanos() as u64;
        // With what a message may take on its way: a fifth, as the specification proposes.
        let silence_ns = heartbeat_ns + heartbeat_ns / 5;
        match self.phase {
            Phase::Off => return Ok(()),
            Phase::LoggingOn { since_ns, .. } if waited(since_ns) > logon_ns => {
                return Err(Over::soon("no answer to the Logon"));
            }
            Phase::LoggingOut { since_ns } if waited(since_ns) > logon_ns => {
                return Err(Over::soon("no answer to the Logout"));
            }
            Phase::LoggingOn { .. } | Phase::LoggingOut { .. } => return Ok(()),
            Phase::Catching | Phase::Up => {}
        }
        self.numbers.refill()?;
        if let Some(test) = &self.test {
            // What comes meanwhile shows that the venue lives, but not that it takes in what we send.
            if waited(test.since_ns.max(self.heard_ns)) > silence_ns || waited(test.since_ns) > 5 * silence_ns
            {
                return Err(Over::soon("no answer to a TestRequest"));
            }
        } else if waited(self.heard_ns) > silence_ns {
            self.test(now, io)?;
        }
        if let Some(gap) = self.gap
            && waited(gap.asked_ns) > silence_ns
        {
            if gap.from < self.expected {
                self.gap = Some(Gap { from: self.expected, asked_ns: now.monotonic_ns, ..gap });
            } else if gap.asked >= GAP_QUESTIONS_MAX {
                return Err(self.log_out_with(now, "a ResendRequest was not answered", io));
            } else {
                self.ask_for_gap(now, gap.high, gap.asked, io)?;
            }
        }
        if waited(self.sent_ns) >= heartbeat_ns {
            self.send(now, "0", &Body::default(), io)?;
        }
        Ok(())
    }
}

impl Session {
    fn down(&self) -> LineError {
        LineError::Down { venue: self.settings.venue.clone() }
    }

    fn message(&mut self, now: Now, message: &Message, io: &mut Io) -> Result<(), Over> {
        self.heard_ns = now.monotonic_ns;
        let kind = message.word(35);
        if message.word(8) != BEGIN_STRING {
            let why = format!("BeginString (8) {:?} is not {BEGIN_STRING}", shown(message.word(8)));
            return Err(self.log_out_with(now, &why, io));
        }
        let Ok(number) = message.must_read(34, values::parse_number) else {
            return Err(self.log_out_with(now, "MsgSeqNum (34) is missing", io));
        };
        if let Some(fault) = self.wrong_name(message) {
            let why = format!("{fault}: {:?}", shown(message.word(fault.tag)));
            self.reject(now, message, number, &fault, io)?;
            return Err(self.log_out_with(now, &why, io));
        }
        if let Phase::LoggingOn { reset, .. } = self.phase {
            return self.logon(now, message, number, reset, io);
        }
        if let Err(fault) = sending_time(now, message) {
            self.take_in(number);
            self.reject(now, message, number, &fault, io)?;
            return match fault.reason {
                RejectReason::SendingTime => Err(self.log_out_with(now, &fault.to_string(), io)),
                _ => self.gap_may_end(now, io),
            };
        }
        let is_duplicate = message.word(43) == "Y";
        if kind == "4" && message.word(123) != "Y" {
            return self.sequence_reset(now, message, number, io);
        }
        if number < self.expected {
            if is_duplicate {
                return Ok(());
            }
            let why = format!("MsgSeqNum (34) too low: expected {}, received {number}", self.expected);
            return Err(Over { wait: true, ..self.log_out_with(now, &why, io) });
        }
        if number > self.expected {
            return self.too_high(now, message, kind, number, io);
        }
        self.take_in(number);
        match original_time(message).and(message.fault().cloned().map_or(Ok(()), Err)) {
            Err(fault) => self.reject(now, message, number, &fault, io)?,
            Ok(()) => self.dispatch(now, message, kind, number, io)?,
        }
        self.gap_may_end(now, io)
    }

    /// The venue writes its own name and ours.
    fn wrong_name(&self, message: &Message) -> Option<Fault> {
        let names = [(49, &self.settings.target), (56, &self.settings.sender)];
        let wrong = names.into_iter().find(|(tag, wanted)| message.word(*tag) != *wanted)?;
        Some(Fault { tag: wrong.0, reason: RejectReason::CompId })
    }

    /// A message in its turn.
    fn dispatch(
        &mut self,
        now: Now,
        message: &Message,
        kind: &str,
        number: u64,
        io: &mut Io,
    ) -> Result<(), Over> {
        let read = match kind {
            "0" => return self.heartbeat(message, io),
            "1" => match message.must(112) {
                Ok(id) => return self.send(now, "0", &Body::default().with(112, id), io),
                Err(fault) => Err(fault),
            },
            "2" => return self.resend(now, message, number, io),
            "4" => match message.must_read(36, values::parse_number) {
                Ok(next) if next > number => {
                    self.expected = next;
                    return Ok(());
                }
                Ok(_) => Err(Fault { tag: 36, reason: RejectReason::Value }),
                Err(fault) => Err(fault),
            },
            "5" => return Err(self.logged_out(now, message, io)),
            "A" if message.word(RESET_FLAG) == "Y" => {
                return Err(self.log_out_with(
                    now,
                    "ResetSeqNumFlag (141) within a session is not agreed",
                    io,
                ));
            }
            "A" => Ok(Read::Foreign("a second Logon".to_owned())),
            "8" => self.reports.execution(message, number),
            "9" => self.reports.cancel_reject(message, number),
            "3" | "j" => self.reports.refusal(message, number),
            _ => {
                let text = format!("MsgType (35) {:?} is not taken here", shown(kind));
                io.refused(format!("message {number}: {text}"));
                return self.business_reject(now, kind, number, 3, &text, io);
            }
        };
        match read {
            Ok(Read::Told(said)) => io.events.extend(said.into_iter().map(Event::Told)),
            Ok(Read::Foreign(why)) => io.refused(format!("message {number}: {}", shown(&why))),
            Err(fault) if matches!(fault.tag, 19 | 31 | 32) && fault.reason == RejectReason::Missing => {
                io.refused(format!("message {number} (35={kind}): {fault}"));
                return self.business_reject(now, kind, number, 5, &fault.to_string(), io);
            }
            Err(fault) => return self.reject(now, message, number, &fault, io),
        }
        Ok(())
    }

    /// The answer to our Logon, or its refusal.
    fn logon(
        &mut self,
        now: Now,
        message: &Message,
        number: u64,
        reset: bool,
        io: &mut Io,
    ) -> Result<(), Over> {
        match message.word(35) {
            "A" => {}
            "5" | "3" => {
                self.take_in(number);
                let words = shown(message.word(58)).to_owned();
                return Err(Over::wait(format!("the venue refused the logon: {words}")));
            }
            other => {
                return Err(Over::soon(format!(
                    "the venue's first message is no Logon: 35={}",
                    shown(other)
                )));
            }
        }
        if let Some(fault) = message.fault().cloned().or(sending_time(now, message).err()) {
            self.reject(now, message, number, &fault, io)?;
            return Err(self.log_out_with(now, &fault.to_string(), io));
        }
        let began_again = message.word(RESET_FLAG) == "Y";
        if began_again != reset {
            let why = if reset {
                "the venue does not begin its numbers again (141): leave reset_on_new_day out"
            } else {
                "the venue begins its numbers again (141), which was not asked for: is day_begins right?"
            };
            return Err(Over { wait: true, ..self.log_out_with(now, why, io) });
        }
        if number < self.expected {
            let why = format!("MsgSeqNum (34) too low: expected {}, received {number}", self.expected);
            return Err(Over { wait: true, ..self.log_out_with(now, &why, io) });
        }
        self.numbers.begin()?;
        self.phase = Phase::Catching;
        io.events.push(Event::Up { session: String::new() });
        if number > self.expected {
            self.ask_for_gap(now, number, 0, io)
        } else {
            self.take_in(number);
            self.test(now, io)
        }
    }

    /// The number is taken in, when it is the next one.
    fn take_in(&mut self, number: u64) {
        if number == self.expected {
            self.expected += 1;
        }
    }

    /// A Logout (5) came: answers it, unless it is the answer.
    fn logged_out(&mut self, now: Now, message: &Message, io: &mut Io) -> Over {
        let words = shown(message.word(58)).to_owned();
        if self.is_logging_out() {
            return Over::soon("logged out");
        }
        let _ = self.send(now, "5", &Body::default(), io);
        Over::soon(format!("the venue logged out: {words}"))
    }

    /// Says why in a Logout (5) and ends the connection.
    fn log_out_with(&mut self, now: Now, why: &str, io: &mut Io) -> Over {
        // Without a number it ends without a word.
        let _ = self.send(now, "5", &Body::default().with(58, why), io);
        Over::soon(why)
    }

    /// Refuses a message with a Reject (3). Its number counts as taken in by the caller.
    fn reject(
        &mut self,
        now: Now,
        message: &Message,
        number: u64,
        fault: &Fault,
        io: &mut Io,
    ) -> Result<(), Over> {
        let kind = message.word(35);
        io.refused(format!("message {number} (35={}): {fault}", shown(kind)));
        let body = Body::default().with(45, number);
        let body = body.with_some(371, (fault.tag > 0).then_some(fault.tag));
        let body = body.with_some(372, (!kind.is_empty()).then_some(kind));
        self.send(now, "3", &body.with(373, fault.reason as u8).with(58, fault), io)
    }

    fn business_reject(
        &mut self,
        now: Now,
        kind: &str,
        number: u64,
        reason: u8,
        text: &str,
        io: &mut Io,
    ) -> Result<(), Over> {
        let body = Body::default().with(45, number).with(372, kind).with(380, reason).with(58, text);
        self.send(now, "j", &body, io)
    }

    /// A session message under the next number.
    fn send(&mut self, now: Now, kind: &str, body: &Body, io: &mut Io) -> Result<(), Over> {
        let number = self.numbers.take()?;
        let bytes = self.encode(now, kind, number, body);
        self.write(now, bytes, io);
        Ok(())
    }

    fn encode(&self, now: Now, kind: &str, number: u64, body: &Body) -> Vec<u8> {
        message::encode(&self.header(now, kind, number), body)
    }

    fn header<'a>(&'a self, now: Now, kind: &'a str, number: u64) -> message::Header<'a> {
        message::Header {
            message_type: kind,
            number,
            sender: &self.settings.sender,
            target: &self.settings.target,
            sending_time_ns: now.epoch_ns,
            possible_duplicate: false,
        }
    }

    fn write(&mut self, now: Now, bytes: Vec<u8>, io: &mut Io) {
        self.sent_ns = now.monotonic_ns;
        io.out.extend_from_slice(&bytes);
        let bytes = self.without_password(bytes);
        io.events.push(Event::Wire { sent: true, time_ns: now.epoch_ns, bytes });
    }

    /// The drop copy has stars where the password is.
    fn without_password(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let Some(password) = &self.settings.password else { return bytes };
        let field = format!("\x01554={password}\x01");
        let at = bytes.windows(field.len()).position(|window| window == field.as_bytes());
        if let Some(at) = at {
            bytes[at + 5..at + field.len() - 1].fill(b'*');
        }
        bytes
    }
}

/// The begin of what the venue wrote, as it can be shown and sent back.
fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(TEXT_CHARACTERS_MAX).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

/// SendingTime (52) is there, and near our time unless the message is a duplicate.
fn sending_time(now: Now, message: &Message) -> Result<(), Fault> {
    let time_ns = message.must_read(52, values::parse_timestamp)?;
    if message.word(43) != "Y" && time_ns.abs_diff(now.epoch_ns) > SENDING_TIME_NS {
        return Err(Fault { tag: 52, reason: RejectReason::SendingTime });
    }
    Ok(())
}

/// A duplicate has OrigSendingTime (122), not after SendingTime (52).
fn original_time(message: &Message) -> Result<(), Fault> {
    if message.word(43) != "Y" || message.word(35) == "4" {
        return Ok(());
    }
    let original = message.must_read(122, values::parse_timestamp)?;
    match message.read(52, values::parse_timestamp)? {
        Some(sent) if original > sent => Err(Fault { tag: 122, reason: RejectReason::SendingTime }),
        _ => Ok(()),
    }
}
