//! The processes that tables start in their [`World`]: the data plane, services, Python programs. Each ends, at the
//! latest killed, with whoever started it.

use crate::world::{NIC_ENDS, World, beside_this};
use anyhow::{Context, Result, bail, ensure};
use lab::network::Network;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// More than a process needs to come up or end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A child that does not outlive its owner, with its log.
struct Owned {
    child: Child,
    log: PathBuf,
}

impl Owned {
    /// Starts a program that logs to standard error.
    fn start(world: &World, name: &str, command: &mut Command) -> Result<Owned> {
        let log = world.path(&format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let child = world.network().command(command).spawn().with_context(|| format!("starting {name}"))?;
        Ok(Owned { child, log })
    }

    /// Waits until it is up.
    fn until(&mut self, mut up: impl FnMut() -> bool) -> Result<()> {
        let started = Instant::now();
        while !up() {
            if self.child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                bail!("it does not come up: {}", fs::read_to_string(&self.log).unwrap_or_default());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Ends it in the orderly way.
    fn end(&mut self) -> Result<()> {
        // SAFETY: a plain system call on a child of ours that was not waited for yet.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        let ended = self.child.wait()?;
        ensure!(ended.success(), "it ended with {ended}: {}", fs::read_to_string(&self.log)?);
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The data plane's process on the world's two lines.
pub(crate) struct Dataplane {
    process: Owned,
    status: PathBuf,
}

/// What a data plane that has ended leaves.
pub(crate) struct DataplaneEnded {
    /// How it received, and what was lost.
    pub(crate) says: String,
    /// Its last status.
    pub(crate) status: Value,
}

impl Dataplane {
    /// Starts it for one feed (an entry of a feeds file) and waits until it receives.
    pub(crate) fn start(world: &World, backend: &str, feed: &Value) -> Result<Dataplane> {
        let status = world.path("status.json");
        let _ = fs::remove_file(&status);
        // As the demo does: the worker has the last core, and where there are only two the rest shares the other.
        let core = std::thread::available_parallelism().map_or(1, usize::from) - 1;
        let document = json!({
            "feeds": "feeds.yaml",
            "workers": [{"name": "bench", "core": core, "interface_a": NIC_ENDS[0], "interface_b": NIC_ENDS[1]}],
            "receive": {"backend": backend},
            "publisher": {"redis": world.redis().url()},
            "status": {"file": "status.json", "interval_ms": 100},
        });
        // JSON is YAML.
        fs::write(world.path("feeds.yaml"), json!({ "feeds": [feed] }).to_string())?;
        let path = world.path("dataplane.yaml");
        fs::write(&path, document.to_string())?;
        let mut command = Command::new(beside_this("feedplane-dataplane")?);
        let mut process = Owned::start(world, "dataplane", command.arg("--config").arg(path))?;
        process.until(|| read_status(&status).is_ok()).context("the data plane")?;
        Ok(Dataplane { process, status })
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Result<DataplaneEnded> {
        self.process.end().context("the data plane")?;
        let status = read_status(&self.status)?;
        let worker = &status["workers"][0];
        let mode = worker["receiver"]["sockets"][0]["mode"]
            .as_str()
            .map_or_else(|| "kernel sockets".to_owned(), |mode| format!("AF_XDP in {mode} mode"));
        let wait = worker["wait"].as_str().unwrap_or("?");
        let lost = worker["channels"][0]["lost"].as_u64().unwrap_or(0);
        let lost = if lost == 0 { String::new() } else { format!("; {lost} packets declared lost") };
        Ok(DataplaneEnded { says: format!("{mode}, worker waits by {wait}{lost}"), status })
    }
}

fn read_status(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// One of our services: it has a document, and shows metrics and whether it is ready.
pub(crate) struct Service<'a> {
    network: &'a Network,
    process: Owned,
    name: &'static str,
    health: SocketAddr,
}

impl<'a> Service<'a> {
    /// Starts `feedplane-<name>` with a document that says `health` as its address, and waits until it is ready.
    pub(crate) fn start(
        world: &'a World,
        name: &'static str,
        health: SocketAddr,
        document: &Value,
    ) -> Result<Service<'a>> {
        let path = world.path(&format!("{name}.yaml"));
        fs::write(&path, document.to_string())?;
        let mut command = Command::new(beside_this(&format!("feedplane-{name}"))?);
        let process = Owned::start(world, name, command.arg("--config").arg(path))?;
        let mut service = Service { network: world.network(), process, name, health };
        let network = service.network;
        let ready = || get(network, health, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
        service.process.until(ready).with_context(|| name.to_owned())?;
        Ok(service)
    }

    /// Ends it and gives its last metrics, in Prometheus's text.
    pub(crate) fn finish(mut self) -> Result<String> {
        let metrics = get(self.network, self.health, "/metrics").context(self.name)?;
        self.process.end().context(self.name)?;
        Ok(metrics)
    }
}

/// The answer to a GET inside the namespace.
fn get(network: &Network, address: SocketAddr, path: &str) -> Result<String> {
    network.run(|| {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

/// The quantile of a summary in Prometheus's text, over all its labels the first that is there.
pub(crate) fn quantile(metrics: &str, name: &str, quantile: f64) -> Option<f64> {
    let label = format!("quantile=\"{quantile}\"");
    let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(&label))?;
    line.rsplit(' ').next()?.parse().ok().filter(|value: &f64| *value > 0.0)
}

/// Without it the kernel lets a sleep of this thread end up to 50 µs late, to save wake-ups.
pub(crate) fn sleep_exactly() {
    // SAFETY: a plain system call on the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

/// A Python program that says `ready`, runs until its standard input closes, and then prints what it counted.
pub(crate) struct Python {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Python {
    /// Starts it inside the namespace and waits until it is ready.
    pub(crate) fn start(network: &Network, command: &mut Command) -> Result<Python> {
        let mut child = network.command(command).spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        let mut python = Python { child, output: BufReader::new(output) };
        let mut line = String::new();
        python.output.read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the Python program said {line:?}");
        Ok(python)
    }

    /// Ends it and gives what it counted.
    pub(crate) fn finish<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        serde_json::from_str(&text).with_context(|| format!("the Python program said {text:?}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
