//! One entry of `raw_market_data`: the ticks of a range of a channel's sequence numbers, or the statement
//! that a range is missing.
//!
//! The encoder and the parser are both here and are each other's inverse. The parser trusts nothing: an
//! entry that breaks the contract is refused with the field and the reason, and costs the reader that
//! entry only.

use tick::{Action, GapReason, Tick};
use zerocopy::{FromBytes, IntoBytes};

/// One entry. The ticks are borrowed, from the writer's batch or from the reply they came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// `c`: the channel.
    pub channel_id: u16,
    /// `s`: first sequence number covered.
    pub first: u64,
    /// `l`: last sequence number covered, inclusive. Not every number yields a tick.
    pub last: u64,
    /// What is said about that range.
    pub content: Content<'a>,
}

/// What an entry says about its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// `n` and `d`: the range's ticks, in channel order, 64 bytes each; there may be none.
    Ticks(&'a [u8]),
    /// `g`: the range is missing, and why.
    Gap(GapReason),
}

/// Why an entry was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// The reply is not of the shape that XREAD, XREADGROUP or XRANGE gives.
    #[error("not a stream reply: {0}")]
    Shape(&'static str),
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field is there twice.
    #[error("field `{0}` is there twice")]
    Twice(&'static str),
    /// A number is not decimal or out of range.
    #[error("field `{0}` is not a number in range")]
    Number(&'static str),
    /// `s` is greater than `l`.
    #[error("the range is empty: s {first} is after l {last}")]
    Range {
        /// `s`.
        first: u64,
        /// `l`.
        last: u64,
    },
    /// `d` is not `n` × 64 bytes.
    #[error("n says {count} ticks, d holds {bytes} bytes ({} bytes a tick)", Tick::SIZE)]
    Length {
        /// `n`.
        count: u64,
        /// Length of `d`.
        bytes: usize,
    },
    /// Both `d` and `g`, or a reason that this version does not know.
    #[error("field `g` is not a known reason, or stands beside `n` or `d`")]
    Gap,
    /// A tick that does not belong: other channel, outside `s`..=`l`, a gap record, or a channel clear that
    /// is not the first.
    #[error("tick {index}: {what}")]
    Tick {
        /// Which, from 0.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// The name of a reason in field `g`.
pub fn reason_name(reason: GapReason) -> &'static str {
    match reason {
        GapReason::RingFull => "ring_full",
        GapReason::SpoolFull => "spool_full",
        GapReason::Offline => "offline",
        _ => "lost",
    }
}

fn reason_of(name: &[u8]) -> Option<GapReason> {
    [GapReason::Lost, GapReason::RingFull, GapReason::SpoolFull, GapReason::Offline]
        .into_iter()
        .find(|&reason| reason_name(reason).as_bytes() == name)
}

/// Whether this tick empties every book of its channel and starts a new count.
#[inline]
pub fn is_channel_clear(tick: &Tick) -> bool {
    tick.action == Action::Clear && tick.instrument_id == 0
}

impl<'a> Entry<'a> {
    /// An entry of ticks.
    pub fn of_ticks(channel_id: u16, first: u64, last: u64, ticks: &'a [Tick]) -> Entry<'a> {
        Entry { channel_id, first, last, content: Content::Ticks(ticks.as_bytes()) }
    }

    /// An entry that declares `first..=last` missing.
    pub fn of_gap(channel_id: u16, first: u64, last: u64, why: GapReason) -> Entry<'a> {
        Entry { channel_id, first, last, content: Content::Gap(why) }
    }

    /// How many fields [`Entry::for_each_field`] visits.
    pub fn field_count(&self) -> usize {
        match self.content {
            Content::Ticks(_) => 5,
            Content::Gap(_) => 4,
        }
    }

    /// Calls `visit` with each field's name and value, in the contract's order.
    pub fn for_each_field(&self, mut visit: impl FnMut(&str, &[u8])) {
        let mut digits = [0u8; 20];
        visit("c", decimal(&mut digits, u64::from(self.channel_id)));
        visit("s", decimal(&mut digits, self.first));
        visit("l", decimal(&mut digits, self.last));
        match self.content {
            Content::Ticks(data) => {
                visit("n", decimal(&mut digits, (data.len() / Tick::SIZE) as u64));
                visit("d", data);
            }
            Content::Gap(why) => visit("g", reason_name(why).as_bytes()),
        }
    }

    /// Reads an entry from its fields. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract.
    pub fn parse(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Entry<'a>, EntryError> {
        const NAMES: [&str; 6] = ["c", "s", "l", "n", "d", "g"];
        let found = pick(&NAMES, fields).map_err(EntryError::Twice)?;
        let number = |place: usize| {
            let bytes = found[place].ok_or(EntryError::Missing(NAMES[place]))?;
            parse_decimal(bytes).ok_or(EntryError::Number(NAMES[place]))
        };
        let channel_id = u16::try_from(number(0)?).map_err(|_| EntryError::Number("c"))?;
        let (first, last) = (number(1)?, number(2)?);
        if first > last {
            return Err(EntryError::Range { first, last });
        }
        if let Some(name) = found[5] {
            let why = reason_of(name).filter(|_| found[3].is_none() && found[4].is_none());
            return Ok(Entry::of_gap(channel_id, first, last, why.ok_or(EntryError::Gap)?));
        }
        let count = number(3)?;
        let data = found[4].ok_or(EntryError::Missing("d"))?;
        if count.checked_mul(Tick::SIZE as u64) != Some(data.len() as u64) {
            return Err(EntryError::Length { count, bytes: data.len() });
        }
        let entry = Entry { channel_id, first, last, content: Content::Ticks(data) };
        entry.check_ticks()?;
        Ok(entry)
    }

    fn check_ticks(&self) -> Result<(), EntryError> {
        for (index, tick) in self.ticks().enumerate() {
            let what = if tick.channel_id != self.channel_id {
                "belongs to another channel"
            } else if tick.sequence < self.first || tick.sequence > self.last {
                "sequence number outside the entry's range"
            } else if tick.action == Action::Gap {
                "a gap record, which must be an entry of its own"
            } else if index > 0 && is_channel_clear(&tick) {
                "a channel clear, which must begin an entry"
            } else {
                continue;
            };
            return Err(EntryError::Tick { index, what });
        }
        Ok(())
    }

    /// The ticks; none when this is a gap.
    pub fn ticks(&self) -> impl Iterator<Item = Tick> + 'a {
        let data = match self.content {
            Content::Ticks(data) => data,
            Content::Gap(_) => &[],
        };
        data.chunks_exact(Tick::SIZE).filter_map(|bytes| Tick::read_from_bytes(bytes).ok())
    }

    /// Whether the sender's count starts over with this entry.
    pub fn restarts(&self) -> bool {
        self.ticks().next().is_some_and(|tick| is_channel_clear(&tick))
    }
}

/// Writes `value` in decimal at the end of `digits` and returns that part.
fn decimal(digits: &mut [u8; 20], mut value: u64) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

/// The values of these fields, in the names' order, none where one is not there. Other fields are passed over.
///
/// # Errors
/// The name of a field that is there twice.
pub(crate) fn pick<'a, const N: usize>(
    names: &[&'static str; N],
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<[Option<&'a [u8]>; N], &'static str> {
    let mut found = [None; N];
    for (name, value) in fields {
        let Some(place) = names.iter().position(|known| known.as_bytes() == name) else { continue };
        if found[place].replace(value).is_some() {
            return Err(names[place]);
        }
    }
    Ok(found)
}

pub(crate) fn parse_decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
