//! The receivers of table (e): the data plane's process, and the Python reference.

use super::world::{GROUPS, NIC_ADDRESSES, NIC_ENDS, PORT, World, beside_this};
use crate::book;
use crate::python;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// More than a process needs to come up or end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A receiver that can be started.
pub(super) trait Receiving {
    /// What its stream entries are, for the reader.
    const ENTRIES: &'static str;
    /// How it runs.
    type Running: Running;
    /// Starts it and waits until it receives.
    fn start(&self, world: &World) -> Result<Self::Running>;
}

/// A started receiver.
pub(super) trait Running {
    /// Ends it and says what there is to say of its run.
    fn finish(self) -> Result<String>;
}

/// A child that does not outlive its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The data plane's process.
pub(super) struct Feedplane {
    backend: &'static str,
}

impl Feedplane {
    pub(super) const XDP: Feedplane = Feedplane { backend: "xdp" };
    pub(super) const SOCKETS: Feedplane = Feedplane { backend: "socket" };

    /// Writes the two documents; JSON is YAML.
    fn configure(&self, world: &World) -> Result<PathBuf> {
        let line = |at: usize| json!({"group": GROUPS[at].to_string(), "port": PORT});
        let feed = json!({
            "name": "bench", "channel_id": 1, "publisher_id": 1, "protocol": "mdp3", "schema": "book.xml",
            "lines": {"a": line(0), "b": line(1)}, "first_sequence": 1,
        });
        // As the demo does: the worker has the last core, and where there are only two the rest shares the other.
        let core = std::thread::available_parallelism().map_or(1, usize::from) - 1;
        let document = json!({
            "feeds": "feeds.yaml",
            "workers": [{"name": "bench", "core": core, "interface_a": NIC_ENDS[0], "interface_b": NIC_ENDS[1]}],
            "receive": {"backend": self.backend},
            "publisher": {"redis": world.redis().url()},
            "status": {"file": "status.json", "interval_ms": 100},
        });
        fs::write(world.path("book.xml"), book::SCHEMA)?;
        fs::write(world.path("feeds.yaml"), json!({ "feeds": [feed] }).to_string())?;
        let path = world.path("dataplane.yaml");
        fs::write(&path, document.to_string())?;
        Ok(path)
    }
}

impl Receiving for Feedplane {
    const ENTRIES: &'static str = "ticks";
    type Running = RunningFeedplane;

    fn start(&self, world: &World) -> Result<RunningFeedplane> {
        let (status, log) = (world.path("status.json"), world.path("dataplane.log"));
        let _ = fs::remove_file(&status);
        let mut command = Command::new(beside_this("feedplane-dataplane")?);
        command.arg("--config").arg(self.configure(world)?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let mut process = Owned(world.network().command(&mut command).spawn()?);
        let started = Instant::now();
        while read_status(&status).is_err() {
            if process.0.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                bail!("the data plane does not come up: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(RunningFeedplane { process, status })
    }
}

fn read_status(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

pub(super) struct RunningFeedplane {
    process: Owned,
    status: PathBuf,
}

impl Running for RunningFeedplane {
    fn finish(mut self) -> Result<String> {
        // SAFETY: a plain system call on a child of ours that was not waited for yet.
        unsafe { libc::kill(self.process.0.id().cast_signed(), libc::SIGTERM) };
        let ended = self.process.0.wait()?;
        ensure!(ended.success(), "the data plane ended with {ended}");
        let status = read_status(&self.status)?;
        let worker = &status["workers"][0];
        let mode = worker["receiver"]["sockets"][0]["mode"]
            .as_str()
            .map_or_else(|| "kernel sockets".to_owned(), |mode| format!("AF_XDP in {mode} mode"));
        let wait = worker["wait"].as_str().unwrap_or("?");
        let lost = worker["channels"][0]["lost"].as_u64().unwrap_or(0);
        let lost = if lost == 0 { String::new() } else { format!("; {lost} packets declared lost") };
        Ok(format!("{mode}, worker waits by {wait}{lost}"))
    }
}

/// The Python reference.
pub(super) struct Asyncio {
    /// Whether it sends what has gathered in one pipeline, instead of one by one.
    pub(super) pipelined: bool,
}

impl Receiving for Asyncio {
    const ENTRIES: &'static str = "fields";
    type Running = RunningAsyncio;

    fn start(&self, world: &World) -> Result<RunningAsyncio> {
        let mut command = python::reference("asyncio_receiver.py")?;
        for (option, at) in [("--a", 0), ("--b", 1)] {
            command.args([option, &format!("{}:{PORT}@{}", GROUPS[at], NIC_ADDRESSES[at])]);
        }
        command.arg("--redis").arg(world.redis().socket());
        if self.pipelined {
            command.arg("--pipelined");
        }
        let mut process = Owned(world.network().command(&mut command).spawn()?);
        let output = process.0.stdout.take().context("no standard output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the Python receiver said {line:?}");
        Ok(RunningAsyncio { process, output: Box::new(output) })
    }
}

pub(super) struct RunningAsyncio {
    process: Owned,
    output: Box<dyn Read>,
}

#[derive(Deserialize)]
struct Summary {
    packets: u64,
    unpublished: u64,
}

impl Running for RunningAsyncio {
    fn finish(mut self) -> Result<String> {
        // The end of its standard input ends it.
        drop(self.process.0.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        let summary: Summary =
            serde_json::from_str(&text).with_context(|| format!("the Python receiver said {text:?}"))?;
        Ok(match summary.unpublished {
            0 => format!("{} packets taken from the sockets", summary.packets),
            waiting => {
                format!("{} packets taken from the sockets, {waiting} ticks never published", summary.packets)
            }
        })
    }
}
