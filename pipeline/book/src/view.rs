//! Looking at a book.

use crate::books::{Books, Entry};
use crate::ladders::{LevelNode, ladder, side_of};
use crate::orders::{NIL, Node};
use crate::state::{BookState, Kind};
use tick::Side;

/// A price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// 1e-9 units.
    pub price: i64,
    /// Sum of the sizes resting there, the venue's units.
    pub size: u64,
    /// Orders resting there; 0 in a book by price, whose ticks do not say it.
    pub orders: u32,
}

/// A resting order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// The venue's id.
    pub order_id: u64,
    /// Side of the book.
    pub side: Side,
    /// 1e-9 units.
    pub price: i64,
    /// What is left of it, the venue's units.
    pub size: u32,
}

/// Where an order stands at its price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueuePosition {
    /// Orders in front of it.
    pub orders_ahead: u32,
    /// Sum of their sizes.
    pub size_ahead: u64,
    /// The whole level, the order included.
    pub level: Level,
}

/// The book of one instrument, looked at. Copy it as you like; it borrows from [`Books`].
///
/// An instrument may have two books, see [`Kind`]. This shows one of them: the one by order, unless only the
/// one by price is good or was ever seen. [`Book::kind`] says which, [`Book::by`] shows a certain one.
#[derive(Clone, Copy)]
pub struct Book<'a> {
    books: &'a Books,
    at: u32,
    kind: Kind,
}

impl<'a> Book<'a> {
    #[inline]
    pub(crate) fn shown(books: &'a Books, at: u32) -> Book<'a> {
        Book { books, at, kind: books.entries[at as usize].shown }
    }

    #[inline]
    fn entry(&self) -> &'a Entry {
        &self.books.entries[self.at as usize]
    }

    #[inline]
    fn ladder(&self, side: Side) -> u32 {
        ladder(self.at, self.kind as usize, side)
    }

    /// Publisher id and instrument id.
    pub fn key(&self) -> (u16, u32) {
        (self.entry().publisher_id, self.entry().instrument_id)
    }

    /// The channel that its ticks come on.
    pub fn channel_id(&self) -> u16 {
        self.entry().channel_id
    }

    /// Which book this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same instrument's book of this kind.
    #[must_use]
    pub fn by(self, kind: Kind) -> Book<'a> {
        Book { kind, ..self }
    }

    /// Whether it can be relied on.
    #[inline]
    pub fn state(&self) -> BookState {
        self.entry().halves[self.kind as usize].state()
    }

    /// Whether it can be relied on.
    #[inline]
    pub fn is_good(&self) -> bool {
        self.state() == BookState::Good
    }

    /// The best level of a side. [`Side::None`] has none.
    #[inline]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.levels(side).next()
    }

    /// The levels of a side, best first. [`Side::None`] has none.
    #[inline]
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + use<'a> {
        let ladders = &self.books.ladders;
        self.nodes(side).map(move |at| Level::of(ladders.level(at)))
    }

    /// Indices of the levels of a side, best first.
    #[inline]
    fn nodes(&self, side: Side) -> impl Iterator<Item = u32> + use<'a> {
        let rungs = match side {
            Side::Bid | Side::Ask => self.books.ladders.rungs(self.ladder(side)),
            _ => &[],
        };
        rungs.iter().rev().map(|rung| rung.level)
    }

    /// The orders of a side, the one to be filled first in front. A book by price has none.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = Order> + use<'a> {
        let books = self.books;
        self.nodes(side).flat_map(move |level| {
            let head = books.ladders.level(level).head;
            queue(books, head).map(move |node| Order::of(books, node))
        })
    }

    /// An order by its id. A book by price has none.
    #[inline]
    pub fn order(&self, order_id: u64) -> Option<Order> {
        self.node(order_id).map(|(_, node)| Order::of(self.books, node))
    }

    /// Where an order stands; walks the queue in front of it.
    pub fn queue_position(&self, order_id: u64) -> Option<QueuePosition> {
        let (at, node) = self.node(order_id)?;
        let level = self.books.ladders.level(node.level);
        let mut position = QueuePosition { orders_ahead: 0, size_ahead: 0, level: Level::of(level) };
        let own = self.books.orders.node(at);
        for ahead in queue(self.books, level.head).take_while(|ahead| ahead.id != own.id) {
            position.orders_ahead += 1;
            position.size_ahead += u64::from(ahead.size);
        }
        Some(position)
    }

    #[inline]
    fn node(&self, order_id: u64) -> Option<(u32, &'a Node)> {
        if self.kind == Kind::ByPrice {
            return None;
        }
        let (_, at) = self.books.orders.find(self.at, order_id).ok()?;
        Some((at, self.books.orders.node(at)))
    }
}

/// The orders from one on, in the order of the queue.
fn queue(books: &Books, head: u32) -> impl Iterator<Item = &Node> {
    let node = |at: u32| (at != NIL).then(|| books.orders.node(at));
    std::iter::successors(node(head), move |before| node(before.next))
}

impl Level {
    #[inline]
    fn of(node: &LevelNode) -> Level {
        Level { price: node.price, size: node.size, orders: node.orders }
    }
}

impl Order {
    #[inline]
    fn of(books: &Books, node: &Node) -> Order {
        let level = books.ladders.level(node.level);
        Order { order_id: node.id, side: side_of(level.ladder), price: level.price, size: node.size }
    }
}

impl std::fmt::Debug for Book<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book")
            .field("key", &self.key())
            .field("kind", &self.kind)
            .field("state", &self.state())
            .field("bids", &self.levels(Side::Bid).collect::<Vec<_>>())
            .field("asks", &self.levels(Side::Ask).collect::<Vec<_>>())
            .finish()
    }
}
