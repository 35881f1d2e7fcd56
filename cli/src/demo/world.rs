//! The demo's world: a network of its own where the rights are there, loopback where they are not; Redis;
//! the data plane's process.

use anyhow::{Context, Result, bail};
use lab::network::Network;
use lab::redis_server::RedisServer;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The venue's ends of the veth pairs, line A and line B.
pub(super) const VENUE_ENDS: [&str; 2] = ["venue-a", "venue-b"];
/// The data plane's.
const NIC_ENDS: [&str; 2] = ["nic-a", "nic-b"];
/// Entries that the stream keeps: all, because the account at the end is made from the stream.
const ENTRIES_KEPT: u64 = 100_000_000;
/// More than a data plane needs to start or end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct World {
    network: Option<Network>,
    redis: RedisServer,
    folder: TempDir,
    dataplane: Option<Child>,
}

impl World {
    pub(super) fn new() -> Result<World> {
        let network =
            lab::network::require_root("the private network of the demo").then(Network::new).transpose()?;
        if let Some(network) = &network {
            for (venue, nic) in VENUE_ENDS.iter().zip(NIC_ENDS) {
                network.veth_pair(venue, nic, 1)?;
            }
        }
        let redis = RedisServer::start().context("a private redis-server")?;
        let folder = tempfile::Builder::new().prefix("feedplane-demo-").tempdir()?;
        Ok(World { network, redis, folder, dataplane: None })
    }

    /// Whether it has a network of its own.
    pub(super) fn is_private(&self) -> bool {
        self.network.is_some()
    }

    pub(super) fn network(&self) -> Option<Network> {
        self.network.clone()
    }

    pub(super) fn redis_url(&self) -> String {
        self.redis.url()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where lines go over loopback; `None` in a network of its own, where groups are used.
    pub(super) fn loopback_destinations(&self) -> Option<[Option<SocketAddrV4>; 2]> {
        let to = |port| Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        (!self.is_private()).then(|| [to(31_001), to(32_001)])
    }

    pub(super) fn describe(&self) -> String {
        match &self.network {
            Some(_) => format!(
                "a namespace of its own: {} ⇄ {}, {} ⇄ {}",
                VENUE_ENDS[0], NIC_ENDS[0], VENUE_ENDS[1], NIC_ENDS[1]
            ),
            None => {
                "loopback and kernel sockets: no network of its own can be made (the line above says why)"
                    .into()
            }
        }
    }

    /// Starts the data plane and waits until it runs its feeds.
    pub(super) fn start_dataplane(&mut self) -> Result<()> {
        let [a, b] = if self.is_private() { NIC_ENDS } else { ["lo"; 2] };
        let backend = if self.is_private() { "auto" } else { "socket" };
        // The worker gets the last core of those this process may use; with only two, what remains is for
        // everything else.
        let core = core_affinity::get_core_ids().and_then(|cores| cores.last().map(|core| core.id));
        let core = core.map_or(String::new(), |core| format!("core: {core}, "));
        let document = format!(
            "feeds: feeds.yaml\n\
             workers:\n  - {{name: demo, {core}interface_a: {a}, interface_b: {b}}}\n\
             receive: {{backend: {backend}}}\n\
             publisher: {{redis: '{}', entries_max: {ENTRIES_KEPT}}}\n\
             status: {{file: status.json, interval_ms: 100}}\n",
            self.redis.url()
        );
        std::fs::write(self.path("dataplane.yaml"), document)?;
        let program = std::env::current_exe()?.with_file_name("feedplane-dataplane");
        let log = std::fs::File::create(self.path("dataplane.log"))?;
        let mut command = Command::new(&program);
        command.arg("--config").arg(self.path("dataplane.yaml"));
        // Ctrl-C is for the demo, which ends the data plane when the venue has stopped.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let spawned = match &self.network {
            Some(network) => network.command(&mut command).spawn(),
            None => command.spawn(),
        };
        let what = || format!("cannot start {}; build it with `make build`", program.display());
        self.dataplane = Some(spawned.with_context(what)?);
        let started = Instant::now();
        while self.status().is_err() {
            self.check_alive()?;
            if started.elapsed() > PATIENCE {
                bail!("the data plane does not come up:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Mode and core in force, as the data plane read them back.
    pub(super) fn describe_dataplane(&self) -> Result<String> {
        let status = self.status()?;
        let worker = &status["workers"][0];
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let sockets = worker["receiver"]["sockets"].as_array();
        let mode = match sockets.and_then(|sockets| sockets.first()) {
            Some(socket) => format!(
                "XDP attached {}, AF_XDP {} mode, {}",
                text(&worker["link"][0]["attached"]),
                text(&socket["mode"]),
                if socket["busy_poll"] == true { "busy polling" } else { "no busy polling" },
            ),
            None => format!("{} backend", text(&worker["backend"])),
        };
        let core = worker["core"].as_u64().map_or("no core".into(), |core| format!("core {core}"));
        let fallback = worker["fallback"].as_str().map_or(String::new(), |why| format!("; no XDP: {why}"));
        Ok(format!("{mode}; worker on {core}, waits by {}{fallback}", text(&worker["wait"])))
    }

    pub(super) fn status(&self) -> Result<Value> {
        let text =
            std::fs::read_to_string(self.path("status.json")).context("the data plane has no status yet")?;
        Ok(serde_json::from_str(&text)?)
    }

    fn check_alive(&mut self) -> Result<()> {
        if let Some(dataplane) = &mut self.dataplane
            && let Some(ended) = dataplane.try_wait()?
        {
            self.dataplane = None;
            bail!("the data plane ended ({ended}):\n{}", self.log());
        }
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("dataplane.log")).unwrap_or_default()
    }

    /// Ends the data plane: it publishes what it has taken. Returns its last status.
    pub(super) fn stop_dataplane(&mut self) -> Result<Value> {
        self.check_alive()?;
        let Some(mut dataplane) = self.dataplane.take() else { bail!("the data plane does not run") };
        let pid = rustix::process::Pid::from_child(&dataplane);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = dataplane.wait()?;
        if !ended.success() {
            bail!("the data plane ended with {ended}:\n{}", self.log());
        }
        self.status()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut dataplane) = self.dataplane.take() {
            let _ = dataplane.kill();
            let _ = dataplane.wait();
        }
    }
}
