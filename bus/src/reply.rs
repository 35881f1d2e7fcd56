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
    /// Reads `ms-seq`.
    pub fn parse(bytes: &[u8]) -> Option<StreamId> {
        let dash = bytes.iter().position(|&byte| byte == b'-')?;
        Some(StreamId { ms: parse_decimal(&bytes[..dash])?, seq: parse_decimal(&bytes[dash + 1..])? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Names and values of a record's fields, borrowed from the reply.
pub type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

/// One record of any stream, with its place in it. One whose fields cannot be read keeps its id, so that a
/// reader goes on after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its stream id.
    pub id: StreamId,
    /// Its fields, name and value, or why they cannot be read.
    pub fields: Result<Fields<'a>, EntryError>,
}

/// An entry of `raw_market_data` with its place in the stream. A refused entry keeps its id, so that a reader
/// goes on after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamEntry<'a> {
    /// Its stream id.
    pub id: StreamId,
    /// The entry, or why it was refused.
    pub entry: Result<Entry<'a>, EntryError>,
}

impl<'a> From<Record<'a>> for StreamEntry<'a> {
    fn from(record: Record<'a>) -> StreamEntry<'a> {
        StreamEntry { id: record.id, entry: record.fields.and_then(Entry::parse) }
    }
}

/// The records of an XRANGE reply.
///
/// # Errors
/// When the reply is not a list of `[id, [field, value, …]]`.
pub fn records_of_range(reply: &Value) -> Result<Vec<Record<'_>>, EntryError> {
    match reply {
        Value::Nil => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(record).collect(),
        _ => Err(EntryError::Shape("expected a list of entries")),
    }
}

/// The entries of `raw_market_data` in an XRANGE reply.
///
/// # Errors
/// As [`records_of_range`].
pub fn entries_of_range(reply: &Value) -> Result<Vec<StreamEntry<'_>>, EntryError> {
    Ok(records_of_range(reply)?.into_iter().map(StreamEntry::from).collect())
}

/// A stream's name and the records that were read from it.
pub type StreamRecords<'a> = (&'a [u8], Vec<Record<'a>>);

/// A stream's name and the entries that were read from it.
pub type StreamEntries<'a> = (&'a [u8], Vec<StreamEntry<'a>>);

/// The records of an XREAD or XREADGROUP reply, stream by stream; empty when the read timed out.
///
/// # Errors
/// When the reply is not of that shape.
pub fn records_of_read(reply: &Value) -> Result<Vec<StreamRecords<'_>>, EntryError> {
    let pair = |name, records| Ok((bytes(name)?, records_of_range(records)?));
    match reply {
        Value::Nil => Ok(Vec::new()),
        Value::Map(streams) => streams.iter().map(|(name, records)| pair(name, records)).collect(),
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

/// The entries of `raw_market_data` in an XREAD or XREADGROUP reply.
///
/// # Errors
/// As [`records_of_read`].
pub fn entries_of_read(reply: &Value) -> Result<Vec<StreamEntries<'_>>, EntryError> {
    let streams = records_of_read(reply)?.into_iter();
    Ok(streams.map(|(name, records)| (name, records.into_iter().map(StreamEntry::from).collect())).collect())
}

fn record(item: &Value) -> Result<Record<'_>, EntryError> {
    let Value::Array(parts) = item else { return Err(EntryError::Shape("expected [id, fields]")) };
    let [id, fields] = parts.as_slice() else { return Err(EntryError::Shape("expected [id, fields]")) };
    let id = parse_id(id).ok_or(EntryError::Shape("not a stream id"))?;
    Ok(Record { id, fields: fields_of(fields) })
}

/// The stream id in a reply.
pub(crate) fn parse_id(value: &Value) -> Option<StreamId> {
    StreamId::parse(bytes(value).ok()?)
}

fn fields_of(fields: &Value) -> Result<Fields<'_>, EntryError> {
    let Value::Array(fields) = fields else { return Err(EntryError::Shape("expected fields")) };
    if fields.len() % 2 != 0 {
        return Err(EntryError::Shape("a field has no value"));
    }
    fields.chunks_exact(2).map(|pair| Ok((bytes(&pair[0])?, bytes(&pair[1])?))).collect()
}

fn bytes(value: &Value) -> Result<&[u8], EntryError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.as_bytes()),
        _ => Err(EntryError::Shape("expected a string")),
    }
}
