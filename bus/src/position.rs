//! How far a channel is published. Written in the same Redis transaction as the entry that reaches it, so
//! that it is never ahead of the stream and never behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Channel id to position.
pub type Positions = BTreeMap<u16, Position>;

/// The last sequence number of a channel that is wholly in the stream, or declared missing in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Which count of the sender's `last` belongs to: the `ts_recv` (ns) of the channel clear that began it,
    /// 0 before the first. Equal epochs can be compared, others not.
    pub epoch: u64,
    /// The sequence number.
    pub last: u64,
}

/// A stored position that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is not a position; expected <epoch, hex>:<last sequence, decimal>")]
pub struct PositionError {
    text: String,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}", self.epoch, self.last)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        let wrong = || PositionError { text: text.chars().take(64).collect() };
        let (epoch, last) = text.split_once(':').ok_or_else(wrong)?;
        let digits = |part: &str, radix: u32| {
            let plain = !part.is_empty() && part.chars().all(|c| c.is_digit(radix));
            if plain { u64::from_str_radix(part, radix).ok() } else { None }
        };
        match (digits(epoch, 16), digits(last, 10)) {
            (Some(epoch), Some(last)) => Ok(Position { epoch, last }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_as_written() {
        for position in [
            Position::default(),
            Position { epoch: 0xabc, last: 7 },
            Position { epoch: u64::MAX, last: u64::MAX },
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", ":", "1:", ":1", "1", "+1:2", "1:-2", "1:2:3", "1:18446744073709551616", "g:1", " 1:2"]
        {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
