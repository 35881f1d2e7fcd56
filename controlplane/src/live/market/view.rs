//! What is shown of an instrument, and how its events look.

use super::{InstrumentKey, Seen};
use crate::live::events::{Event, Topic};
use crate::live::now_ns;
use book::{Book, BookState, Kind, Level, Trade, Why};
use bus::{FeatureRecord, FeatureSchema, Quality};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tick::{Price, Side, Tick};
use utoipa::ToSchema;

/// Levels of a side that are kept.
pub(super) const LEVELS_MAX: usize = 50;
/// Levels of a side in an event.
const LEVELS_TOLD: usize = 20;

/// A price level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BookLevel {
    /// A decimal.
    pub price: String,
    /// Sum of the sizes resting there, the venue's units.
    pub size: u64,
    /// Orders resting there; 0 in a book by price.
    pub orders: u32,
}

/// The book of an instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BookView {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// The instrument's publisher.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// `good`, or `doubtful`: it may be wrong, and nothing may be traded on it.
    pub state: &'static str,
    /// Why it is doubtful: `nothing_seen`, `behind`, `unreachable`, `not_from_start`, `gap`, `flagged`, `contradiction`,
    /// `full`, `snapshot`, `crossed`. Null when it is good.
    #[schema(required)]
    pub why: Option<&'static str>,
    /// `by_order`, `by_price`.
    pub kind: &'static str,
    /// Arrival of the instrument's newest tick, ns since the epoch; 0 = none.
    pub ts_recv_ns: u64,
    /// Arrival of the newest tick of all that were read, ns since the epoch; 0 = none.
    pub read_to_ns: u64,
    /// Best first.
    pub bids: Vec<BookLevel>,
    /// Best first.
    pub asks: Vec<BookLevel>,
}

/// A trade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Print {
    /// Arrival of its tick, ns since the epoch.
    pub ts_recv_ns: u64,
    /// The exchange's time, ns since the epoch; 0 = none.
    pub ts_event_ns: u64,
    /// A decimal.
    pub price: String,
    /// The venue's units.
    pub size: u32,
    /// Who came last: `buy`, `sell`; null when unknown or in an auction.
    #[schema(required)]
    pub aggressor: Option<&'static str>,
}

/// The last trades of an instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TapeView {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// The instrument's publisher.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// Newest first, at most 100.
    pub trades: Vec<Print>,
    /// Whether everything up to now was read.
    pub is_current: bool,
}

/// Trades since the event before, or the last ones in the first.
#[derive(Debug, Serialize, ToSchema)]
pub struct TapeEvent<'a> {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// The instrument's publisher.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// Newest first.
    pub trades: &'a [Print],
}

/// One value of a feature set.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ValueNow {
    /// Its name with all that decides it, as `ema_20`.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Null where there is none.
    #[schema(required)]
    pub value: Option<f64>,
}

/// The newest values of a feature set.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FeatureValues {
    /// The set.
    pub set: String,
    /// Arrival of the tick that brought them about, ns since the epoch.
    pub time_ns: u64,
    /// `bad_book`, `gap_in_window`, `warming_up`, `bad_time`.
    pub doubts: Vec<&'static str>,
    /// The values, in the schema's order.
    pub values: Vec<ValueNow>,
}

/// Values that are new.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeaturesEvent<'a> {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// The instrument's publisher.
    pub publisher_id: u16,
    /// The instrument.
    pub instrument_id: u32,
    /// The sets that have new values.
    pub sets: Vec<&'a FeatureValues>,
}

/// The doubts of a record, in words.
pub fn doubts_of(quality: Quality) -> Vec<&'static str> {
    let all = [
        (Quality::BAD_BOOK, "bad_book"),
        (Quality::GAP_IN_WINDOW, "gap_in_window"),
        (Quality::WARMING_UP, "warming_up"),
        (Quality::BAD_TIME, "bad_time"),
    ];
    all.into_iter().filter(|(bit, _)| quality.contains(*bit)).map(|(_, word)| word).collect()
}

impl FeatureValues {
    /// A record's values under its schema's names. Values that have no name are left out.
    pub(super) fn new(schema: &FeatureSchema, record: &FeatureRecord<'_>) -> FeatureValues {
        let named = schema.features.iter().zip(record.values());
        let values = named.map(|(spec, value)| ValueNow {
            name: spec.name.clone(),
            unit: spec.unit.clone(),
            value: value.is_finite().then_some(value),
        });
        FeatureValues {
            set: schema.set.clone(),
            time_ns: record.time_ns,
            doubts: doubts_of(record.quality),
            values: values.collect(),
        }
    }
}

impl BookView {
    /// A book of which nothing is known, and why.
    pub(super) fn unknown(key: InstrumentKey, why: &'static str) -> BookView {
        BookView {
            time_ns: now_ns(),
            publisher_id: key.publisher_id,
            instrument_id: key.instrument_id,
            state: "doubtful",
            why: Some(why),
            kind: "by_order",
            ts_recv_ns: 0,
            read_to_ns: 0,
            bids: Vec::new(),
            asks: Vec::new(),
        }
    }

    /// As it stands, with the time of its newest tick.
    pub(super) fn of(book: &Book<'_>, ts_recv_ns: u64, read_to_ns: u64) -> BookView {
        let (publisher_id, instrument_id) = book.key();
        let why = match book.state() {
            BookState::Good => None,
            BookState::Bad(why) => Some(word(why)),
        };
        let side = |side| book.levels(side).take(LEVELS_MAX).map(BookLevel::from).collect();
        BookView {
            time_ns: now_ns(),
            publisher_id,
            instrument_id,
            state: if why.is_none() { "good" } else { "doubtful" },
            why,
            kind: if book.kind() == Kind::ByOrder { "by_order" } else { "by_price" },
            ts_recv_ns,
            read_to_ns,
            bids: side(Side::Bid),
            asks: side(Side::Ask),
        }
    }

    /// The same, doubtful for this reason besides, when it is not already.
    #[must_use]
    pub(super) fn doubted(mut self, why: Option<&'static str>) -> BookView {
        if why.is_some() && self.why.is_none() {
            (self.state, self.why) = ("doubtful", why);
        }
        self
    }

    pub(super) fn event(&self) -> Option<Event> {
        let mut told = self.clone();
        told.bids.truncate(LEVELS_TOLD);
        told.asks.truncate(LEVELS_TOLD);
        Event::new(Topic::Book, &told)
    }
}

fn word(why: Why) -> &'static str {
    match why {
        Why::NotFromStart => "not_from_start",
        Why::Gap => "gap",
        Why::Flagged => "flagged",
        Why::Contradiction => "contradiction",
        Why::Full => "full",
        Why::Snapshot => "snapshot",
        Why::Crossed => "crossed",
    }
}

impl From<Level> for BookLevel {
    fn from(level: Level) -> BookLevel {
        BookLevel { price: Price(level.price).to_string(), size: level.size, orders: level.orders }
    }
}

impl Print {
    pub(super) fn of(trade: &Trade, tick: &Tick) -> Print {
        let aggressor = match trade.aggressor {
            Side::Bid => Some("buy"),
            Side::Ask => Some("sell"),
            _ => None,
        };
        Print {
            ts_recv_ns: tick.ts_recv,
            ts_event_ns: tick.ts_event,
            price: Price(trade.price).to_string(),
            size: trade.size,
            aggressor,
        }
    }
}

pub(super) fn tape_event(key: InstrumentKey, trades: &[Print]) -> Option<Event> {
    let (publisher_id, instrument_id) = (key.publisher_id, key.instrument_id);
    Event::new(Topic::Tape, &TapeEvent { time_ns: now_ns(), publisher_id, instrument_id, trades })
}

pub(super) fn features_event(key: InstrumentKey, sets: Vec<&FeatureValues>) -> Option<Event> {
    let (publisher_id, instrument_id) = (key.publisher_id, key.instrument_id);
    Event::new(Topic::Features, &FeaturesEvent { time_ns: now_ns(), publisher_id, instrument_id, sets })
}

/// What a new client is told first.
pub(super) fn frames(key: InstrumentKey, seen: &Seen) -> Vec<Event> {
    let book = seen.book.as_ref().and_then(|book| book.event());
    let tape = seen.tape.as_ref().and_then(|tape: &Arc<TapeView>| tape_event(key, &tape.trades));
    let features: &BTreeMap<String, FeatureValues> = &seen.features;
    let features = (!features.is_empty()).then(|| features_event(key, features.values().collect())).flatten();
    [book, tape, features].into_iter().flatten().collect()
}
