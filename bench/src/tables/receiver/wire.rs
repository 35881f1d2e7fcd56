//! The wire of table (a): a veth pair in its own namespace, and the kernel's generator on one end of it.

use anyhow::{Context, Result, bail};
use ebpf::{Generator, Stamp};
use lab::network::Network;
use std::ffi::CString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use venue::frame::{self, FrameHeader};

/// The end that sends.
const SENDER: &str = "sender";
/// The end that receives.
pub(super) const RECEIVER: &str = "receiver";
/// A whole frame, bytes, of which 42 are headers.
const FRAME_BYTES: usize = 100;
const FROM: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 90, 0, 1), 40_000);
/// Where the packets go.
pub(super) const TO: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 90, 0, 2), 26_400);
/// Where the receiver runs.
pub(super) const RECEIVER_CORE: usize = 0;

/// The veth pair, its namespace and the generator.
pub(super) struct Wire {
    network: Network,
    generator: Arc<Generator>,
    frame: Arc<Vec<u8>>,
    generator_core: usize,
}

impl Wire {
    /// Makes the namespace, the pair and the generator.
    pub(super) fn new() -> Result<Wire> {
        let network = Network::new()?;
        network.veth_pair(SENDER, RECEIVER, 1)?;
        network.add_address(SENDER, *FROM.ip(), 24)?;
        network.add_address(RECEIVER, *TO.ip(), 24)?;
        let mac = receiver_mac(&network)?;
        let generator =
            network.run(|| Generator::load(interface_index(SENDER)?).context("loading the generator"))?;
        let header = FrameHeader {
            source_mac: [2, 0, 0, 0, 0, 1],
            vlan: None,
            source: FROM,
            destination: TO,
            ttl: 16,
        };
        let mut template = Vec::new();
        frame::build(&mut template, &header, &[0; FRAME_BYTES - 42]);
        template[..6].copy_from_slice(&mac);
        // Asked now: a thread that is pinned, or comes from one that is, sees only its own core.
        let generator_core = std::thread::available_parallelism().map_or(1, usize::from) - 1;
        Ok(Wire { network, generator: Arc::new(generator), frame: Arc::new(template), generator_core })
    }

    /// The namespace, for programs that are started inside.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Runs a round inside the namespace, on the receiver's core.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.network.run(|| {
            pin(RECEIVER_CORE);
            work()
        })
    }

    /// Fills the receiver's queue, from the other core, and returns when the generator rests.
    pub(super) fn fill(&self) -> Result<()> {
        self.network.run(|| {
            pin(self.generator_core);
            self.generator.run(&self.frame, Generator::REPEAT_MIN).map_err(anyhow::Error::msg)
        })
    }

    /// Sends without a rest until stopped.
    pub(super) fn flood(&self) -> Result<Flood> {
        let (network, generator, frame) =
            (self.network.clone(), Arc::clone(&self.generator), Arc::clone(&self.frame));
        let generator_core = self.generator_core;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
            network.enter_current_thread()?;
            pin(generator_core);
            while !stopped.load(Ordering::Relaxed) {
                generator.run(&frame, Generator::REPEAT_MIN).map_err(anyhow::Error::msg)?;
            }
            Ok(())
        })?;
        Ok(Flood { stop, thread: Some(thread) })
    }
}

/// The generator at work; it stops when this is dropped.
pub(super) struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Flood {
    /// Stops, and says whether all went well.
    pub(super) fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => bail!("the generator panicked"),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Best effort: on a machine that forbids it, the scheduler decides.
fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// The index of an interface of the calling thread's namespace.
pub(super) fn interface_index(name: &str) -> Result<u32> {
    let c_name = CString::new(name)?;
    // SAFETY: the name is a C string that lives through the call.
    let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
    if index == 0 { Err(std::io::Error::last_os_error()).context(name.to_owned()) } else { Ok(index) }
}

/// The receiver's Ethernet address.
fn receiver_mac(network: &Network) -> Result<[u8; 6]> {
    let text = network.tool("ip", &["-o", "link", "show", RECEIVER])?;
    let address = text.split("link/ether ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let mut bytes =
        address.context("no Ethernet address")?.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = bytes.next().context("short Ethernet address")??;
    }
    Ok(mac)
}

const _: () = assert!(FRAME_BYTES - 42 >= size_of::<Stamp>());
