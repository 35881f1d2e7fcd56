//! `up.yaml`: everything on one machine, for `feedplane up`.
//!
//! A service is run when its section is there. A section either names the service's own document or holds
//! the few settings from which `feedplane up` writes one.

use super::{BackendChoice, FeatureSet, GatewaySession, Problem, RiskDocument, StrategyEntry};
use crate::TradingMode;
use crate::names::SHARDS_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What runs on one machine. Paths are relative to the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpDocument {
    /// The run folder: logs, documents that were written, and the private databases with their data, which
    /// stay for the next run. Made when it is not there.
    #[serde(default = "default_folder")]
    pub folder: PathBuf,
    /// Redis: `redis://host:port/db` or `unix:///path/to/socket`. A private, durable one in the run folder
    /// (its address is `unix://<folder>/redis/redis.sock`) when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<String>,
    /// Whether the private Redis has on disk what it acknowledges. Without, it answers sooner, and one that is
    /// killed comes back empty: what nobody had read by then is declared missing.
    #[serde(default = "yes")]
    pub redis_durable: bool,
    /// PostgreSQL, as in the archiver's document. A private one in the run folder, with TimescaleDB where
    /// that is installed, when left out and there is an archiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Streams that the ticks are spread over, in documents that are written here.
    #[serde(default = "one")]
    pub shards: u16,
    /// Metrics and health in documents that are written here: the data plane on this port of 127.0.0.1,
    /// then features, archiver, strategy, gateway and control plane. 0 takes free ports, others at each start.
    #[serde(default = "default_health_port")]
    pub health_port: u16,
    /// The data plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataplane: Option<DataplaneUp>,
    /// The features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<FeaturesUp>,
    /// The archiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archiver: Option<ArchiverUp>,
    /// The strategies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyUp>,
    /// The order gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayUp>,
    /// The control plane: API and console. The documents that are written or named here become the first versions; from
    /// then on the versions count, and what is changed here later is not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controlplane: Option<ControlplaneUp>,
    /// The trading state with which this Redis begins, when nobody has set one in it yet. Left out: nothing is
    /// traded until somebody says `feedplane resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trading: Option<TradingMode>,
}

/// The data plane: `document`, or at least `feeds`, `interface_a` and `interface_b`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataplaneUp {
    /// Its document; nothing else is given then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<PathBuf>,
    /// The feeds document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feeds: Option<PathBuf>,
    /// Interface on which line A arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_a: Option<String>,
    /// Interface on which line B arrives; may be the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_b: Option<String>,
    /// The core that the worker is pinned to; not pinned when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// XDP, sockets, or whichever can be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendChoice>,
    /// Entries kept in each stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries_max: Option<u64>,
}

/// The features: `document`, or `sets`, or neither for a set of what most people look at first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeaturesUp {
    /// Its document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<PathBuf>,
    /// The feature sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<Vec<FeatureSet>>,
}

/// The archiver: `document`, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiverUp {
    /// Its document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<PathBuf>,
}

/// The strategies: `document`, or `strategies` and `risk`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StrategyUp {
    /// Its document; nothing else is given then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<PathBuf>,
    /// The strategies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategies: Option<Vec<StrategyEntry>>,
    /// What orders are checked against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskDocument>,
}

/// The order gateway: `document`, or `sessions`. Its journal is in the run folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayUp {
    /// Its document; nothing else is given then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<PathBuf>,
    /// The sessions at venues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<GatewaySession>>,
}

/// The control plane: `document`, or nothing, or where it listens. With it, the other services obey versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ControlplaneUp {
    /// Its document; nothing else is given then. The data plane's socket is `<folder>/controlplane/dataplane.sock` when
    /// the data plane's document is written here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<PathBuf>,
    /// The port of 127.0.0.1 where API and console are: 8400 when left out; 0 takes a free one, another at each start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Services that can run: as many ports are used.
pub const UP_SERVICES: u16 = 6;
/// Where API and console are when nothing is said.
pub const UP_CONTROLPLANE_PORT: u16 = 8_400;

fn default_folder() -> PathBuf {
    "run".into()
}
fn yes() -> bool {
    true
}
fn one() -> u16 {
    1
}
fn default_health_port() -> u16 {
    9_101
}

impl UpDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: &str, message: String| problems.push(Problem { path: path.into(), message });
        let services = [
            self.dataplane.is_some(),
            self.features.is_some(),
            self.archiver.is_some(),
            self.strategy.is_some(),
            self.gateway.is_some(),
        ];
        if services.iter().all(|there| !there) {
            let message =
                "is missing, and so are features, archiver, strategy and gateway; name what is to run";
            problem("dataplane", message.into());
        }
        if self.folder.as_os_str().is_empty() {
            problem("folder", "is empty; name the run folder or leave it out".into());
        }
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            problem("shards", format!("is {}; choose 1 to {SHARDS_MAX}", self.shards));
        }
        if self.health_port > u16::MAX - (UP_SERVICES - 1) {
            let message = format!("is {}; {UP_SERVICES} ports from there must exist", self.health_port);
            problem("health_port", message);
        }
        if let Some(dataplane) = &self.dataplane {
            dataplane.validate(&mut problem);
        }
        if let Some(features) = &self.features
            && features.document.is_some()
            && features.sets.is_some()
        {
            problem("features.sets", "stands beside `document`, which has its own; remove one".into());
        }
        if let Some(controlplane) = &self.controlplane
            && controlplane.document.is_some()
            && controlplane.port.is_some()
        {
            problem("controlplane.port", "stands beside `document`, which says it itself; remove one".into());
        }
        if let Some(strategy) = &self.strategy {
            let parts = [("strategies", strategy.strategies.is_some()), ("risk", strategy.risk.is_some())];
            one_or_the_other("strategy", strategy.document.is_some(), &parts, &mut problem);
        }
        if let Some(gateway) = &self.gateway {
            let parts = [("sessions", gateway.sessions.is_some())];
            one_or_the_other("gateway", gateway.document.is_some(), &parts, &mut problem);
        }
        problems
    }
}

/// Either the document is named or all of its parts are here.
fn one_or_the_other(
    section: &str,
    document: bool,
    parts: &[(&str, bool)],
    problem: &mut impl FnMut(&str, String),
) {
    for (name, given) in parts {
        if document && *given {
            let message = "stands beside `document`, which says it itself; remove one";
            problem(&format!("{section}.{name}"), message.into());
        } else if !document && !given {
            problem(&format!("{section}.{name}"), "is missing; give it, or name a `document`".into());
        }
    }
}

impl DataplaneUp {
    fn validate(&self, problem: &mut impl FnMut(&str, String)) {
        let needed = [
            ("feeds", self.feeds.is_some()),
            ("interface_a", self.interface_a.is_some()),
            ("interface_b", self.interface_b.is_some()),
        ];
        let further = [
            ("core", self.core.is_some()),
            ("backend", self.backend.is_some()),
            ("entries_max", self.entries_max.is_some()),
        ];
        if self.document.is_some() {
            for (name, _) in needed.iter().chain(&further).filter(|(_, given)| *given) {
                problem(
                    &format!("dataplane.{name}"),
                    "stands beside `document`, which says it itself; remove one".into(),
                );
            }
            return;
        }
        for (name, _) in needed.iter().filter(|(_, given)| !given) {
            problem(
                &format!("dataplane.{name}"),
                "is missing; give it, or name the data plane's `document`".into(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
folder: run
dataplane: {feeds: feeds.yaml, interface_a: eth1, interface_b: eth2}
features: {}
archiver: {}
";

    #[test]
    fn a_few_lines_run_everything() {
        let document = UpDocument::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!((document.shards, document.health_port), (1, 9_101));
        assert_eq!(document.features, Some(FeaturesUp::default()));
        assert!(document.redis.is_none() && document.redis_durable && document.database.is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        let cases = [
            ("interface_b: eth2", "backend: socket", "dataplane.interface_b: is missing"),
            ("{feeds: feeds.yaml,", "{document: dataplane.yaml,", "dataplane.interface_a: stands beside"),
            ("features: {}", "features: {document: a.yaml, sets: []}", "features.sets: stands beside"),
            ("folder: run", "shards: 0", "shards: is 0"),
            ("folder: run", "health_port: 65531", "health_port: is 65531"),
            ("folder: run", "strategy: {}", "strategy.strategies: is missing"),
            ("folder: run", "gateway: {document: a.yaml, sessions: []}", "gateway.sessions: stands beside"),
            ("folder: run", "folder: ''", "folder: is empty"),
            ("folder: run", "controlplane: {document: a.yaml, port: 1}", "controlplane.port: stands beside"),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replace(from, to);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = UpDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
        let nothing = UpDocument::parse(b"folder: run").unwrap_err().to_string();
        assert!(nothing.contains("name what is to run"), "{nothing}");
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let error = UpDocument::parse(WHOLE.replace("archiver:", "archive:").as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 5"), "{error}");
    }
}
