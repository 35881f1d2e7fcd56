//! Values worked out by hand from the definitions in `docs/features.md`.

use crate::session::{MS, Market, SECOND, cents, last_values, run, set};
use bus::config::{Bars, Feature};
use tick::Side;

const EACH: Option<Bars> = Some(Bars::Trades(1));

#[track_caller]
fn near(have: f64, want: f64) {
    assert!((have - want).abs() <= 1e-12 * want.abs().max(1.0), "{have} should be {want}");
}

#[track_caller]
fn all_near(have: &[f64], want: &[f64]) {
    assert_eq!(have.len(), want.len());
    have.iter().zip(want).for_each(|(&have, &want)| near(have, want));
}

#[test]
fn quotes_give_spread_middle_microprice_and_imbalance() {
    let mut market = Market::new();
    market.book(
        &[(cents(10_000), 30), (cents(9_999), 10), (cents(9_998), 5), (cents(9_997), 5), (cents(9_996), 100)],
        &[(cents(10_002), 10), (cents(10_003), 40), (cents(10_005), 1)],
    );
    let features = [
        Feature::Spread,
        Feature::Mid,
        Feature::Microprice,
        Feature::Imbalance { levels: 1 },
        Feature::Imbalance { levels: 2 },
        Feature::Imbalance { levels: 5 },
    ];
    let values = last_values(&set(None, &features), &market.ticks);
    let micro = (100.00 * 10.0 + 100.02 * 30.0) / 40.0;
    let want = [0.02, 100.01, micro, 20.0 / 40.0, (40.0 - 50.0) / 90.0, (150.0 - 51.0) / 201.0];
    all_near(&values, &want);
}

#[test]
fn a_book_with_an_empty_side_has_no_quote_values() {
    let mut market = Market::new();
    market.book(&[(cents(10_000), 30)], &[]);
    let features = [Feature::Spread, Feature::Mid, Feature::Microprice, Feature::Imbalance { levels: 5 }];
    let values = last_values(&set(None, &features), &market.ticks);
    assert!(values.iter().all(|value| value.is_nan()), "{values:?}");
}

/// Each case of Cont, Kukanov, Stoikov's e: the quote before is 30 @ 100.00, 10 @ 100.02.
#[test]
fn order_flow_is_that_of_cont_kukanov_stoikov() {
    let cases = [
        ("nothing", (10_000, 30), (10_002, 10), 0.0),
        ("more bid", (10_000, 50), (10_002, 10), 20.0),
        ("less bid", (10_000, 5), (10_002, 10), -25.0),
        ("more ask", (10_000, 30), (10_002, 14), -4.0),
        ("less ask", (10_000, 30), (10_002, 3), 7.0),
        ("higher bid", (10_001, 8), (10_002, 10), 8.0),
        ("lower bid", (9_999, 70), (10_002, 10), -30.0),
        ("lower ask", (10_000, 30), (10_001, 6), -6.0),
        ("higher ask", (10_000, 30), (10_003, 90), 10.0),
        ("both up", (10_001, 8), (10_003, 90), 18.0),
        ("both down", (9_999, 70), (10_001, 6), -36.0),
    ];
    for (name, bid, ask, flow) in cases {
        let mut market = Market::new();
        market.quote((cents(10_000), 30), (cents(10_002), 10));
        market.quote((cents(bid.0), bid.1), (cents(ask.0), ask.1));
        market.trade(cents(10_002), 1, Side::Bid);
        let values = last_values(&set(EACH, &[Feature::Ofi { bars: 1 }]), &market.ticks);
        assert_eq!(values, [flow], "{name}");
    }
}

#[test]
fn order_flow_sums_events_within_bars_and_bars_within_the_window() {
    let mut market = Market::new();
    market.quote((cents(100), 10), (cents(102), 10));
    for (size, more) in [(20, 15), (12, 13), (40, 41)] {
        market.quote((cents(100), size), (cents(102), 10));
        market.quote((cents(100), more), (cents(102), 10));
        market.trade(cents(102), 1, Side::Bid);
    }
    // Bars: 10→15 is 5, 15→13 is −2, 13→41 is 28.
    let features = [Feature::Ofi { bars: 1 }, Feature::Ofi { bars: 2 }, Feature::Ofi { bars: 3 }];
    assert_eq!(last_values(&set(EACH, &features), &market.ticks), [28.0, 26.0, 31.0]);
}

#[test]
fn order_flow_is_not_counted_across_a_clear_or_an_empty_side() {
    let ofi = set(EACH, &[Feature::Ofi { bars: 1 }]);
    let mut market = Market::new();
    market.quote((cents(100), 10), (cents(102), 10));
    market.clear();
    market.quote((cents(90), 99), (cents(102), 10)).trade(cents(102), 1, Side::Bid);
    assert_eq!(last_values(&ofi, &market.ticks), [0.0]);

    let mut market = Market::new();
    market.quote((cents(100), 10), (cents(102), 10)).book(&[(cents(100), 10)], &[]);
    market.quote((cents(100), 15), (cents(102), 10));
    market.quote((cents(100), 16), (cents(102), 10)).trade(cents(102), 1, Side::Bid);
    assert_eq!(last_values(&ofi, &market.ticks), [1.0]);
}

/// Closes 100, 102, 101, 105; sizes 10, 20, 30, 40; sides B, A, none, B.
fn four_trades() -> Market {
    let mut market = Market::new();
    let trades =
        [(10_000, 10, Side::Bid), (10_200, 20, Side::Ask), (10_100, 30, Side::None), (10_500, 40, Side::Bid)];
    for (price, size, aggressor) in trades {
        market.trade(cents(price), size, aggressor);
    }
    market
}

#[test]
fn windows_of_bars_follow_their_formulas() {
    let features = [
        Feature::TradeImbalance { bars: 4 },
        Feature::Vwap { bars: 3 },
        Feature::Sma { bars: 4 },
        Feature::Ema { bars: 2 },
        Feature::Rsi { bars: 2 },
        Feature::Bollinger { bars: 4, deviations: 1.5 },
        Feature::RealisedVolatility { bars: 3 },
        Feature::Amihud { bars: 2 },
        Feature::KyleLambda { bars: 3 },
        Feature::VwapSession { start_s: 0 },
    ];
    let values = last_values(&set(EACH, &features), &four_trades().ticks);
    let ema = [101.0, 101.0, 101.0 + (105.0 - 101.0) * 2.0 / 3.0];
    let (gain, loss) = ((2.0 / 2.0 + 4.0) / 2.0, (1.0 / 2.0) / 2.0);
    let sigma = ((4.0 + 0.0 + 1.0 + 9.0) / 4.0f64).sqrt();
    let log = |a: f64, b: f64| (b / a).ln().powi(2);
    let volatility = (log(100.0, 102.0) + log(102.0, 101.0) + log(101.0, 105.0)).sqrt();
    let amihud = ((1.0 / 102.0) / (101.0 * 30.0) + (4.0 / 101.0) / (105.0 * 40.0)) / 2.0;
    // x = −20, 0, 40 and y = 2, −1, 4; means 20/3 and 5/3.
    let (x, y) = (20.0 / 3.0, 5.0 / 3.0);
    let xy = (-20.0 - x) * (2.0 - y) + (0.0 - x) * (-1.0 - y) + (40.0 - x) * (4.0 - y);
    let xx = (-20.0f64 - x).powi(2) + (0.0 - x).powi(2) + (40.0 - x).powi(2);
    let want = [
        (50.0 - 20.0) / 70.0,
        (102.0 * 20.0 + 101.0 * 30.0 + 105.0 * 40.0) / 90.0,
        102.0,
        ema[2],
        100.0 * gain / (gain + loss),
        102.0 + 1.5 * sigma,
        102.0,
        102.0 - 1.5 * sigma,
        volatility,
        amihud,
        xy / xx,
        (100.0 * 10.0 + 102.0 * 20.0 + 101.0 * 30.0 + 105.0 * 40.0) / 100.0,
    ];
    all_near(&values, &want);
}

#[test]
fn what_does_not_exist_is_nan() {
    let mut market = Market::new();
    for _ in 0..4 {
        market.trade(cents(-10_000), 10, Side::None);
    }
    let features = [
        Feature::TradeImbalance { bars: 2 },
        Feature::Rsi { bars: 2 },
        Feature::RealisedVolatility { bars: 2 },
        Feature::Amihud { bars: 2 },
        Feature::KyleLambda { bars: 3 },
    ];
    let record = run(&[set(EACH, &features)], &market.ticks).pop().unwrap();
    assert!(record.values().iter().all(|value| value.is_nan()), "{:?}", record.values());
    assert!(!record.quality.contains(bus::Quality::WARMING_UP));
}

/// Buckets of 10. Trades: 6 bought; 8 sold (4 fill the first, 4 begin the second); 3 unknown; 25 bought
/// (3 fill the second, two whole ones, 2 begin the next).
#[test]
fn vpin_fills_buckets_exactly_and_splits_trades() {
    let mut market = Market::new();
    market.trade(cents(100), 6, Side::Bid).trade(cents(100), 8, Side::Ask);
    market.trade(cents(100), 3, Side::None).trade(cents(100), 25, Side::Bid);
    // |6 − 4| = 2, |−4 + 0 + 3| = 1, 10, 10.
    for (buckets, want) in [(1, 1.0), (2, 1.0), (3, 21.0 / 30.0), (4, 23.0 / 40.0), (5, f64::NAN)] {
        let value = last_values(&set(None, &[Feature::Vpin { bucket: 10, buckets }]), &market.ticks)[0];
        assert!(
            (value - want).abs() < 1e-15 || (value.is_nan() && want.is_nan()),
            "{buckets}: {value} {want}"
        );
    }
}

#[test]
fn a_trade_of_a_million_buckets_fills_the_window() {
    let mut market = Market::new();
    market.trade(cents(100), 4_000_000_000, Side::Ask).trade(cents(100), 1, Side::Bid);
    let vpin = set(None, &[Feature::Vpin { bucket: 2, buckets: 10_000 }]);
    assert_eq!(last_values(&vpin, &market.ticks), [1.0]);
}

#[test]
fn time_bars_close_at_the_next_interval_and_empty_intervals_make_none() {
    let mut market = Market::new();
    let closes = set(Some(Bars::TimeMs(1_000)), &[Feature::Sma { bars: 1 }, Feature::Sma { bars: 2 }]);
    market.trade(cents(100), 1, Side::Bid).trade(cents(110), 1, Side::Bid);
    assert!(last_values(&closes, &market.ticks)[0].is_nan(), "the bar still forms");
    // A tick that is no trade closes it, and three intervals without a trade make no bar.
    market.wait(4 * SECOND).nothing();
    assert_eq!(last_values(&closes, &market.ticks)[0], 1.10);
    market.trade(cents(130), 1, Side::Bid).wait(SECOND).trade(cents(170), 1, Side::Bid);
    assert_eq!(last_values(&closes, &market.ticks), [1.30, (1.10 + 1.30) / 2.0]);
}

#[test]
fn time_that_goes_back_a_little_is_overtaking_and_more_is_a_new_clock() {
    let closes = set(Some(Bars::TimeMs(1_000)), &[Feature::Sma { bars: 1 }]);
    let mut market = Market::new();
    market.wait(SECOND).trade(cents(100), 1, Side::Bid);
    market.now -= 500 * MS;
    market.trade(cents(110), 1, Side::Bid);
    assert!(last_values(&closes, &market.ticks)[0].is_nan(), "the same bar");
    market.now -= 2 * SECOND;
    market.trade(cents(120), 1, Side::Bid);
    assert_eq!(last_values(&closes, &market.ticks), [1.10]);
}

#[test]
fn volume_bars_do_not_split_the_trade_that_fills_them() {
    let mut market = Market::new();
    market.trade(cents(100), 6, Side::Bid).trade(cents(200), 30, Side::Bid).trade(cents(300), 10, Side::Bid);
    let bars = set(Some(Bars::Volume(10)), &[Feature::Vwap { bars: 1 }, Feature::Vwap { bars: 2 }]);
    all_near(&last_values(&bars, &market.ticks), &[3.0, (6.0 + 60.0 + 30.0) / 46.0]);
}

#[test]
fn a_session_ends_with_the_first_tick_of_the_next() {
    // The market starts at 22:13:20 UTC, so a session that starts at 22:15 is 100 s away.
    let session = set(None, &[Feature::VwapSession { start_s: 22 * 3_600 + 15 * 60 }]);
    let mut market = Market::new();
    market.trade(cents(100), 1, Side::Bid).trade(cents(200), 3, Side::Bid);
    assert_eq!(last_values(&session, &market.ticks), [1.75]);
    market.wait(101 * SECOND).nothing();
    assert!(last_values(&session, &market.ticks)[0].is_nan());
    market.trade(cents(300), 2, Side::Bid);
    assert_eq!(last_values(&session, &market.ticks), [3.0]);
}

#[test]
fn trades_without_a_size_are_none() {
    let mut market = Market::new();
    market.trade(cents(100), 0, Side::Bid).trade(cents(100), u32::MAX, Side::Bid).trade(
        i64::MAX,
        5,
        Side::Bid,
    );
    let values = last_values(&set(EACH, &[Feature::Sma { bars: 1 }]), &market.ticks);
    assert!(values[0].is_nan());
}
