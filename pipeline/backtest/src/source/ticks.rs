//! A file of ticks, 64 bytes each, one behind the other.

use super::{Definition, Position, Reader, SourceError};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use tick::Tick;
use zerocopy::{FromZeros, IntoBytes};

/// Ticks in a run: 256 KiB.
const RUN_TICKS: usize = 4_096;

/// Reads a file of ticks.
#[derive(Debug)]
pub struct TicksReader {
    path: PathBuf,
    file: File,
    bytes: u64,
    done: u64,
}

impl TicksReader {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read or is no whole number of ticks.
    pub fn open(path: &Path) -> Result<TicksReader, SourceError> {
        let at = || path.display().to_string();
        let unreadable = |error: std::io::Error| SourceError::new(at(), format!("cannot be read: {error}"));
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let over = bytes % Tick::SIZE as u64;
        if over != 0 {
            let what = format!(
                "has {bytes} bytes, {over} more than a whole number of ticks ({} bytes each); it is cut or no file of ticks",
                Tick::SIZE
            );
            return Err(SourceError::new(at(), what));
        }
        Ok(TicksReader { path: path.to_owned(), file, bytes, done: 0 })
    }
}

impl Reader for TicksReader {
    fn read(
        &mut self,
        ticks: &mut Vec<Tick>,
        _definitions: &mut VecDeque<Definition>,
    ) -> Result<bool, SourceError> {
        let left = (self.bytes - self.done) / Tick::SIZE as u64;
        let count = usize::try_from(left).unwrap_or(RUN_TICKS).min(RUN_TICKS);
        let from = ticks.len();
        ticks.resize(from + count, Tick::new_zeroed());
        self.file.read_exact(ticks[from..].as_mut_bytes()).map_err(|error| {
            let at = format!("{}, byte {}", self.path.display(), self.done);
            SourceError::new(at, format!("cannot be read: {error}"))
        })?;
        self.done += (count * Tick::SIZE) as u64;
        Ok(count > 0)
    }

    fn position(&self) -> Position {
        Position { done: self.done, total: Some(self.bytes) }
    }
}
