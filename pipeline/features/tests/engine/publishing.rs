//! When a record leaves, with which number and which doubts.

use crate::session::*;
use bus::Quality;
use bus::config::{Bars, Feature, InstrumentKey, PublishSection};
use features::Engine;
use tick::{Action, Flags, Side, Tick};

const GOOD: Quality = Quality::GOOD;

#[test]
fn records_are_numbered_without_a_hole_over_sets_and_instruments() {
    let records = run(&every_feature(), &random_session(3, 20_000));
    assert!(records.len() > 1_000);
    assert!(records.iter().zip(1..).all(|(record, number)| record.number == number));
    let sets: std::collections::BTreeSet<usize> = records.iter().map(|record| record.set).collect();
    assert_eq!(sets.len(), 3);
}

#[test]
fn a_record_says_which_tick_brought_it_about() {
    let sets = [set(None, &[Feature::Mid])];
    let mut market = Market::new();
    market.quote((cents(100), 1), (cents(102), 1));
    let mut engine = Engine::new(&sets, limits());
    let record = feed(&mut engine, &market.ticks).pop().unwrap();
    let last = market.ticks.last().unwrap();
    assert_eq!((record.key, record.channel_id), ((PUBLISHER, INSTRUMENT), CHANNEL));
    assert_eq!((record.time_ns, record.sequence, record.number), (last.ts_recv, last.sequence, 1));
    assert_eq!(record.schema_id, engine.schemas()[0].id());
    assert_eq!((record.values(), record.quality, engine.number()), (vec![1.01], GOOD, 1));
}

#[test]
fn nothing_is_published_within_an_event() {
    let mut market = Market::new();
    market.quote((cents(100), 1), (cents(102), 1));
    let without: Vec<Tick> = market.ticks.iter().map(|tick| Tick { flags: Flags::NONE, ..*tick }).collect();
    assert!(run(&[set(None, &[Feature::Mid])], &without).is_empty());
}

#[test]
fn every_interval_has_at_most_one_record_with_its_first_event() {
    let mut mid = set(None, &[Feature::Mid]);
    mid.publish.every_ms = Some(100);
    let mut market = Market::new();
    for _ in 0..100 {
        market.quote((cents(100), 1), (cents(102), 1));
    }
    // Events at 10, 20, … 1000 ms.
    let times: Vec<u64> =
        run(&[mid], &market.ticks).iter().map(|record| (record.time_ns - START) / MS).collect();
    assert_eq!(times, [10, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000]);
}

#[test]
fn a_significant_change_publishes_against_what_was_last_published() {
    let mut mid = set(None, &[Feature::Mid, Feature::Spread]);
    mid.publish = PublishSection { every_ms: None, on_change: vec![change("mid", 0.02)] };
    let mut market = Market::new();
    for ask in [102, 104, 106, 107, 108, 109, 110] {
        market.quote((cents(100), 1), (cents(ask), 1));
    }
    market.book(&[(cents(100), 1)], &[]).book(&[(cents(99), 1)], &[]);
    market.quote((cents(100), 1), (cents(110), 1));
    let mids: Vec<f64> = run(&[mid], &market.ticks).iter().map(|record| record.values()[0]).collect();
    assert_eq!(mids[..3], [1.01, 1.03, 1.05]);
    assert!(mids[3].is_nan(), "a value that ceases to exist has changed: {mids:?}");
    assert_eq!(mids[4..], [1.05]);
}

#[test]
fn a_set_is_about_its_instruments_only() {
    let mut one = set(None, &[Feature::Mid]);
    one.instruments = Some(vec![InstrumentKey { publisher_id: PUBLISHER, instrument_id: 2 }]);
    let records = run(&[one], &random_session(5, 3_000));
    assert!(!records.is_empty());
    assert!(records.iter().all(|record| record.key == (PUBLISHER, 2)));
}

/// What the sequence of qualities over a session is, doubles removed.
fn qualities(sets: &[bus::config::FeatureSet], ticks: &[Tick]) -> Vec<u8> {
    let mut all: Vec<u8> = run(sets, ticks).iter().map(|record| record.quality.0).collect();
    all.dedup();
    all
}

#[test]
fn a_gap_makes_the_book_bad_until_a_clear_and_is_told_at_once() {
    let mut mid = set(None, &[Feature::Mid]);
    mid.publish = PublishSection { every_ms: Some(86_400_000), on_change: Vec::new() };
    let mut market = Market::new();
    market.quote((cents(100), 1), (cents(102), 1)).gap();
    market.quote((cents(100), 1), (cents(104), 1)).quote((cents(100), 1), (cents(106), 1)).clear();
    market.quote((cents(100), 1), (cents(108), 1));
    let records = run(&[mid], &market.ticks);
    let seen: Vec<(f64, Quality)> =
        records.iter().map(|record| (record.values()[0], record.quality)).collect();
    assert_eq!(seen, [(1.01, GOOD), (1.02, Quality::BAD_BOOK), (1.04, GOOD)]);
}

#[test]
fn a_gap_stays_in_windows_until_it_has_left_the_longest() {
    let closes = set(Some(Bars::Trades(1)), &[Feature::Sma { bars: 2 }]);
    let mut market = Market::new();
    for _ in 0..3 {
        market.trade(cents(100), 1, Side::Bid);
    }
    market.gap().nothing().clear();
    for _ in 0..4 {
        market.trade(cents(100), 1, Side::Bid);
    }
    let seen: Vec<u8> = run(&[closes], &market.ticks).iter().map(|record| record.quality.0 & 6).collect();
    // c = 3 full bars at the gap, W = 2: set until more than 5 bars are full.
    assert_eq!(seen, [4, 0, 0, 2, 2, 2, 0, 0]);
}

#[test]
fn a_gap_stays_in_the_session_and_in_buckets() {
    let mut market = Market::new();
    market.trade(cents(100), 10, Side::Bid).gap().nothing().clear();
    for _ in 0..3 {
        market.trade(cents(100), 10, Side::Bid);
    }
    let vpin = set(None, &[Feature::Vpin { bucket: 10, buckets: 1 }]);
    let seen: Vec<u8> = run(&[vpin], &market.ticks).iter().map(|record| record.quality.0 & 6).collect();
    assert_eq!(seen, [0, 2, 2, 0, 0]);
    let session = set(None, &[Feature::VwapSession { start_s: 0 }]);
    market.wait(86_400 * SECOND).trade(cents(100), 10, Side::Bid);
    let seen: Vec<u8> = run(&[session], &market.ticks).iter().map(|record| record.quality.0 & 6).collect();
    assert_eq!(seen, [0, 2, 2, 2, 2, 0]);
}

#[test]
fn order_flow_on_a_bad_book_counts_as_a_gap() {
    let mut market = Market::new();
    // Crossed: bad while it lasts.
    market.quote((cents(100), 1), (cents(102), 1)).quote((cents(103), 1), (cents(102), 1));
    market.quote((cents(100), 1), (cents(102), 1));
    for _ in 0..3 {
        market.trade(cents(100), 1, Side::Bid);
    }
    let bars = Some(Bars::Trades(1));
    let ofi = set(bars, &[Feature::Ofi { bars: 1 }]);
    let sma = set(bars, &[Feature::Sma { bars: 1 }]);
    let (bad, gap, warming) = (1, 2, 4);
    assert_eq!(qualities(&[ofi], &market.ticks), [warming, bad | gap | warming, gap | warming, gap, 0]);
    assert_eq!(qualities(&[sma], &market.ticks), [warming, bad | warming, warming, 0]);
}

#[test]
fn a_trade_that_cannot_be_priced_counts_as_a_gap() {
    let mut market = Market::new();
    market.trade(cents(100), 1, Side::Bid).trade(cents(100), 1, Side::Bid);
    // As ITCH says it: a trade without a price, then the fill of an order that is not known.
    market.trade(i64::MAX, 5, Side::None);
    let trade = *market.ticks.last().unwrap();
    market.ticks.pop();
    market.ticks.push(Tick { flags: Flags::NONE, ..trade });
    market.ticks.push(Tick { action: Action::Fill, order_id: 999, ..trade });
    let sma = set(Some(Bars::Trades(1)), &[Feature::Sma { bars: 1 }]);
    let last = run(&[sma], &market.ticks).pop().unwrap();
    assert!(last.quality.contains(Quality::GAP_IN_WINDOW), "{:?}", last.quality);
}

#[test]
fn ticks_of_a_bad_clock_are_doubted() {
    let mut market = Market::new();
    market.quote((cents(100), 1), (cents(102), 1));
    market.ticks.last_mut().unwrap().flags |= Flags::BAD_TS_RECV;
    market.quote((cents(100), 1), (cents(102), 1));
    assert_eq!(qualities(&[set(None, &[Feature::Mid])], &market.ticks), [Quality::BAD_TIME.0, 0]);
}

#[test]
fn an_executed_order_is_priced_by_the_book() {
    let mut market = Market::new();
    market.quote((cents(100), 10), (cents(102), 10));
    market.trade(i64::MAX, 4, Side::None);
    let trade = Tick { flags: Flags::NONE, ..market.ticks.pop().unwrap() };
    let resting = Tick { order_id: 2, side: Side::Ask, price: cents(102), ..trade };
    market.ticks.push(trade);
    market.ticks.push(Tick { action: Action::Fill, ..resting });
    market.ticks.push(Tick { action: Action::Cancel, flags: Flags::LAST, ..resting });
    let features =
        [Feature::Sma { bars: 1 }, Feature::TradeImbalance { bars: 1 }, Feature::Imbalance { levels: 1 }];
    let values = last_values(&set(Some(Bars::Trades(1)), &features), &market.ticks);
    assert_eq!(values, [1.02, 1.0, 4.0 / 16.0], "bought at the ask's price; 6 are left");
}
