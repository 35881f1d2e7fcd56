//! The folder of a session's journals: reading a day back, and beginning a file.

use super::frame::{Ending, Frames, add};
use super::{Begin, Extent, Journal, JournalError, Record};
use bus::Report;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// `<journal>/<venue>`.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// What a day's files hold.
#[derive(Clone, PartialEq, Debug)]
pub struct DayRead {
    /// The head of the newest file.
    pub newest: Begin,
    /// The files, oldest owner first, as far as they count.
    pub extents: Vec<Extent>,
    /// Bytes of a write that did not come to its end, behind what counts.
    pub torn: u64,
    /// Files that do not count: begun by owners that were not owners any more.
    pub ignored: Vec<PathBuf>,
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { path, source }
}

fn damaged(path: &Path, offset: u64, why: impl ToString) -> JournalError {
    JournalError::Damaged { path: path.to_owned(), offset, why: why.to_string() }
}

/// Makes a folder and sees to it that it is found again after a power failure.
fn make_folder(path: &Path) -> Result<(), JournalError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io_error(path)(error)),
        _ => {}
    }
    sync_folder(parent.unwrap_or(Path::new(".")))
}

fn sync_folder(path: &Path) -> Result<(), JournalError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error(path))
}

impl Folder {
    /// The folder of a session. Nothing is made yet.
    pub fn new(journal: &Path, venue: &str) -> Folder {
        Folder { path: journal.join(venue) }
    }

    /// A day's folder.
    pub fn day(&self, day: &str) -> PathBuf {
        self.path.join(day)
    }

    /// The newest day up to this one that has files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest_day(&self, up_to: &str) -> Result<Option<String>, JournalError> {
        if !self.path.is_dir() {
            return Ok(None);
        }
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io_error(&self.path))? {
            let name = entry.map_err(io_error(&self.path))?.file_name();
            days.extend(name.into_string().ok().filter(|day| is_day(day) && day.as_str() <= up_to));
        }
        days.sort_unstable();
        while let Some(day) = days.pop() {
            if !tokens(&self.day(&day))?.is_empty() {
                return Ok(Some(day));
            }
        }
        Ok(None)
    }

    /// Reads a day back: every record that counts, in order. Nothing when there is no file of it.
    ///
    /// # Errors
    /// When a file cannot be read, or what counts is not there as it was written.
    pub fn read_day(
        &self,
        day: &str,
        mut visit: impl FnMut(Record) -> Result<(), String>,
    ) -> Result<Option<DayRead>, JournalError> {
        let folder = self.day(day);
        let tokens = tokens(&folder)?;
        let Some(&newest) = tokens.last() else { return Ok(None) };
        let begin = read_begin(&folder, newest)?;
        for extent in &begin.before {
            read_file(&folder, extent.token, Some(extent.bytes), &mut visit)?;
        }
        let (bytes, torn) = read_file(&folder, newest, None, &mut visit)?;
        let ignored = tokens
            .iter()
            .filter(|token| **token != newest && !begin.before.iter().any(|extent| extent.token == **token));
        Ok(Some(DayRead {
            ignored: ignored.map(|token| file_path(&folder, *token)).collect(),
            extents: begin.before.iter().copied().chain([Extent { token: newest, bytes }]).collect(),
            newest: begin,
            torn,
        }))
    }

    /// Begins an owner's file: it is on disk when this returns.
    ///
    /// # Errors
    /// When another owner with the same or a later lease has a file, or the disk fails.
    pub fn begin(&self, begin: &Begin) -> Result<Journal, JournalError> {
        let folder = self.day(&begin.day);
        make_folder(&folder)?;
        refuse_newer(&folder, begin.token)?;
        let path = file_path(&folder, begin.token);
        let part = path.with_extension("part");
        let mut bytes = Vec::new();
        add(&mut bytes, 0, |out| Record::Begin(Box::new(begin.clone())).encode(out));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&part)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            // Fails when there is a file of that name, unlike a renaming.
            fs::hard_link(&part, &path)?;
            Ok(file)
        })();
        let _ = fs::remove_file(&part);
        let file = written.map_err(io_error(&path))?;
        sync_folder(&folder)?;
        // Whoever began meanwhile with a later lease may have read the folder before this file was there.
        refuse_newer(&folder, begin.token)?;
        Ok(Journal::new(file, folder, path, begin.token, bytes.len() as u64))
    }
}

fn refuse_newer(folder: &Path, token: u64) -> Result<(), JournalError> {
    match tokens(folder)?.last() {
        Some(&newest) if newest > token => {
            Err(JournalError::Newer { path: file_path(folder, newest), token })
        }
        _ => Ok(()),
    }
}

fn is_day(name: &str) -> bool {
    name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

pub(super) fn file_path(folder: &Path, token: u64) -> PathBuf {
    folder.join(format!("{token:020}.journal"))
}

/// The tokens of a day's files, in order.
pub(super) fn tokens(folder: &Path) -> Result<Vec<u64>, JournalError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut tokens = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        if path.extension() == Some(OsStr::new("journal")) {
            let token = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok());
            tokens.push(token.ok_or_else(|| damaged(&path, 0, "its name is no token"))?);
        }
    }
    tokens.sort_unstable();
    Ok(tokens)
}

fn open(folder: &Path, token: u64, bytes: Option<u64>) -> Result<(PathBuf, Frames), JournalError> {
    let path = file_path(folder, token);
    let file = File::open(&path).map_err(io_error(&path))?;
    let length = file.metadata().map_err(io_error(&path))?.len();
    let end = bytes.unwrap_or(length);
    if length < end {
        return Err(damaged(
            &path,
            length,
            format!("it ends there, and had {end} bytes when it was last read"),
        ));
    }
    Ok((path, Frames::new(file, end)))
}

fn read_begin(folder: &Path, token: u64) -> Result<Begin, JournalError> {
    let (path, mut frames) = open(folder, token, None)?;
    let Ok(body) = frames.next().map_err(io_error(&path))? else {
        return Err(damaged(&path, 0, "its head cannot be read"));
    };
    match Record::decode(body) {
        Ok(Record::Begin(begin)) => Ok(*begin),
        Ok(Record::Entry { .. }) => Err(damaged(&path, 0, "it has no head")),
        Err(error) => Err(damaged(&path, 0, error)),
    }
}

/// Reads a file, up to its length when that is known. Gives what counts of it and what does not.
fn read_file(
    folder: &Path,
    token: u64,
    bytes: Option<u64>,
    visit: &mut impl FnMut(Record) -> Result<(), String>,
) -> Result<(u64, u64), JournalError> {
    let (path, mut frames) = open(folder, token, bytes)?;
    loop {
        let at = frames.at;
        match frames.next().map_err(io_error(&path))? {
            Ok(body) => {
                let record = Record::decode(body).map_err(|error| damaged(&path, at, error))?;
                visit(record).map_err(|why| damaged(&path, at, why))?;
            }
            Err(Ending::Clean) => return Ok((at, 0)),
            Err(Ending::Torn(torn)) if bytes.is_none() => return Ok((at, torn)),
            Err(Ending::Torn(_)) => {
                return Err(damaged(&path, at, "a frame that was read before does not fit its checksum"));
            }
            Err(Ending::Damaged(why)) => return Err(damaged(&path, at, why)),
        }
    }
}

/// At most `most` reports of a shard whose numbers are above `after`, from the files of a day as far as they count.
///
/// # Errors
/// As [`Folder::read_day`].
pub fn read_reports(
    day: &Path,
    extents: &[Extent],
    shard: u16,
    after: u64,
    most: usize,
) -> Result<Vec<Report>, JournalError> {
    let mut found = Vec::new();
    for extent in extents {
        let (path, mut frames) = open(day, extent.token, Some(extent.bytes))?;
        while found.len() < most {
            let at = frames.at;
            match frames.next().map_err(io_error(&path))? {
                Ok(body) => {
                    if let Record::Entry { reports, .. } =
                        Record::decode(body).map_err(|error| damaged(&path, at, error))?
                    {
                        let wanted =
                            reports.into_iter().filter(|(of, report)| *of == shard && report.number > after);
                        found.extend(wanted.map(|(_, report)| report));
                    }
                }
                Err(Ending::Clean) => break,
                Err(_) => return Err(damaged(&path, at, "what was read before cannot be read")),
            }
        }
    }
    found.truncate(most);
    Ok(found)
}
