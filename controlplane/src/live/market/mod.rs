//! Book, tape and features of instruments that somebody looks at.
//!
//! ```text
//! Watch (a client, a request) ─┐                    raw_market_data{i} ─┐
//! Watch ───────────────────────┼─► Watched ◄─ Follower of shard i ◄─────┤ from the beginning
//!        10 s after the last ──┘   (view, events)  (a thread)           └─ calculated_features{i}, from now on
//! ```
//!
//! A follower keeps the books of its whole shard, because one pass over the stream costs the same for one instrument as for
//! all of them; it runs while an instrument of its shard is watched. Invariants: at most [`WATCHED_MAX`] instruments; a book
//! that may be wrong says so; whoever looks never waits for the stream but only for the view.

mod follower;
mod view;

pub use view::{
    BookLevel, BookView, FeatureValues, FeaturesEvent, Print, TapeEvent, TapeView, ValueNow, doubts_of,
};

use super::events::{Event, Source};
use bus::names::shard_of;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};
use vitals::Stop;

/// Instruments that are watched at once.
pub const WATCHED_MAX: usize = 32;
/// How long an instrument is followed after the last one who looked: a page that is reloaded finds it warm.
const GRACE: Duration = Duration::from_secs(10);
/// Events of an instrument that wait in its channel: a few seconds of three topics at four a second.
const EVENTS_WAITING: usize = 32;
/// How long a request waits for a follower to have read what there is.
const FIRST_WITHIN: Duration = Duration::from_secs(2);

/// An instrument: `publisher:instrument`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct InstrumentKey {
    /// Its publisher.
    pub publisher_id: u16,
    /// Its number there.
    pub instrument_id: u32,
}

/// A text that is no instrument.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an instrument is publisher:instrument, as 2:42")]
pub struct InstrumentKeyError;

impl FromStr for InstrumentKey {
    type Err = InstrumentKeyError;

    fn from_str(text: &str) -> Result<InstrumentKey, InstrumentKeyError> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (publisher, instrument) = text.split_once(':').ok_or(InstrumentKeyError)?;
        if !digits(publisher) || !digits(instrument) {
            return Err(InstrumentKeyError);
        }
        Ok(InstrumentKey {
            publisher_id: publisher.parse().map_err(|_| InstrumentKeyError)?,
            instrument_id: instrument.parse().map_err(|_| InstrumentKeyError)?,
        })
    }
}

impl fmt::Display for InstrumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.publisher_id, self.instrument_id)
    }
}

/// So many instruments are watched already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{WATCHED_MAX} instruments are watched already, which is the most; try again when others look no more"
)]
pub struct MarketFull;

/// Why an instrument cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Too many.
    #[error(transparent)]
    Full(#[from] MarketFull),
    /// The follower cannot be started.
    #[error("its stream cannot be followed: {0}")]
    Start(String),
}

/// What is known of a watched instrument.
#[derive(Debug, Default)]
struct Seen {
    book: Option<Arc<BookView>>,
    tape: Option<Arc<TapeView>>,
    features: BTreeMap<String, FeatureValues>,
}

/// A watched instrument.
struct Watched {
    key: InstrumentKey,
    shard: u16,
    events: broadcast::Sender<Event>,
    seen: Mutex<Seen>,
    /// Whether the follower has reached the stream's end since this was watched.
    current: watch::Sender<bool>,
}

struct Place {
    watched: Arc<Watched>,
    watchers: usize,
    left: Instant,
}

#[derive(Default)]
struct Places {
    by_key: BTreeMap<InstrumentKey, Place>,
    /// Shards that have a follower.
    followed: Vec<u16>,
}

impl Places {
    /// Forgets those that nobody has looked at for [`GRACE`].
    fn tidy(&mut self) {
        self.by_key.retain(|_, place| place.watchers > 0 || place.left.elapsed() < GRACE);
    }

    fn of_shard(&self, shard: u16) -> Vec<Arc<Watched>> {
        let places = self.by_key.values().filter(|place| place.watched.shard == shard);
        places.map(|place| Arc::clone(&place.watched)).collect()
    }
}

struct Inner {
    url: String,
    shards: u16,
    stop: Stop,
    places: Mutex<Places>,
}

/// The market, as far as somebody looks. Cheap to copy.
#[derive(Clone)]
pub struct Market(Arc<Inner>);

/// Somebody looks at an instrument; dropped when no more.
pub struct Watch {
    market: Market,
    watched: Arc<Watched>,
}

impl Market {
    /// Nothing is followed yet.
    pub fn new(url: &str, shards: u16, stop: Stop) -> Market {
        Market(Arc::new(Inner { url: url.to_owned(), shards, stop, places: Mutex::default() }))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Instruments that are followed now.
    pub fn watched(&self) -> usize {
        self.places().by_key.len()
    }

    /// Looks at an instrument from now on.
    ///
    /// # Errors
    /// When there are too many, or its stream cannot be followed.
    pub fn watch(&self, key: InstrumentKey) -> Result<Watch, WatchError> {
        let mut places = self.places();
        places.tidy();
        if !places.by_key.contains_key(&key) && places.by_key.len() >= WATCHED_MAX {
            return Err(MarketFull.into());
        }
        let shard = shard_of(key.instrument_id, self.0.shards);
        if !places.followed.contains(&shard) {
            follower::start(self.clone(), shard).map_err(|error| WatchError::Start(format!("{error:#}")))?;
            places.followed.push(shard);
        }
        let place = places.by_key.entry(key).or_insert_with(|| Place {
            watched: Arc::new(Watched {
                key,
                shard,
                events: broadcast::channel(EVENTS_WAITING).0,
                seen: Mutex::default(),
                current: watch::channel(false).0,
            }),
            watchers: 0,
            left: Instant::now(),
        });
        place.watchers += 1;
        let watched = Arc::clone(&place.watched);
        metrics::gauge!("feedplane_controlplane_watched_instruments").set(places.by_key.len() as f64);
        drop(places);
        Ok(Watch { market: self.clone(), watched })
    }

    /// The watched instruments of a shard; none when its follower is to end, which is noted here.
    fn still_watched(&self, shard: u16) -> Option<Vec<Arc<Watched>>> {
        let mut places = self.places();
        places.tidy();
        metrics::gauge!("feedplane_controlplane_watched_instruments").set(places.by_key.len() as f64);
        let watched = places.of_shard(shard);
        if watched.is_empty() || self.0.stop.is_asked() {
            places.followed.retain(|followed| *followed != shard);
            return None;
        }
        Some(watched)
    }
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Waits until the follower has read what there is, two seconds at most: what there is then says whether it has.
    pub async fn current(&self) {
        let mut current = self.watched.current.subscribe();
        let _ = tokio::time::timeout(FIRST_WITHIN, current.wait_for(|current| *current)).await;
    }

    /// The book; none when the follower has read nothing yet.
    pub fn book(&self) -> Option<Arc<BookView>> {
        self.watched.seen().book.clone()
    }

    /// The last trades; none when the follower has read nothing yet.
    pub fn tape(&self) -> Option<Arc<TapeView>> {
        self.watched.seen().tape.clone()
    }

    /// The instrument's events, with what is known of it first.
    pub fn source(self) -> Source {
        // Subscribed before the views are taken: none falls between.
        let events = self.watched.events.subscribe();
        let first = view::frames(self.watched.key, &self.watched.seen());
        Source { events, first, keep: Box::new(self) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(place) = self.market.places().by_key.get_mut(&self.watched.key) {
            place.watchers = place.watchers.saturating_sub(1);
            place.left = Instant::now();
        }
    }
}
