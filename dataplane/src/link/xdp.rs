//! The way in through XDP: a steering program on each interface, an entry in its feed map for each route,
//! and a kernel socket that holds each group's membership, because an AF_XDP socket cannot join one.

use super::{Interfaces, Link, Opened};
use crate::membership::Membership;
use crate::nic;
use crate::plan::Route;
use crate::receiver::AnyReceiver;
use crate::xdp::{Interface, ModeRequest, ReceiverConfig, ReceiverStats, SocketReport, XdpReceiver};
use anyhow::Context;
use bus::config::{Filter, ReceiveSection, XdpModeChoice};
use bus::link::{Nic, NicProgram};
use ebpf::{ChangeError, FeedKey, FeedValue, FilterAction, FilterKey, HardwareTime, LoadRequest, Steering};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// A group on an interface, from one sender or from any.
type Group = (u32, Ipv4Addr, Option<Ipv4Addr>);

/// Steering programs, map entries and memberships of one worker.
pub struct XdpLink {
    /// One for each different interface of the worker.
    steerings: Vec<Steering>,
    /// Names of the interfaces, beside `steerings`.
    names: Vec<String>,
    /// Index into `steerings` of each line's.
    of_line: [usize; 2],
    memberships: HashMap<Group, Membership>,
    /// What the maps hold, or may hold after a change that failed half-way.
    filtering: HashMap<FilterKey, FilterAction>,
    /// The filters in force, with their names.
    filters: Vec<Filter>,
}

impl XdpLink {
    /// Attaches the programs, then binds the sockets. Called on the worker's thread, so that packet memory
    /// is on its node.
    pub(super) fn open(receive: &ReceiveSection, interfaces: &Interfaces) -> anyhow::Result<Opened> {
        let mode = match receive.xdp_mode {
            XdpModeChoice::Auto => ModeRequest::Automatic,
            XdpModeChoice::ZeroCopy => ModeRequest::ZeroCopy,
            XdpModeChoice::Copy => ModeRequest::Copy,
            XdpModeChoice::Generic => ModeRequest::Generic,
        };
        let [a, b] = interfaces.indices;
        let (distinct, of_line) = if a == b { (vec![0], [0, 0]) } else { (vec![0, 1], [0, 1]) };
        let mut steerings = Vec::new();
        let mut names = Vec::new();
        for &line in &distinct {
            let name = &interfaces.names[line];
            // A program that asks for hardware time is bound to its device; without a clock there is nothing
            // to ask for.
            let has_clock = nic::phc_index(name).is_some();
            let hardware_time = if has_clock { HardwareTime::Automatic } else { HardwareTime::Off };
            let request = LoadRequest { attach: mode.attach(), hardware_time, ..LoadRequest::default() };
            let steering = Steering::load(interfaces.indices[line], &request)
                .with_context(|| format!("no XDP program on {name}"))?;
            steerings.push(steering);
            names.push(name.clone());
        }
        let receiver = {
            let opened: Vec<Interface<'_>> = steerings
                .iter()
                .zip(&names)
                .map(|(steering, name)| Interface { steering, queues: nic::receive_queues(name) })
                .collect();
            let config = ReceiverConfig {
                mode,
                frames: receive.frames,
                ring_entries: receive.ring_entries,
                huge_pages: receive.huge_pages,
                busy_poll: receive.busy_poll,
                verify_checksum: receive.verify_checksum,
                core: core_affinity_of_this_thread(),
            };
            XdpReceiver::open(&opened, &config)?
        };
        for report in receiver.reports() {
            let name = steerings.iter().position(|s| s.ifindex() == report.ifindex).map(|at| &names[at]);
            tracing::info!(
                interface = name,
                queue = report.queue,
                mode = %report.mode,
                busy_poll = report.busy_poll,
                frames = report.frames,
                "AF_XDP socket bound"
            );
        }
        let queue_packets = receiver.queue_packets() as usize;
        let link = XdpLink {
            steerings,
            names,
            of_line,
            memberships: HashMap::new(),
            filtering: HashMap::new(),
            filters: Vec::new(),
        };
        Ok(Opened {
            link: Link::Xdp(Box::new(link)),
            receiver: AnyReceiver::Xdp(receiver),
            queue_packets,
            fallback: None,
        })
    }

    pub(super) fn change(
        &mut self,
        opened: &[Route],
        closed: &[Route],
        after: &[Route],
    ) -> anyhow::Result<()> {
        for route in opened {
            let steering = &self.steerings[self.of_line[route.line.index()]];
            let value = FeedValue { slot: route.slot, line: route.line as u8 };
            // An entry that another feed leaves in the same change is overwritten here, not closed below.
            steering.set_feed(key(route), value)?;
            if let Some(group) = self.group(route)
                && !self.memberships.contains_key(&group)
            {
                let (ifindex, address, source) = group;
                self.memberships.insert(group, Membership::join(address, ifindex, source)?);
            }
        }
        for route in closed {
            let at = self.of_line[route.line.index()];
            let still_wanted =
                |other: &Route| self.of_line[other.line.index()] == at && key(other) == key(route);
            if !after.iter().any(still_wanted) {
                match self.steerings[at].remove_feed(key(route)) {
                    // A change that failed half-way did not come to set it.
                    Ok(()) | Err(ChangeError::NoSuchFeed) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let wanted: Vec<Group> = after.iter().filter_map(|route| self.group(route)).collect();
        self.memberships.retain(|group, _| wanted.contains(group));
        Ok(())
    }

    /// Exceptions begin before what they are exceptions of, and end after it.
    pub(super) fn set_filters(&mut self, filters: &[Filter]) -> anyhow::Result<()> {
        let wanted: HashMap<FilterKey, FilterAction> =
            filters.iter().map(|filter| (filter_key(filter), filter_action(filter))).collect();
        for action in [FilterAction::Pass, FilterAction::Drop] {
            for (&key, _) in wanted.iter().filter(|(_, wanted)| **wanted == action) {
                if self.filtering.get(&key) == Some(&action) {
                    continue;
                }
                self.filtering.insert(key, action);
                for steering in &self.steerings {
                    steering.set_filter(key, action)?;
                }
            }
        }
        for action in [FilterAction::Drop, FilterAction::Pass] {
            let ending =
                self.filtering.iter().filter(|(key, of)| **of == action && !wanted.contains_key(key));
            for key in ending.map(|(key, _)| *key).collect::<Vec<_>>() {
                for steering in &self.steerings {
                    match steering.remove_filter(key) {
                        Ok(()) | Err(ChangeError::NoSuchFilter) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                self.filtering.remove(&key);
            }
        }
        self.filters = filters.to_vec();
        Ok(())
    }

    pub(super) fn set_attached(&mut self, interface: &str, attached: bool) -> Option<anyhow::Result<()>> {
        let at = self.names.iter().position(|name| name == interface)?;
        let steering = &mut self.steerings[at];
        Some(if attached {
            steering.attach().map_err(Into::into)
        } else {
            steering.detach();
            Ok(())
        })
    }

    pub(super) fn describe(&self, nic: &mut Nic) {
        let Some(at) = self.names.iter().position(|name| *name == nic.interface) else { return };
        let steering = &self.steerings[at];
        nic.attached = steering.is_attached().then(|| steering.mode().to_string());
        nic.program = steering.identity().map(|identity| NicProgram {
            name: steering.program_name().to_owned(),
            id: identity.id,
            tag: identity.tag.iter().map(|byte| format!("{byte:02x}")).collect(),
            hardware_time: steering.has_hardware_time(),
        });
        if let Ok(counters) = steering.counters() {
            nic.program_packets =
                counters.iter().map(|(why, count)| (why.name().to_owned(), count)).collect();
        }
        let refused = steering.fallbacks().iter();
        nic.fallbacks = refused.map(|tried| format!("{}: {}", tried.wanted, tried.reason)).collect();
    }

    fn filters_status(&self, steering: &Steering) -> Value {
        let filters = self.filters.iter().map(|filter| {
            json!({
                "name": filter.name,
                "action": filter.action,
                "packets": steering.filter_packets(filter_key(filter)).ok(),
            })
        });
        Value::Array(filters.collect())
    }

    pub(super) fn replace_programs(&mut self) -> anyhow::Result<usize> {
        for (steering, name) in self.steerings.iter_mut().zip(&self.names) {
            steering.replace_program().with_context(|| format!("interface {name}"))?;
        }
        Ok(self.steerings.len())
    }

    /// Modes and counters of the interfaces.
    pub(super) fn status(&self) -> Value {
        let nics = nic::counters_of_all();
        let interfaces = self.steerings.iter().zip(&self.names).map(|(steering, name)| {
            let counters: Map<String, Value> = steering
                .counters()
                .map(|counters| {
                    counters.iter().map(|(why, count)| (why.name().into(), count.into())).collect()
                })
                .unwrap_or_default();
            json!({
                "interface": name,
                "attached": if steering.is_attached() { steering.mode().to_string() } else { "detached".into() },
                "hardware_time": steering.has_hardware_time(),
                "program": counters,
                "filters": self.filters_status(steering),
                "nic": nics.get(name),
            })
        });
        Value::Array(interfaces.collect())
    }

    fn group(&self, route: &Route) -> Option<Group> {
        let ifindex = self.steerings[self.of_line[route.line.index()]].ifindex();
        route.group.is_multicast().then_some((ifindex, route.group, route.source))
    }
}

/// The receiver's counters and its sockets', for the status.
pub(crate) fn receiver_status(stats: &ReceiverStats, sockets: &[SocketReport]) -> Value {
    let sockets: Vec<Value> = sockets
        .iter()
        .map(|socket| {
            let kernel = socket.statistics;
            json!({
                "ifindex": socket.ifindex,
                "queue": socket.queue,
                "mode": socket.mode.name(),
                "busy_poll": socket.busy_poll,
                "frames": socket.frames,
                "lent": socket.lent,
                "rx_dropped": kernel.rx_dropped,
                "rx_invalid_descs": kernel.rx_invalid_descs,
                "tx_invalid_descs": kernel.tx_invalid_descs,
                "rx_ring_full": kernel.rx_ring_full,
                "rx_fill_ring_empty_descs": kernel.rx_fill_ring_empty_descs,
                "tx_ring_empty_descs": kernel.tx_ring_empty_descs,
            })
        })
        .collect();
    json!({
        "packets": stats.packets,
        "payload_bytes": stats.bytes,
        "bad_checksum": stats.bad_checksum,
        "foreign": stats.foreign,
        "bad_descriptors": stats.bad_descriptors,
        "unfilled": stats.unfilled,
        "sockets": sockets,
    })
}

fn key(route: &Route) -> FeedKey {
    FeedKey { destination: route.group, port: route.port, source: route.source }
}

fn filter_key(filter: &Filter) -> FilterKey {
    FilterKey { group: filter.group, port: filter.port, source: filter.source }
}

fn filter_action(filter: &Filter) -> FilterAction {
    match filter.action {
        bus::config::FilterAction::Pass => FilterAction::Pass,
        bus::config::FilterAction::Drop => FilterAction::Drop,
    }
}

/// The core this thread was pinned to, when it may run on just one.
fn core_affinity_of_this_thread() -> Option<usize> {
    match core_affinity::get_core_ids()?.as_slice() {
        [only] => Some(only.id),
        _ => None,
    }
}
