//! What is listed: symbols with their ticks, lots and price bands, and what of it cannot be.

use super::order::{Price, SymbolId};

/// A listed symbol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolSpec {
    /// 1 to 8 visible ASCII characters.
    pub name: String,
    /// Prices are multiples of this.
    pub tick: Price,
    /// Shares are multiples of this.
    pub lot: u32,
    /// Within which orders may be priced.
    pub band: Band,
}

impl SymbolSpec {
    /// A symbol with a tick of one cent, single shares, and no band but what a price can be.
    pub fn new(name: &str) -> SymbolSpec {
        SymbolSpec { name: name.to_owned(), tick: Price(100), lot: 1, band: Band::WIDEST }
    }

    /// The name as ITCH and OUCH have it, padded with spaces.
    pub fn stock(&self) -> [u8; 8] {
        wire::itch50::alpha(&self.name)
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let visible = self.name.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=8).contains(&self.name.len()) || !visible {
            Err("its name must have 1 to 8 visible ASCII characters")
        } else if self.tick.0 == 0 || self.lot == 0 {
            Err("tick and lot must not be 0")
        } else {
            self.band.check()
        }
    }
}

/// Prices from `low` to `high`, both possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Band {
    /// The lowest price, above 0.
    pub low: Price,
    /// The highest price, at most [`Price::MAX`].
    pub high: Price,
}

impl Band {
    /// Every price that can be.
    pub const WIDEST: Band = Band { low: Price(1), high: Price::MAX };

    pub(super) fn check(self) -> Result<(), &'static str> {
        if self.low.0 == 0 || self.low > self.high || self.high > Price::MAX {
            return Err("its band must be 0 < low <= high <= 199999.99");
        }
        Ok(())
    }

    pub(super) fn holds(self, price: Price) -> bool {
        (self.low..=self.high).contains(&price)
    }
}

/// What was wrong with a call that sets the market up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EngineError {
    /// A symbol cannot be listed so.
    #[error("symbol {name}: {wrong}")]
    Symbol {
        /// Its name.
        name: String,
        /// What is wrong.
        wrong: &'static str,
    },
    /// None, or more than ITCH can number.
    #[error("{0} symbols: 1 to 65535 are possible")]
    Symbols(usize),
    /// There is no such symbol.
    #[error("unknown symbol {}", .0.0)]
    UnknownSymbol(SymbolId),
    /// A symbol that closed stays closed.
    #[error("symbol {} is closed for good", .0.0)]
    Closed(SymbolId),
}
