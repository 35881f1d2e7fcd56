//! What is known of the market: books, instruments, their states and latest features.
//!
//! Every instrument of the shard has a book; what a strategy trades has a *place* besides, made when its definition
//! is known. A place is what the risk engine is told about.
//!
//! Trading states are kept in two layers. What a venue says about an instrument, or about its product group, holds until it
//! says something else. What it says about the whole market (ITCH's system events) lies over that: both must be `Trading`.

use super::ledger::Ledger;
use crate::desk::{Features, TradedInstrument};
use crate::risk::BuildNumberHasher;
use book::{Applied, BookId, BookState, Books};
use bus::config::InstrumentKey;
use bus::{FeatureRecord, FeatureSchema, InstrumentRow};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tick::{Action, Price, Side, StatusAction, Tick};

/// A book whose instrument is not defined yet.
const UNDEFINED: u32 = u32::MAX;
/// A book whose instrument nobody here trades.
const NOBODYS: u32 = u32::MAX - 1;

/// An instrument that some strategy trades, or of which an order or a position is known.
#[derive(Debug)]
pub(crate) struct Traded {
    pub(crate) instrument: TradedInstrument,
    pub(crate) book: Option<BookId>,
    /// Running strategies whose own it is.
    pub(crate) followers: Vec<usize>,
    /// The risk engine was told that the book is good.
    pub(crate) good: bool,
    /// The product group, as in field `group` of the instrument table.
    group: Box<str>,
    defined_multiplier: Option<Price>,
    features: Vec<Latest>,
}

/// The latest record of a feature set.
#[derive(Debug)]
struct Latest {
    schema: Arc<FeatureSchema>,
    head: FeatureRecord<'static>,
    values: Vec<u8>,
}

/// What a venue said about an instrument's trading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// Its state; none when nothing was said.
    pub status: Option<StatusAction>,
    /// Whether short sales are restricted.
    pub short_restricted: bool,
}

/// What venues said about trading: what a restart needs besides the books.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MarketState {
    /// About instruments, traded here or not.
    pub instruments: BTreeMap<InstrumentKey, Said>,
    /// About whole channels.
    pub channels: BTreeMap<u16, StatusAction>,
}

/// The market of one shard.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) books: Books,
    pub(crate) traded: Vec<Traded>,
    places: HashMap<InstrumentKey, u32, BuildNumberHasher>,
    /// Place of each book's instrument.
    by_book: Vec<u32>,
    pub(crate) state: MarketState,
    /// Publishers with instruments that have ticks and no definition.
    pub(crate) undefined: BTreeSet<u16>,
    schemas: HashMap<u64, Arc<FeatureSchema>>,
    pub(crate) refused_ticks: u64,
}

impl Market {
    pub(crate) fn new(books: Books, state: MarketState) -> Market {
        let mut market = Market {
            by_book: Vec::with_capacity(books.limits().instruments),
            books,
            traded: Vec::new(),
            places: HashMap::default(),
            state,
            undefined: BTreeSet::new(),
            schemas: HashMap::new(),
            refused_ticks: 0,
        };
        market.see_books();
        market
    }

    /// Notes books that are new.
    fn see_books(&mut self) {
        for (id, book) in self.books.iter().skip(self.by_book.len()) {
            debug_assert_eq!(id.index(), self.by_book.len());
            let (publisher_id, instrument_id) = book.key();
            let place = self.places.get(&InstrumentKey { publisher_id, instrument_id });
            if let Some(place) = place {
                self.traded[*place as usize].book = Some(id);
            } else {
                self.undefined.insert(publisher_id);
            }
            self.by_book.push(place.copied().unwrap_or(UNDEFINED));
        }
    }

    /// Applies a tick to the books, and says which place it is about.
    #[inline]
    pub(crate) fn apply(&mut self, tick: &Tick) -> (Applied, Option<u32>) {
        let applied = self.books.apply(tick);
        if applied.refused.is_some() {
            self.refused_ticks += 1;
        }
        let Some(book) = applied.book else { return (applied, self.place_of_other(tick)) };
        if book.index() >= self.by_book.len() {
            self.see_books();
        }
        let place = self.by_book[book.index()];
        if place == UNDEFINED {
            self.undefined.insert(tick.publisher_id);
        }
        (applied, (place < NOBODYS).then_some(place))
    }

    /// A tick that concerns no book: a status, or an imbalance.
    #[cold]
    fn place_of_other(&self, tick: &Tick) -> Option<u32> {
        let named = tick.instrument_id != 0 && matches!(tick.action, Action::Status | Action::None);
        named.then(|| self.place(key_of(tick))).flatten()
    }

    pub(crate) fn place(&self, key: InstrumentKey) -> Option<u32> {
        self.places.get(&key).copied()
    }

    /// Takes in an instrument's definition. Its place, when somebody trades it or `always`.
    pub(crate) fn define(
        &mut self,
        key: InstrumentKey,
        row: &InstrumentRow,
        ledgers: &mut [Ledger],
        always: bool,
    ) -> Option<u32> {
        let wanted = always || ledgers.iter().any(|ledger| ledger.wants(key, &row.symbol));
        let book = self.books.find(key.publisher_id, key.instrument_id);
        let known = self.place(key);
        if !wanted && known.is_none() {
            if let Some(book) = book {
                self.by_book[book.index()] = NOBODYS;
            }
            return None;
        }
        let place = known.unwrap_or(self.traded.len() as u32);
        let instrument = TradedInstrument {
            key,
            symbol: row.symbol.as_str().into(),
            tick_size: row.tick_size.map(Price),
            lot_size: row.lot_size,
            multiplier: None,
        };
        let (group, defined_multiplier) = (row.group.as_str().into(), row.multiplier.map(Price));
        match self.traded.get_mut(place as usize) {
            Some(traded) => {
                traded.instrument = instrument;
                (traded.group, traded.defined_multiplier) = (group, defined_multiplier);
            }
            None => self.traded.push(Traded {
                instrument,
                book,
                followers: Vec::new(),
                good: false,
                group,
                defined_multiplier,
                features: Vec::new(),
            }),
        }
        self.places.insert(key, place);
        if let Some(book) = book {
            self.by_book[book.index()] = place;
        }
        self.choose(place, ledgers);
        Some(place)
    }

    /// Gives the instrument to the strategies whose own it is.
    pub(crate) fn choose(&self, place: u32, ledgers: &mut [Ledger]) {
        let TradedInstrument { key, symbol, .. } = &self.traded[place as usize].instrument;
        // One that only orders or positions name is not defined: it has no symbol.
        for ledger in ledgers.iter_mut().filter(|ledger| ledger.wants(*key, symbol)) {
            if !symbol.is_empty() && !ledger.places.contains(&place) {
                ledger.places.push(place);
            }
        }
    }

    /// Instruments that nobody traded may be traded by now: their definitions are asked for again.
    pub(crate) fn forget_nobodys(&mut self) {
        for (id, book) in self.books.iter() {
            if self.by_book[id.index()] >= NOBODYS {
                self.by_book[id.index()] = UNDEFINED;
                self.undefined.insert(book.key().0);
            }
        }
    }

    /// The multiplier by the venue's definition, for who reads the limits' own.
    pub(crate) fn defined_multiplier(&self, place: u32) -> Option<Price> {
        self.traded[place as usize].defined_multiplier
    }

    /// A place of an instrument that orders or positions name and nobody has defined yet.
    pub(crate) fn place_or_add(&mut self, key: InstrumentKey, symbol: &str, ledgers: &mut [Ledger]) -> u32 {
        if let Some(place) = self.place(key) {
            return place;
        }
        let row = InstrumentRow {
            symbol: symbol.to_owned(),
            tick_size: None,
            multiplier: None,
            lot_size: 0,
            kind: String::new(),
            group: String::new(),
            currency: String::new(),
            channel_id: 0,
        };
        self.undefined.insert(key.publisher_id);
        self.define(key, &row, ledgers, true).unwrap_or(0)
    }

    /// The best bid and ask of a place's book, and whether it is good.
    #[inline]
    pub(crate) fn quote(&self, place: u32) -> (bool, Option<i64>, Option<i64>) {
        let Some(book) = self.traded[place as usize].book else { return (false, None, None) };
        let book = self.books.book(book);
        let best = |side| book.best(side).map(|level| level.price);
        (book.state() == BookState::Good, best(Side::Bid), best(Side::Ask))
    }

    /// Both best prices of a good book.
    pub(crate) fn good_quote(&self, place: u32) -> Option<(i64, i64)> {
        match self.quote(place) {
            (true, Some(bid), Some(ask)) => Some((bid, ask)),
            _ => None,
        }
    }

    /// Takes in a status; the places whose state may be another now.
    pub(crate) fn status(&mut self, tick: &Tick) -> Vec<u32> {
        let status = StatusAction(u8::try_from(tick.size).unwrap_or(0));
        let codes = tick.order_id.to_le_bytes();
        if tick.instrument_id != 0 {
            let said = self.state.instruments.entry(key_of(tick)).or_default();
            match status {
                StatusAction::None => {}
                // ITCH's Reg SHO indicator: `0` lifts the restriction; another venue's code is not known.
                StatusAction::SsrChange => said.short_restricted = codes[..2] != *b"Y0",
                other => said.status = Some(other),
            }
            return self.place(key_of(tick)).into_iter().collect();
        }
        if matches!(status, StatusAction::None | StatusAction::SsrChange) {
            return Vec::new();
        }
        let of_channel = |traded: &&Traded| {
            let book = traded.book.map(|book| self.books.book(book));
            book.is_some_and(|book| book.channel_id() == tick.channel_id)
                && traded.instrument.key.publisher_id == tick.publisher_id
        };
        let touched: Vec<_> =
            self.traded.iter().filter(of_channel).map(|traded| traded.instrument.key).collect();
        let group = codes[..6].split(|byte| *byte == 0).next().unwrap_or_default();
        let mut groupless = false;
        for key in &touched {
            let Some(place) = self.place(*key) else { continue };
            let own = self.traded[place as usize].group.trim();
            if own.is_empty() {
                groupless = true;
            } else if group.is_empty() || own.as_bytes() == group.trim_ascii() {
                self.state.instruments.entry(*key).or_default().status = Some(status);
            }
        }
        // Also before any instrument of the channel is known: ITCH says it once a day.
        if groupless || touched.is_empty() {
            self.state.channels.insert(tick.channel_id, status);
        }
        touched.iter().filter_map(|key| self.place(*key)).collect()
    }

    /// What holds for a place now: whether the venue trades it, and whether short sales are restricted.
    pub(crate) fn standing(&self, place: u32) -> (StatusAction, bool) {
        let traded = &self.traded[place as usize];
        let said = self.state.instruments.get(&traded.instrument.key).copied().unwrap_or_default();
        let mut status = said.status.unwrap_or(StatusAction::NotAvailableForTrading);
        if traded.group.trim().is_empty()
            && let Some(book) = traded.book
            && let Some(market) = self.state.channels.get(&self.books.book(book).channel_id())
            && *market != StatusAction::Trading
            && status == StatusAction::Trading
        {
            status = *market;
        }
        (status, said.short_restricted)
    }

    pub(crate) fn knows_schema(&self, id: u64) -> bool {
        self.schemas.contains_key(&id)
    }

    pub(crate) fn add_schema(&mut self, id: u64, schema: FeatureSchema) {
        self.schemas.insert(id, Arc::new(schema));
    }

    /// Keeps a record as its set's latest, unless a newer one is there. Its place and schema, when somebody trades
    /// the instrument and the values are as many as the schema names.
    pub(crate) fn keep_features(&mut self, record: &FeatureRecord<'_>) -> Option<(u32, Arc<FeatureSchema>)> {
        let schema = Arc::clone(self.schemas.get(&record.schema_id)?);
        let (publisher_id, instrument_id) = (record.publisher_id, record.instrument_id);
        let place = self.place(InstrumentKey { publisher_id, instrument_id })?;
        if record.values.len() != schema.features.len() * size_of::<f64>() {
            return None;
        }
        let head = FeatureRecord { values: &[], ..*record };
        let kept = &mut self.traded[place as usize].features;
        match kept.iter_mut().find(|latest| latest.schema.set == schema.set) {
            Some(latest) if latest.head.number > record.number => return None,
            Some(latest) => {
                (latest.schema, latest.head) = (Arc::clone(&schema), head);
                latest.values.clear();
                latest.values.extend_from_slice(record.values);
            }
            None => {
                kept.push(Latest { schema: Arc::clone(&schema), head, values: record.values.to_vec() });
            }
        }
        Some((place, schema))
    }

    /// The latest values of a set.
    pub(crate) fn latest_features(&self, key: InstrumentKey, set: &str) -> Option<Features<'_>> {
        let kept = &self.traded[self.place(key)? as usize].features;
        let latest = kept.iter().find(|latest| latest.schema.set == set)?;
        Some(Features::new(FeatureRecord { values: &latest.values, ..latest.head }, &latest.schema))
    }
}

#[inline]
pub(crate) fn key_of(tick: &Tick) -> InstrumentKey {
    InstrumentKey { publisher_id: tick.publisher_id, instrument_id: tick.instrument_id }
}
