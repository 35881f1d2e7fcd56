//! A host that was made anew from what was kept is the one that was never stopped.

use crate::support::*;
use book::{Books, Limits};
use bus::config::{OpeningPosition, PriceText};
use bus::{Report, ReportKind, StreamId};
use strategy::desk::OpenOrder;
use strategy::host::{Host, HostConfig, IdMaker, Output, rebuild};
use strategy::risk::Standing;
use tick::Price;

/// What two hosts must agree on.
fn state(host: &mut Host) -> State {
    let mut orders = Vec::new();
    let mut positions = Vec::new();
    for name in ["first", "second"] {
        let desk = host.desk(name).unwrap();
        for key in [A, B] {
            orders.extend(
                desk.open_orders(key)
                    .map(|order| OpenOrder { state: strategy::desk::OrderState::Open, ..*order }),
            );
            let profit = desk.profit(key).unwrap_or_default() / 1_000_000_000;
            positions.push((desk.position(key), profit as i64));
        }
    }
    orders.sort_by_key(|order| order.id);
    let standing = [A, B].map(|key| host.risk().standing(key.publisher_id, key.instrument_id));
    (orders, positions, standing.into(), host.unanswered())
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

#[test]
fn a_restart_at_any_moment_finds_the_orders_positions_and_profits_of_one_that_was_never_stopped() {
    let seeds = if std::env::var_os("FEEDPLANE_SOAK").is_some() { 400 } else { 40 };
    let (mut open, mut unanswered, mut too_late) = (0, 0, 0);
    for seed in 0..seeds {
        let mut host = ready(both());
        let (mut market, mut venue, mut streams) =
            (Market::new(seed), Venue::new(seed + 1), Streams::default());
        play(&mut host, &mut market, &mut venue, &mut streams, 300 + 40 * seed as usize % 3_000);
        // The one that goes on reads what it has not read; the other reads all there is.
        for report in streams.unread() {
            host.report(market.time_ns, &report);
        }
        // What that led to was never published.
        host.outputs().for_each(drop);
        let mut again = restarted(&host, &streams, 5_000_000 + seed);
        assert_eq!(again.trouble(), None, "seed {seed}");
        let (was, is) = (state(&mut host), state(&mut again));
        let (was, unpublished) = without_unpublished(was, &streams);
        assert_eq!(is.0, was.0, "seed {seed}");
        if unpublished == 0 {
            assert_eq!((&is.1, &is.2), (&was.1, &was.2), "seed {seed}");
            // A cancel that met the end of its order is asked after again.
            assert!(is.3 >= was.3, "seed {seed}");
        }
        assert_eq!(
            is.1.iter().map(|held| held.0).collect::<Vec<_>>(),
            was.1.iter().map(|held| held.0).collect::<Vec<_>>()
        );
        open += is.0.len();
        unanswered += is.3;
        let mut counted = ready(both());
        too_late += rebuild(&mut counted, &streams.instructions, &streams.reports).too_late;
    }
    eprintln!(
        "{seeds} restarts: {open} open orders, {unanswered} unanswered, {too_late} replacements too late"
    );
    assert!(open > 20 && unanswered > 5, "{open} {unanswered}");
}

type State = (Vec<OpenOrder>, Vec<(i64, i64)>, Vec<Option<Standing>>, usize);

/// Takes out what the host made in answer to the last reports, which its stream does not have.
fn without_unpublished(mut state: State, streams: &Streams) -> (State, usize) {
    let published = |id| streams.instructions.iter().any(|(_, instruction)| instruction.id == id);
    let mut count = 0;
    state.0.retain(|order| {
        count += usize::from(!published(order.id));
        published(order.id)
    });
    // Filled, with a replacement on its way that nobody has refused yet: who reads it back knows that it comes too late.
    state.0.retain(|order| {
        count += usize::from(order.leaves == 0);
        order.leaves > 0
    });
    for order in &mut state.0 {
        if let Some(replacing) = order.replacing.filter(|replacing| !published(replacing.id)) {
            count += 1;
            order.replacing.take_if(|own| own.id == replacing.id);
        }
        if order.cancelling.is_some_and(|id| !published(id)) {
            count += 1;
            order.cancelling = None;
        }
    }
    (state, count)
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
