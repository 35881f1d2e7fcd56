//! Whole runs over made-up days: the same bytes each time, the same instructions as the host alone, latencies to the nanosecond, and
//! what is refused.

use crate::session::{BEGIN_NS, CENT, CHANNEL, INSTRUMENT, session};
use crate::support::{Kept, backtest, recompute, run_kept};
use backtest::market::RecordedMarket;
use backtest::source::{Definition, InMemory};
use backtest::{Backtest, Outcome, Progress, RunError, run};
use book::{Books, Limits};
use bus::config::InstrumentKey;
use bus::{FeatureRecord, Instruction, InstrumentRow, OrderAction, Report, ReportKind, TradingMode};
use strategy::host::{Host, HostConfig, IdMaker, MarketState, Output};
use tick::{GapReason, Tick};

const KEY: InstrumentKey = InstrumentKey { publisher_id: 1, instrument_id: INSTRUMENT };
const QUOTER: &str = "  - {name: quotes, venue: sim, instruments: [TEST], quoter: {half_spread_ticks: 1, size: 10, position_max: 50, quiet_ms: 1000, skew_ticks: 2}}";
const FLOW: &str = "  - {name: flow, venue: other, instruments: all, ofi_momentum: {window_ms: 500, enter_ticks: 0.4, clip: 5, position: 20, hold_ms: 2000}}";
const RULES: &str = "  - {name: rules, venue: sim, instruments: [TEST], rules: {rules: [{name: buy, when: 'flow.imbalance_3 > 0.3 && position < 50', cooldown_ms: 200, do: {buy: {quantity: 5, price: {join: 0}}}}, {name: sell, when: 'flow.imbalance_3 < -0.3 && position > -50', cooldown_ms: 200, do: {sell: {quantity: 5, price: {join: 0}}}}]}}";
const FEATURES: &str =
    "sets: [{name: flow, publish: {every_ms: 100}, features: [mid, {imbalance: {levels: 3}}]}]";

fn execution(latencies_us: [u64; 3], queue: &str) -> String {
    let [order, report, feature] = latencies_us;
    format!(
        "source: {{ticks: {{path: none}}}}
instruments: {{TEST: {{key: {{publisher_id: 1, instrument_id: 42}}, tick_size: '0.01', multiplier: '1'}}}}
execution: {{order_latency_us: {order}, report_latency_us: {report}, feature_latency_us: {feature}, queue: {queue}, fees: {{maker_per_unit: '-0.0020', taker_per_unit: '0.0030'}}}}"
    )
}

fn of(strategies: &[&str], latencies_us: [u64; 3]) -> Backtest {
    backtest(&strategies.join("\n"), Some(FEATURES), &execution(latencies_us, "by_order"))
}

fn run_over(backtest: &Backtest, ticks: &[Tick]) -> Result<(Outcome, Kept), RunError> {
    run_kept(backtest, &mut InMemory::new(ticks.into(), Vec::new()))
}

#[test]
fn the_same_day_gives_the_same_bytes() {
    let ticks = session(1, 20_000);
    let backtest = of(&[QUOTER, FLOW, RULES], [150, 250, 50]);
    let bytes = || {
        let (outcome, kept) = run_over(&backtest, &ticks).unwrap();
        (serde_json::to_vec(&outcome).unwrap(), kept.instructions, kept.reports)
    };
    let (first, second) = (bytes(), bytes());
    assert!(first == second);
    assert!(first.2.len() > 100_000);
}

#[test]
fn money_positions_and_counts_are_what_the_reports_add_up_to() {
    for seed in 0..4 {
        let ticks = session(seed, 20_000);
        let backtest = of(&[QUOTER, FLOW, RULES], [150, 250, 50]);
        let (outcome, kept) = run_over(&backtest, &ticks).unwrap();
        assert_eq!(outcome.trouble, None, "seed {seed}");
        assert!(outcome.trades.maker_fills > 20 && outcome.trades.taker_fills > 20, "{:?}", outcome.trades);
        recompute(&backtest, &outcome, &kept, 1);
    }
}

#[test]
fn an_instruction_is_in_the_market_and_its_report_at_the_host_exactly_after_their_latencies() {
    let ticks = session(2, 5_000);
    let backtest = of(&[QUOTER], [150, 250, 50]);
    let (_, kept) = run_over(&backtest, &ticks).unwrap();
    let sent: Vec<_> = kept.told.iter().filter(|told| told.report.kind == ReportKind::Sent).collect();
    assert!(sent.len() > 100);
    for (told, made) in sent.iter().zip(&kept.made) {
        assert_eq!(told.report.id, Some(made.id));
        assert_eq!(told.report.time_ns, made.created_ns + 150_000);
    }
    // A side has one message on its way: the next is made by what came 250 µs after the market's answer, or later.
    let cancel = kept.made.iter().find(|made| !matches!(made.action, OrderAction::New { .. })).unwrap();
    let (OrderAction::Cancel { of } | OrderAction::Replace { of, .. }) = cancel.action else { panic!() };
    let accepted =
        kept.told.iter().find(|t| t.report.id == Some(of) && t.report.kind == ReportKind::Accepted);
    assert!(cancel.created_ns >= accepted.unwrap().report.time_ns + 250_000);
}

/// What a host does with the same ticks and features, every instruction answered at once by `sent` and its acceptance.
fn host_alone(backtest: &Backtest, ticks: &[Tick]) -> Vec<Instruction> {
    let mut engine = features::Engine::new(&backtest.sets, Limits::SMALL);
    let mut host = Host::new(HostConfig {
        risk: &backtest.strategy.risk,
        answer_within_ns: 60_000_000_000,
        opening: &[],
        opening_reports: &[],
        ids: IdMaker::new(0, 0),
        books: Books::new(Limits::SMALL),
        market: MarketState::default(),
        strategies: strategy::strategies::hosted(&backtest.strategy, Some(engine.schemas())).unwrap(),
    });
    for schema in engine.schemas() {
        host.add_schema(schema.id(), schema.clone());
    }
    host.define(KEY, &row());
    host.rebuilt();
    host.trading(BEGIN_NS, Some(TradingMode::Active));
    host.go_live(BEGIN_NS);
    let mut made = Vec::new();
    let mut number = 0;
    for tick in ticks {
        let now_ns = tick.ts_recv;
        let mut records = Vec::new();
        engine.tick(tick, &mut |_, record| {
            records.push((FeatureRecord { values: &[], ..*record }, record.values.to_vec()));
        });
        host.tick(now_ns, tick);
        let mut out: Vec<Output> = host.outputs().collect();
        for (head, values) in &records {
            host.features(now_ns, &FeatureRecord { values, ..*head });
            out.extend(host.outputs());
        }
        while !out.is_empty() {
            let mut answers = Vec::new();
            for output in out.drain(..) {
                let Output::Instruction(instruction) = output else { continue };
                answers.extend(answer(&instruction, now_ns, &mut number));
                made.push(instruction);
            }
            for report in answers {
                host.report(now_ns, &report);
                out.extend(host.outputs());
            }
        }
    }
    made
}

fn answer(instruction: &Instruction, now_ns: u64, number: &mut u64) -> [Report; 2] {
    let (kind, of, leaves) = match instruction.action {
        OrderAction::New { quantity, .. } => (ReportKind::Accepted, None, quantity),
        OrderAction::Replace { of, quantity, .. } => (ReportKind::Replaced, Some(of), quantity),
        OrderAction::Cancel { of } => (ReportKind::Cancelled, Some(of), 0),
    };
    [ReportKind::Sent, kind].map(|kind| {
        *number += 1;
        Report {
            number: *number,
            id: Some(instruction.id),
            of,
            venue: instruction.venue.clone(),
            strategy: instruction.strategy.clone(),
            symbol: instruction.symbol.clone(),
            publisher_id: 1,
            instrument_id: INSTRUMENT,
            leaves,
            ..Report::new(kind, now_ns)
        }
    })
}

fn row() -> InstrumentRow {
    InstrumentRow {
        symbol: "TEST".into(),
        tick_size: Some(CENT),
        multiplier: Some(1_000_000_000),
        lot_size: 0,
        kind: "unknown".into(),
        group: String::new(),
        currency: String::new(),
        channel_id: 0,
    }
}

#[test]
fn the_same_ticks_through_the_host_alone_give_the_same_instructions() {
    let ticks = session(3, 20_000);
    // So far away that nothing trades; and rules on features that buy there.
    let far = "  - {name: far, venue: sim, instruments: [TEST], quoter: {half_spread_ticks: 300, size: 10, position_max: 50, quiet_ms: 1000}}";
    let backtest = of(&[far], [0, 0, 0]);
    let (outcome, kept) = run_over(&backtest, &ticks).unwrap();
    assert_eq!(outcome.trades.fills, 0);
    let alone = host_alone(&backtest, &ticks);
    assert!(alone.len() > 50, "{}", alone.len());
    assert_eq!(kept.made, alone);
}

#[test]
fn nothing_is_sent_before_trading_begins_and_everything_else_is_as_without_that() {
    let ticks = session(6, 10_000);
    let from_ns = ticks[ticks.len() / 2].ts_recv;
    let whole = of(&[QUOTER, RULES], [150, 250, 50]);
    let mut later = whole.clone();
    later.document.trade_from_ns = Some(from_ns);
    let ((whole, all), (later, kept)) =
        (run_over(&whole, &ticks).unwrap(), run_over(&later, &ticks).unwrap());
    assert!(all.made[0].created_ns < from_ns);
    assert!(kept.made.len() > 10 && kept.made[0].created_ns >= from_ns);
    // The market hears nothing before; a strategy that tries all the same is denied.
    let mut early = kept.told.iter().filter(|told| told.report.time_ns < from_ns);
    assert!(early.all(|told| told.report.kind == ReportKind::Denied));
    assert_eq!(later.input.feature_records, whole.input.feature_records);
}

#[test]
fn on_a_day_with_a_gap_nothing_is_sent_or_traded_until_the_clear_and_it_is_counted() {
    let mut ticks = session(4, 9_000);
    let third = ticks.len() / 3;
    let at = ticks[third].ts_recv;
    ticks.insert(third, Tick::gap(1, CHANNEL, 5, 9, at, GapReason::Lost));
    // The channel begins again with a day of its own.
    let later = ticks[2 * third].ts_recv;
    ticks.truncate(2 * third);
    ticks.push(Tick::channel_clear(1, CHANNEL, 1, later));
    let again = session(5, 3_000);
    ticks.extend(again.iter().map(|tick| Tick { ts_recv: tick.ts_recv - BEGIN_NS + later, ..*tick }));
    let rules = "  - {name: rules, venue: sim, instruments: [TEST], rules: {rules: [{name: buy, when: 'time > 0', fires: while_true, cooldown_ms: 100, do: {buy: {quantity: 1, price: {at: '99'}}}}]}}";
    let backtest = of(&[rules], [150, 250, 50]);
    let (outcome, kept) = run_over(&backtest, &ticks).unwrap();
    assert_eq!((outcome.input.gaps, outcome.input.clears), (1, 1));
    assert!(outcome.input.bad_book_ns >= later - at, "{:?}", outcome.input);
    assert!(outcome.input.trades_in_bad_book > 0, "{:?}", outcome.input);
    let made_at =
        |range: std::ops::Range<u64>| kept.made.iter().filter(|m| range.contains(&m.created_ns)).count();
    assert!(made_at(0..at) > 0);
    assert_eq!(made_at(at..later), 0);
    assert!(made_at(later..u64::MAX) > 0);
    assert_eq!(outcome.trouble, None);
}

#[test]
fn what_cannot_be_run_is_refused_with_what_to_do() {
    let ticks = session(6, 100);
    let error = |backtest: &Backtest, ticks: &[Tick]| run_over(backtest, ticks).unwrap_err().to_string();
    assert_eq!(error(&of(&[QUOTER], [0, 0, 0]), &[]), "the source has no ticks; nothing was run");
    let unknown = QUOTER.replace("TEST", "OTHER");
    let text = error(&of(&[&unknown], [0, 0, 0]), &ticks);
    assert!(text.contains("strategy \"quotes\": none of its instruments was defined"), "{text}");
    let missing = RULES.replace("flow.imbalance_3 > 0.3", "flow.imbalance_7 > 0.3");
    let text = error(&of(&[&missing], [0, 0, 0]), &ticks);
    assert!(text.contains("strategies[0]") && text.contains("imbalance_7"), "{text}");
}

#[test]
fn a_watcher_stops_a_run() {
    let ticks = session(7, 60_000);
    let backtest = of(&[QUOTER], [0, 0, 0]);
    let mut market = RecordedMarket::new(backtest.document.execution.queue);
    let mut source = InMemory::new(ticks.into(), Vec::new());
    let mut looks = 0;
    let mut watch = |progress: &Progress| {
        looks += 1;
        progress.ticks < 60_000
    };
    let error = run(&backtest, &mut source, &mut market, &mut watch).unwrap_err();
    assert!(matches!(error, RunError::Stopped { ticks: 65_536 }), "{error}");
    assert_eq!(looks, 1);
}

#[test]
fn a_definition_in_the_stream_is_corrected_by_the_document_and_a_share_is_one() {
    let ticks = session(8, 3_000);
    let document = execution([0, 0, 0], "by_order").replace(
        "TEST: {key: {publisher_id: 1, instrument_id: 42}, tick_size: '0.01', multiplier: '1'}",
        "TEST: {tick_size: '0.01'}",
    );
    let backtest = backtest(QUOTER, None, &document);
    let row = InstrumentRow { tick_size: None, multiplier: None, kind: "equity".into(), ..row() };
    let mut source = InMemory::new(ticks.into(), vec![Definition { key: KEY, row }]);
    let (outcome, _) = run_kept(&backtest, &mut source).unwrap();
    assert!(outcome.trades.fills > 0, "{:?}", outcome.denials);
}

#[test]
fn an_opening_position_counts_from_its_price_and_costs_nothing() {
    let ticks = session(9, 500);
    let mut backtest = of(&[&QUOTER.replace("half_spread_ticks: 1", "half_spread_ticks: 300")], [0, 0, 0]);
    let opening = bus::config::OpeningPosition {
        strategy: "quotes".into(),
        instrument: KEY,
        position: -10,
        price: bus::config::PriceText("101".parse().unwrap()),
    };
    backtest.strategy.opening = vec![opening];
    let (outcome, _) = run_over(&backtest, &ticks).unwrap();
    let [holding] = outcome.holdings.as_slice() else { panic!("{:?}", outcome.holdings) };
    assert_eq!((holding.position, holding.fills, outcome.money.fees.0), (-10, 0, 0));
    let mark: tick::Price = holding.mark.as_ref().unwrap().parse().unwrap();
    // Short 10 from 101 to the offer.
    assert_eq!(holding.gross.0, i128::from(101_000_000_000 - mark.0) * 10 * 1_000_000_000);
}
