//! The journal of a day on a real disk: torn, damaged, with two owners, on a disk that is full.

#![allow(clippy::unwrap_used, missing_docs)] // A test may.

use bus::StreamId;
use gateway::journal::{Begin, DayRead, Folder, Journal, JournalError, JournalState, Record, read_reports};
use gateway::orders::{About, Book, Input};
use std::path::{Path, PathBuf};
use std::process::Command;

const DAY: &str = "2026-11-27";

fn begin(token: u64, read: Option<&DayRead>) -> Begin {
    Begin {
        venue: "sim".into(),
        day: DAY.into(),
        token,
        numbers: vec![0],
        base: vec![0],
        cursors: vec![StreamId::default()],
        before: read.map(|read| read.extents.clone()).unwrap_or_default(),
        ..Begin::default()
    }
}

/// Appends denials, each with a report, numbered from `first` on.
fn append(journal: &mut Journal, first: u64, count: u64) {
    let mut book = Book::of(&Begin { numbers: vec![first - 1], ..begin(1, None) }, 1);
    for n in first..first + count {
        let about = About { id: Some(format!("i{n}").parse().unwrap()), ..About::default() };
        let entry = StreamId { ms: n, seq: 0 };
        let input =
            Input::Denied { shard: 0, entry, about, reason: "too_old".into(), text: format!("number {n}") };
        let mut reports = Vec::new();
        book.apply(n, &input, &mut reports);
        journal.append(n, &input, &reports);
    }
}

fn read(folder: &Folder) -> Result<(Option<DayRead>, Vec<u64>), JournalError> {
    let mut numbers = Vec::new();
    let read = folder.read_day(DAY, |record| {
        if let Record::Entry { reports, .. } = record {
            numbers.extend(reports.iter().map(|(_, report)| report.number));
        }
        Ok(())
    })?;
    Ok((read, numbers))
}

fn file(folder: &Folder, token: u64) -> PathBuf {
    folder.day(DAY).join(format!("{token:020}.journal"))
}

#[test]
fn what_was_committed_is_read_back_in_the_order_of_the_owners() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), "sim");
    assert!(read(&folder).unwrap().0.is_none());
    let mut first = folder.begin(&begin(5, None)).unwrap();
    append(&mut first, 1, 3);
    first.commit().unwrap();
    let known = read(&folder).unwrap().0.unwrap();
    let mut second = folder.begin(&begin(9, Some(&known))).unwrap();
    append(&mut second, 4, 2);
    second.commit().unwrap();
    let (known, numbers) = read(&folder).unwrap();
    let known = known.unwrap();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(known.extents.iter().map(|extent| extent.token).collect::<Vec<_>>(), [5, 9]);
    let reports = read_reports(&folder.day(DAY), &known.extents, 0, 2, 2).unwrap();
    assert_eq!(reports.iter().map(|report| report.number).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(reports[0].text, "number 3");
    assert_eq!(folder.newest_day("2026-11-28").unwrap().as_deref(), Some(DAY));
    assert_eq!(folder.newest_day("2026-11-26").unwrap(), None);
}

#[test]
fn what_an_owner_that_was_asleep_appends_is_never_read() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), "sim");
    let mut asleep = folder.begin(&begin(5, None)).unwrap();
    append(&mut asleep, 1, 2);
    asleep.commit().unwrap();
    assert!(!asleep.is_superseded().unwrap());
    let known = read(&folder).unwrap().0.unwrap();
    let mut owner = folder.begin(&begin(9, Some(&known))).unwrap();
    append(&mut owner, 3, 1);
    owner.commit().unwrap();
    append(&mut asleep, 70, 5);
    asleep.commit().unwrap();
    assert!(asleep.is_superseded().unwrap());
    assert!(!owner.is_superseded().unwrap());
    assert_eq!(read(&folder).unwrap().1, [1, 2, 3]);
    // Nor does one that comes later read it.
    let known = read(&folder).unwrap().0.unwrap();
    folder.begin(&begin(11, Some(&known))).unwrap();
    assert_eq!(read(&folder).unwrap().1, [1, 2, 3]);
}

#[test]
fn an_owner_whose_time_is_over_or_who_was_there_already_begins_no_file() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), "sim");
    folder.begin(&begin(9, None)).unwrap();
    assert!(matches!(folder.begin(&begin(5, None)), Err(JournalError::Newer { token: 5, .. })));
    assert!(matches!(folder.begin(&begin(9, None)), Err(JournalError::Io { .. })));
    // A file that was begun by an older one all the same does not count.
    std::fs::copy(file(&folder, 9), file(&folder, 5)).unwrap();
    let (known, _) = read(&folder).unwrap();
    assert_eq!(known.unwrap().ignored, [file(&folder, 5)]);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_next_owner_goes_on_behind_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), "sim");
    let mut journal = folder.begin(&begin(5, None)).unwrap();
    append(&mut journal, 1, 2);
    journal.commit().unwrap();
    let kept = journal.bytes();
    append(&mut journal, 3, 2);
    journal.commit().unwrap();
    drop(journal);
    let whole = std::fs::read(file(&folder, 5)).unwrap();
    for length in kept as usize..whole.len() {
        std::fs::write(file(&folder, 5), &whole[..length]).unwrap();
        let (known, numbers) = read(&folder).unwrap();
        assert!(numbers == [1, 2] || numbers == [1, 2, 3], "{length}: {numbers:?}");
        let known = known.unwrap();
        assert_eq!(known.extents[0].bytes + known.torn, length as u64);
    }
    std::fs::write(file(&folder, 5), &whole[..whole.len() - 1]).unwrap();
    let known = read(&folder).unwrap().0.unwrap();
    let mut next = folder.begin(&begin(9, Some(&known))).unwrap();
    append(&mut next, 4, 1);
    next.commit().unwrap();
    assert_eq!(read(&folder).unwrap().1, [1, 2, 3, 4]);
}

#[test]
fn damage_in_what_was_relied_on_is_refused_with_file_and_offset() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), "sim");
    let mut journal = folder.begin(&begin(5, None)).unwrap();
    append(&mut journal, 1, 2);
    journal.commit().unwrap();
    let relied_on = journal.bytes();
    append(&mut journal, 3, 1);
    journal.commit().unwrap();
    drop(journal);
    let whole = std::fs::read(file(&folder, 5)).unwrap();
    for at in (0..relied_on as usize).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(file(&folder, 5), &damaged).unwrap();
        match read(&folder) {
            Err(JournalError::Damaged { path, offset, .. }) => {
                assert_eq!(path, file(&folder, 5));
                assert!(offset as usize <= at, "{offset} {at}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
    // A file that a later owner had read is not shorter now.
    std::fs::write(file(&folder, 5), &whole).unwrap();
    let known = read(&folder).unwrap().0.unwrap();
    folder.begin(&begin(9, Some(&known))).unwrap();
    std::fs::write(file(&folder, 5), &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(read(&folder), Err(JournalError::Damaged { .. })));
}

/// A small disk of its own, or the reason why there is none.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<SmallDisk, String> {
        let place = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(place.path())
            .output()
            .map_err(|error| error.to_string())?;
        if mounted.status.success() {
            Ok(SmallDisk(place))
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_takes_nothing_in_part_and_all_of_it_once_there_is_room() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return eprintln!("SKIPPED: no small disk can be mounted: {why}"),
    };
    let folder = Folder::new(disk.path(), "sim");
    let mut journal = folder.begin(&begin(5, None)).unwrap();
    append(&mut journal, 1, 2);
    journal.commit().unwrap();
    let ballast = disk.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 1 << 20]);
    append(&mut journal, 3, 40);
    assert!(journal.commit().is_err());
    assert!(matches!(journal.state(), JournalState::Waiting { .. }));
    assert!(journal.commit().is_err(), "not tried again at once");
    assert_eq!(read(&folder).unwrap().1, [1, 2]);
    std::fs::remove_file(&ballast).unwrap();
    append(&mut journal, 43, 1);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    journal.commit().unwrap();
    assert_eq!(journal.state(), &JournalState::Good);
    assert_eq!(read(&folder).unwrap().1, (1..=43).collect::<Vec<u64>>());
}
