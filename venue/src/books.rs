//! The exchange's books as a report has them, with digests by which somebody else's books can be compared to them.
//!
//! A digest is the 64-bit FNV-1a hash (G. Fowler, L. Noll, K.-P. Vo) over big-endian fields, in hexadecimal. Whoever
//! applied the feed up to [`Books::sequence`] has the same.

use crate::exchange::{Exchange, Level, Price, Side, SymbolId, TradingState};
use serde::{Serialize, Serializer};

/// Price levels of each side in a report.
pub const LEVELS: usize = 5;

/// The books at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Books {
    /// When, ns since the session's begin.
    pub at_ns: u64,
    /// Number of the feed's last message that is in them.
    pub sequence: u64,
    /// One for each symbol, in the order of their stock locate codes.
    pub symbols: Vec<Book>,
}

/// One symbol's book.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Book {
    /// The symbol.
    pub symbol: String,
    /// Its stock locate code on the feed.
    pub locate: u16,
    /// Whether it trades.
    pub state: &'static str,
    /// The best bids, best first.
    pub bids: Vec<BookLevel>,
    /// The best offers, best first.
    pub asks: Vec<BookLevel>,
    /// Orders that rest, on both sides.
    pub orders: u64,
    /// Over every order, bids then offers, in the order in which they would trade: `B` or `S`, reference (8 bytes),
    /// open shares (4), price in 0.0001 (4).
    pub digest: String,
    /// Over every price level, bids then offers, best first: `B` or `S`, price in 0.0001 (4 bytes), shares (8),
    /// orders (4).
    pub levels_digest: String,
}

/// A price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct BookLevel {
    /// The price, as decimal text in dollars.
    #[serde(serialize_with = "decimal")]
    pub price: Price,
    /// Open shares.
    pub shares: u64,
    /// Orders.
    pub orders: u32,
}

/// A 64-bit FNV-1a hash.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    /// Goes on with these bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    /// Goes on with an order of a book.
    pub fn add_order(&mut self, side: Side, reference: u64, open: u32, price: Price) {
        self.add(&[letter(side)]);
        self.add(&reference.to_be_bytes());
        self.add(&open.to_be_bytes());
        self.add(&price.0.to_be_bytes());
    }

    /// Goes on with a price level of a book.
    pub fn add_level(&mut self, side: Side, price: Price, shares: u64, orders: u32) {
        self.add(&[letter(side)]);
        self.add(&price.0.to_be_bytes());
        self.add(&shares.to_be_bytes());
        self.add(&orders.to_be_bytes());
    }

    /// As a report has it.
    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

impl Books {
    /// The exchange's books now.
    pub fn of(exchange: &Exchange) -> Books {
        Books {
            at_ns: exchange.now_ns(),
            sequence: exchange.next_sequence() - 1,
            symbols: exchange.engine().symbols().map(|symbol| Book::of(exchange, symbol)).collect(),
        }
    }
}

impl Book {
    fn of(exchange: &Exchange, symbol: SymbolId) -> Book {
        let engine = exchange.engine();
        let top = |side| {
            let level = |Level { price, shares, orders }| BookLevel { price, shares, orders };
            engine.levels(symbol, side).take(LEVELS).map(level).collect()
        };
        let (mut digest, mut levels_digest, mut orders) = (Digest::default(), Digest::default(), 0);
        for side in Side::BOTH {
            for order in engine.orders(symbol, side) {
                digest.add_order(side, order.reference, order.open, order.price);
                orders += 1;
            }
            for level in engine.levels(symbol, side) {
                levels_digest.add_level(side, level.price, level.shares, level.orders);
            }
        }
        Book {
            symbol: engine.spec(symbol).map(|spec| spec.name.clone()).unwrap_or_default(),
            locate: symbol.0 + 1,
            state: match engine.state(symbol) {
                Some(TradingState::PreOpen) => "pre_open",
                Some(TradingState::Open) => "open",
                Some(TradingState::Halted) => "halted",
                Some(TradingState::Closed) | None => "closed",
            },
            bids: top(Side::Buy),
            asks: top(Side::Sell),
            orders,
            digest: digest.hex(),
            levels_digest: levels_digest.hex(),
        }
    }
}

fn letter(side: Side) -> u8 {
    match side {
        Side::Buy => b'B',
        Side::Sell => b'S',
    }
}

fn decimal<S: Serializer>(price: &Price, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_published_hash() {
        let mut digest = Digest::default();
        assert_eq!(digest.hex(), "cbf29ce484222325");
        digest.add(b"foobar");
        assert_eq!(digest.hex(), "85944171f73967e8");
    }
}
