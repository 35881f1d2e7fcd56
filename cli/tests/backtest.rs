//! `feedplane backtest`, as an operator runs it: the files, the table, and what happens when it is stopped or wrong.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use tick::{Action, Flags, Side, StatusAction, Tick};
use zerocopy::IntoBytes;

const BEGIN_NS: u64 = 1_704_205_800_000_000_000;

/// A day in which the best prices go up and down, and each step trades.
fn ticks(steps: u64) -> Vec<Tick> {
    let mut ticks = Vec::new();
    let mut push = |tick: Tick| {
        let sequence = ticks.len() as u64 + 1;
        let ts_recv = BEGIN_NS + sequence * 1_000_000;
        ticks.push(Tick { sequence, ts_recv, instrument_id: 42, publisher_id: 1, channel_id: 7, ..tick });
    };
    push(Tick { size: u32::from(StatusAction::Trading.0), action: Action::Status, ..Tick::EMPTY });
    let cent = 10_000_000;
    for step in 0..steps {
        let middle = 10_000 + (step % 7) as i64 - 3;
        let order = |id: u64, side: Side, cents: i64, size: u32, action: Action| Tick {
            order_id: step * 4 + id,
            side,
            price: cents * cent,
            size,
            action,
            flags: Flags::LAST,
            ..Tick::EMPTY
        };
        push(order(1, Side::Bid, middle - 1, 10, Action::Add));
        push(order(2, Side::Ask, middle + 1, 10, Action::Add));
        for (id, side, cents) in [(1, Side::Bid, middle - 1), (2, Side::Ask, middle + 1)] {
            push(Tick { flags: Flags::NONE, ..order(id, side, cents, 10, Action::Fill) });
            push(order(id, side, cents, 10, Action::Cancel));
        }
    }
    ticks
}

fn write_documents(folder: &Path, ticks: &[Tick]) {
    std::fs::write(folder.join("day.ticks"), ticks.as_bytes()).unwrap();
    let strategy = "redis: unix:///nowhere
health: {listen: '127.0.0.1:0'}
risk:
  total: {position_max: 100000, exposure_max: 1000000000, open_orders_max: 1000, messages_per_second: 1000, message_burst: 1000, drawdown_max: 100000000}
  default: {collar_basis_points: 10000, collar_price: '1000', order_quantity_max: 100, order_notional_max: 1000000, position_max: 1000, exposure_max: 10000000, open_orders_max: 100, messages_per_second: 1000, message_burst: 1000, duplicate_window_ms: 0, quote_age_max_ms: 60000, drawdown_max: 1000000}
  sessions: [{days: [monday, tuesday, wednesday, thursday, friday], open: '00:00', close: '24:00'}]
strategies:
  - {name: buys, venue: sim, instruments: [TEST], rules: {rules: [
      {name: buy, when: 'position < 50', fires: while_true, cooldown_ms: 20, do: {buy: {quantity: 5, price: {join: 0}}}},
      {name: sell, when: 'position > 0', fires: while_true, cooldown_ms: 30, do: {sell: {quantity: 5, price: {join: 0}}}}]}}
";
    std::fs::write(folder.join("strategy.yaml"), strategy).unwrap();
    let document = "source: {ticks: {path: day.ticks}}
strategy: strategy.yaml
instruments: {TEST: {key: {publisher_id: 1, instrument_id: 42}, tick_size: '0.01', multiplier: '1'}}
execution: {order_latency_us: 100, report_latency_us: 100, feature_latency_us: 0, queue: by_order, fees: {maker_per_unit: '-0.0020', taker_per_unit: '0.0030'}}
";
    std::fs::write(folder.join("backtest.yaml"), document).unwrap();
}

fn feedplane(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
    command.current_dir(folder).args(["backtest", "--config", "backtest.yaml", "--out", "out"]).args(more);
    command.stdin(Stdio::null()).output().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const FILES: [&str; 6] =
    ["instructions.jsonl", "report.html", "report.json", "reports.jsonl", "scores.jsonl", "speed.json"];

#[test]
fn a_run_writes_its_files_and_says_in_short_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    write_documents(folder.path(), &ticks(3_000));
    let output = feedplane(folder.path(), &[]);
    let (text, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{errors}");
    let out = folder.path().join("out");
    assert_eq!(names(&out), FILES);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(report["input"]["ticks"], 18_001);
    let fills = report["trades"]["fills"].as_u64().unwrap();
    assert!(fills > 10, "{text}");
    assert!(text.contains("ticks             18001, 0 gaps\n"), "{text}");
    assert!(text.contains(&format!("trades            {fills} of ")), "{text}");
    let filled = read("reports.jsonl").lines().filter(|line| line.contains("\"kind\":\"filled\"")).count();
    assert_eq!(filled as u64, fills);
    assert!(
        read("report.html").starts_with("<!DOCTYPE html>")
            || read("report.html").starts_with("<!doctype html>")
    );
    assert!(read("speed.json").contains("ticks_per_second"));
    // Again: the same bytes, but for how long it took.
    let before: Vec<String> = FILES[..5].iter().map(|name| read(name)).collect();
    assert!(feedplane(folder.path(), &["--quiet"]).status.success());
    let after: Vec<String> = FILES[..5].iter().map(|name| read(name)).collect();
    assert!(before == after);
}

#[test]
fn a_sweep_and_other_latencies_are_run_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    write_documents(folder.path(), &ticks(500));
    let sweep = "vary: {execution.order_latency_us: [0, 100, 5000]}";
    std::fs::write(folder.path().join("sweep.yaml"), sweep).unwrap();
    let output = feedplane(folder.path(), &["--sweep", "sweep.yaml", "--jobs", "2"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(&folder.path().join("out")), ["sweep.html", "sweep.json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("execution.order_latency_us=5000"), "{text}");
    let output = feedplane(folder.path(), &["--latency", "0,1,10"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_no_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    write_documents(folder.path(), &ticks(50));
    let path = folder.path().join("backtest.yaml");
    let document = std::fs::read_to_string(&path).unwrap();
    let day = std::fs::read(folder.path().join("day.ticks")).unwrap();
    let cases: [(&str, &str, &[u8], &str); 5] = [
        ("queue: by_order", "queue: by_luck", &day, "line 4"),
        (
            "order_latency_us: 100",
            "order_latency_us: 60000001",
            &day,
            "execution.order_latency_us: is 60000001",
        ),
        ("strategy: strategy.yaml", "strategy: gone.yaml", &day, "gone.yaml: cannot read"),
        ("TEST", "TEST", &day[1..], "more than a whole number of ticks"),
        ("TEST", "TEST", b"", "the source has no ticks"),
    ];
    for (from, to, day, expected) in cases {
        std::fs::write(&path, document.replace(from, to)).unwrap();
        std::fs::write(folder.path().join("day.ticks"), day).unwrap();
        let output = feedplane(folder.path(), &[]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        let out = folder.path().join("out");
        assert!(!out.exists() || names(&out).is_empty(), "{:?}", names(&out));
    }
}

#[test]
fn a_signal_stops_it_and_no_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    write_documents(folder.path(), &ticks(2_000_000));
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
    command.current_dir(folder.path()).args([
        "backtest",
        "--config",
        "backtest.yaml",
        "--out",
        "out",
        "--quiet",
    ]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let unfinished = folder.path().join("out/reports.jsonl.unfinished");
    while !unfinished.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("stopped after"), "{errors}");
    assert_eq!(names(&folder.path().join("out")), [""; 0]);
}

#[test]
fn a_capture_is_read_through_the_channels_of_the_data_plane() {
    let folder = tempfile::tempdir().unwrap();
    write_documents(folder.path(), &ticks(1));
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
        let output = command.current_dir(folder.path()).args(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    run(&[
        "play",
        "--synthetic",
        "itch50",
        "--rate",
        "20000",
        "--duration",
        "2s",
        "--speed",
        "flat",
        "--write",
        "day.pcap",
        "--feeds-out",
        "feeds.yaml",
    ]);
    let path = folder.path().join("backtest.yaml");
    let document = std::fs::read_to_string(&path).unwrap();
    let source = "source: {capture: {path: day.pcap, feeds: feeds.yaml}}";
    let document = document.replace("source: {ticks: {path: day.ticks}}", source);
    let document =
        document.lines().filter(|line| !line.starts_with("instruments:")).collect::<Vec<_>>().join("\n");
    std::fs::write(&path, document).unwrap();
    let strategy = folder.path().join("strategy.yaml");
    let text = std::fs::read_to_string(&strategy).unwrap();
    let text = text.replace("instruments: [TEST]", "instruments: all");
    std::fs::write(
        &strategy,
        text.replace("duplicate_window_ms: 0", "duplicate_window_ms: 0, tick_size: '0.01'"),
    )
    .unwrap();
    run(&["backtest", "--config", "backtest.yaml", "--out", "out"]);
    let report = std::fs::read(folder.path().join("out/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let decoded = run(&["decode", "day.pcap", "--feeds", "feeds.yaml", "--ticks=csv"]);
    let rows = String::from_utf8(decoded.stdout).unwrap().lines().count() as u64 - 1;
    assert_eq!(report["input"]["ticks"], rows);
    assert!(report["orders"]["sent"].as_u64().unwrap() > 0, "{report:#}");
}

#[test]
fn a_session_of_the_simulated_venue_answers_orders() {
    let folder = tempfile::tempdir().unwrap();
    write_documents(folder.path(), &ticks(1));
    let path = folder.path().join("backtest.yaml");
    let document = std::fs::read_to_string(&path).unwrap();
    let document = document
        .replace("{ticks: {path: day.ticks}}", "{venue: {seed: 1, symbols: 1, seconds: 20}}")
        .replace("instruments: {TEST: {key: {publisher_id: 1, instrument_id: 42}, tick_size: '0.01', multiplier: '1'}}\n", "");
    std::fs::write(&path, document).unwrap();
    let strategy = folder.path().join("strategy.yaml");
    let text = std::fs::read_to_string(&strategy).unwrap();
    std::fs::write(&strategy, text.replace("instruments: [TEST]", "instruments: [S1]")).unwrap();
    let output = feedplane(folder.path(), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read(folder.path().join("out/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert!(report["trades"]["fills"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["trouble"].is_null());
}
