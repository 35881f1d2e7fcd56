//! From `up.yaml` to each service's own document: the one that it names, or one that is written here.

use super::control::{Control, Local, passwords_of};
use super::databases::{postgres_url, redis_url};
use super::program::FindEndpoint;
use anyhow::{Context, Result};
use bus::TradingMode;
use bus::config::{
    ArchiverDocument, BackendChoice, ControlplaneDocument, DataplaneDocument, DataplaneUp, FeaturesDocument,
    FeedsDocument, GatewayDocument, StrategyDocument, UP_SERVICES, UpDocument,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// The services, in the order in which they end: who brings something before who takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dataplane,
    Features,
    Strategy,
    Gateway,
    Archiver,
    Controlplane,
}

impl Kind {
    /// The archiver stores what the others still say at their end, and until then the control plane shows how they are.
    pub(super) const ALL: [Kind; UP_SERVICES as usize] =
        [Kind::Dataplane, Kind::Features, Kind::Strategy, Kind::Gateway, Kind::Archiver, Kind::Controlplane];

    /// Whose port it has, counted from the first.
    fn port(self) -> usize {
        match self {
            Kind::Dataplane => 0,
            Kind::Features => 1,
            Kind::Archiver => 2,
            Kind::Strategy => 3,
            Kind::Gateway => 4,
            Kind::Controlplane => 5,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Dataplane => "dataplane",
            Kind::Features => "features",
            Kind::Strategy => "strategy",
            Kind::Gateway => "gateway",
            Kind::Archiver => "archiver",
            Kind::Controlplane => "controlplane",
        }
    }

    /// Reads and checks a document of the service; where the service will say how it is.
    ///
    /// # Errors
    /// What is wrong with it, and in which file.
    pub(super) fn check(self, document: &Path) -> Result<Option<SocketAddr>> {
        let named = || document.display().to_string();
        Ok(match self {
            Kind::Dataplane => {
                let dataplane = DataplaneDocument::load(document).with_context(named)?;
                let feeds = document.parent().unwrap_or(Path::new("")).join(&dataplane.feeds);
                FeedsDocument::load(&feeds).with_context(|| feeds.display().to_string())?;
                dataplane.health.map(|health| health.listen)
            }
            Kind::Features => Some(FeaturesDocument::load(document).with_context(named)?.health.listen),
            Kind::Strategy => Some(StrategyDocument::load(document).with_context(named)?.health.listen),
            Kind::Gateway => Some(GatewayDocument::load(document).with_context(named)?.health.listen),
            Kind::Archiver => Some(ArchiverDocument::load(document).with_context(named)?.health.listen),
            Kind::Controlplane => {
                Some(ControlplaneDocument::load(document).with_context(named)?.health.listen)
            }
        })
    }

    /// The same, for each start of the service.
    pub(super) fn find_endpoint(self, document: PathBuf) -> FindEndpoint {
        // With port 0 the service takes a free port, and only its log knows which.
        Box::new(move || Ok(self.check(&document)?.filter(|endpoint| endpoint.port() != 0)))
    }
}

/// What is to run.
pub(super) struct Plan {
    /// The run folder, absolute.
    pub(super) folder: PathBuf,
    pub(super) private_redis: bool,
    pub(super) redis_durable: bool,
    pub(super) private_postgres: bool,
    pub(super) services: Vec<Planned>,
    pub(super) redis: String,
    pub(super) database: String,
    /// The trading state of a Redis in which nobody has set one.
    pub(super) trading: Option<TradingMode>,
    /// What belongs to the control plane, when there is one.
    pub(super) control: Option<Control>,
    /// By venue: what must not be in a document that is versioned.
    passwords: Vec<(String, String)>,
}

/// A service and its document.
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) document: PathBuf,
    /// The document's text, when it is written here.
    pub(super) written: Option<String>,
}

impl Plan {
    /// Plans everything; writes nothing.
    ///
    /// # Errors
    /// A path that does not exist, or no free ports.
    pub(super) fn new(up: &UpDocument, directory: &Path) -> Result<Plan> {
        // The parent of `up.yaml` is the empty path, which means here.
        let directory = std::path::absolute(Path::new(".").join(directory))?;
        let folder = directory.join(&up.folder);
        let redis = up.redis.clone().unwrap_or_else(|| redis_url(&folder));
        let database = up.database.clone().unwrap_or_else(|| postgres_url(&folder));
        let private_redis = up.redis.is_none();
        let private_postgres = up.database.is_none() && up.archiver.is_some();
        let mut plan = Plan {
            folder,
            private_redis,
            redis_durable: up.redis_durable,
            private_postgres,
            services: Vec::new(),
            redis,
            database,
            trading: up.trading,
            control: None,
            passwords: Vec::new(),
        };
        if let Some(sessions) = up.gateway.as_ref().and_then(|gateway| gateway.sessions.as_deref()) {
            plan.passwords = passwords_of(sessions);
        }
        plan.control =
            up.controlplane.as_ref().map(|section| Control::new(section, &plan.folder)).transpose()?;
        let ports = ports(up.health_port)?;
        for kind in Kind::ALL {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[kind.port()])).to_string();
            let Some((given, fields)) = plan.document(kind, up, &directory, &listen) else { continue };
            let (document, written) = match given {
                Some(path) => (directory.join(path), None),
                None => (plan.folder.join(format!("{}.yaml", kind.name())), Some(text(&fields)?)),
            };
            plan.services.push(Planned { kind, document, written });
        }
        Ok(plan)
    }

    /// The document that is named for a service, and what is written when none is; nothing when it is not to run.
    fn document<'u>(
        &self,
        kind: Kind,
        up: &'u UpDocument,
        directory: &Path,
        listen: &str,
    ) -> Option<(Option<&'u PathBuf>, Value)> {
        let common = self.common(up, listen);
        Some(match kind {
            Kind::Dataplane => {
                let section = up.dataplane.as_ref()?;
                (section.document.as_ref(), self.dataplane(up, section, directory, listen))
            }
            Kind::Features => {
                let section = up.features.as_ref()?;
                let sets = section.sets.as_ref().map_or_else(default_sets, |sets| json!(sets));
                (section.document.as_ref(), with(common, &json!({"sets": sets})))
            }
            Kind::Strategy => {
                let section = up.strategy.as_ref()?;
                let fields = json!({"strategies": section.strategies, "risk": section.risk});
                (section.document.as_ref(), with(common, &fields))
            }
            Kind::Gateway => {
                let section = up.gateway.as_ref()?;
                let journal = self.folder.join("gateway");
                let mut fields = json!({"sessions": section.sessions, "journal": journal});
                if let Some(control) = &self.control {
                    control.hide_passwords(&mut fields["sessions"]);
                }
                (section.document.as_ref(), with(common, &fields))
            }
            Kind::Archiver => {
                let section = up.archiver.as_ref()?;
                (section.document.as_ref(), with(common, &json!({"database": self.database})))
            }
            Kind::Controlplane => {
                let section = up.controlplane.as_ref()?;
                let fields = self.control.as_ref()?.document(&self.services);
                (section.document.as_ref(), with(common, &fields))
            }
        })
    }

    fn common(&self, up: &UpDocument, listen: &str) -> Value {
        json!({"redis": self.redis, "shards": up.shards, "health": {"listen": listen}})
    }

    fn dataplane(&self, up: &UpDocument, section: &DataplaneUp, directory: &Path, listen: &str) -> Value {
        let mut worker = json!({
            "name": "up",
            "interface_a": section.interface_a,
            "interface_b": section.interface_b,
        });
        if let Some(core) = section.core {
            worker["core"] = core.into();
        }
        let mut publisher = json!({"redis": self.redis, "shards": up.shards});
        if let Some(entries_max) = section.entries_max {
            publisher["entries_max"] = entries_max.into();
        }
        let mut document = json!({
            "feeds": section.feeds.as_ref().map(|feeds| directory.join(feeds)),
            "workers": [worker],
            "receive": {"backend": section.backend.unwrap_or(BackendChoice::Auto)},
            "publisher": publisher,
            "status": {"file": self.folder.join("status.json"), "interval_ms": 250},
            "health": {"listen": listen},
        });
        if let Some(control) = &self.control {
            document["control"] = json!({"socket": control.socket(), "state": self.folder.join("dataplane")});
        }
        document
    }

    /// Where API and console are, and the file of the first token; nothing without a control plane, or when its document
    /// cannot be used.
    pub(super) fn console(&self) -> Option<Local> {
        let planned = self.services.iter().find(|planned| planned.kind == Kind::Controlplane)?;
        match &planned.written {
            Some(text) => Local::of_document(&ControlplaneDocument::parse(text.as_bytes()).ok()?),
            None => Local::of_document(&ControlplaneDocument::load(&planned.document).ok()?),
        }
    }

    /// Checks every document, and writes those that are written here.
    ///
    /// # Errors
    /// When the run folder cannot be written. What is wrong with a document is in the list.
    pub(super) fn write_and_check(&self) -> Result<Vec<(Kind, &Path, Result<()>)>> {
        let logs = self.folder.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Control::write(self, &self.passwords)?;
        let mut checked = Vec::new();
        for Planned { kind, document, written } in &self.services {
            if let Some(text) = written {
                std::fs::write(document, text)
                    .with_context(|| format!("cannot write {}", document.display()))?;
            }
            checked.push((*kind, document.as_path(), kind.check(document).map(drop)));
        }
        Ok(checked)
    }
}

fn with(mut fields: Value, more: &Value) -> Value {
    if let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) {
        fields.extend(more.clone());
    }
    fields
}

/// The set of features that is calculated when none is named.
fn default_sets() -> Value {
    json!([{
        "name": "basic",
        "bars": {"time_ms": 1_000},
        "publish": {"every_ms": 1_000},
        "features": [
            "mid", "spread", "microprice",
            {"imbalance": {"levels": 1}}, {"imbalance": {"levels": 5}},
            {"ofi": {"bars": 10}}, {"trade_imbalance": {"bars": 10}},
            {"vwap_session": {}}, {"ema": {"bars": 20}}, {"realised_volatility": {"bars": 60}},
        ],
    }])
}

fn text(document: &impl Serialize) -> Result<String> {
    let yaml = serde_saphyr::to_string(document)?;
    Ok(format!("# Written by `feedplane up` at each start, from the settings in its document.\n{yaml}"))
}

/// A port for each service: from the given one on, or free ones.
fn ports(first: u16) -> Result<Vec<u16>> {
    if first > 0 {
        return Ok((first..first + UP_SERVICES).collect());
    }
    free_ports(UP_SERVICES)
}

/// Ports of 127.0.0.1 that are free now.
pub(super) fn free_ports(count: u16) -> Result<Vec<u16>> {
    // All are held at once, so that they differ.
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    held.iter().map(|held| Ok(held.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn plan(text: &str, directory: &Path) -> Plan {
        Plan::new(&UpDocument::parse(text.as_bytes()).unwrap(), directory).unwrap()
    }

    fn feeds(directory: &Path) {
        let feeds = "feeds: [{name: x, channel_id: 1, publisher_id: 1, protocol: itch50, \
                     lines: {a: {group: 239.1.1.1, port: 1}}}]";
        std::fs::write(directory.join("feeds.yaml"), feeds).unwrap();
    }

    #[test]
    fn documents_that_are_written_are_good_ones() {
        let folder = tempfile::tempdir().unwrap();
        feeds(folder.path());
        let plan = plan(
            "dataplane: {feeds: feeds.yaml, interface_a: lo, interface_b: lo, core: 1, entries_max: 5}
features: {}
archiver: {}
strategy:
  risk:
    total: {position_max: 1, exposure_max: 1, open_orders_max: 1, messages_per_second: 1, message_burst: 1,
            drawdown_max: 1}
    sessions: [{days: [monday], open: '00:00', close: '24:00'}]
  strategies:
    - {name: q, venue: x, instruments: all, quoter: {half_spread_ticks: 1, size: 1, position_max: 1, quiet_ms: 1000}}
gateway:
  sessions:
    - venue: x
      limits: {order_quantity_max: 1, order_notional_max: 1, open_orders_max: 1, messages_per_second: 1,
               message_burst: 1}
      ouch: {address: 'localhost:1', user: a, password: b}
controlplane: {port: 0}
shards: 2",
            folder.path(),
        );
        assert!(plan.private_redis && plan.private_postgres);
        for (kind, path, checked) in plan.write_and_check().unwrap() {
            checked.unwrap_or_else(|error| panic!("{kind:?} {}: {error:#}", path.display()));
        }
        let archiver = ArchiverDocument::load(&folder.path().join("run/archiver.yaml")).unwrap();
        assert!(
            archiver.redis.ends_with("/run/redis/redis.sock") && archiver.database.contains("/run/postgres")
        );
        assert_eq!((archiver.shards, archiver.health.listen.port()), (2, 9_103));
        let run = folder.path().join("run");
        let control = ControlplaneDocument::load(&run.join("controlplane.yaml")).unwrap();
        let seeds: Vec<&str> = control.seed.keys().map(String::as_str).collect();
        assert_eq!(seeds, ["archiver", "dataplane", "features", "feeds", "gateway", "strategy"]);
        for (service, path) in &control.seed {
            let text = std::fs::read_to_string(path).unwrap();
            assert!(!text.contains("password: b"), "{service}: {text}");
        }
        let gateway = GatewayDocument::load(&run.join("gateway.yaml")).unwrap();
        let file = gateway.sessions[0].ouch.as_ref().unwrap().password_file.as_ref().unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "b\n");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let dataplane = DataplaneDocument::load(&run.join("dataplane.yaml")).unwrap();
        assert_eq!(dataplane.control.map(|control| control.socket), control.dataplane);
        let local = Local::of_run(&run).unwrap().unwrap();
        assert_eq!(Some(&local), plan.console().as_ref());
        assert_eq!(local.base, format!("http://{}", control.listen));
    }

    #[test]
    fn a_document_without_a_folder_in_its_name_is_in_this_one() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(plan("features: {}", Path::new("")).folder, here.join("run"));
    }

    #[test]
    fn a_run_without_a_control_plane_leaves_no_word_of_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let with = plan("features: {}\ncontrolplane: {}", folder.path());
        with.write_and_check().unwrap();
        let local = Local::of_run(&with.folder).unwrap().unwrap();
        assert_eq!(local.base, "http://127.0.0.1:8400");
        assert!(local.token_file.unwrap().ends_with("run/controlplane/first-token"));
        plan("features: {}", folder.path()).write_and_check().unwrap();
        assert_eq!(Local::of_run(&with.folder).unwrap(), None);
        std::fs::write(with.folder.join("controlplane/client.yaml"), "api: [").unwrap();
        assert!(Local::of_run(&with.folder).is_err());
    }

    #[test]
    fn a_bad_document_is_named_and_the_others_are_good() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.yaml"), "redis: nothing").unwrap();
        let plan = plan(
            "features: {document: mine.yaml}\narchiver: {}\nredis: 'redis://x'\nhealth_port: 0",
            folder.path(),
        );
        assert!(!plan.private_redis && plan.private_postgres);
        let checked = plan.write_and_check().unwrap();
        let error = format!("{:#}", checked[0].2.as_ref().unwrap_err());
        assert!(error.contains("mine.yaml"), "{error}");
        assert!(checked[1].2.is_ok());
    }
}
