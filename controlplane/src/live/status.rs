//! What `GET /v1/status` and the event `status` say.

use super::TradingView;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One picture of everything.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    /// When this was made, ns since the epoch.
    pub time_ns: u64,
    /// Whether there is trading.
    pub trading: TradingView,
    /// The bus.
    pub redis: RedisStatus,
    /// Versions, audit, tokens.
    pub store: StoreStatus,
    /// Every process that has reported within the last minute.
    pub services: Vec<ServiceStatus>,
    /// The data plane beside this control plane; null when there is none in the document.
    #[schema(required)]
    pub dataplane: Option<DataplaneStatus>,
    /// What passes in a second, over all processes; null where nobody says it.
    pub rates: Rates,
    /// How far who is behind the newest tick, ms; the most of all shards, null where nobody says it.
    pub lags_ms: Lags,
    /// Latencies in the last second or, in a quiet one, since the process began: `publish_p50`, `publish_p99` (arrival to
    /// Redis's answer), `instruction_to_send_p50`, `instruction_to_send_p99`, `journal_sync_p50`, `journal_sync_p99`.
    pub latency_ns: BTreeMap<&'static str, f64>,
    /// Orders, as read from the streams.
    pub orders: OrdersStatus,
    /// Why a version is not distributed, by document.
    pub distribution_problems: BTreeMap<&'static str, String>,
    /// Clients of the events.
    pub event_clients: usize,
    /// Instruments that somebody looks at.
    pub watched_instruments: usize,
    /// In an event: figures and the data plane's own status were left out, they were too large. Ask `GET /v1/status`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
}

/// The bus.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct RedisStatus {
    /// It answers.
    pub connected: bool,
    /// Why not.
    #[schema(required)]
    pub problem: Option<String>,
    /// Since it last answered, ms; null when it never did.
    #[schema(required)]
    pub age_ms: Option<u64>,
    /// Memory that it uses, bytes; 0 when not known.
    pub used_memory_bytes: u64,
    /// Reports that could not be read, in the last look.
    pub refused_reports: u64,
}

/// Versions, audit, tokens.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct StoreStatus {
    /// It answers.
    pub connected: bool,
    /// Why not.
    #[schema(required)]
    pub problem: Option<String>,
    /// `sqlite`, `postgres`; empty before it answered.
    pub kind: &'static str,
    /// Its size.
    pub bytes: u64,
}

/// A process.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServiceStatus {
    /// `features`, `strategy`, `gateway`, `archiver`, `dataplane`, `feeds`.
    pub service: String,
    /// Its name among the processes of its service.
    pub member: String,
    /// The machine.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// The program's version.
    pub software: String,
    /// `running`, `refused`, `restart_needed`, or `gone`: no report for five seconds.
    pub state: &'static str,
    /// The version that it runs; 0 = its own file.
    pub version: u64,
    /// The version that it should run and does not.
    #[schema(required)]
    pub wanted: Option<u64>,
    /// Why not.
    #[schema(required)]
    pub reason: Option<String>,
    /// Every part of it does its work; null when it cannot be asked.
    #[schema(required)]
    pub ready: Option<bool>,
    /// Its parts: `good`, or what is wrong.
    pub parts: BTreeMap<String, String>,
    /// Where its metrics and health are.
    #[schema(required)]
    pub health: Option<String>,
    /// Why its metrics and health cannot be had.
    #[schema(required)]
    pub problem: Option<String>,
    /// When it began, ns since the epoch.
    pub started_ns: u64,
    /// Since its report, ms.
    pub age_ms: u64,
    /// Since its metrics were read, ms; null when they never were.
    #[schema(required)]
    pub figures_age_ms: Option<u64>,
    /// Its metrics by name, labels included. Without buckets; of quantiles 0.5 and 0.99; of the data plane without those of
    /// one channel, line or queue, which its own status has.
    pub figures: BTreeMap<String, f64>,
}

/// The data plane.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct DataplaneStatus {
    /// It answers on its socket.
    pub connected: bool,
    /// Why not.
    #[schema(required)]
    pub problem: Option<String>,
    /// Since it last answered, ms; null when it never did.
    #[schema(required)]
    pub age_ms: Option<u64>,
    /// Its own status, as it last said it.
    #[schema(required)]
    pub status: Option<Value>,
}

/// What passes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Rates {
    /// Ticks into Redis.
    #[schema(required)]
    pub ticks_per_s: Option<f64>,
    /// Records of features.
    #[schema(required)]
    pub records_per_s: Option<f64>,
    /// New instructions.
    #[schema(required)]
    pub instructions_per_s: Option<f64>,
    /// Execution reports.
    #[schema(required)]
    pub reports_per_s: Option<f64>,
    /// Rows into the archive.
    #[schema(required)]
    pub rows_per_s: Option<f64>,
}

/// How far who is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Lags {
    /// The features.
    #[schema(required)]
    pub features: Option<f64>,
    /// The strategies.
    #[schema(required)]
    pub strategy: Option<f64>,
    /// The archive.
    #[schema(required)]
    pub archiver: Option<f64>,
}

/// Orders, as read from the streams.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct OrdersStatus {
    /// Open ones.
    pub open: usize,
    /// Everything that was there at the start has been read.
    pub is_current: bool,
    /// Why the streams cannot be read.
    #[schema(required)]
    pub problem: Option<String>,
    /// Reports that are missing in the numbers: positions may be wrong by them.
    pub missing_reports: u64,
    /// Trades that are in no position.
    pub trades_left_out: u64,
    /// Entries that could not be read.
    pub refused_entries: u64,
}

/// How far a document's newest version has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Convergence {
    /// The newest version; 0 when there is none.
    pub version: u64,
    /// Every process with a fresh report runs it. True as well when there is none.
    pub converged: bool,
    /// Why it is not distributed.
    #[schema(required)]
    pub problem: Option<String>,
    /// The processes with a fresh report.
    pub processes: Vec<ConvergenceProcess>,
}

/// What one process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConvergenceProcess {
    /// Its name among the processes of its service.
    pub member: String,
    /// The machine.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// `running`, `refused`, `restart_needed`.
    pub state: &'static str,
    /// The version that it runs; 0 = its own file.
    pub version: u64,
    /// The version that it should run and does not.
    #[schema(required)]
    pub wanted: Option<u64>,
    /// Why not.
    #[schema(required)]
    pub reason: Option<String>,
    /// Since its report, ms.
    pub age_ms: u64,
}

/// What a part of a document does.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PartLive {
    /// How far the newest version of its document has come.
    #[serde(flatten)]
    pub convergence: Convergence,
    /// What its workers or processes last said of it. Empty when nobody has said anything: it is at work nowhere.
    pub statistics: Vec<PartStatistics>,
}

/// What one worker or process said of a part.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PartStatistics {
    /// The worker of the data plane, or the process's name among those of its service.
    pub by: String,
    /// Since it was said, ms.
    pub age_ms: u64,
    /// Of a feed its channel with both lines, of a worker everything (as in the data plane's own status), of a filter
    /// `interface`, `action`, `packets`; of all others metrics by name, as in `figures` of `GET /v1/status`.
    #[schema(value_type = Object)]
    pub values: Value,
}
