//! The examples of the reader's guide, run as a reader would run them.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What an example printed.
#[derive(Debug)]
pub struct Printed {
    /// Its result.
    pub out: String,
    /// Its remarks.
    pub err: String,
}

/// The folder of the examples.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/python")
}

/// The build's folder: what is kept of a test run goes there.
///
/// # Errors
/// The test is not in one.
pub fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // The test is in target/<profile>/deps.
    own.ancestors().nth(3).map(Path::to_owned).context("the test is not in a build's folder")
}

/// Where what tests draw is kept: `pictures` in the build's folder.
///
/// # Errors
/// The folder cannot be made.
pub fn pictures() -> Result<PathBuf> {
    let folder = target()?.join("pictures");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The interpreter with the packages; says loudly when there is none.
pub fn interpreter() -> Option<PathBuf> {
    let interpreter = std::env::var_os("FEEDPLANE_PYTHON").map(PathBuf::from).filter(|path| path.exists());
    if interpreter.is_none() {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON is not set");
    }
    interpreter
}

/// Runs an example to its end.
///
/// # Errors
/// It cannot be started, or fails: with what it printed.
pub fn run(interpreter: &Path, example: &str, arguments: &[&str]) -> Result<Printed> {
    let output = Command::new(interpreter)
        // Nothing is left beside the examples, and the plot needs no display.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MPLBACKEND", "agg")
        .arg(folder().join(example))
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {}", interpreter.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = Printed { out: text(&output.stdout), err: text(&output.stderr) };
    if !output.status.success() {
        bail!("{example} {}: {}\n{}\n{}", arguments.join(" "), output.status, printed.out, printed.err);
    }
    Ok(printed)
}
