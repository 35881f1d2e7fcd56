//! ITCH counts nanoseconds since midnight in New York; a tick wants UTC. This finds that midnight from the
//! receive time, by the rule for daylight time that the USA has had since 2007 (Energy Policy Act of 2005:
//! from the second Sunday of March to the first Sunday of November, changing at 2 o'clock local time).
//!
//! Invariant: `midnight_ns <= recv < midnight_ns + length_ns` for the receive time the day was made from.

const NS_PER_S: u64 = 1_000_000_000;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
const HALF_DAY_NS: u64 = 12 * 3_600 * NS_PER_S;

/// One day in New York, and where its midnights lie in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TradingDay {
    midnight_ns: u64,
    length_ns: u64,
    previous_midnight_ns: u64,
}

impl TradingDay {
    /// No day; the first receive time makes one.
    pub(super) const UNKNOWN: TradingDay =
        TradingDay { midnight_ns: 0, length_ns: 0, previous_midnight_ns: 0 };

    /// The day in New York on which `recv_ns` (UTC) lies. A time of 1 January 1970 before 5 o'clock, when it
    /// was still 1969 in New York, is taken as the day that began at 0.
    pub(super) fn of(recv_ns: u64) -> TradingDay {
        let recv_s = (recv_ns / NS_PER_S) as i64;
        let today = (recv_s - if daylight_at(recv_s) { 4 } else { 5 } * HOUR_S).div_euclid(DAY_S);
        let ns = |day: i64| (midnight_s(day).max(0) as u64).saturating_mul(NS_PER_S);
        TradingDay {
            midnight_ns: ns(today),
            length_ns: ns(today + 1) - ns(today),
            previous_midnight_ns: ns(today - 1),
        }
    }

    /// Whether `recv_ns` lies on this day.
    #[inline]
    pub(super) fn contains(&self, recv_ns: u64) -> bool {
        recv_ns.wrapping_sub(self.midnight_ns) < self.length_ns
    }

    /// The UTC time of an event `since_midnight_ns` after midnight that was received at `recv_ns`, which
    /// lies on this day. An event is received after it happens: one that would lie more than half a day
    /// ahead is of the day before, received after midnight.
    #[inline]
    pub(super) fn event_ns(&self, since_midnight_ns: u64, recv_ns: u64) -> u64 {
        let event_ns = self.midnight_ns.saturating_add(since_midnight_ns);
        if event_ns > recv_ns.saturating_add(HALF_DAY_NS) {
            self.previous_midnight_ns.saturating_add(since_midnight_ns)
        } else {
            event_ns
        }
    }
}

/// UTC seconds of the midnight that begins a day in New York; days since 1 January 1970. The clocks change
/// at 2 o'clock, so a day begins on the time that it had the evening before.
fn midnight_s(day: i64) -> i64 {
    let as_daylight_s = day * DAY_S + 4 * HOUR_S;
    if daylight_at(as_daylight_s) { as_daylight_s } else { as_daylight_s + HOUR_S }
}

/// Whether New York is on daylight time at a UTC second.
fn daylight_at(utc_s: i64) -> bool {
    // The changes lie months away from the turn of the year: the UTC year is the local one here.
    let year = year_of(utc_s.div_euclid(DAY_S));
    let begins_s = sunday_from(march_1(year) + 7) * DAY_S + 7 * HOUR_S;
    let ends_s = sunday_from(march_1(year) + 245) * DAY_S + 6 * HOUR_S;
    (begins_s..ends_s).contains(&utc_s)
}

/// The first Sunday on or after a day.
fn sunday_from(day: i64) -> i64 {
    // 1 January 1970 was a Thursday.
    day + (3 - day).rem_euclid(7)
}

/// Days from 1 January 1970 to 1 March of a year of the Gregorian calendar.
fn march_1(year: i64) -> i64 {
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days - 719_468
}

/// The year in which a day lies.
fn year_of(day: i64) -> i64 {
    // A first guess that is never too small, by the mean length of a year.
    let mut year = 1970 + (day * 400).div_euclid(146_097) + 1;
    while january_1(year) > day {
        year -= 1;
    }
    year
}

/// Days from 1 January 1970 to 1 January of a year.
fn january_1(year: i64) -> i64 {
    march_1(year - 1) + 306
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = NS_PER_S;
    const HOUR: u64 = 3_600 * SECOND;

    /// UTC seconds of midnight in New York, from the IANA time zone database.
    const MIDNIGHTS: [(&str, u64); 14] = [
        ("1970-01-02", 104_400),
        ("2008-02-29", 1_204_261_200),
        ("2019-01-30", 1_548_824_400),
        ("2019-12-30", 1_577_682_000),
        ("2020-03-08 clocks go forward", 1_583_643_600),
        ("2020-03-09", 1_583_726_400),
        ("2020-11-01 clocks go back", 1_604_203_200),
        ("2020-11-02", 1_604_293_200),
        ("2023-08-22", 1_692_676_800),
        ("2024-02-29", 1_709_182_800),
        ("2024-12-31", 1_735_621_200),
        ("2025-01-01", 1_735_707_600),
        ("2026-11-01 clocks go back", 1_793_505_600),
        ("2100-03-01, no leap year", 4_107_560_400),
    ];

    #[test]
    fn a_day_begins_at_midnight_in_new_york() {
        for (day, midnight_s) in MIDNIGHTS {
            let midnight_ns = midnight_s * SECOND;
            let at_midnight = TradingDay::of(midnight_ns);
            assert_eq!(at_midnight.midnight_ns, midnight_ns, "{day}");
            assert_eq!(TradingDay::of(midnight_ns + 22 * HOUR), at_midnight, "{day}");
            let before = TradingDay::of(midnight_ns - 1);
            assert_eq!(before.midnight_ns + before.length_ns, midnight_ns, "{day}");
            assert_eq!(at_midnight.previous_midnight_ns, before.midnight_ns, "{day}");
        }
    }

    #[test]
    fn a_year_has_one_day_of_23_hours_and_one_of_25_and_both_are_sundays() {
        for year in 2007..=2200 {
            let mut odd = Vec::new();
            for day in january_1(year)..january_1(year + 1) {
                let length_s = midnight_s(day + 1) - midnight_s(day);
                if length_s != DAY_S {
                    odd.push(length_s / HOUR_S);
                    assert_eq!((day + 4).rem_euclid(7), 0, "{year}");
                }
            }
            assert_eq!(odd, [23, 25], "{year}");
        }
    }

    #[test]
    fn the_day_holds_across_its_whole_length_and_no_longer() {
        let shortest = TradingDay::of(1_583_643_600 * SECOND);
        assert!(shortest.contains((1_583_643_600 + 23 * 3_600) * SECOND - 1));
        assert!(!shortest.contains((1_583_643_600 + 23 * 3_600) * SECOND));
        assert!(!shortest.contains(1_583_643_600 * SECOND - 1));
        assert!(!TradingDay::UNKNOWN.contains(0));
    }

    #[test]
    fn an_event_before_midnight_that_arrives_after_it_keeps_its_day() {
        let midnight_ns = 1_604_293_200 * SECOND;
        let recv_ns = midnight_ns + 5;
        let day = TradingDay::of(recv_ns);
        // The day before had 25 hours.
        assert_eq!(day.event_ns(25 * HOUR - 1, recv_ns), midnight_ns - 1);
        assert_eq!(day.event_ns(3, recv_ns), midnight_ns + 3);
        // A receiver whose clock is behind sees events from a little ahead.
        assert_eq!(day.event_ns(HOUR, recv_ns), midnight_ns + HOUR);
    }

    #[test]
    fn no_receive_time_is_out_of_range() {
        for recv_ns in [0, 1, 4 * HOUR, 5 * HOUR, u64::MAX / 2, u64::MAX - 30 * HOUR] {
            assert!(TradingDay::of(recv_ns).contains(recv_ns), "{recv_ns}");
        }
    }

    #[test]
    fn any_time_lies_on_the_day_made_from_it() {
        bolero::check!().with_type::<u64>().with_iterations(20_000).for_each(|&recv_ns| {
            let recv_ns = recv_ns.clamp(5 * HOUR, u64::MAX - 60 * HOUR);
            let day = TradingDay::of(recv_ns);
            assert!(day.contains(recv_ns));
            assert!([23, 24, 25].map(|hours| hours * HOUR).contains(&day.length_ns));
        });
    }
}
