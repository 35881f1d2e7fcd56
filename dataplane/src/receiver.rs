//! The receivers a worker may have, behind one type.

use crate::arrival::{Arrival, Receiver};
use crate::socket::{FeedSocket, SocketReceiver, SocketRequest, SocketStats};
#[cfg(feature = "xdp")]
use crate::xdp::{XdpReceiver, XdpStats};
use std::time::Duration;

/// XDP or sockets; chosen once, at start.
// One lives in each worker, for the life of the process: the size of the larger one costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum AnyReceiver {
    /// AF_XDP sockets.
    #[cfg(feature = "xdp")]
    Xdp(XdpReceiver),
    /// Kernel sockets.
    Socket(SocketReceiver),
}

/// The counters of whichever receiver it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverStats {
    /// AF_XDP sockets.
    #[cfg(feature = "xdp")]
    Xdp(XdpStats),
    /// Kernel sockets.
    Socket(SocketStats),
}

impl Default for ReceiverStats {
    fn default() -> Self {
        ReceiverStats::Socket(SocketStats::default())
    }
}

impl AnyReceiver {
    /// Adds a socket; gives it back where it has no use.
    pub fn add_socket(&mut self, socket: Box<FeedSocket>) -> Option<Box<FeedSocket>> {
        match self {
            #[cfg(feature = "xdp")]
            AnyReceiver::Xdp(_) => Some(socket),
            AnyReceiver::Socket(receiver) => receiver.add(socket).err(),
        }
    }

    /// Takes a socket out.
    pub fn remove_socket(&mut self, request: &SocketRequest) -> Option<Box<FeedSocket>> {
        match self {
            #[cfg(feature = "xdp")]
            AnyReceiver::Xdp(_) => None,
            AnyReceiver::Socket(receiver) => receiver.remove(request),
        }
    }

    /// The counters.
    pub fn stats(&self) -> ReceiverStats {
        match self {
            #[cfg(feature = "xdp")]
            AnyReceiver::Xdp(receiver) => ReceiverStats::Xdp(receiver.stats()),
            AnyReceiver::Socket(receiver) => ReceiverStats::Socket(receiver.stats()),
        }
    }
}

impl Receiver for AnyReceiver {
    #[inline]
    fn poll(&mut self, budget: usize, take: &mut impl FnMut(Arrival<'_>)) -> usize {
        match self {
            #[cfg(feature = "xdp")]
            AnyReceiver::Xdp(receiver) => receiver.poll(budget, take),
            AnyReceiver::Socket(receiver) => receiver.poll(budget, take),
        }
    }

    fn wait(&mut self, timeout: Duration) {
        match self {
            #[cfg(feature = "xdp")]
            AnyReceiver::Xdp(receiver) => receiver.wait(timeout),
            AnyReceiver::Socket(receiver) => receiver.wait(timeout),
        }
    }
}
