//! Writing a journal: records gather, a commit writes and syncs them as one batch.
//!
//! A disk that takes no more (full, say) is tried again: what was written of the batch is cut off, the records stay in
//! memory, in order. After a sync that failed nobody knows what is on disk, so nothing is written to the file any more; the next
//! owner reads what is there.

use super::folder::tokens;
use super::frame::add;
use super::record::encode_entry;
use super::{BACKLOG_BYTES_MAX, JournalError};
use crate::orders::Input;
use bus::Report;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Time between two attempts at a disk that takes nothing.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Two changes of a folder within one tick of the kernel's clock have the same time: so long it is looked at again.
const FOLDER_SETTLES: Duration = Duration::from_secs(1);

/// Whether what happens is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalState {
    /// All that was committed.
    Good,
    /// Not since: it is tried again.
    Waiting {
        /// Why.
        why: String,
    },
    /// Not since, and never again in this file.
    Dead {
        /// Why.
        why: String,
    },
}

/// The journal of this owner.
pub struct Journal {
    file: File,
    folder: PathBuf,
    path: PathBuf,
    token: u64,
    /// What is on disk.
    length: u64,
    durable: Arc<AtomicU64>,
    buffer: Vec<u8>,
    state: JournalState,
    tried: Option<Instant>,
    /// The folder's time when it was last listed, if nothing can have changed since without changing it.
    listed: Option<(i64, i64)>,
}

impl Journal {
    pub(super) fn new(file: File, folder: PathBuf, path: PathBuf, token: u64, length: u64) -> Journal {
        Journal {
            file,
            folder,
            path,
            token,
            length,
            durable: Arc::new(AtomicU64::new(length)),
            buffer: Vec::new(),
            state: JournalState::Good,
            tried: None,
            listed: None,
        }
    }

    /// Removes the file of an owner that has done nothing yet.
    pub fn take_back(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::error!(path = %self.path.display(), %error, "cannot be taken back; start the gateway again");
        }
    }

    /// Adds a record to what the next commit writes.
    pub fn append(&mut self, time_ns: u64, input: &Input, reports: &[(u16, Report)]) {
        if matches!(self.state, JournalState::Dead { .. }) {
            return;
        }
        if self.buffer.len() > BACKLOG_BYTES_MAX {
            self.die(JournalError::BacklogFull.to_string());
            return;
        }
        add(&mut self.buffer, self.length, |out| encode_entry(time_ns, input, reports, out));
    }

    /// Writes what was appended and waits until it is on disk.
    ///
    /// # Errors
    /// When it is not. What was appended is kept for the next commit unless the journal is dead.
    pub fn commit(&mut self) -> Result<(), JournalError> {
        if let JournalState::Dead { why } = &self.state {
            return Err(self.error(io::Error::other(why.clone())));
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let JournalState::Waiting { why } = &self.state
            && self.tried.is_some_and(|tried| tried.elapsed() < TRY_AGAIN)
        {
            return Err(self.error(io::Error::other(why.clone())));
        }
        self.tried = Some(Instant::now());
        if let Err(error) = self.file.write_all_at(&self.buffer, self.length) {
            self.state = JournalState::Waiting { why: error.to_string() };
            if let Err(error) = self.file.set_len(self.length) {
                self.die(error.to_string());
            }
            return Err(self.error(error));
        }
        if let Err(error) = self.file.sync_data() {
            self.die(error.to_string());
            return Err(self.error(error));
        }
        self.length += self.buffer.len() as u64;
        self.durable.store(self.length, Ordering::Release);
        self.buffer.clear();
        self.state = JournalState::Good;
        Ok(())
    }

    /// Whether something waits to be committed.
    pub fn is_dirty(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether all that was committed is on disk.
    pub fn state(&self) -> &JournalState {
        &self.state
    }

    /// Its owner.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The day's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many bytes are on disk.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// How many bytes are on disk, for whoever reads beside.
    pub fn durable(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.durable)
    }

    /// Whether a later owner has begun a file: then this one's time is over. Costs one look at the folder's time.
    ///
    /// # Errors
    /// When the folder cannot be looked at.
    pub fn is_superseded(&mut self) -> Result<bool, JournalError> {
        let about = std::fs::metadata(&self.folder)
            .map_err(|source| JournalError::Io { path: self.folder.clone(), source })?;
        let time = (about.mtime(), about.mtime_nsec());
        if self.listed == Some(time) {
            return Ok(false);
        }
        let newest = tokens(&self.folder)?.last().copied();
        let settled = about.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        self.listed = settled.filter(|age| *age > FOLDER_SETTLES).map(|_| time);
        Ok(newest.is_some_and(|newest| newest > self.token))
    }

    fn die(&mut self, why: String) {
        self.state = JournalState::Dead { why };
        self.buffer = Vec::new();
    }

    fn error(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }
}
