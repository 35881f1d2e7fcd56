//! The figures of a chain from first to last, as a table and as `chain.json`; and whether its numbers fit together.

use super::archive::Archived;
use super::publish::Recording;
use super::training::read;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Writes `chain.json` and prints the table.
///
/// # Errors
/// A file of a step is not there, or its numbers are not those of the step before.
pub(super) fn write(out: &Path, recording: &Recording, archived: &Archived) -> Result<()> {
    let metrics = read(&out.join("model/metrics.json"))?;
    let card = read(&out.join("model/card.json"))?;
    let report = read(&out.join("backtest/report.json"))?;
    let input = &report["input"];
    let again = (input["ticks"].as_u64(), input["feature_records"].as_u64());
    ensure!(
        again == (Some(archived.ticks), Some(archived.features)),
        "the backtest had {again:?} ticks and records of features, and {archived:?} are archived"
    );
    let data = &metrics["data"];
    let chain = json!({
        "symbol": recording.row.symbol,
        "ticks": recording.ticks.len(),
        "archived": {"ticks": archived.ticks, "features": archived.features},
        "training": {
            "records": data["records"],
            "rows": data["rows"],
            "purged_rows": data["purged_rows"],
            "final_rows": data["final_rows"],
            "final_first_ns": data["final_first_ns"],
            "left_out": data["left_out"],
        },
        "model": {
            "onnx_sha256": card["onnx_sha256"],
            "horizon_ms": card["output"]["horizon_ms"],
            "walk_forward_better": card["trained"]["metrics"]["walk_forward_better"],
            "walk_forward_folds": card["trained"]["metrics"]["walk_forward_folds"],
            "verdict": metrics["final"]["verdict"],
            "diebold_mariano": metrics["final"]["diebold_mariano"],
            "intervals": metrics["final"]["intervals"],
            "metrics": metrics["final"]["model"],
            "baseline": metrics["final"]["baseline"],
        },
        "backtest": {
            "scores": input["scores"],
            "orders": report["orders"]["sent"],
            "fills": report["trades"]["fills"],
            "round_trips": report["trades"]["round_trips"],
            "hit_rate": report["trades"]["hit_rate"],
            "gross": report["money"]["gross"],
            "fees": report["money"]["fees"],
            "net": report["money"]["net"],
            "instructions_checksum": report["instructions_checksum"],
        },
    });
    let mut bytes = serde_json::to_vec_pretty(&chain)?;
    bytes.push(b'\n');
    std::fs::write(out.join("chain.json"), bytes).context("chain.json")?;
    print!("{}", table(&chain));
    println!("\nall of it is in {}: model/report.html, backtest/report.html, chain.json", out.display());
    Ok(())
}

fn table(chain: &Value) -> String {
    let (archived, training, model, backtest) =
        (&chain["archived"], &chain["training"], &chain["model"], &chain["backtest"]);
    let number = |value: &Value| value.as_f64().map_or("-".into(), |value| format!("{value:.4}"));
    let rows = [
        ("ticks published", format!("{}", chain["ticks"])),
        (
            "rows archived",
            format!("{} ticks, {} records of features", archived["ticks"], archived["features"]),
        ),
        (
            "training",
            format!(
                "{} rows, {} purged; {} set aside at the end",
                training["rows"], training["purged_rows"], training["final_rows"]
            ),
        ),
        ("scores", format!("{}", backtest["scores"])),
        ("orders, trades", format!("{}, {}", backtest["orders"], backtest["fills"])),
        (
            "profit and loss",
            format!(
                "{} (before fees {}, fees {})",
                text(&backtest["net"]),
                text(&backtest["gross"]),
                text(&backtest["fees"])
            ),
        ),
    ];
    let mut table = String::from("\nThe chain, from the recording to the trades\n");
    for (name, value) in rows {
        // Writing into memory cannot fail.
        let _ = writeln!(table, "  {name:<18}{value}");
    }
    let _ = writeln!(
        table,
        "\n  {:<18}{:>12}{:>12}{:>12}{:>12}",
        "out of time", "mse, bps²", "R²", "rank IC", "hit rate"
    );
    let beside = [
        ("model", &model["metrics"]),
        ("baseline zero", &model["baseline"]["zero"]),
        ("baseline last_move", &model["baseline"]["last_move"]),
    ];
    for (name, metrics) in beside {
        let [mse, r2, ic, hit] =
            ["mse_bps2", "r2", "ic_spearman", "hit_rate"].map(|metric| number(&metrics[metric]));
        let _ = writeln!(table, "  {name:<18}{mse:>12}{r2:>12}{ic:>12}{hit:>12}");
    }
    let _ = writeln!(
        table,
        "\n  The model is {} than the better baseline (Diebold-Mariano {}, over {} intervals of {} ms; 1.645 are asked for).",
        text(&model["verdict"]),
        number(&model["diebold_mariano"]),
        model["intervals"],
        model["horizon_ms"]
    );
    let _ = writeln!(
        table,
        "  Better in {} of {} folds. One short recording shows that the chain works, and not that a model earns money.",
        model["walk_forward_better"], model["walk_forward_folds"]
    );
    table
}

/// Text without quotation marks.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
