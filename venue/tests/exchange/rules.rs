//! The rules, one by one.

use super::support::{ALICE, BOB, Desk, FIRST, assert_sound};
use venue::exchange::{
    Band, CancelReason, Engine, EngineConfig, EngineError, Liquidity, MarketEvent, NewOrder, OrderKind,
    Owner, Price, RejectReason, Replacement, Report, SHARES_MAX, SelfMatch, SessionId, Side, SymbolId,
    SymbolSpec, TradingState,
};

const DAY_100: OrderKind = OrderKind::Day(Price(10_000));

#[test]
fn the_best_price_trades_first_and_at_one_price_who_came_first() {
    let mut desk = Desk::open(EngineConfig::default());
    let late_but_better = {
        desk.sell(ALICE, 10, 102);
        let first = desk.sell(ALICE, 10, 101);
        let second = desk.sell(BOB, 10, 101);
        (desk.sell(BOB, 10, 100), first, second)
    };
    let (best, first, second) = late_but_better;
    desk.kept.reports.clear();
    desk.buy(BOB, 25, 101);
    assert_eq!(desk.trades(), [(best, 10, 1), (first, 10, 2), (second, 5, 3)]);
    assert_eq!(desk.book(Side::Sell), [(101, second, 5), (102, 1, 10)]);
    assert_eq!(desk.book(Side::Buy), []);
    let prices = desk.kept.reports.iter().filter_map(|(_, report)| match report {
        Report::Executed { price, liquidity: Liquidity::Removed, .. } => Some(price.0),
        _ => None,
    });
    assert!(prices.eq([10_000, 10_100, 10_100]), "each at the resting order's price");
}

#[test]
fn both_sides_are_told_of_an_execution_under_one_number() {
    let mut desk = Desk::open(EngineConfig::default());
    let sell = desk.sell(ALICE, 100, 100);
    desk.kept.reports.clear();
    let buy = desk.buy(BOB, 30, 105);
    let executed = |reference, liquidity, open| Report::Executed {
        reference,
        token: 0,
        shares: 30,
        price: Price(10_000),
        match_number: 1,
        liquidity,
        open,
    };
    let session = SessionId;
    assert_eq!(
        desk.kept.reports[1..],
        [
            (session(1), executed(sell, Liquidity::Added, 70)),
            (session(2), executed(buy, Liquidity::Removed, 0)),
        ]
    );
}

#[test]
fn what_a_day_order_does_not_trade_rests_and_what_others_do_not_trade_is_cancelled() {
    for (kind, rests) in [(DAY_100, 60), (OrderKind::Ioc(Price(10_000)), 0), (OrderKind::Market, 0)] {
        let mut desk = Desk::open(EngineConfig::default());
        desk.sell(ALICE, 40, 100);
        let order = NewOrder { owner: BOB, token: 7, symbol: FIRST, side: Side::Buy, shares: 100, kind };
        let placed = desk.engine.enter(&order, &mut desk.kept).unwrap();
        assert_eq!(placed.resting, rests, "{kind:?}");
        let last = desk.kept.reports.last().unwrap().1;
        let (shares, open) = (60, 0);
        let (reference, token, reason) = (placed.reference, 7, CancelReason::Immediate);
        let cancelled = Report::Cancelled { reference, token, shares, reason, open };
        assert_eq!(last == cancelled, rests == 0, "{last:?}");
        // What never rested is not seen by others.
        let added = matches!(desk.kept.events.last(), Some(MarketEvent::Added { shares: 60, .. }));
        assert_eq!(added, rests > 0);
    }
}

#[test]
fn a_partial_cancel_and_a_pure_reduction_keep_the_place_in_the_queue() {
    let mut desk = Desk::open(EngineConfig::default());
    let first = desk.buy(ALICE, 100, 100);
    let second = desk.buy(BOB, 100, 100);
    assert_eq!(desk.engine.cancel(ALICE, first, 60, &mut desk.kept), Ok(40));
    let reduce = Replacement { owner: ALICE, reference: first, token: 9, shares: 50, price: Price(10_000) };
    let placed = desk.engine.replace(&reduce, &mut desk.kept).unwrap();
    assert_eq!((placed.reference, placed.resting), (first, 50));
    assert_eq!(desk.book(Side::Buy), [(100, first, 50), (100, second, 100)]);
    assert_eq!(desk.engine.order(first).unwrap().token, 9);
    let reduced = |shares| MarketEvent::Reduced { reference: first, symbol: FIRST, shares };
    assert_eq!(desk.kept.events[2..], [reduced(40), reduced(10)]);
}

#[test]
fn any_other_replacement_goes_to_the_end_of_the_queue_under_a_new_reference() {
    for (shares, cents, place) in [(101, 100, 1), (100, 99, 1), (50, 99, 1), (100, 101, 0)] {
        let mut desk = Desk::open(EngineConfig::default());
        let first = desk.buy(ALICE, 100, 100);
        let second = desk.buy(BOB, 100, 100);
        let price = Price(cents * 100);
        let wanted = Replacement { owner: ALICE, reference: first, token: 9, shares, price };
        let placed = desk.engine.replace(&wanted, &mut desk.kept).unwrap();
        assert!(placed.reference > second);
        assert_eq!(desk.book(Side::Buy)[place], (cents, placed.reference, shares));
        assert!(matches!(desk.kept.events.last(), Some(MarketEvent::Replaced { reference: 1, .. })));
    }
}

#[test]
fn a_replacement_that_trades_is_a_deletion_an_execution_and_what_is_left() {
    let mut desk = Desk::open(EngineConfig::default());
    let sell = desk.sell(BOB, 30, 101);
    let buy = desk.buy(ALICE, 100, 100);
    let wanted = Replacement { owner: ALICE, reference: buy, token: 9, shares: 100, price: Price(10_100) };
    let (events, reports) = (desk.kept.events.len(), desk.kept.reports.len());
    let placed = desk.engine.replace(&wanted, &mut desk.kept).unwrap();
    let (symbol, reference) = (FIRST, placed.reference);
    assert_eq!(
        desk.kept.events[events..],
        [
            MarketEvent::Deleted { reference: buy, symbol },
            MarketEvent::Executed { reference: sell, symbol, shares: 30, match_number: 1 },
            MarketEvent::Added { reference, symbol, side: Side::Buy, shares: 70, price: Price(10_100) },
        ]
    );
    assert!(matches!(desk.kept.reports[reports].1, Report::Replaced { token: 9, shares: 100, .. }));
    assert_eq!(desk.kept.reports.len(), reports + 3);
}

#[test]
fn a_hostile_order_is_refused_with_its_reason_and_changes_nothing() {
    let lots = SymbolSpec { lot: 10, ..SymbolSpec::new("LOTS") };
    let band = Band { low: Price(5_000), high: Price(20_000) };
    let banded = SymbolSpec { band, ..SymbolSpec::new("BAND") };
    let mut desk = Desk::new(EngineConfig::default(), vec![lots, banded]);
    for at in 0..2 {
        desk.engine.set_state(SymbolId(at), TradingState::Open, &mut desk.kept).unwrap();
    }
    let day = |price| OrderKind::Day(Price(price));
    for (symbol, shares, kind, reason) in [
        (2, 10, day(10_000), RejectReason::UnknownSymbol),
        (u16::MAX, 10, OrderKind::Market, RejectReason::UnknownSymbol),
        (0, 0, day(10_000), RejectReason::ZeroShares),
        (0, 0, OrderKind::Market, RejectReason::ZeroShares),
        (1, SHARES_MAX + 1, day(10_000), RejectReason::TooManyShares),
        (1, u32::MAX, OrderKind::Market, RejectReason::TooManyShares),
        (0, 15, day(10_000), RejectReason::NotWholeLots),
        (0, 10, day(0), RejectReason::PriceOutOfRange),
        (0, 10, day(u32::MAX), RejectReason::PriceOutOfRange),
        (0, 10, day(Price::MAX.0 + 100), RejectReason::PriceOutOfRange),
        (0, 10, OrderKind::Ioc(Price(0)), RejectReason::PriceOutOfRange),
        (0, 10, day(10_001), RejectReason::NotWholeTicks),
        (1, 10, day(4_900), RejectReason::OutsideBand),
        (1, 10, day(20_100), RejectReason::OutsideBand),
        (1, 10, OrderKind::Ioc(Price(20_100)), RejectReason::OutsideBand),
    ] {
        let symbol = SymbolId(symbol);
        let order = NewOrder { owner: ALICE, token: 5, symbol, side: Side::Buy, shares, kind };
        let events = desk.kept.events.len();
        assert_eq!(desk.engine.enter(&order, &mut desk.kept), Err(reason), "{order:?}");
        let told = (SessionId(1), Report::Rejected { token: 5, reason });
        assert_eq!(*desk.kept.reports.last().unwrap(), told);
        assert_eq!((desk.kept.events.len(), desk.engine.resting()), (events, 0));
    }
    // The limits themselves are possible.
    for (shares, price) in [(SHARES_MAX, 5_000), (1, 20_000)] {
        let (symbol, side, kind) = (SymbolId(1), Side::Buy, day(price));
        let order = NewOrder { owner: ALICE, token: 5, symbol, side, shares, kind };
        desk.engine.enter(&order, &mut desk.kept).unwrap();
    }
}

#[test]
fn who_names_an_order_that_is_not_his_or_no_more_is_told_that_it_is_unknown() {
    let mut desk = Desk::open(EngineConfig::default());
    let gone = desk.buy(ALICE, 10, 90);
    desk.engine.cancel(ALICE, gone, 0, &mut desk.kept).unwrap();
    let executed = desk.buy(ALICE, 10, 100);
    desk.sell(BOB, 10, 100);
    let replaced = desk.buy(ALICE, 10, 95);
    let twice =
        |reference| Replacement { owner: ALICE, reference, token: 8, shares: 20, price: Price(9_600) };
    let now = desk.engine.replace(&twice(replaced), &mut desk.kept).unwrap().reference;
    let others = desk.buy(BOB, 10, 94);
    for reference in [0, gone, executed, replaced, others, now + 1_000, u64::MAX] {
        let reason = RejectReason::UnknownOrder;
        assert_eq!(desk.engine.cancel(ALICE, reference, 0, &mut desk.kept), Err(reason));
        let told = (SessionId(1), Report::CancelRejected { reference, reason });
        assert_eq!(*desk.kept.reports.last().unwrap(), told);
        assert_eq!(desk.engine.replace(&twice(reference), &mut desk.kept), Err(reason));
        let told = (SessionId(1), Report::ReplaceRejected { reference, token: 8, reason });
        assert_eq!(*desk.kept.reports.last().unwrap(), told);
    }
    assert_eq!(desk.book(Side::Buy), [(96, now, 20), (94, others, 10)]);
}

#[test]
fn a_cancel_that_leaves_all_or_more_is_refused() {
    let mut desk = Desk::open(EngineConfig::default());
    let order = desk.buy(ALICE, 10, 100);
    for leave in [10, 11, u32::MAX] {
        let refused = desk.engine.cancel(ALICE, order, leave, &mut desk.kept);
        assert_eq!(refused, Err(RejectReason::NothingToCancel));
    }
    assert_eq!(desk.engine.cancel(ALICE, order, 9, &mut desk.kept), Ok(1));
}

#[test]
fn a_refused_replacement_leaves_the_order_in_its_place() {
    let mut desk = Desk::open(EngineConfig::default());
    let order = desk.buy(ALICE, 10, 100);
    for (shares, price, reason) in [
        (0, 10_000, RejectReason::ZeroShares),
        (SHARES_MAX + 1, 10_000, RejectReason::TooManyShares),
        (10, 0, RejectReason::PriceOutOfRange),
        (10, 10_050, RejectReason::NotWholeTicks),
    ] {
        let price = Price(price);
        let wanted = Replacement { owner: ALICE, reference: order, token: 8, shares, price };
        assert_eq!(desk.engine.replace(&wanted, &mut desk.kept), Err(reason));
    }
    assert_eq!(desk.book(Side::Buy), [(100, order, 10)]);
}

#[test]
fn before_the_open_day_orders_wait_even_when_they_cross_and_others_are_refused() {
    let mut desk = Desk::new(EngineConfig::default(), vec![SymbolSpec::new("TEST")]);
    let sell = desk.sell(ALICE, 10, 100);
    let buy = desk.buy(BOB, 10, 105);
    assert_eq!(desk.trades(), []);
    for kind in [OrderKind::Ioc(Price(10_500)), OrderKind::Market] {
        let order = NewOrder { owner: BOB, token: 1, symbol: FIRST, side: Side::Buy, shares: 1, kind };
        assert_eq!(desk.engine.enter(&order, &mut desk.kept), Err(RejectReason::NotOpen));
    }
    assert_eq!((desk.book(Side::Buy), desk.book(Side::Sell)), (vec![(105, buy, 10)], vec![(100, sell, 10)]));
}

#[test]
fn the_open_matches_what_crosses_at_the_price_of_who_came_first() {
    let mut desk = Desk::new(EngineConfig::default(), vec![SymbolSpec::new("TEST")]);
    let buy = desk.buy(BOB, 10, 105);
    let sell = desk.sell(ALICE, 15, 100);
    desk.buy(ALICE, 5, 101);
    desk.kept = Default::default();
    desk.engine.set_state(FIRST, TradingState::Open, &mut desk.kept).unwrap();
    let symbol = FIRST;
    let at_price = |reference, shares, match_number, cents: u32| MarketEvent::ExecutedAtPrice {
        reference,
        symbol,
        shares,
        match_number,
        price: Price(cents * 100),
    };
    assert_eq!(
        desk.kept.events,
        [
            MarketEvent::State { symbol, state: TradingState::Open },
            MarketEvent::Executed { reference: buy, symbol, shares: 10, match_number: 1 },
            at_price(sell, 10, 1, 105),
            MarketEvent::Executed { reference: sell, symbol, shares: 5, match_number: 2 },
            at_price(3, 5, 2, 100),
        ]
    );
    assert_eq!(desk.engine.resting(), 0);
    assert_sound(&desk.engine);
}

#[test]
fn a_halt_takes_only_cancels_and_the_open_after_it_trades_again() {
    let mut desk = Desk::open(EngineConfig::default());
    let [one, other] = [desk.buy(ALICE, 10, 100), desk.buy(ALICE, 10, 99)];
    desk.engine.set_state(FIRST, TradingState::Halted, &mut desk.kept).unwrap();
    let order = NewOrder { owner: BOB, token: 1, symbol: FIRST, side: Side::Sell, shares: 10, kind: DAY_100 };
    assert_eq!(desk.engine.enter(&order, &mut desk.kept), Err(RejectReason::Halted));
    let wanted = Replacement { owner: ALICE, reference: one, token: 2, shares: 5, price: Price(10_000) };
    assert_eq!(desk.engine.replace(&wanted, &mut desk.kept), Err(RejectReason::Halted));
    assert_eq!(desk.engine.cancel(ALICE, other, 0, &mut desk.kept), Ok(10));
    desk.engine.set_state(FIRST, TradingState::Open, &mut desk.kept).unwrap();
    desk.engine.enter(&order, &mut desk.kept).unwrap();
    assert_eq!(desk.trades(), [(one, 10, 1)]);
}

#[test]
fn the_close_cancels_every_order_and_is_for_good() {
    let mut desk = Desk::open(EngineConfig::default());
    let orders = [desk.buy(ALICE, 10, 100), desk.buy(BOB, 10, 101), desk.sell(ALICE, 10, 102)];
    desk.kept = Default::default();
    desk.engine.set_state(FIRST, TradingState::Closed, &mut desk.kept).unwrap();
    let closed = |session, reference| {
        let (token, shares, reason, open) = (0, 10, CancelReason::Closed, 0);
        (SessionId(session), Report::Cancelled { reference, token, shares, reason, open })
    };
    assert_eq!(desk.kept.reports, [closed(2, orders[1]), closed(1, orders[0]), closed(1, orders[2])]);
    assert_eq!(desk.engine.resting(), 0);
    for state in [TradingState::Open, TradingState::Closed] {
        let refused = desk.engine.set_state(FIRST, state, &mut desk.kept);
        assert_eq!(refused, Err(EngineError::Closed(FIRST)));
    }
    let order = NewOrder { owner: BOB, token: 1, symbol: FIRST, side: Side::Buy, shares: 1, kind: DAY_100 };
    assert_eq!(desk.engine.enter(&order, &mut desk.kept), Err(RejectReason::Closed));
}

#[test]
fn a_band_that_moves_cancels_what_is_outside() {
    let mut desk = Desk::open(EngineConfig::default());
    desk.buy(ALICE, 10, 90);
    let inside = desk.buy(ALICE, 10, 95);
    desk.sell(BOB, 10, 120);
    let band = Band { low: Price(9_500), high: Price(11_000) };
    desk.engine.set_band(FIRST, band, &mut desk.kept).unwrap();
    assert_eq!((desk.book(Side::Buy), desk.book(Side::Sell)), (vec![(95, inside, 10)], vec![]));
    let upside_down = Band { low: Price(2), high: Price(1) };
    for (symbol, band) in [(SymbolId(1), band), (FIRST, upside_down)] {
        assert!(desk.engine.set_band(symbol, band, &mut desk.kept).is_err());
    }
}

#[test]
fn a_session_does_not_trade_with_itself_when_that_is_prevented() {
    for (policy, resting, trades) in [
        (None, vec![], vec![(1, 10, 1), (2, 10, 2)]),
        (Some(SelfMatch::CancelResting), vec![], vec![(2, 10, 1)]),
        (Some(SelfMatch::CancelIncoming), vec![(100, 1, 10), (100, 2, 10)], vec![]),
    ] {
        let mut desk = Desk::open(EngineConfig { self_match: policy, ..EngineConfig::default() });
        desk.sell(ALICE, 10, 100);
        desk.sell(BOB, 10, 100);
        desk.buy(ALICE, 20, 100);
        assert_eq!(desk.trades(), trades, "{policy:?}");
        assert_eq!(desk.book(Side::Sell), resting, "{policy:?}");
        let cancels = desk.kept.reports.iter().filter(|(_, report)| {
            matches!(report, Report::Cancelled { reason: CancelReason::SelfMatch, .. })
        });
        assert_eq!(cancels.count(), usize::from(policy.is_some()));
    }
}

#[test]
fn the_background_may_trade_with_itself_and_is_told_nothing() {
    let self_match = Some(SelfMatch::CancelIncoming);
    let mut desk = Desk::open(EngineConfig { self_match, ..EngineConfig::default() });
    desk.sell(Owner::Background, 10, 100);
    desk.buy(Owner::Background, 10, 100);
    assert_eq!(desk.trades(), [(1, 10, 1)]);
    assert_eq!(desk.kept.reports, []);
}

#[test]
fn a_session_that_is_gone_loses_all_its_orders_and_no_other_does() {
    let mut desk = Desk::open(EngineConfig::default());
    desk.buy(ALICE, 10, 100);
    let kept = desk.buy(BOB, 10, 100);
    desk.sell(ALICE, 10, 101);
    let reason = CancelReason::Disconnected;
    assert_eq!(desk.engine.cancel_all(ALICE, reason, &mut desk.kept), 2);
    assert_eq!((desk.book(Side::Buy), desk.book(Side::Sell)), (vec![(100, kept, 10)], vec![]));
}

#[test]
fn a_full_book_refuses_what_could_rest_and_still_trades() {
    let mut desk = Desk::open(EngineConfig { orders_max: 2, ..EngineConfig::default() });
    desk.sell(ALICE, 10, 100);
    desk.sell(ALICE, 10, 101);
    let order = |kind| NewOrder { owner: BOB, token: 1, symbol: FIRST, side: Side::Buy, shares: 10, kind };
    assert_eq!(desk.engine.enter(&order(DAY_100), &mut desk.kept), Err(RejectReason::BookFull));
    desk.engine.enter(&order(OrderKind::Market), &mut desk.kept).unwrap();
    desk.engine.enter(&order(DAY_100), &mut desk.kept).unwrap();
}

#[test]
fn symbols_are_separate_and_found_by_their_name() {
    let mut desk = Desk::new(EngineConfig::default(), vec![SymbolSpec::new("A"), SymbolSpec::new("BB")]);
    let second = desk.engine.find(*b"BB      ").unwrap();
    assert_eq!((second, desk.engine.find(*b"CC      ")), (SymbolId(1), None));
    for symbol in [FIRST, second] {
        desk.engine.set_state(symbol, TradingState::Open, &mut desk.kept).unwrap();
    }
    desk.sell(ALICE, 10, 100);
    let order = NewOrder { owner: BOB, token: 1, symbol: second, side: Side::Buy, shares: 10, kind: DAY_100 };
    desk.engine.enter(&order, &mut desk.kept).unwrap();
    assert_eq!((desk.trades(), desk.engine.resting()), (vec![], 2));
}

#[test]
fn what_cannot_be_listed_is_refused() {
    let good = SymbolSpec::new("GOOD");
    let wrong = [
        vec![],
        vec![SymbolSpec::new("")],
        vec![SymbolSpec::new("NINECHARS")],
        vec![SymbolSpec::new("A B")],
        vec![SymbolSpec { tick: Price(0), ..good.clone() }],
        vec![SymbolSpec { lot: 0, ..good.clone() }],
        vec![SymbolSpec { band: Band { low: Price(0), high: Price(1) }, ..good.clone() }],
        vec![SymbolSpec { band: Band { low: Price(1), high: Price(u32::MAX) }, ..good.clone() }],
        vec![good.clone(), good],
    ];
    for specs in wrong {
        assert!(Engine::new(EngineConfig::default(), specs.clone()).is_err(), "{specs:?}");
    }
}
