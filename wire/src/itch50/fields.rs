//! The field types of §"Data Types": 48-bit times, fixed-point prices, space-padded text.

use core::fmt;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Nanoseconds since midnight in New York, 48 bits.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Timestamp([u8; 6]);

impl Timestamp {
    /// A time of day. 48 bits hold 78 hours; higher bits are dropped.
    pub const fn new(ns: u64) -> Timestamp {
        let [_, _, bytes @ ..] = ns.to_be_bytes();
        Timestamp(bytes)
    }

    /// Nanoseconds since midnight.
    #[inline]
    pub const fn ns(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.ns(), f)
    }
}

/// Price (4): an unsigned count of 0.0001.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Price4(U32);

impl Price4 {
    /// A price of `units` × 0.0001.
    pub const fn new(units: u32) -> Price4 {
        Price4(U32::new(units))
    }

    /// The count of 0.0001.
    #[inline]
    pub const fn units(self) -> u32 {
        self.0.get()
    }

    /// The price in 1e-9. Exact: the largest is 429,496.7295.
    #[inline]
    pub const fn nanos(self) -> i64 {
        self.0.get() as i64 * 100_000
    }
}

impl fmt::Debug for Price4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.units() / 10_000, self.units() % 10_000)
    }
}

/// Price (8): an unsigned count of 0.00000001.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Price8(U64);

impl Price8 {
    /// A price of `units` × 0.00000001.
    pub const fn new(units: u64) -> Price8 {
        Price8(U64::new(units))
    }

    /// The count of 0.00000001.
    #[inline]
    pub const fn units(self) -> u64 {
        self.0.get()
    }

    /// The price in 1e-9; `None` above 9,223,372,036.85477580.
    pub const fn nanos(self) -> Option<i64> {
        match self.0.get().checked_mul(10) {
            Some(nanos) if nanos <= i64::MAX as u64 => Some(nanos as i64),
            _ => None,
        }
    }
}

impl fmt::Debug for Price8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}", self.units() / 100_000_000, self.units() % 100_000_000)
    }
}

/// Text as the wire has it: left-justified, padded with spaces, cut at `N` bytes.
pub const fn alpha<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut field = [b' '; N];
    let mut at = 0;
    while at < N && at < bytes.len() {
        field[at] = bytes[at];
        at += 1;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_keeps_48_bits() {
        assert_eq!(Timestamp::new(34_200_000_000_001).ns(), 34_200_000_000_001);
        assert_eq!(Timestamp::new(0x0001_0203_0405_0607).as_bytes(), [2, 3, 4, 5, 6, 7]);
        assert_eq!(Timestamp::new(u64::MAX).ns(), (1 << 48) - 1);
    }

    #[test]
    fn prices_become_nanos_exactly_or_not_at_all() {
        assert_eq!(Price4::new(u32::MAX).nanos(), 429_496_729_500_000);
        assert_eq!(Price4::new(1_234_500).nanos(), 123_450_000_000);
        assert_eq!(Price8::new(1).nanos(), Some(10));
        assert_eq!(Price8::new(922_337_203_685_477_580).nanos(), Some(i64::MAX - 7));
        assert_eq!(Price8::new(922_337_203_685_477_581).nanos(), None);
        assert_eq!(Price8::new(u64::MAX).nanos(), None);
    }

    #[test]
    fn prices_print_as_decimals() {
        assert_eq!(format!("{:?} {:?}", Price4::new(1_234_500), Price8::new(7)), "123.4500 0.00000007");
    }

    #[test]
    fn text_is_padded_with_spaces_and_cut() {
        assert_eq!(&alpha::<8>("AAPL"), b"AAPL    ");
        assert_eq!(&alpha::<4>("NASDAQ"), b"NASD");
    }
}
