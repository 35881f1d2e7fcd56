//! Client order ids: 14 base-62 digits, unique for ever without asking anyone.
//!
//! ```text
//! 0  7  token of the lease, ms since the epoch (until the year 2081)
//! 7  2  shard
//! 9  5  counter, from 0
//! ```
//!
//! A lease's token is Redis's clock when it was taken, and no two owners of a shard have the same. Should two tokens
//! lie in one millisecond, [`IdMaker::pass`] keeps the counters apart.

use bus::OrderId;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX_BYTES: usize = 9;
const COUNTER_BYTES: usize = 5;
/// Ids that one lease has.
const IDS_MAX: u64 = 62u64.pow(COUNTER_BYTES as u32);

/// Makes ids for one owner of one shard.
#[derive(Clone, Debug)]
pub struct IdMaker {
    prefix: [u8; PREFIX_BYTES],
    next: u64,
}

fn digits<const N: usize>(mut value: u64) -> [u8; N] {
    let mut out = [b'0'; N];
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    out
}

fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = DIGITS.iter().position(|known| known == digit)?;
        value.checked_mul(62)?.checked_add(digit as u64)
    })
}

impl IdMaker {
    /// Ids of the owner whose lease has this token, µs since the epoch.
    pub fn new(token: u64, shard: u16) -> IdMaker {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..7].copy_from_slice(&digits::<7>(token / 1_000));
        prefix[7..].copy_from_slice(&digits::<2>(u64::from(shard)));
        IdMaker { prefix, next: 0 }
    }

    /// The next id, which stays the next one until it is [passed](IdMaker::pass); none when all are used.
    pub fn next(&self) -> Option<OrderId> {
        if self.next == IDS_MAX {
            return None;
        }
        let mut id = [0; PREFIX_BYTES + COUNTER_BYTES];
        id[..PREFIX_BYTES].copy_from_slice(&self.prefix);
        id[PREFIX_BYTES..].copy_from_slice(&digits::<COUNTER_BYTES>(self.next));
        std::str::from_utf8(&id).ok()?.parse().ok()
    }

    /// An id that was used: one of the same prefix and all before it are not made again.
    pub fn pass(&mut self, id: &OrderId) {
        let id = id.as_str().as_bytes();
        if id.len() == PREFIX_BYTES + COUNTER_BYTES
            && id[..PREFIX_BYTES] == self.prefix
            && let Some(counter) = value(&id[PREFIX_BYTES..])
        {
            self.next = self.next.max(counter + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_lease_shard_and_number_and_rise() {
        let mut ids = IdMaker::new(1_767_279_600_123_999, 255);
        let first = ids.next().unwrap();
        assert_eq!(ids.next(), Some(first));
        ids.pass(&first);
        let second = ids.next().unwrap();
        assert_eq!(first.as_str().len(), 14);
        assert!(first < second, "{first} {second}");
        assert_eq!(value(&first.as_str().as_bytes()[..7]), Some(1_767_279_600_123));
        assert_eq!(value(&first.as_str().as_bytes()[7..9]), Some(255));
        assert_eq!(&second.as_str()[9..], "00001");
        let other = IdMaker::new(1_767_279_600_124_000, 255);
        assert!(other.next().unwrap() > second);
    }

    #[test]
    fn what_was_used_is_not_made_again_and_the_end_is_the_end() {
        let mut ids = IdMaker::new(5_000, 1);
        let used: OrderId = "00000050100009".parse().unwrap();
        ids.pass(&used);
        ids.pass(&"00000050100003".parse().unwrap());
        ids.pass(&"00000060100zzz".parse().unwrap());
        ids.pass(&"short".parse().unwrap());
        assert_eq!(ids.next().unwrap().as_str(), "0000005010000A");
        ids.pass(&"000000501zzzzz".parse().unwrap());
        assert_eq!(ids.next(), None);
    }
}
