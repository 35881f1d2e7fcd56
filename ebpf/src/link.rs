//! The attachment of a program to an interface: a `bpf_link`, which the kernel undoes when its descriptor
//! closes, so that nothing stays attached after a crash.

use crate::diagnose::Phase;
use crate::errors::{AttachError, Errno};
use libbpf_rs::libbpf_sys;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_ATTACHED_DRV: u8 = 1;
const XDP_ATTACHED_SKB: u8 = 2;

/// Where in the kernel a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before the kernel allocates anything for the packet.
    Native,
    /// In the kernel's generic hook, after it did.
    Generic,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttachMode::Native => "native",
            AttachMode::Generic => "generic",
        })
    }
}

/// `NETDEV_XDP_ACT_BASIC` and `NETDEV_XDP_ACT_XSK_ZEROCOPY`, `linux/netdev.h`.
const XDP_ACT_BASIC: u64 = 1;
const XDP_ACT_ZERO_COPY: u64 = 1 << 3;

/// What a driver says that it can do. The kernel tells it from 6.3 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverFeatures {
    /// Programs in the driver.
    pub native_xdp: bool,
    /// AF_XDP without a copy.
    pub zero_copy: bool,
}

/// What the driver of an interface of the calling thread's network namespace can do; `None` where nothing is said: the
/// driver has no XDP, or the kernel does not tell.
pub fn driver_features(ifindex: u32) -> Option<DriverFeatures> {
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    crate::libbpf_log::capture();
    // SAFETY: libbpf writes into the options, whose size they say, and which live through the call.
    let result = unsafe { libbpf_sys::bpf_xdp_query(ifindex.cast_signed(), 0, &mut options) };
    let flags = options.feature_flags;
    (result == 0 && flags != 0).then_some(DriverFeatures {
        native_xdp: flags & XDP_ACT_BASIC != 0,
        zero_copy: flags & XDP_ACT_ZERO_COPY != 0,
    })
}

/// Whether the calling thread's network namespace has this interface. The kernel's own answer to an absent
/// one (EINVAL) has other causes too.
pub(crate) fn interface_exists(ifindex: u32) -> bool {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the call writes a name of at most IF_NAMESIZE bytes.
    !unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) }.is_null()
}

/// An attached program; dropping it detaches.
#[derive(Debug)]
pub(crate) struct Link {
    fd: OwnedFd,
    ifindex: u32,
}

impl Link {
    /// Attaches, in this mode and no other.
    pub(crate) fn attach(
        program: BorrowedFd<'_>,
        ifindex: u32,
        mode: AttachMode,
    ) -> Result<Self, AttachError> {
        let (flags, phase) = match mode {
            AttachMode::Native => (XDP_FLAGS_DRV_MODE, Phase::AttachNative),
            AttachMode::Generic => (XDP_FLAGS_SKB_MODE, Phase::AttachGeneric),
        };
        let options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            flags,
            ..Default::default()
        };
        // SAFETY: the program's descriptor is open for the call and the options live through it.
        let fd = unsafe {
            libbpf_sys::bpf_link_create(
                program.as_raw_fd(),
                ifindex.cast_signed(),
                libbpf_sys::BPF_XDP,
                &options,
            )
        };
        if fd < 0 {
            return Err(AttachError::Refused { ifindex, mode, errno: Errno::of_return(phase, fd) });
        }
        // SAFETY: the call made this descriptor and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, ifindex })
    }

    /// The mode in force, as the kernel tells it.
    pub(crate) fn read_mode(&self) -> Result<AttachMode, AttachError> {
        let query = libbpf_rs::Xdp::new(self.fd.as_fd())
            .query(self.ifindex.cast_signed(), libbpf_rs::XdpFlags::NONE)
            .map_err(|error| AttachError::ReadBack {
                ifindex: self.ifindex,
                errno: Errno::of(Phase::ReadMode, &error),
            })?;
        match query.attach_mode {
            XDP_ATTACHED_DRV => Ok(AttachMode::Native),
            XDP_ATTACHED_SKB => Ok(AttachMode::Generic),
            _ => Err(AttachError::ReadBack {
                ifindex: self.ifindex,
                errno: Errno { number: libc::ENODEV, phase: Phase::ReadMode },
            }),
        }
    }

    /// Whether the interface still exists; with it gone the kernel has undone the attachment.
    pub(crate) fn is_alive(&self) -> bool {
        let mut info = libbpf_sys::bpf_link_info::default();
        let mut bytes = size_of::<libbpf_sys::bpf_link_info>() as u32;
        // SAFETY: the kernel writes at most `bytes` bytes into `info`.
        let result = unsafe {
            libbpf_sys::bpf_obj_get_info_by_fd(
                self.fd.as_raw_fd(),
                std::ptr::from_mut(&mut info).cast(),
                &mut bytes,
            )
        };
        // SAFETY: for an XDP link the kernel fills this member of the union; the rest is zero.
        result == 0 && unsafe { info.__bindgen_anon_1.xdp.ifindex } == self.ifindex
    }

    /// Puts another program in the place of the running one; packets meet one or the other.
    pub(crate) fn replace(&self, program: BorrowedFd<'_>) -> Result<(), Errno> {
        // SAFETY: both descriptors are open for the call; no options are given.
        let result = unsafe {
            libbpf_sys::bpf_link_update(self.fd.as_raw_fd(), program.as_raw_fd(), std::ptr::null())
        };
        if result < 0 { Err(Errno::of_return(Phase::ReplaceProgram, result)) } else { Ok(()) }
    }
}
