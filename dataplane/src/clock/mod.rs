//! Receive time in UTC. A thread measures how the clocks below stand to UTC and publishes that as one
//! [`TimeMap`] behind a pointer; a worker reads it and never makes a system call for a packet that
//! brought its own time.
//!
//! Maps that were replaced are kept for a while by the thread that made them, so that a worker never
//! frees one.

mod phc;

use crate::arrival::RawTimes;
use arc_swap::ArcSwap;
use feed::{Line, Stamp};
pub use phc::{Offset, Phc};
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tick::{Clock, ClockSource};

/// Between two measurements. A NIC clock that drifts 10 ppm is off by 2.5 µs at the end of it.
const REFRESH: Duration = Duration::from_millis(250);
/// Maps kept after they were replaced: two seconds' worth, and no worker holds one for longer than a batch.
const RETIRED_MAPS: usize = 8;
/// A mapped hardware time further than this from the XDP program's time is not believed.
const PLAUSIBLE_NS: u64 = 1_000_000_000;

/// How the clocks stood to UTC when last measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeMap {
    /// `CLOCK_TAI − CLOCK_REALTIME`, ns: whole seconds, 0 where nobody has told the kernel.
    pub tai_minus_utc_ns: i64,
    /// The kernel says that `CLOCK_REALTIME` is disciplined.
    pub utc_in_sync: bool,
    /// `PHC − UTC` of the interface of each line, ns; `None` where there is no PHC or it was not readable.
    pub phc_minus_utc_ns: [Option<i64>; 2],
    /// What those offsets are good for: [`Offset::window_ns`].
    pub phc_window_ns: [Option<u64>; 2],
    /// When this was measured, ns since the epoch.
    pub measured_ns: u64,
}

impl TimeMap {
    /// A UTC stamp from the best time that was taken. `now_ns` is asked only when there is none.
    #[inline]
    pub fn stamp(&self, line: Line, times: RawTimes, now_ns: impl FnOnce() -> u64) -> Stamp {
        let xdp_ns = times.xdp_tai_ns.wrapping_add_signed(-self.tai_minus_utc_ns);
        if times.hardware_ns != 0
            && let Some(offset) = self.phc_minus_utc_ns[line.index()]
        {
            let hardware_ns = times.hardware_ns.wrapping_add_signed(-offset);
            if times.xdp_tai_ns == 0 || hardware_ns.abs_diff(xdp_ns) < PLAUSIBLE_NS {
                return self.at(hardware_ns, ClockSource::Hardware);
            }
        }
        if times.xdp_tai_ns != 0 {
            self.at(xdp_ns, ClockSource::Xdp)
        } else if times.kernel_utc_ns != 0 {
            self.at(times.kernel_utc_ns, ClockSource::Kernel)
        } else {
            self.at(now_ns(), ClockSource::User)
        }
    }

    #[inline]
    fn at(&self, recv_ns: u64, source: ClockSource) -> Stamp {
        Stamp { recv_ns, clock: Clock::new(source, self.utc_in_sync) }
    }
}

/// `CLOCK_REALTIME`, ns since the Unix epoch.
#[inline]
pub fn utc_now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)) as u64
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// `CLOCK_TAI − CLOCK_REALTIME`. The kernel keeps it in whole seconds, so the time between the two
/// readings is rounded away.
fn tai_minus_utc_ns() -> i64 {
    let Ok(tai) = clock_gettime_dynamic(DynamicClockId::Tai) else { return 0 };
    let difference_ns = nanoseconds(tai) - nanoseconds(clock_gettime(ClockId::Realtime));
    (difference_ns as f64 / 1e9).round() as i64 * 1_000_000_000
}

fn utc_in_sync() -> bool {
    // SAFETY: `timex` is plain data; with `modes` zero, adjtimex only reads the kernel's state into it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    state >= 0 && timex.status & libc::STA_UNSYNC == 0
}

fn measure(clocks: &[Option<Phc>; 2]) -> TimeMap {
    let offset = |clock: &Option<Phc>| clock.as_ref().and_then(|phc| phc.minus_utc().ok());
    let offsets = [offset(&clocks[0]), offset(&clocks[1])];
    TimeMap {
        tai_minus_utc_ns: tai_minus_utc_ns(),
        utc_in_sync: utc_in_sync(),
        phc_minus_utc_ns: offsets.map(|offset| Some(offset?.ns)),
        phc_window_ns: offsets.map(|offset| Some(offset?.window_ns)),
        measured_ns: utc_now_ns(),
    }
}

/// The thread that keeps a [`TimeMap`] fresh. Stops on drop.
pub struct ClockKeeper {
    map: Arc<ArcSwap<TimeMap>>,
    paths: [Option<PathBuf>; 2],
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ClockKeeper {
    /// Measures once, then again every 250 ms. `clocks` are the PHCs of the interfaces of lines A and B.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(clocks: [Option<Phc>; 2]) -> std::io::Result<ClockKeeper> {
        let map = Arc::new(ArcSwap::from_pointee(measure(&clocks)));
        let paths = clocks.each_ref().map(|clock| Some(clock.as_ref()?.path().to_path_buf()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("clock".into()).spawn({
            let (map, stop) = (Arc::clone(&map), Arc::clone(&stop));
            move || {
                let mut retired = VecDeque::with_capacity(RETIRED_MAPS + 1);
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(REFRESH);
                    retired.push_back(map.swap(Arc::new(measure(&clocks))));
                    if retired.len() > RETIRED_MAPS {
                        retired.pop_front();
                    }
                }
            }
        })?;
        Ok(ClockKeeper { map, paths, stop, thread: Some(thread) })
    }

    /// The pointer that workers read.
    pub fn map(&self) -> Arc<ArcSwap<TimeMap>> {
        Arc::clone(&self.map)
    }

    /// The hardware clocks of lines A and B.
    pub fn paths(&self) -> &[Option<PathBuf>; 2] {
        &self.paths
    }
}

impl Drop for ClockKeeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: TimeMap = TimeMap {
        tai_minus_utc_ns: 37_000_000_000,
        utc_in_sync: true,
        phc_minus_utc_ns: [Some(-500), None],
        phc_window_ns: [Some(300), None],
        measured_ns: 0,
    };

    fn no_clock() -> u64 {
        panic!("a packet with its own time must not ask the clock")
    }

    #[test]
    fn the_best_time_taken_is_the_one_used_and_named() {
        let hardware = RawTimes { hardware_ns: 1_000, ..RawTimes::default() };
        let stamp = MAP.stamp(Line::A, hardware, no_clock);
        assert_eq!((stamp.recv_ns, stamp.clock.source()), (1_500, Some(ClockSource::Hardware)));

        let xdp = RawTimes { xdp_tai_ns: 37_000_000_042, ..RawTimes::default() };
        let stamp = MAP.stamp(Line::A, xdp, no_clock);
        assert_eq!((stamp.recv_ns, stamp.clock.source()), (42, Some(ClockSource::Xdp)));

        let kernel = RawTimes { kernel_utc_ns: 7, ..RawTimes::default() };
        assert_eq!(MAP.stamp(Line::B, kernel, no_clock).clock.source(), Some(ClockSource::Kernel));

        let stamp = MAP.stamp(Line::B, RawTimes::default(), || 9);
        assert_eq!((stamp.recv_ns, stamp.clock), (9, Clock::new(ClockSource::User, true)));
    }

    #[test]
    fn a_hardware_time_without_a_mapped_clock_is_not_used() {
        let both = RawTimes { hardware_ns: 1_000, xdp_tai_ns: 37_000_000_042, kernel_utc_ns: 0 };
        assert_eq!(MAP.stamp(Line::B, both, no_clock).clock.source(), Some(ClockSource::Xdp));
    }

    #[test]
    fn a_hardware_time_far_from_the_xdp_time_is_not_believed() {
        let times = RawTimes { hardware_ns: 5_000_000_000, xdp_tai_ns: 37_000_000_042, kernel_utc_ns: 0 };
        assert_eq!(MAP.stamp(Line::A, times, no_clock).recv_ns, 42);
    }

    #[test]
    fn the_keeper_measures_this_machines_clocks_and_stops() {
        let keeper = ClockKeeper::start([None, None]).unwrap();
        let map = **keeper.map().load();
        assert_eq!(map.tai_minus_utc_ns % 1_000_000_000, 0);
        assert_eq!((map.phc_minus_utc_ns, map.phc_window_ns), ([None, None], [None, None]));
        assert!(map.measured_ns > 0);
        assert_eq!(keeper.paths(), &[None, None]);
    }
}
