//! Reads streams from cursors on.

use super::{ANSWER_WITHIN, ConsumerError, Link};
use crate::reply::{Record, records_of_read};
use crate::{EntryError, StreamId};
use redis::Value;
use std::time::Duration;

/// Longest time that one call waits in Redis; longer waits are divided. Below the timeout of the connection.
const BLOCK_MAX: Duration = Duration::from_secs(2);
const _: () = assert!(BLOCK_MAX.as_millis() < ANSWER_WITHIN.as_millis());

/// Reads one or more streams, each from its own cursor on.
///
/// A reader connects when it first reads, and again when the connection broke. The cursors are here; what is
/// stored of them is the caller's business.
pub struct Reader {
    link: Link,
    streams: Vec<Followed>,
    entries_max: usize,
}

struct Followed {
    name: String,
    after: StreamId,
}

/// What one read brought.
#[derive(Debug, Default)]
pub struct Batch {
    reply: Option<Value>,
    /// Streams that Redis has lost, whole or in part, since they were read (it was restarted without its
    /// data, or the stream was deleted): they are read from their beginning now.
    pub restarted: Vec<String>,
}

impl Batch {
    /// The records, stream by stream, in order.
    ///
    /// # Errors
    /// When the reply is not of the shape of XREAD's.
    pub fn streams(&self) -> Result<Vec<(&[u8], Vec<Record<'_>>)>, EntryError> {
        self.reply.as_ref().map_or(Ok(Vec::new()), records_of_read)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.reply.is_none() && self.restarted.is_empty()
    }
}

impl Reader {
    /// A reader of a Redis (`unix:///path` or `redis://host:port/db`) that takes at most `entries_max`
    /// entries of each stream at a time.
    ///
    /// # Errors
    /// When the address cannot be understood. Nothing is connected yet.
    pub fn new(url: &str, entries_max: usize) -> Result<Reader, ConsumerError> {
        Ok(Reader { link: Link::new(url)?, streams: Vec::new(), entries_max })
    }

    /// Reads this stream from behind `after` on; from its beginning with the zero id. A stream that is
    /// followed already is set to the new place.
    pub fn follow(&mut self, stream: &str, after: StreamId) {
        match self.streams.iter_mut().find(|followed| followed.name == stream) {
            Some(followed) => followed.after = after,
            None => self.streams.push(Followed { name: stream.to_owned(), after }),
        }
        // The next read connects anew, and so looks whether the stream still reaches as far.
        self.link.connection = None;
    }

    /// Does not read this stream any more.
    pub fn leave(&mut self, stream: &str) {
        self.streams.retain(|followed| followed.name != stream);
    }

    /// How far this stream was read.
    pub fn cursor(&self, stream: &str) -> Option<StreamId> {
        self.streams.iter().find(|followed| followed.name == stream).map(|followed| followed.after)
    }

    /// What has come since the last read; waits up to `wait` when nothing has. Empty when nothing came, or
    /// no stream is followed.
    ///
    /// # Errors
    /// When Redis cannot be asked, after a short wait; the next read connects again.
    pub fn read(&mut self, wait: Duration) -> Result<Batch, ConsumerError> {
        if self.streams.is_empty() {
            std::thread::sleep(wait);
            return Ok(Batch::default());
        }
        if !self.link.is_connected() {
            let restarted = self.find_restarted()?;
            if !restarted.is_empty() {
                return Ok(Batch { reply: None, restarted });
            }
        }
        let reply: Value = self.link.ask(&self.command(wait.min(BLOCK_MAX)))?;
        if reply == Value::Nil {
            // The moment to see whether a stream was deleted under us: nothing else would tell.
            let restarted = self.find_restarted()?;
            return Ok(Batch { reply: None, restarted });
        }
        self.advance(&reply)?;
        Ok(Batch { reply: Some(reply), restarted: Vec::new() })
    }

    fn command(&self, wait: Duration) -> redis::Cmd {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(self.entries_max);
        // BLOCK 0 would wait for ever.
        if wait >= Duration::from_millis(1) {
            read.arg("BLOCK").arg(wait.as_millis() as u64);
        }
        read.arg("STREAMS");
        for followed in &self.streams {
            read.arg(&followed.name);
        }
        for followed in &self.streams {
            read.arg(followed.after.to_string());
        }
        read
    }

    fn advance(&mut self, reply: &Value) -> Result<(), EntryError> {
        for (name, records) in records_of_read(reply)? {
            if let (Some(followed), Some(last)) =
                (self.streams.iter_mut().find(|followed| followed.name.as_bytes() == name), records.last())
            {
                followed.after = last.id;
            }
        }
        Ok(())
    }

    /// Sets the cursors of streams that do not reach as far as they were read back to the beginning.
    fn find_restarted(&mut self) -> Result<Vec<String>, ConsumerError> {
        let mut restarted = Vec::new();
        for followed in &mut self.streams {
            if followed.after == StreamId::default() {
                continue;
            }
            if last_id(&mut self.link, &followed.name)? < followed.after {
                followed.after = StreamId::default();
                restarted.push(followed.name.clone());
            }
        }
        Ok(restarted)
    }
}

/// The id of the last entry that a stream ever had; zero when there is no such stream.
fn last_id(link: &mut Link, stream: &str) -> Result<StreamId, ConsumerError> {
    let info: Value = match link.ask(redis::cmd("XINFO").arg("STREAM").arg(stream)) {
        Ok(info) => info,
        Err(ConsumerError::Refused(error)) if error.to_string().contains("no such key") => {
            return Ok(StreamId::default());
        }
        Err(error) => return Err(error),
    };
    let shape = || ConsumerError::Answer(EntryError::Shape("XINFO STREAM names no last id"));
    let fields: Vec<(String, Value)> = redis::from_redis_value(info).map_err(|_| shape())?;
    let last = fields.into_iter().find(|(name, _)| name == "last-generated-id").map(|(_, value)| value);
    match last {
        Some(Value::BulkString(id)) => StreamId::parse(&id).ok_or_else(shape),
        Some(Value::SimpleString(id)) => StreamId::parse(id.as_bytes()).ok_or_else(shape),
        _ => Err(shape()),
    }
}
