//! What is not known, or not said, lets nothing new pass; cancels do.

use crate::support::*;
use book::{Books, Limits};
use bus::config::{InstrumentChoice, InstrumentName};
use bus::{
    FeatureRecord, FeatureSchema, FeatureSpec, OrderSide, Quality, Report, ReportKind, TimeInForce,
    TradingMode,
};
use std::sync::{Arc, Mutex};
use strategy::desk::{Desk, Features, OrderState};
use strategy::host::{Host, Output, Reconfigured};
use strategy::strategy::Strategy;
use tick::{Action, Flags, GapReason, Price, Side, StatusAction, Tick};

fn buy(host: &mut Host, quantity: u64) -> Result<bus::OrderId, &'static str> {
    let mut desk = host.desk("s").unwrap();
    let order = desk.submit(A, OrderSide::Buy, quantity, Price(9_990 * CENT), TimeInForce::Day);
    order.map_err(|denial| denial.reason.word())
}

fn said(number: u64, kind: ReportKind, id: bus::OrderId) -> Report {
    Report {
        number,
        id: Some(id),
        venue: "SIM".into(),
        strategy: "s".into(),
        symbol: "AAA".into(),
        publisher_id: A.publisher_id,
        instrument_id: A.instrument_id,
        side: Some(OrderSide::Buy),
        ..Report::new(kind, NOW)
    }
}

#[test]
fn halted_reducing_and_an_unknown_state_hold_back_what_is_new_and_let_cancels_pass() {
    let mut host = ready(vec![hosted("s", Silent)]);
    let order = buy(&mut host, 10).unwrap();
    host.report(NOW, &Report { leaves: 10, ..said(1, ReportKind::Accepted, order) });
    for (mode, reason) in
        [(Some(TradingMode::Halted), "halted"), (None, "halted"), (Some(TradingMode::Reducing), "reducing")]
    {
        host.trading(NOW, mode);
        assert_eq!(buy(&mut host, 11), Err(reason));
        assert_eq!(host.desk("s").unwrap().trading(), mode.unwrap_or(TradingMode::Halted));
    }
    host.trading(NOW, None);
    let mut desk = host.desk("s").unwrap();
    let cancel = desk.cancel(order).unwrap();
    assert_eq!(desk.cancel(order), Ok(cancel), "one on its way is enough");
    host.trading(NOW, Some(TradingMode::Active));
    assert!(buy(&mut host, 12).is_ok());
    let kinds: Vec<_> = host
        .outputs()
        .map(|output| match output {
            Output::Instruction(instruction) => instruction.id.to_string(),
            Output::Denied(report) => report.reason,
            Output::Again(_) => "again".into(),
            Output::Score(_) => "score".into(),
        })
        .collect();
    assert_eq!(kinds[1..4], ["halted".to_owned(), "reducing".to_owned(), cancel.to_string()]);
}

#[test]
fn what_is_not_told_yet_denies() {
    let bare_host = || bare(&risk(RISK), 1, Books::new(Limits::SMALL), vec![hosted("s", Silent)]);
    let mut host = bare_host();
    assert_eq!(buy(&mut host, 1), Err("unknown_instrument"));
    host.define(A, &row("AAA"));
    assert_eq!(buy(&mut host, 1), Err("not_rebuilt"));
    host.rebuilt();
    assert_eq!(buy(&mut host, 1), Err("halted"));
    host.trading(NOW, Some(TradingMode::Active));
    assert_eq!(buy(&mut host, 1), Err("not_trading"));
    let trading = StatusAction::Trading.0.into();
    host.tick(NOW, &Tick { action: Action::Status, size: trading, ..tick(A, NOW, 2) });
    assert_eq!(buy(&mut host, 1), Err("no_quote"));
    Market::opening().iter().for_each(|tick| host.tick(NOW, tick));
    assert!(buy(&mut host, 1).is_ok());
}

#[test]
fn a_gap_holds_back_what_is_new_until_the_book_is_cleared() {
    let mut host = ready(vec![hosted("s", Silent)]);
    host.tick(NOW, &Tick::gap(2, 1, 3, 9, NOW, GapReason::Lost));
    assert_eq!(buy(&mut host, 1), Err("bad_book"));
    Market::opening().iter().for_each(|tick| host.tick(NOW, tick));
    assert!(buy(&mut host, 1).is_ok());
}

#[test]
fn the_markets_state_lies_over_an_instruments_own_and_a_groups_takes_its_place() {
    let state = |key, status: StatusAction, codes: &[u8; 8]| Tick {
        action: Action::Status,
        size: status.0.into(),
        order_id: u64::from_le_bytes(*codes),
        flags: Flags::LAST,
        ..tick(key, NOW, 50)
    };
    let market = bus::config::InstrumentKey { publisher_id: 2, instrument_id: 0 };
    let mut host = ready(vec![hosted("s", Silent)]);
    host.tick(NOW, &state(market, StatusAction::Halt, b"W1\0\0\0\0\0\0"));
    assert_eq!(buy(&mut host, 1), Err("not_trading"));
    host.tick(NOW, &state(A, StatusAction::Trading, b"HT\0\0\0\0\0\0"));
    assert_eq!(buy(&mut host, 1), Err("not_trading"));
    host.tick(NOW, &state(market, StatusAction::Trading, b"SQ\0\0\0\0\0\0"));
    assert!(buy(&mut host, 1).is_ok());
    host.tick(NOW, &state(A, StatusAction::Halt, b"HH\0\0\0\0\0\0"));
    assert_eq!(buy(&mut host, 2), Err("not_trading"));

    // A product group's state is each of its instruments' own.
    host.define(A, &bus::InstrumentRow { group: "ES".into(), ..row("AAA") });
    host.tick(NOW, &state(market, StatusAction::Trading, b"NQ\0\0\0\0\0\0"));
    assert_eq!(buy(&mut host, 2), Err("not_trading"));
    host.tick(NOW, &state(market, StatusAction::Trading, b"ES\0\0\0\0\0\0"));
    assert!(buy(&mut host, 2).is_ok());
}

#[test]
fn a_short_sale_restriction_holds_until_its_venue_lifts_it() {
    let mut host = ready(vec![hosted("s", Silent)]);
    let short = |host: &mut Host, quantity| {
        let mut desk = host.desk("s").unwrap();
        let order = desk.submit(A, OrderSide::SellShort, quantity, Price(10_010 * CENT), TimeInForce::Day);
        order.map(|_| ()).map_err(|denial| denial.reason.word())
    };
    let restriction = |letter| Tick {
        action: Action::Status,
        size: StatusAction::SsrChange.0.into(),
        order_id: u64::from_le_bytes([b'Y', letter, 0, 0, 0, 0, 0, 0]),
        ..tick(A, NOW, 60)
    };
    assert_eq!(short(&mut host, 1), Ok(()));
    host.tick(NOW, &restriction(b'1'));
    assert_eq!(short(&mut host, 2), Err("short_sale_restricted"));
    host.tick(NOW, &restriction(b'0'));
    assert_eq!(short(&mut host, 2), Ok(()));
}

#[test]
fn an_instruction_that_nobody_answers_is_unknown_and_published_again_until_somebody_does() {
    let mut host = ready(vec![hosted("s", Silent)]);
    let order = buy(&mut host, 10).unwrap();
    let Some(Output::Instruction(sent)) = host.outputs().next() else { panic!() };
    host.time(NOW + 499 * MS);
    assert!(host.is_silent());
    for round in 1..=3 {
        host.time(NOW + round * 510 * MS);
        assert_eq!(host.outputs().collect::<Vec<_>>(), [Output::Again(sent.clone())]);
        assert_eq!(buy(&mut host, 11), Err("order_unknown"));
        host.outputs().for_each(drop);
        assert_eq!(host.desk("s").unwrap().open_order(order).unwrap().state, OrderState::Unknown);
    }
    host.report(NOW + 2_000 * MS, &Report { leaves: 10, ..said(1, ReportKind::Accepted, order) });
    host.time(NOW + 4_000 * MS);
    assert!(host.is_silent());
    assert_eq!(host.unanswered(), 0);
    // The quote is old by now; a newer one lets orders pass again.
    let add = Tick {
        action: Action::Add,
        side: Side::Bid,
        price: 9_951 * CENT,
        size: 1,
        order_id: 999,
        flags: Flags::LAST,
        ..tick(A, NOW + 4_000 * MS, 70)
    };
    host.tick(NOW + 4_000 * MS, &add);
    assert!(buy(&mut host, 11).is_ok());
}

#[test]
fn a_cancel_that_nobody_answers_makes_its_order_unknown_and_its_refusal_makes_it_known_again() {
    let mut host = ready(vec![hosted("s", Silent)]);
    let order = buy(&mut host, 10).unwrap();
    host.report(NOW, &Report { leaves: 10, ..said(1, ReportKind::Accepted, order) });
    let cancel = host.desk("s").unwrap().cancel(order).unwrap();
    host.time(NOW + 600 * MS);
    assert_eq!(buy(&mut host, 11), Err("order_unknown"));
    let refused = Report { of: Some(order), ..said(2, ReportKind::CancelRejected, cancel) };
    host.report(NOW + 600 * MS, &refused);
    assert!(buy(&mut host, 11).is_ok());
    let open = *host.desk("s").unwrap().open_order(order).unwrap();
    assert_eq!((open.state, open.cancelling, host.trouble()), (OrderState::Open, None, None));
}

#[test]
fn every_way_of_reporting_a_cancel_ends_the_order_and_what_waits() {
    for way in 0..3 {
        let mut host = ready(vec![hosted("s", Silent)]);
        let order = buy(&mut host, 10).unwrap();
        host.report(NOW, &Report { leaves: 10, ..said(1, ReportKind::Accepted, order) });
        let cancel = host.desk("s").unwrap().cancel(order).unwrap();
        let mut number = 1;
        let mut say = |host: &mut Host, report: Report| {
            number += 1;
            host.report(NOW, &Report { number, ..report });
        };
        match way {
            // Of the order, with the cancel before it.
            0 => {
                say(&mut host, Report { of: Some(order), leaves: 10, ..said(0, ReportKind::Sent, cancel) });
                say(&mut host, said(0, ReportKind::Cancelled, order));
            }
            // Of the order alone.
            1 => say(&mut host, said(0, ReportKind::Cancelled, order)),
            // Of the cancel, which names the order.
            _ => say(&mut host, Report { of: Some(order), ..said(0, ReportKind::Cancelled, cancel) }),
        }
        assert_eq!((host.open_orders(), host.unanswered(), host.trouble()), (0, 0, None), "way {way}");
    }
}

#[test]
fn an_order_that_was_cancelled_has_nothing_left_while_its_replacement_waits_for_an_answer() {
    let mut host = ready(vec![hosted("s", Silent)]);
    let order = buy(&mut host, 10).unwrap();
    host.report(NOW, &Report { leaves: 10, ..said(1, ReportKind::Accepted, order) });
    let mut desk = host.desk("s").unwrap();
    let cancel = desk.cancel(order).unwrap();
    let replacement = desk.replace(order, 20, Price(9_989 * CENT)).unwrap();
    host.time(NOW + 600 * MS);
    assert_eq!(host.desk("s").unwrap().open_order(order).unwrap().state, OrderState::Unknown);
    host.report(NOW, &Report { of: Some(order), ..said(2, ReportKind::Cancelled, cancel) });
    let open = *host.desk("s").unwrap().open_order(order).unwrap();
    assert_eq!((open.leaves, open.replacing.map(|replacing| replacing.id)), (0, Some(replacement)));
    assert_eq!(open.state, OrderState::Open);
    let refused = Report { of: Some(order), ..said(3, ReportKind::CancelRejected, replacement) };
    host.report(NOW, &refused);
    assert_eq!((host.open_orders(), host.unanswered(), host.trouble()), (0, 0, None));
}

#[test]
fn a_hole_in_the_reports_or_a_contradiction_holds_back_what_is_new_for_good() {
    let mut host = ready(vec![hosted("s", Silent)]);
    let order = buy(&mut host, 10).unwrap();
    host.report(NOW, &Report { leaves: 10, ..said(1, ReportKind::Accepted, order) });
    host.report(NOW, &Report { leaves: 10, ..said(1, ReportKind::Accepted, order) });
    assert_eq!((host.counts().repeated_reports, host.trouble()), (1, None));
    host.report(NOW, &Report { leaves: 10, ..said(4, ReportKind::Accepted, order) });
    assert_eq!(host.trouble().unwrap().to_string(), "reports 2 to 3 of SIM are missing");
    assert_eq!(buy(&mut host, 1), Err("not_rebuilt"));
    assert!(host.desk("s").unwrap().cancel(order).is_ok());

    let mut host = ready(vec![hosted("s", Silent)]);
    let order = buy(&mut host, 10).unwrap();
    let overfilled = Report {
        last_quantity: 11,
        last_price: Some(Price(9_990 * CENT)),
        filled: 11,
        ..said(1, ReportKind::Filled, order)
    };
    host.report(NOW, &overfilled);
    assert!(host.trouble().unwrap().to_string().contains("contradict"));
    assert_eq!(buy(&mut host, 1), Err("state_doubtful"));
    assert_eq!(host.desk("s").unwrap().position(A), 11);
}

#[test]
fn a_reason_is_told_once_a_second_with_how_often_it_was_in_between() {
    let mut host = ready(vec![hosted("s", Silent)]);
    host.trading(NOW, None);
    let told = |host: &mut Host| -> Vec<String> {
        let texts = host.outputs().map(|output| match output {
            Output::Denied(report) => report.text,
            _ => "sent".into(),
        });
        texts.collect()
    };
    (0..100).for_each(|_| assert!(buy(&mut host, 1).is_err()));
    assert_eq!(told(&mut host), [""]);
    host.time(NOW + 1_000 * MS);
    (0..100).for_each(|_| assert!(buy(&mut host, 1).is_err()));
    assert_eq!(told(&mut host), ["(and 99 more since the last one told)"]);
    assert_eq!(
        host.denials().map(|(reason, count)| (reason.word(), count)).collect::<Vec<_>>(),
        [("halted", 200)]
    );
}

/// Writes down what it was told.
struct Diary(Arc<Mutex<Vec<String>>>);

impl Strategy for Diary {
    fn on_tick(&mut self, desk: &mut Desk<'_>, tick: &Tick) {
        let good = desk.book(A).is_some_and(|book| book.is_good());
        self.0.lock().unwrap().push(format!("tick {} {good}", tick.sequence));
    }

    fn on_features(&mut self, desk: &mut Desk<'_>, features: &Features<'_>) {
        let latest = desk.features(features.key(), features.set()).unwrap();
        let index = latest.index("mid").unwrap();
        self.0.lock().unwrap().push(format!(
            "{} {} {}",
            features.set(),
            latest.value(index),
            latest.value(9)
        ));
    }

    fn on_time(&mut self, desk: &mut Desk<'_>) {
        self.0.lock().unwrap().push(format!("time {}", (desk.now_ns() - NOW) / MS));
    }
}

#[test]
fn strategies_hear_of_their_own_instruments_once_live_and_of_time_in_steps() {
    let diary = Arc::new(Mutex::new(Vec::new()));
    let mut hosted = hosted("s", Diary(Arc::clone(&diary)));
    hosted.instruments = InstrumentChoice::Listed(vec![InstrumentName::Symbol("AAA".into())]);
    let mut host = bare(&risk(RISK), 1, Books::new(Limits::SMALL), vec![hosted]);
    begin(&mut host);
    Market::opening().iter().for_each(|tick| host.tick(NOW, tick));
    assert!(diary.lock().unwrap().is_empty());
    host.go_live(NOW);
    for (at, key) in [(1, A), (2, B), (11, A), (30, B)] {
        host.tick(NOW + at * MS, &Tick { action: Action::Trade, size: 1, price: 1, ..tick(key, NOW, at) });
    }
    let schema = FeatureSchema {
        set: "fast".into(),
        features: vec![FeatureSpec { name: "mid".into(), unit: "price".into() }],
    };
    let values = 100.5f64.to_le_bytes();
    let record = FeatureRecord {
        number: 1,
        publisher_id: 2,
        instrument_id: 7,
        time_ns: NOW,
        channel_id: 1,
        sequence: 2,
        schema_id: schema.id(),
        quality: Quality::GOOD,
        values: &values,
    };
    host.features(NOW + 31 * MS, &record);
    assert!(!host.knows_schema(schema.id()));
    host.add_schema(schema.id(), schema);
    host.features(NOW + 31 * MS, &record);
    host.features(NOW + 31 * MS, &FeatureRecord { values: &[], ..record });
    let told = diary.lock().unwrap().clone();
    assert_eq!(told, ["time 0", "tick 1 true", "time 11", "tick 11 true", "time 30", "fast 100.5 NaN"]);
    let desk = host.desk("s").unwrap();
    let own: Vec<_> =
        desk.instruments().map(|own| (own.key, &*own.symbol, own.tick_size, own.multiplier)).collect();
    assert_eq!(own, [(A, "AAA", Some(Price(CENT)), Some(Price(1_000_000_000)))]);
    // Another instrument's book can be looked at, not traded.
    assert!(desk.book(B).is_some());
    let mut desk = host.desk("s").unwrap();
    let denial = desk.submit(B, OrderSide::Buy, 1, Price(9_990 * CENT), TimeInForce::Day).unwrap_err();
    assert_eq!(denial.reason.word(), "unknown_instrument");
}

#[test]
fn a_changed_configuration_keeps_positions_changes_limits_and_cancels_for_who_is_gone() {
    let mut host = ready(vec![hosted("s", Silent), hosted("t", Silent)]);
    let order = buy(&mut host, 100).unwrap();
    host.report(NOW, &Report { leaves: 100, ..said(1, ReportKind::Accepted, order) });
    let fill = Report {
        last_quantity: 40,
        last_price: Some(Price(9_990 * CENT)),
        filled: 40,
        leaves: 60,
        ..said(2, ReportKind::Filled, order)
    };
    host.report(NOW, &fill);
    host.outputs().for_each(drop);
    let choice = InstrumentChoice::All;
    let strategy = |name: &str| Reconfigured {
        name: name.into(),
        venue: "SIM".into(),
        instruments: choice.clone(),
        strategy: None,
    };
    let tight = risk(&RISK.replace("order_quantity_max: 500", "order_quantity_max: 5"));
    host.configure(NOW, &tight, vec![strategy("s"), strategy("t")]);
    assert!(host.is_silent());
    assert_eq!(buy(&mut host, 6), Err("order_quantity"));
    host.outputs().for_each(drop);

    host.configure(NOW, &tight, vec![strategy("t")]);
    let cancels: Vec<_> = host.outputs().collect();
    let [Output::Instruction(cancel)] = &cancels[..] else { panic!("{cancels:?}") };
    assert_eq!(cancel.action, bus::OrderAction::Cancel { of: order });
    assert_eq!(buy(&mut host, 1), Err("unknown_instrument"));
    // It comes back, and finds what it owns.
    let back = Reconfigured { strategy: Some(Box::new(Silent)), ..strategy("s") };
    host.configure(NOW, &tight, vec![strategy("t"), back]);
    assert_eq!(host.desk("s").unwrap().position(A), 40);
    assert!(buy(&mut host, 1).is_ok());
}

#[test]
fn an_order_whose_instruction_is_gone_is_taken_over_and_can_be_cancelled() {
    let mut host = ready(vec![hosted("s", Silent)]);
    let id = "lost00000000id".parse().unwrap();
    host.report(NOW, &Report { leaves: 10, ..said(1, ReportKind::Sent, id) });
    let open = *host.desk("s").unwrap().open_order(id).unwrap();
    assert_eq!((open.quantity, open.price), (10, Price::UNDEFINED));
    assert_eq!((host.counts().foreign_reports, host.trouble()), (1, None));
    assert!(host.desk("s").unwrap().cancel(id).is_ok());
    host.report(NOW, &said(2, ReportKind::Cancelled, id));
    assert_eq!((host.open_orders(), host.unanswered()), (0, 0));
}
