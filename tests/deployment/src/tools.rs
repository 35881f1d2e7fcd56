//! The programs that others wrote and the tests run, and where the repository is.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// Reads a file of the repository.
///
/// # Errors
/// It is not there.
pub fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())
}

/// A program on the path; why it cannot be used, when there is none.
///
/// # Errors
/// It is not installed.
pub fn on_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not installed (scripts/setup.sh)"))
}

/// `kubectl`: the one that `scripts/kubectl.sh` unpacked, or the system's.
///
/// # Errors
/// There is none.
pub fn kubectl() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache"))).unwrap_or_default();
    let unpacked =
        std::fs::read_dir(cache.join("feedplane")).into_iter().flatten().flatten().find_map(|entry| {
            let is_its = entry.file_name().to_string_lossy().starts_with("kubectl-");
            Some(entry.path().join("kubectl")).filter(|file| is_its && file.is_file())
        });
    unpacked.map_or_else(|| on_path("kubectl"), Ok)
}

/// The interpreter with the packages of `scripts/requirements.txt`.
///
/// # Errors
/// `FEEDPLANE_PYTHON` is not set and there is no `.venv`.
pub fn python() -> Result<PathBuf> {
    let given = std::env::var_os("FEEDPLANE_PYTHON").map(PathBuf::from);
    let python = given.unwrap_or_else(|| repository().join(".venv/bin/python"));
    if !python.is_file() {
        bail!("no Python environment (scripts/setup.sh)");
    }
    Ok(python)
}

/// Runs a command to its end; what it wrote to standard output.
///
/// # Errors
/// It cannot be started, or failed: then with all that it wrote.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// The tool, or a line that says why the test cannot run here.
#[macro_export]
macro_rules! tool_or_skip {
    ($tool:expr) => {
        match $tool {
            Ok(tool) => tool,
            Err(why) => {
                eprintln!("SKIPPED: {why:#}");
                return;
            }
        }
    };
}
