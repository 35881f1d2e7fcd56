//! What a data plane tells when it is asked.

use super::LinkService;
use crate::Sha256Sum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// Always `feedplane-dataplane`.
    pub program: String,
    /// The program's version.
    pub version: String,
    /// The machine's name.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, ns since the epoch.
    pub started_ns: u64,
    /// Where its metrics and health are, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub health: Option<SocketAddr>,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Taken {
    /// Which document.
    pub service: LinkService,
    /// Its version.
    pub version: u64,
    /// What became of it.
    pub state: TakenState,
    /// Fields that only a start can change, as paths; with [`TakenState::RestartNeeded`], or a dry run of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_needed: Vec<String>,
    /// Feeds and filters that begin, change and end by it.
    #[serde(default)]
    pub changed: LinkChanges,
    /// What it asks for and this process cannot do, in words. It was taken all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Time from the request to the last change, µs.
    pub took_us: u64,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TakenState {
    /// It is run, and kept.
    Running,
    /// It is kept; the next start runs it.
    RestartNeeded,
    /// It could be taken; it was a dry run.
    Checked,
}

/// What a document changes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LinkChanges {
    /// Feeds that begin.
    pub feeds_added: Vec<String>,
    /// Feeds whose lines or parameters changed.
    pub feeds_changed: Vec<String>,
    /// Feeds that end.
    pub feeds_removed: Vec<String>,
    /// Filters that begin, or have another place or action.
    pub filters_added: Vec<String>,
    /// Filters that end.
    pub filters_removed: Vec<String>,
}

/// What a data plane runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Documents {
    /// The feeds.
    pub feeds: HeldDocument,
    /// The process itself.
    pub dataplane: HeldDocument,
}

/// A document as a data plane has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldDocument {
    /// What is run; 0 = its own file.
    pub version: u64,
    /// Of the bytes of the version that is run; none for its own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Sha256Sum>,
    /// The version that is kept for the next start, or could not be run at this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingDocument>,
    /// What is run.
    #[schemars(with = "serde_json::Value")]
    pub document: Box<RawValue>,
}

/// A version that is kept and not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingDocument {
    /// The version.
    pub version: u64,
    /// Of its bytes.
    #[schemars(with = "String")]
    pub sha256: Sha256Sum,
    /// The fields that wait for a start, as paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Why it could not be run at the last start; none when it only waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How many programs were loaded anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replaced {
    /// One for each interface with XDP.
    pub programs: u32,
}

/// An interface of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nic {
    /// Its name.
    pub interface: String,
    /// The worker that polls it.
    pub worker: String,
    /// The lines that arrive on it: `a`, `b` or both.
    pub lines: Vec<String>,
    /// `xdp` or `socket`.
    pub backend: String,
    /// Its number in the kernel; 0 when it is gone.
    pub index: u32,
    /// The driver's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Its address, as `02:00:00:00:00:01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Largest packet, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u32>,
    /// It was switched on.
    pub up: bool,
    /// There is somebody at the other end.
    pub carrier: bool,
    /// Speed of the link, Mbit/s, where the driver says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbit_per_s: Option<u32>,
    /// Receive queues, now.
    pub receive_queues: u32,
    /// Where the steering program runs, as the kernel tells: `native` or `generic`. None: detached, or sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// The program, attached or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<NicProgram>,
    /// One AF_XDP socket for each queue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<NicSocket>,
    /// What it could do.
    pub capabilities: NicCapabilities,
    /// Something better that was tried and refused, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// The interface's own receive counters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// What the steering program did with packets, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub program_packets: BTreeMap<String, u64>,
}

/// A steering program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicProgram {
    /// Its name.
    pub name: String,
    /// Its number in the kernel: another one after each replacement.
    pub id: u32,
    /// The kernel's hash of its instructions, 16 hexadecimal digits.
    pub tag: String,
    /// It asks the NIC for its receive time.
    pub hardware_time: bool,
}

/// An AF_XDP socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicSocket {
    /// The queue.
    pub queue: u32,
    /// `zero_copy`, `copy` or `generic`, as read back from the kernel.
    pub mode: String,
    /// The worker drives the NIC's polling.
    pub busy_poll: bool,
    /// Frames of packet memory that it has.
    pub frames: u32,
    /// The kernel's counters of it.
    pub counters: BTreeMap<String, u64>,
}

/// What an interface could do, as far as the kernel tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicCapabilities {
    /// The driver runs XDP programs; none where it says nothing, or the kernel (before 6.3) cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_xdp: Option<bool>,
    /// The driver receives straight into packet memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_copy: Option<bool>,
    /// It stamps received packets.
    pub hardware_timestamps: bool,
    /// Its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

/// How clocks stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clocks {
    /// Now, ns since the epoch.
    pub time_ns: u64,
    /// The kernel says that UTC is disciplined.
    pub utc_in_sync: bool,
    /// TAI − UTC in the kernel, ns; 0 where nobody told it.
    pub tai_minus_utc_ns: i64,
    /// One for each line of each worker.
    pub clocks: Vec<NicClock>,
}

/// The clock of a line's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NicClock {
    /// The worker.
    pub worker: String,
    /// `a` or `b`.
    pub line: String,
    /// The interface.
    pub interface: String,
    /// The hardware clock's device; none where there is none that can be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// PHC − UTC, ns, when last measured; none where it could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minus_utc_ns: Option<i64>,
    /// How far apart the two readings of UTC around the PHC's lay, ns: what the offset is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ns: Option<u64>,
    /// The best receive time that this line's packets can have: `hardware`, `xdp` or `kernel`.
    pub source: String,
    /// Time since the last measurement, ms.
    pub age_ms: u64,
}
