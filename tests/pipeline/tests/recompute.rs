//! Features calculated again from the archive, by an independent implementation, equal those that were published.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test may.

use pipeline_tests::python;
use pipeline_tests::session::Session;
use pipeline_tests::world::World;
use std::path::Path;
use venue::session::Protocol;
use venue::synthetic::{SessionEnd, SyntheticSpec};

/// Messages in each made-up session: long under `make soak`.
fn messages() -> u64 {
    if std::env::var_os("FEEDPLANE_SOAK").is_some() { 2_000_000 } else { 12_000 }
}

/// Some instruments that trade several times a second, on two channels.
fn spec(protocol: Protocol) -> SyntheticSpec {
    SyntheticSpec {
        protocol,
        channels: 2,
        symbols: 2,
        messages_per_s: 150.0,
        ..SyntheticSpec::new(SessionEnd::Messages(messages()), 20_260_105)
    }
}

/// Runs the services on a session, counts what is in the archive, and recomputes.
fn assert_recomputed(session: &Session, shards: u16) {
    let Some(python) = python::interpreter() else { return };
    let Some(world) = World::start(shards).unwrap() else { return };
    recompute(&python, &world, session, shards);
}

fn recompute(python: &Path, world: &World, session: &Session, shards: u16) {
    world.run(session).unwrap();

    let ticks = session.ticks.iter().filter(|tick| tick.as_gap().is_none()).count() as i64;
    assert_eq!(world.number("SELECT count(*) FROM feedplane.ticks").unwrap(), ticks);
    let gaps = session.ticks.len() as i64 - ticks;
    let archived = "SELECT count(*) FROM feedplane.gaps g JOIN feedplane.stream_positions p USING (stream) WHERE p.kind = 'ticks'";
    assert_eq!(world.number(archived).unwrap(), gaps * i64::from(shards));
    // Dense numbers: what is there is there once, in order.
    let holes = "SELECT count(*) FROM (SELECT stream, count(*) AS n, min(row) AS first, max(row) AS last, \
                 count(DISTINCT row) AS rows FROM feedplane.ticks GROUP BY stream) s \
                 WHERE (n, first, last) <> (rows, 1, rows)";
    assert_eq!(world.number(holes).unwrap(), 0);

    let document = world.features_document();
    let arguments = [world.postgres.url(), document.to_str().unwrap().to_owned()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = python::run(python, "recompute_features.py", &arguments).unwrap();
    println!("{}", printed.out);
    let records = world.number("SELECT count(*) FROM feedplane.features").unwrap();
    assert!(records > 0);
    let last = printed.out.lines().last().unwrap();
    assert_eq!(last, format!("{records} records compared, 0 differ"));
}

#[test]
fn features_of_a_session_by_order_are_what_its_archive_gives() {
    let session = Session::synthetic(&spec(Protocol::Itch50), |_| false).unwrap();
    assert_recomputed(&session, 1);
}

#[test]
fn features_of_a_session_by_price_are_what_its_archive_gives() {
    let session = Session::synthetic(&spec(Protocol::Mdp3), |_| false).unwrap();
    assert_recomputed(&session, 1);
}

#[test]
fn features_of_a_session_with_gaps_in_two_shards_are_what_its_archive_gives() {
    for protocol in [Protocol::Itch50, Protocol::Mdp3] {
        let session = Session::synthetic(&spec(protocol), |packet| packet % 701 == 350).unwrap();
        assert!(session.ticks.iter().any(|tick| tick.as_gap().is_some()));
        assert_recomputed(&session, 2);
    }
}

#[test]
fn features_of_the_real_session_by_order_are_what_its_archive_gives() {
    let Some(captures) = std::env::var_os("FEEDPLANE_CAPTURES") else {
        eprintln!("SKIPPED: FEEDPLANE_CAPTURES is not set");
        return;
    };
    let session = Session::es_by_order(captures.as_ref()).unwrap();
    assert_eq!(session.ticks.len(), 68_792);
    let Some(python) = python::interpreter() else { return };
    let Some(world) = World::start(1).unwrap() else { return };
    recompute(&python, &world, &session, 1);

    let picture = python::pictures().unwrap().join("features_es.png");
    let _ = std::fs::remove_file(&picture);
    let database = world.postgres.url();
    let arguments = [&database, "1:17077", "--begin", "2023-12-25T23:00", "--bars", "trades", "--png"];
    python::run(&python, "plot_features.py", &[&arguments, [picture.to_str().unwrap()].as_slice()].concat())
        .unwrap();
    assert!(std::fs::metadata(&picture).unwrap().len() > 30_000);
}

#[test]
fn the_plain_book_and_features_give_what_was_worked_out_by_hand() {
    let Some(python) = python::interpreter() else { return };
    python::run(&python, "../../tests/pipeline/python/test_plain.py", &[]).unwrap();
}
