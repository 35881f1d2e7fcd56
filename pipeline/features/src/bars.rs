//! Bars: the one that forms, and the full ones that windows look at.
//!
//! Sums of a bar are whole numbers until it is full, so that they do not depend on the order of trades.

use book::Trade;
use bus::config::Bars;
use tick::{PRICE_SCALE, Side};

/// A price as a double.
pub(crate) fn price(price: i64) -> f64 {
    price as f64 / PRICE_SCALE as f64
}

/// A sum of price × size as a double.
pub(crate) fn value(sum: i128) -> f64 {
    sum as f64 / PRICE_SCALE as f64
}

/// The bar that gathers trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forming {
    pub(crate) trades: u64,
    pub(crate) close: i64,
    pub(crate) volume: u64,
    pub(crate) value: i128,
    pub(crate) bought: u64,
    pub(crate) sold: u64,
    pub(crate) flow: i64,
    /// Of a time bar with trades: the interval that it is in, ns, the end excluded.
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl Forming {
    /// Whether time alone makes the bar full.
    #[inline(always)]
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.trades > 0 && self.end != 0 && !(self.begin..self.end).contains(&now)
    }

    /// Takes a trade in; says whether the bar is full with it.
    #[inline(always)]
    pub(crate) fn trade(&mut self, trade: &Trade, now: u64, bars: Bars) -> bool {
        if let (Bars::TimeMs(ms), 0) = (bars, self.trades) {
            let interval = ms.max(1).saturating_mul(1_000_000);
            self.begin = now - now % interval;
            self.end = self.begin.saturating_add(interval);
        }
        self.trades += 1;
        self.close = trade.price;
        let size = u64::from(trade.size);
        self.volume = self.volume.saturating_add(size);
        self.value = self.value.saturating_add(i128::from(trade.price) * i128::from(size));
        match trade.aggressor {
            Side::Bid => self.bought = self.bought.saturating_add(size),
            Side::Ask => self.sold = self.sold.saturating_add(size),
            _ => {}
        }
        match bars {
            Bars::Trades(trades) => self.trades >= u64::from(trades),
            Bars::Volume(volume) => self.volume >= volume,
            Bars::TimeMs(_) => false,
        }
    }
}

/// One number of each of the last full bars. At least `keep` of them stay, in one piece, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Column(Vec<f64>);

impl Column {
    #[inline]
    pub(crate) fn push(&mut self, value: f64, keep: usize) {
        if self.0.len() >= 2 * keep.max(1) {
            self.0.drain(..self.0.len() - (keep - 1));
        }
        self.0.push(value);
    }

    /// The newest `n`, or all when there are fewer.
    #[inline]
    pub(crate) fn last(&self, n: usize) -> &[f64] {
        &self.0[self.0.len().saturating_sub(n)..]
    }

    pub(crate) fn from_last(values: Vec<f64>) -> Column {
        Column(values)
    }
}

/// The last full bars.
#[derive(Clone, Debug, Default)]
pub(crate) struct Full {
    /// How many there ever were.
    pub(crate) count: u64,
    pub(crate) close: Column,
    pub(crate) volume: Column,
    pub(crate) value: Column,
    pub(crate) bought: Column,
    pub(crate) sold: Column,
    pub(crate) flow: Column,
}

impl Full {
    pub(crate) fn push(&mut self, bar: &Forming, keep: usize) {
        self.count += 1;
        if keep == 0 {
            return;
        }
        self.close.push(price(bar.close), keep);
        self.volume.push(bar.volume as f64, keep);
        self.value.push(value(bar.value), keep);
        self.bought.push(bar.bought as f64, keep);
        self.sold.push(bar.sold as f64, keep);
        self.flow.push(bar.flow as f64, keep);
    }

    /// All columns, in a fixed order.
    pub(crate) fn columns(&self) -> [&Column; 6] {
        [&self.close, &self.volume, &self.value, &self.bought, &self.sold, &self.flow]
    }

    /// All columns, in the same order.
    pub(crate) fn columns_mut(&mut self) -> [&mut Column; 6] {
        [&mut self.close, &mut self.volume, &mut self.value, &mut self.bought, &mut self.sold, &mut self.flow]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_keeps_the_newest_in_one_piece() {
        for keep in 1..6 {
            let mut column = Column::default();
            for n in 0..50u32 {
                column.push(f64::from(n), keep);
                let have = (n as usize + 1).min(keep);
                let expected: Vec<f64> = (0..=n).skip(n as usize + 1 - have).map(f64::from).collect();
                assert_eq!(column.last(keep), expected);
                assert!(column.0.len() <= 2 * keep);
            }
        }
    }

    fn trade(price: i64, size: u32, aggressor: Side) -> Trade {
        Trade { price, size, aggressor }
    }

    #[test]
    fn bars_are_full_after_trades_volume_or_time() {
        let mut bar = Forming::default();
        assert!(!bar.trade(&trade(5, 1, Side::Bid), 7, Bars::Trades(2)));
        assert!(bar.trade(&trade(6, 1, Side::Ask), 7, Bars::Trades(2)));
        assert_eq!((bar.close, bar.volume, bar.value, bar.bought, bar.sold), (6, 2, 11, 1, 1));

        let mut bar = Forming::default();
        assert!(!bar.trade(&trade(5, 9, Side::None), 7, Bars::Volume(10)));
        assert!(bar.trade(&trade(5, 9, Side::None), 7, Bars::Volume(10)));
        assert_eq!((bar.bought, bar.sold), (0, 0));

        let mut bar = Forming::default();
        assert!(!bar.is_over(0));
        assert!(!bar.trade(&trade(5, 1, Side::Bid), 3_500_000, Bars::TimeMs(1)));
        assert!(!bar.is_over(3_999_999));
        assert!(bar.is_over(4_000_000));
        assert!(bar.is_over(2_999_999));
    }
}
