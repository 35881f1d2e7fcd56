//! Prices are fixed-point: an `i64` count of 1e-9 units, as in DBN.

use core::fmt;
use core::str::FromStr;

/// Units in one whole currency unit: prices count 1e-9.
pub const PRICE_SCALE: i64 = 1_000_000_000;

/// A price in units of 1e-9; `Price::UNDEFINED` (`i64::MAX`) means that there is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Price(pub i64);

impl Price {
    /// No price: `i64::MAX`, DBN's `UNDEF_PRICE`.
    pub const UNDEFINED: Price = Price(i64::MAX);

    /// A price from a mantissa and a decimal exponent, as SBE sends it (`mantissa × 10^exponent`).
    ///
    /// `None` when the price does not fit, would lose digits below 1e-9, or would collide with
    /// [`Price::UNDEFINED`].
    ///
    /// ```
    /// use tick::Price;
    /// assert_eq!(Price::from_mantissa(24_205, -2), Some(Price(242_050_000_000)));
    /// assert_eq!(Price::from_mantissa(1, -10), None);
    /// assert_eq!(Price::from_mantissa(i64::MAX, 0), None);
    /// ```
    #[inline]
    pub const fn from_mantissa(mantissa: i64, exponent: i8) -> Option<Price> {
        let shift = exponent as i32 + 9;
        let value = if shift >= 0 {
            if shift > 18 {
                return if mantissa == 0 { Some(Price(0)) } else { None };
            }
            match mantissa.checked_mul(10i64.pow(shift as u32)) {
                Some(value) => value,
                None => return None,
            }
        } else {
            if shift < -18 {
                return if mantissa == 0 { Some(Price(0)) } else { None };
            }
            let divisor = 10i64.pow(-shift as u32);
            if mantissa % divisor != 0 {
                return None;
            }
            mantissa / divisor
        };
        if value == i64::MAX { None } else { Some(Price(value)) }
    }

    /// Whether there is a price.
    #[inline]
    pub const fn is_defined(self) -> bool {
        self.0 != i64::MAX
    }

    /// The price as a float, for display and statistics; NaN when undefined.
    pub fn to_f64(self) -> f64 {
        if self.is_defined() { self.0 as f64 / PRICE_SCALE as f64 } else { f64::NAN }
    }
}

/// A text that is not a price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PriceError;

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a decimal price with at most nine digits after the point")
    }
}

impl core::error::Error for PriceError {}

impl FromStr for Price {
    type Err = PriceError;

    /// Reads decimal digits with at most nine after the point, exactly: what [`Price`] displays when it is
    /// defined, and shorter forms of it. No exponent, sign `+`, space or separator.
    ///
    /// ```
    /// use tick::Price;
    /// assert_eq!("-0.25".parse(), Ok(Price(-250_000_000)));
    /// assert!("1e3".parse::<Price>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Price, PriceError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || fraction.len() > 9 {
            return Err(PriceError);
        }
        let whole: i64 = whole.parse().map_err(|_| PriceError)?;
        let below: i64 = fraction.parse().map_err(|_| PriceError)?;
        let below = below * 10i64.pow(9 - fraction.len() as u32);
        let value =
            whole.checked_mul(PRICE_SCALE).and_then(|value| value.checked_add(below)).ok_or(PriceError)?;
        let price = Price(if negative { -value } else { value });
        if price.is_defined() { Ok(price) } else { Err(PriceError) }
    }
}

impl fmt::Display for Price {
    /// Exact decimal digits, at least two after the point; `-` when undefined.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_defined() {
            return f.pad("-");
        }
        let units = self.0.unsigned_abs();
        let (whole, fraction) = (units / PRICE_SCALE as u64, units % PRICE_SCALE as u64);
        let digits = format!("{fraction:09}");
        let kept = digits.trim_end_matches('0').len().max(2);
        let sign = if self.0 < 0 { "-" } else { "" };
        f.pad(&format!("{sign}{whole}.{}", &digits[..kept]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_back_as_displayed_and_nothing_else_is_read() {
        for value in [0, 1, -1, 250_000_000, -42_500_000_000, i64::MAX - 1, -(i64::MAX - 1)] {
            assert_eq!(Price(value).to_string().parse(), Ok(Price(value)));
        }
        assert_eq!("7".parse(), Ok(Price(7_000_000_000)));
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "1e3",
            " 1",
            "1,0",
            "0.0000000001",
            "9223372037",
            "--1",
            "1.-1",
            "٣",
        ] {
            assert_eq!(text.parse::<Price>(), Err(PriceError), "{text}");
        }
        assert_eq!(Price(i64::MAX).to_string(), "-");
        assert_eq!("9223372036.854775807".parse::<Price>(), Err(PriceError), "that is `undefined`");
    }

    #[test]
    fn a_price_prints_its_exact_decimal_digits() {
        assert_eq!(Price(242_050_000_000).to_string(), "242.05");
        assert_eq!(Price(-1).to_string(), "-0.000000001");
        assert_eq!(Price(0).to_string(), "0.00");
        assert_eq!(Price(i64::MIN).to_string(), "-9223372036.854775808");
        assert_eq!(Price::UNDEFINED.to_string(), "-");
    }

    #[test]
    fn a_mantissa_that_does_not_fit_exactly_is_refused() {
        assert_eq!(Price::from_mantissa(5, -9), Some(Price(5)));
        assert_eq!(Price::from_mantissa(50, -10), Some(Price(5)));
        assert_eq!(Price::from_mantissa(55, -10), None);
        assert_eq!(Price::from_mantissa(i64::MIN, -9), Some(Price(i64::MIN)));
        assert_eq!(Price::from_mantissa(i64::MAX, -9), None);
        assert_eq!(Price::from_mantissa(1, 10), None);
        assert_eq!(Price::from_mantissa(0, 127), Some(Price(0)));
        assert_eq!(Price::from_mantissa(0, -128), Some(Price(0)));
    }
}
