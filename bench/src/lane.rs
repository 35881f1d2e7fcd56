//! The trial of a shared-memory lane: a ring of ticks in a file that processes of one node map, one writer, any number
//! of readers that cost the writer nothing.
//!
//! ```text
//!  line 0            published: number of the last tick, 1, 2, 3 …
//!  line 1            sleepers: readers that sleep on `published` (futex)
//!  from line 2 on    slots of 2 lines: number of the tick in it, then the tick's 8 words
//! ```
//!
//! The writer never waits: a reader that is a whole ring behind finds a newer number in its slot, and knows which ticks it
//! missed. A slot is written between an odd mark and its number, so that a reader never takes half a tick. All of the memory is
//! made of atomics, so a process that writes nonsense spoils the data and not the reader.
//!
//! It is measured in table (j) and used nowhere else; `docs/decisions/shared-memory-lane.md` says why.

use anyhow::{Context, Result, ensure};
use std::fs::OpenOptions;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;
use tick::Tick;
use zerocopy::{FromBytes, IntoBytes};

/// Slots: 65,536 ticks, 8 MiB, more than half a second at a hundred thousand ticks a second.
const SLOTS: u64 = 1 << 16;
/// Words of a cache line.
const LINE: usize = 8;
/// Words in front of the slots.
const HEAD: usize = 2 * LINE;
/// Words of a slot.
const SLOT: usize = 2 * LINE;
const WORDS: usize = HEAD + SLOTS as usize * SLOT;
/// In a slot's number while the slot is written; no tick has it.
const WRITING: u64 = u64::MAX;

/// The mapping, shared with whoever has the file.
struct Memory {
    words: NonNull<AtomicU64>,
}

// SAFETY: the mapping belongs to this value alone and holds nothing but atomics.
unsafe impl Send for Memory {}

impl Memory {
    fn map(path: &Path) -> Result<Memory> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len((WORDS * size_of::<u64>()) as u64)?;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else is touched.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                WORDS * size_of::<u64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                std::os::fd::AsRawFd::as_raw_fd(&file),
                0,
            )
        };
        ensure!(
            address != libc::MAP_FAILED,
            "mapping {}: {}",
            path.display(),
            std::io::Error::last_os_error()
        );
        Ok(Memory { words: NonNull::new(address.cast()).context("mapped at address 0")? })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has so many words, is page-aligned, and lives as long as this value; shared memory that others
        // change is what atomics are for.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), WORDS) }
    }

    fn published(&self) -> &AtomicU64 {
        &self.words()[0]
    }

    fn sleepers(&self) -> &AtomicU64 {
        &self.words()[LINE]
    }

    fn slot(&self, number: u64) -> &[AtomicU64] {
        let at = HEAD + (number % SLOTS) as usize * SLOT;
        &self.words()[at..at + SLOT]
    }

    /// A futex call on the low half of `published`, which is what differs from tick to tick.
    fn futex(&self, operation: libc::c_int, value: u32, timeout: *const libc::timespec) {
        // SAFETY: the address is that of a live, aligned word of the mapping, of which a futex takes the first 32 bits
        // (the low ones: this is a little-endian target); the timeout is null or lives as long as the call.
        unsafe {
            libc::syscall(libc::SYS_futex, self.published().as_ptr(), operation, value, timeout);
        }
    }
}

const _: () = assert!(cfg!(target_endian = "little") && size_of::<Tick>() == LINE * size_of::<u64>());

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `map` made; no reference into it outlives this value.
        unsafe { libc::munmap(self.words.as_ptr().cast(), WORDS * size_of::<u64>()) };
    }
}

/// The one who writes.
pub struct LaneWriter {
    memory: Memory,
    number: u64,
}

impl LaneWriter {
    /// A new ring in a new file.
    ///
    /// # Errors
    /// It cannot be made or mapped.
    pub fn create(path: &Path) -> Result<LaneWriter> {
        let _ = std::fs::remove_file(path);
        Ok(LaneWriter { memory: Memory::map(path)?, number: 0 })
    }

    /// Writes a tick; readers see it after [`LaneWriter::publish`].
    pub fn push(&mut self, tick: &Tick) {
        self.number += 1;
        let (number, words) = self.memory.slot(self.number).split_at(1);
        number[0].store(WRITING, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, bytes) in words.iter().zip(tick.as_bytes().chunks_exact(8)) {
            let value = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            word.store(value, Ordering::Relaxed);
        }
        number[0].store(self.number, Ordering::Release);
    }

    /// Shows what was written, and wakes who sleeps.
    pub fn publish(&mut self) {
        // Sequentially consistent with the reader's steps to sleep: either it sees the number, or we see it sleep.
        self.memory.published().store(self.number, Ordering::SeqCst);
        if self.memory.sleepers().load(Ordering::SeqCst) > 0 {
            self.memory.futex(libc::FUTEX_WAKE, i32::MAX as u32, std::ptr::null());
        }
    }
}

/// What the next place of the ring holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Next {
    /// The next tick.
    Tick(Tick),
    /// Nothing yet.
    Nothing,
    /// So many ticks were written over before they were read; reading goes on behind them.
    Missed(u64),
}

/// One who reads.
pub struct LaneReader {
    memory: Memory,
    next: u64,
}

impl LaneReader {
    /// Reads from the ring's beginning on, or from what it still has.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn open(path: &Path) -> Result<LaneReader> {
        Ok(LaneReader { memory: Memory::map(path)?, next: 1 })
    }

    /// The next tick, if there is one.
    pub fn take(&mut self) -> Next {
        let published = self.memory.published().load(Ordering::Acquire);
        if published < self.next {
            return Next::Nothing;
        }
        let (number, words) = self.memory.slot(self.next).split_at(1);
        let before = number[0].load(Ordering::Acquire);
        let mut bytes = [0; size_of::<Tick>()];
        for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        fence(Ordering::Acquire);
        let after = number[0].load(Ordering::Relaxed);
        match Tick::read_from_bytes(&bytes) {
            Ok(tick) if before == self.next && after == self.next => {
                self.next += 1;
                Next::Tick(tick)
            }
            _ => {
                // Written over: go on half a ring behind the writer, so that it is not at once written over again.
                let from = self.next;
                self.next = (from + 1).max(published.saturating_sub(SLOTS / 2));
                Next::Missed(self.next - from)
            }
        }
    }

    /// Sleeps until something is published, at most so long.
    pub fn sleep(&self, at_most: Duration) {
        let timeout = libc::timespec {
            tv_sec: at_most.as_secs() as libc::time_t,
            tv_nsec: at_most.subsec_nanos().into(),
        };
        self.memory.sleepers().fetch_add(1, Ordering::SeqCst);
        let seen = self.memory.published().load(Ordering::SeqCst);
        if seen < self.next {
            self.memory.futex(libc::FUTEX_WAIT, seen as u32, &raw const timeout);
        }
        self.memory.sleepers().fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(sequence: u64) -> Tick {
        Tick { sequence, order_id: sequence * 3, ..Tick::EMPTY }
    }

    #[test]
    fn every_reader_has_every_tick_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lane");
        let mut writer = LaneWriter::create(&path).unwrap();
        let mut readers = [LaneReader::open(&path).unwrap(), LaneReader::open(&path).unwrap()];
        for sequence in 1..=100 {
            writer.push(&tick(sequence));
        }
        assert_eq!(readers[0].take(), Next::Nothing);
        writer.publish();
        for reader in &mut readers {
            for sequence in 1..=100 {
                assert_eq!(reader.take(), Next::Tick(tick(sequence)));
            }
            assert_eq!(reader.take(), Next::Nothing);
        }
    }

    #[test]
    fn a_reader_that_is_overrun_knows_what_it_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lane");
        let mut writer = LaneWriter::create(&path).unwrap();
        let mut reader = LaneReader::open(&path).unwrap();
        let written = SLOTS + 10;
        for sequence in 1..=written {
            writer.push(&tick(sequence));
        }
        writer.publish();
        let Next::Missed(missed) = reader.take() else { panic!("it was overrun") };
        let mut read = 0;
        while let Next::Tick(found) = reader.take() {
            read += 1;
            assert_eq!(found, tick(missed + read));
        }
        assert_eq!(missed + read, written);
    }

    #[test]
    fn a_sleeping_reader_beside_a_writer_never_takes_half_a_tick() {
        const TICKS: u64 = 200_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lane");
        let mut writer = LaneWriter::create(&path).unwrap();
        let mut reader = LaneReader::open(&path).unwrap();
        let writing = std::thread::spawn(move || {
            for sequence in 1..=TICKS {
                writer.push(&tick(sequence));
                if sequence % 7 == 0 || sequence == TICKS {
                    writer.publish();
                }
            }
        });
        let mut at = 0;
        while at < TICKS {
            match reader.take() {
                Next::Tick(found) => {
                    at += 1;
                    assert_eq!(found, tick(at));
                }
                Next::Missed(missed) => at += missed,
                Next::Nothing => reader.sleep(Duration::from_secs(1)),
            }
        }
        writing.join().unwrap();
    }
}
