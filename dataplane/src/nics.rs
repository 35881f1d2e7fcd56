//! What is told of interfaces and clocks: what the kernel says, beside what the process has made of it.

use crate::clock::{TimeMap, utc_now_ns};
use crate::link::Link;
use crate::nic::{self, Facts, NicCounters};
use crate::process::Dataplane;
use crate::receiver::ReceiverReport;
use crate::running::RunningWorker;
use anyhow::Context;
use bus::link::{Clocks, Nic, NicCapabilities, NicClock, NicSocket};
use feed::Line;
use std::collections::BTreeMap;
use tracing::info;

const LINES: [(Line, &str); 2] = [(Line::A, "a"), (Line::B, "b")];

impl Dataplane {
    /// The interfaces of all workers, asked for now.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn nics(&mut self) -> anyhow::Result<Vec<Nic>> {
        let counters = nic::counters_of_all();
        let mut nics = Vec::new();
        for worker in &mut self.workers {
            for interface in distinct(&worker.interfaces.names) {
                nics.push(describe(worker, &interface, counters.get(&interface))?);
            }
        }
        Ok(nics)
    }

    /// Puts an interface's steering program to work again, or takes it off: its packets go to the kernel then, the worker
    /// goes on with its other interface. `None` when no worker has such an interface with a program.
    ///
    /// # Errors
    /// What the kernel refused, or a worker that does not answer.
    pub fn set_attached(&mut self, interface: &str, attached: bool) -> Option<anyhow::Result<Nic>> {
        let worker = self
            .workers
            .iter_mut()
            .find(|worker| worker.interfaces.names.iter().any(|name| name == interface))?;
        let done = worker.link.set_attached(interface, attached)?;
        Some(done.with_context(|| format!("interface {interface}")).and_then(|()| {
            info!(worker = worker.name, interface, attached, "steering program");
            describe(worker, interface, nic::counters_of_all().get(interface))
        }))
    }

    /// Whether a worker has this interface.
    pub fn has_interface(&self, interface: &str) -> bool {
        self.workers.iter().flat_map(|worker| &worker.interfaces.names).any(|name| name == interface)
    }

    /// How the clocks stood when last measured.
    pub fn clocks(&self) -> Clocks {
        let now_ns = utc_now_ns();
        let mut clocks = Clocks { time_ns: now_ns, ..Clocks::default() };
        for (worker, keeper) in self.workers.iter().zip(&self.clocks) {
            let map = **keeper.map().load();
            clocks.utc_in_sync = map.utc_in_sync;
            clocks.tai_minus_utc_ns = map.tai_minus_utc_ns;
            for (line, letter) in LINES {
                let at = line.index();
                clocks.clocks.push(NicClock {
                    worker: worker.name.clone(),
                    line: letter.to_owned(),
                    interface: worker.interfaces.names[at].clone(),
                    path: keeper.paths()[at].as_ref().map(|path| path.display().to_string()),
                    minus_utc_ns: map.phc_minus_utc_ns[at],
                    window_ns: map.phc_window_ns[at],
                    source: best_source(&worker.link, &worker.interfaces.names[at], &map, line).to_owned(),
                    age_ms: now_ns.saturating_sub(map.measured_ns) / 1_000_000,
                });
            }
        }
        clocks
    }
}

/// What the best time is that packets of a line can have: the order is [`TimeMap::stamp`]'s.
fn best_source(link: &Link, interface: &str, map: &TimeMap, line: Line) -> &'static str {
    let mut nic = Nic { interface: interface.to_owned(), ..Nic::default() };
    link.describe(&mut nic);
    match nic.program {
        None => "kernel",
        Some(program) if program.hardware_time && map.phc_minus_utc_ns[line.index()].is_some() => "hardware",
        Some(_) => "xdp",
    }
}

fn distinct(names: &[String; 2]) -> Vec<String> {
    let [a, b] = names;
    if a == b { vec![a.clone()] } else { names.to_vec() }
}

fn describe(
    worker: &mut RunningWorker,
    interface: &str,
    counters: Option<&NicCounters>,
) -> anyhow::Result<Nic> {
    let Facts { driver, mac, mtu_bytes, up, carrier, speed_mbit_per_s } = Facts::of(interface);
    let index = nic::index(interface).unwrap_or(0);
    let lines = LINES.iter().filter(|(line, _)| worker.interfaces.names[line.index()] == interface);
    let mut nic = Nic {
        interface: interface.to_owned(),
        worker: worker.name.clone(),
        lines: lines.map(|(_, letter)| (*letter).to_owned()).collect(),
        backend: worker.link.name().to_owned(),
        index,
        driver,
        mac,
        mtu_bytes,
        up,
        carrier,
        speed_mbit_per_s,
        receive_queues: nic::receive_queues(interface),
        capabilities: capabilities(interface, index),
        counters: counters.map(counted).unwrap_or_default(),
        ..Nic::default()
    };
    worker.link.describe(&mut nic);
    let at = worker.interfaces.names.iter().position(|name| name == interface);
    let ifindex = at.map_or(0, |at| worker.interfaces.indices[at]);
    nic.sockets = sockets(&worker.port.report()?.receiver, ifindex);
    Ok(nic)
}

fn capabilities(interface: &str, index: u32) -> NicCapabilities {
    #[cfg(feature = "xdp")]
    let (native_xdp, zero_copy) = match ebpf::driver_features(index) {
        Some(features) => (Some(features.native_xdp), Some(features.zero_copy)),
        None => (None, None),
    };
    #[cfg(not(feature = "xdp"))]
    let (native_xdp, zero_copy) = {
        let _ = index;
        (None, None)
    };
    NicCapabilities {
        native_xdp,
        zero_copy,
        hardware_timestamps: nic::has_receive_timestamps(interface),
        clock: nic::phc_index(interface).map(|number| format!("/dev/ptp{number}")),
    }
}

fn counted(counters: &NicCounters) -> BTreeMap<String, u64> {
    let NicCounters { rx_bytes, rx_packets, rx_errors, rx_dropped, rx_fifo, rx_frame } = *counters;
    let counts = [
        ("rx_bytes", rx_bytes),
        ("rx_packets", rx_packets),
        ("rx_errors", rx_errors),
        ("rx_dropped", rx_dropped),
        ("rx_fifo", rx_fifo),
        ("rx_frame", rx_frame),
    ];
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

#[cfg(feature = "xdp")]
fn sockets(report: &ReceiverReport, ifindex: u32) -> Vec<NicSocket> {
    let own = report.sockets.iter().filter(|socket| socket.ifindex == ifindex);
    own.map(|socket| {
        let kernel = socket.statistics;
        let counts = [
            ("rx_dropped", kernel.rx_dropped),
            ("rx_invalid_descs", kernel.rx_invalid_descs),
            ("tx_invalid_descs", kernel.tx_invalid_descs),
            ("rx_ring_full", kernel.rx_ring_full),
            ("rx_fill_ring_empty_descs", kernel.rx_fill_ring_empty_descs),
            ("tx_ring_empty_descs", kernel.tx_ring_empty_descs),
        ];
        NicSocket {
            queue: socket.queue,
            mode: socket.mode.name().to_owned(),
            busy_poll: socket.busy_poll,
            frames: socket.frames,
            counters: counts.map(|(name, count)| (name.to_owned(), count)).into(),
        }
    })
    .collect()
}

#[cfg(not(feature = "xdp"))]
fn sockets(_: &ReceiverReport, _: u32) -> Vec<NicSocket> {
    Vec::new()
}
