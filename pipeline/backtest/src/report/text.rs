//! How texts, numbers and times are written in the page.
//!
//! Invariant: whatever the text, what comes out is text of an XML document: no name of a strategy, symbol or reason
//! ends an element or an attribute.

use std::fmt::Write as _;

/// The minus sign, as wide as the plus.
const MINUS: char = '\u{2212}';
/// For what there is no figure of.
pub(super) const NONE: &str = "\u{2013}";

/// Escaped for an element's content and for an attribute's value. What XML has no character for becomes U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(character),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A whole number with its thousands apart.
pub(super) fn whole(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    if number < 0 {
        out.push(MINUS);
    }
    group(&digits, &mut out);
    out
}

/// A number with so many places, its thousands apart; a dash for none.
pub(super) fn decimal(number: f64, places: usize) -> String {
    if !number.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{:.places$}", number.abs());
    let (digits, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    // Nothing is not negative, also when it was rounded to nothing.
    if number < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        out.push(MINUS);
    }
    group(digits, &mut out);
    out.push_str(rest);
    out
}

/// The same, a gain with its plus.
pub(super) fn signed(number: f64, places: usize) -> String {
    let text = decimal(number, places);
    let gain = number > 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if gain { format!("+{text}") } else { text }
}

fn group(digits: &str, out: &mut String) {
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
}

/// A number as an axis has it: as many places as its step needs.
pub(super) fn of_step(number: f64, step: f64) -> String {
    let places = if step > 0.0 { (-step.log10()).ceil().clamp(0.0, 9.0) as usize } else { 2 };
    // A step of 2.5 or 0.25 needs a place more.
    let scale = 10f64.powi(places as i32);
    let more = ((step * scale).round() - step * scale).abs() > 1e-6;
    decimal(number, places + usize::from(more))
}

/// How long, in the unit that a reader has a feeling for.
pub(super) fn duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let mut out = String::new();
    match seconds {
        0 => {
            let _ = write!(out, "{} ms", ns / 1_000_000);
        }
        1..=119 => {
            let _ = write!(out, "{} s", seconds);
        }
        120..=7_199 => {
            let _ = write!(out, "{} min {:02} s", seconds / 60, seconds % 60);
        }
        _ => {
            let _ = write!(out, "{} h {:02} min", seconds / 3_600, seconds / 60 % 60);
        }
    }
    out
}

/// A moment, UTC, by the days-to-civil method (proleptic Gregorian).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    pub(super) year: u64,
    pub(super) month: u64,
    pub(super) day: u64,
    /// Of the day.
    pub(super) seconds: u64,
    /// Of the second.
    pub(super) ns: u64,
}

impl Moment {
    /// Of ns since the epoch.
    pub(super) fn of(ns: u64) -> Moment {
        let seconds = ns / 1_000_000_000;
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Moment {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            seconds: seconds % 86_400,
            ns: ns % 1_000_000_000,
        }
    }

    /// 2024-01-31.
    pub(super) fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// 14:05.
    pub(super) fn minute(self) -> String {
        format!("{:02}:{:02}", self.seconds / 3_600, self.seconds / 60 % 60)
    }

    /// 14:05:09.
    pub(super) fn second(self) -> String {
        format!("{}:{:02}", self.minute(), self.seconds % 60)
    }

    /// 14:05:09.123.
    pub(super) fn milli(self) -> String {
        format!("{}.{:03}", self.second(), self.ns / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_an_element_or_an_attribute() {
        assert_eq!(escape("a<b>&\"c'\0"), "a&lt;b&gt;&amp;&quot;c&#39;\u{fffd}");
        bolero::check!().with_type::<String>().for_each(|text| {
            let page = format!("<a b=\"{0}\" c='{0}'>{0}</a>", escape(text));
            roxmltree::Document::parse(&page).unwrap();
        });
    }

    #[test]
    fn numbers_have_their_thousands_apart_and_their_sign_before_them() {
        assert_eq!(whole(1_234_567), "1,234,567");
        assert_eq!(whole(-999), "\u{2212}999");
        assert_eq!(decimal(-1_234.5, 2), "\u{2212}1,234.50");
        assert_eq!(decimal(-0.001, 2), "0.00");
        assert_eq!(signed(0.004, 2), "0.00");
        assert_eq!(signed(1_000.0, 0), "+1,000");
        assert_eq!(decimal(f64::NAN, 2), NONE);
    }

    #[test]
    fn an_axis_has_as_many_places_as_its_step_needs() {
        assert_eq!(of_step(4_800.0, 0.25), "4,800.00");
        assert_eq!(of_step(0.5, 0.5), "0.5");
        assert_eq!(of_step(2_000.0, 500.0), "2,000");
        assert_eq!(of_step(2.5, 2.5), "2.5");
    }

    #[test]
    fn a_moment_is_its_utc_date_and_time() {
        let moment = Moment::of(951_827_696_123_000_000);
        assert_eq!((moment.date().as_str(), moment.milli().as_str()), ("2000-02-29", "12:34:56.123"));
        assert_eq!(Moment::of(0).date(), "1970-01-01");
        assert_eq!(duration(86_399_446_821_072), "23 h 59 min");
    }
}
