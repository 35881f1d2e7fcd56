//! The disk part of the spool: a file of fixed blocks, used as a ring.
//!
//! It is scratch space of one run: made empty at the start, locked against a second user, removed at the
//! end. What is in it is known in memory (a checksum and the sequence ranges of each block), so a block
//! that comes back damaged, short or not at all is declared missing exactly, and the next is read.

use super::PublisherError;
use super::losses::Losses;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tick::Tick;
use zerocopy::{FromZeros, IntoBytes};

/// Ticks in a block.
pub(super) const BLOCK_TICKS: usize = 4096;
/// Bytes in a block: 256 KiB, large enough that the disk streams.
pub(super) const BLOCK_BYTES: usize = BLOCK_TICKS * Tick::SIZE;

struct Block {
    checksum: u32,
    contents: Losses,
}

/// A block that was read back.
pub(super) enum ReadBack {
    /// Its ticks are in the buffer.
    Whole,
    /// It is damaged; this was in it.
    Damaged(Losses),
}

pub(super) struct DiskSpool {
    pub(super) file: File,
    path: PathBuf,
    slots: u64,
    first_slot: u64,
    blocks: VecDeque<Block>,
}

impl DiskSpool {
    pub(super) fn open(path: &Path, bytes_max: u64) -> Result<DiskSpool, PublisherError> {
        let unusable = |source| PublisherError::Spool { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(unusable)?;
        file.try_lock().map_err(|error| unusable(error.into()))?;
        file.set_len(0).map_err(unusable)?;
        let slots = bytes_max / BLOCK_BYTES as u64;
        Ok(DiskSpool { file, path: path.to_owned(), slots, first_slot: 0, blocks: VecDeque::new() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn ticks(&self) -> usize {
        self.blocks.len() * BLOCK_TICKS
    }

    /// Blocks that can still be written.
    pub(super) fn free_blocks(&self) -> u64 {
        self.slots - self.blocks.len() as u64
    }

    pub(super) fn slots(&self) -> u64 {
        self.slots
    }

    /// Writes a block behind the others. There must be a free one.
    pub(super) fn write(&mut self, ticks: &[Tick]) -> std::io::Result<()> {
        assert!(ticks.len() == BLOCK_TICKS && self.free_blocks() > 0);
        let slot = (self.first_slot + self.blocks.len() as u64) % self.slots;
        self.file.write_all_at(ticks.as_bytes(), slot * BLOCK_BYTES as u64)?;
        let mut contents = Losses::default();
        ticks.iter().for_each(|tick| contents.note(tick));
        self.blocks.push_back(Block { checksum: crc32fast::hash(ticks.as_bytes()), contents });
        Ok(())
    }

    /// Takes the oldest block into `buffer`; `None` when there is none.
    pub(super) fn read(&mut self, buffer: &mut Vec<Tick>) -> Option<ReadBack> {
        let block = self.blocks.pop_front()?;
        buffer.clear();
        buffer.resize(BLOCK_TICKS, Tick::new_zeroed());
        let offset = self.first_slot * BLOCK_BYTES as u64;
        let read = self.file.read_exact_at(buffer.as_mut_slice().as_mut_bytes(), offset);
        let whole = read.is_ok() && crc32fast::hash(buffer.as_bytes()) == block.checksum;
        self.first_slot = (self.first_slot + 1) % self.slots;
        if self.blocks.is_empty() {
            self.first_slot = 0;
            // Gives the space back; when it cannot be, the file is still used as a ring.
            let _ = self.file.set_len(0);
        }
        Some(if whole { ReadBack::Whole } else { ReadBack::Damaged(block.contents) })
    }
}

impl Drop for DiskSpool {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
