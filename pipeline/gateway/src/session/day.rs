//! Which day it is at the venues: a day begins at the configured time and has the name of the date on which it began.

use bus::config::TimeOfDay;

const DAY_S: u64 = 86_400;

/// A day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Day {
    /// `YYYY-MM-DD`.
    pub(super) name: String,
    /// When it began, ns since the epoch.
    pub(super) begins_ns: u64,
}

impl Day {
    /// The day of a time, ns since the epoch.
    pub(super) fn of(now_ns: u64, begins: TimeOfDay) -> Day {
        let seconds = (now_ns / 1_000_000_000).saturating_sub(begins.seconds());
        let number = seconds / DAY_S;
        let (year, month, day) = date(number);
        let begins_ns = (number * DAY_S + begins.seconds()) * 1_000_000_000;
        Day { name: format!("{year:04}-{month:02}-{day:02}"), begins_ns }
    }
}

/// The date so many days after 1970-01-01, by the Gregorian calendar: years that begin in March, in eras of 400.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, in_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_in_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_in_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_the_date_on_which_it_began() {
        let at = |text: &str| TimeOfDay::try_from(text.to_owned()).unwrap();
        let name = |seconds: u64, begins| Day::of(seconds * 1_000_000_000, at(begins)).name;
        assert_eq!(name(0, "00:00"), "1970-01-01");
        assert_eq!(name(951_782_399, "00:00"), "2000-02-28");
        assert_eq!(name(951_782_400, "00:00"), "2000-02-29");
        assert_eq!(name(951_868_800, "00:00"), "2000-03-01");
        assert_eq!(name(1_795_737_600 + 22 * 3_600 - 1, "22:00"), "2026-11-26");
        assert_eq!(name(1_795_737_600 + 22 * 3_600, "22:00"), "2026-11-27");
        assert_eq!(Day::of(1_795_737_600_000_000_001, at("00:00")).begins_ns, 1_795_737_600_000_000_000);
    }
}
