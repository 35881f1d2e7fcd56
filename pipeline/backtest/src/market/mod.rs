//! What orders stand in: something that takes instructions and ticks in the order of their times, and reports as a gateway does.
//!
//! [`RecordedMarket`] is the market of a recording, which does not move by our orders. A market that does is another
//! implementation of [`Market`], and the [`Source`](crate::source::Source) of its own ticks.

mod order;
mod queue;
mod recorded;
mod taken;
pub mod venue;

pub use recorded::RecordedMarket;

use book::Books;
use bus::config::InstrumentKey;
use bus::{Instruction, Report, ReportKind};
use tick::Tick;

/// Which side of a trade an order was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Liquidity {
    /// It was resting.
    Maker,
    /// It came and took.
    Taker,
}

impl Liquidity {
    /// The word in `reports.jsonl`.
    pub const fn word(self) -> &'static str {
        match self {
            Liquidity::Maker => "maker",
            Liquidity::Taker => "taker",
        }
    }
}

/// A report as it leaves the market.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// The report. Its `time_ns` is the market's time; it is at the host later.
    pub report: Report,
    /// Of a trade.
    pub liquidity: Option<Liquidity>,
}

/// Reports on their way out, numbered 1, 2, 3 … for each venue without a hole.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    told: Vec<Told>,
    numbers: Vec<(String, u64)>,
}

impl Reports {
    /// Gives a report its number and puts it behind the others.
    pub fn push(&mut self, mut report: Report, liquidity: Option<Liquidity>) {
        let at = match self.numbers.iter().position(|(venue, _)| *venue == report.venue) {
            Some(at) => at,
            None => {
                self.numbers.push((report.venue.clone(), 0));
                self.numbers.len() - 1
            }
        };
        self.numbers[at].1 += 1;
        report.number = self.numbers[at].1;
        debug_assert_eq!(report.kind == ReportKind::Filled, liquidity.is_some());
        self.told.push(Told { report, liquidity });
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Takes them, oldest first.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Told> {
        self.told.drain(..)
    }
}

/// What a market was asked and did, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MarketCounts {
    /// New orders that arrived.
    pub orders: u64,
    /// Replacements that arrived.
    pub replacements: u64,
    /// Cancels that arrived.
    pub cancels: u64,
    /// Instructions that could not be carried out.
    pub rejected: u64,
    /// Recorded trades that no order here could take part in, because the book was bad.
    pub trades_in_bad_book: u64,
    /// The same, because the instrument did not trade.
    pub trades_not_trading: u64,
}

/// Takes instructions and ticks in the order of their times.
pub trait Market {
    /// An instruction arrives. `books` are those of all ticks up to now.
    fn instruct(&mut self, now_ns: u64, instruction: &Instruction, books: &Books, reports: &mut Reports);

    /// A tick happened; `books` hold it already.
    fn tick(&mut self, now_ns: u64, tick: &Tick, books: &Books, reports: &mut Reports);

    /// Whether an instrument trades from now on. Before this is said, it does not.
    fn trading(
        &mut self,
        now_ns: u64,
        key: InstrumentKey,
        trades: bool,
        books: &Books,
        reports: &mut Reports,
    );

    /// The end: what is open is cancelled.
    fn close(&mut self, now_ns: u64, reports: &mut Reports);

    /// What it was asked and did.
    fn counts(&self) -> MarketCounts;
}
