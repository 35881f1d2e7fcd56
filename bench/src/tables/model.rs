//! Table (l): a score of a trained model, against ONNX Runtime as Python calls it.
//!
//! The same files, the same rows: boosters of 50, 200 and 1,000 trees with 63 leaves, at most 8 deep, on 20 features,
//! trained and exported as `pipeline/trainer` does. All contenders' sums of scores must agree.

use crate::harness::{Contender, Effort, Kind, Round, Row, Table, Target, measure};
use crate::python;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use strategy::models::Model;

const REFERENCE: &str = "ONNX Runtime from Python, a row a call";
const TREES: [u32; 3] = [50, 200, 1_000];
const FEATURES: usize = 20;
/// What a score of 200 trees may take, µs.
const TARGET_US: f64 = 20.0;

#[derive(Debug, Deserialize)]
struct Measured {
    ns: Vec<f64>,
    sums: Vec<f64>,
}

/// The reference program in the trainer's environment.
fn reference(what: &str, folder: &Path) -> Result<Command> {
    let python = std::env::var_os("FEEDPLANE_TRAINER_PYTHON").map(PathBuf::from).filter(|path| path.exists());
    let Some(python) = python else {
        bail!("FEEDPLANE_TRAINER_PYTHON names no interpreter (scripts/setup.sh makes one)")
    };
    let bench = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.env("PYTHONPATH", bench.join("../pipeline/trainer/src")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(bench.join("reference/onnx_scores.py")).arg(what).arg(folder);
    command.args(TREES.map(|trees| trees.to_string()));
    Ok(command)
}

/// Rows as a record of features holds them.
fn rows(folder: &Path) -> Result<Vec<Vec<f64>>> {
    let bytes = std::fs::read(folder.join("rows")).context("reading the rows")?;
    let value =
        |bytes: &[u8]| bytes.try_into().map_or(f64::NAN, |bytes| f64::from(f32::from_le_bytes(bytes)));
    Ok(bytes.chunks_exact(4 * FEATURES).map(|row| row.chunks_exact(4).map(value).collect()).collect())
}

/// Our scores of all rows, with each of the models: µs a score, and the sums.
fn ours(models: &mut [Model], rows: &[Vec<f64>]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut us, mut sums) = (Vec::new(), Vec::new());
    for model in models {
        let mut sum = 0.0;
        let began = Instant::now();
        for row in rows {
            sum += model.score(black_box(row).iter().copied())?;
        }
        us.push(began.elapsed().as_secs_f64() * 1e6 / rows.len() as f64);
        sums.push(sum);
    }
    Ok((us, sums))
}

fn theirs(what: &str, folder: &Path, sums: &[f64]) -> Result<Round> {
    let measured: Measured = python::result(&mut reference(what, folder)?)?;
    for (ours, theirs) in sums.iter().zip(&measured.sums) {
        ensure!((ours - theirs).abs() <= 1e-3 * ours.abs().max(1.0), "it sums up to {theirs}, we to {ours}");
    }
    Ok(Round { figures: measured.ns.iter().map(|ns| ns / 1e3).collect(), note: String::new() })
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let made = reference("make", folder.path())?.output().context("making the models")?;
    ensure!(made.status.success(), "the models were not made: {}", String::from_utf8_lossy(&made.stderr));
    let load = |trees: u32| Model::load(&folder.path().join(trees.to_string())).map_err(anyhow::Error::from);
    let mut models = TREES.into_iter().map(load).collect::<Result<Vec<_>>>()?;
    let rows = rows(folder.path())?;
    let (_, sums) = ours(&mut models, &rows)?;
    let row = |trees| {
        let row =
            Row::new("feedplane", "a row of f64 values in, the score out, on one core; the rows in turn");
        if trees == 200 { row.aiming(&[Target::Figure(TARGET_US)]) } else { row }
    };
    let python = |what: &str, does: &str| TREES.map(|_| Row::new(what, does)).to_vec();
    let contenders = vec![
        Contender::several(TREES.map(row).to_vec(), || {
            Ok(Round { figures: ours(&mut models, &rows)?.0, note: String::new() })
        }),
        Contender::several(
            python(
                "ONNX Runtime from Python, all rows in one call",
                "1,000 rows at once: what live scoring cannot do",
            ),
            || theirs("batch", folder.path(), &sums),
        ),
        Contender::several(
            python(REFERENCE, "what a Python service does with each record, one thread"),
            || theirs("row", folder.path(), &sums),
        ),
    ];
    let kinds = TREES.map(|trees| Kind::lower(&format!("a score of {trees} trees"), "µs/score"));
    Ok(Table { id: 'l', title: "model", metrics: measure(&kinds, REFERENCE, effort, contenders) })
}
