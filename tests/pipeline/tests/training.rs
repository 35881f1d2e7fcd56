//! Training on an archive that the services filled, and the trainer's own tests on a database of their own.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test may.

use bus::ModelFiles;
use lab::postgres::PostgresServer;
use pipeline_tests::session::Session;
use pipeline_tests::trainer;
use pipeline_tests::world::World;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use venue::session::Protocol;
use venue::synthetic::{SessionEnd, SyntheticSpec};

/// Standard output, standard error.
fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_trainers_own_tests_pass_on_a_private_database() {
    let Some(interpreter) = trainer::interpreter() else { return };
    if let Some(why) = lab::postgres::unavailable() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let postgres = PostgresServer::start().unwrap();
    let output = trainer::own_tests(&interpreter, &postgres.url()).unwrap();
    let (out, err) = text(&output);
    println!("{out}");
    assert!(output.status.success(), "{out}\n{err}");
    // With a database there is nothing that cannot run.
    let last = out.lines().last().unwrap();
    assert!(last.contains(" passed in ") && !last.contains("skipped"), "{last}");
}

/// Two minutes of two instruments, and a packet that is lost.
fn session() -> Session {
    let spec = SyntheticSpec {
        protocol: Protocol::Mdp3,
        channels: 1,
        symbols: 2,
        messages_per_s: 300.0,
        ..SyntheticSpec::new(SessionEnd::Messages(36_000), 20_260_107)
    };
    Session::synthetic(&spec, |packet| packet == 4_000).unwrap()
}

/// A document of one instrument's `quotes` on a day, in the world's folder. Books are bad behind a gap for a while: records with
/// that doubt stay in here, so that the gap itself is what leaves rows out.
fn document(world: &World, instrument: &str, day: &str, features: &str) -> PathBuf {
    let path = world.path("train.yaml");
    let document = format!(
        "database: {}\nname: quotes\nversion: 3\n\
         data:\n  instruments: ['{instrument}']\n  set: quotes\n  features: [{features}]\n  \
         leave_out: [bad_time]\n  rows_min: 300\n  begin: {day}T00:00:00Z\n  end: {day}T23:59:59Z\n\
         label: {{horizon_ms: 1000}}\nvalidation: {{folds: 3}}\nmodel: {{trees: 20, leaves: 7, leaf_rows_min: 20}}\n",
        world.postgres.url()
    );
    std::fs::write(&path, document).unwrap();
    path
}

const RECORDS: &str = "SELECT count(*) FROM feedplane.features f JOIN feedplane.feature_schemas s USING (schema_id) \
                       JOIN feedplane.instruments i USING (publisher_id, instrument_id) \
                       WHERE s.feature_set = 'quotes' AND i.symbol = 'C0F1'";

#[test]
fn a_model_is_trained_on_what_the_services_archived_and_is_one_that_a_strategy_takes() {
    let Some(interpreter) = trainer::interpreter() else { return };
    let Some(world) = World::start(2).unwrap() else { return };
    world.run(&session()).unwrap();
    let config = document(&world, "C0F1", "2026-01-05", "spread, imbalance_1, imbalance_5");
    let out = world.path("model");
    let output = trainer::train(&interpreter, &config, &["--out", out.to_str().unwrap()]).unwrap();
    let (printed, told) = text(&output);
    println!("{told}{printed}");
    assert!(output.status.success(), "{told}");

    let model = ModelFiles::load(&out).unwrap();
    let card = model.card();
    assert_eq!((card.name.as_str(), card.version, card.output.horizon_ms), ("quotes", 3, 1_000));
    assert_eq!(card.input.features, ["spread", "imbalance_1", "imbalance_5"]);
    let data = &card.trained.data;
    let count = |field: &str| data[field].as_i64().unwrap();
    assert_eq!(count("records"), world.number(RECORDS).unwrap());
    let left_out: i64 =
        data["left_out"].as_object().unwrap().values().map(|rows| rows.as_i64().unwrap()).sum();
    assert_eq!(count("records"), count("rows") + count("final_rows") + count("purged_rows") + left_out);
    assert!(data["left_out"]["gap"].as_i64().unwrap() > 0, "{:?}", data["left_out"]);

    assert_figures_recomputed(&world, &out);
    refuse(&interpreter, &world);
}

/// The mean squared label of the final part, once more in SQL from the archive alone.
fn assert_figures_recomputed(world: &World, folder: &Path) {
    let metrics: Value =
        serde_json::from_slice(&std::fs::read(folder.join("metrics.json")).unwrap()).unwrap();
    let zero = &metrics["final"]["baseline"]["zero"];
    let query = "
        WITH mids AS (
            SELECT f.stream, f.row, f.time_ns, f.values[2] AS mid, f.quality
            FROM feedplane.features f JOIN feedplane.feature_schemas s USING (schema_id)
              JOIN feedplane.instruments i USING (publisher_id, instrument_id)
            WHERE s.feature_set = 'quotes' AND i.symbol = 'C0F1' AND s.names[2] = 'mid'
        ), labels AS (
            SELECT m.time_ns, 10000 * (e.mid / m.mid - 1) AS bps
            FROM mids m CROSS JOIN LATERAL (
                SELECT mid FROM mids e WHERE e.time_ns <= m.time_ns + 1000000000 ORDER BY e.row DESC LIMIT 1
            ) e
            WHERE m.time_ns >= $1 AND m.time_ns + 1000000000 <= (SELECT max(time_ns) FROM mids)
        )
        SELECT count(*), avg(bps * bps) FROM labels WHERE bps <> 'NaN'";
    let first = metrics["data"]["final_first_ns"].as_i64().unwrap();
    let (rows, mean) = world.numbers(query, first).unwrap();
    assert_eq!(zero["rows"].as_i64().unwrap(), rows);
    let own = zero["mse_bps2"].as_f64().unwrap();
    assert!(own > 0.0, "the middle moves");
    assert!((own - mean).abs() <= 1e-9 * mean, "{own} and {mean}");
}

/// What cannot be is refused with its exit code, and nothing is left behind.
fn refuse(interpreter: &Path, world: &World) {
    let out = world.path("refused");
    let config = document(world, "C0F1", "2026-01-05", "spread, imbalance_10");
    let output = trainer::train(interpreter, &config, &["--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(output.status.code(), Some(3));
    let (_, told) = text(&output);
    assert!(told.contains("the set quotes has no value imbalance_10 (did you mean imbalance_1?)"), "{told}");
    assert!(!out.exists());
}
