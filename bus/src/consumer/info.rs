//! What Redis knows about a stream, beyond its entries.

use super::{ConsumerError, Link};
use crate::reply::parse_id;
use crate::{EntryError, StreamId};
use redis::Value;

/// Why entries that were to be read are not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhyMissing {
    /// The stream was trimmed past the place where it had been read to: the reader was too slow, or away for
    /// too long, for the stream's length.
    Trimmed,
    /// Redis had acknowledged them and does not have them: it was restarted without its data, a failover
    /// went to a replica that was behind, or someone deleted them.
    LostByRedis,
}

impl WhyMissing {
    /// As it is stored and counted: `trimmed` or `redis_lost`.
    pub fn name(self) -> &'static str {
        match self {
            WhyMissing::Trimmed => "trimmed",
            WhyMissing::LostByRedis => "redis_lost",
        }
    }
}

/// How much a stream has held. All zero when there is no such stream; the default is one never looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamInfo {
    /// The id of the last entry that it ever had.
    pub last: StreamId,
    /// Entries in it.
    pub length: u64,
    /// Entries that were ever added; not known by Redis before 7.0.
    pub added: Option<u64>,
}

impl StreamInfo {
    /// Asks Redis (`XINFO STREAM`).
    ///
    /// # Errors
    /// When Redis cannot be asked, or the key is no stream.
    pub fn ask(link: &mut Link, stream: &str) -> Result<StreamInfo, ConsumerError> {
        let info: Value = match link.ask(redis::cmd("XINFO").arg("STREAM").arg(stream)) {
            Ok(info) => info,
            Err(ConsumerError::Refused(refusal)) if refusal.error.to_string().contains("no such key") => {
                return Ok(StreamInfo { added: Some(0), ..StreamInfo::default() });
            }
            Err(error) => return Err(error),
        };
        let shape = || ConsumerError::Answer(EntryError::Shape("XINFO STREAM gives no length or last id"));
        let fields: Vec<(String, Value)> = redis::from_redis_value(info).map_err(|_| shape())?;
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
        let number = |name: &str| match field(name) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        Ok(StreamInfo {
            last: field("last-generated-id").and_then(parse_id).ok_or_else(shape)?,
            length: number("length").ok_or_else(shape)?,
            added: number("entries-added"),
        })
    }

    /// Whether nothing was ever trimmed or deleted: what is not in it was never added. `false` when Redis does not tell.
    pub(super) fn has_all_that_was_added(&self) -> bool {
        self.added.is_some_and(|added| added <= self.length)
    }

    /// Whether a stream that once was as `seen`, and was read up to `after`, has lost entries otherwise than
    /// by trimming.
    pub(super) fn is_less_than(&self, seen: &StreamInfo, after: StreamId) -> bool {
        self.last < after || self.added.is_some_and(|added| seen.added.is_some_and(|seen| added < seen))
    }
}
