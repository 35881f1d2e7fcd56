//! What time it is in New York, from which ITCH and OUCH count: the rule of the United States since 2007.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: i64 = 86_400;
const HOUR_S: i64 = 3_600;

/// ns since midnight in New York, now.
pub fn since_midnight_ns() -> u64 {
    // A clock before 1970 is as good as none.
    let utc = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let utc_s = utc.as_secs() as i64;
    let local_s = (utc_s - behind_utc_s(utc_s)).rem_euclid(DAY_S);
    local_s as u64 * 1_000_000_000 + u64::from(utc.subsec_nanos())
}

/// How far New York is behind UTC: four hours from the second Sunday of March, 2 o'clock, to the first Sunday of
/// November, 2 o'clock; else five.
fn behind_utc_s(utc_s: i64) -> i64 {
    let year = year_of(utc_s.div_euclid(DAY_S));
    let spring_s = sunday_from(march_1(year) + 7) * DAY_S + 7 * HOUR_S;
    let autumn_s = sunday_from(march_1(year) + 245) * DAY_S + 6 * HOUR_S;
    if (spring_s..autumn_s).contains(&utc_s) { 4 * HOUR_S } else { 5 * HOUR_S }
}

/// The first Sunday on or after a day; days count from 1 January 1970, a Thursday.
fn sunday_from(day: i64) -> i64 {
    day + (3 - day).rem_euclid(7)
}

fn march_1(year: i64) -> i64 {
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) - 719_468
}

fn year_of(day: i64) -> i64 {
    // 306 days lie between 1 March and the end of the year.
    let estimate = 1970 + day.div_euclid(366);
    (estimate..).find(|&year| march_1(year) + 306 > day).unwrap_or(estimate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UTC seconds, as `date -u -d … +%s` gives them.
    #[test]
    fn clocks_change_on_the_second_sunday_of_march_and_the_first_of_november() {
        // 2026-03-08 07:00 and 2026-11-01 06:00 UTC; 2024-03-10 07:00 and 2024-11-03 06:00 UTC.
        for (spring_s, autumn_s) in [(1_772_953_200, 1_793_512_800), (1_710_054_000, 1_730_613_600)] {
            assert_eq!([behind_utc_s(spring_s - 1), behind_utc_s(spring_s)], [5 * HOUR_S, 4 * HOUR_S]);
            assert_eq!([behind_utc_s(autumn_s - 1), behind_utc_s(autumn_s)], [4 * HOUR_S, 5 * HOUR_S]);
        }
        // The ends of 2025 and the begin of 2026.
        assert_eq!([behind_utc_s(1_767_225_599), behind_utc_s(1_767_225_600)], [5 * HOUR_S; 2]);
    }
}
