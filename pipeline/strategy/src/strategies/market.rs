//! What all strategies look at alike: the best quote, prices in ticks, sides, and a state for each instrument.

use crate::desk::Desk;
use crate::risk::BuildNumberHasher;
use bus::config::InstrumentKey;
use bus::{OrderSide, Report};
use std::collections::HashMap;
use tick::{Price, Side, Tick};

/// Best bid and best ask of a good book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quote {
    /// 1e-9.
    pub bid: i64,
    /// Above the bid, 1e-9.
    pub ask: i64,
    pub bid_size: u64,
    pub ask_size: u64,
}

impl Quote {
    /// The quote of an instrument; none when its book is not good or lacks a side.
    pub(crate) fn of(desk: &Desk<'_>, key: InstrumentKey) -> Option<Quote> {
        let book = desk.book(key).filter(|book| book.is_good())?;
        let (bid, ask) = (book.best(Side::Bid)?, book.best(Side::Ask)?);
        let sane = bid.price < ask.price && bid.size > 0 && ask.size > 0 && ask.price != i64::MAX;
        sane.then_some(Quote { bid: bid.price, ask: ask.price, bid_size: bid.size, ask_size: ask.size })
    }

    /// Twice the middle, exactly.
    pub(crate) fn doubled_mid(&self) -> i128 {
        i128::from(self.bid) + i128::from(self.ask)
    }

    /// Twice the microprice, (Pb·Qa + Pa·Qb) / (Qb + Qa), rounded down.
    pub(crate) fn doubled_microprice(&self) -> i128 {
        let (bids, asks) = (i128::from(self.bid_size), i128::from(self.ask_size));
        let (bid, ask) = (i128::from(self.bid), i128::from(self.ask));
        // 2^64 × 2^64 does not fit below the sign; a size is a sum of 32-bit sizes and much smaller.
        let above = (ask - bid).saturating_mul(2).saturating_mul(bids);
        2 * bid + above / (bids + asks).max(1)
    }
}

/// The next price on a tick at or below; none when it does not fit.
pub(crate) fn tick_below(price: i128, step: i64) -> Option<i64> {
    let step = i128::from(step);
    (step > 0).then(|| price.div_euclid(step) * step).and_then(in_range)
}

/// The next price on a tick at or above; none when it does not fit.
pub(crate) fn tick_above(price: i128, step: i64) -> Option<i64> {
    let step = i128::from(step);
    (step > 0).then(|| -((-price).div_euclid(step)) * step).and_then(in_range)
}

/// The other side's best price and so many ticks beyond it.
pub(crate) fn cross(quote: Quote, buys: bool, step: i64, ticks: u32) -> Option<i64> {
    let beyond = i128::from(ticks) * i128::from(step);
    if buys {
        tick_below(i128::from(quote.ask) + beyond, step)
    } else {
        tick_above(i128::from(quote.bid) - beyond, step)
    }
}

fn in_range(price: i128) -> Option<i64> {
    i64::try_from(price).ok().filter(|price| Price(*price).is_defined())
}

/// The price step of an instrument, 1e-9, above 0; none when the venue does not say.
pub(crate) fn step_of(desk: &Desk<'_>, key: InstrumentKey) -> Option<i64> {
    desk.instrument(key)?.tick_size.map(|step| step.0).filter(|step| *step > 0 && *step != i64::MAX)
}

/// Which side a sale of so much is: what is owned and not yet offered is sold, the rest is short.
pub(crate) fn side_of_sale(desk: &Desk<'_>, key: InstrumentKey, quantity: u64) -> OrderSide {
    let offered = desk.open_orders(key).filter(|order| order.side == OrderSide::Sell);
    let offered: i128 = offered.map(|order| i128::from(order.leaves)).sum();
    let free = i128::from(desk.position(key)) - offered;
    if free >= i128::from(quantity) { OrderSide::Sell } else { OrderSide::SellShort }
}

pub(crate) fn key_of_tick(tick: &Tick) -> InstrumentKey {
    InstrumentKey { publisher_id: tick.publisher_id, instrument_id: tick.instrument_id }
}

pub(crate) fn key_of_report(report: &Report) -> InstrumentKey {
    InstrumentKey { publisher_id: report.publisher_id, instrument_id: report.instrument_id }
}

/// A state for each instrument that was seen, in the order in which they were.
#[derive(Debug)]
pub(crate) struct PerInstrument<T> {
    /// Only looked up, never gone through: its order is not the same twice.
    places: HashMap<InstrumentKey, usize, BuildNumberHasher>,
    states: Vec<(InstrumentKey, T)>,
}

impl<T> Default for PerInstrument<T> {
    fn default() -> PerInstrument<T> {
        PerInstrument { places: HashMap::default(), states: Vec::new() }
    }
}

impl<T> PerInstrument<T> {
    pub(crate) fn get(&mut self, key: InstrumentKey, new: impl FnOnce() -> T) -> &mut T {
        let next = self.states.len();
        let at = *self.places.entry(key).or_insert(next);
        if at == next {
            self.states.push((key, new()));
        }
        &mut self.states[at].1
    }

    pub(crate) fn find(&mut self, key: InstrumentKey) -> Option<&mut T> {
        let at = *self.places.get(&key)?;
        Some(&mut self.states[at].1)
    }

    /// The instrument that was seen as the `at`th.
    pub(crate) fn key(&self, at: usize) -> Option<InstrumentKey> {
        self.states.get(at).map(|(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_goes_to_the_tick_that_is_asked_for_on_either_side_of_zero() {
        for (price, below, above) in [
            (0, 0, 0),
            (1, 0, 25),
            (25, 25, 25),
            (26, 25, 50),
            (-1, -25, 0),
            (-25, -25, -25),
            (-26, -50, -25),
        ] {
            assert_eq!((tick_below(price, 25), tick_above(price, 25)), (Some(below), Some(above)), "{price}");
        }
        assert_eq!(tick_below(10, 0), None);
        assert_eq!(tick_above(i128::from(i64::MAX) - 1, 1_000), None, "does not fit");
        assert_eq!(tick_below(i128::from(i64::MIN) - 1, 1), None, "does not fit");
    }

    #[test]
    fn the_microprice_lies_nearer_to_the_side_with_less() {
        let quote = Quote { bid: 100, ask: 110, bid_size: 30, ask_size: 10 };
        assert_eq!((quote.doubled_mid(), quote.doubled_microprice()), (210, 215));
        let even = Quote { ask_size: 30, ..quote };
        assert_eq!(even.doubled_microprice(), even.doubled_mid());
    }
}
