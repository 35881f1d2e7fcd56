//! What a receiver backend hands to a worker: one packet of a configured feed.

use feed::Line;

/// One UDP payload of a feed, borrowed from the backend's memory for the length of the call.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The feed's slot, as configured (the index of the worker's channel).
    pub slot: u16,
    /// The line.
    pub line: Line,
    /// The UDP payload.
    pub payload: &'a [u8],
    /// Receive times that were taken, raw.
    pub times: RawTimes,
}

/// Receive times as the layers below took them; 0 = not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawTimes {
    /// The NIC's hardware clock (PHC), ns, not mapped to UTC.
    pub hardware_ns: u64,
    /// `CLOCK_TAI` in the XDP program, ns.
    pub xdp_tai_ns: u64,
    /// The kernel socket's receive time (`CLOCK_REALTIME`), ns.
    pub kernel_utc_ns: u64,
}

/// A source of packets, polled by one worker thread. Nothing in here allocates after set-up.
pub trait Receiver {
    /// Takes at most `budget` packets that have arrived and hands each to `take`; returns how many left
    /// the ring (refused ones included). Does not wait.
    fn poll(&mut self, budget: usize, take: &mut impl FnMut(Arrival<'_>)) -> usize;

    /// Sleeps in the kernel until a packet arrives or `timeout` is over.
    fn wait(&mut self, timeout: std::time::Duration);
}
