//! The document's limits as the checks use them, and the token bucket.

use super::denial::{MONEY_SCALE, Money};
use bus::config::{InstrumentKey, InstrumentLimits, RiskDocument, Weekday};
use std::collections::HashMap;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_MINUTE: u64 = 60_000_000_000;
const MINUTES_PER_DAY: u64 = 24 * 60;
/// One message in a bucket: credit grows by `rate` a nanosecond.
const MESSAGE: u128 = 1_000_000_000;

/// Limits of one instrument, all of them said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub collar_basis_points: u32,
    pub collar_price: i64,
    pub order_quantity: u64,
    pub order_notional: Money,
    pub position: u64,
    pub exposure: Money,
    pub open_orders: u32,
    pub rate: Rate,
    pub duplicate_ns: u64,
    pub recent: usize,
    pub quote_age_ns: u64,
    pub drawdown: Money,
    pub multiplier: Option<i64>,
}

/// Messages a second and at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// Whole currency units as [`Money`]: at most 2^64 × 10^18 < 2^124.
pub(super) fn money(units: u64) -> Money {
    Money::from(units) * MONEY_SCALE
}

impl Limits {
    /// `None` when something is not said: then the instrument has no limits, and is not traded.
    pub(super) fn of(limits: &InstrumentLimits) -> Option<Limits> {
        Some(Limits {
            collar_basis_points: limits.collar_basis_points?,
            collar_price: limits.collar_price?.0.0,
            order_quantity: limits.order_quantity_max?,
            order_notional: money(limits.order_notional_max?),
            position: limits.position_max?,
            exposure: money(limits.exposure_max?),
            open_orders: limits.open_orders_max?,
            rate: Rate { per_second: limits.messages_per_second?, burst: limits.message_burst? },
            duplicate_ns: limits.duplicate_window_ms?.saturating_mul(NS_PER_MS),
            recent: usize::try_from(limits.recent()?).ok()?,
            quote_age_ns: limits.quote_age_max_ms?.saturating_mul(NS_PER_MS),
            drawdown: money(limits.drawdown_max?),
            multiplier: limits.multiplier.map(|multiplier| multiplier.0.0),
        })
    }
}

/// Whether something must not be traded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Forbidden {
    pub all: bool,
    pub short_sale: bool,
}

/// Everything of the document.
#[derive(Debug)]
pub(super) struct Rules {
    default: Option<InstrumentLimits>,
    own: HashMap<(u16, u32), InstrumentLimits>,
    restricted: HashMap<(u16, u32), Forbidden>,
    /// Day of the week from Monday = 0, first minute, minute after the last (beyond a day: on the next).
    sessions: Vec<(u64, u64, u64)>,
    pub position: i128,
    pub exposure: Money,
    pub open_orders: u32,
    pub rate: Rate,
    pub drawdown: Money,
    pub order_ids: usize,
}

impl Rules {
    pub(super) fn of(document: &RiskDocument) -> Rules {
        let key = |key: InstrumentKey| (key.publisher_id, key.instrument_id);
        let silent = InstrumentLimits::default();
        let default = document.default.as_ref().unwrap_or(&silent);
        let mut restricted: HashMap<_, Forbidden> = HashMap::new();
        for entry in &document.restricted {
            let forbidden = restricted.entry(key(entry.instrument)).or_default();
            forbidden.all |= !entry.short_sale_only;
            forbidden.short_sale = true;
        }
        let total = &document.total;
        let sessions = document.sessions.iter().flat_map(|session| {
            let minutes = session.minutes();
            let days = session.days.iter().copied();
            days.filter_map(move |day| {
                minutes.map(|(from, to)| (number(day), u64::from(from), u64::from(to)))
            })
        });
        Rules {
            default: document.default,
            own: document
                .instruments
                .iter()
                .map(|own| (key(own.instrument), own.limits.or(default)))
                .collect(),
            restricted,
            sessions: sessions.collect(),
            position: i128::from(total.position_max),
            exposure: money(total.exposure_max),
            open_orders: total.open_orders_max,
            rate: Rate { per_second: total.messages_per_second, burst: total.message_burst },
            drawdown: money(total.drawdown_max),
            order_ids: total.order_ids_max as usize,
        }
    }

    pub(super) fn limits(&self, key: (u16, u32)) -> Option<Limits> {
        self.own.get(&key).or(self.default.as_ref()).and_then(Limits::of)
    }

    pub(super) fn forbidden(&self, key: (u16, u32)) -> Forbidden {
        self.restricted.get(&key).copied().unwrap_or_default()
    }

    /// Whether a session is open at this time, ns since the epoch.
    pub(super) fn is_open(&self, now_ns: u64) -> bool {
        let minutes = now_ns / NS_PER_MINUTE;
        // The epoch was a Thursday.
        let day = (minutes / MINUTES_PER_DAY + 3) % 7;
        let minute = minutes % MINUTES_PER_DAY;
        let yesterday = (day + 6) % 7;
        self.sessions.iter().any(|&(opens, from, to)| {
            opens == day && (from..to).contains(&minute)
                || opens == yesterday && (from..to).contains(&(minute + MINUTES_PER_DAY))
        })
    }
}

fn number(day: Weekday) -> u64 {
    match day {
        Weekday::Monday => 0,
        Weekday::Tuesday => 1,
        Weekday::Wednesday => 2,
        Weekday::Thursday => 3,
        Weekday::Friday => 4,
        Weekday::Saturday => 5,
        Weekday::Sunday => 6,
    }
}

/// A token bucket, exact: credit in messages × 1e9, full at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    credit: u128,
    at_ns: u64,
}

impl Bucket {
    pub(super) const fn full() -> Bucket {
        Bucket { credit: u128::MAX, at_ns: 0 }
    }

    /// What is in it at a time; time that goes backwards brings nothing.
    fn credit_at(&self, now_ns: u64, rate: Rate) -> u128 {
        let elapsed = u128::from(now_ns.saturating_sub(self.at_ns));
        let credit = self.credit.saturating_add(elapsed * u128::from(rate.per_second));
        credit.min(u128::from(rate.burst) * MESSAGE)
    }

    /// Whether one more message may be sent.
    pub(super) fn has(&self, now_ns: u64, rate: Rate) -> bool {
        self.credit_at(now_ns, rate) >= MESSAGE
    }

    /// Takes a message, or what is left.
    pub(super) fn take(&mut self, now_ns: u64, rate: Rate) {
        self.credit = self.credit_at(now_ns, rate).saturating_sub(MESSAGE);
        self.at_ns = self.at_ns.max(now_ns);
    }
}
