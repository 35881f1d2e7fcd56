//! What a managed process says of itself in `processes:<service>`, once a second.

use crate::Sha256Sum;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Largest report, bytes of JSON. Whoever reads one passes over a larger one.
pub const PROCESS_REPORT_BYTES_MAX: usize = 8 << 10;
/// Longest `reason`, bytes; a longer one is cut.
pub const REASON_BYTES_MAX: usize = 2_048;
/// Longest name of a member, of a host and of a service, bytes.
pub const MEMBER_BYTES_MAX: usize = 256;
/// A process whose report is older is not counted on.
pub const PROCESS_STALE: Duration = Duration::from_secs(5);

/// What one process runs, or why it refused what it should run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessReport {
    /// `features`, `strategy`, `gateway`, `archiver`, `dataplane`.
    pub service: String,
    /// Its name among the processes of its service; the field of the hash.
    pub member: String,
    /// The machine's name.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The program's version.
    pub software: String,
    /// Whether it runs what it should.
    pub state: ProcessState,
    /// The version that it runs; 0 = its own file.
    pub version: u64,
    /// Of that version's document; none for its own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Sum>,
    /// The version that it should run and does not. None as well when what stands in Redis has no readable version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u64>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where its metrics and health are, as `127.0.0.1:9101`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// When it began, ns since the epoch, UTC.
    pub started_ns: u64,
    /// When it wrote this, ns since the epoch, UTC.
    pub time_ns: u64,
}

/// Whether a process runs what it should.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It does.
    Running,
    /// It refused what it should run, and goes on with what it had.
    Refused,
    /// What it should run differs in what only a start can change.
    RestartNeeded,
}

impl ProcessState {
    /// All of them.
    pub const ALL: [ProcessState; 3] =
        [ProcessState::Running, ProcessState::Refused, ProcessState::RestartNeeded];

    /// The word in the report.
    pub const fn word(self) -> &'static str {
        match self {
            ProcessState::Running => "running",
            ProcessState::Refused => "refused",
            ProcessState::RestartNeeded => "restart_needed",
        }
    }
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Why a report was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProcessReportError {
    /// Larger than [`PROCESS_REPORT_BYTES_MAX`].
    #[error("larger than {PROCESS_REPORT_BYTES_MAX} bytes")]
    TooLarge,
    /// No JSON of a report's shape.
    #[error("no report: {0}")]
    Shape(String),
    /// A text is too long.
    #[error("field `{0}` is too long")]
    Text(&'static str),
}

impl ProcessReport {
    /// Reads a report. Fields that this version does not know are passed over.
    ///
    /// # Errors
    /// The first thing that breaks the contract.
    pub fn parse(bytes: &[u8]) -> Result<ProcessReport, ProcessReportError> {
        if bytes.len() > PROCESS_REPORT_BYTES_MAX {
            return Err(ProcessReportError::TooLarge);
        }
        let report: ProcessReport =
            serde_json::from_slice(bytes).map_err(|error| ProcessReportError::Shape(error.to_string()))?;
        let texts = [
            ("service", Some(&report.service), MEMBER_BYTES_MAX),
            ("member", Some(&report.member), MEMBER_BYTES_MAX),
            ("host", Some(&report.host), MEMBER_BYTES_MAX),
            ("software", Some(&report.software), MEMBER_BYTES_MAX),
            ("health", report.health.as_ref(), MEMBER_BYTES_MAX),
            ("reason", report.reason.as_ref(), REASON_BYTES_MAX),
        ];
        let long = |(_, text, bytes_max): &(&str, Option<&String>, usize)| {
            text.is_some_and(|text| text.len() > *bytes_max)
        };
        let too_long = texts.into_iter().find(long).map(|(field, ..)| field);
        too_long.map_or(Ok(report), |field| Err(ProcessReportError::Text(field)))
    }

    /// The report as it stands in the hash. A reason that is too long is cut.
    pub fn to_json(&self) -> String {
        let mut report = self.clone();
        if let Some(reason) = &mut report.reason {
            cut(reason);
            // Escapes can make a text six times as long.
            while serde_json::to_string(reason).map_or(0, |text| text.len()) > REASON_BYTES_MAX * 2 {
                let half = reason.floor_char_boundary(reason.len() / 2);
                reason.truncate(half);
            }
        }
        // Strings and numbers under string keys: nothing that could fail.
        serde_json::to_string(&report).unwrap_or_default()
    }

    /// How old it is at `now_ns`; nothing for one from the future.
    pub fn age(&self, now_ns: u64) -> Duration {
        Duration::from_nanos(now_ns.saturating_sub(self.time_ns))
    }

    /// Whether it is young enough to be counted on, as [`PROCESS_STALE`] says.
    pub fn is_fresh(&self, now_ns: u64) -> bool {
        self.age(now_ns) <= PROCESS_STALE
    }

    /// Whether it runs this version of this document.
    pub fn runs(&self, version: u64, sha256: Sha256Sum) -> bool {
        self.state == ProcessState::Running && self.version == version && self.sha256 == Some(sha256)
    }
}

fn cut(reason: &mut String) {
    if reason.len() > REASON_BYTES_MAX {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX - '…'.len_utf8());
        reason.truncate(end);
        reason.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ProcessReport {
        ProcessReport {
            service: "features".into(),
            member: "host-1".into(),
            host: "host".into(),
            pid: 1,
            software: "0.1.0".into(),
            state: ProcessState::Refused,
            version: 3,
            sha256: Some(Sha256Sum::of(b"{}")),
            wanted: Some(4),
            reason: Some("sets[0].name: is empty".into()),
            health: Some("127.0.0.1:9101".into()),
            started_ns: 5,
            time_ns: 6_000_000_000,
        }
    }

    #[test]
    fn what_is_written_is_read_back_under_the_contracts_names() {
        let json = report().to_json();
        assert_eq!(ProcessReport::parse(json.as_bytes()), Ok(report()));
        for part in [r#""state":"refused""#, r#""version":3"#, r#""wanted":4"#, r#""time_ns":6000000000"#] {
            assert!(json.contains(part), "{json} lacks {part}");
        }
        let own = ProcessReport {
            state: ProcessState::Running,
            version: 0,
            sha256: None,
            wanted: None,
            reason: None,
            health: None,
            ..report()
        };
        assert!(!own.to_json().contains("wanted"));
        assert_eq!(ProcessReport::parse(own.to_json().as_bytes()), Ok(own));
        let later = json.replacen('{', "{\"later\": 1, ", 1);
        assert_eq!(ProcessReport::parse(later.as_bytes()), Ok(report()));
    }

    #[test]
    fn a_report_counts_for_five_seconds() {
        assert!(report().is_fresh(11_000_000_000));
        assert!(!report().is_fresh(11_000_000_001));
        assert!(report().is_fresh(0), "a clock that is behind does not make a process old");
        let running = ProcessReport { state: ProcessState::Running, ..report() };
        assert!(running.runs(3, Sha256Sum::of(b"{}")));
        assert!(!running.runs(3, Sha256Sum::of(b"{ }")) && !report().runs(3, Sha256Sum::of(b"{}")));
    }

    #[test]
    fn a_reason_of_any_length_fits() {
        for reason in ["é".repeat(100_000), "\u{1}".repeat(100_000)] {
            let json = ProcessReport { reason: Some(reason), ..report() }.to_json();
            let read = ProcessReport::parse(json.as_bytes()).unwrap();
            assert!(read.reason.is_some_and(|reason| reason.len() > 100));
        }
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert_eq!(ProcessReport::parse(&[b' '; 9_000]), Err(ProcessReportError::TooLarge));
        for bytes in [b"".as_slice(), b"{}", b"[]", b"\xff", br#"{"service": 1}"#] {
            assert!(matches!(ProcessReport::parse(bytes), Err(ProcessReportError::Shape(_))), "{bytes:?}");
        }
        let unknown = report().to_json().replace("refused", "unknown");
        assert!(matches!(ProcessReport::parse(unknown.as_bytes()), Err(ProcessReportError::Shape(_))));
        let long = ProcessReport { member: "x".repeat(300), ..report() };
        assert_eq!(ProcessReport::parse(long.to_json().as_bytes()), Err(ProcessReportError::Text("member")));
    }

    #[test]
    fn no_report_whatever_it_holds_panics() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let _ = ProcessReport::parse(bytes);
        });
    }
}
