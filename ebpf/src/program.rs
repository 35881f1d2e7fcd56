//! The steering program in the kernel: loading it, the maps it works on, and running it over a frame
//! without a device.
//!
//! The skeleton only lives through the load. What stays are descriptors: one of the program, the others of
//! the maps, which a successor takes over.

use crate::counters::{Counters, Reason};
use crate::diagnose::Phase;
use crate::errors::{ChangeError, Errno, LoadError};
use crate::feeds::{FeedKey, FeedValue, RawKey, RawValue};
use crate::filters::{FilterAction, FilterKey, RawFilter};
use crate::{libbpf_log, run};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, libbpf_sys};
use skeleton::SteerSkelBuilder;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use zerocopy::{FromBytes, IntoBytes};

/// What libbpf-cargo made of `bpf/steer.bpf.c`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/steer.skel.rs"));
}

const BPF_F_XDP_DEV_BOUND_ONLY: u32 = 1 << 6;

/// What the translated program may take, bytes. The kernel keeps a program in whole pages, its own record of
/// some 80 bytes included; the rest of a page of 4,096 is what other kernels may make of the same program,
/// and the few instructions that the device-bound one has more.
const TRANSLATED_BYTES_MAX: u32 = 3200;

/// Which of the two steering programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Reads the NIC's receive time; works on the one device that it is loaded for.
    DeviceBound {
        /// The device.
        ifindex: u32,
    },
    /// Reads no hardware time; works on every device.
    Plain,
}

impl Variant {
    pub(crate) fn program_name(self) -> &'static str {
        match self {
            Variant::DeviceBound { .. } => "steer_device_bound",
            Variant::Plain => "steer_plain",
        }
    }

    fn phase(self) -> Phase {
        match self {
            Variant::DeviceBound { .. } => Phase::LoadDeviceBound,
            Variant::Plain => Phase::LoadPlain,
        }
    }
}

/// Sizes of the maps, fixed at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSizes {
    /// Feed entries: two for a channel with two lines. Too low: a feed cannot be added without a restart.
    /// Too high: about 100 bytes of kernel memory each.
    pub feeds_max: u32,
    /// Queues that can have a socket: queue numbers are below this. Too low: a socket cannot be
    /// registered. Too high: 8 bytes of kernel memory each.
    pub queues_max: u32,
    /// Filters: twice as many as there may be, because a change puts the new ones in before it takes the old ones out.
    /// Too low: a filter cannot be added. Too high: about 80 bytes of kernel memory each, and 16 for each CPU.
    pub filters_max: u32,
}

impl Default for MapSizes {
    fn default() -> Self {
        Self { feeds_max: 4096, queues_max: 256, filters_max: 512 }
    }
}

/// The maps. They live as long as one descriptor does.
#[derive(Debug)]
pub(crate) struct Maps {
    feeds: MapHandle,
    filters: MapHandle,
    sockets: MapHandle,
    counters: MapHandle,
}

/// What the kernel calls a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramIdentity {
    /// Its number: another one for each load.
    pub id: u32,
    /// A hash of its instructions: the same for each load of the same program.
    pub tag: [u8; 8],
}

/// A steering program that is loaded and attached nowhere.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    variant: Variant,
    maps: Maps,
}

impl Program {
    /// Loads the program with maps of its own.
    ///
    /// # Errors
    /// What the kernel refused, with an explanation.
    pub fn load(variant: Variant, sizes: MapSizes) -> Result<Self, LoadError> {
        if sizes.feeds_max == 0 || sizes.queues_max == 0 || sizes.filters_max == 0 {
            return Err(LoadError::BadRequest("each of the maps needs at least one entry"));
        }
        load(variant, |maps| {
            maps.feeds.set_max_entries(sizes.feeds_max)?;
            maps.filters.set_max_entries(sizes.filters_max)?;
            maps.sockets.set_max_entries(sizes.queues_max)
        })
    }

    /// Loads a program that works on the maps of this one, for the same device.
    pub(crate) fn load_successor(&self) -> Result<Self, LoadError> {
        load(self.variant, |maps| {
            maps.feeds.reuse_fd(self.maps.feeds.as_fd())?;
            maps.filters.reuse_fd(self.maps.filters.as_fd())?;
            maps.sockets.reuse_fd(self.maps.sockets.as_fd())?;
            maps.counters.reuse_fd(self.maps.counters.as_fd())
        })
    }

    /// Whether the kernel may have moved a program of this size to more pages while it translated it.
    ///
    /// Linux (seen on 6.18) then forgets to tell its list of device-bound programs, and follows a stale
    /// pointer in that list when the device goes away while the program is loaded, with the lock of all
    /// network configuration held: the whole machine can no longer change its interfaces. So a device-bound
    /// program is loaded only where the plain one, which is as large but for a few instructions, shows that
    /// it stays in its page.
    pub(crate) fn outgrows_its_page(&self) -> bool {
        self.translated_bytes().is_none_or(|bytes| bytes > TRANSLATED_BYTES_MAX)
    }

    /// The size of the program as the kernel translated it, bytes; `None` when it does not say.
    pub(crate) fn translated_bytes(&self) -> Option<u32> {
        self.info().map(|info| info.xlated_prog_len).filter(|bytes| *bytes > 0)
    }

    /// What the kernel calls the program; `None` when it does not say.
    pub fn identity(&self) -> Option<ProgramIdentity> {
        self.info().map(|info| ProgramIdentity { id: info.id, tag: info.tag })
    }

    fn info(&self) -> Option<libbpf_sys::bpf_prog_info> {
        let mut info = libbpf_sys::bpf_prog_info::default();
        let mut bytes = size_of::<libbpf_sys::bpf_prog_info>() as u32;
        // SAFETY: the kernel writes at most `bytes` bytes into `info`, which asks for no buffers.
        let result = unsafe {
            libbpf_sys::bpf_obj_get_info_by_fd(
                self.fd.as_raw_fd(),
                std::ptr::from_mut(&mut info).cast(),
                &mut bytes,
            )
        };
        (result == 0).then_some(info)
    }

    /// Which of the programs this is.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Adds a feed or changes where its packets are said to belong. Takes effect with the next packet.
    ///
    /// # Errors
    /// The map is full, or the kernel refuses.
    pub fn set_feed(&self, key: FeedKey, value: FeedValue) -> Result<(), ChangeError> {
        let (key, value) = (RawKey::from(key), RawValue::from(value));
        self.maps.feeds.update(key.as_bytes(), value.as_bytes(), MapFlags::ANY).map_err(|error| {
            match Errno::of(Phase::ChangeMap, &error) {
                Errno { number: libc::E2BIG, .. } => ChangeError::FeedMapFull(self.maps.feeds.max_entries()),
                errno => ChangeError::Map(errno),
            }
        })
    }

    /// Takes a feed out: its packets go to the kernel from now on.
    ///
    /// # Errors
    /// The feed is not there, or the kernel refuses.
    pub fn remove_feed(&self, key: FeedKey) -> Result<(), ChangeError> {
        let key = RawKey::from(key);
        self.maps.feeds.delete(key.as_bytes()).map_err(|error| match Errno::of(Phase::ChangeMap, &error) {
            Errno { number: libc::ENOENT, .. } => ChangeError::NoSuchFeed,
            errno => ChangeError::Map(errno),
        })
    }

    /// Adds a filter, or changes what it does: its count begins anew then. Takes effect with the next packet.
    ///
    /// # Errors
    /// The map is full, or the kernel refuses.
    pub fn set_filter(&self, key: FilterKey, action: FilterAction) -> Result<(), ChangeError> {
        let of_a_cpu = RawFilter::from(action).as_bytes().to_vec();
        let cpus = libbpf_rs::num_possible_cpus().map_err(|error| map_error(Phase::ChangeMap, &error))?;
        let key = RawKey::from(key);
        self.maps.filters.update_percpu(key.as_bytes(), &vec![of_a_cpu; cpus], MapFlags::ANY).map_err(
            |error| match Errno::of(Phase::ChangeMap, &error) {
                Errno { number: libc::E2BIG, .. } => {
                    ChangeError::FilterMapFull(self.maps.filters.max_entries())
                }
                errno => ChangeError::Map(errno),
            },
        )
    }

    /// Takes a filter out: its packets go to the kernel from now on.
    ///
    /// # Errors
    /// The filter is not there, or the kernel refuses.
    pub fn remove_filter(&self, key: FilterKey) -> Result<(), ChangeError> {
        let key = RawKey::from(key);
        self.maps.filters.delete(key.as_bytes()).map_err(|error| match Errno::of(Phase::ChangeMap, &error) {
            Errno { number: libc::ENOENT, .. } => ChangeError::NoSuchFilter,
            errno => ChangeError::Map(errno),
        })
    }

    /// Packets that a filter has taken since it was set.
    ///
    /// # Errors
    /// The filter is not there, or the kernel refuses.
    pub fn filter_packets(&self, key: FilterKey) -> Result<u64, ChangeError> {
        let key = RawKey::from(key);
        let of_cpus = self
            .maps
            .filters
            .lookup_percpu(key.as_bytes(), MapFlags::ANY)
            .map_err(|error| map_error(Phase::ReadMap, &error))?
            .ok_or(ChangeError::NoSuchFilter)?;
        Ok(of_cpus.iter().filter_map(|bytes| Some(RawFilter::read_from_bytes(bytes).ok()?.packets)).sum())
    }

    /// Sends the feeds' packets of `queue` to this AF_XDP socket. The kernel takes the entry out when the
    /// socket closes.
    ///
    /// # Errors
    /// The queue is outside of the map, or the descriptor is no AF_XDP socket.
    pub fn register_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ChangeError> {
        let queues = self.maps.sockets.max_entries();
        if queue >= queues {
            return Err(ChangeError::NoSuchQueue { queue, queues });
        }
        let fd = socket.as_raw_fd();
        self.maps
            .sockets
            .update(queue.as_bytes(), fd.as_bytes(), MapFlags::ANY)
            .map_err(|error| map_error(Phase::ChangeMap, &error))
    }

    /// What became of every packet so far.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn counters(&self) -> Result<Counters, ChangeError> {
        let mut counters = Counters::default();
        for reason in Reason::ALL {
            let of_cpus = self
                .maps
                .counters
                .lookup_percpu((reason as u32).as_bytes(), MapFlags::ANY)
                .map_err(|error| map_error(Phase::ReadMap, &error))?
                .unwrap_or_default();
            counters.packets[reason as usize] = of_cpus
                .iter()
                .filter_map(|bytes| bytes.as_slice().try_into().ok())
                .map(u64::from_ne_bytes)
                .sum();
        }
        Ok(counters)
    }

    /// Runs the program over one frame as if it had arrived on queue 0 of a device, without a device.
    ///
    /// # Errors
    /// The frame is shorter than an Ethernet header or longer than a page takes, or the program is bound to
    /// a device.
    pub fn run_once(&self, frame: &[u8]) -> Result<run::Outcome, Errno> {
        run::once(self.fd(), frame)
    }
}

fn map_error(phase: Phase, error: &libbpf_rs::Error) -> ChangeError {
    ChangeError::Map(Errno::of(phase, error))
}

fn load(
    variant: Variant,
    prepare: impl FnOnce(&mut skeleton::OpenSteerMaps<'_>) -> libbpf_rs::Result<()>,
) -> Result<Program, LoadError> {
    libbpf_log::capture();
    let mut storage = MaybeUninit::uninit();
    let mut open = SteerSkelBuilder::default()
        .open(&mut storage)
        .map_err(|error| LoadError::Open(format!("{error:#}")))?;
    let refused = |error: libbpf_rs::Error| LoadError::Refused {
        program: variant.program_name(),
        errno: Errno::of(variant.phase(), &error),
        log: libbpf_log::take(),
    };
    prepare(&mut open.maps).map_err(refused)?;
    match variant {
        Variant::DeviceBound { ifindex } => {
            let program = &mut open.progs.steer_device_bound;
            program.set_autoload(true);
            program.set_ifindex(ifindex);
            program.set_flags(BPF_F_XDP_DEV_BOUND_ONLY);
        }
        Variant::Plain => open.progs.steer_plain.set_autoload(true),
    }
    let loaded = open.load().map_err(refused)?;
    let program = match variant {
        Variant::DeviceBound { .. } => &loaded.progs.steer_device_bound,
        Variant::Plain => &loaded.progs.steer_plain,
    };
    let maps = Maps {
        feeds: MapHandle::try_from(&loaded.maps.feeds).map_err(refused)?,
        filters: MapHandle::try_from(&loaded.maps.filters).map_err(refused)?,
        sockets: MapHandle::try_from(&loaded.maps.sockets).map_err(refused)?,
        counters: MapHandle::try_from(&loaded.maps.counters).map_err(refused)?,
    };
    let fd = program.as_fd().try_clone_to_owned().map_err(|error| LoadError::Refused {
        program: variant.program_name(),
        errno: Errno { number: error.raw_os_error().unwrap_or(0), phase: variant.phase() },
        log: String::new(),
    })?;
    Ok(Program { fd, variant, maps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_stays_in_its_page_also_with_the_fewest_rights() {
        let test = "the_program_stays_in_its_page_also_with_the_fewest_rights";
        if !lab::network::require_root(test) {
            return;
        }
        let sizes = MapSizes::default();
        let with_all = Program::load(Variant::Plain, sizes).unwrap();
        assert!(!with_all.outgrows_its_page(), "{:?}", with_all.translated_bytes());
        // With fewer rights the verifier puts more of its own instructions in.
        keep_capabilities(&[12, 39]);
        let with_two = Program::load(Variant::Plain, sizes).unwrap();
        assert!(with_two.translated_bytes() >= with_all.translated_bytes());
        assert!(!with_two.outgrows_its_page(), "{:?}", with_two.translated_bytes());
    }

    /// Takes every other capability from the calling thread alone.
    fn keep_capabilities(bits: &[u32]) {
        const VERSION_3: u32 = 0x2008_0522;
        let header = [VERSION_3, 0];
        let mut sets = [[0u32; 3]; 2];
        for bit in bits {
            sets[*bit as usize / 32][0] |= 1 << (bit % 32);
            sets[*bit as usize / 32][1] |= 1 << (bit % 32);
        }
        // SAFETY: header and sets have the layout of version 3 and live through the call.
        unsafe { assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()), 0) };
    }
}
