//! The receivers a worker may have, behind one type.

use crate::arrival::{Arrival, Receiver};
use crate::socket::{FeedSocket, SocketReceiver, SocketRequest, SocketStats};
#[cfg(feature = "xdp")]
use crate::xdp::{self, SocketReport, XdpReceiver};
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
    Xdp(xdp::ReceiverStats),
    /// Kernel sockets.
    Socket(SocketStats),
}

/// AF_XDP sockets that a report has room for: two interfaces of 64 queues.
#[cfg(feature = "xdp")]
const REPORTED_SOCKETS_MAX: usize = 128;

/// What a receiver reports.
#[derive(Debug)]
pub struct ReceiverReport {
    /// Its counters.
    pub stats: ReceiverStats,
    /// Its AF_XDP sockets.
    #[cfg(feature = "xdp")]
    pub sockets: Vec<SocketReport>,
}

impl Default for ReceiverReport {
    fn default() -> Self {
        ReceiverReport {
            stats: ReceiverStats::Socket(SocketStats::default()),
            #[cfg(feature = "xdp")]
            sockets: Vec::with_capacity(REPORTED_SOCKETS_MAX),
        }
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

    /// Writes the counters into a report. Allocates nothing while the report has room for the sockets.
    pub fn report(&mut self, report: &mut ReceiverReport) {
        match self {
            #[cfg(feature = "xdp")]
            AnyReceiver::Xdp(receiver) => {
                report.stats = ReceiverStats::Xdp(receiver.stats());
                report.sockets.clear();
                report.sockets.extend(receiver.read_statistics().iter().take(REPORTED_SOCKETS_MAX));
            }
            AnyReceiver::Socket(receiver) => report.stats = ReceiverStats::Socket(receiver.stats()),
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
