//! The field type of §1.2 that needs more than a number: the price.

use core::fmt;
use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A price: an unsigned count of 0.0001 in 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Price(U64);

impl Price {
    /// The price 214,748.3647, which makes an order a market order.
    pub const MARKET: Price = Price::new(0x7FFF_FFFF);
    /// The highest limit price, 199,999.9900.
    pub const MAX_LIMIT: Price = Price::new(1_999_999_900);

    /// A price of `units` × 0.0001.
    pub const fn new(units: u64) -> Price {
        Price(U64::new(units))
    }

    /// The count of 0.0001.
    #[inline]
    pub const fn units(self) -> u64 {
        self.0.get()
    }

    /// The price in 1e-9; `None` above 9,223,372,036.8547.
    #[inline]
    pub const fn nanos(self) -> Option<i64> {
        match self.0.get().checked_mul(100_000) {
            Some(nanos) if nanos <= i64::MAX as u64 => Some(nanos as i64),
            _ => None,
        }
    }

    /// The price of `nanos` × 1e-9; `None` when it is negative or not a multiple of 0.0001.
    #[inline]
    pub const fn from_nanos(nanos: i64) -> Option<Price> {
        if nanos >= 0 && nanos % 100_000 == 0 { Some(Price::new(nanos as u64 / 100_000)) } else { None }
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.units() / 10_000, self.units() % 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_becomes_nanos_exactly_or_not_at_all() {
        assert_eq!(Price::new(4_777_800).nanos(), Some(477_780_000_000));
        assert_eq!(Price::new(92_233_720_368_547).nanos(), Some(9_223_372_036_854_700_000));
        assert_eq!(Price::new(92_233_720_368_548).nanos(), None);
        assert_eq!(Price::new(u64::MAX).nanos(), None);
        assert_eq!(Price::from_nanos(477_780_000_000), Some(Price::new(4_777_800)));
        assert_eq!(Price::from_nanos(477_780_000_001), None);
        assert_eq!(Price::from_nanos(-100_000), None);
        assert_eq!(format!("{:?} {:?}", Price::MARKET, Price::MAX_LIMIT), "214748.3647 199999.9900");
    }
}
