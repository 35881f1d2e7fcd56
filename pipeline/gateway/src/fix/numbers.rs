//! The numbers of the messages that we send (MsgSeqNum, 34), on disk: a number is never used twice in a day, whoever
//! owns the session and whenever it is killed.
//!
//! Numbers are reserved in blocks: the end of a block is on the disk before its first number is used, so that
//! most messages wait for no disk. After a kill the rest of the block is not used; the venue sees a hole, asks, and
//! is told that nothing was in it (SequenceReset-GapFill).
//!
//! ```text
//!   <day>/fix.1   64 0        reserved up to 64, no logon was answered yet
//!                 64 1        a logon was answered: the day's numbers have begun
//!                 128 1       reserved up to 128
//!   <day>/fix.2   192 1       the next owner goes on behind all that the one before had reserved
//! ```
//!
//! Each owner appends to a file of its own; the one with the highest name counts, its last whole line. An owner that
//! finds a newer file is an owner no more, and gets no number.
//!
//! What the venue sends needs no store here: the gateway's journal says how far it was taken in, and what is told
//! again is known again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Numbers reserved at once: the largest hole after a kill, and the messages between two waits for the disk.
const BLOCK: u64 = 256;

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NumbersError {
    /// The file system refuses.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// A line that this gateway did not write.
    #[error(
        "{path}, line {line}: is not `<reserved> <0|1>`; find the last number that the venue had from us, and write it there"
    )]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Another gateway has opened the session.
    #[error("{0} is newer: another gateway has the session")]
    Superseded(PathBuf),
}

/// The numbers of one day, held by one owner.
#[derive(Debug)]
pub struct Numbers {
    folder: PathBuf,
    generation: u64,
    file: File,
    next: u64,
    reserved: u64,
    begun: bool,
}

impl Numbers {
    /// Takes over the numbers of the day in this folder.
    ///
    /// # Errors
    /// When what is there cannot be read, or nothing can be written.
    pub fn open(folder: &Path) -> Result<Numbers, NumbersError> {
        let newest = newest(folder)?;
        let (reserved, begun) = match newest {
            0 => (0, false),
            generation => last_line(&name(folder, generation))?,
        };
        let (generation, path) = (newest + 1, name(folder, newest + 1));
        let file = create(folder, &path, reserved + BLOCK, begun)
            .map_err(|error| NumbersError::File { path, error })?;
        let (next, reserved) = (reserved + 1, reserved + BLOCK);
        Ok(Numbers { folder: folder.to_path_buf(), generation, file, next, reserved, begun })
    }

    /// The number of the next message.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether a logon was ever answered with these numbers.
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Uses a number: it is on the disk that it is used.
    ///
    /// # Errors
    /// When that cannot be written, or another gateway has the session: then nothing may be sent.
    pub fn take(&mut self) -> Result<u64, NumbersError> {
        if self.next > self.reserved {
            self.reserve()?;
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    /// Reserves ahead when half of the block is used, so that a message seldom waits for it.
    ///
    /// # Errors
    /// As [`Numbers::take`].
    pub fn refill(&mut self) -> Result<(), NumbersError> {
        if self.next + BLOCK / 2 > self.reserved { self.reserve() } else { Ok(()) }
    }

    /// A logon was answered: from now on these numbers count at the venue.
    ///
    /// # Errors
    /// As [`Numbers::take`].
    pub fn begin(&mut self) -> Result<(), NumbersError> {
        if self.begun { Ok(()) } else { self.write(self.reserved, true) }
    }

    /// Begins again at 1: for a logon that asks the venue to begin again, too, while none was answered yet.
    pub fn restart(&mut self) {
        debug_assert!(!self.begun);
        self.next = 1;
    }

    /// Gives back what was reserved and not used, so that the next owner leaves no hole.
    ///
    /// # Errors
    /// As [`Numbers::take`].
    pub fn close(&mut self) -> Result<(), NumbersError> {
        self.write(self.next - 1, self.begun)
    }

    fn reserve(&mut self) -> Result<(), NumbersError> {
        self.write(self.next - 1 + BLOCK, self.begun)
    }

    fn write(&mut self, reserved: u64, begun: bool) -> Result<(), NumbersError> {
        let newest = newest(&self.folder)?;
        if newest > self.generation {
            return Err(NumbersError::Superseded(name(&self.folder, newest)));
        }
        let path = || name(&self.folder, self.generation);
        self.file
            .write_all(line(reserved, begun).as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| NumbersError::File { path: path(), error })?;
        (self.reserved, self.begun) = (reserved, begun);
        Ok(())
    }
}

/// A file that has its first line from the begin, also when the process is killed meanwhile. When somebody else opens in
/// the same moment, the name decides.
fn create(folder: &Path, path: &Path, reserved: u64, begun: bool) -> io::Result<File> {
    let draft = folder.join(format!(".fix.{}", std::process::id()));
    let mut file = OpenOptions::new().append(true).create(true).open(&draft)?;
    file.set_len(0)?;
    file.write_all(line(reserved, begun).as_bytes())?;
    file.sync_data()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    linked?;
    // The name, too, is to survive a loss of power.
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn line(reserved: u64, begun: bool) -> String {
    format!("{reserved} {}\n", u8::from(begun))
}

fn name(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("fix.{generation}"))
}

/// The highest of the files' names; 0 when there is none.
fn newest(folder: &Path) -> Result<u64, NumbersError> {
    let fails = |error| NumbersError::File { path: folder.to_path_buf(), error };
    let mut newest = 0;
    for entry in std::fs::read_dir(folder).map_err(fails)? {
        let name = entry.map_err(fails)?.file_name();
        let generation = name.to_str().and_then(|name| name.strip_prefix("fix.")?.parse().ok());
        newest = newest.max(generation.unwrap_or(0));
    }
    Ok(newest)
}

/// What the last whole line says. A line without its end was cut off by a crash: its numbers were never used.
fn last_line(path: &Path) -> Result<(u64, bool), NumbersError> {
    let text = std::fs::read(path).map_err(|error| NumbersError::File { path: path.to_path_buf(), error })?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(&[][..], |end| &text[..end]);
    let mut last = None;
    for (at, line) in whole.split(|&byte| byte == b'\n').enumerate() {
        let parsed = std::str::from_utf8(line).ok().and_then(|line| {
            let (reserved, begun) = line.split_once(' ')?;
            let begun = ["0", "1"].iter().position(|word| *word == begun)?;
            Some((reserved.parse().ok()?, begun == 1))
        });
        match parsed {
            Some(parsed) => last = Some(parsed),
            None => return Err(NumbersError::Line { path: path.to_path_buf(), line: at + 1 }),
        }
    }
    last.ok_or_else(|| NumbersError::Line { path: path.to_path_buf(), line: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(numbers: &mut Numbers, count: usize) -> Vec<u64> {
        (0..count).map(|_| numbers.take().unwrap()).collect()
    }

    #[test]
    fn numbers_rise_by_one_and_the_next_owner_never_repeats_one_whenever_the_first_is_killed() {
        for used in [0, 1, 2, 255, 256, 257, 1_000] {
            let folder = tempfile::tempdir().unwrap();
            let mut numbers = Numbers::open(folder.path()).unwrap();
            let used = take(&mut numbers, used);
            assert!(used.iter().copied().eq(1..=used.len() as u64));
            drop(numbers);
            let mut next = Numbers::open(folder.path()).unwrap();
            let first = next.take().unwrap();
            assert!(first > used.len() as u64, "{first} after {}", used.len());
            assert!(first <= used.len() as u64 + BLOCK + 1, "the hole has a bound: {first}");
        }
    }

    #[test]
    fn after_an_orderly_end_there_is_no_hole() {
        let folder = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::open(folder.path()).unwrap();
        take(&mut numbers, 300);
        numbers.begin().unwrap();
        numbers.close().unwrap();
        let mut next = Numbers::open(folder.path()).unwrap();
        assert!(next.begun());
        assert_eq!(next.take().unwrap(), 301);
    }

    #[test]
    fn an_owner_that_was_superseded_gets_no_more_than_its_block() {
        let folder = tempfile::tempdir().unwrap();
        let mut old = Numbers::open(folder.path()).unwrap();
        let mut new = Numbers::open(folder.path()).unwrap();
        let old_last = std::iter::from_fn(|| old.take().ok()).last().unwrap();
        assert!(matches!(old.take(), Err(NumbersError::Superseded(_))));
        assert!(matches!(old.close(), Err(NumbersError::Superseded(_))));
        assert!(new.take().unwrap() > old_last);
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_count_and_a_strange_one_stops() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fix.1"), "64 0\n64 1\n12").unwrap();
        let numbers = Numbers::open(folder.path()).unwrap();
        assert_eq!((numbers.next(), numbers.begun()), (65, true));
        for strange in ["64\n", "x 1\n", "64 2\n", "", "\n", "-1 0\n64 1\n"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("fix.1"), strange).unwrap();
            assert!(matches!(Numbers::open(folder.path()), Err(NumbersError::Line { .. })), "{strange:?}");
        }
    }
}
