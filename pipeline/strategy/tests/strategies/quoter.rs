//! The quoter: where it quotes, when it moves, when it pulls, and what it does with refusals.

use crate::support::{Rig, rig, short};
use bus::{Instruction, TradingMode};
use tick::StatusAction;

const SECTION: &str = "{half_spread_ticks: 2, skew_ticks: 4, size: 100, position_max: 300, requote_ticks: 2, quiet_ms: 1000, back_off_ms: 100}";

/// A quoter whose two quotes around 100.00 stand: bid and ask.
fn quoting(section: &str) -> (Rig, Instruction, Instruction) {
    let mut rig = rig("quoter", section);
    let sent = rig.quote((9_999, 500), (10_001, 500));
    assert_eq!(short(&sent), ["buy 100 @ 99.98 day", "sell_short 100 @ 100.02 day"]);
    for instruction in &sent {
        assert!(rig.accept(instruction).is_empty());
    }
    (rig, sent[0].clone(), sent[1].clone())
}

#[test]
fn it_quotes_half_a_spread_away_from_the_middle_on_both_sides() {
    quoting(SECTION);
}

#[test]
fn a_middle_between_ticks_moves_both_quotes_outwards() {
    let mut rig = rig("quoter", SECTION);
    let sent = rig.quote((9_998, 500), (10_001, 500));
    assert_eq!(short(&sent), ["buy 100 @ 99.97 day", "sell_short 100 @ 100.02 day"]);
}

#[test]
fn the_microprice_leans_to_the_side_with_less() {
    let mut rig = rig("quoter", &SECTION.replace("{half", "{fair: microprice, half"));
    // (99.98 × 100 + 100.02 × 300) / 400 = 100.01
    let sent = rig.quote((9_998, 300), (10_002, 100));
    assert_eq!(short(&sent), ["buy 100 @ 99.99 day", "sell_short 100 @ 100.03 day"]);
}

#[test]
fn a_quote_is_replaced_only_when_it_is_far_enough_from_where_it_should_be() {
    let (mut rig, ..) = quoting(SECTION);
    assert!(rig.quote((10_000, 500), (10_002, 500)).is_empty(), "one tick: keeps its place in the queue");
    let sent = rig.quote((10_001, 500), (10_003, 500));
    assert_eq!(short(&sent), ["replace 100 @ 100.00", "replace 100 @ 100.04"]);
}

#[test]
fn nothing_more_is_sent_for_a_side_before_its_message_is_answered() {
    let mut rig = rig("quoter", SECTION);
    let first = rig.quote((9_999, 500), (10_001, 500));
    assert!(rig.quote((10_009, 500), (10_011, 500)).is_empty());
    assert!(rig.accept(&first[0]).is_empty(), "the own ask is in the way");
    let ask = rig.accept(&first[1]);
    assert_eq!(short(&ask), ["replace 100 @ 100.12"]);
    assert_eq!(short(&rig.accept(&ask[0])), ["replace 100 @ 100.08"]);
}

#[test]
fn a_quote_never_meets_the_own_quote_on_the_other_side() {
    let (mut rig, ..) = quoting(SECTION);
    // The market falls far: the ask would come down to the bid that still stands.
    let sent = rig.quote((9_989, 500), (9_991, 500));
    assert_eq!(short(&sent), ["replace 100 @ 99.88"], "the bid goes first");
    assert!(rig.pass(10).is_empty(), "the ask waits for it");
    let then = rig.accept(&sent[0]);
    assert_eq!(short(&then), ["replace 100 @ 99.92"]);
    assert_eq!(rig.denied, 0, "the risk engine had nothing to deny");
}

#[test]
fn the_position_moves_both_quotes_against_itself_and_bounds_their_size() {
    let (mut rig, bid, _) = quoting(SECTION);
    // A third of the most that may be held moves both by a third of four ticks.
    let sent = rig.fill(bid.id, 100);
    assert_eq!(
        short(&sent),
        ["buy 100 @ 99.96 day"],
        "long 100: 1.33 ticks lower, then outwards; the ask is one tick off"
    );
    rig.accept(&sent[0]);
    let sent = rig.fill(sent[0].id, 100);
    assert_eq!(short(&sent), ["buy 100 @ 99.95 day", "replace 100 @ 100.00"]);
    rig.accept(&sent[0]);
    rig.accept(&sent[1]);
    let sent = rig.fill(sent[0].id, 60);
    assert!(sent.iter().all(|instruction| !short(std::slice::from_ref(instruction))[0].starts_with("buy")));
    assert_eq!(rig.position(), 260);
    let open: u64 =
        rig.open().iter().filter(|order| order.side == bus::OrderSide::Buy).map(|order| order.leaves).sum();
    assert_eq!(open, 40, "what is left of the bid just fits");
}

#[test]
fn quotes_are_pulled_on_a_bad_book_and_come_back_with_a_good_one() {
    let (mut rig, ..) = quoting(SECTION);
    let sent = rig.gap();
    assert_eq!(short(&sent), ["cancel", "cancel"]);
    for instruction in &sent {
        assert!(rig.accept(instruction).is_empty());
    }
    rig.clear();
    assert_eq!(rig.quote((9_999, 500), (10_001, 500)).len(), 2);
}

#[test]
fn quotes_are_pulled_when_the_market_is_quiet_when_trading_stops_and_outside_the_hours() {
    let (mut rig, ..) = quoting(SECTION);
    assert!(rig.pass(1_000).is_empty());
    assert_eq!(short(&rig.pass(10)), ["cancel", "cancel"], "no tick for longer than a second");

    for mode in [TradingMode::Reducing, TradingMode::Halted] {
        let (mut rig, ..) = quoting(SECTION);
        let mut sent = rig.trading(mode);
        sent.extend(rig.pass(10));
        assert_eq!(short(&sent), ["cancel", "cancel"], "{mode}");
    }

    let (mut rig, ..) = quoting(SECTION);
    assert_eq!(short(&rig.status(StatusAction::Halt)), ["cancel", "cancel"]);

    let hours = SECTION.replace("{half", "{hours: {from: '14:00', until: '15:01'}, half");
    let (mut rig, ..) = quoting(&hours.replace("quiet_ms: 1000", "quiet_ms: 3600000"));
    assert!(rig.pass(59_990).is_empty());
    assert_eq!(short(&rig.pass(10)), ["cancel", "cancel"], "it is 15:01");
}

#[test]
fn a_refused_order_is_tried_again_after_a_pause_that_doubles() {
    let mut rig = rig("quoter", SECTION);
    let sent = rig.quote((9_999, 500), (10_001, 500));
    rig.accept(&sent[1]);
    let mut bid = sent[0].clone();
    for wait_ms in [100, 200, 400] {
        assert!(rig.refuse(&bid).is_empty());
        let mut waited = 0;
        bid = loop {
            waited += 10;
            let again = rig.pass(10);
            if let [again] = &again[..] {
                break again.clone();
            }
            assert!(again.is_empty() && waited <= wait_ms);
        };
        assert_eq!(waited, wait_ms);
        rig.quote((9_999, 500), (10_001, 500));
    }
}

#[test]
fn a_cancel_that_is_refused_is_asked_again_after_a_pause() {
    let (mut rig, ..) = quoting(SECTION);
    let sent = rig.gap();
    assert!(rig.refuse(&sent[0]).is_empty());
    assert!(rig.pass(90).is_empty());
    assert_eq!(short(&rig.pass(10)), ["cancel"]);
}

#[test]
fn a_sale_of_what_is_owned_is_no_short_sale() {
    let (mut rig, bid, ask) = quoting(SECTION);
    let sent = rig.fill(bid.id, 100);
    rig.accept(&sent[0]);
    assert_eq!(short(&rig.end(ask.id)), ["sell 100 @ 100.01 day"]);
}
