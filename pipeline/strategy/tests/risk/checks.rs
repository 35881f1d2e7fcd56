//! Each check at, below and above its limit.

use crate::support::*;
use bus::OrderSide::{Buy, Sell, SellShort};
use bus::{OrderAction, ReportKind};
use strategy::risk::{Engine, Followed, Reason, State};
use tick::{Price, StatusAction};

fn cents(cents: i64) -> i64 {
    cents * 10_000_000
}

/// Decides one order of an engine made for it.
fn alone(changes: &[(&str, &str)], side: bus::OrderSide, quantity: u64, price: i64) -> Option<Reason> {
    reason(ready(&document(changes)).check(&order(1, A, side, quantity, price), NOW))
}

#[test]
fn a_price_may_be_at_the_collar_and_no_further() {
    // The middle is 100: 4.00 by price; 5 % is further, 3 % nearer.
    let narrow = [("collar_basis_points: 500", "collar_basis_points: 300")];
    for (away, by_price, by_percent) in [
        (cents(300), None, None),
        (cents(300) + 1, None, Some(Reason::CollarPercent)),
        (cents(400), None, Some(Reason::CollarPercent)),
        (cents(400) + 1, Some(Reason::CollarPrice), Some(Reason::CollarPrice)),
    ] {
        for (side, price) in [(Buy, 100 * UNIT + away), (Sell, 100 * UNIT - away)] {
            assert_eq!(alone(&[], side, 10, price), by_price, "{price}");
            assert_eq!(alone(&narrow, side, 10, price), by_percent, "{price}");
        }
    }
}

#[test]
fn a_middle_between_two_units_is_not_rounded() {
    let exact = [("collar_price: '4.00'", "collar_price: '0.000000001'")];
    let mut engine = ready(&document(&exact));
    quote(&mut engine, A, 100 * UNIT, 100 * UNIT + 1, NOW);
    // Half a unit away on either side; then one and a half.
    assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 100 * UNIT + 1), NOW)), None);
    assert_eq!(reason(engine.check(&order(2, A, Buy, 2, 100 * UNIT), NOW)), None);
    let denial = engine.check(&order(3, A, Buy, 3, 100 * UNIT - 1), NOW).unwrap_err();
    assert_eq!(denial.reason, Reason::CollarPrice);
    assert_eq!(denial.to_string(), "0.0000000015, limit 0.000000001");
}

#[test]
fn an_order_may_be_as_large_as_its_limits_and_no_larger() {
    assert_eq!(alone(&[("notional_max: 45000", "notional_max: 90000")], Buy, 500, 100 * UNIT), None);
    assert_eq!(alone(&[], Buy, 501, 100 * UNIT), Some(Reason::OrderQuantity));
    assert_eq!(alone(&[], Buy, 450, 100 * UNIT), None);
    assert_eq!(alone(&[], Buy, 450, 100 * UNIT + 1), Some(Reason::OrderNotional));
    assert_eq!(alone(&[], Sell, 449, 100 * UNIT), None);
}

#[test]
fn open_orders_count_as_if_they_had_traded() {
    let mut engine = ready(&document(&[("exposure_max: 100000", "exposure_max: 140000")]));
    assert_eq!(reason(engine.check(&order(1, A, Buy, 400, 99 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(2, A, Buy, 401, 99 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(3, A, Buy, 200, 99 * UNIT), NOW)), Some(Reason::Position));
    assert_eq!(reason(engine.check(&order(4, A, Buy, 199, 99 * UNIT), NOW)), None);
    // The other side counts by itself.
    assert_eq!(reason(engine.check(&order(5, A, SellShort, 400, 101 * UNIT), NOW)), None);
    assert_eq!(engine.report(&report(ReportKind::Rejected, 4)), Followed::Booked);
    assert_eq!(reason(engine.check(&order(6, A, Buy, 199, 98 * UNIT), NOW)), None, "a reject gives back");
}

#[test]
fn exposure_is_valued_at_the_dearer_side_exactly() {
    // 10 × 100.01 = 1000.10.
    let (fits, not) = ("exposure_max: 1000", "exposure_max: 1001");
    assert_eq!(alone(&[("exposure_max: 100000", fits)], Buy, 10, 100 * UNIT), Some(Reason::Exposure));
    assert_eq!(alone(&[("exposure_max: 100000", not)], Buy, 10, 100 * UNIT), None);
    assert_eq!(alone(&[("exposure_max: 150000", fits)], Buy, 10, 100 * UNIT), Some(Reason::ExposureTotal));
    assert_eq!(alone(&[("exposure_max: 150000", not)], Buy, 10, 100 * UNIT), None);
    assert_eq!(
        alone(&[("{position_max: 1500", "{position_max: 9")], Buy, 10, 100 * UNIT),
        Some(Reason::PositionTotal)
    );
    assert_eq!(alone(&[("{position_max: 1500", "{position_max: 10")], Buy, 10, 100 * UNIT), None);
}

#[test]
fn so_many_orders_may_be_open_and_no_more() {
    let mut engine = ready(&document(&[]));
    for number in 1..=4 {
        assert_eq!(reason(engine.check(&order(number, A, Buy, number, 99 * UNIT), NOW)), None);
    }
    assert_eq!(reason(engine.check(&order(5, A, Buy, 5, 99 * UNIT), NOW)), Some(Reason::OpenOrders));
    assert_eq!(reason(engine.check(&order(6, B, Buy, 5, 99 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(7, B, Buy, 6, 99 * UNIT), NOW)), Some(Reason::OpenOrdersTotal));
}

#[test]
fn messages_pass_as_the_bucket_fills_and_cancels_always() {
    let mut engine = ready(&document(&[]));
    assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), NOW)), None);
    for number in 2..=20 {
        assert_eq!(reason(engine.check(&cancel(number, A, 1), NOW)), None);
    }
    assert_eq!(reason(engine.check(&order(30, A, Buy, 2, 99 * UNIT), NOW)), Some(Reason::MessageRate));
    let (early, on_time) = (NOW + 10 * MS - 1, NOW + 10 * MS);
    assert_eq!(reason(engine.check(&order(30, A, Buy, 2, 99 * UNIT), early)), Some(Reason::MessageRate));
    assert_eq!(reason(engine.check(&order(30, A, Buy, 2, 99 * UNIT), on_time)), None);
    let total =
        [("messages_per_second: 1000, message_burst: 100", "messages_per_second: 1, message_burst: 1")];
    let mut engine = ready(&document(&total));
    assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(2, B, Buy, 1, 99 * UNIT), NOW)), Some(Reason::MessageRateTotal));
}

#[test]
fn the_same_order_is_a_duplicate_within_the_window_and_its_id_for_ever() {
    let mut engine = ready(&document(&[]));
    let same = |number| order(number, A, Buy, 5, 99 * UNIT);
    assert_eq!(reason(engine.check(&same(1), NOW)), None);
    assert_eq!(reason(engine.check(&same(1), NOW)), Some(Reason::DuplicateId));
    assert_eq!(reason(engine.check(&same(2), NOW + 500 * MS - 1)), Some(Reason::DuplicateOrder));
    assert_eq!(reason(engine.check(&order(3, A, Buy, 6, 99 * UNIT), NOW + 1)), None);
    assert_eq!(reason(engine.check(&order(4, A, Buy, 5, 99 * UNIT + 1), NOW + 1)), None);
    assert_eq!(reason(engine.check(&same(2), NOW + 500 * MS)), None);
    engine.report(&report(ReportKind::Rejected, 1));
    assert_eq!(reason(engine.check(&same(1), NOW + 1_999 * MS)), Some(Reason::DuplicateId));
}

#[test]
fn an_order_must_not_trade_with_an_own_one() {
    let mut engine = ready(&document(&[]));
    assert_eq!(reason(engine.check(&order(1, A, SellShort, 5, 101 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(2, A, Buy, 5, 101 * UNIT), NOW)), Some(Reason::SelfMatch));
    assert_eq!(reason(engine.check(&order(2, A, Buy, 5, 101 * UNIT - 1), NOW)), None);
    assert_eq!(reason(engine.check(&replace(3, A, 2, 5, 101 * UNIT), NOW)), Some(Reason::SelfMatch));
    assert_eq!(reason(engine.check(&order(4, B, Buy, 5, 101 * UNIT), NOW)), None, "another instrument");
    // A cancel that is not confirmed leaves it standing; a replacement stands at both prices.
    engine.check(&cancel(5, A, 1), NOW).unwrap();
    assert_eq!(reason(engine.check(&replace(6, A, 2, 5, 101 * UNIT), NOW)), Some(Reason::SelfMatch));
    engine.report(&report(ReportKind::Cancelled, 1));
    assert_eq!(reason(engine.check(&replace(6, A, 2, 5, 101 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(7, A, Sell, 5, 101 * UNIT), NOW)), Some(Reason::SelfMatch));
}

#[test]
fn what_is_restricted_is_not_traded_and_not_sold_short() {
    let mut engine = ready(&document(&[]));
    assert_eq!(reason(engine.check(&order(1, (2, 40), Buy, 1, 99 * UNIT), NOW)), Some(Reason::Restricted));
    let key = (2, 41);
    engine.carry_in(2, 41, 10, Price(100 * UNIT));
    let short = Some(Reason::ShortSaleRestricted);
    assert_eq!(reason(engine.check(&order(2, key, SellShort, 1, 101 * UNIT), NOW)), short);
    assert_eq!(reason(engine.check(&order(3, key, Sell, 11, 101 * UNIT), NOW)), short);
    assert_eq!(reason(engine.check(&order(4, key, Sell, 10, 101 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(5, key, Sell, 1, 101 * UNIT), NOW)), short, "sold already");
    // The venue's own restriction, until it is known which way it changed.
    engine.status(A.0, A.1, StatusAction::SsrChange);
    assert_eq!(reason(engine.check(&order(6, A, SellShort, 1, 101 * UNIT), NOW)), short);
    engine.restrict_short_sale(A.0, A.1, false);
    assert_eq!(reason(engine.check(&order(6, A, SellShort, 1, 101 * UNIT), NOW)), None);
}

#[test]
fn the_session_opens_with_its_first_and_closes_before_its_last_minute() {
    let hour = 3_600_000 * MS;
    let cases = [
        (NOW - hour - hour / 2, None),
        (NOW - hour - hour / 2 - 1, Some(Reason::SessionClosed)),
        (NOW + 5 * hour - 1, None),
        (NOW + 5 * hour, Some(Reason::SessionClosed)),
        (NOW + 24 * hour, Some(Reason::SessionClosed)),
        (NOW + 7 * 24 * hour, None),
    ];
    for (time_ns, expected) in cases {
        let mut engine = ready(&document(&[]));
        quote(&mut engine, A, 99 * UNIT, 101 * UNIT, time_ns);
        assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), time_ns)), expected, "{time_ns}");
    }
    let overnight = [("open: '13:30', close: '20:00'", "open: '23:00', close: '22:00'")];
    let mut engine = ready(&document(&overnight));
    assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), NOW)), Some(Reason::SessionClosed));
    let friday = NOW + 24 * hour;
    quote(&mut engine, A, 99 * UNIT, 101 * UNIT, friday);
    assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), friday)), None);
}

#[test]
fn only_an_instrument_that_trades_is_traded() {
    for status in (0..=15).map(StatusAction) {
        let mut engine = ready(&document(&[]));
        engine.status(A.0, A.1, status);
        let keeps = [StatusAction::None, StatusAction::SsrChange, StatusAction::Trading].contains(&status);
        let expected = (!keeps).then_some(Reason::NotTrading);
        assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), NOW)), expected, "{status:?}");
    }
}

#[test]
fn a_quote_is_good_for_its_time_and_a_bad_book_for_none() {
    for (age, expected) in [(2_000 * MS, None), (2_000 * MS + 1, Some(Reason::StaleQuote))] {
        let decision = ready(&document(&[])).check(&order(1, A, Buy, 1, 99 * UNIT), NOW + age);
        assert_eq!(reason(decision), expected);
    }
    let mut engine = ready(&document(&[]));
    let ask =
        |engine: &mut Engine, number| reason(engine.check(&order(number, A, Buy, number, 99 * UNIT), NOW));
    engine.bad_book(A.0, A.1);
    assert_eq!(ask(&mut engine, 1), Some(Reason::BadBook));
    quote(&mut engine, A, 101 * UNIT, 99 * UNIT, NOW);
    assert_eq!(ask(&mut engine, 1), Some(Reason::BadBook), "crossed");
    quote(&mut engine, A, 99 * UNIT, 101 * UNIT, NOW);
    assert_eq!(ask(&mut engine, 1), None);
    quote(&mut engine, A, 99 * UNIT, i64::MAX, NOW + 5_000 * MS);
    assert_eq!(ask(&mut engine, 2), None, "a missing side leaves the last good quote, which gets older");
    quote(&mut engine, A, 99 * UNIT, 101 * UNIT, NOW + 1);
    assert_eq!(ask(&mut engine, 3), Some(Reason::Clock), "a quote from later");
}

#[test]
fn losses_stop_what_raises_risk_and_let_out_what_lowers_it() {
    // 100 bought at 100; marked at the bid. 10.00 down is exactly the limit.
    let cases = [(90 * UNIT, None), (90 * UNIT - 1, Some(Reason::Drawdown))];
    for (bid, expected) in cases {
        let mut engine = ready(&document(&[]));
        engine.carry_in(A.0, A.1, 100, Price(100 * UNIT));
        quote(&mut engine, A, bid, bid, NOW);
        // 0.00 at first, then lower: the peak is where it began, before the first quote's −1.00.
        assert_eq!(reason(engine.check(&order(1, A, Buy, 1, bid), NOW)), expected, "{bid}");
        assert_eq!(reason(engine.check(&order(2, A, Sell, 100, bid + 1), NOW)), None);
        assert_eq!(reason(engine.check(&order(3, A, Sell, 1, bid + 1), NOW)).is_some(), expected.is_some());
    }
    let total = [("drawdown_max: 2000", "drawdown_max: 500")];
    let mut engine = ready(&document(&total));
    engine.carry_in(B.0, B.1, 100, Price(105 * UNIT + cents(1)));
    assert_eq!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), NOW)), Some(Reason::DrawdownTotal));
}

#[test]
fn reducing_lets_pass_only_what_lowers_and_halted_only_cancels() {
    let mut engine = ready(&document(&[]));
    engine.carry_in(A.0, A.1, 10, Price(100 * UNIT));
    engine.check(&order(1, A, Buy, 5, 99 * UNIT), NOW).unwrap();
    engine.set_state(State::Reducing);
    let not = Some(Reason::Reducing);
    assert_eq!(reason(engine.check(&order(2, A, Buy, 1, 98 * UNIT), NOW)), not);
    assert_eq!(reason(engine.check(&order(2, A, Sell, 11, 101 * UNIT), NOW)), not, "would turn it");
    assert_eq!(reason(engine.check(&order(2, A, Sell, 6, 101 * UNIT), NOW)), None);
    assert_eq!(reason(engine.check(&order(3, A, Sell, 5, 101 * UNIT), NOW)), not);
    assert_eq!(reason(engine.check(&replace(3, A, 1, 4, 98 * UNIT), NOW)), not);
    assert_eq!(reason(engine.check(&replace(3, A, 2, 10, 101 * UNIT), NOW)), None);
    engine.set_state(State::Halted);
    assert_eq!(reason(engine.check(&order(4, A, Sell, 1, 101 * UNIT), NOW)), Some(Reason::Halted));
    assert_eq!(reason(engine.check(&replace(4, A, 1, 1, 98 * UNIT), NOW)), Some(Reason::Halted));
    assert_eq!(reason(engine.check(&cancel(4, A, 1), NOW)), None);
}

#[test]
fn what_is_not_known_denies() {
    let buy = |number| order(number, A, Buy, number, 99 * UNIT);
    let mut engine = Engine::new(&document(&[]));
    assert_eq!(reason(engine.check(&buy(1), NOW)), Some(Reason::NotRebuilt));
    assert_eq!(reason(engine.check(&cancel(2, A, 1), NOW)), None, "before that, a cancel may be of anything");
    engine.rebuilt();
    assert_eq!(reason(engine.check(&buy(1), NOW)), Some(Reason::UnknownInstrument));
    engine.define(A.0, A.1, "SYM", None);
    engine.status(A.0, A.1, StatusAction::Trading);
    assert_eq!(reason(engine.check(&buy(1), NOW)), Some(Reason::NoQuote));
    let mut other = buy(1);
    other.symbol = "MYS".into();
    assert_eq!(reason(engine.check(&other, NOW)), Some(Reason::SymbolMismatch));
    let unsaid = [("\n  multiplier: '1'", "")];
    assert_eq!(alone(&unsaid, Buy, 1, 99 * UNIT), Some(Reason::UnknownMultiplier));
    let mut engine = ready(&document(&unsaid));
    engine.define(A.0, A.1, "SYM", Some(Price(50 * UNIT)));
    assert_eq!(reason(engine.check(&buy(9), NOW)), None);
    assert_eq!(reason(engine.check(&buy(10), NOW)), Some(Reason::OrderNotional), "50 × 10 × 99 > 45000");
    let (start, end) = (DOCUMENT.find("default:").unwrap(), DOCUMENT.find("restricted:").unwrap());
    let none = DOCUMENT.replace(&DOCUMENT[start..end], "");
    let mut engine = ready(&bus::config::RiskDocument::parse(none.as_bytes()).unwrap());
    assert_eq!(reason(engine.check(&buy(1), NOW)), Some(Reason::NoLimits));
    let mut engine = ready(&document(&[]));
    let mut market = buy(1);
    let OrderAction::New { price, .. } = &mut market.action else { panic!() };
    *price = None;
    assert_eq!(reason(engine.check(&market, NOW)), Some(Reason::NoPrice));
    assert_eq!(reason(engine.check(&order(1, A, Buy, 0, 99 * UNIT), NOW)), Some(Reason::NoQuantity));
    assert_eq!(reason(engine.check(&replace(1, A, 77, 1, 99 * UNIT), NOW)), Some(Reason::UnknownOrder));
    assert_eq!(reason(engine.check(&cancel(1, A, 77), NOW)), Some(Reason::UnknownOrder));
    engine.check(&buy(1), NOW).unwrap();
    assert_eq!(reason(engine.check(&cancel(2, B, 1), NOW)), Some(Reason::ForeignOrder));
    assert_eq!(reason(engine.check(&replace(2, B, 1, 1, 99 * UNIT), NOW)), Some(Reason::ForeignOrder));
    assert_eq!(reason(engine.check(&buy(2), NOW - 1)), Some(Reason::Clock));
    // A position elsewhere that nobody can value.
    engine.carry_in(3, 1, 1, Price(UNIT));
    assert_eq!(reason(engine.check(&buy(2), NOW)), Some(Reason::ExposureUnvalued));
    assert_eq!(engine.total(), None);
    let mut engine = ready(&document(&[("order_ids_max: 1000", "order_ids_max: 1")]));
    engine.check(&buy(1), NOW).unwrap();
    assert_eq!(reason(engine.check(&buy(2), NOW)), Some(Reason::OrderIdsFull));
}

#[test]
fn numbers_that_do_not_fit_deny_and_do_not_wrap() {
    let most = "18446744073709551615";
    let wide: Vec<_> = [
        (
            "{position_max: 1500, exposure_max: 150000",
            format!("{{position_max: {most}, exposure_max: {most}"),
        ),
        ("order_quantity_max: 500", format!("order_quantity_max: {most}")),
        ("order_notional_max: 45000", format!("order_notional_max: {most}")),
        (
            "\n  position_max: 1000\n  exposure_max: 100000",
            format!("\n  position_max: {most}\n  exposure_max: {most}"),
        ),
        ("collar_price: '4.00'", "collar_price: '9223372036'".to_owned()),
    ]
    .into_iter()
    .collect();
    let changes: Vec<_> = wide.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let document = document(&changes);
    let largest = i64::MAX - 1;
    for (bid, price) in [(largest, largest), (i64::MIN, i64::MIN), (UNIT, UNIT)] {
        let mut engine = ready(&document);
        quote(&mut engine, A, bid, bid, NOW);
        let decision = engine.check(&order(1, A, Buy, u64::MAX, price), NOW);
        assert_eq!(reason(decision), if bid == UNIT { None } else { Some(Reason::Overflow) }, "{bid}");
        let standing = engine.standing(A.0, A.1).unwrap();
        assert_eq!(standing.open_buys, if bid == UNIT { i128::from(u64::MAX) } else { 0 });
    }
    let mut engine = ready(&document);
    engine.carry_in(A.0, A.1, i64::MIN, Price(i64::MIN));
    engine.carry_in(A.0, A.1, i64::MIN, Price(i64::MIN));
    engine.carry_in(A.0, A.1, i64::MIN, Price(i64::MIN));
    assert!(reason(engine.check(&order(1, A, Buy, 1, 99 * UNIT), NOW)).is_some());
}
