//! The demo's world: a network of its own where the rights are there, loopback where they are not; and in it
//! everything that `feedplane up` runs.

use super::door::Port;
use crate::up::{self, State, Supervisor};
use anyhow::{Context, Result, bail};
use bus::TradingMode;
use bus::config::{
    ArchiverUp, BackendChoice, ControlplaneUp, DataplaneUp, GatewayUp, StrategyUp, UpDocument,
};
use lab::network::Network;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The venue's ends of the veth pairs, line A and line B.
pub(super) const VENUE_ENDS: [&str; 2] = ["venue-a", "venue-b"];
/// The data plane's.
const NIC_ENDS: [&str; 2] = ["nic-a", "nic-b"];
/// Entries that the stream keeps: all, because the account at the end is made from the stream.
const ENTRIES_KEPT: u64 = 100_000_000;
/// What is not found out here. The bars are short, so that windows are full within the session; Redis keeps
/// nothing on disk, so that the latencies shown are those of a bus.
const SHORT: &[u8] = b"
health_port: 0
redis_durable: false
features:
  sets:
    - name: demo
      bars: {time_ms: 100}
      publish: {every_ms: 500, on_change: [{value: mid, by: 0.01}]}
      features:
        - mid
        - spread
        - microprice
        - imbalance: {levels: 1}
        - imbalance: {levels: 5}
        - ofi: {bars: 10}
        - trade_imbalance: {bars: 10}
        - vwap_session: {}
        - ema: {bars: 10}
        - realised_volatility: {bars: 10}
";
/// More than all services need to start on a busy machine, and a new database to be made.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than consumers need to read and store what the longest session has left for them.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(60);

/// Fields are dropped in their order: the services before the folder in which their data is.
pub(super) struct World {
    supervisor: Option<Supervisor>,
    /// Strategies and gateway.
    trading: Option<(StrategyUp, GatewayUp)>,
    network: Option<Network>,
    /// Where the console is, held until it is.
    console: Option<Port>,
    no_archive: Option<String>,
    folder: TempDir,
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
        let folder = tempfile::Builder::new().prefix("feedplane-demo-").tempdir()?;
        // PostgreSQL, which is never root, must be able to go through.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711))?;
        let no_archive = lab::postgres::unavailable();
        let console = Some(Port::hold()?);
        Ok(World { supervisor: None, trading: None, network, console, no_archive, folder })
    }

    /// Whether it has a network of its own.
    pub(super) fn is_private(&self) -> bool {
        self.network.is_some()
    }

    pub(super) fn network(&self) -> Option<Network> {
        self.network.clone()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Trades by these strategies, through this gateway.
    pub(super) fn trade(&mut self, strategy: StrategyUp, gateway: GatewayUp) {
        self.trading = Some((strategy, gateway));
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

    /// Starts everything and waits until it is ready, unless it is to end meanwhile.
    pub(super) fn start(&mut self, stop: &AtomicBool) -> Result<()> {
        let console = self.console.take().context("it runs already")?;
        let document = self.document(console.number()?)?;
        match &self.network {
            Some(network) => console.open_into(network.clone())?,
            // The control plane takes the port itself.
            None => drop(console),
        }
        self.supervisor = Some(up::start_in(self.network.as_ref(), &document, self.folder.path())?);
        let end = Instant::now() + PATIENCE;
        while !stop.load(Ordering::Relaxed) {
            let states = self.supervisor()?.states();
            // The gateway is ready when it is logged on, and the exchange's day has not begun.
            let mut waited_for = states.iter().filter(|(name, _)| *name != "gateway");
            let Some((name, state)) = waited_for.find(|(_, state)| !state.is_ready()) else { break };
            if let Some(why) = &state.why {
                bail!("{name}: {why}");
            }
            if Instant::now() > end {
                bail!("{name} does not come up: {:?}", state.ready);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn document(&self, console_port: u16) -> Result<UpDocument> {
        let [a, b] = if self.is_private() { NIC_ENDS } else { ["lo"; 2] };
        let backend = if self.is_private() { BackendChoice::Auto } else { BackendChoice::Socket };
        let mut document = UpDocument::parse(SHORT)?;
        document.dataplane = Some(DataplaneUp {
            feeds: Some("feeds.yaml".into()),
            interface_a: Some(a.into()),
            interface_b: Some(b.into()),
            // The worker gets the last core of those this process may use; with only two, what remains is
            // for everything else.
            core: core_affinity::get_core_ids().and_then(|cores| cores.last().map(|core| core.id)),
            backend: Some(backend),
            entries_max: Some(ENTRIES_KEPT),
            ..DataplaneUp::default()
        });
        document.controlplane =
            Some(ControlplaneUp { port: Some(console_port), ..ControlplaneUp::default() });
        document.archiver = self.no_archive.is_none().then(ArchiverUp::default);
        if let Some((strategy, gateway)) = &self.trading {
            document.strategy = Some(strategy.clone());
            document.gateway = Some(gateway.clone());
            document.trading = Some(TradingMode::Active);
        }
        Ok(document)
    }

    fn supervisor(&self) -> Result<&Supervisor> {
        self.supervisor.as_ref().context("nothing runs")
    }

    pub(super) fn redis_url(&self) -> Result<&str> {
        Ok(self.supervisor()?.redis())
    }

    /// The archive's address, or why there is none.
    pub(super) fn archive(&self) -> Result<Result<&str, &str>> {
        Ok(match &self.no_archive {
            Some(why) => Err(why),
            None => Ok(self.supervisor()?.database()),
        })
    }

    pub(super) fn describe_archive(&self) -> String {
        match (&self.no_archive, lab::postgres::timescaledb_unavailable()) {
            (Some(why), _) => format!("none: {why}"),
            (None, None) => "PostgreSQL with TimescaleDB, a private one".into(),
            (None, Some(why)) => format!("PostgreSQL, a private one; without TimescaleDB: {why}"),
        }
    }

    /// Where the console is, and the token that lets in.
    pub(super) fn console(&self) -> Result<(String, String)> {
        let console = self.supervisor()?.console().context("there is no console")?;
        let file = console.token_file.context("there is no file for the token")?;
        let token = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok((console.base, token.trim().to_owned()))
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
        let path = self.supervisor()?.folder().join("status.json");
        let text = std::fs::read_to_string(path).context("the data plane has no status yet")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// One line on the services behind the stream.
    pub(super) fn describe_services(&self) -> Result<String> {
        let told = |(name, state): &(&str, State)| {
            let rates = up::rates(name, state);
            (!rates.is_empty()).then(|| format!("{name} {rates}"))
        };
        Ok(self.supervisor()?.states().iter().filter_map(told).collect::<Vec<_>>().join("; "))
    }

    /// Ends the data plane: it publishes what it has taken. Returns its last status.
    pub(super) fn stop_dataplane(&mut self) -> Result<Value> {
        let supervisor = self.supervisor.as_mut().context("nothing runs")?;
        supervisor.stop_one("dataplane");
        let state = supervisor.state("dataplane").context("there is no data plane")?;
        if state.restarts > 0 || state.why.is_some() {
            bail!("the data plane ended: {}", state.why.unwrap_or_default());
        }
        self.status()
    }

    /// Waits until features and archive have everything that is in the stream.
    pub(super) fn catch_up(&self) -> Result<()> {
        let supervisor = self.supervisor()?;
        for name in ["features", "archiver"] {
            if supervisor.state(name).is_some()
                && !supervisor.wait_until_it_has_all(name, CATCH_UP_WITHIN, &mut |_| {})
            {
                bail!(
                    "{name} does not catch up: {:?}",
                    supervisor.state(name).map(|state| (state.ready, state.why))
                );
            }
        }
        Ok(())
    }

    /// Ends the rest.
    pub(super) fn stop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.stop(|_| {});
        }
    }
}
