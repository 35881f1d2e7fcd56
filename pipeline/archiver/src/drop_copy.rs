//! An entry of `drop_copy`: one message between a gateway and a venue, as it was on the wire.

/// Longest message that is archived, bytes: thirty times the longest of OUCH or FIX that a gateway sends. What is longer
/// is refused, so that the stated memory holds.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Longest of the words, bytes.
const WORD_BYTES_MAX: usize = 32;

/// The way of an entry that says how many messages are missing.
const LOST: &str = "lost";

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropCopy<'a> {
    /// `venue`: the session.
    pub venue: &'a str,
    /// `way`: `sent`, `received`, or `lost`: so many messages found no room on their way here.
    pub way: &'a str,
    /// `lost`: how many; 0 of a message.
    pub lost: u64,
    /// `protocol`.
    pub protocol: &'a str,
    /// `time_ns`: when, ns since the epoch.
    pub time_ns: u64,
    /// `bytes`: with its framing.
    pub bytes: &'a [u8],
}

impl<'a> DropCopy<'a> {
    /// Reads an entry. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The field that breaks the contract, and how.
    pub fn parse(fields: &[(&'a [u8], &'a [u8])]) -> Result<DropCopy<'a>, String> {
        let field = |name: &str| {
            let mut found =
                fields.iter().filter(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value);
            let value = found.next().ok_or_else(|| format!("field `{name}` is missing"))?;
            if found.next().is_some() { Err(format!("field `{name}` is there twice")) } else { Ok(value) }
        };
        let word = |name: &str| {
            let text = std::str::from_utf8(field(name)?).unwrap_or_default();
            let is_word =
                (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            is_word
                .then_some(text)
                .ok_or_else(|| format!("field `{name}`: 1 to {WORD_BYTES_MAX} printable characters"))
        };
        let number = |name: &str| {
            let text = std::str::from_utf8(field(name)?).unwrap_or_default();
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.ok_or_else(|| format!("field `{name}`: a decimal number in range"))
        };
        let way = word("way")?;
        if !["sent", "received", LOST].contains(&way) {
            return Err("field `way`: sent, received or lost".into());
        }
        let bytes = field("bytes")?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(format!(
                "field `bytes` holds {}, at most {MESSAGE_BYTES_MAX} are archived",
                bytes.len()
            ));
        }
        Ok(DropCopy {
            venue: word("venue")?,
            way,
            lost: if way == LOST { number("lost")? } else { 0 },
            protocol: word("protocol")?,
            time_ns: number("time_ns")?,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&[u8], &[u8]); 5] = [
        (b"venue", b"XNAS"),
        (b"way", b"sent"),
        (b"time_ns", b"7"),
        (b"protocol", b"ouch50"),
        (b"bytes", b"\0\x01U"),
    ];

    #[test]
    fn a_message_is_read_and_what_is_not_known_is_passed_over() {
        let more = [GOOD.as_slice(), &[(b"later", b"field")]].concat();
        let wanted = DropCopy {
            venue: "XNAS",
            way: "sent",
            lost: 0,
            protocol: "ouch50",
            time_ns: 7,
            bytes: b"\0\x01U",
        };
        assert_eq!(DropCopy::parse(&more), Ok(wanted));
    }

    #[test]
    fn what_breaks_the_contract_is_named() {
        let long = vec![0; MESSAGE_BYTES_MAX + 1];
        let cases: [(usize, &[u8], &str); 7] = [
            (0, b"", "field `venue`: 1 to 32"),
            (0, b"two words", "field `venue`: 1 to 32"),
            (1, b"seen", "field `way`: sent, received or lost"),
            (1, b"lost", "field `lost` is missing"),
            (2, b"-1", "field `time_ns`"),
            (3, b"\xff", "field `protocol`"),
            (4, &long, "field `bytes` holds 65537"),
        ];
        for (at, value, expected) in cases {
            let mut fields = GOOD;
            fields[at].1 = value;
            let error = DropCopy::parse(&fields).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
            let twice = [GOOD.as_slice(), &GOOD[at..=at]].concat();
            assert!(DropCopy::parse(&twice).unwrap_err().contains("twice"));
        }
        assert_eq!(DropCopy::parse(&GOOD[1..]), Err("field `venue` is missing".into()));
    }
}
