//! `backtest.yaml`: what is run over which ticks, and how orders reach the recorded market.
//!
//! The documents of the feature service and of the strategy process are read by their own types; what is about Redis, leases and
//! health in them does not count here. All shards are one: the limits of `risk` hold for everything that is traded.

use crate::market::venue::VenueSection;
use bus::config::{
    DocumentError, FeatureSet, FeaturesDocument, InstrumentKey, PriceText, Problem, StrategyDocument,
    load_document,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strategy::models::{Model, Refusal};

/// Most instruments that a document defines.
pub const INSTRUMENTS_MAX: usize = 10_000;
/// Longest latency, µs: a minute.
pub const LATENCY_US_MAX: u64 = 60_000_000;
/// Most model folders.
pub const MODELS_MAX: usize = 256;

/// The configuration of one backtest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BacktestDocument {
    /// Where the ticks are from.
    pub source: SourceSection,
    /// The feature service's document, as a path. Without it there are no features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// The strategy process's document, as a path.
    pub strategy: PathBuf,
    /// Folders of models, for strategies `model`. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<PathBuf>,
    /// What the source does not say of instruments, by symbol. What is said here goes before what the source says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instruments: BTreeMap<String, InstrumentSection>,
    /// Trading is halted before this `ts_recv`, ns since the epoch: books, features and scores warm up, and a model trades only
    /// after what it was trained on. From the first tick on when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade_from_ns: Option<u64>,
    /// How orders reach the market, and what trading costs.
    pub execution: ExecutionSection,
}

/// Where ticks are from. Paths are relative to the document's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceSection {
    /// A DBN file (Databento) of the schema `mbo`, compressed by zstd or not. It has no statuses: its instruments trade.
    Dbn {
        /// The file.
        path: PathBuf,
    },
    /// A file of ticks, 64 bytes each, as in `d` of `raw_market_data`.
    Ticks {
        /// The file.
        path: PathBuf,
    },
    /// A packet capture, arbitrated and decoded as `feedplane decode` does.
    Capture {
        /// The capture.
        path: PathBuf,
        /// The feeds file.
        feeds: PathBuf,
    },
    /// A stream of the archive.
    Archive(ArchiveSection),
    /// A session of the simulated venue, which our orders move.
    Venue(VenueSection),
}

/// A part of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSection {
    /// PostgreSQL, as in the archiver's document.
    pub database: String,
    /// The stream of ticks.
    #[serde(default = "raw_market_data")]
    pub stream: String,
    /// The first `ts_recv`, ns since the epoch. The stream's beginning when left out. Books are known only from a channel's
    /// beginning, a clear or a snapshot on: begin before one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<u64>,
    /// The `ts_recv` before which it ends, ns since the epoch. The stream's end when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ns: Option<u64>,
}

/// What is said of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentSection {
    /// Publisher and instrument. May be left out when the source knows the symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<InstrumentKey>,
    /// Smallest step of a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick_size: Option<PriceText>,
    /// Units of the underlying in one share or contract: what one point is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<PriceText>,
}

/// How orders reach the market, and what trading costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionSection {
    /// From an instruction until it is in the market, µs. The market's time is the recording's: when the ticks were
    /// received. The way of the ticks to the receiver belongs into this latency, too. At most a minute.
    pub order_latency_us: u64,
    /// From an event in the market until its report is at the host, µs. At most a minute.
    pub report_latency_us: u64,
    /// From a tick until the features that it brings about are at the host, µs. At most a minute.
    pub feature_latency_us: u64,
    /// How an order moves forward in its queue.
    pub queue: QueueModel,
    /// What trading costs.
    #[serde(default)]
    pub fees: FeesSection,
    /// Instruments trade from their first tick on, until a status says otherwise. For recordings without statuses.
    #[serde(default)]
    pub assume_trading: bool,
}

/// How an order moves forward in its queue. See `docs/backtest.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueModel {
    /// By the recorded orders: those that were there at its arrival are ahead, those that came later behind. Needs a
    /// feed by order.
    ByOrder,
    /// Only trades move it forward: every recorded cancel was behind it.
    BehindAll,
    /// Recorded cancels were ahead of it in proportion to what is ahead.
    Proportional,
}

impl QueueModel {
    /// The word in the document.
    pub const fn word(self) -> &'static str {
        match self {
            QueueModel::ByOrder => "by_order",
            QueueModel::BehindAll => "behind_all",
            QueueModel::Proportional => "proportional",
        }
    }
}

/// What trading costs, in currency for a share or contract; below 0 is earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeesSection {
    /// When the order was resting.
    pub maker_per_unit: PriceText,
    /// When it took what was resting.
    pub taker_per_unit: PriceText,
}

impl Default for FeesSection {
    fn default() -> Self {
        let none = PriceText(tick::Price(0));
        FeesSection { maker_per_unit: none, taker_per_unit: none }
    }
}

fn raw_market_data() -> String {
    bus::names::RAW_MARKET_DATA.to_owned()
}

/// A backtest whose documents are all read: what a run is made with. A sweep changes copies of it.
#[derive(Clone, Debug)]
pub struct Backtest {
    /// The document, paths resolved.
    pub document: BacktestDocument,
    /// The feature sets.
    pub sets: Vec<FeatureSet>,
    /// The strategies and their limits.
    pub strategy: StrategyDocument,
    /// The models of the folders.
    pub models: Vec<Arc<Model>>,
}

/// What cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A document.
    #[error("{}: {error}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: DocumentError,
    },
    /// A folder of a model.
    #[error("{}: {refusal}", path.display())]
    Model {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        refusal: Refusal,
    },
}

impl Backtest {
    /// Reads a document and those that it names. Relative paths count from the document's folder.
    ///
    /// # Errors
    /// The first document that cannot be used, with every place that is wrong in it, or the first folder that holds no model.
    pub fn load(path: &Path) -> Result<Backtest, LoadError> {
        let of = |path: &Path| {
            let path = path.to_owned();
            move |error| LoadError::Document { path, error }
        };
        let mut document = load_document(path, BacktestDocument::validate).map_err(of(path))?;
        document.resolve_paths(path.parent().unwrap_or(Path::new("")));
        let sets = match &document.features {
            Some(path) => FeaturesDocument::load(path).map_err(of(path))?.sets,
            None => Vec::new(),
        };
        let strategy = StrategyDocument::load(&document.strategy).map_err(of(&document.strategy))?;
        let model = |path: &PathBuf| match Model::load(path) {
            Ok(model) => Ok(Arc::new(model)),
            Err(refusal) => Err(LoadError::Model { path: path.clone(), refusal }),
        };
        let models = document.models.iter().map(model).collect::<Result<_, _>>()?;
        Ok(Backtest { document, sets, strategy, models })
    }
}

impl BacktestDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: String, message: String| problems.push(Problem { path, message });
        for (kind, path) in self.paths() {
            if path.as_os_str().is_empty() {
                problem(kind.into(), "is empty; name the file".into());
            }
        }
        if let SourceSection::Archive(archive) = &self.source {
            for (field, text) in [("database", &archive.database), ("stream", &archive.stream)] {
                if text.is_empty() {
                    problem(format!("source.archive.{field}"), "is empty; say it".into());
                }
            }
            if let (Some(from), Some(to)) = (archive.from_ns, archive.to_ns)
                && from >= to
            {
                problem("source.archive.to_ns".into(), format!("is {to}, not after from_ns {from}"));
            }
        }
        if self.models.len() > MODELS_MAX {
            problem("models".into(), format!("has {}; at most {MODELS_MAX}", self.models.len()));
        }
        if self.instruments.len() > INSTRUMENTS_MAX {
            let have = self.instruments.len();
            problem("instruments".into(), format!("has {have}; at most {INSTRUMENTS_MAX}"));
        }
        let mut keys = BTreeMap::new();
        for (symbol, section) in &self.instruments {
            let at = format!("instruments.{symbol}");
            let printable = symbol.bytes().all(|byte| byte.is_ascii_graphic());
            if symbol.is_empty() || symbol.len() > bus::ORDER_NAME_BYTES_MAX || !printable {
                problem(at.clone(), "a symbol has 1 to 32 printable ASCII characters without a space".into());
            }
            if let Some(other) = section.key.and_then(|key| keys.insert(key, symbol)) {
                problem(format!("{at}.key"), format!("is also that of {other}; give each its own"));
            }
            for (field, value) in [("tick_size", section.tick_size), ("multiplier", section.multiplier)] {
                if value.is_some_and(|value| value.0.0 <= 0 || !value.0.is_defined()) {
                    problem(format!("{at}.{field}"), "is not above 0".into());
                }
            }
        }
        if let SourceSection::Venue(venue) = &self.source {
            venue.validate("source.venue", &mut problems);
        }
        self.execution.validate(&mut problems);
        problems
    }

    /// Whether instruments trade from their first tick on: as the document says, and where the source has no statuses.
    pub fn assumes_trading(&self) -> bool {
        self.execution.assume_trading || matches!(self.source, SourceSection::Dbn { .. })
    }

    fn paths(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let source = match &self.source {
            SourceSection::Dbn { path } => vec![("source.dbn.path", path)],
            SourceSection::Ticks { path } => vec![("source.ticks.path", path)],
            SourceSection::Capture { path, feeds } => {
                vec![("source.capture.path", path), ("source.capture.feeds", feeds)]
            }
            SourceSection::Archive(_) | SourceSection::Venue(_) => Vec::new(),
        };
        let features = self.features.iter().map(|path| ("features", path));
        let models = self.models.iter().map(|path| ("models", path));
        source.into_iter().chain(features).chain([("strategy", &self.strategy)]).chain(models)
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        match &mut self.source {
            SourceSection::Dbn { path } | SourceSection::Ticks { path } => resolve(path),
            SourceSection::Capture { path, feeds } => {
                resolve(path);
                resolve(feeds);
            }
            SourceSection::Archive(_) | SourceSection::Venue(_) => {}
        }
        self.features.iter_mut().for_each(resolve);
        resolve(&mut self.strategy);
        self.models.iter_mut().for_each(resolve);
    }
}

impl ExecutionSection {
    /// From an instruction until it is in the market, ns.
    pub fn order_latency_ns(&self) -> u64 {
        self.order_latency_us.saturating_mul(1_000)
    }

    /// From an event in the market until its report is at the host, ns.
    pub fn report_latency_ns(&self) -> u64 {
        self.report_latency_us.saturating_mul(1_000)
    }

    /// From a tick until its features are at the host, ns.
    pub fn feature_latency_ns(&self) -> u64 {
        self.feature_latency_us.saturating_mul(1_000)
    }

    fn validate(&self, problems: &mut Vec<Problem>) {
        let latencies = [
            ("order_latency_us", self.order_latency_us),
            ("report_latency_us", self.report_latency_us),
            ("feature_latency_us", self.feature_latency_us),
        ];
        for (field, value) in latencies {
            if value > LATENCY_US_MAX {
                let message = format!("is {value}; choose at most {LATENCY_US_MAX} (a minute)");
                problems.push(Problem { path: format!("execution.{field}"), message });
            }
        }
        let fees =
            [("maker_per_unit", self.fees.maker_per_unit), ("taker_per_unit", self.fees.taker_per_unit)];
        for (field, fee) in fees {
            if !fee.0.is_defined() {
                let path = format!("execution.fees.{field}");
                problems.push(Problem { path, message: "is no amount".into() });
            }
        }
    }
}
