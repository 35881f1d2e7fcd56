//! `feedplane apply`, `diff`, `history`, `rollback`: the versions of the documents, as `docs/controlplane.md` has them.
//!
//! Nothing is changed that was not shown: a change names the version that it was compared with, and the control plane
//! refuses it when there is another by then.

mod apply;
mod changes;
mod diff;
mod files;
mod history;
mod rollback;

pub(crate) use apply::{ApplyArgs, apply};
pub(crate) use diff::{DiffArgs, diff};
pub(crate) use history::{HistoryArgs, history};
pub(crate) use rollback::{RollbackArgs, rollback};

use crate::client::{Client, Failure, escaped};
use crate::output::one_line;
use anyhow::{Result, ensure};
use std::io::{BufRead, IsTerminal, Write};

/// Longest reason, bytes.
const REASON_BYTES_MAX: usize = 256;

/// Where a document is.
fn path_of(service: &str) -> String {
    format!("/v1/config/{}", escaped(service))
}

/// The version that a document has now; nothing when it has none yet.
fn current_version(client: &Client, service: &str) -> Result<Option<u64>, Failure> {
    let path = path_of(service);
    let Some(answer) = client.find(&path)? else { return Ok(None) };
    match answer.body["version"].as_u64() {
        // A document without a version is one that nobody has written yet.
        Some(0) => Ok(None),
        Some(version) => Ok(Some(version)),
        None => Err(Failure::shape(&path, "version")),
    }
}

/// Asks on the terminal whether to go on.
fn confirm(what: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    ensure!(std::io::stdin().is_terminal(), "{what} is not confirmed, and there is no terminal: add --yes");
    let mut out = std::io::stderr().lock();
    write!(out, "{what}? Type yes to go on: ")?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    ensure!(line.trim() == "yes", "not confirmed; nothing was done");
    Ok(())
}

/// A reason as it is kept: one line, not endless.
///
/// # Errors
/// It is none.
pub(crate) fn checked_reason(reason: &str) -> Result<()> {
    ensure!(!reason.trim().is_empty(), "--reason is empty; say why, it is kept");
    ensure!(
        reason.len() <= REASON_BYTES_MAX && !reason.chars().any(char::is_control),
        "--reason has {} bytes; at most {REASON_BYTES_MAX} are kept, on one line",
        reason.len()
    );
    Ok(())
}

/// A version as it is told.
fn told(version: Option<u64>) -> String {
    version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"))
}

/// A service's name as it may be shown.
fn name(service: &str) -> String {
    one_line(service)
}
