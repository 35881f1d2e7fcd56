//! The traded instruments as the loop watches them: for how long their books were bad, and when to value a position.
//!
//! Invariant: `by_book` has a place for every book that the host has; it leads to an entry only if a strategy trades the instrument.

use crate::account::Account;
use book::{Book, BookId, Books};
use bus::config::{InstrumentKey, StrategyDocument};
use std::collections::HashSet;
use strategy::host::Host;
use tick::Tick;

const NONE: u32 = u32::MAX;

/// A traded instrument with a book.
#[derive(Clone, Copy, Debug)]
struct Watched {
    book: BookId,
    /// Since when it is so, ns.
    since_ns: u64,
    first_ns: u64,
    good: bool,
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Traded {
    strategies: StrategyDocument,
    keys: HashSet<InstrumentKey>,
    watched: Vec<Watched>,
    by_book: Vec<u32>,
    bad_ns: u64,
}

impl Traded {
    pub(crate) fn new(strategies: &StrategyDocument) -> Traded {
        Traded {
            strategies: strategies.clone(),
            keys: HashSet::new(),
            watched: Vec::new(),
            by_book: Vec::new(),
            bad_ns: 0,
        }
    }

    /// An instrument has a definition.
    pub(crate) fn defined(&mut self, now_ns: u64, key: InstrumentKey, symbol: &str, books: &Books) {
        let wanted = self.strategies.strategies.iter().any(|entry| entry.instruments.contains(key, symbol));
        if wanted
            && self.keys.insert(key)
            && let Some(id) = books.find(key.publisher_id, key.instrument_id)
            && id.index() < self.by_book.len()
        {
            self.watch(now_ns, id, books.book(id));
        }
    }

    /// Notes books that are new.
    pub(crate) fn meet(&mut self, now_ns: u64, books: &Books) {
        for (id, book) in books.iter().skip(self.by_book.len()) {
            self.by_book.push(NONE);
            self.watch(now_ns, id, book);
        }
    }

    fn watch(&mut self, now_ns: u64, id: BookId, book: Book<'_>) {
        let (publisher_id, instrument_id) = book.key();
        if self.keys.contains(&InstrumentKey { publisher_id, instrument_id }) {
            self.by_book[id.index()] = self.watched.len() as u32;
            let good = book.is_good();
            self.watched.push(Watched { book: id, since_ns: now_ns, first_ns: now_ns, good });
        }
    }

    /// An event ended.
    #[inline]
    pub(crate) fn event(&mut self, now_ns: u64, tick: &Tick, books: &Books, account: &mut Account) {
        let Some(id) = books.find(tick.publisher_id, tick.instrument_id) else { return };
        let Some(place) = self.by_book.get(id.index()).copied().filter(|place| *place != NONE) else {
            return;
        };
        let book = books.book(id);
        self.look(now_ns, place as usize, book.is_good());
        if account.has_positions() {
            let (publisher_id, instrument_id) = (tick.publisher_id, tick.instrument_id);
            account.mark(now_ns, InstrumentKey { publisher_id, instrument_id }, book);
        }
    }

    #[inline]
    fn look(&mut self, now_ns: u64, place: usize, good: bool) {
        let watched = &mut self.watched[place];
        if watched.good != good {
            if !watched.good {
                self.bad_ns += now_ns.saturating_sub(watched.since_ns);
            }
            (watched.good, watched.since_ns) = (good, now_ns);
        }
    }

    /// A whole channel changed, or a definition came after its ticks.
    pub(crate) fn look_at_all(&mut self, now_ns: u64, books: &Books) {
        for place in 0..self.watched.len() {
            let good = books.book(self.watched[place].book).is_good();
            self.look(now_ns, place, good);
        }
    }

    /// Time with a bad book, and time in all, ns.
    pub(crate) fn close(&mut self, now_ns: u64, books: &Books) -> (u64, u64) {
        self.look_at_all(now_ns, books);
        let still_bad = self.watched.iter().filter(|watched| !watched.good);
        let bad_ns = self.bad_ns + still_bad.map(|watched| now_ns - watched.since_ns).sum::<u64>();
        (bad_ns, self.watched.iter().map(|watched| now_ns - watched.first_ns).sum())
    }

    /// A strategy that has no instrument.
    pub(crate) fn without_instruments(&self, host: &mut Host) -> Option<String> {
        let mut strategies = self.strategies.strategies.iter();
        let has_none = |host: &mut Host, name: &str| {
            host.desk(name).is_none_or(|desk| desk.instruments().next().is_none())
        };
        strategies.find(|entry| has_none(host, &entry.name)).map(|entry| entry.name.clone())
    }
}
