//! What each strategy owns: positions and open orders by instrument. Kept by the strategy's name, so that it outlives
//! a change of the strategy's parameters.

use super::denied::Denied;
use crate::risk::Money;
use bus::config::{InstrumentChoice, InstrumentKey};

/// One strategy's part of an instrument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    /// Shares or contracts, below 0 when short.
    pub(crate) position: i64,
    /// Sum of sold − bought, price × quantity, 1e-9.
    pub(crate) cash: i128,
    /// Its open orders, in the order of sending.
    pub(crate) slots: Vec<u32>,
    /// Denials and when they were last told.
    pub(crate) denied: Denied,
}

/// One strategy, as the host knows it.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) name: String,
    pub(crate) venue: String,
    /// Which instruments are its own; none of them when it is no longer configured.
    pub(crate) choice: Option<InstrumentChoice>,
    /// Its own instruments that are defined.
    pub(crate) places: Vec<u32>,
    /// By place; shorter than the places when nothing was held there.
    pub(crate) holdings: Vec<Holding>,
}

impl Ledger {
    pub(crate) fn new(name: &str, venue: &str, choice: Option<InstrumentChoice>) -> Ledger {
        let (name, venue) = (name.to_owned(), venue.to_owned());
        Ledger { name, venue, choice, places: Vec::new(), holdings: Vec::new() }
    }

    /// Whether the instrument is one of its own.
    pub(crate) fn wants(&self, key: InstrumentKey, symbol: &str) -> bool {
        self.choice.as_ref().is_some_and(|choice| choice.contains(key, symbol))
    }

    /// It is not configured any more, or anew.
    pub(crate) fn forget_choice(&mut self) {
        self.choice = None;
        self.places.clear();
    }

    pub(crate) fn holding(&self, place: u32) -> Option<&Holding> {
        self.holdings.get(place as usize)
    }

    pub(crate) fn holding_mut(&mut self, place: u32) -> &mut Holding {
        let at = place as usize;
        if self.holdings.len() <= at {
            self.holdings.resize_with(at + 1, Holding::default);
        }
        &mut self.holdings[at]
    }
}

impl Holding {
    /// Books a change of the position at a price. Saturates: the risk engine has denied all new long before.
    pub(crate) fn trade(&mut self, signed: i128, price: i64) {
        let position = i128::from(self.position).saturating_add(signed);
        self.position = i64::try_from(position).unwrap_or(if position > 0 { i64::MAX } else { i64::MIN });
        self.cash = self.cash.saturating_sub(signed.saturating_mul(i128::from(price)));
    }

    /// What was won, at these best prices.
    pub(crate) fn profit(&self, best: Option<(i64, i64)>, multiplier: i64) -> Option<Money> {
        let marked = match (self.position, best) {
            (0, _) => 0,
            (_, None) => return None,
            (position, Some((bid, ask))) => {
                i128::from(position).checked_mul(i128::from(if position > 0 { bid } else { ask }))?
            }
        };
        self.cash.checked_add(marked)?.checked_mul(i128::from(multiplier))
    }
}
