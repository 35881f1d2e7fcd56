//! A capture as a run of UDP datagrams with the time at which each was captured.
//!
//! One record is in memory at a time. Damage ends the run: everything whole before it was given out, and
//! [`Input::damage`] names the place.

use super::progress::Progress;
use std::fmt;
use std::path::Path;
use venue::capture::{Capture, CaptureError, CaptureErrorKind};
use venue::frame::{self, Datagram, FrameError};

/// A capture being read.
pub(super) struct Input {
    capture: Capture,
    progress: Progress,
    counts: FrameCounts,
    damage: Option<CaptureError>,
}

/// What the capture's records were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameCounts {
    /// Records read.
    pub(super) records: u64,
    /// Records that held no whole UDP datagram over IPv4 (ARP, TCP, IPv6, fragments …), cut ones not counted.
    pub(super) other: u64,
    /// Frames that the capture kept only in part.
    pub(super) cut: u64,
}

impl Input {
    /// Opens the file; `doing` names the pass in the progress line.
    pub(super) fn open(path: &Path, doing: &'static str) -> Result<Input, CaptureError> {
        Ok(Input {
            capture: Capture::open(path)?,
            progress: Progress::new(doing),
            counts: FrameCounts::default(),
            damage: None,
        })
    }

    /// Hands each datagram and its capture time (ns since the epoch) to `take`, until the end or until `take`
    /// says no.
    pub(super) fn for_each(&mut self, mut take: impl FnMut(u64, &Datagram<'_>) -> bool) {
        loop {
            let records = self.capture.records();
            let position = self.capture.progress();
            self.progress.update(records, || position);
            let record = match self.capture.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => return,
                Err(error) => {
                    self.damage = Some(error);
                    return;
                }
            };
            self.counts.records += 1;
            match frame::parse(record.link, record.frame) {
                Ok(datagram) => {
                    if !take(record.ts_ns, &datagram) {
                        return;
                    }
                }
                Err(FrameError::Cut) => self.counts.cut += 1,
                Err(_) => self.counts.other += 1,
            }
        }
    }

    pub(super) fn counts(&self) -> FrameCounts {
        self.counts
    }

    /// Why the run ended before the file's own end, if it did.
    pub(super) fn damage(self) -> Option<Damage> {
        self.damage.map(Damage)
    }
}

/// Where a capture ceases to be readable.
#[derive(Debug)]
pub(super) struct Damage(CaptureError);

impl Damage {
    /// The file merely ends too early, as when the capturing program was killed or a copy was cut.
    pub(super) fn is_truncation(&self) -> bool {
        matches!(self.0.kind, CaptureErrorKind::Cut { .. })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
