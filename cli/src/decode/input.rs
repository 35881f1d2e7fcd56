//! A capture as a run of UDP datagrams with the time at which each was captured.
//!
//! One record is in memory at a time. Damage ends the run: everything whole before it was given out, and
//! [`Input::damage`] names the place.

use super::progress::Progress;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddrV4;
use std::path::Path;
use venue::capture::{Capture, CaptureError, CaptureErrorKind};
use venue::frame::{self, Datagram, FrameError};

/// A capture being read.
pub(super) struct Input {
    capture: Capture,
    progress: Progress,
    counts: FrameCounts,
    checksums: HashMap<SocketAddrV4, Checksums>,
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
    /// Datagrams with a wrong UDP checksum, to a destination whose checksums are right as a rule.
    pub(super) bad_checksum: u64,
}

/// Checksums seen at one destination.
///
/// A capture made where packets are sent may hold only wrong ones, because the sender's NIC fills them in
/// later; then they say nothing. Where most are right, a wrong one is damage.
#[derive(Default)]
struct Checksums {
    right: u64,
    wrong: u64,
}

impl Checksums {
    /// Whether a datagram whose checksum is so is damaged.
    fn is_damage(&mut self, right: bool) -> bool {
        let damage = !right && self.right > self.wrong;
        self.right += u64::from(right);
        self.wrong += u64::from(!right);
        damage
    }
}

impl Input {
    /// Opens the file; `doing` names the pass in the progress line.
    pub(super) fn open(path: &Path, doing: &'static str) -> Result<Input, CaptureError> {
        Ok(Input {
            capture: Capture::open(path)?,
            progress: Progress::new(doing),
            counts: FrameCounts::default(),
            checksums: HashMap::new(),
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
                    let right = datagram.checksum_is_right();
                    if self.checksums.entry(datagram.destination).or_default().is_damage(right) {
                        self.counts.bad_checksum += 1;
                        continue;
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_checksum_is_damage_only_where_most_are_right() {
        let mut good_line = Checksums::default();
        assert!(!good_line.is_damage(true) && !good_line.is_damage(true));
        assert!(good_line.is_damage(false));
        assert!(!good_line.is_damage(true));
        let mut offloaded = Checksums::default();
        assert!((0..10).all(|_| !offloaded.is_damage(false)));
        assert!(!offloaded.is_damage(true));
        assert!(!offloaded.is_damage(false));
    }
}
