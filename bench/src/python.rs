//! The Python references in `bench/reference/`, `bench/reference_asyncio/` and `bench/reference_hftbacktest/`, and the interpreters
//! that run them.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The interpreter that `FEEDPLANE_PYTHON` names, if it is there.
pub fn interpreter() -> Option<PathBuf> {
    std::env::var_os("FEEDPLANE_PYTHON").map(PathBuf::from).filter(|path| path.exists())
}

/// A command that runs a program of `bench/reference/`; its output is piped.
///
/// # Errors
/// There is no interpreter.
pub fn reference(program: &str) -> Result<Command> {
    let mut command = python()?;
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reference").join(program));
    Ok(command)
}

/// A command that runs a module of `bench/reference_asyncio/`; its output is piped. Paths given to it are absolute.
///
/// # Errors
/// There is no interpreter.
pub fn reference_asyncio(module: &str) -> Result<Command> {
    let mut command = python()?;
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("-m").arg(format!("reference_asyncio.{module}"));
    Ok(command)
}

/// A command that runs a program of `bench/reference_hftbacktest/` in that folder's own environment; its output is piped.
///
/// # Errors
/// There is no interpreter.
pub fn reference_hftbacktest(program: &str) -> Result<Command> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reference_hftbacktest");
    let found =
        std::env::var_os("FEEDPLANE_PYTHON_HFTBACKTEST").map(PathBuf::from).filter(|path| path.exists());
    let Some(python) = found else {
        bail!("FEEDPLANE_PYTHON_HFTBACKTEST names no interpreter (`scripts/setup.sh bench` makes one)")
    };
    let mut command = piped(python);
    command.arg(folder.join(program));
    Ok(command)
}

fn python() -> Result<Command> {
    let Some(python) = interpreter() else {
        bail!("FEEDPLANE_PYTHON names no interpreter (scripts/setup.sh makes one)")
    };
    Ok(piped(python))
}

fn piped(python: PathBuf) -> Command {
    let mut command = Command::new(python);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs a reference program to its end and reads its last line as JSON.
///
/// # Errors
/// It failed, or printed something else.
pub fn result<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command.output().context("starting the Python reference")?;
    if !output.status.success() {
        bail!("the Python reference ended with {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().context("the Python reference printed nothing")?;
    serde_json::from_str(last).with_context(|| format!("unexpected output: {last}"))
}
