//! Files that others read while they are written: always whole, replaced in one step.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use venue::live_report::LiveReport;

/// Writes JSON beside the file, and puts it in the file's place.
pub(super) fn write_atomically(path: &Path, content: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(content)?;
    json.push(b'\n');
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, json).with_context(|| beside.display().to_string())?;
    std::fs::rename(&beside, path).with_context(|| path.display().to_string())
}

/// A report that a thread of its own writes: a slow disk does not hold up the exchange.
pub(super) struct ReportFile {
    path: PathBuf,
    reports: SyncSender<LiveReport>,
    writer: JoinHandle<()>,
}

impl ReportFile {
    pub(super) fn start(path: &Path) -> Result<ReportFile> {
        // One waits while one is written; a third is a sign of a slow disk, and the next is as good.
        let (reports, to_write): (_, Receiver<LiveReport>) = sync_channel(1);
        let path = path.to_owned();
        let writer = std::thread::Builder::new().name("report".to_owned()).spawn({
            let path = path.clone();
            move || {
                for report in to_write {
                    if let Err(error) = write_atomically(&path, &report) {
                        eprintln!("feedplane: the report is not written: {error:#}");
                    }
                }
            }
        })?;
        Ok(ReportFile { path, reports, writer })
    }

    /// Has it written if the one before was.
    pub(super) fn offer(&self, report: LiveReport) {
        // Full: the next one comes in a second.
        let _ = self.reports.try_send(report);
    }

    /// Writes the last one.
    pub(super) fn finish(self, report: &LiveReport) -> Result<()> {
        drop(self.reports);
        // It does not panic, and if it did, the last report would still be written.
        let _ = self.writer.join();
        write_atomically(&self.path, report)
    }
}
