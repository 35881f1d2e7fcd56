//! `dataplane.yaml`: how one data plane takes its feeds and where it publishes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The configuration of one data-plane process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataplaneDocument {
    /// The feeds document, relative to this one. Read again on SIGHUP.
    pub feeds: PathBuf,
    /// Worker threads. An interface belongs to one worker, with all its receive queues: that is what keeps
    /// both lines of a channel on one core. At least one.
    pub workers: Vec<WorkerSection>,
    /// How packets are received.
    #[serde(default)]
    pub receive: ReceiveSection,
    /// Where ticks go.
    pub publisher: PublisherSection,
    /// Where the process says how it is; nowhere when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusSection>,
}

/// One worker: a thread that polls two interfaces and arbitrates the feeds assigned to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerSection {
    /// A short name for logs and metrics, unique.
    pub name: String,
    /// The core to pin to; not pinned when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// Interface on which line A arrives.
    pub interface_a: String,
    /// Interface on which line B arrives; may be the same one.
    pub interface_b: String,
    /// Names of the feeds that this worker takes. All of them when left out (one worker only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feeds: Option<Vec<String>>,
    /// How the thread waits when nothing arrives.
    #[serde(default)]
    pub wait: WaitStrategy,
}

/// What a thread does while there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitStrategy {
    /// `spin` where the thread has a core to itself (pinned, and more than two cores), else `park`.
    #[default]
    Adaptive,
    /// Never gives up the core: lowest latency, one core at 100 %.
    Spin,
    /// Gives up the core between polls, and takes it back as soon as the scheduler lets it.
    Yield,
    /// Sleeps in the kernel until there is something to do, after spinning for a moment.
    Park,
}

/// How packets are received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiveSection {
    /// The backend. `auto` takes `xdp` and falls back to `socket`, saying why.
    pub backend: BackendChoice,
    /// The XDP mode. `auto` tries zero-copy, copy, generic, in this order; any other must be met.
    pub xdp_mode: XdpModeChoice,
    /// UMEM frames of 4 KiB for each worker; a power of two. They are shared by all queues of both
    /// interfaces; too few shows as `rx_fill_ring_empty_descs`.
    pub frames: u32,
    /// Entries of each receive ring; a power of two. Too few shows as `rx_ring_full`.
    pub ring_entries: u32,
    /// Ask for huge pages for the UMEM; a fallback to ordinary pages is announced.
    pub huge_pages: bool,
    /// Let the worker drive the NIC's polling (SO_PREFER_BUSY_POLL).
    pub busy_poll: bool,
    /// Check UDP checksums, which the kernel does not do for XDP.
    pub verify_checksum: bool,
    /// Receive buffer asked for each socket of the `socket` backend, bytes. Too small shows as
    /// `socket_overflow`.
    pub socket_buffer_bytes: u32,
}

impl Default for ReceiveSection {
    fn default() -> Self {
        ReceiveSection {
            backend: BackendChoice::Auto,
            xdp_mode: XdpModeChoice::Auto,
            frames: 8192,
            ring_entries: 2048,
            huge_pages: true,
            busy_poll: true,
            verify_checksum: true,
            socket_buffer_bytes: 16 << 20,
        }
    }
}

/// Which receiver is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendChoice {
    /// XDP where it can be had, else sockets.
    #[default]
    Auto,
    /// XDP or nothing.
    Xdp,
    /// Kernel sockets.
    Socket,
}

/// Which XDP mode is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum XdpModeChoice {
    /// The best that the device has.
    #[default]
    Auto,
    /// Native, frames received straight into the UMEM.
    ZeroCopy,
    /// Native, frames copied into the UMEM.
    Copy,
    /// In the kernel's generic path (works on any device).
    Generic,
}

/// Where ticks go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublisherSection {
    /// Redis: `redis://host:port/db` or `unix:///path/to/socket`.
    pub redis: String,
    /// Streams that the ticks are spread over, by instrument.
    #[serde(default = "one")]
    pub shards: u16,
    /// Entries kept in each stream (`MAXLEN ~`); an entry holds up to 512 ticks, 32 KiB.
    #[serde(default = "default_entries_max")]
    pub entries_max: u64,
    /// The core to pin to; not pinned when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// How the thread waits when there is nothing to publish.
    #[serde(default)]
    pub wait: WaitStrategy,
    /// Ticks between a worker and the publisher; a power of two, 64 bytes each.
    #[serde(default = "default_ring_ticks")]
    pub ring_ticks: u32,
    /// Ticks kept in memory while Redis is slow or gone, 64 bytes each.
    #[serde(default = "default_spool_ticks")]
    pub spool_ticks: u32,
    /// A file that takes what the memory spool cannot; no disk is used when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_file: Option<PathBuf>,
    /// The most that the spool file may take, bytes.
    #[serde(default = "default_spool_file_bytes")]
    pub spool_file_bytes_max: u64,
}

fn one() -> u16 {
    1
}
fn default_entries_max() -> u64 {
    32_768
}
fn default_ring_ticks() -> u32 {
    1 << 16
}
fn default_spool_ticks() -> u32 {
    1 << 20
}
fn default_spool_file_bytes() -> u64 {
    1 << 30
}

/// Where the process says how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusSection {
    /// A JSON file, replaced whole at each interval and once more at the end.
    pub file: PathBuf,
    /// Time between two writes, ms.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: u64,
}

fn default_interval_ms() -> u64 {
    1_000
}
