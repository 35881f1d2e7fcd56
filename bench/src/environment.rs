//! Where the figures were taken: they mean nothing without it.

use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine, the build and the moment of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Environment {
    /// Kernel release.
    pub kernel: String,
    /// Processor model, as the kernel names it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Whether the kernel says that it runs under a hypervisor.
    pub virtual_machine: bool,
    /// The compiler that built this.
    pub rustc: &'static str,
    /// `release`, or `debug` for a build whose figures mean nothing.
    pub build: &'static str,
    /// Revision of the source, with `+changes` when the tree differs from it. A program that is older than it says so.
    pub revision: String,
    /// Redis server version.
    pub redis: String,
    /// Python interpreter of the references.
    pub python: String,
    /// UTC, ISO 8601.
    pub date: String,
    /// Load over the last minute when the run began: above a few tenths, others were at work.
    pub load_before: f64,
}

impl Environment {
    /// Looks around. What cannot be found out is `unknown`.
    pub fn now() -> Environment {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let after_colon = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
        let field = |name: &str| cpuinfo.lines().find(|line| line.starts_with(name)).and_then(after_colon);
        Environment {
            kernel: read_line("/proc/sys/kernel/osrelease"),
            cpu: field("model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_machine: field("flags").is_some_and(|flags| flags.contains("hypervisor")),
            rustc: env!("BENCH_RUSTC"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            revision: revision(),
            redis: output("redis-server", &["--version"])
                .split_whitespace()
                .find_map(|word| word.strip_prefix("v=").map(str::to_owned))
                .unwrap_or_else(|| "unknown".to_owned()),
            python: crate::python::interpreter().map_or_else(
                || "none".to_owned(),
                |python| output(&python.to_string_lossy(), &["--version"]),
            ),
            date: utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            load_before: read_line("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(f64::NAN),
        }
    }
}

fn revision() -> String {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let committed_s: Option<u64> = output("git", &["log", "-1", "--format=%ct"]).parse().ok();
    let built = std::env::current_exe().and_then(fs::metadata).and_then(|about| about.modified());
    let built_s =
        built.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    if committed_s.is_some() && built_s < committed_s {
        format!("something older than {commit}")
    } else if changed && commit != "unknown" {
        format!("{commit}+changes")
    } else {
        commit
    }
}

fn read_line(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// `seconds` since the Unix epoch as a date and time, by the days-to-civil method (proleptic Gregorian).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_time_is_written_as_its_utc_date() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(4_102_444_799), "2099-12-31T23:59:59Z");
    }
}
