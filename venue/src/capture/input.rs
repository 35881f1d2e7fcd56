//! The bytes of a capture: decompressed where the content is gzip, buffered, with the position in the stream.
//!
//! The buffer grows to the largest block asked for and never past it; callers bound what they ask for.

use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, ErrorKind, Read};

const READ_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(super) struct Input {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Position in the stream of `buffer[start]`.
    offset: u64,
    ended: bool,
}

impl Input {
    /// Wraps `source`; says whether it is compressed.
    pub(super) fn new(source: impl Read + Send + 'static) -> std::io::Result<(Input, bool)> {
        let mut source = BufReader::with_capacity(READ_BYTES, source);
        // A first read of one byte would hide the magic, but no file and no pipe writer does that.
        let compressed = source.fill_buf()?.starts_with(&GZIP_MAGIC);
        let source: Box<dyn Read + Send> =
            if compressed { Box::new(MultiGzDecoder::new(source)) } else { Box::new(source) };
        let input = Input { source, buffer: vec![0; READ_BYTES], start: 0, end: 0, offset: 0, ended: false };
        Ok((input, compressed))
    }

    /// Position in the (decompressed) stream of the first byte not consumed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is buffered and not consumed.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Buffers at least `count` bytes; false when the stream ends before.
    pub(super) fn have(&mut self, count: usize) -> std::io::Result<bool> {
        while self.end - self.start < count {
            if self.ended {
                return Ok(false);
            }
            self.fill(count)?;
        }
        Ok(true)
    }

    fn fill(&mut self, count: usize) -> std::io::Result<()> {
        if self.start + count > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if count > self.buffer.len() {
                self.buffer.resize(count, 0);
            }
        }
        match self.source.read(&mut self.buffer[self.end..]) {
            // A gzip stream that is cut says so here: the end of what is there.
            Ok(0) => self.ended = true,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.ended = true,
            Ok(read) => self.end += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Drops `count` buffered bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// Drops `count` bytes without ever buffering them together; gives back how many were there. When they
    /// were not all there, the stream is at its end and the offset stays at the first of them.
    pub(super) fn skip(&mut self, count: u64) -> std::io::Result<u64> {
        let from = self.offset;
        let mut left = count;
        while left > 0 && self.have(1)? {
            let step = left.min(self.buffered().len() as u64);
            self.consume(step as usize);
            left -= step;
        }
        if left > 0 {
            self.offset = from;
        }
        Ok(count - left)
    }
}
