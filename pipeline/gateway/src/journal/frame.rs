//! Frames: what is around a record, and finding them in a file.

use super::BODY_BYTES_MAX;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

const MARKER: [u8; 4] = *b"FPJ1";
/// Marker, length, beginning of the batch, CRC-32.
pub(super) const HEAD_BYTES: usize = 20;

fn checksum(length: [u8; 4], batch: [u8; 8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(&batch);
    hasher.update(body);
    hasher.finalize()
}

/// Adds a frame whose body `write` adds. `batch` is where in the file its batch begins.
pub(super) fn add(out: &mut Vec<u8>, batch: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; HEAD_BYTES]);
    write(out);
    let (head, body) = out[at..].split_at_mut(HEAD_BYTES);
    debug_assert!(body.len() <= BODY_BYTES_MAX);
    let (length, batch) = ((body.len() as u32).to_le_bytes(), batch.to_le_bytes());
    head[..4].copy_from_slice(&MARKER);
    head[4..8].copy_from_slice(&length);
    head[8..16].copy_from_slice(&batch);
    head[16..].copy_from_slice(&checksum(length, batch, body).to_le_bytes());
}

struct Head {
    length: [u8; 4],
    batch: [u8; 8],
    checksum: [u8; 4],
}

impl Head {
    fn of(bytes: &[u8; HEAD_BYTES]) -> Option<Head> {
        let (marker, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (batch, rest) = rest.split_first_chunk::<8>()?;
        let head = Head { length: *length, batch: *batch, checksum: *rest.first_chunk()? };
        (*marker == MARKER && head.length() <= BODY_BYTES_MAX).then_some(head)
    }

    fn length(&self) -> usize {
        u32::from_le_bytes(self.length) as usize
    }

    fn batch(&self) -> u64 {
        u64::from_le_bytes(self.batch)
    }

    fn fits(&self, body: &[u8]) -> bool {
        checksum(self.length, self.batch, body) == u32::from_le_bytes(self.checksum)
    }
}

/// Frames of a file, from its beginning to `end`.
pub(super) struct Frames {
    reader: BufReader<File>,
    /// Behind the last good frame.
    pub(super) at: u64,
    end: u64,
    body: Vec<u8>,
}

/// Why there is no further frame.
pub(super) enum Ending {
    /// The file ends here.
    Clean,
    /// So many bytes follow that were never relied on.
    Torn(u64),
    /// What follows was relied on, and is not as it was.
    Damaged(&'static str),
}

impl Frames {
    pub(super) fn new(file: File, end: u64) -> Frames {
        let reader = BufReader::with_capacity(1 << 16, file);
        Frames { reader, at: 0, end, body: Vec::new() }
    }

    /// The next frame's body, or why there is none.
    pub(super) fn next(&mut self) -> io::Result<Result<&[u8], Ending>> {
        let left = self.end - self.at;
        if left == 0 {
            return Ok(Err(Ending::Clean));
        }
        if self.read_frame(left)? {
            return Ok(Ok(&self.body));
        }
        self.ending().map(Err)
    }

    fn read_frame(&mut self, left: u64) -> io::Result<bool> {
        let mut bytes = [0; HEAD_BYTES];
        if left < HEAD_BYTES as u64 {
            return Ok(false);
        }
        self.reader.read_exact(&mut bytes)?;
        let Some(head) = Head::of(&bytes) else { return Ok(false) };
        if left < (HEAD_BYTES + head.length()) as u64 {
            return Ok(false);
        }
        self.body.resize(head.length(), 0);
        self.reader.read_exact(&mut self.body)?;
        if !head.fits(&self.body) || head.batch() > self.at {
            return Ok(false);
        }
        self.at += (HEAD_BYTES + head.length()) as u64;
        Ok(true)
    }

    /// What the bytes from here on are. Whatever lies before the beginning of a later frame's batch was on disk when that
    /// batch was begun.
    fn ending(&mut self) -> io::Result<Ending> {
        self.reader.seek(SeekFrom::Start(self.at))?;
        let mut rest = Vec::new();
        self.reader.by_ref().take(self.end - self.at).read_to_end(&mut rest)?;
        let mut at = 0;
        while let Some(next) = rest[at..].windows(MARKER.len()).position(|bytes| bytes == MARKER) {
            at += next;
            let behind = &rest[at..];
            if let Some(head) = behind.first_chunk().and_then(Head::of)
                && let Some(body) = behind.get(HEAD_BYTES..HEAD_BYTES + head.length())
                && head.fits(body)
            {
                if head.batch() > self.at {
                    return Ok(Ending::Damaged(
                        "a frame does not fit its checksum, and what came after it does",
                    ));
                }
                at += HEAD_BYTES + head.length();
            } else {
                at += 1;
            }
        }
        Ok(Ending::Torn(rest.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn bodies(bytes: &[u8]) -> (Vec<Vec<u8>>, u64, bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let mut frames = Frames::new(file, bytes.len() as u64);
        let mut found = Vec::new();
        let damaged = loop {
            match frames.next().unwrap() {
                Ok(body) => found.push(body.to_vec()),
                Err(ending) => break matches!(ending, Ending::Damaged(_)),
            }
        };
        (found, frames.at, damaged)
    }

    fn three_batches() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for batch in [&["begin"][..], &["one", "two"], &["", "four"]] {
            let start = bytes.len() as u64;
            for body in batch {
                add(&mut bytes, start, |out| out.extend(body.bytes()));
                ends.push(bytes.len());
            }
        }
        (bytes, ends)
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_behind_the_last_whole_frame() {
        let (bytes, ends) = three_batches();
        for length in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count();
            let expected = whole.checked_sub(1).map_or(0, |last| ends[last]) as u64;
            let (found, at, damaged) = bodies(&bytes[..length]);
            assert_eq!((found.len(), at, damaged), (whole, expected, false), "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_unless_nothing_later_was_written() {
        let (bytes, ends) = three_batches();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let (found, _, damaged) = bodies(&flipped);
                let frame = ends.iter().position(|end| at < *end).unwrap();
                assert_eq!(found.len(), frame, "byte {at} bit {bit}");
                // The last batch is frames 3 and 4.
                assert_eq!(damaged, frame < 3, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn zeros_behind_the_end_are_a_torn_tail() {
        let (mut bytes, ends) = three_batches();
        bytes.extend([0; 4096]);
        let (found, at, damaged) = bodies(&bytes);
        assert_eq!((found.len(), at, damaged), (5, ends[4] as u64, false));
    }
}
