//! The trainer of pipeline/trainer, run as a person would run it: with the interpreter that `make setup` installs.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the trainer.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipeline/trainer")
}

/// The interpreter with the trainer's packages; says loudly when there is none.
pub fn interpreter() -> Option<PathBuf> {
    let interpreter =
        std::env::var_os("FEEDPLANE_TRAINER_PYTHON").map(PathBuf::from).filter(|path| path.exists());
    if interpreter.is_none() {
        eprintln!("SKIPPED: FEEDPLANE_TRAINER_PYTHON is not set");
    }
    interpreter
}

/// Runs `feedplane-trainer train` to its end, whatever that is.
///
/// # Errors
/// It cannot be started.
pub fn train(interpreter: &Path, config: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new(folder().join("feedplane-trainer"))
        .env("FEEDPLANE_TRAINER_PYTHON", interpreter)
        .arg("train")
        .arg("--config")
        .arg(config)
        .args(arguments)
        .output()
        .context("cannot start feedplane-trainer")
}

/// Runs the trainer's own tests against a PostgreSQL in which they may make databases.
///
/// # Errors
/// They cannot be started.
pub fn own_tests(interpreter: &Path, database: &str) -> Result<Output> {
    Command::new(interpreter)
        .current_dir(folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("FEEDPLANE_TRAINER_DATABASE", database)
        .args(["-m", "pytest", "--color=no", "-rs"])
        .output()
        .with_context(|| format!("cannot start {}", interpreter.display()))
}
