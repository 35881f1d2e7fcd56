//! Where ticks wait while Redis is slow or gone: memory first, then disk, then nowhere.
//!
//! One queue in order of arrival; its front is in memory, its middle on disk, its back in a block that is
//! not full yet. When it is full everything new is shed, remembered by channel and range, until an eighth
//! of it is free again; then the losses are declared in their place in the order. Invariant: what goes in
//! comes out once and in order, or is named by a gap record that comes out where it would have.

use super::disk::{BLOCK_TICKS, DiskSpool, ReadBack};
use super::losses::Losses;
use super::{PublisherError, SpoolConfig};
use std::collections::VecDeque;
use tick::Tick;

pub(super) struct Spool {
    memory: VecDeque<Tick>,
    memory_max: usize,
    disk: Option<DiskSpool>,
    /// The back of the queue when the disk is in use: less than a block, but for records that declare.
    tail: Vec<Tick>,
    block: Vec<Tick>,
    shed: Losses,
    counts: SpoolCounts,
}

/// What the spool has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpoolCounts {
    /// Most records that waited at once.
    pub(super) high_water: u64,
    /// Records given up because the spool was full.
    pub(super) shed: u64,
    /// Records in blocks that came back damaged from disk.
    pub(super) damaged: u64,
    /// Blocks that the disk did not take.
    pub(super) disk_refusals: u64,
}

impl Spool {
    pub(super) fn open(config: &SpoolConfig) -> Result<Spool, PublisherError> {
        let disk = match &config.disk {
            Some((path, bytes_max)) => Some(DiskSpool::open(path, *bytes_max)?),
            None => None,
        };
        Ok(Spool {
            memory: VecDeque::new(),
            memory_max: config.memory_ticks,
            disk,
            tail: Vec::new(),
            block: Vec::new(),
            shed: Losses::default(),
            counts: SpoolCounts::default(),
        })
    }

    pub(super) fn counts(&self) -> SpoolCounts {
        self.counts
    }

    /// Records that wait.
    pub(super) fn waiting(&self) -> usize {
        self.memory.len() + self.disk.as_ref().map_or(0, DiskSpool::ticks) + self.tail.len()
    }

    /// Nothing waits and nothing is to be declared.
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.behind_is_empty() && self.shed.is_empty()
    }

    fn behind_is_empty(&self) -> bool {
        self.tail.is_empty() && self.disk.as_ref().is_none_or(DiskSpool::is_empty)
    }

    /// Takes records behind those that wait, or gives them up and remembers them.
    pub(super) fn push(&mut self, records: &[Tick]) {
        let mut rest = records;
        if self.shed.is_empty() && self.behind_is_empty() {
            let room = self.memory_max.saturating_sub(self.memory.len()).min(rest.len());
            self.memory.extend(&rest[..room]);
            rest = &rest[room..];
        }
        while !rest.is_empty() && self.shed.is_empty() && self.disk.is_some() {
            if self.tail.len() >= BLOCK_TICKS && !self.write_block() {
                break;
            }
            let room = BLOCK_TICKS.saturating_sub(self.tail.len()).min(rest.len());
            self.tail.extend_from_slice(&rest[..room]);
            rest = &rest[room..];
        }
        self.counts.shed += rest.len() as u64;
        rest.iter().for_each(|record| self.shed.note(record));
        self.counts.high_water = self.counts.high_water.max(self.waiting() as u64);
    }

    /// Moves a full block of the tail to disk; `false` when the disk is full or refuses.
    fn write_block(&mut self) -> bool {
        let Some(disk) = &mut self.disk else { return false };
        if disk.free_blocks() == 0 {
            return false;
        }
        match disk.write(&self.tail[..BLOCK_TICKS]) {
            Ok(()) => {
                self.tail.drain(..BLOCK_TICKS);
                true
            }
            Err(error) => {
                if self.counts.disk_refusals == 0 {
                    tracing::warn!(%error, "the spool file cannot be written; what does not fit is declared lost");
                }
                self.counts.disk_refusals += 1;
                false
            }
        }
    }

    /// The oldest records, as many as lie together. None when nothing waits.
    pub(super) fn front(&mut self) -> &[Tick] {
        if self.memory.is_empty() {
            self.refill();
        }
        self.memory.as_slices().0
    }

    /// Removes the oldest `count`, which have been published or are about to be.
    pub(super) fn consume(&mut self, count: usize) {
        self.memory.drain(..count);
        if !self.shed.is_empty() && self.has_room_again() {
            self.declare();
        }
    }

    /// Gives memory back that an outage took.
    pub(super) fn shrink(&mut self) {
        self.memory = VecDeque::new();
        self.block = Vec::new();
        self.tail = Vec::new();
    }

    /// Whether an outage took memory that [`Spool::shrink`] would give back.
    pub(super) fn is_swollen(&self) -> bool {
        self.memory.capacity() > 4 * BLOCK_TICKS
    }

    fn refill(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        match disk.read(&mut self.block) {
            None => self.memory.extend(self.tail.drain(..)),
            Some(ReadBack::Whole) => self.memory.extend(&self.block),
            Some(ReadBack::Damaged(contents)) => {
                tracing::warn!("a block of the spool file came back damaged; its ticks are declared lost");
                self.counts.damaged += BLOCK_TICKS as u64;
                self.memory.extend(contents.records());
            }
        }
    }

    fn has_room_again(&self) -> bool {
        match &self.disk {
            None => self.memory.len() <= self.memory_max - self.memory_max.div_ceil(8),
            Some(disk) => disk.free_blocks() >= disk.slots().div_ceil(8),
        }
    }

    /// Puts the records that declare the losses behind what waits. They are few (three a channel at most)
    /// and are taken even where they exceed the bound.
    fn declare(&mut self) {
        let shed = std::mem::take(&mut self.shed);
        if self.behind_is_empty() {
            self.memory.extend(shed.records());
        } else {
            self.tail.extend(shed.records());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use tick::GapReason;

    fn spool(memory_ticks: usize, disk: Option<(std::path::PathBuf, u64)>) -> Spool {
        Spool::open(&SpoolConfig { memory_ticks, disk }).unwrap()
    }

    fn ticks(range: std::ops::RangeInclusive<u64>) -> Vec<Tick> {
        range.map(|sequence| Tick { channel_id: (sequence % 2) as u16, sequence, ..Tick::EMPTY }).collect()
    }

    fn drain(spool: &mut Spool) -> Vec<Tick> {
        let mut out = Vec::new();
        loop {
            let front = spool.front();
            if front.is_empty() {
                return out;
            }
            let count = front.len().min(7);
            out.extend_from_slice(&front[..count]);
            spool.consume(count);
        }
    }

    /// Sequences that came out and that were declared, of both channels together.
    fn account(records: &[Tick]) -> (Vec<u64>, u64) {
        let mut sequences = Vec::new();
        let mut declared = 0;
        for record in records {
            match record.as_gap() {
                Some((from, to, why)) => {
                    assert_eq!(why, GapReason::SpoolFull);
                    declared += (to - from) / 2 + 1;
                }
                None => sequences.push(record.sequence),
            }
        }
        (sequences, declared)
    }

    #[test]
    fn what_fits_comes_out_in_order() {
        let mut spool = spool(100, None);
        spool.push(&ticks(1..=60));
        spool.push(&ticks(61..=100));
        assert_eq!(drain(&mut spool), ticks(1..=100));
        assert!(spool.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_declared_exactly_and_after_what_did() {
        let mut spool = spool(100, None);
        spool.push(&ticks(1..=150));
        spool.push(&ticks(151..=160));
        assert_eq!(spool.counts().shed, 60);
        let out = drain(&mut spool);
        let (sequences, declared) = account(&out);
        assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
        assert_eq!(declared, 60);
        assert!(spool.is_empty());
        spool.push(&ticks(161..=162));
        assert_eq!(drain(&mut spool), ticks(161..=162));
    }

    #[test]
    fn after_an_overflow_nothing_is_taken_until_an_eighth_is_free() {
        let mut spool = spool(80, None);
        spool.push(&ticks(1..=81));
        spool.consume(9);
        spool.push(&ticks(82..=82));
        assert_eq!(spool.counts().shed, 2);
        spool.consume(1);
        spool.push(&ticks(83..=83));
        assert_eq!(spool.counts().shed, 2);
        let (sequences, declared) = account(&drain(&mut spool));
        assert_eq!((sequences.len(), declared), (71, 2));
    }

    #[test]
    fn disk_takes_what_memory_cannot_and_order_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = spool(1000, Some((path.clone(), 64 << 20)));
        let all = ticks(1..=50_000);
        all.chunks(333).for_each(|chunk| spool.push(chunk));
        assert!(path.metadata().unwrap().len() > 0);
        assert_eq!(drain(&mut spool), all);
        assert_eq!(path.metadata().unwrap().len(), 0);
        drop(spool);
        assert!(!path.exists());
    }

    #[test]
    fn taking_and_giving_at_once_goes_round_the_file_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = spool(100, Some((folder.path().join("spool"), 4 * 256 * 1024)));
        let all = ticks(1..=200_000);
        let mut out = Vec::new();
        spool.push(&all[..9_000]);
        for chunk in all[9_000..].chunks(100) {
            spool.push(chunk);
            let mut taken = 0;
            while taken < 100 {
                let front = spool.front();
                let count = front.len().min(100 - taken);
                out.extend_from_slice(&front[..count]);
                spool.consume(count);
                taken += count;
            }
        }
        out.extend(drain(&mut spool));
        assert_eq!(spool.counts().shed, 0);
        assert_eq!(out, all);
    }

    #[test]
    fn past_the_disks_bound_the_loss_is_declared() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = spool(1000, Some((folder.path().join("spool"), 2 * 256 * 1024)));
        ticks(1..=20_000).chunks(500).for_each(|chunk| spool.push(chunk));
        let shed = spool.counts().shed;
        assert_eq!(shed, 20_000 - 1000 - 3 * 4096);
        let (sequences, declared) = account(&drain(&mut spool));
        assert_eq!(sequences, (1..=20_000 - shed).collect::<Vec<_>>());
        assert_eq!(declared, shed);
    }

    #[test]
    fn a_damaged_block_is_declared_and_the_next_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = spool(1000, Some((path.clone(), 64 << 20)));
        spool.push(&ticks(1..=20_000));
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"damage", 5000).unwrap();
        let (sequences, declared) = account(&drain(&mut spool));
        let expected: Vec<u64> = (1..=1000).chain(1001 + 4096..=20_000).collect();
        assert_eq!(sequences, expected);
        assert_eq!(declared, 4096);
        assert_eq!(spool.counts().damaged, 4096);
    }

    #[test]
    fn a_truncated_file_costs_what_was_cut_off_and_it_is_declared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = spool(1000, Some((path.clone(), 64 << 20)));
        spool.push(&ticks(1..=20_000));
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(256 * 1024 + 100).unwrap();
        let (sequences, declared) = account(&drain(&mut spool));
        assert_eq!(sequences.len() as u64 + declared, 20_000);
        assert_eq!(declared, 3 * 4096);
        assert!(sequences.is_sorted());
    }

    #[test]
    fn a_spool_file_belongs_to_one_data_plane() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let _first = spool(1, Some((path.clone(), 1 << 20)));
        let config = SpoolConfig { memory_ticks: 1, disk: Some((path.clone(), 1 << 20)) };
        let error = Spool::open(&config).err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_disk_that_cannot_be_written_makes_losses_not_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = spool(10, Some((path.clone(), 1 << 20)));
        spool.disk.as_mut().unwrap().file = std::fs::File::open(&path).unwrap();
        spool.push(&ticks(1..=10_000));
        assert!(spool.counts().disk_refusals > 0);
        let (sequences, declared) = account(&drain(&mut spool));
        assert_eq!(sequences.len() as u64 + declared, 10_000);
        assert!(sequences.len() >= 10 + BLOCK_TICKS);
    }
}
