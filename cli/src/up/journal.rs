//! A service's log: in a file of its own in the run folder, bounded, and with `--follow` on the screen with
//! the service's name before each line.
//!
//! Nobody who watches can hold a service up: the screen gets what it can take, and is told how much it
//! was spared.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A log larger than this is set aside, as `name.log.1`, and a new one begun: with it, twice as much is kept.
pub(super) const LOG_BYTES_MAX: u64 = 16 << 20;
/// A longer line is cut in pieces.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// Lines that wait for the screen.
const FOLLOWED_MAX: usize = 4_096;

/// The screen of `--follow`.
#[derive(Clone)]
pub(super) struct Follow {
    lines: SyncSender<String>,
    spared: Arc<AtomicU64>,
}

impl Follow {
    /// Starts the thread that prints; it ends with the last clone.
    pub(super) fn start(mut out: impl Write + Send + 'static) -> Result<Follow> {
        let (lines, waiting) = sync_channel::<String>(FOLLOWED_MAX);
        let spared = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&spared);
        std::thread::Builder::new().name("follow".into()).spawn(move || {
            for line in waiting {
                let spared = counted.swap(0, Ordering::Relaxed);
                let told =
                    if spared > 0 { format!("({spared} lines were not shown)\n") } else { String::new() };
                // The reader went away: nobody follows any more.
                if out.write_all(format!("{told}{line}\n").as_bytes()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Follow { lines, spared })
    }

    pub(super) fn line(&self, name: &str, line: &str) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(format!("{name:<10}| {line}")) {
            self.spared.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where one service's log goes.
#[derive(Clone)]
pub(super) struct Journal {
    name: String,
    path: PathBuf,
    follow: Option<Follow>,
    telling: Arc<Mutex<Telling>>,
}

/// What the log said of the run that ended, or is ending.
#[derive(Default)]
struct Telling {
    last: String,
    error: Option<String>,
}

impl Journal {
    pub(super) fn new(folder: &Path, name: &str, follow: Option<Follow>) -> Journal {
        let path = folder.join(format!("{name}.log"));
        Journal { name: name.to_owned(), path, follow, telling: Arc::default() }
    }

    /// Takes everything that a run of the service says, until its end.
    pub(super) fn pump(&self, pipe: PipeReader) -> Result<JoinHandle<()>> {
        *self.telling() = Telling::default();
        let mut file = BoundedFile::open(&self.path)?;
        let journal = self.clone();
        let pump = std::thread::Builder::new().name(format!("log-{}", self.name)).spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            loop {
                line.clear();
                match pipe.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                }
                if line.last() != Some(&b'\n') {
                    line.push(b'\n');
                }
                // A full disk costs the log, not the service.
                let _ = file.write(&line);
                journal.heard(&line);
            }
        })?;
        Ok(pump)
    }

    /// Passes a line on and remembers what may be the reason of the end.
    pub(super) fn heard(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if let Some(follow) = &self.follow {
            follow.line(&self.name, line);
        }
        let mut telling = self.telling();
        if let Some((_, error)) = line.split_once("ERROR ") {
            telling.error = Some(error.trim_start().to_owned());
        }
        line.clone_into(&mut telling.last);
    }

    /// The last error that the run logged, else its last line.
    pub(super) fn reason(&self) -> Option<String> {
        let telling = self.telling();
        telling.error.clone().or_else(|| (!telling.last.is_empty()).then(|| telling.last.clone()))
    }

    fn telling(&self) -> std::sync::MutexGuard<'_, Telling> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct BoundedFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl BoundedFile {
    fn open(path: &Path) -> Result<BoundedFile> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write the log {}", path.display()))?;
        let bytes = file.metadata()?.len();
        Ok(BoundedFile { path: path.to_owned(), file, bytes })
    }

    fn write(&mut self, line: &[u8]) -> Result<()> {
        if self.bytes + line.len() as u64 > LOG_BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = BoundedFile::open(&self.path)?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_the_part_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, vec![b'.'; LOG_BYTES_MAX as usize - 5]).unwrap();
        let mut file = BoundedFile::open(&path).unwrap();
        file.write(b"four\n").unwrap();
        file.write(b"more\n").unwrap();
        assert_eq!(std::fs::metadata(folder.path().join("x.log.1")).unwrap().len(), LOG_BYTES_MAX);
        assert_eq!(std::fs::read(&path).unwrap(), b"more\n");
    }

    #[test]
    fn endless_lines_and_bytes_that_are_no_text_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let journal = Journal::new(folder.path(), "x", None);
        let pump = journal.pump(reader).unwrap();
        writer.write_all(&vec![b'x'; 3 * LINE_BYTES_MAX as usize]).unwrap();
        writer.write_all(b"\n2026 ERROR  it is \xff broken\n\nbye").unwrap();
        drop(writer);
        pump.join().unwrap();
        assert_eq!(journal.reason().unwrap(), "it is \u{fffd} broken");
        let text = std::fs::read(folder.path().join("x.log")).unwrap();
        assert!(text.ends_with(b"broken\n\nbye\n"));
    }

    #[test]
    fn a_screen_that_takes_nothing_holds_nobody_up() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                // Until the test ends.
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (_stuck_until, ends) = std::sync::mpsc::channel();
        let follow = Follow::start(Stuck(ends)).unwrap();
        (0..FOLLOWED_MAX + 100).for_each(|_| follow.line("x", "line"));
        assert!(follow.spared.load(Ordering::Relaxed) >= 99);
    }
}
