//! The files of a run: written beside their names, and moved there together when it is over.

use super::progress::Shown;
use anyhow::{Context, Result};
use backtest::market::Told;
use backtest::report::Trail;
use backtest::{Progress, Watch, lines};
use bus::{Instruction, Score};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a file is called until the run is over.
const UNFINISHED: &str = ".unfinished";

/// The files of one run. What is not finished is removed.
pub(super) struct Files {
    folder: PathBuf,
    names: Vec<&'static str>,
    lines: Vec<BufWriter<File>>,
    failure: Option<anyhow::Error>,
}

/// Index in `lines` of each file of lines.
const LINES: [&str; 3] = ["instructions.jsonl", "reports.jsonl", "scores.jsonl"];

impl Files {
    /// Begins the files of lines.
    pub(super) fn create(folder: &Path) -> Result<Files> {
        let mut files = Files::without_lines(folder);
        for name in LINES {
            let path = files.unfinished(name);
            files.names.push(name);
            let file = File::create(&path).with_context(|| path.display().to_string())?;
            files.lines.push(BufWriter::new(file));
        }
        Ok(files)
    }

    /// No file yet.
    pub(super) fn without_lines(folder: &Path) -> Files {
        Files { folder: folder.to_owned(), names: Vec::new(), lines: Vec::new(), failure: None }
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{UNFINISHED}"))
    }

    fn line(&mut self, which: usize, line: &str) {
        if self.failure.is_none()
            && let Err(error) = self.lines[which].write_all(line.as_bytes())
        {
            let path = self.folder.join(LINES[which]);
            self.failure = Some(anyhow::Error::new(error).context(path.display().to_string()));
        }
    }

    /// Writes a whole file.
    pub(super) fn write(&mut self, name: &'static str, bytes: &[u8]) -> Result<()> {
        let path = self.unfinished(name);
        self.names.push(name);
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())
    }

    /// The run is over: the files get their names.
    pub(super) fn finish(mut self) -> Result<()> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        for mut lines in self.lines.drain(..) {
            lines.flush().with_context(|| self.folder.display().to_string())?;
        }
        for name in std::mem::take(&mut self.names) {
            let (from, to) = (self.unfinished(name), self.folder.join(name));
            std::fs::rename(&from, &to).with_context(|| to.display().to_string())?;
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for name in &self.names {
            // It may be gone; nobody takes it for a result.
            let _ = std::fs::remove_file(self.unfinished(name));
        }
    }
}

/// Writes lines, shows the progress, and stops when asked.
pub(super) struct Watcher<'a> {
    pub(super) files: &'a mut Files,
    pub(super) shown: Shown,
    pub(super) trail: Trail,
    pub(super) stop: Arc<AtomicBool>,
}

impl Watch for Watcher<'_> {
    fn progress(&mut self, progress: &Progress) -> bool {
        self.shown.ticks(progress);
        !self.stop.load(Ordering::Relaxed) && self.files.failure.is_none()
    }

    fn instruction(&mut self, instruction: &Instruction) {
        self.files.line(0, &lines::instruction(instruction));
    }

    fn report(&mut self, told: &Told) {
        self.files.line(1, &lines::report(told));
        self.trail.report(told);
    }

    fn score(&mut self, score: &Score) {
        self.files.line(2, &lines::score(score));
    }
}
