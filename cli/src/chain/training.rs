//! The trainer as a process: it speaks for itself, and ends when this one is to.

use super::ensure_going;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Between two looks at it.
const TURN: Duration = Duration::from_millis(20);

/// Fails when the trainer cannot run here: before anything else takes time.
///
/// # Errors
/// It is not there, or its environment is not.
pub(super) fn must_be_there(program: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().with_context(|| not_started(program))?;
    ensure!(
        status.success(),
        "{} cannot run, as it says above; scripts/setup.sh installs what it needs",
        program.display()
    );
    Ok(())
}

fn not_started(program: &Path) -> String {
    format!(
        "cannot start {}; in a clone, say --trainer pipeline/trainer/feedplane-trainer",
        program.display()
    )
}

/// Trains by a document into a folder.
///
/// # Errors
/// It cannot be started, or did not train: it has said why.
pub(super) fn train(program: &Path, config: &Path, out: &Path, stop: &AtomicBool) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("train").arg("--config").arg(config).arg("--out").arg(out);
    // Its line of figures is in the folder, too.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: between fork and exec one system call is made, and nothing is allocated or locked.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut child = command.spawn().with_context(|| not_started(program))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Err(stopped) = ensure_going(stop) {
            child.kill()?;
            child.wait()?;
            return Err(stopped);
        }
        std::thread::sleep(TURN);
    };
    ensure!(status.success(), "the trainer ended with {status}: it says why above");
    Ok(())
}

/// The first row that the model was not trained on, ns since the epoch. No label that it was trained on is known as late.
pub(super) fn trade_from_ns(model: &Path) -> Result<u64> {
    let card = read(&model.join("card.json"))?;
    card["trained"]["data"]["final_first_ns"].as_u64().context("the card does not say final_first_ns")
}

/// A file of JSON.
pub(super) fn read(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}
