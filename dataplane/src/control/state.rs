//! The state folder: the last version of each document that was accepted, so that a start without a control plane begins
//! with it.
//!
//! A file is replaced whole: written beside the old one and synced before the change is made, renamed after it. So a
//! process that dies at any moment leaves the old version or the new one, and a version that was answered with `ok` is
//! there after a power cut. The folder belongs to one process, which holds its lock.

use bus::Sha256Sum;
use bus::config::DOCUMENT_BYTES_MAX;
use bus::link::LinkService;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Largest file, bytes: the largest document and what stands around it.
const FILE_BYTES_MAX: u64 = DOCUMENT_BYTES_MAX as u64 + 4_096;

/// A version as it is kept: the document's bytes are those that its checksum is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its version, from 1.
    pub version: u64,
    /// Of the document's bytes.
    pub sha256: Sha256Sum,
    /// JSON.
    pub document: Box<RawValue>,
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder cannot be made or opened.
    #[error("the state folder {} cannot be used: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has it.
    #[error("the state folder {} is another data plane's, which runs; give each its own", .0.display())]
    Locked(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file holds no version.
    #[error("{} holds no version of a document: {why}; remove it", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The folder, held.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    /// Open while the folder is ours.
    _lock: File,
}

impl State {
    /// Takes the folder, and makes it when it is not there.
    ///
    /// # Errors
    /// [`StateError::Locked`] when another process has it, [`StateError::Folder`].
    pub fn open(folder: &Path) -> Result<State, StateError> {
        let unusable = |error| StateError::Folder { folder: folder.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let lock = options.open(folder.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(State { folder: folder.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StateError::Locked(folder.to_owned())),
            Err(std::fs::TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// The version of a document that was accepted last.
    ///
    /// # Errors
    /// [`StateError::Damaged`] when the file is not as it was written.
    pub fn read(&self, service: LinkService) -> Result<Option<Kept>, StateError> {
        let file = self.file(service);
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::File { file, error }),
            Ok(_) => {}
        }
        let damaged = |why: String| StateError::Damaged { file: file.clone(), why };
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(damaged(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if Sha256Sum::of(kept.document.get().as_bytes()) != kept.sha256 {
            return Err(damaged("its checksum is another".into()));
        }
        Ok(Some(kept))
    }

    /// Writes a version beside the one that is kept. It takes its place by [`Staged::commit`], and is gone without.
    ///
    /// # Errors
    /// [`StateError::File`]: the disk is full, for one. What is kept is untouched.
    pub fn stage(&self, service: LinkService, kept: &Kept) -> Result<Staged, StateError> {
        let beside = self.folder.join(format!(".{service}.json.new"));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&serde_json::to_vec(kept).map_err(io::Error::other)?)?;
            file.sync_all()
        };
        match write() {
            Ok(()) => Ok(Staged { beside, file: self.file(service), folder: self.folder.clone() }),
            Err(error) => {
                let _ = std::fs::remove_file(&beside);
                Err(StateError::File { file: beside, error })
            }
        }
    }

    fn file(&self, service: LinkService) -> PathBuf {
        self.folder.join(format!("{service}.json"))
    }
}

/// A version that is written and not kept yet.
#[derive(Debug)]
pub struct Staged {
    beside: PathBuf,
    file: PathBuf,
    folder: PathBuf,
}

impl Staged {
    /// Puts it in the place of the one that was kept.
    ///
    /// # Errors
    /// [`StateError::File`]: which of the two is there after a power cut is not known then.
    pub fn commit(self) -> Result<(), StateError> {
        std::fs::rename(&self.beside, &self.file)
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(|error| StateError::File { file: self.file.clone(), error })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Not there any more after a commit.
        let _ = std::fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(version: u64, document: &str) -> Kept {
        let document = RawValue::from_string(document.to_owned()).unwrap();
        Kept { version, sha256: Sha256Sum::of(document.get().as_bytes()), document }
    }

    #[test]
    fn a_version_is_there_once_it_was_committed_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("a/b")).unwrap();
        assert!(state.read(LinkService::Feeds).unwrap().is_none());
        let first = state.stage(LinkService::Feeds, &kept(1, "{ \"a\" : 1.0 }")).unwrap();
        assert!(state.read(LinkService::Feeds).unwrap().is_none());
        first.commit().unwrap();
        drop(state.stage(LinkService::Feeds, &kept(2, "{}")).unwrap());
        let read = state.read(LinkService::Feeds).unwrap().unwrap();
        assert_eq!((read.version, read.document.get()), (1, "{ \"a\" : 1.0 }"));
        assert!(state.read(LinkService::Dataplane).unwrap().is_none());
        let names = std::fs::read_dir(folder.path().join("a/b")).unwrap().count();
        assert_eq!(names, 2, "the lock and one document");
    }

    #[test]
    fn the_folder_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let held = State::open(folder.path()).unwrap();
        let second = State::open(folder.path()).unwrap_err();
        assert!(matches!(second, StateError::Locked(_)), "{second}");
        drop(held);
        State::open(folder.path()).unwrap();
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let whole = serde_json::to_string(&kept(7, "{\"feeds\":[]}")).unwrap();
        let cases = [
            String::new(),
            "{}".to_owned(),
            whole[..whole.len() - 1].to_owned(),
            whole.replace("feeds", "feedz"),
            whole.replace("\"version\":7", "\"version\":-7"),
            format!("{whole} x"),
            "x".repeat(FILE_BYTES_MAX as usize + 1),
        ];
        for text in cases {
            std::fs::write(folder.path().join("feeds.json"), &text).unwrap();
            let error = state.read(LinkService::Feeds).unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        }
        std::fs::write(folder.path().join("feeds.json"), whole).unwrap();
        assert_eq!(state.read(LinkService::Feeds).unwrap().unwrap().version, 7);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_said_and_leaves_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        state.stage(LinkService::Feeds, &kept(1, "{}")).unwrap().commit().unwrap();
        // A folder in the place of the file that is written stands for any disk that refuses.
        std::fs::create_dir(folder.path().join(".feeds.json.new")).unwrap();
        let error = state.stage(LinkService::Feeds, &kept(2, "{}")).unwrap_err();
        assert!(matches!(error, StateError::File { .. }), "{error}");
        assert_eq!(state.read(LinkService::Feeds).unwrap().unwrap().version, 1);
    }
}
