//! What came of a run. Every figure is defined in `docs/backtest.md`.
//!
//! Money is kept exactly, in integers of 1e-18 currency; JSON says it as decimal text, so that no reader rounds it. The figures
//! of the clock on the wall are not here: the same input gives the same outcome, byte for byte.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Most points of the curve; when there are more, neighbours are merged.
pub const CURVE_POINTS_MAX: usize = 10_000;

/// Money in 1e-18 currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Amount(pub i128);

impl Amount {
    /// For plots.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / strategy::risk::MONEY_SCALE as f64
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = strategy::risk::MONEY_SCALE.unsigned_abs();
        let (whole, part) = (self.0.unsigned_abs() / scale, self.0.unsigned_abs() % scale);
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = match part {
            0 => format!("{sign}{whole}"),
            part => format!("{sign}{whole}.{part:018}").trim_end_matches('0').to_owned(),
        };
        f.pad(&text)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What came of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    /// What was read.
    pub input: InputFigures,
    /// Won and lost.
    pub money: MoneyFigures,
    /// Orders.
    pub orders: OrderFigures,
    /// Trades.
    pub trades: TradeFigures,
    /// Positions' value.
    pub exposure: ExposureFigures,
    /// Denials of the risk checks by reason, told or not.
    pub denials: BTreeMap<String, u64>,
    /// By strategy and instrument, in the order of their first trade.
    pub holdings: Vec<HoldingFigures>,
    /// Won and lost over time, at most [`CURVE_POINTS_MAX`] points, each the last of its interval.
    pub curve: Vec<CurvePoint>,
    /// FNV-1a (64 bits) of `instructions.jsonl`, 16 hexadecimal digits.
    pub instructions_checksum: String,
    /// Why the host ceased to send anything new; none in a sound run.
    pub trouble: Option<String>,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct InputFigures {
    /// Ticks, with gaps and clears.
    pub ticks: u64,
    /// `ts_recv` of the first tick, ns since the epoch.
    pub first_ns: u64,
    /// The largest `ts_recv`.
    pub last_ns: u64,
    /// Declared gaps.
    pub gaps: u64,
    /// Channel clears.
    pub clears: u64,
    /// Statuses that were assumed, as the recording has none.
    pub assumed_statuses: u64,
    /// Ticks that a book did not take as they stand.
    pub refused_ticks: u64,
    /// Records of features that were made.
    pub feature_records: u64,
    /// Scores of models.
    pub scores: u64,
    /// Time in which the book of a traded instrument was bad, of all such instruments together, ns.
    pub bad_book_ns: u64,
    /// Time from the first tick of a traded instrument to the end, of all such instruments together, ns.
    pub watched_ns: u64,
    /// Recorded trades that no order could take part in, because the book was bad.
    pub trades_in_bad_book: u64,
    /// The same, because the instrument did not trade.
    pub trades_not_trading: u64,
    /// Instruments that ticks are of and nobody has defined.
    pub undefined_publishers: Vec<u16>,
}

/// Won and lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct MoneyFigures {
    /// From prices alone: cash of all trades and the positions' value at the end.
    pub gross: Amount,
    /// Paid; below 0 when more was earned.
    pub fees: Amount,
    /// Gross less fees.
    pub net: Amount,
    /// The furthest that net was below its highest point before, which is at least 0.
    pub drawdown_max: Amount,
    /// When that was, ns since the epoch; 0 = never.
    pub drawdown_ns: u64,
    /// Σ |price × quantity × multiplier| of all trades.
    pub turnover: Amount,
}

/// Orders.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct OrderFigures {
    /// New orders that the strategies sent.
    pub sent: u64,
    /// Replacements that they sent.
    pub replacements: u64,
    /// Cancels that they sent.
    pub cancels: u64,
    /// Instructions that the market could not carry out.
    pub rejected: u64,
    /// Orders that ended by a cancel, by themselves (`ioc`) or by the end of the run.
    pub cancelled: u64,
    /// Orders still open at the end, which cancelled them.
    pub open_at_end: u64,
    /// Instructions on their way at the end.
    pub in_flight_at_end: u64,
    /// Orders with at least one trade; a chain of replacements is one order.
    pub filled: u64,
    /// `filled` ÷ new orders that arrived; none when there were none.
    pub fill_ratio: Option<f64>,
    /// Instructions that the host would have published again, unanswered for `answer_within_ms`.
    pub repeated: u64,
}

/// Trades.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct TradeFigures {
    /// Trades.
    pub fills: u64,
    /// Of resting orders.
    pub maker_fills: u64,
    /// Of orders that took.
    pub taker_fills: u64,
    /// Shares or contracts.
    pub quantity: u64,
    /// Of resting orders.
    pub maker_quantity: u64,
    /// Of orders that took.
    pub taker_quantity: u64,
    /// Round trips that were closed: from no position to none again, of one strategy and instrument.
    pub round_trips: u64,
    /// Those that won after fees.
    pub round_trips_won: u64,
    /// `round_trips_won` ÷ `round_trips`; none when there were none.
    pub hit_rate: Option<f64>,
}

/// Positions' value.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct ExposureFigures {
    /// The largest Σ |position| × price × multiplier.
    pub gross_max: Amount,
    /// The same, averaged over time from the first tick to the last.
    pub gross_mean: Amount,
    /// Share of that time with any position.
    pub time_in_market: f64,
}

/// What a strategy did in an instrument.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HoldingFigures {
    /// The strategy.
    pub strategy: String,
    /// Publisher.
    pub publisher_id: u16,
    /// Instrument.
    pub instrument_id: u32,
    /// As the venue knows it.
    pub symbol: String,
    /// At the end: shares or contracts, below 0 when short.
    pub position: i64,
    /// What the position was valued at: the side at which it can be closed; none when there is no position or was no quote.
    pub mark: Option<String>,
    /// Bought.
    pub bought: u64,
    /// Sold.
    pub sold: u64,
    /// From prices alone.
    pub gross: Amount,
    /// Paid.
    pub fees: Amount,
    /// Gross less fees.
    pub net: Amount,
    /// Trades.
    pub fills: u64,
    /// Round trips that were closed.
    pub round_trips: u64,
    /// Those that won after fees.
    pub round_trips_won: u64,
}

/// Won and lost up to a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CurvePoint {
    /// When, ns since the epoch.
    pub time_ns: u64,
    /// From prices alone.
    pub gross: Amount,
    /// Paid.
    pub fees: Amount,
    /// Gross less fees.
    pub net: Amount,
    /// Σ |position| × price × multiplier.
    pub exposure: Amount,
}
