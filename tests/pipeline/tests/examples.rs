//! Every example of the reader's guide (docs/quant.md), run on a session that went through the services.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test may.

mod orders;

use pipeline_tests::python::{self, Printed};
use pipeline_tests::session::{PUBLISHER_ID, Session};
use pipeline_tests::world::World;
use std::path::Path;
use tick::{Action, Price, Tick};
use venue::synthetic::{SessionEnd, SyntheticSpec};

/// The instrument that is looked at: the second of the first channel.
const INSTRUMENT: u32 = 2;
const SYMBOL: &str = "C0S1";

/// Two minutes of four instruments; one packet is lost near the end.
fn session() -> Session {
    let spec = SyntheticSpec {
        channels: 2,
        symbols: 2,
        messages_per_s: 150.0,
        ..SyntheticSpec::new(SessionEnd::Messages(18_000), 20_260_106)
    };
    Session::synthetic(&spec, |packet| packet == 5_500).unwrap()
}

fn run(interpreter: &Path, example: &str, arguments: &[&str]) -> Printed {
    let printed = python::run(interpreter, example, arguments).unwrap();
    println!("── {example} {}\n{}", arguments.join(" "), printed.out);
    printed
}

#[test]
fn every_example_of_the_readers_guide_runs_and_tells_what_the_session_holds() {
    let Some(interpreter) = python::interpreter() else { return };
    let Some(world) = World::start(1).unwrap() else { return };
    let session = session();
    let orders = orders::publish(&world.redis.url(), &session, INSTRUMENT, SYMBOL);
    world.run(&session).unwrap();
    let records = world.number("SELECT count(*) FROM feedplane.features").unwrap();
    read_the_streams(&interpreter, &world, &session, records);
    read_the_archive(&interpreter, &world, &session);
    orders::read(&interpreter, &world);
    orders::ask_the_archive(&interpreter, &world, &orders, SYMBOL);
    draw(&interpreter, &world);
}

fn read_the_streams(interpreter: &Path, world: &World, session: &Session, records: i64) {
    let redis = world.redis.url();
    let ticks = session.ticks.iter().filter(|tick| tick.as_gap().is_none()).count();
    let missing: u64 = session.ticks.iter().filter_map(Tick::as_gap).map(|(from, to, _)| to - from + 1).sum();
    let printed = run(interpreter, "reader.py", &[&redis, "--once", "--quiet"]);
    assert_eq!(
        printed.err.trim(),
        format!("{ticks} ticks, {missing} numbers declared missing, 0 missing without a word")
    );

    let printed = python::run(interpreter, "features_reader.py", &[&redis]).unwrap();
    assert_eq!(printed.out.lines().count() as i64, records);
    assert!(!printed.out.contains("LOST"));
    let printed = run(interpreter, "features_reader.py", &[&redis, "--sets"]);
    let heads = printed.out.lines().filter(|line| line.contains(" records, "));
    let counted: i64 = heads.map(|line| line.split([':', ' ']).nth(2).unwrap().parse::<i64>().unwrap()).sum();
    assert_eq!(counted, records);

    let (publisher, instrument) = (PUBLISHER_ID.to_string(), INSTRUMENT.to_string());
    let printed = run(interpreter, "latest_features.py", &[&redis, &publisher, &instrument]);
    for expected in ["quotes: n=", "  mid ", "seconds: n=", "  vwap_60_1000ms ", "trades: n=", "volume: n="] {
        assert!(printed.out.contains(expected), "{expected}");
    }
    let nobody = python::run(interpreter, "latest_features.py", &[&redis, &publisher, "999"]).unwrap_err();
    assert!(nobody.to_string().contains("nothing was published of instrument 2:999"), "{nobody}");
    resume(interpreter, world, session);
}

/// A run that is cut off, one that goes on, and one that finds nothing new.
fn resume(interpreter: &Path, world: &World, session: &Session) {
    let traded = traded(session, |_| true).1;
    let (redis, database) = (world.redis.url(), world.path("volume.sqlite"));
    let database = database.to_str().unwrap();
    run(interpreter, "resume.py", &[&redis, database, "--stop-after", "150"]);
    let whole = run(interpreter, "resume.py", &[&redis, database]);
    assert!(whole.out.contains(&format!("; {traded} traded in ")), "{traded}");
    let again = run(interpreter, "resume.py", &[&redis, database]);
    assert!(again.out.starts_with(&format!("0 entries read; {traded} traded in ")), "{traded}");
}

/// Trades of the session and their quantity.
fn traded(session: &Session, wanted: impl Fn(&Tick) -> bool) -> (usize, u64) {
    let trades = session.ticks.iter().filter(|tick| tick.action == Action::Trade && wanted(tick));
    trades.fold((0, 0), |(count, sum), tick| (count + 1, sum + u64::from(tick.size)))
}

fn read_the_archive(interpreter: &Path, world: &World, session: &Session) {
    let database = world.postgres.url();
    let own = |tick: &Tick| tick.instrument_id == INSTRUMENT;
    let ticks = session.ticks.iter().filter(|tick| own(tick)).count();
    let (priced, priced_volume) = traded(session, |tick| own(tick) && tick.price != Price::UNDEFINED.0);
    let by_id = format!("{PUBLISHER_ID}:{INSTRUMENT}");

    let printed = run(interpreter, "archive_pandas.py", &[&database, SYMBOL, "--set", "quotes"]);
    assert!(printed.out.contains(&format!("{priced} trades, {priced_volume} traded\n")));
    assert!(printed.out.contains(&format!(" bars of 1 minute, {priced_volume} traded\n")));
    assert!(printed.out.contains("\n1 gaps, "));
    assert!(printed.out.contains(&format!("\n{priced} trades beside the features before them\n")));
    let narrow = ["--set", "trades", "--width", "10 seconds", "--begin", "2026-01-05T14:30:20"];
    let arguments = [&[database.as_str(), &by_id], narrow.as_slice()].concat();
    let printed = run(interpreter, "archive_pandas.py", &arguments);
    assert!(printed.out.contains(" bars of 10 seconds, "));
    let unknown = python::run(interpreter, "archive_pandas.py", &[&database, "NOSUCH"]).unwrap_err();
    assert!(unknown.to_string().contains("0 instruments are called NOSUCH"), "{unknown}");

    let printed = run(interpreter, "archive_polars.py", &[&database, SYMBOL]);
    assert!(printed.out.starts_with(&format!("{ticks} ticks: ")));
    assert!(printed.out.contains(&format!(" bars, {priced_volume} traded\n")));
    assert!(printed.out.contains(&format!("\n{priced} trades beside the features before them\n")));

    let printed = run(interpreter, "trades_from_book.py", &[&database, SYMBOL]);
    let (trades, volume) = traded(session, own);
    assert!(trades > priced, "ITCH leaves prices out");
    let unknown: usize =
        printed.out.split(" traded, ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    if unknown == 0 {
        assert!(printed.out.starts_with(&format!("{trades} trades, {volume} traded, 0 without a price\n")));
    } else {
        assert!(printed.out.starts_with(&format!("{} trades, ", trades - unknown)));
    }
}

fn draw(interpreter: &Path, world: &World) {
    let picture = python::pictures().unwrap().join("features.png");
    let _ = std::fs::remove_file(&picture);
    let arguments = [&world.postgres.url(), SYMBOL, "--png", picture.to_str().unwrap()];
    run(interpreter, "plot_features.py", &arguments);
    let bytes = std::fs::read(&picture).unwrap();
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((number(16), number(20)), (1_320, 770));
    assert!(bytes.len() > 30_000, "{} bytes are an empty picture", bytes.len());
}
