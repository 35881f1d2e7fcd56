//! A host that was made anew from what was kept is the one that was never stopped.

use crate::support::*;
use book::{Books, Limits};
use bus::config::{InstrumentChoice, InstrumentKey, OpeningPosition, PriceText};
use bus::{Instruction, OrderAction, OrderId, OrderSide, Report, ReportKind, StreamId};
use std::collections::BTreeMap;
use strategy::desk::{OpenOrder, OrderState};
use strategy::host::{Host, HostConfig, IdMaker, Output, Reconfigured, rebuild};
use strategy::risk::Standing;
use tick::Price;

/// What two hosts must agree on, of an instrument.
#[derive(PartialEq, Debug)]
struct State {
    orders: Vec<OpenOrder>,
    /// Each strategy's position and profit.
    owned: Vec<(i64, Option<i128>)>,
    /// What the risk engine believes.
    standing: Standing,
}

fn state(host: &mut Host, key: InstrumentKey) -> State {
    let (mut orders, mut owned) = (Vec::<OpenOrder>::new(), Vec::new());
    for name in ["first", "second"] {
        let desk = host.desk(name).unwrap();
        orders.extend(desk.open_orders(key));
        owned.push((desk.position(key), desk.profit(key)));
    }
    orders.sort_by_key(|order| order.id);
    let standing = host.risk().standing(key.publisher_id, key.instrument_id).unwrap();
    State { orders, owned, standing }
}

fn both() -> Vec<strategy::host::HostedStrategy> {
    vec![hosted("first", Restless), hosted("second", Restless)]
}

/// What the streams and the kept books give.
fn restarted(before: &Host, streams: &Streams, token: u64) -> Host {
    let mut bytes = Vec::new();
    before.books().save(&mut bytes);
    let limits = risk(RISK);
    let mut host = Host::new(HostConfig {
        risk: &limits,
        answer_within_ns: 500 * MS,
        opening: &[],
        opening_reports: &[],
        ids: IdMaker::new(token, 3),
        books: Books::restore(&bytes, Limits::SMALL).unwrap(),
        market: before.market().clone(),
        strategies: both(),
    });
    rebuild(&mut host, &streams.instructions, &streams.reports);
    begin(&mut host);
    host
}

/// Goes on without anybody who decides something.
fn silence(host: &mut Host, now_ns: u64) {
    let silent = |name: &str| Reconfigured {
        name: name.into(),
        venue: "SIM".into(),
        instruments: InstrumentChoice::All,
        strategy: Some(Box::new(Silent)),
    };
    host.configure(now_ns, &risk(RISK), vec![silent("first"), silent("second")]);
    assert!(host.is_silent());
}

/// Reads what is in the stream and publishes what that leads to, so that nothing is decided that no stream has.
fn catch_up(host: &mut Host, now_ns: u64, venue: &mut Venue, streams: &mut Streams) {
    for report in streams.unread() {
        host.report(now_ns, &report);
    }
    for output in host.outputs() {
        match output {
            Output::Instruction(instruction) | Output::Again(instruction) => {
                streams.instruct(now_ns, &instruction);
                venue.take(&instruction, now_ns);
            }
            Output::Denied(report) => streams.report(now_ns, &report),
            Output::Score(_) => {}
        }
    }
}

/// All that waits for an answer: what is published again when that is overdue.
fn waited_for(host: &mut Host, now_ns: u64) -> BTreeMap<OrderId, Instruction> {
    host.time(now_ns);
    let outputs = host.outputs().map(|output| match output {
        Output::Again(instruction) => (instruction.id, instruction),
        other => panic!("{other:?}"),
    });
    outputs.collect()
}

/// Takes out orders that are over but for the answer to a replacement: who reads back sees that it was published
/// after the end, so that it cannot come into force; who went on cannot see that, and counts it as open until it is
/// refused. How many they are.
fn take_ended(was: &mut State, is: &State) -> usize {
    let before = was.orders.len();
    was.orders.retain(|order| {
        let Some(replacing) = order.replacing.filter(|_| order.leaves == 0) else { return true };
        if is.orders.iter().any(|found| found.id == order.id) {
            return true;
        }
        let may_trade = i128::from(replacing.quantity - order.filled);
        let standing = &mut was.standing;
        *(if order.side == OrderSide::Buy { &mut standing.open_buys } else { &mut standing.open_sells }) -=
            may_trade;
        standing.open_orders -= 1;
        // It holds what may trade.
        standing.exposure = is.standing.exposure;
        false
    });
    before - was.orders.len()
}

/// What no report tells: how long an answer has been overdue.
fn but_for_time(state: &mut State) {
    for order in state.orders.iter_mut().filter(|order| order.state != OrderState::Open) {
        order.state = OrderState::Sending;
    }
}

#[test]
fn a_restart_at_any_moment_finds_the_orders_positions_and_profits_of_one_that_was_never_stopped() {
    let seeds = if std::env::var_os("FEEDPLANE_SOAK").is_some() { 400 } else { 40 };
    let (mut open, mut unanswered, mut too_late, mut ended, mut moot) = (0, 0, 0, 0, 0);
    for seed in 0..seeds {
        let mut host = ready(both());
        let (mut market, mut venue, mut streams) =
            (Market::new(seed), Venue::new(seed + 1), Streams::default());
        play(&mut host, &mut market, &mut venue, &mut streams, 300 + 40 * seed as usize % 3_000);
        catch_up(&mut host, market.time_ns, &mut venue, &mut streams);
        let mut again = restarted(&host, &streams, 5_000_000 + seed);
        assert_eq!((host.trouble(), again.trouble()), (None, None), "seed {seed}");
        for key in [A, B] {
            let (mut was, mut is) = (state(&mut host, key), state(&mut again, key));
            open += is.orders.len();
            ended += take_ended(&mut was, &is);
            but_for_time(&mut was);
            but_for_time(&mut is);
            assert_eq!(is, was, "seed {seed}");
        }

        // Both wait for the same, but for cancels of orders that are over for one of them: these change nothing.
        silence(&mut host, market.time_ns);
        silence(&mut again, market.time_ns);
        let overdue_ns = market.time_ns + 600 * MS;
        again.go_live(market.time_ns);
        let (was, is) = (waited_for(&mut host, overdue_ns), waited_for(&mut again, overdue_ns));
        unanswered += is.len();
        for instruction in was.values().chain(is.values()) {
            if was.get(&instruction.id) != is.get(&instruction.id) {
                let OrderAction::Cancel { of } = instruction.action else { panic!("{seed} {instruction:?}") };
                let is_open = |host: &mut Host| host.risk().is_open(&of);
                assert!(!is_open(&mut host) || !is_open(&mut again), "seed {seed} {instruction:?}");
                moot += 1;
            }
        }

        let is_new = |instruction: &Instruction| matches!(instruction.action, OrderAction::New { .. });
        if is.values().any(is_new) {
            assert!(is_unsure(&mut host) && is_unsure(&mut again), "seed {seed}");
        }

        // All is answered: now they agree in everything, and nothing is unknown or waited for.
        for report in std::mem::take(&mut venue.waiting) {
            host.report(overdue_ns, &report);
            again.report(overdue_ns, &report);
        }
        for key in [A, B] {
            let (was, is) = (state(&mut host, key), state(&mut again, key));
            assert_eq!(is, was, "seed {seed}");
            assert!(is.orders.iter().all(|order| {
                order.state == OrderState::Open && order.replacing.is_none() && order.cancelling.is_none()
            }));
        }
        for host in [&mut host, &mut again] {
            assert_eq!((host.unanswered(), host.trouble()), (0, None), "seed {seed}");
            assert!(!is_unsure(host), "seed {seed}");
        }
        let mut counted = ready(both());
        too_late += rebuild(&mut counted, &streams.instructions, &streams.reports).too_late;
    }
    eprintln!(
        "{seeds} restarts: {open} open orders, {unanswered} unanswered, {too_late} replacements too late, \
         {ended} orders over but for the answer to one, {moot} cancels that one of the two waits for"
    );
    assert!(open > 20 && unanswered > 5, "{open} {unanswered}");
}

/// Whether an order is denied because the fate of another is unknown.
fn is_unsure(host: &mut Host) -> bool {
    let mut desk = host.desk("first").unwrap();
    let asked = desk.submit(A, OrderSide::Buy, 1, Price(9_990 * CENT), bus::TimeInForce::Day);
    asked.is_err_and(|denial| denial.reason.word() == "order_unknown")
}

#[test]
fn what_nobody_answered_is_published_again_with_the_same_bytes_and_holds_back_what_is_new() {
    let mut host = ready(both());
    let (mut market, mut venue, mut streams) = (Market::new(3), Venue::new(4), Streams::default());
    play(&mut host, &mut market, &mut venue, &mut streams, 500);
    // The gateway is gone: instructions go out, no answer comes.
    let mut lost = Vec::new();
    for _ in 0..40 {
        let tick = market.tick();
        host.tick(tick.ts_recv, &tick);
        for output in host.outputs().collect::<Vec<_>>() {
            if let Output::Instruction(instruction) = output {
                streams.instruct(tick.ts_recv, &instruction);
                lost.push(instruction);
            }
        }
    }
    assert!(!lost.is_empty());
    let mut again = restarted(&host, &streams, 6_000_000);
    again.go_live(market.time_ns + 1);
    let published: Vec<_> = again
        .outputs()
        .filter_map(|output| match output {
            Output::Again(instruction) => Some(instruction),
            _ => None,
        })
        .collect();
    for instruction in &lost {
        assert!(published.contains(instruction), "{instruction:?}");
    }
    let is_order =
        |instruction: &&bus::Instruction| matches!(instruction.action, bus::OrderAction::New { .. });
    if lost.iter().any(|instruction| is_order(&instruction)) {
        let mut desk = again.desk("first").unwrap();
        let denial =
            desk.submit(A, bus::OrderSide::Buy, 1, Price(9_990 * CENT), bus::TimeInForce::Day).unwrap_err();
        assert_eq!(denial.reason.word(), "order_unknown");
    }
}

#[test]
fn ids_are_never_made_twice_even_by_an_owner_with_the_same_token() {
    let mut host = ready(both());
    let (mut market, mut venue, mut streams) = (Market::new(9), Venue::new(9), Streams::default());
    play(&mut host, &mut market, &mut venue, &mut streams, 3_000);
    let mut again = restarted(&host, &streams, 1_767_279_000_000_000);
    again.go_live(market.time_ns);
    play(&mut again, &mut market, &mut venue, &mut streams, 3_000);
    let mut seen = std::collections::BTreeMap::new();
    for (_, instruction) in &streams.instructions {
        let before = seen.insert(instruction.id, instruction.clone());
        assert!(before.is_none_or(|before| before == *instruction), "{instruction:?}");
    }
    assert!(seen.len() > 500);
}

#[test]
fn an_opening_position_is_owned_by_its_strategy_and_counts_for_the_limits() {
    let limits = risk(RISK);
    let opening = [OpeningPosition {
        strategy: "first".into(),
        instrument: A,
        position: -600,
        price: PriceText(Price(10_100 * CENT)),
    }];
    let mut host = Host::new(HostConfig {
        risk: &limits,
        answer_within_ns: 500 * MS,
        opening: &opening,
        opening_reports: &[],
        ids: IdMaker::new(1, 0),
        books: Books::new(Limits::SMALL),
        market: Default::default(),
        strategies: both(),
    });
    begin(&mut host);
    Market::opening().iter().for_each(|tick| host.tick(NOW, tick));
    host.go_live(NOW);
    let desk = host.desk("first").unwrap();
    // Short 600 at 101.00, to be bought back at 100.50.
    assert_eq!((desk.position(A), desk.profit(A).unwrap() / 1_000_000_000_000_000_000), (-600, 300));
    assert_eq!(host.desk("second").unwrap().position(A), 0);
    let mut desk = host.desk("second").unwrap();
    let sell = |desk: &mut strategy::desk::Desk<'_>, quantity| {
        desk.submit(A, bus::OrderSide::Sell, quantity, Price(10_000 * CENT), bus::TimeInForce::Day)
    };
    assert_eq!(sell(&mut desk, 401).unwrap_err().reason.word(), "position");
    assert!(sell(&mut desk, 400).is_ok());
}

#[test]
fn a_stream_of_reports_without_its_beginning_lets_nothing_new_pass() {
    let mut host = ready(both());
    let (mut market, mut venue, mut streams) = (Market::new(1), Venue::new(2), Streams::default());
    play(&mut host, &mut market, &mut venue, &mut streams, 1_000);
    for cut in [1, 5, streams.reports.len() / 2] {
        let reports: Vec<_> =
            streams.reports.iter().filter(|(_, report)| report.number > 0).cloned().collect();
        let cut = Streams {
            instructions: streams.instructions.clone(),
            reports: reports[cut..].to_vec(),
            ..Streams::default()
        };
        let mut again = restarted(&host, &cut, 7_000_000);
        let trouble = again.trouble().unwrap().to_string();
        assert!(trouble.contains("missing"), "{trouble}");
        again.go_live(market.time_ns);
        let mut desk = again.desk("first").unwrap();
        let denial =
            desk.submit(A, bus::OrderSide::Buy, 1, Price(9_990 * CENT), bus::TimeInForce::Day).unwrap_err();
        assert_eq!(denial.reason.word(), "not_rebuilt");
    }
}

#[test]
fn reports_that_are_in_the_opening_positions_are_neither_missed_nor_counted_again() {
    let limits = risk(RISK);
    let mut host = Host::new(HostConfig {
        risk: &limits,
        answer_within_ns: 500 * MS,
        opening: &[],
        opening_reports: &[("SIM".into(), 7)],
        ids: IdMaker::new(1, 0),
        books: Books::new(Limits::SMALL),
        market: Default::default(),
        strategies: both(),
    });
    begin(&mut host);
    let trade = |number| Report {
        number,
        id: Some(format!("old{number}").parse().unwrap()),
        venue: "SIM".into(),
        strategy: "first".into(),
        symbol: "AAA".into(),
        publisher_id: 2,
        instrument_id: 7,
        side: Some(bus::OrderSide::Buy),
        last_quantity: 5,
        last_price: Some(Price(9_990 * CENT)),
        filled: 5,
        ..Report::new(ReportKind::Filled, NOW)
    };
    for number in [6, 7, 8] {
        host.report(NOW, &trade(number));
    }
    assert_eq!((host.desk("first").unwrap().position(A), host.trouble()), (5, None));
    host.report(NOW, &trade(10));
    assert_eq!(host.trouble().unwrap().to_string(), "reports 9 to 9 of SIM are missing");
}

#[test]
fn a_replacement_that_crossed_with_the_end_of_its_order_is_not_booked_twice() {
    let mut host = ready(vec![hosted("first", Silent)]);
    let mut streams = Streams::default();
    let mut desk = host.desk("first").unwrap();
    let side = bus::OrderSide::Buy;
    let order = desk.submit(A, side, 10, Price(9_990 * CENT), bus::TimeInForce::Day).unwrap();
    let replacement = desk.replace(order, 20, Price(9_989 * CENT)).unwrap();
    let instructions: Vec<_> = host.outputs().collect();
    let [Output::Instruction(new), Output::Instruction(replace)] = &instructions[..] else { panic!() };
    let report = |number, kind, id| Report {
        number,
        id: Some(id),
        venue: "SIM".into(),
        strategy: "first".into(),
        symbol: "AAA".into(),
        publisher_id: 2,
        instrument_id: 7,
        side: Some(side),
        ..Report::new(kind, NOW)
    };
    let fill = Report {
        last_quantity: 10,
        last_price: Some(Price(9_990 * CENT)),
        filled: 10,
        ..report(2, ReportKind::Filled, order)
    };
    streams.instruct(NOW, new);
    streams.report(NOW, &Report { leaves: 10, ..report(1, ReportKind::Sent, order) });
    // The trade is in the stream before the replacement, and was not read when that was made.
    streams.report(NOW, &fill);
    streams.instruct(NOW + MS, replace);
    let sent = Report { of: Some(order), leaves: 20, ..report(3, ReportKind::Sent, replacement) };
    let rejected = Report { of: Some(order), ..report(4, ReportKind::Rejected, replacement) };
    streams.report(NOW + 2 * MS, &sent);
    for reports in [vec![], vec![&rejected]] {
        let mut streams = Streams {
            instructions: streams.instructions.clone(),
            reports: streams.reports.clone(),
            ..Streams::default()
        };
        reports
            .iter()
            .for_each(|report| streams.reports.push((StreamId { ms: u64::MAX, seq: 0 }, (*report).clone())));
        let mut again = ready(vec![hosted("first", Silent)]);
        let rebuilt = rebuild(&mut again, &streams.instructions, &streams.reports);
        assert_eq!((rebuilt.instructions, rebuilt.too_late), (2, 1));
        assert_eq!(again.trouble(), None);
        let desk = again.desk("first").unwrap();
        assert_eq!((desk.position(A), desk.open_orders(A).count()), (10, 0));
    }
}
