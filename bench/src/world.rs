//! The world of tables (e) and (j): two veth pairs in a namespace of their own, a private Redis, a folder, a reader.

use anyhow::{Context, Result, ensure};
use lab::network::Network;
use lab::redis_server::RedisServer;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// The ends of the veth pairs on which line A and line B are sent.
pub(crate) const VENUE_ENDS: [&str; 2] = ["venue-a", "venue-b"];
/// The ends on which they arrive.
pub(crate) const NIC_ENDS: [&str; 2] = ["nic-a", "nic-b"];
/// The addresses of the receiving ends.
pub(crate) const NIC_ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 91, 0, 2), Ipv4Addr::new(10, 92, 0, 2)];
/// The multicast groups of the lines.
pub(crate) const GROUPS: [Ipv4Addr; 2] = [Ipv4Addr::new(239, 90, 0, 1), Ipv4Addr::new(239, 90, 0, 2)];
/// The port of both.
pub(crate) const PORT: u16 = 26_400;

/// The lines of a feed, as an entry of a feeds file has them.
pub(crate) fn lines() -> Value {
    let line = |at: usize| json!({"group": GROUPS[at].to_string(), "port": PORT});
    json!({"a": line(0), "b": line(1)})
}

/// The lines as the Python programs' arguments.
pub(crate) fn line_arguments() -> [String; 4] {
    let line = |at: usize| format!("{}:{PORT}@{}", GROUPS[at], NIC_ADDRESSES[at]);
    ["--a".to_owned(), line(0), "--b".to_owned(), line(1)]
}

pub(crate) struct World {
    network: Network,
    redis: RedisServer,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Result<World> {
        let network = Network::new()?;
        for ((venue, nic), address) in VENUE_ENDS.iter().zip(NIC_ENDS).zip(NIC_ADDRESSES) {
            network.veth_pair(venue, nic, 1)?;
            network.add_address(nic, address, 24)?;
        }
        let redis = RedisServer::start().context("a private redis-server")?;
        Ok(World { network, redis, folder: tempfile::tempdir()? })
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn redis(&self) -> &RedisServer {
        &self.redis
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn empty_redis(&self) -> Result<()> {
        let mut connection = redis::Client::open(self.redis.url())?.get_connection()?;
        Ok(redis::cmd("FLUSHALL").arg("SYNC").exec(&mut connection)?)
    }

    /// Starts the reader and waits until it is connected.
    pub(crate) fn start_reader(&self, entries: &str, packets: u64, within_ms: u64) -> Result<Reader> {
        let mut command = Command::new(beside_this("feedplane-bench-reader")?);
        command.args(["--redis", &self.redis.url(), "--entries", entries]);
        command.args(["--packets", &packets.to_string(), "--within-ms", &within_ms.to_string()]);
        Reader::start(self.network.command(&mut command))
    }
}

/// A program that is built beside this one.
pub(crate) fn beside_this(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    // A test's own executable is one folder further down.
    let above = path.parent().and_then(Path::parent).map(|folder| folder.join(name));
    let found = if path.exists() { Some(path) } else { above.filter(|path| path.exists()) };
    found.with_context(|| format!("{name} is not built"))
}

/// A running reader; killed when dropped.
pub(crate) struct Reader {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Reader {
    /// Starts it and waits until it is connected.
    pub(crate) fn start(command: &mut Command) -> Result<Reader> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        let mut reader = Reader { child, output: BufReader::new(output) };
        ensure!(reader.line()?.trim() == "ready", "the reader does not come up");
        Ok(reader)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    /// Waits for its end and gives what it saw.
    pub(crate) fn finish<T: DeserializeOwned>(mut self) -> Result<T> {
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("the reader said {line:?}"))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
