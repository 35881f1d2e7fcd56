//! The receiver of a worker: one AF_XDP socket for each queue of its interfaces, all on one block of memory.
//!
//! A packet costs no system call, allocation or lock. What the steering program says in the metadata is
//! checked against the packet before it is believed; the checksum is checked here, because nobody else does.

use super::fallback::Fallback;
use super::memory::{self, FRAME_BYTES_MAX, MemoryRequest};
use super::socket::{ReceiveSide, Socket, SocketRequest};
use super::{Mode, ModeRequest, OpenError, Transfer, checksum};
use crate::arrival::{Arrival, RawTimes, Receiver};
use ebpf::diagnose::Phase;
use ebpf::{AttachMode, Metadata, Steering};
use feed::Line;
use std::os::fd::AsFd;
use std::time::Duration;
use zerocopy::FromBytes;

/// Packets taken from one queue before the next one has its turn: a larger batch amortises better, but
/// makes a packet of the other line wait longer (about 30 ns for each before it).
const BATCH_PACKETS: u32 = 32;
/// How far ahead packets are prefetched: far enough to hide a miss of the cache, near enough that they stay
/// in it (chunks are a page apart and compete for the same few places).
const PREFETCH_AHEAD: u32 = 8;
/// The fewest frames for a socket: below this a burst of one interrupt does not fit.
const FRAMES_PER_SOCKET_MIN: u32 = 64;

/// An interface of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// The steering program at work on it. It must be attached before the sockets are bound.
    pub steering: &'a Steering,
    /// Its queues: 0 to this, without it. All of them, or packets of the others go to the kernel.
    pub queues: u32,
}

/// What a receiver is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// The mode; the steering programs must have been loaded for it ([`ModeRequest::attach`]).
    pub mode: ModeRequest,
    /// Frames of 4 KiB for all sockets together; a power of two, split evenly. Too few shows as
    /// `rx_fill_ring_empty_descs`, then as drops in the NIC; too many costs memory and cache.
    pub frames: u32,
    /// Entries of each receive ring; a power of two. Too few shows as `rx_ring_full`.
    pub ring_entries: u32,
    /// Ask for huge pages.
    pub huge_pages: bool,
    /// Let the worker drive the NIC's polling.
    pub busy_poll: bool,
    /// Check UDP checksums.
    pub verify_checksum: bool,
    /// The worker's core, for the choice of memory; any when `None`.
    pub core: Option<usize>,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            mode: ModeRequest::Automatic,
            frames: 8192,
            ring_entries: 2048,
            huge_pages: true,
            busy_poll: true,
            verify_checksum: true,
            core: None,
        }
    }
}

/// What the receiver counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// Packets handed out.
    pub packets: u64,
    /// Their UDP payloads, bytes.
    pub bytes: u64,
    /// Packets with a wrong UDP checksum, not handed out.
    pub bad_checksum: u64,
    /// Packets without metadata of ours, or with metadata that does not fit the packet; not handed out.
    pub foreign: u64,
    /// Descriptors of the kernel that cannot be; none, or the kernel is broken.
    pub bad_descriptors: u64,
    /// Frames that found the fill ring full and stay out of use; none, by construction.
    pub unfilled: u64,
}

/// The kernel's drop counters of a socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Dropped for other reasons than a full ring.
    pub rx_dropped: u64,
    /// Fill ring entries that were not addresses of frames.
    pub rx_invalid_descs: u64,
    /// Transmit ring entries that were not frames.
    pub tx_invalid_descs: u64,
    /// Dropped because the receive ring was full: the worker is too slow, or `ring_entries` too low.
    pub rx_ring_full: u64,
    /// The fill ring was empty when a packet came: `frames` too low.
    pub rx_fill_ring_empty_descs: u64,
    /// The transmit ring was empty when the kernel looked.
    pub tx_ring_empty_descs: u64,
}

/// How a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketReport {
    /// The interface.
    pub ifindex: u32,
    /// The queue.
    pub queue: u32,
    /// The mode in force.
    pub mode: Mode,
    /// Whether this process drives the NIC's polling.
    pub busy_poll: bool,
    /// Frames of the socket.
    pub frames: u32,
    /// Frames of it that are with the kernel: all of them, between polls.
    pub lent: u32,
    /// The kernel's counters, as last read by [`XdpReceiver::read_statistics`].
    pub statistics: SocketStatistics,
}

/// Receives the packets that steering programs redirect.
#[derive(Debug)]
pub struct XdpReceiver {
    sockets: Vec<Socket>,
    reports: Vec<SocketReport>,
    /// The socket whose turn to be read is next.
    turn: usize,
    /// The socket whose turn to be kicked is next.
    kick_turn: usize,
    verify_checksum: bool,
    stats: ReceiverStats,
    fallbacks: Vec<Fallback>,
    poll_set: Vec<libc::pollfd>,
}

impl XdpReceiver {
    /// Opens a socket on every queue of the interfaces and registers it with the interface's program. Feeds
    /// set before or after are received from then on.
    ///
    /// # Errors
    /// Why not, with what to do.
    pub fn open(interfaces: &[Interface<'_>], config: &ReceiverConfig) -> Result<Self, OpenError> {
        let sockets = interfaces.iter().map(|interface| interface.queues).sum::<u32>();
        if sockets == 0 {
            return Err(OpenError::BadConfiguration("a receiver needs at least one queue"));
        }
        if !config.frames.is_power_of_two() || !config.ring_entries.is_power_of_two() {
            return Err(OpenError::BadConfiguration("frames and ring entries are powers of two"));
        }
        let frames = config.frames / sockets;
        if frames < FRAMES_PER_SOCKET_MIN {
            return Err(OpenError::BadConfiguration("fewer than 64 frames for a queue"));
        }
        let mut fallbacks: Vec<Fallback> = interfaces
            .iter()
            .flat_map(|interface| interface.steering.fallbacks().iter().map(Fallback::from))
            .collect();
        let opened = open_sockets(interfaces, config, frames, &mut fallbacks)?;
        let reports = opened.iter().map(|(socket, attached)| report(socket, *attached, frames)).collect();
        let sockets: Vec<Socket> = opened.into_iter().map(|(socket, _)| socket).collect();
        for fallback in &fallbacks {
            tracing::warn!("{fallback}");
        }
        let poll_set = sockets.iter().map(poll_entry).collect();
        let stats = ReceiverStats::default();
        let verify_checksum = config.verify_checksum;
        Ok(Self { sockets, reports, turn: 0, kick_turn: 0, verify_checksum, stats, fallbacks, poll_set })
    }

    /// What was wanted, could not be had, and was announced.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// What was counted.
    pub fn stats(&self) -> ReceiverStats {
        self.stats
    }

    /// How each socket is, without its kernel counters read anew.
    pub fn reports(&self) -> &[SocketReport] {
        &self.reports
    }

    /// Reads the kernel's counters into the reports: one system call for each socket, of well under a
    /// microsecond.
    pub fn read_statistics(&mut self) -> &[SocketReport] {
        for (report, socket) in self.reports.iter_mut().zip(&self.sockets) {
            report.lent = socket.lent();
            if let Ok(read) = socket.statistics() {
                report.statistics = SocketStatistics {
                    rx_dropped: read.rx_dropped,
                    rx_invalid_descs: read.rx_invalid_descs,
                    tx_invalid_descs: read.tx_invalid_descs,
                    rx_ring_full: read.rx_ring_full.unwrap_or(0),
                    rx_fill_ring_empty_descs: read.rx_fill_ring_empty_descs.unwrap_or(0),
                    tx_ring_empty_descs: read.tx_ring_empty_descs.unwrap_or(0),
                };
            }
        }
        &self.reports
    }

    /// The most packets that can be on their way at once: each takes a frame, be it in a receive ring or
    /// still with the NIC.
    pub fn queue_packets(&self) -> u32 {
        self.reports.iter().map(|report| report.frames).sum()
    }

    /// Frames that are out of the leases, with the kernel or held by somebody.
    pub fn outstanding_frames(&self) -> u32 {
        self.sockets.iter().map(Socket::outstanding).sum()
    }

    /// Closes every socket. Returns how many frames somebody still held: none, or there is a leak. Detach
    /// the steering programs first, and the kernel gets what arrives from then on.
    pub fn close(self) -> u32 {
        self.sockets.into_iter().map(Socket::close).sum()
    }
}

impl Receiver for XdpReceiver {
    fn poll(&mut self, budget: usize, take: &mut impl FnMut(Arrival<'_>)) -> usize {
        let mut left = u32::try_from(budget).unwrap_or(u32::MAX);
        let mut empty = 0;
        while left > 0 && empty < self.sockets.len() {
            let socket = &mut self.sockets[self.turn];
            let batch = BATCH_PACKETS.min(left);
            let taken = drain(&mut socket.receive_side(), batch, self.verify_checksum, &mut self.stats, take);
            empty = if taken == 0 { empty + 1 } else { 0 };
            left -= taken;
            self.turn = after(self.turn, self.sockets.len());
        }
        // One system call at most, whatever the number of queues. While packets still wait, the NIC's polling
        // can wait, too.
        self.sockets[self.kick_turn].kick_if_needed(left > 0);
        self.kick_turn = after(self.kick_turn, self.sockets.len());
        budget - left as usize
    }

    fn wait(&mut self, timeout: Duration) {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
        };
        // An error (a signal) ends the wait, which is allowed to end early.
        // SAFETY: the poll set and the timeout live through the call, and the descriptors are open.
        let _ = unsafe {
            libc::ppoll(
                self.poll_set.as_mut_ptr(),
                self.poll_set.len() as libc::nfds_t,
                &timeout,
                std::ptr::null(),
            )
        };
    }
}

#[inline]
fn after(turn: usize, of: usize) -> usize {
    if turn + 1 == of { 0 } else { turn + 1 }
}

/// Takes at most `batch` packets from a queue and refills it; returns how many left the ring.
#[inline]
fn drain(
    side: &mut ReceiveSide<'_>,
    batch: u32,
    verify_checksum: bool,
    stats: &mut ReceiverStats,
    take: &mut impl FnMut(Arrival<'_>),
) -> u32 {
    let batch = side.waiting().min(batch);
    if batch == 0 {
        return 0;
    }
    for ahead in 0..PREFETCH_AHEAD {
        side.prefetch(ahead);
    }
    for _ in 0..batch {
        side.prefetch(PREFETCH_AHEAD);
        let Some(Ok(received)) = side.next() else {
            stats.bad_descriptors += 1;
            continue;
        };
        match arrival(side.view(&received, Metadata::BYTES as u32), verify_checksum) {
            Ok(arrival) => {
                stats.packets += 1;
                stats.bytes += arrival.payload.len() as u64;
                take(arrival);
            }
            Err(Refused::Foreign) => stats.foreign += 1,
            Err(Refused::BadChecksum) => stats.bad_checksum += 1,
        }
        if let Err(frame) = side.refill(received.into_frame()) {
            stats.unfilled += 1;
            side.keep(frame);
        }
    }
    side.publish();
    batch
}

/// Why a packet is not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Foreign,
    BadChecksum,
}

/// Reads a packet with its metadata in front. Nothing that the metadata says is believed before it is
/// checked: another program may have redirected to our socket.
#[inline]
fn arrival(view: &[u8], verify_checksum: bool) -> Result<Arrival<'_>, Refused> {
    let (metadata, frame) = Metadata::read_from_prefix(view).map_err(|_| Refused::Foreign)?;
    if metadata.magic != Metadata::MAGIC {
        return Err(Refused::Foreign);
    }
    let line = match metadata.line {
        0 => Line::A,
        1 => Line::B,
        _ => return Err(Refused::Foreign),
    };
    let payload_start = usize::from(metadata.payload_offset);
    let payload_end = payload_start + usize::from(metadata.payload_bytes);
    let udp_start = payload_start.wrapping_sub(8);
    let addresses_start = usize::from(metadata.ipv4_offset) + 12;
    let (Some(udp), Some(addresses)) =
        (frame.get(udp_start..payload_end), frame.get(addresses_start..addresses_start + 8))
    else {
        return Err(Refused::Foreign);
    };
    let addresses = addresses.try_into().map_err(|_| Refused::Foreign)?;
    if verify_checksum && !checksum::is_right(addresses, udp) {
        return Err(Refused::BadChecksum);
    }
    Ok(Arrival {
        slot: metadata.slot,
        line,
        payload: &udp[8..],
        times: RawTimes { hardware_ns: metadata.hardware_ns, xdp_tai_ns: metadata.tai_ns, kernel_utc_ns: 0 },
    })
}

/// Opens the sockets in the best transfer that all of them can have: sockets on one memory share it.
fn open_sockets(
    interfaces: &[Interface<'_>],
    config: &ReceiverConfig,
    frames: u32,
    fallbacks: &mut Vec<Fallback>,
) -> Result<Vec<(Socket, AttachMode)>, OpenError> {
    let generic = interfaces.iter().any(|interface| interface.steering.mode() == AttachMode::Generic);
    let transfer = match config.mode {
        ModeRequest::Automatic if !generic => None,
        ModeRequest::ZeroCopy => Some(Transfer::ZeroCopy),
        ModeRequest::Automatic | ModeRequest::Copy | ModeRequest::Generic => Some(Transfer::Copy),
    };
    let mut tried = Vec::new();
    let no_zero_copy = match open_all(interfaces, config, frames, transfer, &mut tried) {
        // The first socket has zero-copy, and a later one cannot follow.
        Err(error) if transfer.is_none() && error.is_no_zero_copy() => error,
        Ok(opened) => {
            fallbacks.append(&mut tried);
            if transfer.is_none() && opened.iter().any(|(socket, _)| socket.transfer() == Transfer::Copy) {
                fallbacks.push(Fallback {
                    wanted: "zero-copy".into(),
                    reason: ebpf::diagnose::explain(Phase::BindZeroCopy, libc::EOPNOTSUPP),
                });
            }
            return Ok(opened);
        }
        Err(error) => return Err(error),
    };
    fallbacks.push(Fallback { wanted: "zero-copy".into(), reason: no_zero_copy.to_string() });
    open_all(interfaces, config, frames, Some(Transfer::Copy), fallbacks)
}

/// Opens, fills, binds and registers, queue after queue.
fn open_all(
    interfaces: &[Interface<'_>],
    config: &ReceiverConfig,
    frames: u32,
    transfer: Option<Transfer>,
    fallbacks: &mut Vec<Fallback>,
) -> Result<Vec<(Socket, AttachMode)>, OpenError> {
    let queues = interfaces
        .iter()
        .flat_map(|interface| (0..interface.queues).map(move |queue| (interface.steering, queue)));
    let count = interfaces.iter().map(|interface| interface.queues).sum();
    let request = MemoryRequest { huge_pages: config.huge_pages, core: config.core };
    let leases = memory::allocate(count, frames, request, fallbacks)?;
    let mut opened: Vec<(Socket, AttachMode)> = Vec::with_capacity(count as usize);
    for ((steering, queue), lease) in queues.zip(leases) {
        let ifindex = steering.ifindex();
        let request = SocketRequest {
            ifindex,
            queue,
            transfer,
            receive_entries: config.ring_entries,
            transmit_entries: 0,
            busy_poll: config.busy_poll,
        };
        let socket = Socket::open(&request, lease, opened.first().map(|(first, _)| first), fallbacks)?;
        steering.register_socket(queue, socket.as_fd()).map_err(|source| OpenError::Register {
            ifindex,
            queue,
            source,
        })?;
        opened.push((socket, steering.mode()));
    }
    Ok(opened)
}

fn report(socket: &Socket, attached: AttachMode, frames: u32) -> SocketReport {
    SocketReport {
        ifindex: socket.ifindex(),
        queue: socket.queue(),
        mode: Mode::of(attached, socket.transfer()),
        busy_poll: socket.is_busy_polling(),
        frames,
        lent: socket.lent(),
        statistics: SocketStatistics::default(),
    }
}

fn poll_entry(socket: &Socket) -> libc::pollfd {
    use std::os::fd::AsRawFd;
    libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// A frame of an ordinary MTU with two VLAN tags fits.
const _: () = assert!(FRAME_BYTES_MAX >= 1514 + 8);
/// Receivers are opened by one thread and may be used by another.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<XdpReceiver>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    const PAYLOAD: &[u8] = b"eight bytes and then some more";

    /// Metadata, Ethernet, IPv4 and UDP headers, payload; the checksum is 0 (none).
    fn view(change: impl FnOnce(&mut Metadata)) -> Vec<u8> {
        let mut metadata = Metadata {
            magic: Metadata::MAGIC,
            slot: 7,
            line: 1,
            flags: Metadata::HARDWARE_TIME,
            ipv4_offset: 14,
            payload_offset: 42,
            payload_bytes: PAYLOAD.len() as u16,
            reserved: 0,
            hardware_ns: 5,
            tai_ns: 6,
        };
        change(&mut metadata);
        let mut view = metadata.as_bytes().to_vec();
        view.extend([0; 42]);
        view.extend(PAYLOAD);
        view
    }

    #[test]
    fn a_whole_packet_is_handed_out_with_all_that_the_metadata_says() {
        let view = view(|_| ());
        let arrival = arrival(&view, true).unwrap();
        assert_eq!((arrival.slot, arrival.line, arrival.payload), (7, Line::B, PAYLOAD));
        assert_eq!(arrival.times, RawTimes { hardware_ns: 5, xdp_tai_ns: 6, kernel_utc_ns: 0 });
    }

    #[test]
    fn metadata_that_does_not_fit_the_packet_makes_it_foreign() {
        type Change = fn(&mut Metadata);
        let changes: [(&str, Change); 8] = [
            ("magic", |metadata| metadata.magic ^= 1),
            ("line", |metadata| metadata.line = 2),
            ("payload past the frame", |metadata| metadata.payload_bytes += 1),
            ("payload far past the frame", |metadata| metadata.payload_bytes = u16::MAX),
            ("payload begins past the frame", |metadata| metadata.payload_offset = u16::MAX),
            ("no room for a UDP header", |metadata| metadata.payload_offset = 7),
            ("payload at 0", |metadata| metadata.payload_offset = 0),
            ("IPv4 header past the frame", |metadata| metadata.ipv4_offset = 53),
        ];
        for (what, change) in changes {
            let view = view(change);
            assert_eq!(arrival(&view, false).map(|_| ()), Err(Refused::Foreign), "{what}");
        }
    }

    #[test]
    fn a_packet_without_room_for_metadata_is_foreign() {
        let view = view(|_| ());
        for bytes in 0..Metadata::BYTES + 42 {
            assert!(arrival(&view[..bytes], true).is_err(), "{bytes} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_read_outside_of_the_packet(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            with_magic in any::<bool>(),
        ) {
            let mut bytes = bytes;
            if with_magic && bytes.len() >= 8 {
                bytes[..4].copy_from_slice(Metadata::MAGIC.as_bytes());
                bytes[6] &= 1;
            }
            if let Ok(arrival) = arrival(&bytes, false) {
                prop_assert!(bytes.as_ptr_range().contains(&arrival.payload.as_ptr())
                    || arrival.payload.is_empty());
                prop_assert!(arrival.payload.len() + Metadata::BYTES <= bytes.len());
            }
        }
    }
}
