//! OUCH's times: ns since midnight in New York, of a day that the message does not name.

const SECOND_NS: u64 = 1_000_000_000;
const DAY_S: i64 = 86_400;
const HOUR_S: i64 = 3_600;

/// The midnight that began the day in New York, ns since the epoch, UTC. Clocks are ahead from the second Sunday of March
/// to the first of November, at two o'clock (Energy Policy Act of 2005).
pub(super) fn new_york_midnight_ns(epoch_ns: u64) -> u64 {
    let utc_s = (epoch_ns / SECOND_NS) as i64;
    let day = (utc_s - behind_s(utc_s)).div_euclid(DAY_S);
    // Midnight has the offset of midnight, also on the two days that change it.
    let midnight_s = day * DAY_S + behind_s(day * DAY_S + 4 * HOUR_S);
    midnight_s.max(0) as u64 * SECOND_NS
}

/// By how much New York is behind UTC at a time, s since the epoch.
fn behind_s(utc_s: i64) -> i64 {
    let year = (1970..).take_while(|&year| first_of(year, 1) * DAY_S <= utc_s).last().unwrap_or(1970);
    let begin = sunday_from(first_of(year, 3) + 7) * DAY_S + 7 * HOUR_S;
    let end = sunday_from(first_of(year, 11)) * DAY_S + 6 * HOUR_S;
    if (begin..end).contains(&utc_s) { 4 * HOUR_S } else { 5 * HOUR_S }
}

/// The first Sunday that is not before a day. Day 0, 1 January 1970, was a Thursday.
fn sunday_from(day: i64) -> i64 {
    day + (3 - day).rem_euclid(7)
}

/// Days from the epoch to the first of a month, with the years counted from March: the leap day is the last.
fn first_of(year: i64, month: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_in_new_york_is_that_of_the_time_zone_database() {
        for (utc_s, midnight_s) in [
            (0, 0),                         // before it could be said
            (1_704_067_200, 1_703_998_800), // New Year in UTC, still December there
            (1_741_500_000, 1_741_496_400), // the night in which clocks go forward, before
            (1_741_503_700, 1_741_496_400), // and after
            (1_751_300_000, 1_751_256_000), // summer
            (1_762_063_200, 1_762_056_000), // the night in which clocks go back
            (1_762_100_000, 1_762_056_000),
            (1_766_000_000, 1_765_947_600), // winter
        ] {
            assert_eq!(new_york_midnight_ns(utc_s * SECOND_NS + 1), midnight_s * SECOND_NS, "{utc_s}");
        }
    }
}
