//! The receiver for machines without the rights or the driver for XDP: one kernel UDP socket for each line
//! of each feed, drained by `recvmmsg` with the kernel's receive timestamps.
//!
//! [`FeedSocket`]s are opened off the worker and handed to it; the worker's own memory (buffers, message
//! headers, poll set) is allocated once, in [`SocketReceiver::new`].

use crate::arrival::{Arrival, RawTimes, Receiver};
use crate::membership;
use feed::Line;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Datagrams taken by one system call: enough that its cost is spread, few enough that a second socket
/// does not wait long.
const BATCH: usize = 64;
/// Room for one datagram, bytes: a jumbo frame's payload. A longer one is cut by the kernel and counted.
const DATAGRAM_BYTES: usize = 9_216;
/// Room for the timestamp and the overflow counter of one datagram, bytes.
const CONTROL_BYTES: usize = 128;
/// Sockets a receiver can hold: two lines of 256 feeds.
pub const SOCKETS_MAX: usize = 512;

/// What a feed's line needs from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketRequest {
    /// The worker's slot of the feed.
    pub slot: u16,
    /// The line.
    pub line: Line,
    /// Destination address; joined on the interface when it is multicast.
    pub group: Ipv4Addr,
    /// Destination port.
    pub port: u16,
    /// Only from this sender.
    pub source: Option<Ipv4Addr>,
    /// Index of the interface.
    pub interface_index: u32,
    /// Receive buffer asked for, bytes.
    pub buffer_bytes: usize,
}

/// A socket that receives one line of one feed.
#[derive(Debug)]
pub struct FeedSocket {
    socket: Socket,
    request: SocketRequest,
    /// The kernel's count of datagrams dropped because the buffer was full; it wraps.
    overflow: u32,
}

impl FeedSocket {
    /// Opens, binds and joins.
    ///
    /// # Errors
    /// The system's error, with what was being done and for which group.
    pub fn open(request: SocketRequest) -> io::Result<FeedSocket> {
        let SocketRequest { group, port, .. } = request;
        let socket = configure(&request).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot receive {group}:{port} by a kernel socket: {error}"))
        })?;
        Ok(FeedSocket { socket, request, overflow: 0 })
    }

    /// What it was opened for.
    pub fn request(&self) -> &SocketRequest {
        &self.request
    }
}

fn configure(request: &SocketRequest) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    set_receive_buffer(&socket, request.buffer_bytes)?;
    set_flag(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    set_flag(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    socket.bind(&SocketAddrV4::new(request.group, request.port).into())?;
    if request.group.is_multicast() {
        // Only what this socket joined, not what any other on the machine did.
        set_flag(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0)?;
        let interface = InterfaceIndexOrAddress::Index(request.interface_index);
        match request.source {
            None => socket.join_multicast_v4_n(&request.group, &interface)?,
            Some(source) => membership::join_source(&socket, request.group, request.interface_index, source)?,
        }
    }
    Ok(socket)
}

/// Asks past the system's limit first, which needs CAP_NET_ADMIN, then within it.
fn set_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let bytes_capped = i32::try_from(bytes).unwrap_or(i32::MAX);
    set_flag(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes_capped)
        .or_else(|_| socket.set_recv_buffer_size(bytes))
}

fn set_flag(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let result = unsafe {
        let length = size_of::<i32>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a socket receiver counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStats {
    /// Datagrams handed on.
    pub packets: u64,
    /// Their payloads, bytes.
    pub payload_bytes: u64,
    /// Datagrams the kernel dropped because a socket's buffer was full.
    pub socket_overflow: u64,
    /// Datagrams longer than the receive buffer, cut by the kernel and refused.
    pub oversized: u64,
    /// Datagrams of a unicast feed from another sender than the one configured.
    pub wrong_source: u64,
    /// Failed system calls.
    pub errors: u64,
}

/// Polls the sockets of one worker.
pub struct SocketReceiver {
    // Boxed as they were handed over: taking one out again frees nothing here.
    #[allow(clippy::vec_box)]
    sockets: Vec<Box<FeedSocket>>,
    poll_set: Vec<libc::pollfd>,
    batch: Batch,
    next: usize,
    stats: SocketStats,
}

impl SocketReceiver {
    /// A receiver without sockets yet, with room for [`SOCKETS_MAX`].
    pub fn new() -> SocketReceiver {
        SocketReceiver {
            sockets: Vec::with_capacity(SOCKETS_MAX),
            poll_set: Vec::with_capacity(SOCKETS_MAX),
            batch: Batch::new(),
            next: 0,
            stats: SocketStats::default(),
        }
    }

    /// Adds a socket opened elsewhere; gives it back when the receiver is full. Does not allocate.
    ///
    /// # Errors
    /// The socket itself, when there are [`SOCKETS_MAX`] already.
    pub fn add(&mut self, socket: Box<FeedSocket>) -> Result<(), Box<FeedSocket>> {
        if self.sockets.len() == SOCKETS_MAX {
            return Err(socket);
        }
        self.poll_set.push(libc::pollfd { fd: socket.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        self.sockets.push(socket);
        Ok(())
    }

    /// Takes the socket opened for exactly this request out, to be closed elsewhere.
    pub fn remove(&mut self, request: &SocketRequest) -> Option<Box<FeedSocket>> {
        let at = self.sockets.iter().position(|socket| socket.request == *request)?;
        self.poll_set.swap_remove(at);
        Some(self.sockets.swap_remove(at))
    }

    /// The counters.
    pub fn stats(&self) -> SocketStats {
        self.stats
    }
}

impl Default for SocketReceiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver for SocketReceiver {
    fn poll(&mut self, budget: usize, take: &mut impl FnMut(Arrival<'_>)) -> usize {
        let (mut taken, mut empty) = (0, 0);
        while taken < budget && empty < self.sockets.len() {
            self.next = (self.next + 1) % self.sockets.len();
            let socket = &mut self.sockets[self.next];
            let want = BATCH.min(budget - taken);
            match self.batch.receive(socket.socket.as_raw_fd(), want) {
                Ok(got) => {
                    for index in 0..got {
                        hand_on(socket, self.batch.datagram(index), &mut self.stats, take);
                    }
                    taken += got;
                    empty = if got < want { empty + 1 } else { 0 };
                }
                Err(error) => {
                    let usual =
                        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                    self.stats.errors += u64::from(!usual);
                    empty += 1;
                }
            }
        }
        taken
    }

    fn wait(&mut self, timeout: Duration) {
        let milliseconds = i32::try_from(timeout.as_millis().max(1)).unwrap_or(i32::MAX);
        // SAFETY: the set's pointer and length are those of a live Vec.
        unsafe {
            libc::poll(self.poll_set.as_mut_ptr(), self.poll_set.len() as libc::nfds_t, milliseconds);
        }
    }
}

#[inline]
fn hand_on(
    socket: &mut FeedSocket,
    datagram: Datagram<'_>,
    stats: &mut SocketStats,
    take: &mut impl FnMut(Arrival<'_>),
) {
    if let Some(overflow) = datagram.overflow {
        stats.socket_overflow += u64::from(overflow.wrapping_sub(socket.overflow));
        socket.overflow = overflow;
    }
    if datagram.truncated {
        stats.oversized += 1;
        return;
    }
    if socket.request.source.is_some_and(|wanted| wanted != datagram.source) {
        stats.wrong_source += 1;
        return;
    }
    stats.packets += 1;
    stats.payload_bytes += datagram.payload.len() as u64;
    take(Arrival {
        slot: socket.request.slot,
        line: socket.request.line,
        payload: datagram.payload,
        times: RawTimes { kernel_utc_ns: datagram.kernel_utc_ns, ..RawTimes::default() },
    });
}

/// One datagram of a batch.
struct Datagram<'a> {
    payload: &'a [u8],
    source: Ipv4Addr,
    kernel_utc_ns: u64,
    overflow: Option<u32>,
    truncated: bool,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// The memory of one `recvmmsg`. The headers point into the boxes beside them, which never move.
struct Batch {
    payloads: Box<[u8]>,
    controls: Box<[Control]>,
    names: Box<[libc::sockaddr_in]>,
    _vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the raw pointers in `headers` lead only to the boxes of the same `Batch`, which go with it.
unsafe impl Send for Batch {}

impl Batch {
    fn new() -> Batch {
        let mut payloads = vec![0u8; BATCH * DATAGRAM_BYTES].into_boxed_slice();
        let mut controls = vec![Control([0; CONTROL_BYTES]); BATCH].into_boxed_slice();
        // SAFETY: all-zero is a valid value of this plain struct.
        let mut names = vec![unsafe { zeroed::<libc::sockaddr_in>() }; BATCH].into_boxed_slice();
        let mut vectors: Box<[libc::iovec]> = payloads
            .chunks_exact_mut(DATAGRAM_BYTES)
            .map(|chunk| libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: DATAGRAM_BYTES })
            .collect();
        let headers = (0..BATCH)
            .map(|index| {
                // SAFETY: all-zero is a valid value of this plain struct.
                let mut header: libc::mmsghdr = unsafe { zeroed() };
                header.msg_hdr.msg_iov = &raw mut vectors[index];
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_name = (&raw mut names[index]).cast();
                header.msg_hdr.msg_control = (&raw mut controls[index]).cast();
                header
            })
            .collect();
        Batch { payloads, controls, names, _vectors: vectors, headers }
    }

    fn receive(&mut self, socket: RawFd, want: usize) -> io::Result<usize> {
        for header in &mut self.headers[..want] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: `want` is at most BATCH, and every header's pointers and lengths describe memory of this
        // `Batch`, which nothing borrows during the call.
        let got = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(socket, headers, want as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    fn datagram(&self, index: usize) -> Datagram<'_> {
        let header = &self.headers[index];
        let length = (header.msg_len as usize).min(DATAGRAM_BYTES);
        let start = index * DATAGRAM_BYTES;
        let mut datagram = Datagram {
            payload: &self.payloads[start..start + length],
            source: Ipv4Addr::from(u32::from_be(self.names[index].sin_addr.s_addr)),
            kernel_utc_ns: 0,
            overflow: None,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        };
        let control_length = header.msg_hdr.msg_controllen.min(CONTROL_BYTES);
        read_control(&self.controls[index].0[..control_length], &mut datagram);
        datagram
    }
}

/// Walks the control messages (`cmsg(3)`): length, level, type, data, each padded to eight bytes.
fn read_control(mut bytes: &[u8], datagram: &mut Datagram<'_>) {
    const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
    let word = |bytes: &[u8], at: usize| {
        i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    while bytes.len() >= HEADER_BYTES {
        let length = word(bytes, 0) as u32 as usize;
        if length < HEADER_BYTES || length > bytes.len() {
            return;
        }
        let (level, kind) = (word(bytes, 8), word(bytes, 12));
        let data = &bytes[HEADER_BYTES..length];
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) if data.len() >= 16 => {
                let part = |at: usize| data[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
                datagram.kernel_utc_ns = part(0).wrapping_mul(1_000_000_000).wrapping_add(part(8));
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if data.len() >= 4 => {
                datagram.overflow = Some(word(data, 0) as u32);
            }
            _ => {}
        }
        bytes = &bytes[length.next_multiple_of(8).min(bytes.len())..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn loopback(slot: u16, port: u16, source: Option<Ipv4Addr>) -> SocketRequest {
        SocketRequest {
            slot,
            line: Line::B,
            group: Ipv4Addr::LOCALHOST,
            port,
            source,
            interface_index: 1,
            buffer_bytes: 1 << 20,
        }
    }

    fn receiver(requests: &[SocketRequest]) -> SocketReceiver {
        let mut receiver = SocketReceiver::new();
        for request in requests {
            receiver.add(Box::new(FeedSocket::open(*request).unwrap())).unwrap();
        }
        receiver
    }

    fn free_port() -> u16 {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn poll_for(receiver: &mut SocketReceiver, wanted: usize) -> Vec<(u16, Vec<u8>, RawTimes)> {
        let mut taken = Vec::new();
        for _ in 0..200 {
            receiver.poll(256, &mut |arrival| {
                taken.push((arrival.slot, arrival.payload.to_vec(), arrival.times));
            });
            if taken.len() >= wanted {
                break;
            }
            receiver.wait(Duration::from_millis(10));
        }
        taken
    }

    #[test]
    fn datagrams_arrive_whole_with_their_slot_and_the_kernels_time() {
        let port = free_port();
        let mut receiver = receiver(&[loopback(3, port, None)]);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for index in 0..150u8 {
            sender.send_to(&vec![index; usize::from(index) + 1], ("127.0.0.1", port)).unwrap();
        }
        let taken = poll_for(&mut receiver, 150);
        assert_eq!(taken.len(), 150, "{:?}", receiver.stats());
        for (index, (slot, payload, times)) in taken.iter().enumerate() {
            assert_eq!((*slot, payload.len()), (3, index + 1));
            assert!(times.kernel_utc_ns > 1_600_000_000_000_000_000);
        }
        assert_eq!(receiver.stats().packets, 150);
    }

    #[test]
    fn a_datagram_from_another_sender_than_the_configured_one_is_counted_and_refused() {
        let port = free_port();
        let request = loopback(0, port, Some(Ipv4Addr::new(127, 0, 0, 2)));
        let mut receiver = receiver(&[request]);
        let wrong = UdpSocket::bind("127.0.0.1:0").unwrap();
        let right = UdpSocket::bind("127.0.0.2:0").unwrap();
        wrong.send_to(b"wrong", ("127.0.0.1", port)).unwrap();
        right.send_to(b"right", ("127.0.0.1", port)).unwrap();
        let taken = poll_for(&mut receiver, 1);
        assert_eq!(taken[0].1, b"right");
        assert_eq!((receiver.stats().wrong_source, receiver.stats().packets), (1, 1));
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_counted_and_refused() {
        let port = free_port();
        let mut receiver = receiver(&[loopback(0, port, None)]);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&vec![1; DATAGRAM_BYTES + 1], ("127.0.0.1", port)).unwrap();
        sender.send_to(&vec![2; DATAGRAM_BYTES], ("127.0.0.1", port)).unwrap();
        let taken = poll_for(&mut receiver, 1);
        assert_eq!(taken[0].1.len(), DATAGRAM_BYTES);
        assert_eq!(receiver.stats().oversized, 1);
    }

    #[test]
    fn what_a_full_socket_buffer_dropped_is_counted() {
        let port = free_port();
        let request = SocketRequest { buffer_bytes: 4096, ..loopback(0, port, None) };
        let mut receiver = receiver(&[request]);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1_000 {
            sender.send_to(&[7; 1_000], ("127.0.0.1", port)).unwrap();
        }
        poll_for(&mut receiver, 1);
        // The counter travels with the next datagram that fits.
        sender.send_to(&[8; 10], ("127.0.0.1", port)).unwrap();
        poll_for(&mut receiver, 1);
        let stats = receiver.stats();
        assert_eq!(stats.packets + stats.socket_overflow, 1_001);
    }

    #[test]
    fn a_socket_added_or_taken_out_leaves_the_others_receiving() {
        let ports = [free_port(), free_port()];
        let mut receiver = receiver(&[loopback(0, ports[0], None)]);
        receiver.add(Box::new(FeedSocket::open(loopback(1, ports[1], None)).unwrap())).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", ("127.0.0.1", ports[1])).unwrap();
        assert_eq!(poll_for(&mut receiver, 1)[0].0, 1);
        assert!(receiver.remove(&loopback(0, ports[0], None)).is_some());
        assert!(receiver.remove(&loopback(0, ports[0], None)).is_none());
        sender.send_to(b"y", ("127.0.0.1", ports[1])).unwrap();
        assert_eq!(poll_for(&mut receiver, 1)[0].1, b"y");
    }

    #[test]
    fn hostile_control_bytes_end_the_walk() {
        let datagram = || Datagram {
            payload: &[],
            source: Ipv4Addr::UNSPECIFIED,
            kernel_utc_ns: 0,
            overflow: None,
            truncated: false,
        };
        for length in [0u64, 1, 15, 17, 4096, u64::MAX] {
            let mut bytes = [0xffu8; 64];
            bytes[..8].copy_from_slice(&length.to_ne_bytes());
            let mut into = datagram();
            read_control(&bytes, &mut into);
            assert_eq!(into.kernel_utc_ns, 0);
        }
    }
}
