//! What a tick did, and what a book is worth: the small types that a caller reads.

use crate::BookId;
use tick::Side;

/// Which of an instrument's two books.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Made of orders: ticks of depth 0.
    ByOrder = 0,
    /// Made of aggregated price levels: ticks of depth 1–255.
    ByPrice = 1,
}

/// Whether a book can be relied on. See `docs/book.md` for what leads from one state to the next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BookState {
    /// Everything since a clear or a whole snapshot was seen and made sense.
    Good,
    /// It may be wrong. What there is can be looked at; nothing may be traded on it.
    Bad(Why),
}

/// Why a book is bad. All but [`Why::Snapshot`] and [`Why::Crossed`] last until the book is cleared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Why {
    /// Its ticks were not seen from a clear, a snapshot or the start of the session: orders are missing.
    NotFromStart = 1,
    /// Sequence numbers of its channel are missing.
    Gap = 2,
    /// A tick of its channel said `MAYBE_BAD_BOOK` without a declared gap before it.
    Flagged = 3,
    /// A tick contradicted it: see [`Refusal::is_contradiction`].
    Contradiction = 4,
    /// A limit was reached and something could not be stored.
    Full = 5,
    /// A snapshot is being read and has not ended.
    Snapshot = 6,
    /// The last event left the best bid at or above the best ask. Before an opening or in an auction that is
    /// no error; either way these are no prices to trade at. Ends when an event leaves it uncrossed.
    Crossed = 7,
}

impl Why {
    /// The reason with this number.
    pub(crate) fn from_code(code: u8) -> Option<Why> {
        const ALL: [Why; 7] = [
            Why::NotFromStart,
            Why::Gap,
            Why::Flagged,
            Why::Contradiction,
            Why::Full,
            Why::Snapshot,
            Why::Crossed,
        ];
        ALL.into_iter().find(|why| *why as u8 == code)
    }
}

/// Why a tick was not taken as it stands. The book goes on; count these.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Refusal {
    /// Names an order that is not in the book. A `Modify` is then taken as an `Add`; else nothing is done.
    UnknownOrder = 1,
    /// Adds an order that is there already. The new one takes its place.
    OrderExists = 2,
    /// Takes more off an order than it has. The order is removed.
    SizeTooBig = 3,
    /// Names a price level that is not there, or one that would leave a hole.
    LevelOutOfRange = 4,
    /// A price that does not lie between those of the levels next to it. The level is stored as said.
    LevelOrder = 5,
    /// A side is needed and there is none.
    BadSide = 6,
    /// A price is needed and there is none.
    BadPrice = 7,
    /// A size is needed and there is none.
    BadSize = 8,
    /// Changes a book and names no instrument.
    NoInstrument = 9,
    /// A trade whose price was to come from the order filled, and the order is not known.
    TradeWithoutPrice = 10,
    /// [`crate::Limits::instruments`] are there already: this one has no book.
    InstrumentsFull = 11,
    /// [`crate::Limits::orders`] are there already: the order is not stored.
    OrdersFull = 12,
    /// [`crate::Limits::levels`] are there already: the level is not stored.
    LevelsFull = 13,
}

impl Refusal {
    /// Whether a good book that meets it is good no longer.
    ///
    /// A fill of an unknown order is not one: fills do not change a book, and CME reports fills of orders
    /// that never rested.
    pub fn is_contradiction(self) -> bool {
        !matches!(self, Refusal::NoInstrument | Refusal::TradeWithoutPrice | Refusal::InstrumentsFull)
    }

    pub(crate) fn why(self) -> Why {
        match self {
            Refusal::OrdersFull | Refusal::LevelsFull => Why::Full,
            _ => Why::Contradiction,
        }
    }
}

/// What a tick did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// The instrument's book; none for a whole channel's ticks and for what concerns no book.
    pub book: Option<BookId>,
    /// The best level of a side has another price, size or number of orders, or another book is shown now.
    pub top_changed: bool,
    /// Any level has, the best included.
    pub depth_changed: bool,
    /// A gap, a clear or a `MAYBE_BAD_BOOK` concerned the whole channel: every book of it may have another
    /// state, and show the other of its two kinds.
    pub channel_changed: bool,
    /// The trade that the tick reports or completes.
    pub trade: Option<Trade>,
    /// What was wrong with the tick.
    pub refused: Option<Refusal>,
}

/// A trade, with the price that the tick or the order filled says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trade {
    /// 1e-9 units.
    pub price: i64,
    /// The venue's units.
    pub size: u32,
    /// Side of the order that came last and caused it; [`Side::None`] when unknown or in an auction.
    pub aggressor: Side,
}
