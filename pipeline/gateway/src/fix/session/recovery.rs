//! How the two sides come to lack nothing: gaps, requests for what is missing, and the question whether all is there.

use super::{Gap, Io, Now, Over, Phase, Session, Test};
use crate::fix::message::{self, Body, Fault, Message, RejectReason};
use crate::fix::values;
use crate::line::Event;

impl Session {
    /// A message whose number is above the expected one: what is missing is asked for, and brings it again. What must
    /// not wait for that is answered.
    pub(super) fn too_high(
        &mut self,
        now: Now,
        message: &Message,
        kind: &str,
        number: u64,
        io: &mut Io,
    ) -> Result<(), Over> {
        match kind {
            "2" => self.resend(now, message, number, io)?,
            "5" => return Err(self.logged_out(now, message, io)),
            _ => {}
        }
        match &mut self.gap {
            Some(gap) => {
                gap.high = gap.high.max(number);
                Ok(())
            }
            None => self.ask_for_gap(now, number, 0, io),
        }
    }

    pub(super) fn ask_for_gap(&mut self, now: Now, high: u64, asked: u32, io: &mut Io) -> Result<(), Over> {
        let (from, asked_ns) = (self.expected, now.monotonic_ns);
        self.gap = Some(Gap { high, from, asked_ns, asked: asked + 1 });
        // EndSeqNo 0: all up to the last.
        self.send(now, "2", &Body::default().with(7, from).with(16, 0), io)
    }

    /// Whether what was missing is there: then the venue is asked once more whether all is.
    pub(super) fn gap_may_end(&mut self, now: Now, io: &mut Io) -> Result<(), Over> {
        if self.gap.is_none_or(|gap| self.expected <= gap.high) {
            return Ok(());
        }
        self.gap = None;
        if self.phase == Phase::Catching { self.test(now, io) } else { Ok(()) }
    }

    /// A ResendRequest (2): a gap fill for all of it. See the top of this file.
    pub(super) fn resend(
        &mut self,
        now: Now,
        message: &Message,
        number: u64,
        io: &mut Io,
    ) -> Result<(), Over> {
        let last = self.numbers.next() - 1;
        let range = message.must_read(7, values::parse_number).and_then(|begin| {
            let end = message.must_read(16, values::parse_number)?;
            let end = if end == 0 { last } else { end.min(last) };
            if begin == 0 || begin > end {
                return Err(Fault { tag: 7, reason: RejectReason::Value });
            }
            Ok((begin, end))
        });
        let (begin, end) = match range {
            Ok(range) => range,
            Err(fault) => return self.reject(now, message, number, &fault, io),
        };
        let header = message::Header { possible_duplicate: true, ..self.header(now, "4", begin) };
        let bytes = message::encode(&header, &Body::default().with(123, 'Y').with(36, end + 1));
        self.write(now, bytes, io);
        if self.test.is_some() {
            // It may have been in what was filled.
            self.test(now, io)?;
        }
        if self.phase == Phase::Up && self.reports.has_order(begin, end) {
            // The venue takes none of them any more. Which it had taken before is settled after the next logon.
            return Err(self.log_out_with(now, "orders are asked for again, and not sent again", io));
        }
        Ok(())
    }

    /// A SequenceReset (4) without gap fill: its own number does not count, and what it leaves out is lost.
    pub(super) fn sequence_reset(
        &mut self,
        now: Now,
        message: &Message,
        number: u64,
        io: &mut Io,
    ) -> Result<(), Over> {
        let next = match message.must_read(36, values::parse_number) {
            Ok(next) if next >= self.expected => next,
            Ok(_) => {
                let fault = Fault { tag: 36, reason: RejectReason::Value };
                return self.reject(now, message, number, &fault, io);
            }
            Err(fault) => return self.reject(now, message, number, &fault, io),
        };
        if next > self.expected {
            io.refused(format!(
                "the venue leaves out its messages {} to {} (SequenceReset): what they said is not known",
                self.expected,
                next - 1
            ));
        }
        self.expected = next;
        self.gap_may_end(now, io)
    }

    pub(super) fn heartbeat(&mut self, message: &Message, io: &mut Io) -> Result<(), Over> {
        if self.test.as_ref().is_some_and(|test| test.id == message.word(112)) {
            self.test = None;
            if self.phase == Phase::Catching {
                self.phase = Phase::Up;
                io.events.push(Event::CaughtUp);
            }
        }
        Ok(())
    }

    /// Asks for a sign of life. Its id is its number, so that each is another.
    pub(super) fn test(&mut self, now: Now, io: &mut Io) -> Result<(), Over> {
        let id = format!("T{}", self.numbers.next());
        self.send(now, "1", &Body::default().with(112, &id), io)?;
        self.test = Some(Test { id, since_ns: now.monotonic_ns });
        Ok(())
    }
}
