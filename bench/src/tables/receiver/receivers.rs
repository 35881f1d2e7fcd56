//! The receivers of table (a), behind one trait.

use super::wire::{RECEIVER, TO, Wire, interface_index};
use anyhow::Result;
use dataplane::arrival::Receiver;
use dataplane::socket::{FeedSocket, SocketReceiver, SocketRequest};
use dataplane::xdp::{Interface, ReceiverConfig, XdpReceiver};
use ebpf::{FeedKey, FeedValue, LoadRequest, Pass, Steering};
use feed::Line;
use std::hint::black_box;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Kernel memory for waiting datagrams, bytes.
const SOCKET_BUFFER_BYTES: usize = 64 << 20;

/// Something that packets can be taken from.
pub(super) trait Take {
    /// Takes at most `budget` packets, without waiting, and looks at each one's sequence number.
    fn take(&mut self, budget: usize) -> usize;

    /// How it receives, for the note.
    fn mode(&self) -> String;
}

#[inline]
fn look(payload: &[u8]) {
    black_box(payload.first_chunk::<8>());
}

/// AF_XDP behind the steering program.
pub(super) struct Xdp {
    receiver: XdpReceiver,
    // After the receiver: the program goes when the sockets are closed.
    _steering: Steering,
}

impl Xdp {
    pub(super) fn open(_: &Wire) -> Result<Xdp> {
        let steering = Steering::load(interface_index(RECEIVER)?, &LoadRequest::default())?;
        let key = FeedKey { destination: *TO.ip(), port: TO.port(), source: None };
        steering.set_feed(key, FeedValue { slot: 0, line: 0 })?;
        let config = ReceiverConfig { core: Some(super::wire::RECEIVER_CORE), ..ReceiverConfig::default() };
        let receiver = XdpReceiver::open(&[Interface { steering: &steering, queues: 1 }], &config)?;
        Ok(Xdp { receiver, _steering: steering })
    }
}

impl Take for Xdp {
    #[inline]
    fn take(&mut self, budget: usize) -> usize {
        self.receiver.poll(budget, &mut |arrival| look(arrival.payload))
    }

    fn mode(&self) -> String {
        self.receiver.reports().first().map_or_else(String::new, |report| {
            let busy = if report.busy_poll { ", busy polling" } else { "" };
            format!("{} mode{busy}", report.mode)
        })
    }
}

/// A kernel socket on the receiving end, which needs an XDP program that lets the generator's frames in.
fn kernel_side() -> Result<Pass> {
    Ok(Pass::attach(interface_index(RECEIVER)?)?)
}

/// `recvmmsg`, as the data plane's fallback does it.
pub(super) struct Kernel {
    receiver: SocketReceiver,
    _pass: Pass,
}

impl Kernel {
    pub(super) fn open(_: &Wire) -> Result<Kernel> {
        let pass = kernel_side()?;
        let request = SocketRequest {
            slot: 0,
            line: Line::A,
            group: *TO.ip(),
            port: TO.port(),
            source: None,
            interface_index: interface_index(RECEIVER)?,
            buffer_bytes: SOCKET_BUFFER_BYTES,
        };
        let mut receiver = SocketReceiver::new();
        let refused = receiver.add(Box::new(FeedSocket::open(request)?)).is_err();
        anyhow::ensure!(!refused, "the receiver takes no socket");
        Ok(Kernel { receiver, _pass: pass })
    }
}

impl Take for Kernel {
    #[inline]
    fn take(&mut self, budget: usize) -> usize {
        self.receiver.poll(budget, &mut |arrival| look(arrival.payload))
    }

    fn mode(&self) -> String {
        "kernel socket".to_owned()
    }
}

/// `recv`, one datagram at a time.
pub(super) struct OneByOne {
    socket: UdpSocket,
    buffer: Box<[u8; 2048]>,
    _pass: Pass,
}

impl OneByOne {
    pub(super) fn open(_: &Wire) -> Result<OneByOne> {
        let pass = kernel_side()?;
        let socket = UdpSocket::bind(TO)?;
        socket.set_nonblocking(true)?;
        let bytes = libc::c_int::try_from(SOCKET_BUFFER_BYTES)?;
        // SAFETY: the pointer and the length describe `bytes`, which lives through the call.
        let set = unsafe {
            let length = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const bytes).cast(),
                length,
            )
        };
        if set != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(OneByOne { socket, buffer: Box::new([0; 2048]), _pass: pass })
    }
}

impl Take for OneByOne {
    #[inline]
    fn take(&mut self, budget: usize) -> usize {
        for taken in 0..budget {
            match self.socket.recv(self.buffer.as_mut_slice()) {
                Ok(bytes) => look(&self.buffer[..bytes]),
                Err(_) => return taken,
            }
        }
        budget
    }

    fn mode(&self) -> String {
        "kernel socket".to_owned()
    }
}
