//! `risk.yaml`: what an order is checked against before it is sent.
//!
//! What each limit means, and what happens exactly at it, is in `docs/risk.md`. Nothing is switched off by
//! being left out: a limit that is not said means that the instrument is not traded.

use super::{InstrumentKey, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use tick::Price;

/// Most instruments with limits of their own, and most restrictions.
pub const RISK_INSTRUMENTS_MAX: usize = 10_000;
/// Most orders of one instrument that may be sent within its duplicate window: all of them are remembered.
pub const RISK_RECENT_MAX: u64 = 1_024;
/// Most sessions in a day.
const SESSIONS_MAX: usize = 8;

/// A decimal price as text, so that no reader rounds it: at most nine digits after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PriceText(pub Price);

impl TryFrom<String> for PriceText {
    type Error = String;

    fn try_from(text: String) -> Result<PriceText, String> {
        text.parse().map(PriceText).map_err(|error| format!("{text:?} is {error}"))
    }
}

impl From<PriceText> for String {
    fn from(price: PriceText) -> String {
        price.0.to_string()
    }
}

/// The limits of a strategy's orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskDocument {
    /// Limits over all instruments.
    pub total: TotalLimits,
    /// Limits of every instrument, unless it has its own. When left out, only those in `instruments` are traded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<InstrumentLimits>,
    /// Instruments with limits of their own: what is said there goes before `default`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instruments: Vec<InstrumentOverride>,
    /// What must not be traded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restricted: Vec<Restriction>,
    /// When orders may be sent. At least one; at most 8.
    pub sessions: Vec<SessionHours>,
}

/// Limits over all instruments. Amounts of money are whole units of the one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TotalLimits {
    /// Sum of the worst-case absolute positions, shares or contracts.
    pub position_max: u64,
    /// Sum of the worst-case exposures, currency units.
    pub exposure_max: u64,
    /// Open orders. 1 to 100000.
    pub open_orders_max: u32,
    /// Messages a second over time (new orders, replacements, cancels). 1 to 1000000.
    pub messages_per_second: u32,
    /// Messages at once. 1 to 1000000.
    pub message_burst: u32,
    /// How far profit and loss may be below its highest point, currency units.
    pub drawdown_max: u64,
    /// Order ids remembered (32 bytes each); when they are used up, nothing new is sent. 1 to 16777216.
    #[serde(default = "default_order_ids")]
    pub order_ids_max: u32,
}

/// Limits of one instrument. What is left out in `instruments` is taken from `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentLimits {
    /// How far a price may be from the middle of the last good quote, hundredths of a percent of it. 1 to 100000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collar_basis_points: Option<u32>,
    /// The same as a price: both must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collar_price: Option<PriceText>,
    /// Quantity of one order, shares or contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_quantity_max: Option<u64>,
    /// |price| × quantity × multiplier of one order, currency units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_notional_max: Option<u64>,
    /// Absolute position if the open orders of a side trade, shares or contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_max: Option<u64>,
    /// That position's value, currency units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure_max: Option<u64>,
    /// Open orders. 1 to 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_orders_max: Option<u32>,
    /// Messages a second over time. 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    /// Messages at once. 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_burst: Option<u32>,
    /// For so long after an order, one of the same side, price and quantity is its duplicate, ms. 0 to 60000, and
    /// no more than 1024 messages may fit into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_window_ms: Option<u64>,
    /// Oldest good quote to trade on, ms. 1 to 3600000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_age_max_ms: Option<u64>,
    /// How far the instrument's profit and loss may be below its highest point, currency units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawdown_max: Option<u64>,
    /// Units of the underlying in one share or contract, when the venue's definition does not say: `'1'` for shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<PriceText>,
    /// Smallest step of a price, when the venue's definition does not say: `'0.01'` for most shares in the United States.
    /// Strategies round to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick_size: Option<PriceText>,
}

/// An instrument with limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentOverride {
    /// The instrument.
    pub instrument: InstrumentKey,
    /// Its limits.
    pub limits: InstrumentLimits,
}

/// What must not be traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restriction {
    /// The instrument.
    pub instrument: InstrumentKey,
    /// Only short sales are forbidden: what is owned may be sold, and all may be bought.
    #[serde(default)]
    pub short_sale_only: bool,
}

/// Hours of a day, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionHours {
    /// Days on which it opens.
    pub days: Vec<Weekday>,
    /// From this time of day on, `HH:MM` UTC.
    pub open: String,
    /// Up to and without this time of day, `HH:MM` UTC, `24:00` for midnight. Before `open`: on the next day.
    pub close: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

fn default_order_ids() -> u32 {
    1 << 20
}

impl InstrumentLimits {
    /// These limits, and those of `default` where these are silent.
    pub fn or(self, default: &InstrumentLimits) -> InstrumentLimits {
        InstrumentLimits {
            collar_basis_points: self.collar_basis_points.or(default.collar_basis_points),
            collar_price: self.collar_price.or(default.collar_price),
            order_quantity_max: self.order_quantity_max.or(default.order_quantity_max),
            order_notional_max: self.order_notional_max.or(default.order_notional_max),
            position_max: self.position_max.or(default.position_max),
            exposure_max: self.exposure_max.or(default.exposure_max),
            open_orders_max: self.open_orders_max.or(default.open_orders_max),
            messages_per_second: self.messages_per_second.or(default.messages_per_second),
            message_burst: self.message_burst.or(default.message_burst),
            duplicate_window_ms: self.duplicate_window_ms.or(default.duplicate_window_ms),
            quote_age_max_ms: self.quote_age_max_ms.or(default.quote_age_max_ms),
            drawdown_max: self.drawdown_max.or(default.drawdown_max),
            multiplier: self.multiplier.or(default.multiplier),
            tick_size: self.tick_size.or(default.tick_size),
        }
    }
}

/// `HH:MM` as minutes of the day.
pub(super) fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !two(hours) || !two(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
}

impl SessionHours {
    /// Minutes of the day from which and up to which it goes; the second is above 1440 when it ends on the next
    /// day. `None` when they cannot be read.
    pub fn minutes(&self) -> Option<(u16, u16)> {
        let (open, close) = (minutes(&self.open)?, minutes(&self.close)?);
        match open.cmp(&close) {
            std::cmp::Ordering::Less => Some((open, close)),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some((open, close + 24 * 60)),
        }
    }
}

const OPEN_ORDERS_TOTAL: RangeInclusive<u32> = 1..=100_000;
const OPEN_ORDERS: RangeInclusive<u32> = 1..=10_000;
const MESSAGES: RangeInclusive<u32> = 1..=1_000_000;
const ORDER_IDS: RangeInclusive<u32> = 1..=1 << 24;
const COLLAR: RangeInclusive<u32> = 1..=100_000;
const DUPLICATE_MS: RangeInclusive<u64> = 0..=60_000;
const QUOTE_AGE_MS: RangeInclusive<u64> = 1..=3_600_000;

#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn problem(&mut self, path: &str, message: String) {
        self.problems.push(Problem { path: path.into(), message });
    }

    fn range<T: PartialOrd + std::fmt::Display>(&mut self, path: &str, value: T, range: &RangeInclusive<T>) {
        if !range.contains(&value) {
            self.problem(path, format!("is {value}; choose {} to {}", range.start(), range.end()));
        }
    }

    fn values(&mut self, path: &str, limits: &InstrumentLimits) {
        let at = |field: &str| format!("{path}.{field}");
        if let Some(value) = limits.collar_basis_points {
            self.range(&at("collar_basis_points"), value, &COLLAR);
        }
        let prices = [
            ("collar_price", limits.collar_price),
            ("multiplier", limits.multiplier),
            ("tick_size", limits.tick_size),
        ];
        for (field, value) in prices {
            if let Some(value) = value.filter(|value| value.0.0 <= 0) {
                self.problem(&at(field), format!("is {}; choose a number above 0", value.0));
            }
        }
        if let Some(value) = limits.open_orders_max {
            self.range(&at("open_orders_max"), value, &OPEN_ORDERS);
        }
        let messages =
            [("messages_per_second", limits.messages_per_second), ("message_burst", limits.message_burst)];
        for (field, value) in messages {
            if let Some(value) = value {
                self.range(&at(field), value, &MESSAGES);
            }
        }
        if let Some(value) = limits.duplicate_window_ms {
            self.range(&at("duplicate_window_ms"), value, &DUPLICATE_MS);
        }
        if let Some(value) = limits.quote_age_max_ms {
            self.range(&at("quote_age_max_ms"), value, &QUOTE_AGE_MS);
        }
    }

    /// What is in force for an instrument must be said in full, and fit together.
    fn whole(&mut self, path: &str, limits: &InstrumentLimits) {
        let said = [
            ("collar_basis_points", limits.collar_basis_points.is_some()),
            ("collar_price", limits.collar_price.is_some()),
            ("order_quantity_max", limits.order_quantity_max.is_some()),
            ("order_notional_max", limits.order_notional_max.is_some()),
            ("position_max", limits.position_max.is_some()),
            ("exposure_max", limits.exposure_max.is_some()),
            ("open_orders_max", limits.open_orders_max.is_some()),
            ("messages_per_second", limits.messages_per_second.is_some()),
            ("message_burst", limits.message_burst.is_some()),
            ("duplicate_window_ms", limits.duplicate_window_ms.is_some()),
            ("quote_age_max_ms", limits.quote_age_max_ms.is_some()),
            ("drawdown_max", limits.drawdown_max.is_some()),
        ];
        for (field, _) in said.iter().filter(|(_, said)| !said) {
            self.problem(&format!("{path}.{field}"), "is not said, nor in `default`; say it".into());
        }
        if limits.recent().is_some_and(|recent| recent > RISK_RECENT_MAX) {
            let message = format!(
                "lets more than {RISK_RECENT_MAX} messages pass in its time; shorten it or lower the message rate"
            );
            self.problem(&format!("{path}.duplicate_window_ms"), message);
        }
    }
}

impl InstrumentLimits {
    /// Most messages within the duplicate window; `None` when that is not said.
    pub fn recent(&self) -> Option<u64> {
        let (rate, burst) = (u64::from(self.messages_per_second?), u64::from(self.message_burst?));
        Some(rate.saturating_mul(self.duplicate_window_ms?) / 1_000 + burst + 1)
    }
}

impl RiskDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut check = Check::default();
        check.range("total.open_orders_max", self.total.open_orders_max, &OPEN_ORDERS_TOTAL);
        check.range("total.messages_per_second", self.total.messages_per_second, &MESSAGES);
        check.range("total.message_burst", self.total.message_burst, &MESSAGES);
        check.range("total.order_ids_max", self.total.order_ids_max, &ORDER_IDS);
        for (field, count) in [("instruments", self.instruments.len()), ("restricted", self.restricted.len())]
        {
            if count > RISK_INSTRUMENTS_MAX {
                check.problem(field, format!("has {count} entries; at most {RISK_INSTRUMENTS_MAX}"));
                return check.problems;
            }
        }
        if let Some(default) = &self.default {
            check.values("default", default);
            check.whole("default", default);
        }
        let silent = InstrumentLimits::default();
        let mut seen = BTreeSet::new();
        for (index, entry) in self.instruments.iter().enumerate() {
            let path = format!("instruments[{index}].limits");
            check.values(&path, &entry.limits);
            check.whole(&path, &entry.limits.or(self.default.as_ref().unwrap_or(&silent)));
            if !seen.insert(entry.instrument) {
                check.problem(
                    &format!("instruments[{index}].instrument"),
                    "is there twice; say it once".into(),
                );
            }
        }
        self.check_sessions(&mut check);
        check.problems
    }

    fn check_sessions(&self, check: &mut Check) {
        if !(1..=SESSIONS_MAX).contains(&self.sessions.len()) {
            let message = format!("has {} entries; choose 1 to {SESSIONS_MAX}", self.sessions.len());
            check.problem("sessions", message);
        }
        for (index, session) in self.sessions.iter().take(SESSIONS_MAX).enumerate() {
            if session.days.is_empty() {
                check.problem(&format!("sessions[{index}].days"), "is empty; name at least one day".into());
            }
            for (field, text) in [("open", &session.open), ("close", &session.close)] {
                if minutes(text).is_none() {
                    let message = format!("is {text:?}; write HH:MM, 00:00 to 24:00");
                    check.problem(&format!("sessions[{index}].{field}"), message);
                }
            }
            if session.open == session.close {
                let message = "is the same as `open`; a whole day is 00:00 to 24:00".into();
                check.problem(&format!("sessions[{index}].close"), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
total: {position_max: 10000, exposure_max: 5000000, open_orders_max: 100, messages_per_second: 100, message_burst: 20, drawdown_max: 5000}
default:
  collar_basis_points: 500
  collar_price: '2.50'
  order_quantity_max: 500
  order_notional_max: 100000
  position_max: 1000
  exposure_max: 500000
  open_orders_max: 20
  messages_per_second: 50
  message_burst: 10
  duplicate_window_ms: 500
  quote_age_max_ms: 2000
  drawdown_max: 1000
  multiplier: '1'
instruments:
  - {instrument: {publisher_id: 2, instrument_id: 7}, limits: {position_max: 50}}
restricted:
  - {instrument: {publisher_id: 2, instrument_id: 8}}
  - {instrument: {publisher_id: 2, instrument_id: 9}, short_sale_only: true}
sessions:
  - {days: [monday, friday], open: '13:30', close: '20:00'}
";

    #[test]
    fn an_instrument_takes_from_the_default_what_it_does_not_say() {
        let document = RiskDocument::parse(WHOLE.as_bytes()).unwrap();
        let default = document.default.unwrap();
        let own = document.instruments[0].limits.or(&default);
        assert_eq!((own.position_max, own.order_quantity_max), (Some(50), Some(500)));
        assert_eq!(default.collar_price, Some(PriceText(Price(2_500_000_000))));
        assert_eq!(document.total.order_ids_max, 1 << 20);
        assert_eq!(document.sessions[0].minutes(), Some((810, 1200)));
        assert!(!document.restricted[0].short_sale_only && document.restricted[1].short_sale_only);
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        let cases = [
            (
                "open_orders_max: 100,",
                "open_orders_max: 0,",
                "total.open_orders_max: is 0; choose 1 to 100000",
            ),
            ("message_burst: 20", "message_burst: 0", "total.message_burst: is 0"),
            ("drawdown_max: 5000}", "drawdown_max: 5000, order_ids_max: 0}", "total.order_ids_max: is 0"),
            ("collar_basis_points: 500", "collar_basis_points: 0", "default.collar_basis_points: is 0"),
            ("collar_price: '2.50'", "collar_price: '0'", "default.collar_price: is 0.00"),
            ("collar_price: '2.50'", "collar_price: '1e3'", "\"1e3\" is not a decimal price"),
            ("multiplier: '1'", "multiplier: '-1'", "default.multiplier: is -1.00"),
            ("multiplier: '1'", "tick_size: '0'", "default.tick_size: is 0.00"),
            ("  order_quantity_max: 500\n", "", "default.order_quantity_max: is not said"),
            ("  order_quantity_max: 500\n", "", "instruments[0].limits.order_quantity_max: is not said"),
            ("quote_age_max_ms: 2000", "quote_age_max_ms: 0", "default.quote_age_max_ms: is 0"),
            ("window_ms: 500", "window_ms: 60000", "default.duplicate_window_ms: lets more than 1024"),
            (
                "restricted:",
                "  - {instrument: {publisher_id: 2, instrument_id: 7}, limits: {}}\nrestricted:",
                "instruments[1].instrument: is there twice",
            ),
            ("open: '13:30'", "open: '1:30'", "sessions[0].open: is \"1:30\"; write HH:MM"),
            ("close: '20:00'", "close: '24:01'", "sessions[0].close: is \"24:01\""),
            ("close: '20:00'", "close: '13:30'", "sessions[0].close: is the same as `open`"),
            ("[monday, friday]", "[]", "sessions[0].days: is empty"),
            (
                "\n  - {days: [monday, friday], open: '13:30', close: '20:00'}",
                " []",
                "sessions: has 0 entries",
            ),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = RiskDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
    }

    #[test]
    fn a_session_may_end_on_the_next_day_and_midnight_has_two_names() {
        let hours = |open: &str, close: &str| {
            SessionHours { days: vec![Weekday::Sunday], open: open.into(), close: close.into() }.minutes()
        };
        assert_eq!(hours("23:00", "22:00"), Some((1380, 2760)));
        assert_eq!(hours("00:00", "24:00"), Some((0, 1440)));
        assert_eq!(hours("12:00", "12:00"), None);
        assert_eq!(hours("12:60", "13:00"), None);
        assert_eq!(hours("+1:00", "13:00"), None);
    }
}
