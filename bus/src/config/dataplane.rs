//! `dataplane.yaml`: how one data plane takes its feeds and where it publishes them.

use super::{HealthSection, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
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
    /// Where the control plane beside it finds it, and where its versions of documents are kept; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlSection>,
    /// Where metrics and health are; nowhere when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSection>,
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
    /// Entries kept in each stream (`MAXLEN ~`). An entry holds what gathered during one write: a few ticks
    /// in a quiet market, at most 512 (32 KiB) in a burst, so that the default takes 4 GiB at the very most.
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
    131_072
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

/// Where the control plane finds the process, and what it has said before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    /// A unix socket, made at the start with mode 0660. Who may speak there: root, this process's user, and the
    /// socket's group (`chgrp`, or a folder with the group's bit). At most 107 bytes.
    pub socket: PathBuf,
    /// A folder of this process alone, made when it is not there. It keeps the versions of documents that were
    /// accepted, so that a start without a control plane begins with them.
    pub state: PathBuf,
}

/// The lowest and highest number of UMEM frames: 4 MiB to 1 GiB.
const FRAMES: std::ops::RangeInclusive<u32> = 1 << 10..=1 << 18;
/// Of ring entries, in a receive ring or between a worker and the publisher.
const RING: std::ops::RangeInclusive<u32> = 64..=1 << 22;

impl DataplaneDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: String, message: String| problems.push(Problem { path, message });
        if self.workers.is_empty() {
            problem("workers".into(), "is empty; name at least one worker".into());
        }
        let mut names = HashMap::new();
        let mut interfaces = HashMap::new();
        let mut assigned = HashMap::new();
        for (index, worker) in self.workers.iter().enumerate() {
            let at = format!("workers[{index}]");
            if let Some(other) = names.insert(&worker.name, index) {
                problem(format!("{at}.name"), format!("is also workers[{other}].name; names must be unique"));
            }
            for interface in HashSet::from([&worker.interface_a, &worker.interface_b]) {
                if let Some(other) = interfaces.insert(interface, index) {
                    let message =
                        format!("{interface} belongs to workers[{other}] too; an interface has one worker");
                    problem(at.clone(), message);
                }
            }
            match &worker.feeds {
                None if self.workers.len() > 1 => {
                    let message = "is missing; with more than one worker, each names the feeds it takes";
                    problem(format!("{at}.feeds"), message.into());
                }
                None => {}
                Some(feeds) => {
                    for feed in feeds {
                        if let Some(other) = assigned.insert(feed, index) {
                            let message = format!("{feed} is assigned to workers[{other}] too");
                            problem(format!("{at}.feeds"), message);
                        }
                    }
                }
            }
        }
        let mut bounded = |path: &str, value: u32, range: &std::ops::RangeInclusive<u32>| {
            if !value.is_power_of_two() || !range.contains(&value) {
                let message =
                    format!("is {value}; choose a power of two from {} to {}", range.start(), range.end());
                problem(path.into(), message);
            }
        };
        bounded("receive.frames", self.receive.frames, &FRAMES);
        bounded("receive.ring_entries", self.receive.ring_entries, &RING);
        bounded("publisher.ring_ticks", self.publisher.ring_ticks, &RING);
        if self.publisher.shards == 0 {
            problem("publisher.shards".into(), "is 0; 1 keeps the plain stream".into());
        }
        if self.publisher.entries_max == 0 {
            problem("publisher.entries_max".into(), "is 0; the stream would keep nothing".into());
        }
        if self.status.as_ref().is_some_and(|status| status.interval_ms == 0) {
            problem("status.interval_ms".into(), "is 0; choose at least 1".into());
        }
        if let Some(control) = &self.control {
            for (path, file) in [("control.socket", &control.socket), ("control.state", &control.state)] {
                if file.as_os_str().is_empty() {
                    problem(path.into(), "is empty; name a path".into());
                }
            }
            if control.socket == control.state {
                problem("control.state".into(), "is the socket's path; name a folder".into());
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
feeds: feeds.yaml
workers:
  - {name: w0, core: 2, interface_a: eth1, interface_b: eth2, feeds: [one]}
  - {name: w1, interface_a: eth3, interface_b: eth3, feeds: [two], wait: spin}
publisher: {redis: 'unix:///run/redis.sock'}
status: {file: status.json}
health: {listen: '127.0.0.1:9101'}
control: {socket: control.sock, state: state}
";

    #[test]
    fn a_short_document_has_sane_defaults() {
        let document = DataplaneDocument::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(document.receive, ReceiveSection::default());
        assert_eq!((document.publisher.shards, document.publisher.ring_ticks), (1, 65_536));
        assert_eq!(document.status.unwrap().interval_ms, 1_000);
        assert_eq!(document.health.unwrap().listen.port(), 9101);
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        let cases = [
            ("name: w1", "name: w0", "workers[1].name"),
            ("interface_a: eth3", "interface_a: eth2", "eth2 belongs to workers[0] too"),
            (", feeds: [two]", "", "workers[1].feeds: is missing"),
            ("feeds: [two]", "feeds: [one]", "one is assigned to workers[0] too"),
            ("status: {", "receive: {frames: 1000}\nstatus: {", "receive.frames: is 1000"),
            ("sock'}", "sock', shards: 0}", "publisher.shards"),
            ("status.json}", "status.json, interval_ms: 0}", "status.interval_ms"),
            ("127.0.0.1:9101", "localhost", "line 8"),
            ("socket: control.sock", "socket: ''", "control.socket: is empty"),
            ("state: state", "state: control.sock", "control.state: is the socket's path"),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replace(from, to);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = DataplaneDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let text = WHOLE.replace("feeds: feeds.yaml", "feed: feeds.yaml");
        let error = DataplaneDocument::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 2"), "{error}");
    }
}
