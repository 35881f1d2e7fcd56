//! A NIC's PTP hardware clock (PHC), read against UTC by `PTP_SYS_OFFSET_EXTENDED`,
//! which brackets each PHC reading between two readings of the system clock inside the kernel.

use crate::nic;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Readings in one measurement; the one with the narrowest bracket counts.
const SAMPLES: usize = 5;

/// How a PHC stands to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// `PHC − UTC`, ns.
    pub ns: i64,
    /// How far apart the readings of UTC around the PHC's lay, ns: the offset is good to half of it.
    pub window_ns: u64,
}

/// An open PHC.
#[derive(Debug)]
pub struct Phc {
    device: File,
    path: PathBuf,
}

impl Phc {
    /// The clock of a network interface; `None` when it has none.
    ///
    /// # Errors
    /// When the interface has a clock and its device cannot be opened.
    pub fn of_interface(interface: &str) -> io::Result<Option<Phc>> {
        // Loopback has no driver to ask.
        let asked = interface != "lo";
        let Some(number) = asked.then(|| nic::phc_index(interface)).flatten() else { return Ok(None) };
        let path = PathBuf::from(format!("/dev/ptp{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Some(Phc { device, path }))
    }

    /// The device's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Measures `PHC − UTC`.
    ///
    /// # Errors
    /// When the driver does not answer the request.
    pub fn minus_utc(&self) -> io::Result<Offset> {
        // SAFETY: the struct is plain data, and the kernel writes at most `n_samples` of its 25 rows.
        let (result, request) = unsafe {
            let mut request: libc::ptp_sys_offset_extended = std::mem::zeroed();
            request.n_samples = SAMPLES as u32;
            let result =
                libc::ioctl(self.device.as_raw_fd(), libc::PTP_SYS_OFFSET_EXTENDED, &raw mut request);
            (result, request)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let readings = request.ts.iter().take(SAMPLES).map(|row| row.each_ref().map(nanoseconds));
        narrowest(readings).ok_or_else(|| io::Error::other("the clock gave no usable reading"))
    }
}

fn nanoseconds(time: &libc::ptp_clock_time) -> i64 {
    time.sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.nsec))
}

/// `PHC − midpoint` of the reading whose two system times lie closest together.
fn narrowest(readings: impl Iterator<Item = [i64; 3]>) -> Option<Offset> {
    readings.filter(|[before, _, after]| after >= before).min_by_key(|[before, _, after]| after - before).map(
        |[before, phc, after]| Offset {
            ns: phc - (before + (after - before) / 2),
            window_ns: after.abs_diff(before),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reading_with_the_narrowest_bracket_counts() {
        let readings = [[0, 1_000, 400], [1_000, 2_150, 1_100], [2_000, 3_333, 2_900]];
        assert_eq!(narrowest(readings.into_iter()), Some(Offset { ns: 2_150 - 1_050, window_ns: 100 }));
    }

    #[test]
    fn a_clock_that_went_backwards_gives_no_reading() {
        assert_eq!(narrowest([[10, 5, 9]].into_iter()), None);
    }

    #[test]
    fn an_interface_without_a_clock_has_none() {
        if !lab::network::require_sound_kernel("an_interface_without_a_clock_has_none") {
            return;
        }
        assert!(Phc::of_interface("lo").unwrap().is_none());
        assert!(Phc::of_interface("no-such-interface").unwrap().is_none());
    }
}
