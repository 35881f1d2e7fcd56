//! What is wrong is named, counted and survived; what is not known lets nothing new pass.

use crate::rig::{Moving, Rig};
use bus::names::{EXECUTION_REPORTS, ORDER_INSTRUCTIONS};
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

#[test]
fn without_a_word_on_trading_or_halted_nothing_is_sent_and_active_lets_it() {
    let mut rig = Rig::new(1);
    rig.ask::<u64>(&["DEL", "trading_state"]);
    let market = rig.open_market(1);
    let gateway = rig.gateway();
    let _moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.service("a");
    service.wait_for_log("there is no trading state: halted");
    rig.wait("denials are told", |rig| rig.length(EXECUTION_REPORTS) > 0);
    assert_eq!(rig.length(ORDER_INSTRUCTIONS), 0);
    let halted = "feedplane_strategy_denials{stream=\"raw_market_data\",reason=\"halted\"}";
    rig.wait("denials are counted", |_| service.metric(halted) > Some(0.0));
    rig.trading("active");
    rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 10);
    // An entry that cannot be read halts, too.
    rig.ask::<String>(&["XADD", "trading_state", "*", "mode", "perhaps"]);
    service.wait_for_log("an entry of trading_state cannot be read: halted");
    std::thread::sleep(Duration::from_millis(400));
    // What was sent before may be published again; no other order is.
    let orders = |rig: &mut Rig| -> std::collections::BTreeSet<String> {
        let all: Vec<(String, Vec<String>)> = rig.ask(&["XRANGE", ORDER_INSTRUCTIONS, "-", "+"]);
        let new = all.into_iter().filter(|(_, fields)| fields.contains(&"new".to_owned()));
        new.map(|(_, fields)| fields[3].clone()).collect()
    };
    let before = orders(&mut rig);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(orders(&mut rig), before);
    drop(gateway);
    service.stop();
}

#[test]
fn a_malformed_entry_of_any_stream_is_counted_and_the_rest_goes_on() {
    let mut rig = Rig::new(1);
    let market = rig.open_market(2);
    let gateway = rig.gateway();
    let moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.service("a");
    rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 5);
    rig.ask::<String>(&["XADD", EXECUTION_REPORTS, "*", "some", "thing"]);
    rig.ask::<String>(&["XADD", EXECUTION_REPORTS, "*", "v", "1", "n", "x", "kind", "filled"]);
    rig.ask::<String>(&["XADD", "calculated_features", "*", "n", "1"]);
    rig.ask::<String>(&["XADD", ORDER_INSTRUCTIONS, "*", "v", "1", "id", "x", "action", "hope"]);
    rig.ask::<String>(&["XADD", "raw_market_data", "*", "nobody", "s"]);
    let refused = |stream: &str| {
        let name = format!("feedplane_strategy_refused_entries_total{{stream=\"{stream}\"}}");
        service.metric(&name).unwrap_or_default()
    };
    rig.wait("all are counted", |_| {
        (refused(EXECUTION_REPORTS), refused("calculated_features"), refused("raw_market_data"))
            == (2.0, 1.0, 1.0)
    });
    let before = rig.length(ORDER_INSTRUCTIONS);
    rig.wait("it goes on", |rig| rig.length(ORDER_INSTRUCTIONS) > before + 10);
    drop(moving);
    service.stop();
    // Nor do they stand in the way of a restart.
    let service = rig.service("b");
    service.wait_for_log("\"message\":\"live\"");
    assert!(service.log().contains("instructions and reports cannot be read"));
    rig.wait("it is ready", |_| service.get("/readyz").starts_with("HTTP/1.1 200"));
    drop(gateway);
    service.stop();
}

#[test]
fn a_trimmed_stream_of_orders_or_reports_leaves_cancels_only_and_says_so() {
    for stream in [ORDER_INSTRUCTIONS, EXECUTION_REPORTS] {
        let mut rig = Rig::new(1);
        let market = rig.open_market(3);
        let gateway = rig.gateway();
        let moving = Moving::start(&rig.server.url(), 1, market);
        let service = rig.service("a");
        rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 20);
        drop(moving);
        service.stop();
        std::thread::sleep(Duration::from_millis(100));
        drop(gateway);
        rig.ask::<u64>(&["XTRIM", stream, "MAXLEN", "10"]);
        let market = rig.open_market(4);
        let _moving = Moving::start(&rig.server.url(), 1, market);
        let service = rig.service("b");
        service.wait_for_log("its beginning was trimmed or deleted");
        service.wait_for_log("nothing new is sent");
        rig.wait("it is not ready", |_| service.get("/readyz").contains("its beginning was trimmed"));
        let reason = "feedplane_strategy_denials{stream=\"raw_market_data\",reason=\"not_rebuilt\"}";
        rig.wait("what is new is denied", |_| service.metric(reason) > Some(0.0));
        service.stop();
    }
}

#[test]
fn the_configuration_changes_while_it_runs_and_a_wrong_one_is_refused_with_its_place() {
    let mut rig = Rig::new(1);
    let market = rig.open_market(5);
    let gateway = rig.gateway();
    let _moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.service("a");
    rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 10);
    let whole = rig.more.clone();
    let reload = |rig: &mut Rig, from: &str, to: &str, expected: &str| {
        rig.more = whole.replacen(from, to, 1);
        assert_ne!(rig.more, whole);
        rig.document("a");
        service.signal(Signal::HUP);
        service.wait_for_log(expected);
    };
    reload(&mut rig, "position <= 0", "positron <= 0", "strategies[0].rules");
    reload(&mut rig, "venue: SIM", "venue: ''", "strategies[0].venue: use 1 to 32");
    reload(&mut rig, "strategies:", "unheard: 1\nstrategies:", "unheard");
    reload(
        &mut rig,
        "strategies:",
        "opening: [{strategy: swing, instrument: {publisher_id: 2, instrument_id: 7}, position: 1, price: '1'}]\nstrategies:",
        "opening: cannot be changed while it runs",
    );
    let before = rig.length(ORDER_INSTRUCTIONS);
    rig.wait("it goes on as before", |rig| rig.length(ORDER_INSTRUCTIONS) > before + 10);
    let refused = "feedplane_strategy_configurations_total{what=\"refused\"}";
    rig.wait("all are refused", |_| service.metric(refused) == Some(4.0));
    reload(&mut rig, "order_quantity_max: 500", "order_quantity_max: 1", "the configuration is changed");
    let reason = "feedplane_strategy_denials{stream=\"raw_market_data\",reason=\"order_quantity\"}";
    rig.wait("the new limit holds", |_| service.metric(reason) > Some(0.0));
    drop(gateway);
    service.stop();
}

#[test]
fn an_instrument_that_is_defined_later_is_traded_then() {
    let mut rig = Rig::new(1);
    rig.ask::<u64>(&["DEL", "instruments:2"]);
    let market = rig.open_market(6);
    let gateway = rig.gateway();
    let _moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.service("a");
    service.wait_for_log("\"message\":\"live\"");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(rig.length(ORDER_INSTRUCTIONS), 0);
    rig.define();
    rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 5);
    drop(gateway);
    service.stop();
}

#[test]
fn a_document_is_checked_without_a_redis() {
    let mut rig = Rig::new(1);
    let check = |rig: &Rig| {
        let output = Command::new(env!("CARGO_BIN_EXE_feedplane-strategy"))
            .arg("--config")
            .arg(rig.document("a"))
            .arg("--check")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(check(&rig).0);
    rig.more = rig.more.replacen("position <= 0", "position <= ", 1);
    let (good, said) = check(&rig);
    assert!(!good && said.contains("strategies[0].rules.rules[0].when"), "{said}");
}

#[test]
fn an_order_is_followed_by_its_id_from_the_tick_to_the_report() {
    let mut rig = Rig::new(1);
    rig.log_level = "info,feedplane_strategy=debug";
    let market = rig.open_market(33);
    let gateway = rig.gateway();
    let moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.service("a");
    // Cancels, too, of which each has a cause of its own.
    rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 120);
    drop(moving);
    std::thread::sleep(Duration::from_millis(500));
    let ticks: Vec<(String, Vec<Vec<u8>>)> = rig.ask(&["XRANGE", "raw_market_data", "-", "+"]);
    let ticks: std::collections::BTreeSet<(u64, u64)> = ticks
        .iter()
        .flat_map(|(_, fields)| fields.last().unwrap().chunks(64))
        .map(|tick| {
            let number = |at: usize| u64::from_le_bytes(tick[at..at + 8].try_into().unwrap());
            (number(16), number(8))
        })
        .collect();
    let lines: Vec<serde_json::Value> = service
        .log()
        .lines()
        .filter_map(|line| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["fields"].take()))
        .collect();
    let of = |message: &str| -> std::collections::BTreeMap<String, serde_json::Value> {
        let its = lines.iter().filter(|line| line["message"] == message);
        its.map(|line| (line["trace"].as_str().expect("a trace").to_owned(), line.clone())).collect()
    };
    let (made, published) = (of("instruction made"), of("instruction published"));
    // Each is told to be sent; what follows may be about a cancel of it, which has a cause of its own.
    let sent = lines.iter().filter(|line| line["message"] == "report taken" && line["kind"] == "sent");
    let reported: std::collections::BTreeMap<String, &serde_json::Value> =
        sent.map(|line| (line["trace"].as_str().unwrap().to_owned(), line)).collect();
    assert!(made.len() > 20 && reported.len() > 20, "{} and {}", made.len(), reported.len());
    for (trace, line) in &made {
        if line["by"] == "time" {
            assert_eq!(published[trace]["cause_ns"], 0, "{line}");
            continue;
        }
        // The tick is in the stream, and its time is the cause of all that follows.
        let cause = &line["ts_recv"];
        assert_eq!((&line["by"], &line["channel_id"]), (&"tick".into(), &1.into()));
        let tick = (line["sequence"].as_u64().unwrap(), cause.as_u64().unwrap());
        assert!(ticks.contains(&tick), "{line}");
        assert_eq!(&published[trace]["cause_ns"], cause);
        if let Some(report) = reported.get(trace) {
            assert_eq!(&report["cause_ns"], cause, "{report}");
        }
    }
    assert!(made.keys().filter(|trace| reported.contains_key(*trace)).count() > 20);
    drop(gateway);
    service.stop();
}
