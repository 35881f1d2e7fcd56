//! Clocks: hardware clocks of the interfaces, and whether the system's is in step with UTC.

use super::finding::Finding;
use super::{Demands, Verdict, read};
use dataplane::clock::Phc;

/// The most that the kernel says its clock may be off, µs, before ages and stamps are doubtful.
const ERROR_US_MAX: i64 = 100_000;

pub(super) fn findings(demands: &Demands) -> Vec<Finding> {
    let mut findings = vec![devices(), system_clock()];
    findings.extend(demands.interfaces.iter().filter_map(|interface| offset(interface)));
    findings
}

fn devices() -> Finding {
    let entries = std::fs::read_dir("/sys/class/ptp").into_iter().flatten().flatten();
    let named = |entry: std::fs::DirEntry| {
        let device = entry.file_name().to_string_lossy().into_owned();
        let name = read(&format!("/sys/class/ptp/{device}/clock_name")).unwrap_or_default();
        format!("/dev/{device} ({name})")
    };
    let mut devices: Vec<String> = entries.map(named).collect();
    devices.sort();
    if devices.is_empty() {
        return Finding::bad(
            Verdict::Warning,
            "PTP clocks",
            "none: arrival times are the kernel's, and as good as the system clock",
            "use NICs with a hardware clock where times must be better than a few µs",
        );
    }
    Finding::ok("PTP clocks", devices.join(", "))
}

/// What `adjtimex` says; it changes nothing here.
fn system_clock() -> Finding {
    // SAFETY: the structure is plain data, for which zeroes ask for nothing to be changed; the kernel fills it in.
    let (state, time) = unsafe {
        let mut time: libc::timex = std::mem::zeroed();
        let state = libc::adjtimex(&raw mut time);
        (state, time)
    };
    judge(state, time.status, time.maxerror)
}

fn judge(state: i32, status: i32, error_us: i64) -> Finding {
    const TIME_ERROR: i32 = 5;
    const STA_UNSYNC: i32 = 0x40;
    let todo = "run ptp4l and phc2sys, or chrony, and look whether they reach their source";
    if state < 0 || state == TIME_ERROR || status & STA_UNSYNC != 0 {
        let told = "nothing keeps it in step with UTC: every tick says so, and ages may be wrong";
        return Finding::bad(Verdict::Warning, "system clock", told, todo);
    }
    let told = format!("in step with UTC, off by {error_us} µs at most");
    let verdict = if error_us > ERROR_US_MAX { Verdict::Warning } else { Verdict::Ok };
    Finding::bad(verdict, "system clock", told, todo)
}

/// How the hardware clock of an interface stands; nothing when it has none, which the interface's own line says.
fn offset(interface: &str) -> Option<Finding> {
    let what = format!("clock of {interface}");
    let told = match Phc::of_interface(interface) {
        Ok(None) => return None,
        Ok(Some(phc)) => match phc.minus_utc() {
            Ok(offset) => {
                return Some(Finding::ok(
                    &what,
                    format!("{}: {} ns from UTC", phc.path().display(), offset.ns),
                ));
            }
            Err(error) => format!("{} does not answer: {error}", phc.path().display()),
        },
        Err(error) => error.to_string(),
    };
    let todo =
        "let the process open it (container: mount /dev/ptp*); arrival times are the kernel's until then";
    Some(Finding::bad(Verdict::Warning, &what, told, todo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_is_a_warning() {
        assert_eq!(judge(0, 0, 500).verdict, Verdict::Ok);
        assert_eq!(judge(5, 0, 500).verdict, Verdict::Warning);
        assert_eq!(judge(0, 0x40, 500).verdict, Verdict::Warning);
        assert_eq!(judge(0, 0, 16_000_000).verdict, Verdict::Warning);
        assert_eq!(judge(-1, 0, 0).verdict, Verdict::Warning);
    }
}
