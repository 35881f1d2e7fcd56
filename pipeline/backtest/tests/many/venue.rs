//! The simulated venue as a market: orders are really matched, and the feed shows it.

use crate::support::{FLOW, Kept, QUOTER, ran, session};
use ::venue::exchange::{Side as VenueSide, SymbolId};
use backtest::document::SourceSection;
use backtest::market::venue::{self, VENUE_PUBLISHER, VenueMarket};
use backtest::market::{Liquidity, Market, Reports};
use backtest::source::{Next, Source};
use book::{Books, Limits};
use bus::{Instruction, OrderAction, OrderSide, Report, ReportKind, TimeInForce};
use std::collections::BTreeMap;
use tick::{Action, Price, Side};

/// Positions by symbol as the reports say them.
fn positions(kept: &Kept) -> BTreeMap<String, i64> {
    let mut positions = BTreeMap::new();
    for told in kept.told.iter().filter(|told| told.report.kind == ReportKind::Filled) {
        let quantity = told.report.last_quantity as i64;
        let signed = if told.report.side == Some(OrderSide::Buy) { quantity } else { -quantity };
        *positions.entry(told.report.symbol.clone()).or_default() += signed;
    }
    positions
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let backtest = session(7, 20, &[QUOTER, FLOW]);
    let [one, two] = [ran(&backtest).unwrap(), ran(&backtest).unwrap()];
    assert_eq!(one.kept.instructions, two.kept.instructions);
    assert_eq!(one.kept.reports, two.kept.reports);
    assert_eq!(one.outcome, two.outcome);
    assert_eq!(one.ticks, two.ticks);
    let other = ran(&session(8, 20, &[QUOTER, FLOW])).unwrap();
    assert_ne!(one.kept.reports, other.kept.reports);
}

#[test]
fn both_ways_of_trading_happen_and_the_outcome_is_what_the_reports_say() {
    let ran = ran(&session(3, 60, &[QUOTER, FLOW])).unwrap();
    assert_eq!(ran.outcome.trouble, None);
    let sides = |liquidity| ran.kept.told.iter().filter(|told| told.liquidity == Some(liquidity)).count();
    let [resting, taking] = [Liquidity::Maker, Liquidity::Taker].map(sides);
    assert!(resting > 10 && taking > 0, "{resting} resting, {taking} taking");
    let mut held: BTreeMap<String, i64> = BTreeMap::new();
    for holding in &ran.outcome.holdings {
        *held.entry(holding.symbol.clone()).or_default() += holding.position;
    }
    assert_eq!(held, positions(&ran.kept));
    // Every report is of an order that was accepted, and no order trades beyond its quantity.
    assert!(ran.kept.told.iter().all(|told| told.report.kind != ReportKind::Unknown));
    let numbers: Vec<u64> = ran.kept.told.iter().map(|told| told.report.number).filter(|n| *n > 0).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn our_trades_are_in_the_feed_by_quantity() {
    let ran = ran(&session(5, 30, &[QUOTER, FLOW])).unwrap();
    // A match of ours has its number in `execution`; its quantity was told as a trade of the feed at that time.
    let mut traded: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for tick in ran.ticks.iter().filter(|tick| tick.action == Action::Trade) {
        *traded.entry((tick.instrument_id, tick.ts_event)).or_default() += u64::from(tick.size);
    }
    let offset = ran.ticks.iter().map(|tick| tick.ts_recv - tick.ts_event).min().unwrap();
    assert_eq!(offset, 0, "the venue's clock and the receiver's are one");
    for told in ran.kept.told.iter().filter(|told| told.report.kind == ReportKind::Filled) {
        let report = &told.report;
        let in_feed = traded.get(&(report.instrument_id, report.time_ns)).copied().unwrap_or(0);
        assert!(in_feed >= report.last_quantity, "{report:?}: {in_feed} in the feed");
    }
}

/// A session without strategies, driven by hand.
struct ByHand {
    source: venue::VenueSource,
    market: VenueMarket,
    books: Books,
    reports: Reports,
    told: Vec<Report>,
    now_ns: u64,
    ids: u64,
}

impl ByHand {
    fn new(seed: u64) -> ByHand {
        let backtest = session(seed, 30, &[QUOTER]);
        let SourceSection::Venue(section) = &backtest.document.source else { panic!("no session") };
        let (source, market) = venue::open(section).unwrap();
        let (books, reports) = (Books::new(Limits::SMALL), Reports::default());
        ByHand { source, market, books, reports, told: Vec::new(), now_ns: 0, ids: 0 }
    }

    /// Takes ticks until before a time; false at the end.
    fn until(&mut self, before_ns: u64) -> bool {
        loop {
            match self.source.next(before_ns).unwrap() {
                Next::Tick(tick) => {
                    self.now_ns = self.now_ns.max(tick.ts_recv);
                    self.books.apply(&tick);
                    self.market.tick(self.now_ns, &tick, &self.books, &mut self.reports);
                }
                Next::Defined(_) => {}
                Next::Later => return true,
                Next::End => return false,
            }
            self.told.extend(self.reports.drain().map(|told| told.report));
        }
    }

    fn instruct(&mut self, action: OrderAction) -> String {
        self.ids += 1;
        let id = format!("order{}", self.ids);
        let instruction = Instruction {
            id: id.parse().unwrap(),
            action,
            venue: "sim".into(),
            publisher_id: VENUE_PUBLISHER,
            instrument_id: 1,
            symbol: "S1".into(),
            strategy: "hand".into(),
            cause_ns: 0,
            created_ns: self.now_ns,
        };
        self.market.instruct(self.now_ns, &instruction, &self.books, &mut self.reports);
        self.told.extend(self.reports.drain().map(|told| told.report));
        id
    }

    fn best(&self, side: Side) -> i64 {
        let id = self.books.find(VENUE_PUBLISHER, 1).unwrap();
        self.books.book(id).best(side).unwrap().price
    }

    fn kinds(&mut self) -> Vec<ReportKind> {
        self.told.drain(..).map(|report| report.kind).collect()
    }

    /// The book from the feed is the venue's own, level by level.
    fn books_agree(&self) {
        let id = self.books.find(VENUE_PUBLISHER, 1).unwrap();
        for (ours, theirs) in [(Side::Bid, VenueSide::Buy), (Side::Ask, VenueSide::Sell)] {
            let fed: Vec<_> =
                self.books.book(id).levels(ours).map(|level| (level.price, level.size)).collect();
            let own: Vec<_> = self.market.look(|engine| {
                let levels = engine.levels(SymbolId(0), theirs);
                levels.map(|level| (i64::from(level.price.0) * 100_000, level.shares)).collect()
            });
            assert_eq!(fed, own);
        }
    }
}

fn day(side: OrderSide, quantity: u64, price: i64) -> OrderAction {
    OrderAction::New { side, quantity, price: Some(Price(price)), time_in_force: TimeInForce::Day }
}

/// A second after the begin, ns since the epoch.
const SECOND_1: u64 = 1_704_292_201_000_000_000;

#[test]
fn our_resting_order_is_in_the_feed_and_leaves_it_with_its_cancel() {
    let mut hand = ByHand::new(1);
    assert!(hand.until(SECOND_1));
    hand.books_agree();
    // Better than every bid and below every ask: a level of its own.
    let price = hand.best(Side::Bid) - 40 * 10_000_000 - 10_000_000;
    let id = hand.instruct(day(OrderSide::Buy, 77, price));
    assert_eq!(hand.kinds(), [ReportKind::Sent, ReportKind::Accepted]);
    assert!(hand.until(SECOND_1 + 1_000_000));
    let book = hand.books.find(VENUE_PUBLISHER, 1).unwrap();
    let seen = |hand: &ByHand| hand.books.book(book).levels(Side::Bid).find(|level| level.price == price);
    let before = seen(&hand).unwrap();
    assert!(before.size >= 77);
    hand.instruct(OrderAction::Cancel { of: id.parse().unwrap() });
    let last = hand.told.last().unwrap().clone();
    assert_eq!((last.kind, last.of, last.leaves), (ReportKind::Cancelled, id.parse().ok(), 0));
    hand.until(SECOND_1 + 2_000_000);
    assert_eq!(seen(&hand).map_or(0, |level| level.size), before.size - 77);
    hand.books_agree();
}

#[test]
fn an_order_that_takes_moves_the_market() {
    let mut hand = ByHand::new(2);
    assert!(hand.until(SECOND_1));
    let ask = hand.best(Side::Ask);
    hand.instruct(day(OrderSide::Buy, 100_000, ask + 5 * 10_000_000));
    let filled: u64 = hand.told.iter().map(|report| report.last_quantity).sum();
    assert!(
        filled > 0 && hand.told.iter().all(|report| report.last_price.is_none_or(|price| price.0 >= ask))
    );
    assert!(hand.until(SECOND_1 + 1_000));
    // What was there is gone, and what is left of the order stands as the best bid.
    assert!(hand.best(Side::Ask) > ask + 5 * 10_000_000);
    assert_eq!(hand.best(Side::Bid), ask + 5 * 10_000_000);
    hand.books_agree();
}

#[test]
fn a_replacement_goes_on_under_its_new_name_and_what_comes_too_late_is_told() {
    let mut hand = ByHand::new(3);
    assert!(hand.until(SECOND_1));
    let price = hand.best(Side::Bid) - 30 * 10_000_000;
    let first = hand.instruct(day(OrderSide::Buy, 50, price)).parse().unwrap();
    let second =
        hand.instruct(OrderAction::Replace { of: first, quantity: 80, price: Price(price - 10_000_000) });
    let second = second.parse().unwrap();
    hand.told.clear();
    // By its old name, as something on its way would say it.
    let third = hand.instruct(OrderAction::Replace { of: first, quantity: 60, price: Price(price) });
    let replaced = hand.told.last().unwrap();
    assert_eq!((replaced.kind, replaced.of, replaced.leaves), (ReportKind::Replaced, Some(second), 60));
    hand.told.clear();
    hand.instruct(OrderAction::Cancel { of: third.parse().unwrap() });
    assert_eq!(hand.kinds(), [ReportKind::Sent, ReportKind::Cancelled]);
    hand.instruct(OrderAction::Cancel { of: third.parse().unwrap() });
    assert_eq!(hand.kinds(), [ReportKind::Sent, ReportKind::CancelRejected]);
    hand.instruct(OrderAction::Replace { of: second, quantity: 1, price: Price(price) });
    assert_eq!(hand.kinds(), [ReportKind::Sent, ReportKind::Rejected]);
    assert_eq!(hand.market.counts().rejected, 2);
    // What the venue has no number for.
    for (quantity, price) in [(10, 12_345), (10, -5), (1_000_000, 10_000_000), (10, i64::MAX)] {
        hand.instruct(day(OrderSide::Sell, quantity, price));
        assert_eq!(hand.kinds(), [ReportKind::Sent, ReportKind::Rejected]);
    }
}

#[test]
fn the_close_ends_what_rests_and_the_feed() {
    let mut hand = ByHand::new(4);
    assert!(hand.until(SECOND_1));
    let price = hand.best(Side::Ask) + 100 * 10_000_000;
    hand.instruct(day(OrderSide::SellShort, 10, price));
    assert!(!hand.until(u64::MAX));
    let last = hand.told.last().unwrap();
    assert_eq!((last.kind, last.reason.as_str()), (ReportKind::Cancelled, "closed"));
    assert_eq!(hand.source.next(u64::MAX).unwrap(), Next::End);
    assert_eq!(hand.market.look(|engine| engine.resting()), 0);
}
