//! `sendmmsg`: a batch of packets on one socket with one system call.
//!
//! Owns the packets' bytes and the arrays that the kernel reads; all are allocated once and reused.

use rustix::fd::{AsRawFd, BorrowedFd};
use std::net::SocketAddrV4;

/// Packets in a batch. More gain little a packet, and set the two lines further apart.
pub(super) const BATCH_PACKETS: usize = 32;

/// Packets that wait to be sent on one socket.
pub(super) struct Batch {
    packets: Vec<Vec<u8>>,
    to: Vec<SocketAddrV4>,
    used: usize,
    addresses: Vec<libc::sockaddr_in>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

/// The first packet that the kernel refused.
pub(super) struct Refused {
    pub(super) bytes: usize,
    pub(super) to: SocketAddrV4,
    pub(super) error: std::io::Error,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch {
            packets: (0..BATCH_PACKETS).map(|_| Vec::with_capacity(2048)).collect(),
            to: vec![SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0); BATCH_PACKETS],
            used: 0,
            addresses: Vec::with_capacity(BATCH_PACKETS),
            vectors: Vec::with_capacity(BATCH_PACKETS),
            messages: Vec::with_capacity(BATCH_PACKETS),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.used == BATCH_PACKETS
    }

    /// Room for the next packet, to be filled by the caller. There must be room.
    pub(super) fn next(&mut self, to: SocketAddrV4) -> &mut Vec<u8> {
        let at = self.used;
        self.used += 1;
        self.to[at] = to;
        &mut self.packets[at]
    }

    /// Sends what waits; to each packet's own address when `addressed`, else to where the socket is bound.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, addressed: bool) -> Result<(), Refused> {
        self.point_at_packets(addressed);
        let mut sent = 0;
        while sent < self.used {
            let rest = &mut self.messages[sent..];
            // SAFETY: `rest` is an array of `rest.len()` headers whose iovecs and names point into vectors
            // of `self` that are neither moved nor changed before the call returns.
            let result =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            match usize::try_from(result) {
                Ok(count) => sent += count,
                Err(_) => {
                    let error = std::io::Error::last_os_error();
                    // The queue is full: wait for it, as a sender on a slow link does. A signal: again.
                    match error.raw_os_error() {
                        Some(libc::ENOBUFS | libc::EAGAIN) => std::thread::yield_now(),
                        Some(libc::EINTR) => {}
                        _ => {
                            self.used = 0;
                            return Err(Refused {
                                bytes: self.packets[sent].len(),
                                to: self.to[sent],
                                error,
                            });
                        }
                    }
                }
            }
        }
        self.used = 0;
        Ok(())
    }

    fn point_at_packets(&mut self, addressed: bool) {
        self.addresses.clear();
        self.vectors.clear();
        self.messages.clear();
        for (packet, to) in self.packets.iter_mut().zip(&self.to).take(self.used) {
            self.addresses.push(socket_address(*to));
            self.vectors.push(libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() });
        }
        for (address, vector) in self.addresses.iter_mut().zip(&mut self.vectors) {
            // SAFETY: all-zero bytes are a valid mmsghdr: null pointers and zero lengths.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            if addressed {
                message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
                message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            }
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            self.messages.push(message);
        }
    }
}

fn socket_address(to: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    }
}
