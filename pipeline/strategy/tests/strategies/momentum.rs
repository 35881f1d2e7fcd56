//! Order-flow momentum: the signal, entries, exits, and what it does with refusals.

use crate::support::{Rig, rig, short};
use bus::{Quality, TradingMode};

const SECTION: &str = "{window_ms: 160, enter_ticks: 0.5, exit_ticks: 0.1, clip: 20, position: 50, cross_ticks: 1, hold_ms: 1000, pause_ms: 10}";

/// A quiet book of 100 on both sides, seen for a whole window.
fn warm(section: &str) -> Rig {
    let mut rig = rig("ofi_momentum", section);
    for _ in 0..20 {
        assert!(rig.quote((9_999, 100), (10_001, 100)).is_empty());
        assert!(rig.pass(10).is_empty());
    }
    rig
}

#[test]
fn it_buys_when_the_flow_says_up_in_clips_up_to_the_position() {
    let mut rig = warm(SECTION);
    assert!(rig.quote((9_999, 150), (10_001, 100)).is_empty(), "50 came to the bid: 50 / 250 is 0.2 ticks");
    let sent = rig.quote((10_000, 150), (10_001, 60));
    assert_eq!(short(&sent), ["buy 20 @ 100.02 ioc"], "a new bid of 150 and 40 gone from the ask");
    assert!(rig.quote((10_000, 150), (10_001, 61)).is_empty(), "one order at a time");
    assert!(rig.immediate(&sent[0], 20).is_empty(), "pauses between two orders");
    let sent = rig.pass(10);
    assert_eq!(short(&sent), ["buy 20 @ 100.02 ioc"]);
    rig.immediate(&sent[0], 20);
    let sent = rig.pass(10);
    assert_eq!(short(&sent), ["buy 10 @ 100.02 ioc"], "what is left to 50");
    rig.immediate(&sent[0], 10);
    assert_eq!(rig.position(), 50);
    assert!(rig.pass(10).is_empty());
}

#[test]
fn it_sells_short_when_the_flow_says_down_and_nothing_is_owned() {
    let mut rig = warm(SECTION);
    let sent = rig.quote((9_998, 100), (10_000, 100));
    assert_eq!(short(&sent), ["sell_short 20 @ 99.97 ioc"]);
    rig.immediate(&sent[0], 20);
    assert_eq!(rig.position(), -20);
}

#[test]
fn the_position_is_given_up_when_the_flow_has_gone() {
    let mut rig = warm(SECTION);
    let sent = rig.quote((10_000, 200), (10_002, 100));
    rig.immediate(&sent[0], 15);
    assert_eq!(rig.position(), 15);
    let mut sold = Vec::new();
    for _ in 0..40 {
        for order in rig.pass(10) {
            let quantity = if short(std::slice::from_ref(&order))[0].starts_with("buy") { 0 } else { 15 };
            sold.extend(short(std::slice::from_ref(&order)));
            rig.immediate(&order, quantity);
        }
    }
    assert_eq!(sold.last().map(String::as_str), Some("sell 15 @ 99.99 ioc"), "{sold:?}");
    assert_eq!(rig.position(), 0);
}

#[test]
fn a_position_does_not_outlive_its_time_and_its_flow_is_not_entered_again() {
    let mut rig = warm(&SECTION.replace("hold_ms: 1000", "hold_ms: 50"));
    let mut cents = 10_000;
    let mut sent = rig.quote((cents, 200), (cents + 2, 100));
    rig.immediate(&sent[0], 20);
    let mut orders = Vec::new();
    for _ in 0..30 {
        // The flow goes on and on.
        cents += 1;
        sent = rig.quote((cents, 200), (cents + 2, 100));
        sent.extend(rig.pass(10));
        for order in &sent {
            orders.push(short(std::slice::from_ref(order))[0].split_whitespace().next().unwrap().to_owned());
            let bus::OrderAction::New { quantity, .. } = order.action else { panic!("{order:?}") };
            rig.immediate(order, quantity);
        }
    }
    let first_sale = orders.iter().position(|side| side == "sell").unwrap();
    assert!(orders[first_sale..].iter().all(|side| side == "sell"), "{orders:?}");
    assert_eq!(rig.position(), 0);
}

#[test]
fn a_window_that_is_not_whole_enters_nothing() {
    let mut rig = rig("ofi_momentum", SECTION);
    rig.quote((9_999, 100), (10_001, 100));
    assert!(rig.quote((10_001, 900), (10_003, 100)).is_empty());
    let mut rig = warm(SECTION);
    rig.gap();
    rig.clear();
    rig.quote((9_999, 100), (10_001, 100));
    assert!(rig.quote((10_001, 900), (10_003, 100)).is_empty(), "what the gap hid is not known");
}

#[test]
fn nothing_is_entered_while_only_reducing_is_allowed() {
    let mut rig = warm(SECTION);
    rig.trading(TradingMode::Reducing);
    assert!(rig.quote((10_000, 200), (10_002, 100)).is_empty());
    assert_eq!(rig.denied, 0, "not even asked for");
}

#[test]
fn refusals_make_the_pause_longer() {
    let mut rig = warm(&SECTION.replace("window_ms: 160", "window_ms: 16000"));
    for _ in 0..1_700 {
        rig.quote((9_999, 100), (10_001, 100));
        rig.pass(10);
    }
    let mut sent = rig.quote((10_005, 900), (10_007, 100));
    let mut waits = Vec::new();
    for _ in 0..5 {
        assert!(rig.refuse(&sent[0]).is_empty());
        let mut waited = 0;
        sent = loop {
            waited += 10;
            let again = rig.pass(10);
            if !again.is_empty() {
                break again;
            }
        };
        waits.push(waited);
    }
    assert_eq!(waits, [20, 40, 80, 160, 320]);
}

#[test]
fn a_feature_takes_the_place_of_the_own_flow_unless_it_is_old_or_doubtful() {
    let section =
        SECTION.replace("{window", "{source: {feature: {set: flow, value: ofi, age_max_ms: 100}}, window");
    let mut rig = warm(&section);
    assert!(rig.features([150.0, 0.0], Quality::WARMING_UP).is_empty());
    assert!(rig.features([f64::NAN, 0.0], Quality::GOOD).is_empty());
    assert_eq!(short(&rig.features([150.0, 0.0], Quality::GOOD)), ["buy 20 @ 100.02 ioc"]);
    let mut rig = warm(&section);
    rig.features([99.0, 0.0], Quality::GOOD);
    // The depth falls, so that the same flow would be enough: but by then it is old.
    rig.pass(110);
    assert!(rig.quote((9_999, 1), (10_001, 1)).is_empty());
}
