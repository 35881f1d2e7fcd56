//! The same day live and in a backtest gives the same signals: every score of a model, bit by bit.
//!
//! Live is Redis with the services of features and strategies as processes, the ticks of a real recording in the stream, and the model
//! in the registry. The backtest is that of `feedplane chain`, which also trains the model. Orders are not compared: live they depend
//! on the wall clock, on how long things are under way and on who answers.

#![allow(clippy::unwrap_used)] // A test may.

use bus::names::MODEL_SCORES;
use bus::{Score, records_of_range};
use lab::redis_server::RedisServer;
use pipeline_tests::service::{Service, program};
use pipeline_tests::session::{self, Session};
use pipeline_tests::{publish, trainer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a service.
const PATIENCE: Duration = Duration::from_secs(120);
/// From a tick until its features are at the host in the backtest, ns (backtest.yaml).
const FEATURE_LATENCY_NS: u64 = 50_000;

type Line = BTreeMap<String, String>;

/// Trains, and backtests.
fn chain(file: &Path, interpreter: &Path, out: &Path) {
    let output = Command::new(program("feedplane").unwrap())
        .arg("chain")
        .args([Path::new("--dbn"), file, Path::new("--out"), out])
        .args(["--tick-size", "0.25", "--multiplier", "50", "--trainer"])
        .arg(trainer::folder().join("feedplane-trainer"))
        .env("FEEDPLANE_TRAINER_PYTHON", interpreter)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A document of the chain, for a Redis.
fn document(out: &Path, name: &str, redis: &str) -> PathBuf {
    let text = std::fs::read_to_string(out.join(name)).unwrap();
    let is_its = |line: &&str| !line.starts_with("redis:") && !line.starts_with("health:");
    let rest: Vec<&str> = text.lines().filter(is_its).collect();
    let path = out.join(format!("live-{name}"));
    let head = format!("redis: {redis}\nhealth: {{listen: '127.0.0.1:0'}}\n");
    std::fs::write(&path, head + &rest.join("\n")).unwrap();
    path
}

fn wait(services: &mut [Service], what: &str, mut done: impl FnMut(&mut [Service]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(services) {
        services.iter_mut().for_each(|service| service.must_run().unwrap());
        assert!(Instant::now() < end, "{what}:\n{}", services.iter().map(Service::log).collect::<String>());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The scores that the services publish for a session.
fn live(out: &Path, session: &Session, expected: u64) -> Vec<Line> {
    let redis = RedisServer::start().unwrap();
    let url = redis.url();
    let status = Command::new(program("feedplane").unwrap())
        .args(["model", "push", "--redis", &url])
        .arg(out.join("model"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    // ESH4, as the chain publishes it.
    let mut instrument =
        tick::Instrument::new(session.ticks[0].publisher_id, session.ticks[0].channel_id, 17_077);
    instrument.set_symbol(b"ESH4");
    (instrument.tick_size, instrument.multiplier) = (tick::Price(250_000_000), tick::Price(50_000_000_000));
    publish::instruments(&url, &[instrument]).unwrap();
    let start = |name: &str, document: PathBuf| {
        Service::start(name, &["--config", document.to_str().unwrap()], out).unwrap()
    };
    let mut services = [
        start("feedplane-features", document(out, "features.yaml", &url)),
        start("feedplane-strategy", document(out, "strategy.yaml", &url)),
    ];
    wait(&mut services, "the strategies are live and have their model", |services| {
        let log = services[1].log();
        log.contains("in force") && log.contains("live")
    });
    publish::ticks(&url, 1, &session.ticks).unwrap();
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let mut length = |stream: &str| -> u64 { redis::cmd("XLEN").arg(stream).query(&mut connection).unwrap() };
    wait(&mut services, "the features of every tick", |_| {
        length(bus::names::CALCULATED_FEATURES) == expected
    });
    // The last record has a score.
    let read = |connection: &mut redis::Connection, command: &str, from: &str, to: &str, count: usize| {
        let reply: redis::Value = redis::cmd(command)
            .arg(MODEL_SCORES)
            .arg(from)
            .arg(to)
            .arg("COUNT")
            .arg(count)
            .query(connection)
            .unwrap();
        let records = records_of_range(&reply).unwrap().into_iter();
        records.map(|record| Score::parse(record.fields.unwrap()).unwrap()).collect::<Vec<_>>()
    };
    wait(&mut services, "the score of the last record", |_| {
        read(&mut connection, "XREVRANGE", "+", "-", 1).iter().any(|score| score.number == expected)
    });
    let scores = read(&mut connection, "XRANGE", "-", "+", usize::MAX >> 1);
    services.into_iter().try_for_each(Service::stop).unwrap();
    scores.iter().map(line_of).collect()
}

fn line_of(score: &Score) -> Line {
    let mut line = Line::new();
    score.for_each_field(|name, value| {
        line.insert(name.to_owned(), String::from_utf8(value.to_vec()).unwrap());
    });
    line
}

#[test]
fn a_day_live_and_in_a_backtest_gives_the_same_scores_and_not_one_more() {
    let Some(file) = session::es_file() else { return };
    let Some(interpreter) = trainer::interpreter() else { return };
    if let Some(why) = lab::postgres::unavailable() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("chain");
    chain(&file, &interpreter, &out);
    let figures: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("chain.json")).unwrap()).unwrap();
    let text = std::fs::read_to_string(out.join("backtest/scores.jsonl")).unwrap();
    let offline: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    let session = Session::es_by_order(Path::new(&std::env::var_os("FEEDPLANE_CAPTURES").unwrap())).unwrap();
    let live = live(&out, &session, figures["archived"]["features"].as_u64().unwrap());
    assert!(offline.len() > 5_000 && live.len() >= offline.len(), "{} and {}", live.len(), offline.len());
    let differs = live.iter().zip(&offline).position(|(live, offline)| live != offline);
    assert_eq!(differs.map(|at| (&live[at], &offline[at])), None);
    // Live has what is still on its way when the recording of a backtest ends.
    let last_ns = session.ticks.iter().map(|tick| tick.ts_recv).max().unwrap();
    for score in &live[offline.len()..] {
        assert!(score["t"].parse::<u64>().unwrap() + FEATURE_LATENCY_NS >= last_ns, "{score:?}");
    }
}
