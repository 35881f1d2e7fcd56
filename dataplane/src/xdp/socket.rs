//! One AF_XDP socket: a queue of an interface, its four rings, and its lease of the packet memory.
//!
//! The socket owns the lease. A frame goes lease → fill ring → kernel → receive ring → [`Received`] → fill
//! ring again, or lease → [`Frame`] → transmit ring → kernel → completion ring → lease. Dropping unmaps the
//! rings, closes the descriptor and gives up the lease, in this order (that of the fields): a mapped ring
//! keeps the socket alive, and with it the queue occupied. The memory is not used again: a NIC may write
//! into it for a moment longer, on pages that the kernel holds.

use super::fallback::Fallback;
use super::memory::{Frame, Lease, Received};
use super::ring::{Consumer, Memory, Producer};
use super::system::{self, MappedRing, errno};
use super::{OpenError, Transfer};
use ebpf::diagnose::Phase;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc, XdpDescOptions, XdpOptionsFlags,
    XdpStatistics,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a bind is tried again while the queue is occupied. The kernel releases a closed socket 6 to
/// 64 ms later; one that is occupied for longer belongs to somebody.
const BIND_RETRY_MAX: Duration = Duration::from_secs(1);
const BIND_RETRY_PAUSE: Duration = Duration::from_millis(2);

/// Busy polling: how long a call may poll the NIC, µs. Too high delays the other queues of the worker; too
/// low has no effect but more calls.
const BUSY_POLL_US: u32 = 20;
/// Busy polling: packets that a call may take. Too low costs calls; too high delays the other queues.
const BUSY_POLL_BUDGET: u32 = 64;

/// What a socket is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketRequest {
    /// The interface, in the calling thread's network namespace.
    pub ifindex: u32,
    /// The queue.
    pub queue: u32,
    /// How packets shall get into the memory; `None` = the best that the queue has. A socket on another's
    /// memory has the other's way, whatever is said here.
    pub transfer: Option<Transfer>,
    /// Entries of the receive ring; a power of two. Too few shows as `rx_ring_full`.
    pub receive_entries: u32,
    /// Entries of the transmit ring, a power of two; 0 = the socket does not send.
    pub transmit_entries: u32,
    /// Let the owner drive the NIC's polling.
    pub busy_poll: bool,
}

/// The rings, unmapped together.
#[derive(Debug)]
struct Rings {
    fill: Producer<MappedRing<u64>>,
    receive: Consumer<MappedRing<XdpDesc>>,
    completion: Consumer<MappedRing<u64>>,
    transmit: Option<Producer<MappedRing<XdpDesc>>>,
}

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    rings: Rings,
    descriptor: OwnedFd,
    lease: Lease,
    ifindex: u32,
    queue: u32,
    transfer: Transfer,
    busy_poll: bool,
}

impl Socket {
    /// Opens a socket, lends its whole lease to the fill ring, and binds. With `shared` it works on the
    /// memory that this other socket registered; without, it registers the memory of its lease.
    ///
    /// # Errors
    /// Why not, with what to do.
    pub fn open(
        request: &SocketRequest,
        mut lease: Lease,
        shared: Option<&Socket>,
        fallbacks: &mut Vec<Fallback>,
    ) -> Result<Self, OpenError> {
        let at = |phase: Phase| {
            move |error: rustix::io::Errno| OpenError::Socket {
                ifindex: request.ifindex,
                queue: request.queue,
                errno: errno(phase, error),
            }
        };
        let fd = rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .map_err(at(Phase::OpenSocket))?;
        if shared.is_none() {
            sockopt::set_xdp_umem_reg(&fd, lease.registration()).map_err(at(Phase::RegisterMemory))?;
        }
        let mut rings = Rings::make(&fd, request, lease.chunks()).map_err(at(Phase::MakeRings))?;
        rings.fill_all(&mut lease);
        let busy_poll = request.busy_poll && busy_poll(&fd, request, fallbacks);
        bind(&fd, request, shared)?;
        let options = sockopt::xdp_options(&fd).map_err(at(Phase::ReadSocket))?;
        let transfer = if options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY) {
            Transfer::ZeroCopy
        } else {
            Transfer::Copy
        };
        let SocketRequest { ifindex, queue, .. } = *request;
        Ok(Self { rings, descriptor: fd, lease, ifindex, queue, transfer, busy_poll })
    }

    /// The interface.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The queue.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// How packets get into the memory, as the kernel told it.
    pub fn transfer(&self) -> Transfer {
        self.transfer
    }

    /// Whether this process drives the NIC's polling.
    pub fn is_busy_polling(&self) -> bool {
        self.busy_poll
    }

    /// Frames that are not in the lease: with the kernel or held by the caller.
    pub fn outstanding(&self) -> u32 {
        self.lease.outstanding()
    }

    /// Frames that are with the kernel.
    pub fn lent(&self) -> u32 {
        self.lease.lent()
    }

    /// The lease, to read packets and write frames.
    #[inline]
    pub fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// The kernel's six drop counters of this socket.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn statistics(&self) -> Result<XdpStatistics, ebpf::Errno> {
        sockopt::xdp_statistics(self).map_err(|error| errno(Phase::ReadSocket, error))
    }

    /// The rings and the lease, for a loop over packets.
    #[inline]
    pub(crate) fn receive_side(&mut self) -> ReceiveSide<'_> {
        ReceiveSide { fill: &mut self.rings.fill, receive: &mut self.rings.receive, lease: &mut self.lease }
    }

    /// Puts a frame's first `bytes` bytes into the transmit ring and lets the kernel send it.
    ///
    /// # Errors
    /// The ring is full or there is none, or the frame is another socket's, or `bytes` exceeds a chunk:
    /// gives the frame back.
    pub fn transmit(&mut self, frame: Frame, bytes: u32) -> Result<(), Frame> {
        let Some(ring) = self.rings.transmit.as_mut().filter(|_| bytes <= super::CHUNK_BYTES) else {
            return Err(frame);
        };
        self.lease.lend(frame, |addr| {
            ring.push(XdpDesc { addr, len: bytes, options: XdpDescOptions::empty() }).map_err(drop)
        })?;
        ring.publish();
        // Bound with need-wakeup, and copy mode sends within the call only.
        if ring.memory().needs_wakeup() || self.transfer == Transfer::Copy {
            system::kick_transmit(self.as_fd());
        }
        Ok(())
    }

    /// Takes the frames that were sent back into the lease; returns how many.
    pub fn complete(&mut self) -> u32 {
        let mut done = 0;
        while let Some(address) = self.rings.completion.pop() {
            if let Some(sent) = self.lease.regain(address, 0) {
                let given = self.lease.give(sent.into_frame());
                debug_assert!(given.is_ok(), "a frame regained from a lease is the lease's");
                done += 1;
            }
        }
        self.rings.completion.release();
        done
    }

    /// Lets the kernel refill the queue, if it waits for that, or poll it, if that is ours to do and nothing
    /// else is left to do.
    #[inline]
    pub(crate) fn kick_if_needed(&self, idle: bool) {
        if (self.busy_poll && idle) || self.rings.fill.memory().needs_wakeup() {
            system::kick_receive(self.as_fd());
        }
    }

    /// Closes the socket. Returns how many frames somebody still held: none, or there is a leak.
    pub fn close(self) -> u32 {
        self.lease.held()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What the receive loop works on.
pub(crate) struct ReceiveSide<'s> {
    fill: &'s mut Producer<MappedRing<u64>>,
    receive: &'s mut Consumer<MappedRing<XdpDesc>>,
    lease: &'s mut Lease,
}

impl ReceiveSide<'_> {
    /// How many packets wait.
    #[inline]
    pub(crate) fn waiting(&mut self) -> u32 {
        self.receive.available()
    }

    /// Hints the processor that the packet `ahead` places further will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, ahead: u32) {
        if let Some(descriptor) = self.receive.peek(ahead) {
            let line = descriptor.addr.wrapping_sub(u64::from(super::memory::HEADROOM_BYTES));
            for offset in [0, 64, 128] {
                self.lease.prefetch(line.wrapping_add(offset));
            }
        }
    }

    /// Takes the next packet. `Err`: a descriptor that cannot be, and was left alone.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Result<Received, ()>> {
        let descriptor = self.receive.pop()?;
        Some(self.lease.regain(descriptor.addr, descriptor.len).ok_or(()))
    }

    /// The packet, with the bytes in front of it.
    #[inline]
    pub(crate) fn view<'a>(&'a self, received: &'a Received, front_bytes: u32) -> &'a [u8] {
        self.lease.view(received, front_bytes)
    }

    /// Sends a frame back to the kernel.
    ///
    /// # Errors
    /// The ring is full: gives the frame back.
    #[inline]
    pub(crate) fn refill(&mut self, frame: Frame) -> Result<(), Frame> {
        self.lease.lend(frame, |address| self.fill.push(address).map_err(drop))
    }

    /// Keeps a frame in the lease.
    pub(crate) fn keep(&mut self, frame: Frame) {
        let given = self.lease.give(frame);
        debug_assert!(given.is_ok(), "a frame received on a socket is its lease's");
    }

    /// Publishes what was taken and refilled.
    #[inline]
    pub(crate) fn publish(&mut self) {
        self.receive.release();
        self.fill.publish();
    }
}

impl Rings {
    /// Makes and maps the rings. The fill and completion rings take the whole lease.
    fn make(fd: &OwnedFd, request: &SocketRequest, chunks: u32) -> Result<Self, rustix::io::Errno> {
        let lease_entries = chunks.next_power_of_two();
        sockopt::set_xdp_umem_fill_ring_size(fd, lease_entries)?;
        sockopt::set_xdp_umem_completion_ring_size(fd, lease_entries)?;
        sockopt::set_xdp_rx_ring_size(fd, request.receive_entries)?;
        if request.transmit_entries > 0 {
            sockopt::set_xdp_tx_ring_size(fd, request.transmit_entries)?;
        }
        let offsets = sockopt::xdp_mmap_offsets(fd)?;
        let fd = fd.as_fd();
        let transmit = match request.transmit_entries {
            0 => None,
            entries => Some(Producer::new(MappedRing::map(fd, XDP_PGOFF_TX_RING, &offsets.tx, entries)?)),
        };
        Ok(Self {
            fill: Producer::new(MappedRing::map(fd, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, lease_entries)?),
            completion: Consumer::new(MappedRing::map(
                fd,
                XDP_UMEM_PGOFF_COMPLETION_RING,
                &offsets.cr,
                lease_entries,
            )?),
            receive: Consumer::new(MappedRing::map(
                fd,
                XDP_PGOFF_RX_RING,
                &offsets.rx,
                request.receive_entries,
            )?),
            transmit,
        })
    }

    /// Lends everything to the kernel, but for what a sending socket needs itself.
    fn fill_all(&mut self, lease: &mut Lease) {
        let own = self.transmit.as_ref().map_or(0, |ring| ring.memory().entries()).min(lease.chunks() / 2);
        for _ in own..lease.chunks() {
            let Some(frame) = lease.take() else { break };
            let lent = lease.lend(frame, |address| self.fill.push(address).map_err(drop));
            debug_assert!(lent.is_ok(), "the fill ring takes the whole lease");
        }
        self.fill.publish();
    }
}

/// Switches busy polling on; says why not.
fn busy_poll(fd: &OwnedFd, request: &SocketRequest, fallbacks: &mut Vec<Fallback>) -> bool {
    match system::set_busy_poll(fd.as_fd(), BUSY_POLL_US, BUSY_POLL_BUDGET) {
        Ok(()) => true,
        Err(errno) => {
            fallbacks.push(Fallback {
                wanted: format!("busy polling on queue {} of interface {}", request.queue, request.ifindex),
                reason: errno.to_string(),
            });
            false
        }
    }
}

/// Binds, again and again while an old socket is released, but not for ever.
fn bind(fd: &OwnedFd, request: &SocketRequest, shared: Option<&Socket>) -> Result<(), OpenError> {
    let inherited = shared.map(Socket::transfer);
    let (phase, flag) = match inherited.or(request.transfer) {
        Some(Transfer::ZeroCopy) => (Phase::BindZeroCopy, SocketAddrXdpFlags::XDP_ZEROCOPY),
        Some(Transfer::Copy) => (Phase::BindCopy, SocketAddrXdpFlags::XDP_COPY),
        // Named neither, the kernel tries zero-copy and takes copy.
        None => (Phase::BindCopy, SocketAddrXdpFlags::empty()),
    };
    let deadline = Instant::now() + BIND_RETRY_MAX;
    loop {
        let result = match shared {
            // Mode and wakeup are inherited, and must not be named again.
            Some(owner) => rustix::net::bind(
                fd,
                &SocketAddrXdpWithSharedUmem {
                    addr: SocketAddrXdp::new(
                        SocketAddrXdpFlags::XDP_SHARED_UMEM,
                        request.ifindex,
                        request.queue,
                    ),
                    shared_umem_fd: owner.as_fd(),
                },
            ),
            None => {
                let flags = flag | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
                rustix::net::bind(fd, &SocketAddrXdp::new(flags, request.ifindex, request.queue))
            }
        };
        match result {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::BUSY) if Instant::now() < deadline => {
                std::thread::sleep(BIND_RETRY_PAUSE);
            }
            Err(error) => {
                return Err(OpenError::Socket {
                    ifindex: request.ifindex,
                    queue: request.queue,
                    errno: errno(phase, error),
                });
            }
        }
    }
}
