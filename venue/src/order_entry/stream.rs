//! The sequenced messages of the users, kept for the whole session as they go out on the wire.
//!
//! Invariant: message `n` of a stream begins at `starts[n - 1]` and never changes; chunks are full but the last.

use super::server::UserId;
use wire::soupbintcp::{HEADER_BYTES, LENGTH_BYTES};

/// Memory is taken in pieces of this many bytes: a growing session is never copied.
const CHUNK_BYTES: usize = 1 << 20;

/// One user's messages.
#[derive(Debug, Default)]
pub struct Stream {
    chunks: Vec<Vec<u8>>,
    starts: Vec<u64>,
    bytes: u64,
}

impl Stream {
    /// Appends a message of at most [`wire::soupbintcp::MAX_PAYLOAD`] bytes; it takes the next number.
    pub fn push(&mut self, message: &[u8]) {
        self.starts.push(self.bytes);
        let mut header = [0; HEADER_BYTES];
        header[..LENGTH_BYTES].copy_from_slice(&(1 + message.len() as u16).to_be_bytes());
        header[LENGTH_BYTES] = b'S';
        self.append(&header);
        self.append(message);
    }

    fn append(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = match self.chunks.last() {
                Some(last) if last.len() < CHUNK_BYTES => CHUNK_BYTES - last.len(),
                _ => {
                    self.chunks.push(Vec::new());
                    CHUNK_BYTES
                }
            };
            let (fits, rest) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.chunks.last_mut() {
                last.extend_from_slice(fits);
            }
            bytes = rest;
        }
    }

    /// The number of the message that comes next; the first is 1.
    pub fn next_sequence(&self) -> u64 {
        self.starts.len() as u64 + 1
    }

    /// Bytes on the wire of all messages.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where a message begins; `None` when it is neither there nor the next.
    pub(super) fn position(&self, sequence: u64) -> Option<u64> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        match self.starts.get(index) {
            Some(&start) => Some(start),
            None => (index == self.starts.len()).then_some(self.bytes),
        }
    }

    /// What is to be sent from a position on, as far as it lies in one piece; empty at the end.
    pub(super) fn from(&self, position: u64) -> &[u8] {
        let (chunk, at) = (position / CHUNK_BYTES as u64, position % CHUNK_BYTES as u64);
        self.chunks.get(chunk as usize).map_or(&[], |chunk| &chunk[at as usize..])
    }
}

/// The streams of all users.
#[derive(Debug)]
pub struct Streams(pub(super) Vec<Stream>);

impl Streams {
    /// Empty streams for so many users.
    pub fn new(users: usize) -> Streams {
        Streams((0..users).map(|_| Stream::default()).collect())
    }

    /// Appends a message to a user's stream.
    pub fn push(&mut self, user: UserId, message: &[u8]) {
        if let Some(stream) = self.0.get_mut(usize::from(user.0)) {
            stream.push(message);
        }
    }

    /// A user's stream.
    pub fn of(&self, user: UserId) -> Option<&Stream> {
        self.0.get(usize::from(user.0))
    }
}
