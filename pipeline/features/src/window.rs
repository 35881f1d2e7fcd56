//! Values of the last full bars. Formulas and sources: `docs/features.md`.
//!
//! Each is made anew from the bars, oldest first: nothing drifts, and what made a value NaN is gone when its
//! bar is. Only EMA and RSI have a memory of their own.

use crate::bars::Full;
use crate::plan::{WindowValue, Windowed};

fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

/// Writes a feature's values to the front of `out`; NaN while there are too few bars.
pub(crate) fn write(feature: &Windowed<WindowValue>, full: &Full, out: &mut [f64]) {
    let n = feature.bars;
    let before = match feature.value {
        WindowValue::KyleLambda | WindowValue::Amihud | WindowValue::RealisedVolatility => 1,
        _ => 0,
    };
    let enough = full.count >= (n + before) as u64;
    if let WindowValue::Bollinger { deviations } = feature.value {
        let bands = if enough { bollinger(full.close.last(n), deviations) } else { [f64::NAN; 3] };
        out[..3].copy_from_slice(&bands);
        return;
    }
    out[0] = if enough { single(feature.value, n, full) } else { f64::NAN };
}

fn single(value: WindowValue, n: usize, full: &Full) -> f64 {
    match value {
        WindowValue::Ofi => sum(full.flow.last(n)),
        WindowValue::TradeImbalance => {
            let (bought, sold) = (sum(full.bought.last(n)), sum(full.sold.last(n)));
            (bought - sold) / (bought + sold)
        }
        WindowValue::KyleLambda => kyle_lambda(full, n),
        WindowValue::Amihud => amihud(full.close.last(n + 1), full.value.last(n)),
        WindowValue::Vwap => sum(full.value.last(n)) / sum(full.volume.last(n)),
        WindowValue::Sma => sum(full.close.last(n)) / n as f64,
        WindowValue::RealisedVolatility => realised_volatility(full.close.last(n + 1)),
        WindowValue::Bollinger { .. } => f64::NAN,
    }
}

/// Upper, middle, lower.
fn bollinger(closes: &[f64], deviations: f64) -> [f64; 3] {
    let n = closes.len() as f64;
    let middle = sum(closes) / n;
    let variance = closes.iter().map(|close| (close - middle) * (close - middle)).sum::<f64>() / n;
    let width = deviations * variance.sqrt();
    [middle + width, middle, middle - width]
}

fn kyle_lambda(full: &Full, n: usize) -> f64 {
    let signed = || full.bought.last(n).iter().zip(full.sold.last(n)).map(|(bought, sold)| bought - sold);
    let changes = || full.close.last(n + 1).windows(2).map(|pair| pair[1] - pair[0]);
    let (x_mean, y_mean) = (signed().sum::<f64>() / n as f64, changes().sum::<f64>() / n as f64);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (x, y) in signed().zip(changes()) {
        xy += (x - x_mean) * (y - y_mean);
        xx += (x - x_mean) * (x - x_mean);
    }
    // Equal x have no slope; their mean may be off by a rounding, so xx alone does not tell.
    let first = signed().next();
    if signed().all(|x| Some(x) == first) { f64::NAN } else { xy / xx }
}

fn amihud(closes: &[f64], values: &[f64]) -> f64 {
    if closes.iter().chain(values).any(|&number| number <= 0.0) {
        return f64::NAN;
    }
    let returns = closes.windows(2).map(|pair| (pair[1] / pair[0] - 1.0).abs());
    returns.zip(values).map(|(size, value)| size / value).sum::<f64>() / values.len() as f64
}

fn realised_volatility(closes: &[f64]) -> f64 {
    if closes.iter().any(|&close| close <= 0.0) {
        return f64::NAN;
    }
    let squares = closes.windows(2).map(|pair| {
        let change = (pair[1] / pair[0]).ln();
        change * change
    });
    squares.sum::<f64>().sqrt()
}

/// An exponential moving average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ema {
    /// The sum of the closes until there are enough, then the average.
    pub(crate) level: f64,
}

impl Ema {
    /// Takes in the close of bar number `count`, from 1; gives the value.
    pub(crate) fn push(&mut self, close: f64, count: u64, bars: usize) -> f64 {
        let n = bars as u64;
        if count <= n {
            self.level += close;
            if count == n {
                self.level /= n as f64;
            }
        } else {
            self.level += (close - self.level) * (2.0 / (n as f64 + 1.0));
        }
        if count < n { f64::NAN } else { self.level }
    }
}

/// Wilder's relative strength index.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rsi {
    /// Sums until there are enough changes, then averages.
    pub(crate) gain: f64,
    pub(crate) loss: f64,
}

impl Rsi {
    /// Takes in the change to the close of bar number `count`, from 2; gives the value.
    pub(crate) fn push(&mut self, change: f64, count: u64, bars: usize) -> f64 {
        let (n, changes) = (bars as f64, count - 1);
        let (gain, loss) = (change.max(0.0), (-change).max(0.0));
        if changes <= bars as u64 {
            self.gain += gain;
            self.loss += loss;
            if changes == bars as u64 {
                self.gain /= n;
                self.loss /= n;
            }
        } else {
            self.gain = (self.gain * (n - 1.0) + gain) / n;
            self.loss = (self.loss * (n - 1.0) + loss) / n;
        }
        if changes < bars as u64 { f64::NAN } else { 100.0 * self.gain / (self.gain + self.loss) }
    }
}
