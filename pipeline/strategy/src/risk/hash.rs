//! Hashing for the engine's two maps and the market's, faster than the standard one: their keys are this house's own order
//! ids and the instruments of its feeds, so nobody picks them to collide.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes order ids so that ids that were made one after another lie beside each other.
///
/// The map of ids is large and mostly untouched. The last digit and a bit of the one before choose one of 128 places in a
/// row, all before them the row: a new id then meets memory that the one before it brought into the cache.
#[derive(Default)]
pub(super) struct IdHasher {
    state: u64,
    within: u64,
}

/// Hashes small numbers.
#[derive(Default)]
pub(crate) struct NumberHasher {
    state: u64,
}

pub(super) type BuildIdHasher = BuildHasherDefault<IdHasher>;
pub(crate) type BuildNumberHasher = BuildHasherDefault<NumberHasher>;

/// 2^64 divided by the golden ratio, odd.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
const OTHER: u64 = 0xD6E8_FEB8_6659_FD93;
const ROW_BITS: u32 = 7;

/// Both halves of the 128-bit product.
#[inline]
fn fold(value: u64, with: u64) -> u64 {
    let product = u128::from(value) * u128::from(with);
    (product as u64) ^ (product >> 64) as u64
}

/// A letter or digit as 0 to 61, in the order of their codes.
fn digit(byte: u8) -> u64 {
    u64::from(match byte {
        b'a'.. => byte.wrapping_sub(b'a' - 36),
        b'A'.. => byte.wrapping_sub(b'A' - 10),
        _ => byte.wrapping_sub(b'0'),
    }) & 63
}

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        // As many as an id has; known in number, they are two loads.
        let &[a, b, c, d, e, f, g, h, i, j, k, l, before, last] = bytes else {
            bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
            return;
        };
        let before = digit(before);
        self.within = digit(last) | ((before & 1) << 6);
        let first = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let row = (u64::from(u32::from_le_bytes([i, j, k, l])) << 8) | (before >> 1);
        self.state = fold(first ^ self.state ^ OTHER, SPREAD) ^ fold(row ^ SPREAD, OTHER);
    }

    fn write_u64(&mut self, value: u64) {
        self.state = fold(self.state ^ value ^ OTHER, SPREAD);
    }

    /// The length of the array, always the same.
    fn write_usize(&mut self, _: usize) {}

    /// The length of the id, which comes last.
    fn write_u8(&mut self, value: u8) {
        self.state = self.state.wrapping_add(u64::from(value).wrapping_mul(OTHER));
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The map takes its place from the low bits and tells neighbours apart by the high ones.
        let place = (fold(self.state, SPREAD) << ROW_BITS) | self.within;
        place ^ (self.within.wrapping_mul(SPREAD) << 57)
    }
}

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u32(u32::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.state = fold(self.state ^ u64::from(value) ^ OTHER, SPREAD);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::OrderId;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    /// As a process makes them: a prefix of 9 digits and a counter of 5.
    fn id(prefix: &str, counter: usize) -> OrderId {
        let digit = |place: u32| char::from(DIGITS[counter / 62usize.pow(place) % 62]);
        let counter: String = (0..5).rev().map(digit).collect();
        format!("{prefix}{counter}").parse().unwrap()
    }

    /// The places of a map with 2^21 of them.
    fn places(prefix: &str, count: usize) -> Vec<u64> {
        let hash = |counter| BuildIdHasher::default().hash_one(id(prefix, counter));
        (0..count).map(|counter| hash(counter) & ((1 << 21) - 1)).collect()
    }

    #[test]
    fn ids_made_one_after_another_lie_in_one_row_at_places_of_their_own() {
        for prefix in ["0Uy9xQa00", "zzzzzzz01"] {
            let places = places(prefix, 124 * 50);
            for row in places.chunks(124) {
                assert_eq!(row.iter().map(|place| place >> 7).collect::<HashSet<_>>().len(), 1);
                assert_eq!(row.iter().collect::<HashSet<_>>().len(), 124);
            }
        }
    }

    #[test]
    fn rows_are_spread_over_the_map() {
        let rows: Vec<_> = places("0Uy9xQa00", 124 * 4_000).chunks(124).map(|row| row[0] >> 7).collect();
        let taken = rows.iter().collect::<HashSet<_>>().len();
        // Of 4000 throws into 16384 places about 3550 meet an empty one.
        assert!((3_400..3_700).contains(&taken), "{taken}");
    }

    #[test]
    fn ids_of_any_length_and_instruments_have_hashes_of_their_own() {
        let mut seen = HashSet::new();
        for length in 1..=14 {
            for last in DIGITS {
                let text = format!("{}{}", "a".repeat(length - 1), char::from(*last));
                let id: OrderId = text.parse().unwrap();
                assert!(seen.insert(BuildIdHasher::default().hash_one(id)), "{id}");
            }
        }
        let numbers = (0..8u16).flat_map(|publisher| (0..20_000u32).map(move |one| (publisher, one)));
        let hashes: HashSet<_> =
            numbers.map(|key| BuildNumberHasher::default().hash_one(key) & 0xFFFF_FFFF).collect();
        assert!(hashes.len() > 159_980, "{}", hashes.len());
    }
}
