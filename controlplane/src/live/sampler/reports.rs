//! The reports of processes, as they stand in Redis.

use crate::live::link::{BusError, BusLink};
use bus::control::{ProcessReport, SERVICES};
use bus::names::processes_key;
use metrics::counter;

/// Reports of a service that are looked at; a fleet has a few.
const REPORTS_MAX: usize = 256;
/// An older report is of a process that is gone, ns: it is shown as gone for so long.
pub(super) const FORGOTTEN_NS: u64 = 60_000_000_000;

/// What was found in one look.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) reports: Vec<ProcessReport>,
    /// Reports that could not be read, or had another's name.
    pub(super) refused: u64,
    pub(super) used_memory_bytes: u64,
}

/// Every report that is not forgotten.
pub(super) async fn look(link: &BusLink, now_ns: u64) -> Result<Reports, BusError> {
    let mut ask = redis::pipe();
    for service in SERVICES {
        ask.cmd("HSCAN").arg(processes_key(service)).arg(0).arg("COUNT").arg(REPORTS_MAX);
    }
    ask.cmd("INFO").arg("memory");
    // A key that holds something else is no report, and hides nobody else's.
    ask.ignore_errors();
    let mut answers: Vec<redis::Value> = link.ask_all(&ask).await?;
    let memory = answers.pop().and_then(|info| redis::from_redis_value::<String>(info).ok());
    let mut found =
        Reports { used_memory_bytes: used_memory(&memory.unwrap_or_default()), ..Reports::default() };
    for (service, answer) in SERVICES.into_iter().zip(answers) {
        let Ok((_, fields)) = redis::from_redis_value::<(u64, Vec<(Vec<u8>, Vec<u8>)>)>(answer) else {
            found.refuse();
            continue;
        };
        for (member, report) in fields.into_iter().take(REPORTS_MAX) {
            match ProcessReport::parse(&report) {
                Ok(report) if report.service == service && report.member.as_bytes() == member => {
                    if now_ns.saturating_sub(report.time_ns) < FORGOTTEN_NS {
                        found.reports.push(report);
                    }
                }
                Ok(_) | Err(_) => found.refuse(),
            }
        }
    }
    found.reports.sort_by(|a, b| (&a.service, &a.member).cmp(&(&b.service, &b.member)));
    Ok(found)
}

impl Reports {
    fn refuse(&mut self) {
        self.refused += 1;
        counter!("feedplane_controlplane_refused_entries_total", "stream" => "processes").increment(1);
    }
}

fn used_memory(info: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}
