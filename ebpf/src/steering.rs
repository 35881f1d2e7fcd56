//! A steering program at work on one interface: choosing the best program and mode that the device takes,
//! and exchanging the program while packets flow.
//!
//! [`Steering`] owns the program, its maps and the attachment; dropping it detaches, after which the kernel
//! gets every packet again. It can be detached and attached again, too, with program and maps as they are. A program that is bound to a device never leaves the `Steering` that it was
//! loaded for, because the kernel does not always notice a foreign one.

use crate::counters::Counters;
use crate::errors::{AttachError, ChangeError, LoadError};
use crate::feeds::{FeedKey, FeedValue};
use crate::filters::{FilterAction, FilterKey};
use crate::link::{AttachMode, Link, interface_exists};
use crate::program::{MapSizes, Program, ProgramIdentity, Variant};
use std::os::fd::BorrowedFd;

/// Where the program may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachRequest {
    /// In the driver if it can, else in the generic hook.
    #[default]
    Automatic,
    /// In the driver or not at all.
    Native,
    /// In the generic hook.
    Generic,
}

/// Whether the NIC's receive time is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HardwareTime {
    /// Where the driver has it.
    #[default]
    Automatic,
    /// Never.
    Off,
}

/// What to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadRequest {
    /// Where the program may run.
    pub attach: AttachRequest,
    /// Whether the NIC's receive time is wanted.
    pub hardware_time: HardwareTime,
    /// Sizes of the maps.
    pub sizes: MapSizes,
}

impl LoadRequest {
    /// What to try, best first.
    fn candidates(&self, ifindex: u32) -> Vec<(Variant, AttachMode)> {
        let bound = (Variant::DeviceBound { ifindex }, AttachMode::Native);
        let native = (Variant::Plain, AttachMode::Native);
        let generic = (Variant::Plain, AttachMode::Generic);
        let mut candidates = Vec::with_capacity(3);
        if self.attach != AttachRequest::Generic {
            if self.hardware_time == HardwareTime::Automatic {
                candidates.push(bound);
            }
            candidates.push(native);
        }
        if self.attach != AttachRequest::Native {
            candidates.push(generic);
        }
        candidates
    }
}

/// Something better that was tried and refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// What was tried.
    pub wanted: String,
    /// Why it was refused.
    pub reason: String,
}

/// A steering program, attached unless it was detached for a time.
#[derive(Debug)]
pub struct Steering {
    /// `None` while it is detached.
    link: Option<Link>,
    program: Program,
    mode: AttachMode,
    ifindex: u32,
    fallbacks: Vec<Fallback>,
}

impl Steering {
    /// Loads the best program that the interface takes and attaches it; no packet is steered before feeds
    /// and sockets are set. The interface is looked up in the calling thread's network namespace.
    ///
    /// # Errors
    /// When nothing that the request allows works: why the last choice was refused.
    pub fn load(ifindex: u32, request: &LoadRequest) -> Result<Self, LoadError> {
        if !interface_exists(ifindex) {
            return Err(LoadError::NoInterface(ifindex));
        }
        let mut fallbacks = Vec::new();
        let mut refused = LoadError::BadRequest("nothing to try");
        for (variant, mode) in request.candidates(ifindex) {
            match try_load(ifindex, variant, mode, request.sizes) {
                Ok((program, link)) => {
                    let mode = link.read_mode()?;
                    return Ok(Self { link: Some(link), program, mode, ifindex, fallbacks });
                }
                Err(error) => {
                    let what = if variant == Variant::Plain { "" } else { " with hardware time" };
                    fallbacks
                        .push(Fallback { wanted: format!("{mode} XDP{what}"), reason: error.to_string() });
                    refused = error;
                }
            }
        }
        Err(refused)
    }

    /// The interface.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The mode in force, as the kernel told it; of a detached one, the mode in which it is attached again.
    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// Whether packets meet the program.
    pub fn is_attached(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_alive)
    }

    /// Takes the program off the interface: its packets go to the kernel. Maps and sockets stay as they are.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// Puts the program back to work in the mode that it had. Does nothing while it is attached.
    ///
    /// # Errors
    /// Why not: somebody else's program may be there meanwhile, or the interface is gone.
    pub fn attach(&mut self) -> Result<(), AttachError> {
        if self.link.is_none() {
            let link = Link::attach(self.program.fd(), self.ifindex, self.mode)?;
            self.mode = link.read_mode()?;
            self.link = Some(link);
        }
        Ok(())
    }

    /// The program's own name.
    pub fn program_name(&self) -> &'static str {
        self.program.variant().program_name()
    }

    /// What the kernel calls the program.
    pub fn identity(&self) -> Option<ProgramIdentity> {
        self.program.identity()
    }

    /// Whether the program asks the NIC for its receive time. (A packet may still have none.)
    pub fn has_hardware_time(&self) -> bool {
        self.program.variant() != Variant::Plain
    }

    /// What was tried before and refused, best first: to be announced.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// See [`Program::set_feed`].
    ///
    /// # Errors
    /// As there.
    pub fn set_feed(&self, key: FeedKey, value: FeedValue) -> Result<(), ChangeError> {
        self.program.set_feed(key, value)
    }

    /// See [`Program::remove_feed`].
    ///
    /// # Errors
    /// As there.
    pub fn remove_feed(&self, key: FeedKey) -> Result<(), ChangeError> {
        self.program.remove_feed(key)
    }

    /// See [`Program::set_filter`].
    ///
    /// # Errors
    /// As there.
    pub fn set_filter(&self, key: FilterKey, action: FilterAction) -> Result<(), ChangeError> {
        self.program.set_filter(key, action)
    }

    /// See [`Program::remove_filter`].
    ///
    /// # Errors
    /// As there.
    pub fn remove_filter(&self, key: FilterKey) -> Result<(), ChangeError> {
        self.program.remove_filter(key)
    }

    /// See [`Program::filter_packets`].
    ///
    /// # Errors
    /// As there.
    pub fn filter_packets(&self, key: FilterKey) -> Result<u64, ChangeError> {
        self.program.filter_packets(key)
    }

    /// See [`Program::register_socket`].
    ///
    /// # Errors
    /// As there.
    pub fn register_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ChangeError> {
        self.program.register_socket(queue, socket)
    }

    /// See [`Program::counters`].
    ///
    /// # Errors
    /// As there.
    pub fn counters(&self) -> Result<Counters, ChangeError> {
        self.program.counters()
    }

    /// Loads the program anew onto the same maps and puts it in the place of the running one, without a
    /// packet lost. A detached one stays detached. Blocks its caller for 8 to 18 ms: never call it on a worker.
    ///
    /// # Errors
    /// Why not; the old program runs on.
    pub fn replace_program(&mut self) -> Result<(), ChangeError> {
        if self.link.as_ref().is_some_and(|link| !link.is_alive()) {
            return Err(ChangeError::InterfaceGone(self.ifindex));
        }
        let successor = self.program.load_successor()?;
        if let Some(link) = &self.link {
            link.replace(successor.fd()).map_err(ChangeError::Update)?;
        }
        self.program = successor;
        Ok(())
    }
}

fn try_load(
    ifindex: u32,
    variant: Variant,
    mode: AttachMode,
    sizes: MapSizes,
) -> Result<(Program, Link), LoadError> {
    if variant != Variant::Plain {
        check_device_bound_is_safe()?;
    }
    let program = Program::load(variant, sizes)?;
    let link = Link::attach(program.fd(), ifindex, mode)?;
    Ok((program, link))
}

/// Declines the device-bound program where Linux is known to lose track of it: see
/// [`Program::outgrows_its_page`], and `bpf_jit_harden` = 2, which has the same effect by copying every program.
fn check_device_bound_is_safe() -> Result<(), LoadError> {
    let harden = std::fs::read_to_string("/proc/sys/net/core/bpf_jit_harden").unwrap_or_default();
    if harden.trim() == "2" {
        return Err(LoadError::Dangerous("net.core.bpf_jit_harden is 2"));
    }
    let measured = Program::load(Variant::Plain, MapSizes { feeds_max: 1, queues_max: 1, filters_max: 1 })?;
    if measured.outgrows_its_page() {
        return Err(LoadError::Dangerous("its translation outgrows a page"));
    }
    Ok(())
}
