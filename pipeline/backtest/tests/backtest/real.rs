//! A day of one future by order: what the strategies win is recomputed from their reports.

use crate::support::{Kept, backtest, es_file, recompute, run_kept};
use backtest::market::Liquidity;
use backtest::source::{DbnReader, Reader, Recorded};
use backtest::{Backtest, Outcome};
use book::{Books, Limits};
use bus::{OrderSide, ReportKind};
use std::collections::VecDeque;
use std::path::Path;
use tick::{Action, Flags, Side, Tick};

const QUOTER: &str = "  - {name: quotes, venue: sim, instruments: [ESH4], quoter: {half_spread_ticks: 1, size: 2, position_max: 10, quiet_ms: 60000, skew_ticks: 1}}";
const FLOW: &str = "  - {name: flow, venue: sim, instruments: [ESH4], ofi_momentum: {window_ms: 1000, enter_ticks: 0.3, clip: 1, position: 3, hold_ms: 5000}}";

fn es_backtest(path: &Path, strategies: &str, queue: &str) -> Backtest {
    let document = format!(
        "source: {{dbn: {{path: '{}'}}}}
instruments: {{ESH4: {{tick_size: '0.25', multiplier: '50'}}}}
execution:
  order_latency_us: 200
  report_latency_us: 200
  feature_latency_us: 50
  queue: {queue}
  fees: {{maker_per_unit: '0.35', taker_per_unit: '1.18'}}",
        path.display()
    );
    backtest(strategies, None, &document)
}

fn run_es(path: &Path, strategies: &str, queue: &str) -> (Outcome, Kept) {
    let backtest = es_backtest(path, strategies, queue);
    let mut source = Recorded::new(DbnReader::open(path).unwrap());
    run_kept(&backtest, &mut source).unwrap()
}

#[test]
fn the_quoter_and_the_momentum_strategy_trade_the_real_file_and_their_profit_adds_up() {
    let Some(path) = es_file() else { return };
    for strategies in [QUOTER, FLOW] {
        for queue in ["by_order", "behind_all", "proportional"] {
            let (outcome, kept) = run_es(&path, strategies, queue);
            assert_eq!(outcome.trouble, None);
            assert_eq!((outcome.input.ticks, outcome.input.assumed_statuses), (68_792, 1));
            assert!(outcome.trades.fills > 10, "{queue}: {:?} {:?}", outcome.trades, outcome.denials);
            recompute(&es_backtest(&path, strategies, queue), &outcome, &kept, 50);
            check_prices(&kept, &ticks_of(&path));
        }
    }
}

fn ticks_of(path: &Path) -> Vec<Tick> {
    let (mut ticks, mut definitions) = (Vec::new(), VecDeque::new());
    let mut reader = DbnReader::open(path).unwrap();
    while reader.read(&mut ticks, &mut definitions).unwrap() {}
    assert_eq!(definitions.len(), 1);
    ticks
}

/// A trade is at a price that the record traded at or through, or displayed, at that very moment.
fn check_prices(kept: &Kept, ticks: &[Tick]) {
    let mut books = Books::new(Limits::SMALL);
    let mut fills = kept.told.iter().filter(|told| told.report.kind == ReportKind::Filled).peekable();
    let mut now_ns = 0;
    for (at, tick) in ticks.iter().enumerate() {
        // What happened in the market after the ticks before and before this one.
        let next_ns = tick.ts_recv.max(now_ns);
        while let Some(told) = fills.next_if(|told| told.report.time_ns < next_ns) {
            let (report, id) = (&told.report, books.find(1, 17_077).unwrap());
            let (book, price) = (books.book(id), report.last_price.unwrap().0);
            let buys = report.side == Some(OrderSide::Buy);
            match told.liquidity.unwrap() {
                Liquidity::Taker => {
                    let side = if buys { Side::Ask } else { Side::Bid };
                    let level = book.levels(side).find(|level| level.price == price);
                    assert!(level.is_some_and(|level| level.size >= report.last_quantity));
                }
                Liquidity::Maker => {
                    // The event that ended then may have come in several packets.
                    let is_over =
                        |tick: &&Tick| tick.flags.contains(Flags::LAST) && tick.ts_recv < report.time_ns;
                    let moment = ticks[..at].iter().rev().take_while(|tick| !is_over(tick));
                    let reaches = |tick: &Tick| if buys { tick.price <= price } else { tick.price >= price };
                    let mut said = moment.filter(|tick| {
                        matches!(tick.action, Action::Fill | Action::Trade | Action::Add | Action::Modify)
                    });
                    assert!(said.any(reaches), "nothing came to {price}");
                }
            }
        }
        now_ns = next_ns;
        books.apply(tick);
    }
}
