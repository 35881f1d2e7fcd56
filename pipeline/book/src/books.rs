//! What is known of each instrument and each channel, and the way from a tick's ids to its book.

use crate::ladders::Ladders;
use crate::orders::Orders;
use crate::state::{BookState, Kind, Why};
use crate::view::Book;
use tick::Side;

/// How much a [`Books`] can hold: all of its memory. What does not fit is refused, and the book is then bad.
///
/// The memory is reserved in [`Books::new`] and becomes resident as it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Instruments with a book, at most 2^24. About 0.7 KiB each.
    pub instruments: usize,
    /// Resting orders of all instruments together, at most 2^30. 48 to 64 bytes each.
    pub orders: usize,
    /// Price levels of all books together, at most 2^28. 96 bytes each.
    pub levels: usize,
    /// Levels of a side of a book by level number, at most 254: what moves below them is dropped, as the
    /// venue no longer speaks of it. CME's futures have 10.
    pub numbered_levels: usize,
}

impl Default for Limits {
    /// Enough for all of Nasdaq on one stream: 16,384 instruments, 4 Mi orders, 1 Mi levels (about 340 MiB
    /// reserved), 10 numbered levels.
    fn default() -> Limits {
        Limits { instruments: 1 << 14, orders: 1 << 22, levels: 1 << 20, numbered_levels: 10 }
    }
}

impl Limits {
    /// For tests and tools on one instrument or a few: 64 instruments, 65,536 orders, 16,384 levels.
    pub const SMALL: Limits =
        Limits { instruments: 64, orders: 1 << 16, levels: 1 << 14, numbered_levels: 10 };

    /// The nearest limits that indices and counts of 32 bits allow.
    fn within_bounds(self) -> Limits {
        Limits {
            instruments: self.instruments.clamp(1, 1 << 24),
            orders: self.orders.clamp(1, 1 << 30),
            levels: self.levels.clamp(1, 1 << 28),
            numbered_levels: self.numbered_levels.clamp(1, 254),
        }
    }
}

/// An instrument's number in its [`Books`]: 0, 1, 2 … in the order in which instruments were first seen, so
/// that a caller can keep data of its own in a `Vec`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BookId(pub(crate) u32);

impl BookId {
    /// The number as an index.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One of an instrument's two books.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Half {
    /// Why it is bad, if it is. Never `Crossed`, which is kept beside it because it ends by itself.
    pub(crate) why: Option<Why>,
    /// The last event left it crossed.
    pub(crate) crossed: bool,
    /// A tick of this kind was ever seen.
    pub(crate) seen: bool,
}

/// What is known of an instrument besides its levels and orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) publisher_id: u16,
    pub(crate) channel_id: u16,
    pub(crate) instrument_id: u32,
    pub(crate) halves: [Half; 2],
    /// The half that is the instrument's book for a caller.
    pub(crate) shown: Kind,
    /// The last order cancelled: sequence number of the message and the order's side.
    pub(crate) cancelled: (u64, Side),
    /// A trade whose price is to come from the order filled: sequence number and size; size 0 is none.
    pub(crate) unpriced: (u64, u32),
}

/// What is known of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Channel {
    /// What a book that is first seen now is.
    pub(crate) why: Option<Why>,
    /// The tick before said `MAYBE_BAD_BOOK`, or a gap was declared: the flag has nothing new to say.
    pub(crate) flagged: bool,
    /// A tick was seen.
    pub(crate) started: bool,
}

impl Channel {
    pub(crate) const NEW: Channel = Channel { why: Some(Why::NotFromStart), flagged: false, started: false };
}

/// The books of every instrument of one stream.
#[derive(Debug)]
pub struct Books {
    pub(crate) limits: Limits,
    pub(crate) entries: Vec<Entry>,
    /// Index + 1 of the book of an instrument, open-addressed; 0 is free. At most half full.
    index: Box<[u32]>,
    /// One for each channel id.
    pub(crate) channels: Box<[Channel]>,
    pub(crate) orders: Orders,
    pub(crate) ladders: Ladders,
}

impl Books {
    /// Empty books. Limits out of bounds are taken as the nearest bound.
    pub fn new(limits: Limits) -> Books {
        let limits = limits.within_bounds();
        Books {
            limits,
            entries: Vec::with_capacity(limits.instruments),
            index: vec![0; (limits.instruments * 2).next_power_of_two()].into(),
            channels: vec![Channel::NEW; usize::from(u16::MAX) + 1].into(),
            orders: Orders::new(limits.orders),
            ladders: Ladders::new(limits.instruments, limits.levels),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Instruments seen.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no instrument was seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Resting orders in all books.
    pub fn orders_len(&self) -> usize {
        self.orders.len()
    }

    /// Price levels in all books.
    pub fn levels_len(&self) -> usize {
        self.ladders.len()
    }

    /// The book of an instrument. An id is good for the `Books` that gave it and for what was restored from
    /// its saved state; any other panics or shows another instrument.
    #[inline]
    pub fn book(&self, id: BookId) -> Book<'_> {
        Book::shown(self, id.0)
    }

    /// The id of an instrument that was seen.
    #[inline]
    pub fn find(&self, publisher_id: u16, instrument_id: u32) -> Option<BookId> {
        self.slot(publisher_id, instrument_id).ok().map(BookId)
    }

    /// Every instrument, in the order of first sight.
    pub fn iter(&self) -> impl Iterator<Item = (BookId, Book<'_>)> {
        (0..self.entries.len() as u32).map(|at| (BookId(at), Book::shown(self, at)))
    }

    /// The book's index, or the place in the table where it would be named.
    #[inline(always)]
    fn slot(&self, publisher_id: u16, instrument_id: u32) -> Result<u32, usize> {
        let key = u64::from(publisher_id) << 32 | u64::from(instrument_id);
        let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let Some(at) = self.index[slot].checked_sub(1) else { return Err(slot) };
            let entry = &self.entries[at as usize];
            if entry.instrument_id == instrument_id && entry.publisher_id == publisher_id {
                return Ok(at);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The instrument's book, made if there is none; `None` when there are as many as there may be.
    #[inline(always)]
    pub(crate) fn find_or_add(
        &mut self,
        publisher_id: u16,
        instrument_id: u32,
        channel_id: u16,
    ) -> Option<u32> {
        match self.slot(publisher_id, instrument_id) {
            Ok(at) => Some(at),
            Err(slot) => self.add(slot, publisher_id, instrument_id, channel_id),
        }
    }

    #[cold]
    fn add(&mut self, slot: usize, publisher_id: u16, instrument_id: u32, channel_id: u16) -> Option<u32> {
        if self.entries.len() == self.limits.instruments {
            return None;
        }
        let why = self.channels[usize::from(channel_id)].why;
        let half = Half { why, crossed: false, seen: false };
        self.entries.push(Entry {
            publisher_id,
            channel_id,
            instrument_id,
            halves: [half; 2],
            shown: Kind::ByOrder,
            cancelled: (0, Side::None),
            unpriced: (0, 0),
        });
        self.ladders.add_book();
        let at = self.entries.len() as u32;
        self.index[slot] = at;
        Some(at - 1)
    }
}

impl Entry {
    /// What the last message said is of no use to the next tick.
    pub(crate) fn forget_message(&mut self) {
        (self.cancelled, self.unpriced) = ((0, Side::None), (0, 0));
    }
}

impl Half {
    #[inline]
    pub(crate) fn state(&self) -> BookState {
        match self.why {
            Some(why) => BookState::Bad(why),
            None if self.crossed => BookState::Bad(Why::Crossed),
            None => BookState::Good,
        }
    }
}
