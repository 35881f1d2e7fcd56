//! AF_XDP: packets of the steering program's feeds, taken from rings shared with the kernel.
//!
//! ```text
//!            fill ring ──►            ──► receive ring
//! Lease ─► Frame      kernel and NIC      Received ─► Arrival ─► refilled
//!  (free)    ▲                                            │
//!            └────────────────────────────────────────────┘
//! ```
//!
//! [`XdpReceiver`] is the door: it opens one socket for each queue of each interface, all on one block of
//! memory, and hands packets to a worker. `ring` is the arithmetic, `memory` says who owns a frame, `socket`
//! is one queue, `system` talks to the kernel.

mod checksum;
mod fallback;
mod memory;
mod numa;
mod receiver;
mod ring;
mod socket;
mod system;

/// The atomics that the rings are made of; the loom tests put loom's in their place.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicU32, Ordering};
}

pub use fallback::Fallback;
pub use memory::{CHUNK_BYTES, FRAME_BYTES_MAX, Frame, Lease, MemoryRequest, Received, allocate};
pub use receiver::{Interface, ReceiverConfig, ReceiverStats, SocketReport, SocketStatistics, XdpReceiver};
pub use socket::{Socket, SocketRequest};

use std::fmt;

/// What is asked of driver and kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeRequest {
    /// Zero-copy, else copy, else generic: the best that the interface has.
    #[default]
    Automatic,
    /// In the driver, packets written straight into our memory.
    ZeroCopy,
    /// In the driver, packets copied into our memory.
    Copy,
    /// In the kernel's generic hook; works on every interface.
    Generic,
}

impl ModeRequest {
    /// How the steering program has to be attached for this.
    pub fn attach(self) -> ebpf::AttachRequest {
        match self {
            ModeRequest::Automatic => ebpf::AttachRequest::Automatic,
            ModeRequest::ZeroCopy | ModeRequest::Copy => ebpf::AttachRequest::Native,
            ModeRequest::Generic => ebpf::AttachRequest::Generic,
        }
    }
}

/// The mode in force on a socket, as the kernel told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// See [`ModeRequest::ZeroCopy`].
    ZeroCopy,
    /// See [`ModeRequest::Copy`].
    Copy,
    /// See [`ModeRequest::Generic`].
    Generic,
}

impl Mode {
    fn of(attached: ebpf::AttachMode, transfer: Transfer) -> Self {
        match (attached, transfer) {
            (ebpf::AttachMode::Generic, _) => Mode::Generic,
            (ebpf::AttachMode::Native, Transfer::ZeroCopy) => Mode::ZeroCopy,
            (ebpf::AttachMode::Native, Transfer::Copy) => Mode::Copy,
        }
    }

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Mode::ZeroCopy => "zero_copy",
            Mode::Copy => "copy",
            Mode::Generic => "generic",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How packets get into a socket's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The NIC writes them there.
    ZeroCopy,
    /// The kernel copies them there.
    Copy,
}

/// The receiver could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration cannot be met by any kernel.
    #[error("{0}")]
    BadConfiguration(&'static str),
    /// No memory for the packets.
    #[error("{bytes} bytes of packet memory cannot be had: {errno}")]
    Memory {
        /// How many.
        bytes: usize,
        /// Why.
        errno: ebpf::Errno,
    },
    /// A socket could not be set up.
    #[error("no AF_XDP socket on queue {queue} of interface {ifindex}: {errno}")]
    Socket {
        /// The interface.
        ifindex: u32,
        /// The queue.
        queue: u32,
        /// Why.
        errno: ebpf::Errno,
    },
    /// The steering program does not know the socket.
    #[error("the socket of queue {queue} of interface {ifindex} cannot be registered: {source}")]
    Register {
        /// The interface.
        ifindex: u32,
        /// The queue.
        queue: u32,
        /// Why.
        source: ebpf::ChangeError,
    },
}

impl OpenError {
    /// Whether this says that the device has no zero-copy (and copy mode may work).
    fn is_no_zero_copy(&self) -> bool {
        matches!(self, OpenError::Socket { errno, .. }
            if errno.phase == ebpf::diagnose::Phase::BindZeroCopy
                && matches!(errno.number, libc::EOPNOTSUPP | libc::EINVAL | libc::ENOBUFS))
    }
}
