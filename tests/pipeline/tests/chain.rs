//! `feedplane chain` on the real file of one future: run as an operator runs it, its figures recomputed by other means, its reports
//! kept in `target/reports/chain`.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test may.

use lab::postgres::PostgresServer;
use pipeline_tests::service::program;
use pipeline_tests::world::ask;
use pipeline_tests::{python, session, trainer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a point of the future is worth.
const MULTIPLIER: i128 = 50;

/// What a chain needs here.
struct Needs {
    file: PathBuf,
    trainer: PathBuf,
    reader: PathBuf,
}

impl Needs {
    fn found() -> Option<Needs> {
        if let Some(why) = lab::postgres::unavailable() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let file = session::es_file()?;
        Some(Needs { file, trainer: trainer::interpreter()?, reader: python::interpreter()? })
    }

    /// The command, with a temporary folder of its own.
    fn chain(&self, out: &Path, temporary: &Path) -> Command {
        let mut command = Command::new(program("feedplane").unwrap());
        command.arg("chain").arg("--dbn").arg(&self.file).arg("--out").arg(out);
        command.args(["--tick-size", "0.25", "--multiplier", "50"]);
        command.arg("--trainer").arg(trainer::folder().join("feedplane-trainer"));
        command.env("FEEDPLANE_TRAINER_PYTHON", &self.trainer).env("TMPDIR", temporary).stdin(Stdio::null());
        command
    }
}

/// What a script beside this test says.
fn script(interpreter: &Path, name: &str, arguments: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    let output = Command::new(interpreter)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(path)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether nothing of ours is there. (ONNX Runtime leaves a file of its own in the temporary folder.)
fn is_clean(folder: &Path) -> bool {
    let mut names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    !names.any(|name| name.to_string_lossy().starts_with("feedplane-"))
}

#[test]
fn a_real_recording_goes_through_the_whole_chain_and_every_figure_is_found_again() {
    let Some(needs) = Needs::found() else { return };
    let postgres = PostgresServer::start().unwrap();
    let out = python::target().unwrap().join("reports/chain");
    if out.exists() {
        std::fs::remove_dir_all(&out).unwrap();
    }
    let temporary = tempfile::tempdir().unwrap();
    let output = needs.chain(&out, temporary.path()).arg("--database").arg(postgres.url()).output().unwrap();
    let (said, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    println!("{errors}{said}");
    assert!(output.status.success(), "{errors}");
    assert!(is_clean(temporary.path()), "nothing is left behind");

    let chain = json(&out.join("chain.json"));
    assert_ticks(&needs, &postgres, &chain);
    assert_model(&needs, &postgres, &out, &chain);
    assert_money(&out, &chain);
    assert_again(&needs, &out);
    let verdict = chain["model"]["verdict"].as_str().unwrap();
    assert!(said.contains(&format!("The model is {verdict} than the better baseline")), "{said}");
    // An archive is not mixed with another.
    let output = needs
        .chain(&temporary.path().join("out"), temporary.path())
        .arg("--database")
        .arg(postgres.url())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("the database has an archive already"), "{errors}");
}

/// What the archive has is what Databento's own reader counts in the file.
fn assert_ticks(needs: &Needs, postgres: &PostgresServer, chain: &Value) {
    let counted = script(&needs.reader, "chain_count.py", &[needs.file.to_str().unwrap()]);
    let records = counted["records"].as_i64().unwrap();
    assert!(records > 60_000);
    assert_eq!(chain["ticks"].as_i64(), Some(records));
    assert_eq!(chain["archived"]["ticks"].as_i64(), Some(records));
    let sums: (i64, String, String, String) = ask(&postgres.url(), |mut connection| async move {
        let query =
            "SELECT count(*), sum(size)::text, sum(price)::text, sum(order_id)::text FROM feedplane.ticks";
        Ok(sqlx::query_as(query).fetch_one(&mut connection).await?)
    })
    .unwrap();
    let sum = |name: &str| counted[name].to_string();
    assert_eq!(sums, (records, sum("size"), sum("price"), sum("order_id")));
    let actions: Vec<(String, i64)> = ask(&postgres.url(), |mut connection| async move {
        let query = "SELECT action::text, count(*) FROM feedplane.ticks GROUP BY 1";
        Ok(sqlx::query_as(query).fetch_all(&mut connection).await?)
    })
    .unwrap();
    let expected = counted["actions"].as_object().unwrap();
    assert_eq!(actions.len(), expected.len());
    for (action, count) in actions {
        assert_eq!(expected[&action].as_i64(), Some(count), "{action}");
    }
}

/// Scores and metrics, from the archive's rows and the model's file by a program that shares nothing with the trainer.
fn assert_model(needs: &Needs, postgres: &PostgresServer, out: &Path, chain: &Value) {
    let figures = script(&needs.trainer, "chain_figures.py", &[&postgres.url(), out.to_str().unwrap()]);
    println!("{figures}");
    assert_eq!(chain["archived"]["features"], figures["records"]);
    assert_eq!(chain["training"]["records"], figures["records"]);

    let scores = &figures["backtest"];
    assert_eq!(scores["scores"], chain["backtest"]["scores"]);
    assert!(scores["scores"].as_u64().unwrap() > 5_000);
    assert_eq!(scores["same_records"], true);
    assert!(scores["difference_max"].as_f64().unwrap() <= 1e-6, "{scores}");

    let (own, again) = (&chain["model"]["metrics"], &figures["final"]);
    assert_eq!(chain["training"]["final_rows"], again["rows"]);
    let near = |own: &Value, again: &Value| {
        let (own, again) = (own.as_f64().unwrap(), again.as_f64().unwrap());
        assert!((own - again).abs() <= 1e-7 * (1.0 + again.abs()), "{own} and {again}");
    };
    for metric in ["mse_bps2", "r2", "ic_spearman", "hit_rate"] {
        near(&own[metric], &again[metric]);
    }
    near(&chain["model"]["baseline"]["zero"]["mse_bps2"], &again["zero_mse_bps2"]);
    near(&chain["model"]["baseline"]["last_move"]["mse_bps2"], &again["last_move_mse_bps2"]);
}

/// Profit, fees and trades, added up from the reports; and nothing was sent in the time that the model was trained on.
fn assert_money(out: &Path, chain: &Value) {
    let backtest = &chain["backtest"];
    let nanos = |text: &str| i128::from(text.parse::<tick::Price>().unwrap().0);
    let (mut position, mut cash, mut fees, mut fills) = (0, 0, 0, 0u64);
    for report in lines(&out.join("backtest/reports.jsonl")) {
        if report["kind"] != "filled" {
            continue;
        }
        let last: i128 = report["last_quantity"].parse().unwrap();
        let signed = if report["side"] == "buy" { last } else { -last };
        position += signed;
        cash -= signed * nanos(&report["last_price"]) * MULTIPLIER;
        fees += last * nanos(if report["liquidity"] == "maker" { "0.35" } else { "1.18" });
        fills += 1;
    }
    assert!(fills > 0, "the model traded");
    let holding = &json(&out.join("backtest/report.json"))["holdings"][0];
    assert_eq!(holding["position"].as_i64().map(i128::from), Some(position));
    let gross = cash + holding["mark"].as_str().map_or(0, |mark| position * nanos(mark) * MULTIPLIER);
    assert_eq!(backtest["fills"].as_u64(), Some(fills));
    let exact = |name: &str| nanos(backtest[name].as_str().unwrap());
    assert_eq!((exact("gross"), exact("fees"), exact("net")), (gross, fees, gross - fees));

    let instructions = lines(&out.join("backtest/instructions.jsonl"));
    let orders = instructions.iter().filter(|instruction| instruction["action"] == "new").count();
    assert_eq!(backtest["orders"].as_u64(), Some(orders as u64));
    let first_ns: u64 = instructions[0]["created_ns"].parse().unwrap();
    let training = &chain["training"];
    assert!(first_ns >= training["final_first_ns"].as_u64().unwrap());
    // Every label that was trained on was known before.
    let metrics = json(&out.join("model/metrics.json"));
    let horizon_ns = chain["model"]["horizon_ms"].as_u64().unwrap() * 1_000_000;
    assert!(metrics["data"]["last_ns"].as_u64().unwrap() + horizon_ns <= first_ns);
}

/// The documents that the chain left make the same model and the same trades.
fn assert_again(needs: &Needs, out: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    let again = folder.path().join("model");
    let trained =
        trainer::train(&needs.trainer, &out.join("model/train.yaml"), &["--out", again.to_str().unwrap()])
            .unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    for name in ["model.onnx", "card.json", "metrics.json", "report.html"] {
        assert!(read(out.join("model").join(name)) == read(again.join(name)), "{name} differs");
    }
    let again = folder.path().join("backtest");
    let status = Command::new(program("feedplane").unwrap())
        .args(["backtest", "--quiet", "--config"])
        .arg(out.join("backtest.yaml"))
        .arg("--out")
        .arg(&again)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    for name in ["instructions.jsonl", "reports.jsonl", "scores.jsonl", "report.json", "report.html"] {
        assert!(read(out.join("backtest").join(name)) == read(again.join(name)), "{name} differs");
    }
}

#[test]
fn a_chain_that_is_stopped_or_cannot_go_on_says_so_and_leaves_nothing_behind() {
    let Some(needs) = Needs::found() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (temporary, out) = (folder.path().join("tmp"), folder.path().join("out"));
    std::fs::create_dir(&temporary).unwrap();
    let refused = |out: &Path, more: &[&str], expected: &str| {
        let output = needs.chain(out, &temporary).args(more).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        assert!(is_clean(&temporary), "{errors}");
    };
    refused(folder.path(), &[], "is not empty");
    let mut bare = needs.chain(&out, &temporary);
    bare.env("FEEDPLANE_TRAINER_PYTHON", "/nowhere/python");
    let output = bare.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("run scripts/setup.sh"), "{errors}");

    // Signalled when everything runs.
    let mut child =
        needs.chain(&out, &temporary).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("stream ")));
    // SAFETY: the child is ours and not yet reaped, so the pid is its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    said.for_each(drop);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("stopped, as asked"), "{errors}");
    assert!(is_clean(&temporary) && std::fs::read_dir(&out).unwrap().next().is_none(), "{errors}");
}
