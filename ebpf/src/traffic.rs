//! Traffic for benches and tests, made in the kernel: a generator that is faster than any socket, and the
//! pass program that the far end of a veth pair needs for it.

use crate::diagnose::Phase;
use crate::errors::{Errno, LoadError};
use crate::link::{AttachMode, Link, interface_exists};
use crate::{libbpf_log, run};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use skeleton::TrafficSkelBuilder;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What libbpf-cargo made of `bpf/traffic.bpf.c`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/traffic.skel.rs"));
}

/// The first bytes of each generated UDP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Stamp {
    /// Counts the frames of a [`Generator`], from 0.
    pub sequence: u64,
    /// `CLOCK_TAI` when the frame was made, ns.
    pub tai_ns: u64,
}

/// Sends copies of a frame out of an interface from within the kernel, each with its own [`Stamp`].
///
/// The interface is one end of a veth pair; the other end needs an XDP program ([`Pass`], or a steering
/// program), or the frames are dropped.
#[derive(Debug)]
pub struct Generator {
    program: OwnedFd,
}

impl Generator {
    /// Fewer frames in one call are refused: the kernel's test run of few live frames does not always end.
    pub const REPEAT_MIN: u32 = 100_000;
    /// The shortest template: Ethernet, IPv4 without options, UDP and a stamp.
    pub const TEMPLATE_BYTES_MIN: usize = 14 + 20 + 8 + size_of::<Stamp>();

    /// Loads the generator for an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// What the kernel refused, with an explanation.
    pub fn load(ifindex: u32) -> Result<Self, LoadError> {
        if !interface_exists(ifindex) {
            return Err(LoadError::NoInterface(ifindex));
        }
        let program = load("generate", Some(ifindex))?;
        Ok(Self { program })
    }

    /// Sends `repeat` frames as fast as the calling thread can, and returns then. The template is a whole
    /// Ethernet frame: IPv4 without options or VLAN, UDP, a payload that begins with a zero [`Stamp`]; its
    /// UDP checksum, unless it is 0, is kept right.
    ///
    /// # Errors
    /// The template is too short, `repeat` is below [`Generator::REPEAT_MIN`], or the kernel refuses.
    pub fn run(&self, template: &[u8], repeat: u32) -> Result<(), Errno> {
        if template.len() < Self::TEMPLATE_BYTES_MIN || repeat < Self::REPEAT_MIN {
            return Err(Errno { number: libc::EINVAL, phase: Phase::TestRun });
        }
        run::live_frames(self.program.as_fd(), template, repeat)
    }
}

/// An XDP program that passes everything, attached to an interface; dropping it detaches.
#[derive(Debug)]
pub struct Pass {
    _link: Link,
}

impl Pass {
    /// Attaches it in the driver of an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// What the kernel refused, with an explanation.
    pub fn attach(ifindex: u32) -> Result<Self, LoadError> {
        if !interface_exists(ifindex) {
            return Err(LoadError::NoInterface(ifindex));
        }
        let program = load("pass", None)?;
        Ok(Self { _link: Link::attach(program.as_fd(), ifindex, AttachMode::Native)? })
    }
}

/// Loads one of the two programs; the generator's target is set before.
fn load(name: &'static str, target: Option<u32>) -> Result<OwnedFd, LoadError> {
    libbpf_log::capture();
    let mut storage = MaybeUninit::uninit();
    let mut open = TrafficSkelBuilder::default()
        .open(&mut storage)
        .map_err(|error| LoadError::Open(format!("{error:#}")))?;
    if let (Some(ifindex), Some(constants)) = (target, open.maps.rodata_data.as_deref_mut()) {
        constants.target_ifindex = ifindex;
    }
    let loaded = open.load().map_err(|error| LoadError::Refused {
        program: name,
        errno: Errno::of(Phase::LoadTraffic, &error),
        log: libbpf_log::take(),
    })?;
    let program = if target.is_some() { &loaded.progs.generate } else { &loaded.progs.pass };
    program.as_fd().try_clone_to_owned().map_err(|error| LoadError::Refused {
        program: name,
        errno: Errno { number: error.raw_os_error().unwrap_or(0), phase: Phase::LoadTraffic },
        log: String::new(),
    })
}
