//! Values of FIX 4.4 fields as text and back: exact, without a float. What cannot be kept exactly is refused.
//!
//! The formats are those of the specification's volume 1, "FIX field data types".

use bus::Quantity;
use tick::{PRICE_SCALE, Price};

const SECOND_NS: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;

/// Days from the epoch to the first of March of the year 0, counting in years that begin in March.
const EPOCH_FROM_MARCH_0000: i64 = 719_468;

/// UTCTimestamp with milliseconds: `YYYYMMDD-HH:MM:SS.sss`.
pub(super) fn timestamp(epoch_ns: u64) -> String {
    let seconds = epoch_ns / SECOND_NS;
    let (year, month, day) = date((seconds / DAY_S) as i64);
    let of_day = seconds % DAY_S;
    format!(
        "{year:04}{month:02}{day:02}-{:02}:{:02}:{:02}.{:03}",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        epoch_ns % SECOND_NS / 1_000_000
    )
}

/// The time of a UTCTimestamp, ns since the epoch; with no, three, six or nine digits below the second. A leap second
/// is the second before it.
pub(super) fn parse_timestamp(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let marks = [(8, b'-'), (11, b':'), (14, b':')];
    if bytes.len() < 17 || marks.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(12, 14)?, number(15, 17)?);
    let below_ns = match &bytes[17..] {
        [] => 0,
        [b'.', rest @ ..] if (1..=9).contains(&rest.len()) => {
            digits(rest)? * 10u64.pow(9 - rest.len() as u32)
        }
        _ => return None,
    };
    let days = day_of(year as i64, month as i64, day as i64);
    // A day that the month does not have would come back as another.
    if year < 1970 || date(days) != (year as i64, month as i64, day as i64) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days as u64 * DAY_S + hour * 3_600 + minute * 60 + second.min(59);
    seconds.checked_mul(SECOND_NS)?.checked_add(below_ns)
}

/// A price: decimal digits with an optional point and minus, at least one digit; more than nine places only when the
/// rest is zeros.
pub(super) fn parse_price(text: &str) -> Option<Price> {
    let (negative, whole, fraction) = decimal(text)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return None;
    }
    let below = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<i64>().ok()? * 10i64.pow(9 - fraction.len() as u32)
    };
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let units = whole.checked_mul(PRICE_SCALE)?.checked_add(below)?;
    let price = Price(if negative { -units } else { units });
    price.is_defined().then_some(price)
}

/// A quantity: whole, also where it is written with a point.
pub(super) fn parse_quantity(text: &str) -> Option<Quantity> {
    let (negative, whole, fraction) = decimal(text)?;
    if fraction.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let quantity = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    (!negative || quantity == 0).then_some(quantity)
}

/// A sequence number, length or count: digits only.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    digits(text.as_bytes())
}

fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum.checked_mul(10)?.checked_add(u64::from(byte - b'0'))).flatten()
    })
}

/// Sign, digits before the point and after it.
fn decimal(text: &str) -> Option<(bool, &str, &str)> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (plain(whole) && plain(fraction) && !(whole.is_empty() && fraction.is_empty()))
        .then_some((negative, whole, fraction))
}

/// Days from the epoch to a date of the Gregorian calendar.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leaps + (153 * month + 2) / 5 + day - 1 - EPOCH_FROM_MARCH_0000
}

/// The date of a day since the epoch: year, month, day.
fn date(day: i64) -> (i64, i64, i64) {
    let since = day + EPOCH_FROM_MARCH_0000;
    // A year is 365.2425 days long on average; the guess is right or one too high.
    let guess = (since * 10_000 + 14_780).div_euclid(3_652_425);
    let first = |year: i64| 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let year = if first(guess) > since { guess - 1 } else { guess };
    let of_year = since - first(year);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_back_as_it_is_written() {
        // `date -u -d @1790000000`: Mon Sep 21 14:13:20 UTC 2026.
        assert_eq!(timestamp(1_790_000_000_123_456_789), "20260921-14:13:20.123");
        assert_eq!(timestamp(0), "19700101-00:00:00.000");
        assert_eq!(timestamp(951_782_399_999_000_000), "20000228-23:59:59.999");
        assert_eq!(timestamp(951_782_400_000_000_000), "20000229-00:00:00.000");
        for day in 0..80_000 {
            let ns = day * DAY_S * SECOND_NS + 45_296_789_000_000;
            assert_eq!(parse_timestamp(&timestamp(ns)), Some(ns), "day {day}");
        }
    }

    #[test]
    fn times_have_up_to_nine_places_and_what_is_no_time_is_refused() {
        let second = 1_790_000_000_000_000_000;
        for (text, ns) in [
            ("20260921-14:13:20", second),
            ("20260921-14:13:20.5", second + 500_000_000),
            ("20260921-14:13:20.000000001", second + 1),
            ("20161231-23:59:60", 1_483_228_799_000_000_000),
        ] {
            assert_eq!(parse_timestamp(text), Some(ns), "{text}");
        }
        for text in [
            "",
            "20260921",
            "20260921-14:13",
            "20260921 14:13:20",
            "20260921-14:13:20.",
            "20260921-14:13:20.0000000001",
            "20260921-24:00:00",
            "20260229-00:00:00",
            "20261301-00:00:00",
            "20260100-00:00:00",
            "19691231-23:59:59",
            "2026092１-1:13:20",
            "99999999-99:99:99",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn prices_are_exact_or_refused() {
        for (text, units) in [
            ("242.05", 242_050_000_000),
            ("00023.2300", 23_230_000_000),
            ("-0.000000001", -1),
            (".5", 500_000_000),
            ("7.", 7_000_000_000),
            ("1.0000000000000", 1_000_000_000),
        ] {
            assert_eq!(parse_price(text), Some(Price(units)), "{text}");
        }
        for text in
            ["", "-", ".", "+1", "1e3", "1,5", "0.0000000001", "9223372037", "9223372036.854775807", "NaN"]
        {
            assert_eq!(parse_price(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_whole() {
        for (text, quantity) in [("100", 100), ("100.00", 100), ("0", 0), ("-0", 0), (".0", 0)] {
            assert_eq!(parse_quantity(text), Some(quantity), "{text}");
        }
        for text in ["", "-1", "0.5", "1e2", "18446744073709551616", "1 "] {
            assert_eq!(parse_quantity(text), None, "{text}");
        }
    }
}
