//! How far a channel is published in a stream. Written in the same Redis transaction as the entry that
//! reaches it, so that it is never ahead of the stream and never behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Channel id to position.
pub type Positions = BTreeMap<u16, Position>;

/// The last sequence number of a channel that the stream covers. As text: `epoch:last:run:number`, all but
/// `last` in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Which count of the sender `last` belongs to: the `ts_recv` (ns) of the channel clear that began it,
    /// 0 before the first. Only positions of one epoch can be compared.
    pub epoch: u64,
    /// The sequence number. Its ticks, and those of all before it, are in the stream or declared missing.
    pub last: u64,
    /// The write that brought it here.
    pub write: WriteId,
}

/// Names one write of one publisher, so that a publisher whose connection broke can tell whether its last
/// write was carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteId {
    /// One run of one publisher.
    pub run: u64,
    /// The write's number in that run.
    pub number: u64,
}

impl Position {
    /// Whether `self` is further than `other`: a later count, or further in the same.
    pub fn is_after(&self, other: &Position) -> bool {
        (self.epoch, self.last) > (other.epoch, other.last)
    }
}

/// A stored position that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is not a position; expected epoch:last:run:number")]
pub struct PositionError {
    text: String,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}:{:x}:{:x}", self.epoch, self.last, self.write.run, self.write.number)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        read(text).ok_or_else(|| PositionError { text: text.chars().take(64).collect() })
    }
}

fn read(text: &str) -> Option<Position> {
    let mut parts = text.split(':');
    let mut next = |radix: u32| {
        let part = parts.next()?;
        // `from_str_radix` would take a sign.
        let plain = !part.is_empty() && part.chars().all(|c| c.is_digit(radix));
        if plain { u64::from_str_radix(part, radix).ok() } else { None }
    };
    let position =
        Position { epoch: next(16)?, last: next(10)?, write: WriteId { run: next(16)?, number: next(16)? } };
    parts.next().is_none().then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_as_written() {
        let write = WriteId { run: 0x18bc, number: u64::MAX };
        for position in [
            Position::default(),
            Position { epoch: 0xabc, last: 7, write },
            Position { epoch: u64::MAX, last: u64::MAX, write },
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert_eq!(Position { epoch: 10, last: 10, write: WriteId::default() }.to_string(), "a:10:0:0");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":::",
            "1:2",
            "1:2:3",
            "1:2:3:",
            "1:2:3:4:5",
            "+1:2:3:4",
            "1:-2:3:4",
            "1:18446744073709551616:3:4",
            "g:1:1:1",
            " 1:2:3:4",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_later_count_is_further_than_any_place_in_an_earlier_one() {
        let at = |epoch, last| Position { epoch, last, write: WriteId::default() };
        assert!(at(1, 1).is_after(&at(0, 1000)));
        assert!(at(1, 2).is_after(&at(1, 1)));
        assert!(!at(1, 1).is_after(&at(1, 1)));
    }
}
