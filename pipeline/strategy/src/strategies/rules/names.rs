//! What an expression can name, and the values of it at a moment.
//!
//! Each name that any of the rules uses has one slot of an array; the array is filled once and all rules read it. A
//! value that is not there is NaN.

use crate::desk::Desk;
use crate::strategies::market::Quote;
use bus::config::InstrumentKey;
use bus::{FeatureSchema, Quality};
use tick::PRICE_SCALE;

/// A name of an expression.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Name {
    Ask,
    AskSize,
    Bid,
    BidSize,
    /// The only one that is true or false.
    Good,
    Imbalance,
    Mid,
    OpenBuys,
    OpenOrders,
    OpenSells,
    Position,
    Profit,
    Spread,
    TickSize,
    Time,
    Feature(Feature),
}

/// A value of a feature set, and where it was found last.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Feature {
    pub set: String,
    pub value: String,
    /// The schema in which it was looked for, and its place there.
    found: Option<(u64, Option<usize>)>,
}

impl Name {
    /// The names without a set.
    pub(crate) const PLAIN: [(&'static str, Name); 15] = [
        ("ask", Name::Ask),
        ("ask_size", Name::AskSize),
        ("bid", Name::Bid),
        ("bid_size", Name::BidSize),
        ("good", Name::Good),
        ("imbalance", Name::Imbalance),
        ("mid", Name::Mid),
        ("open_buys", Name::OpenBuys),
        ("open_orders", Name::OpenOrders),
        ("open_sells", Name::OpenSells),
        ("position", Name::Position),
        ("profit", Name::Profit),
        ("spread", Name::Spread),
        ("tick_size", Name::TickSize),
        ("time", Name::Time),
    ];

    pub(crate) fn of(word: &str) -> Option<Name> {
        Name::PLAIN.into_iter().find(|(known, _)| *known == word).map(|(_, name)| name)
    }
}

impl Feature {
    pub(crate) fn new(set: &str, value: &str) -> Feature {
        Feature { set: set.to_owned(), value: value.to_owned(), found: None }
    }

    /// The latest value; NaN when there is none, when it is older than allowed, or when anything is doubtful about it.
    pub(crate) fn latest(&mut self, desk: &Desk<'_>, key: InstrumentKey, age_max_ns: u64) -> f64 {
        let Some(features) = desk.features(key, &self.set) else { return f64::NAN };
        let age_ns = desk.now_ns().saturating_sub(features.time_ns());
        if features.quality() != Quality::GOOD || age_ns > age_max_ns {
            return f64::NAN;
        }
        let schema = features.record().schema_id;
        let place = match self.found {
            Some((known, place)) if known == schema => place,
            _ => {
                let place = features.index(&self.value);
                self.found = Some((schema, place));
                place
            }
        };
        place.map_or(f64::NAN, |place| features.value(place))
    }
}

/// The names used so far, and what is known of feature sets.
pub(crate) struct Names<'a> {
    pub used: Vec<Name>,
    /// None: not known here, any feature may come.
    pub schemas: Option<&'a [FeatureSchema]>,
}

impl Names<'_> {
    /// The slot of a name.
    pub(crate) fn slot(&mut self, name: Name) -> usize {
        match self.used.iter().position(|used| *used == name) {
            Some(at) => at,
            None => {
                self.used.push(name);
                self.used.len() - 1
            }
        }
    }

    pub(crate) fn feature(&self, set: &str, value: &str) -> Result<Name, String> {
        if let Some(schemas) = self.schemas {
            let mut of_set = schemas.iter().filter(|schema| schema.set == set).peekable();
            if of_set.peek().is_none() {
                return Err(format!("{set} is no feature set that is published"));
            }
            if !of_set.any(|schema| schema.features.iter().any(|feature| feature.name == value)) {
                return Err(format!("the feature set {set} has no value {value}"));
            }
        }
        Ok(Name::Feature(Feature::new(set, value)))
    }
}

/// The values of the names at this moment, into the slots.
pub(crate) fn fill(
    names: &mut [Name],
    slots: &mut [f64],
    desk: &Desk<'_>,
    key: InstrumentKey,
    feature_age_max_ns: u64,
) {
    let quote = Quote::of(desk, key);
    let of = |value: fn(&Quote) -> f64| quote.as_ref().map_or(f64::NAN, value);
    let price = |units: i64| units as f64 / PRICE_SCALE as f64;
    for (name, slot) in names.iter_mut().zip(slots) {
        *slot = match name {
            Name::Ask => quote.map_or(f64::NAN, |quote| price(quote.ask)),
            Name::AskSize => of(|quote| quote.ask_size as f64),
            Name::Bid => quote.map_or(f64::NAN, |quote| price(quote.bid)),
            Name::BidSize => of(|quote| quote.bid_size as f64),
            Name::Good => f64::from(quote.is_some()),
            Name::Imbalance => of(|quote| {
                let (bids, asks) = (quote.bid_size as f64, quote.ask_size as f64);
                (bids - asks) / (bids + asks)
            }),
            Name::Mid => of(|quote| quote.doubled_mid() as f64 / (2 * PRICE_SCALE) as f64),
            Name::OpenBuys => open(desk, key, |buys| buys),
            Name::OpenOrders => desk.open_orders(key).count() as f64,
            Name::OpenSells => open(desk, key, |buys| !buys),
            Name::Position => desk.position(key) as f64,
            Name::Profit => desk.profit(key).map_or(f64::NAN, |money| money as f64 / 1e18),
            Name::Spread => quote.map_or(f64::NAN, |quote| price(quote.ask - quote.bid)),
            Name::TickSize => {
                let step = desk.instrument(key).and_then(|instrument| instrument.tick_size);
                step.map_or(f64::NAN, |step| price(step.0))
            }
            Name::Time => (desk.now_ns() % 86_400_000_000_000) as f64 / 1e9,
            Name::Feature(feature) => feature.latest(desk, key, feature_age_max_ns),
        };
    }
}

fn open(desk: &Desk<'_>, key: InstrumentKey, side: fn(bool) -> bool) -> f64 {
    let orders = desk.open_orders(key).filter(|order| side(order.side == bus::OrderSide::Buy));
    orders.map(|order| order.leaves as f64).sum()
}
