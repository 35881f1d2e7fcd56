//! Replies of XREAD, XREADGROUP and XRANGE, taken apart without copying. RESP2 and RESP3 shapes.

use crate::entry::parse_decimal;
use crate::{Entry, EntryError};
use redis::Value;
use std::fmt;

/// A stream id: milliseconds and a number within the millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StreamId {
    /// Redis's clock, ms since the Unix epoch.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    fn parse(bytes: &[u8]) -> Option<StreamId> {
        let dash = bytes.iter().position(|&byte| byte == b'-')?;
        Some(StreamId { ms: parse_decimal(&bytes[..dash])?, seq: parse_decimal(&bytes[dash + 1..])? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// An entry with its place in the stream. A refused entry keeps its id, so that a reader goes on after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamEntry<'a> {
    /// Its stream id.
    pub id: StreamId,
    /// The entry, or why it was refused.
    pub entry: Result<Entry<'a>, EntryError>,
}

/// The entries of an XRANGE reply.
///
/// # Errors
/// When the reply is not a list of `[id, [field, value, …]]`.
pub fn entries_of_range(reply: &Value) -> Result<Vec<StreamEntry<'_>>, EntryError> {
    match reply {
        Value::Nil => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(stream_entry).collect(),
        _ => Err(EntryError::Shape("expected a list of entries")),
    }
}

/// A stream's name and the entries that were read from it.
pub type StreamEntries<'a> = (&'a [u8], Vec<StreamEntry<'a>>);

/// The entries of an XREAD or XREADGROUP reply, stream by stream; empty when the read timed out.
///
/// # Errors
/// When the reply is not of that shape.
pub fn entries_of_read(reply: &Value) -> Result<Vec<StreamEntries<'_>>, EntryError> {
    let pair = |name, entries| Ok((bytes(name)?, entries_of_range(entries)?));
    match reply {
        Value::Nil => Ok(Vec::new()),
        Value::Map(streams) => streams.iter().map(|(name, entries)| pair(name, entries)).collect(),
        Value::Array(streams) => streams
            .iter()
            .map(|stream| match stream {
                Value::Array(parts) if parts.len() == 2 => pair(&parts[0], &parts[1]),
                _ => Err(EntryError::Shape("expected [stream, entries]")),
            })
            .collect(),
        _ => Err(EntryError::Shape("expected a list of streams")),
    }
}

fn stream_entry(item: &Value) -> Result<StreamEntry<'_>, EntryError> {
    let Value::Array(parts) = item else { return Err(EntryError::Shape("expected [id, fields]")) };
    let [id, fields] = parts.as_slice() else { return Err(EntryError::Shape("expected [id, fields]")) };
    let id = StreamId::parse(bytes(id)?).ok_or(EntryError::Shape("not a stream id"))?;
    Ok(StreamEntry { id, entry: entry_of(fields) })
}

fn entry_of(fields: &Value) -> Result<Entry<'_>, EntryError> {
    let Value::Array(fields) = fields else { return Err(EntryError::Shape("expected fields")) };
    if fields.len() % 2 != 0 {
        return Err(EntryError::Shape("a field has no value"));
    }
    let mut pairs = Vec::with_capacity(fields.len() / 2);
    for pair in fields.chunks_exact(2) {
        pairs.push((bytes(&pair[0])?, bytes(&pair[1])?));
    }
    Entry::parse(pairs)
}

fn bytes(value: &Value) -> Result<&[u8], EntryError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.as_bytes()),
        _ => Err(EntryError::Shape("expected a string")),
    }
}
