//! The Python asyncio receiver of table (a): the reference program, in the wire's namespace.

use super::wire::{RECEIVER, RECEIVER_CORE, TO, Wire, interface_index};
use crate::harness::{Effort, Round};
use crate::python;
use anyhow::{Context, Result, ensure};
use ebpf::Pass;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::time::Duration;

/// Packets that a drained queue holds at least.
const WAITING: usize = 5_000;

#[derive(Deserialize)]
struct Received {
    packets: f64,
    ns: f64,
}

/// Draining, then the top rate.
pub(super) fn round(wire: &Wire, effort: Effort) -> Result<Round> {
    let _pass = wire.inside(|| Ok(Pass::attach(interface_index(RECEIVER)?)?))?;
    let drained = run(wire, &["--drain", &WAITING.to_string()], |child| {
        wire.fill()?;
        child.stdin.as_mut().context("no standard input")?.write_all(b"\n")?;
        Ok(())
    })?;
    let flooded = run(wire, &[], |child| {
        let flood = wire.flood()?;
        std::thread::sleep(Duration::from_millis(if effort.short { 100 } else { 1_200 }));
        // The end of its standard input ends it.
        drop(child.stdin.take());
        std::thread::sleep(Duration::from_millis(50));
        flood.stop()
    })?;
    ensure!(flooded.packets > 1.0, "nothing arrived");
    let note = format!("kernel socket; {WAITING} packets a queue");
    Ok(Round { figures: vec![drained.ns / drained.packets, flooded.packets * 1e9 / flooded.ns], note })
}

/// Starts the program, waits until it is ready, does `meanwhile`, and reads its result.
fn run(
    wire: &Wire,
    arguments: &[&str],
    meanwhile: impl FnOnce(&mut Child) -> Result<()>,
) -> Result<Received> {
    let mut command = python::reference_asyncio("mdp3_receiver")?;
    command.args(["--a", &TO.to_string(), "--core", &RECEIVER_CORE.to_string()]).args(arguments);
    let mut child = wire.network().command(&mut command).spawn()?;
    let done = converse(&mut child, meanwhile);
    if done.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    let received = done?;
    ensure!(status.success(), "the Python receiver ended with {status}");
    Ok(received)
}

fn converse(child: &mut Child, meanwhile: impl FnOnce(&mut Child) -> Result<()>) -> Result<Received> {
    let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    ensure!(line.trim() == "ready", "the Python receiver said {line:?}");
    meanwhile(child)?;
    line.clear();
    output.read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("the Python receiver said {line:?}"))
}
