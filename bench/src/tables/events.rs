//! Table (m): what five hundred clients of the control plane's events cost the receiver of a worker.
//!
//! The receiver has a core of its own and drains full queues, as in table (a). Beside it, on the other cores: a Redis into
//! which ticks and orders are written, and, by contender, nothing, a control plane, or a control plane whose events five
//! hundred HTTP clients read: the picture of everything, orders, and the book of an instrument. Nothing of it may reach the
//! receiver but through what cores share: caches, memory, the kernel.

mod clients;
mod life;

use crate::harness::{Contender, Effort, Kind, Round, Row, Table, Target, measure};
use crate::processes::Service;
use crate::tables::receiver::Alone;
use crate::world::World;
use anyhow::{Result, ensure};
use clients::Clients;
use life::Life;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

const REFERENCE: &str = "no control plane";
/// Clients of the events.
const CLIENTS: usize = 500;
/// The same in a smoke run.
const CLIENTS_SHORT: usize = 20;
/// Where the control plane is, inside the world's namespace.
const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 18_400);
const HEALTH: ([u8; 4], u16) = ([127, 0, 0, 1], 18_401);
/// Events flow for so long before counting begins.
const WARM_UP: Duration = Duration::from_millis(500);

/// What runs beside the receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Controlplane { clients: usize },
}

fn round(receiver: &Alone, world: &World, effort: Effort, beside: Beside) -> Result<Round> {
    world.empty_redis()?;
    let life = Life::start(world.redis().url())?;
    let (cost, note) = match beside {
        Beside::Nothing => receiver.drain(effort)?,
        Beside::Controlplane { clients } => {
            let folder = tempfile::tempdir()?;
            let token = folder.path().join("token");
            let document = json!({
                "listen": SocketAddr::from(LISTEN),
                "store": folder.path().join("store.sqlite"),
                "redis": world.redis().url(),
                "first_token_file": token,
                "limits": {"requests_per_second": 10_000, "address_requests_per_second": 10_000},
                "health": {"listen": SocketAddr::from(HEALTH)},
            });
            let service = Service::start(world, "controlplane", HEALTH.into(), &document)?;
            let token = std::fs::read_to_string(token)?;
            let listening = Clients::start(world.network(), LISTEN.into(), token.trim(), clients)?;
            std::thread::sleep(WARM_UP);
            let (cost, mut note) = receiver.drain(effort)?;
            note.push_str(&listening.finish()?);
            service.finish()?;
            (cost, note)
        }
    };
    life.finish()?;
    Ok(Round { figures: vec![cost], note })
}

/// Keeps the calling thread, and what it starts from now on, off the receiver's core.
fn keep_off_the_receivers_core(cores: usize) {
    // SAFETY: a set of bits in which zero is a value, and a system call on the calling thread that reads it.
    unsafe {
        let mut others: libc::cpu_set_t = std::mem::zeroed();
        for core in (0..cores).filter(|core| *core != Alone::CORE) {
            libc::CPU_SET(core, &mut others);
        }
        // Best effort: on a machine that forbids it, the scheduler decides.
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &others);
    }
}

/// Measures the table.
pub(super) fn table(effort: Effort) -> Result<Table> {
    ensure!(
        lab::network::require_root("table (m)"),
        "it needs root and a sound kernel, for XDP and network namespaces"
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cores > 1, "it needs two cores: one is the receiver's alone");
    let receiver = &Alone::new()?;
    let all = CLIENTS_SHORT * usize::from(effort.short) + CLIENTS * usize::from(!effort.short);
    // Redis, the control plane and the clients are started by a thread that lives as long as they do.
    let metrics = std::thread::scope(|scope| {
        let measured = scope.spawn(move || -> Result<_> {
            keep_off_the_receivers_core(cores);
            let world = &World::new()?;
            let row = |what: &str, does: &str, targets: &[Target]| vec![Row::new(what, does).aiming(targets)];
            let as_good = &[Target::TimesReference(0.9)];
            let beside = |clients| Beside::Controlplane { clients };
            let contenders = vec![
                Contender::several(
                    row(REFERENCE, "Redis and who writes into it on the other cores", &[]),
                    move || round(receiver, world, effort, Beside::Nothing),
                ),
                Contender::several(
                    row("control plane, no client", "and the control plane's process", as_good),
                    move || round(receiver, world, effort, beside(0)),
                ),
                Contender::several(
                    row(
                        &format!("control plane, {all} clients"),
                        "and HTTP clients that read the events `status`, `orders`, `book` and `tape`",
                        as_good,
                    ),
                    move || round(receiver, world, effort, beside(all)),
                ),
            ];
            let kinds = [Kind::lower("receiver alone, draining a full queue", "ns/packet")];
            Ok(measure(&kinds, REFERENCE, effort, contenders))
        });
        measured.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(Table { id: 'm', title: "events", metrics })
}
