//! FIX's tag=value encoding: bytes into messages and back. Knows framing, checksums and fields, and no message's meaning.
//!
//! A message whose first three fields, length or checksum are not as the specification says is garbled: it is passed
//! over, and reading goes on at the next that begins. Nothing valid behind it is lost.

use super::values;
use std::fmt::{Display, Write};
use std::ops::Range;

/// The delimiter behind each field.
pub(super) const SOH: u8 = 1;
/// The version in BeginString (8).
pub(super) const BEGIN_STRING: &str = "FIX.4.4";
/// Longest message that is taken, bytes: a length above it is taken for a garbled one, so that a wrong length does not
/// make the reader wait for what never comes.
pub(super) const MESSAGE_BYTES_MAX: usize = 65_536;
/// `10=nnn` and its delimiter.
const TRAILER_BYTES: usize = 7;
/// Longest `8=…|9=…|`: a version of 16 characters, a length of 6 digits.
const PREFIX_BYTES_MAX: usize = 2 + 16 + 1 + 2 + 6 + 1;

/// What the bytes hold next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    /// A message with right length and checksum, all of it.
    Message(Vec<u8>),
    /// Bytes that are none, and why.
    Garbled(Vec<u8>, &'static str),
}

/// Cuts a stream of bytes into messages. Holds at most one message and what was pushed last.
#[derive(Default)]
pub(super) struct Framer {
    buffer: Vec<u8>,
    /// What is before it was given out.
    begin: usize,
}

enum Look {
    /// More bytes are needed.
    More,
    /// A message of so many bytes.
    Whole(usize),
    /// None begins here.
    Garbled(&'static str),
}

impl Framer {
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.begin = 0;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.begin);
        self.begin = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; none until more bytes come.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let rest = &self.buffer[self.begin..];
        if rest.is_empty() {
            return None;
        }
        match look(rest) {
            Look::More => None,
            Look::Whole(length) => Some(Frame::Message(self.take(length))),
            Look::Garbled(why) => {
                // The next may begin anywhere behind, also inside what a wrong length claimed.
                let next = (1..rest.len()).find(|&at| may_begin(&rest[at..])).unwrap_or(rest.len());
                Some(Frame::Garbled(self.take(next), why))
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let begin = self.begin;
        self.begin += length;
        self.buffer[begin..self.begin].to_vec()
    }
}

/// Whether these bytes are the begin of a message, as far as they go.
fn may_begin(bytes: &[u8]) -> bool {
    let begin = b"8=FIX";
    let length = bytes.len().min(begin.len());
    bytes[..length] == begin[..length]
}

fn look(bytes: &[u8]) -> Look {
    if !may_begin(bytes) {
        return Look::Garbled("BeginString (8) is not first");
    }
    let prefix = &bytes[..bytes.len().min(PREFIX_BYTES_MAX)];
    let more = |why| if bytes.len() < PREFIX_BYTES_MAX { Look::More } else { Look::Garbled(why) };
    let Some(version_end) = prefix.iter().position(|&byte| byte == SOH) else {
        return more("BeginString (8) has no end");
    };
    let rest = &prefix[version_end + 1..];
    if !b"9=".starts_with(&rest[..rest.len().min(2)]) {
        return Look::Garbled("BodyLength (9) is not second");
    }
    let Some(length_end) = rest.iter().position(|&byte| byte == SOH) else {
        return more("BodyLength (9) has no end");
    };
    let number = std::str::from_utf8(&rest[2..length_end]).ok().and_then(values::parse_number);
    let Some(body) = number.filter(|&body| (1..=MESSAGE_BYTES_MAX as u64).contains(&body)) else {
        return Look::Garbled("BodyLength (9) is no length of a message");
    };
    let begin = version_end + 1 + length_end + 1;
    let end = begin + body as usize;
    let type_begin = &bytes[begin..bytes.len().min(begin + 3)];
    if !b"35=".starts_with(type_begin) {
        return Look::Garbled("MsgType (35) is not third");
    }
    if bytes.len() < end + TRAILER_BYTES {
        return Look::More;
    }
    let trailer = &bytes[end..end + TRAILER_BYTES];
    let digits = &trailer[3..6];
    if bytes[end - 1] != SOH || &trailer[..3] != b"10=" || trailer[6] != SOH {
        return Look::Garbled("CheckSum (10) is not where BodyLength (9) says");
    }
    if digits != format!("{:03}", checksum(&bytes[..end])).as_bytes() {
        return Look::Garbled("CheckSum (10) is wrong");
    }
    Look::Whole(end + TRAILER_BYTES)
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// SessionRejectReason (373).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum RejectReason {
    InvalidTag = 0,
    Missing = 1,
    Empty = 4,
    Value = 5,
    Format = 6,
    CompId = 9,
    SendingTime = 10,
    Twice = 13,
}

/// What is wrong with a message that is not garbled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// The field.
    pub(super) tag: u32,
    pub(super) reason: RejectReason,
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let why = match self.reason {
            RejectReason::InvalidTag => "is no tag",
            RejectReason::Missing => "is missing",
            RejectReason::Empty => "is empty",
            RejectReason::Value => "has a value out of range",
            RejectReason::Format => "cannot be read",
            RejectReason::CompId => "is not the agreed one",
            RejectReason::SendingTime => "is too far from the time here",
            RejectReason::Twice => "is there twice",
        };
        write!(f, "field {} {why}", self.tag)
    }
}

/// A message in its fields, as they stand in it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    fields: Vec<(u32, Range<usize>)>,
    fault: Option<Fault>,
}

/// Fields whose value is as long as the field before it says, because it may hold delimiters: (length, data).
const DATA_FIELDS: [(u32, u32); 16] = [
    (90, 91),
    (93, 89),
    (95, 96),
    (212, 213),
    (348, 349),
    (350, 351),
    (352, 353),
    (354, 355),
    (356, 357),
    (358, 359),
    (360, 361),
    (362, 363),
    (364, 365),
    (445, 446),
    (618, 619),
    (621, 622),
];

impl Message {
    /// Cuts a message that [`Framer`] gave into its fields. The first that is none is kept as the message's fault.
    pub(super) fn of(bytes: Vec<u8>) -> Message {
        let mut fields = Vec::with_capacity(24);
        let mut fault = None;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let Some(end) = rest.iter().position(|&byte| byte == SOH) else { break };
            let sign = rest[..end].iter().position(|&byte| byte == b'=');
            let tag = sign
                .and_then(|sign| std::str::from_utf8(&rest[..sign]).ok())
                .filter(|tag| !tag.starts_with('0'))
                .and_then(values::parse_number)
                .and_then(|tag| u32::try_from(tag).ok());
            let (Some(sign), Some(tag)) = (sign, tag) else {
                fault = fault.or(Some(Fault { tag: tag.unwrap_or(0), reason: RejectReason::InvalidTag }));
                at += end + 1;
                continue;
            };
            let end = data_end(&bytes, &fields, tag, at + sign + 1).unwrap_or(at + end);
            if end == at + sign + 1 {
                fault = fault.or(Some(Fault { tag, reason: RejectReason::Empty }));
            } else {
                fields.push((tag, at + sign + 1..end));
            }
            at = end + 1;
        }
        Message { bytes, fields, fault }
    }

    /// What is wrong with its fields whatever they mean.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// A field's value; none when it is not there. The first, where it is there more than once.
    ///
    /// # Errors
    /// It is not text.
    pub(super) fn text(&self, tag: u32) -> Result<Option<&str>, Fault> {
        let Some((_, at)) = self.fields.iter().find(|(known, _)| *known == tag) else { return Ok(None) };
        match std::str::from_utf8(&self.bytes[at.clone()]) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Fault { tag, reason: RejectReason::Format }),
        }
    }

    /// As [`Message::text`], for what only is shown or compared.
    pub(super) fn word(&self, tag: u32) -> &str {
        self.text(tag).ok().flatten().unwrap_or_default()
    }

    /// A field's value, which must be there, once.
    ///
    /// # Errors
    /// It is missing, there twice, or not text.
    pub(super) fn must(&self, tag: u32) -> Result<&str, Fault> {
        if self.fields.iter().filter(|(known, _)| *known == tag).count() > 1 {
            return Err(Fault { tag, reason: RejectReason::Twice });
        }
        self.text(tag)?.ok_or(Fault { tag, reason: RejectReason::Missing })
    }

    /// A field's value as `parse` reads it, when it is there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(super) fn read<T>(&self, tag: u32, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Fault> {
        match self.text(tag)? {
            Some(text) => parse(text).map(Some).ok_or(Fault { tag, reason: RejectReason::Format }),
            None => Ok(None),
        }
    }

    /// A field's value as `parse` reads it, which must be there, once.
    ///
    /// # Errors
    /// As [`Message::must`] and [`Message::read`].
    pub(super) fn must_read<T>(&self, tag: u32, parse: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
        parse(self.must(tag)?).ok_or(Fault { tag, reason: RejectReason::Format })
    }
}

/// The end of a data field whose value begins at `begin`, when the field before it gives a length that fits.
fn data_end(bytes: &[u8], fields: &[(u32, Range<usize>)], tag: u32, begin: usize) -> Option<usize> {
    let (length_tag, at) = fields.last()?;
    DATA_FIELDS.iter().find(|(length, data)| length == length_tag && *data == tag)?;
    let length = std::str::from_utf8(&bytes[at.clone()]).ok().and_then(values::parse_number)?;
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    (bytes.get(end) == Some(&SOH)).then_some(end)
}

/// The fields of a message's body, as they are written.
#[derive(Clone, Default, Debug)]
pub(super) struct Body(String);

impl Body {
    /// With one more field. The value has no delimiter in it: callers check what comes from outside.
    pub(super) fn with(mut self, tag: u32, value: impl Display) -> Body {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{tag}={value}\x01");
        self
    }

    /// With one more field when there is a value.
    pub(super) fn with_some(self, tag: u32, value: Option<impl Display>) -> Body {
        match value {
            Some(value) => self.with(tag, value),
            None => self,
        }
    }
}

/// What stands before a message's body.
pub(super) struct Header<'a> {
    pub(super) message_type: &'a str,
    pub(super) number: u64,
    pub(super) sender: &'a str,
    pub(super) target: &'a str,
    /// ns since the epoch.
    pub(super) sending_time_ns: u64,
    /// PossDupFlag (43), with OrigSendingTime (122).
    pub(super) possible_duplicate: bool,
}

/// A whole message.
pub(super) fn encode(header: &Header<'_>, body: &Body) -> Vec<u8> {
    let time = values::timestamp(header.sending_time_ns);
    let mut head = Body::default()
        .with(35, header.message_type)
        .with(34, header.number)
        .with(49, header.sender)
        .with(56, header.target);
    if header.possible_duplicate {
        head = head.with(43, 'Y').with(122, &time);
    }
    let head = head.with(52, &time);
    let length = head.0.len() + body.0.len();
    let mut bytes = format!("8={BEGIN_STRING}\x019={length}\x01{}{}", head.0, body.0).into_bytes();
    let sum = checksum(&bytes);
    bytes.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Vec<u8> {
        let header = Header {
            message_type: "8",
            number: 7,
            sender: "US",
            target: "THEM",
            sending_time_ns: 1_790_000_000_000_000_000,
            possible_duplicate: false,
        };
        encode(&header, &Body(body.replace('|', "\x01")))
    }

    fn frames(bytes: &[u8]) -> Vec<Frame> {
        let mut framer = Framer::default();
        framer.push(bytes);
        std::iter::from_fn(|| framer.next()).collect()
    }

    fn messages(bytes: &[u8]) -> usize {
        frames(bytes).iter().filter(|frame| matches!(frame, Frame::Message(_))).count()
    }

    #[test]
    fn a_message_is_written_as_the_specification_has_it() {
        // Length and checksum counted by hand with `wc -c` and `awk`.
        let text = String::from_utf8(message("55=AB|")).unwrap().replace('\x01', "|");
        assert_eq!(text, "8=FIX.4.4|9=55|35=8|34=7|49=US|56=THEM|52=20260921-14:13:20.000|55=AB|10=214|");
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let bytes = [message("55=AB|"), message("58=8=FIX|"), message("37=1|")].concat();
        for cut in 0..bytes.len() {
            let mut framer = Framer::default();
            framer.push(&bytes[..cut]);
            let mut found: Vec<_> = std::iter::from_fn(|| framer.next()).collect();
            framer.push(&bytes[cut..]);
            found.extend(std::iter::from_fn(|| framer.next()));
            assert_eq!(found.len(), 3, "cut at {cut}");
            assert!(found.iter().all(|frame| matches!(frame, Frame::Message(_))), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_garbled_takes_nothing_valid_behind_it() {
        let good = message("55=AB|");
        for at in 0..good.len() {
            // One byte flipped, one lost, and the rest of the message lost.
            let mut flipped = good.clone();
            flipped[at] ^= 0x10;
            let mut shorter = good.clone();
            shorter.remove(at);
            for broken in [flipped, shorter, good[..at].to_vec()] {
                // A wrong length may claim what follows until more has come than it claimed.
                let bytes = [&broken[..], &good, &good, &vec![good.clone(); 30].concat()].concat();
                let found = messages(&bytes);
                assert!((32..=33).contains(&found), "at {at}: {found} of 32");
            }
        }
    }

    #[test]
    fn a_length_that_no_message_has_is_not_waited_for() {
        for length in ["0", "65537", "999999", "9999999", "-5", "x", ""] {
            let bytes = format!("8=FIX.4.4\x019={length}\x0135=0\x01").into_bytes();
            let bytes = [bytes, message("55=AB|")].concat();
            assert_eq!(messages(&bytes), 1, "length {length:?}");
        }
    }

    #[test]
    fn data_fields_may_hold_delimiters_and_wrong_lengths_do_no_harm() {
        let read = |body: &str| Message::of(message(body));
        assert_eq!(read("95=3|96=a|b|55=Z|").text(55), Ok(Some("Z")));
        assert_eq!(read("95=3|96=a|b|55=Z|").text(96), Ok(Some("a\x01b")));
        assert_eq!(read("95=900|96=ab|55=Z|").text(55), Ok(Some("Z")));
        assert_eq!(read("95=18446744073709551615|96=ab|55=Z|").text(55), Ok(Some("Z")));
    }

    #[test]
    fn a_field_that_is_none_is_named() {
        let fault = |body: &str| Message::of(message(body)).fault().cloned();
        assert_eq!(fault("55=AB|"), None);
        assert_eq!(fault("55=|"), Some(Fault { tag: 55, reason: RejectReason::Empty }));
        for body in ["x=1|", "=1|", "0=1|", "055=1|", "99999999999=1|", "|", "abc|"] {
            assert_eq!(fault(body), Some(Fault { tag: 0, reason: RejectReason::InvalidTag }), "{body}");
        }
        let twice = Message::of(message("55=A|55=B|"));
        assert_eq!(twice.must(55), Err(Fault { tag: 55, reason: RejectReason::Twice }));
        assert_eq!(twice.must(1), Err(Fault { tag: 1, reason: RejectReason::Missing }));
    }
}
