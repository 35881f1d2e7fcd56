//! Reads streams from cursors on.

use super::info::StreamInfo;
use super::{ANSWER_WITHIN, ConsumerError, Link, WhyMissing};
use crate::reply::{StreamRecords, records_of_range, records_of_read};
use crate::{EntryError, StreamId};
use redis::Value;
use std::time::{Duration, Instant};

/// Longest time that one call waits in Redis; longer waits are divided. Below the timeout of the connection.
const BLOCK_MAX: Duration = Duration::from_secs(2);
const _: () = assert!(BLOCK_MAX.as_millis() < ANSWER_WITHIN.as_millis());
/// How often a stream is looked at, whether it is still the one that was read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads one or more streams, each from its own cursor on.
///
/// A reader connects when it first reads, and again when the connection broke. The cursors are here; what is
/// stored of them is the caller's business.
pub struct Reader {
    link: Link,
    streams: Vec<Followed>,
    entries_max: usize,
    /// Found and not yet told.
    restarted: Vec<String>,
    /// When the streams were last looked at; never since one was followed.
    looked: Option<Instant>,
}

struct Followed {
    name: String,
    after: StreamId,
    seen: StreamInfo,
    /// What lay up to here when the stream was last found to be restarted is lost, not trimmed.
    lost_to: StreamId,
}

/// What one read brought.
#[derive(Debug, Default)]
pub struct Batch {
    reply: Option<Value>,
    /// Streams that Redis has lost, whole or in part, since they were read: it was restarted without its
    /// data or with an older state, or the stream was deleted. Reading goes on behind what is left of them,
    /// so nothing is read twice; what is missing shows in the numbers of the entries that follow.
    pub restarted: Vec<String>,
}

impl Batch {
    /// The records, stream by stream, in order.
    ///
    /// # Errors
    /// When the reply is not of the shape of XREAD's.
    pub fn streams(&self) -> Result<Vec<StreamRecords<'_>>, EntryError> {
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
        let link = Link::new(url)?;
        Ok(Reader { link, streams: Vec::new(), entries_max, restarted: Vec::new(), looked: None })
    }

    /// Reads this stream from behind `after` on; from its beginning with the zero id. A stream that is
    /// followed already is set to the new place.
    pub fn follow(&mut self, stream: &str, after: StreamId) {
        match self.streams.iter_mut().find(|followed| followed.name == stream) {
            // What was seen of it stays known, so that a loss is found all the same.
            Some(followed) => followed.after = after,
            None => self.streams.push(Followed {
                name: stream.to_owned(),
                after,
                seen: StreamInfo::default(),
                lost_to: StreamId::default(),
            }),
        }
        // The next read looks whether the stream still reaches as far.
        self.looked = None;
    }

    /// Does not read this stream any more.
    pub fn leave(&mut self, stream: &str) {
        self.streams.retain(|followed| followed.name != stream);
        self.restarted.retain(|name| name != stream);
    }

    /// How far this stream was read.
    pub fn cursor(&self, stream: &str) -> Option<StreamId> {
        self.followed(stream).map(|followed| followed.after)
    }

    fn followed(&self, stream: &str) -> Option<&Followed> {
        self.streams.iter().find(|followed| followed.name == stream)
    }

    /// What has come since the last read; waits up to `wait` (2 s at most) when nothing has. Empty when
    /// nothing came, or no stream is followed.
    ///
    /// # Errors
    /// When Redis cannot be asked, after a short wait; the next read connects again. A stream whose key
    /// holds something else stops the others, too, and is named.
    pub fn read(&mut self, wait: Duration) -> Result<Batch, ConsumerError> {
        if self.streams.is_empty() {
            std::thread::sleep(wait);
            return Ok(Batch::default());
        }
        // On a new connection, and now and then: a stream may have been deleted under us. Nothing else tells.
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        if is_due || !self.link.is_connected() {
            self.look()?;
        }
        let reply = if self.restarted.is_empty() { self.ask(wait.min(BLOCK_MAX))? } else { None };
        Ok(Batch { reply, restarted: std::mem::take(&mut self.restarted) })
    }

    /// Why entries behind `after` are not in the stream. For a hole in a channel's numbers, `after` is the last
    /// entry *of that channel* that was read, or where reading began when there was none since: the stream's
    /// cursor may have passed the place already, with entries of other channels.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub fn why_missing(&mut self, stream: &str, after: StreamId) -> Result<WhyMissing, ConsumerError> {
        if self.followed(stream).is_some_and(|followed| after <= followed.lost_to) {
            return Ok(WhyMissing::LostByRedis);
        }
        let info = StreamInfo::ask(&mut self.link, stream)?;
        // Trimming takes the oldest first: it has not come as far as what is still there.
        let mut older = redis::cmd("XREVRANGE");
        older.arg(stream).arg(after.to_string()).arg("-").arg("COUNT").arg(1);
        let older: Value = self.link.ask(&older)?;
        if !records_of_range(&older)?.is_empty() || info.has_all_that_was_added() {
            Ok(WhyMissing::LostByRedis)
        } else {
            Ok(WhyMissing::Trimmed)
        }
    }

    fn ask(&mut self, wait: Duration) -> Result<Option<Value>, ConsumerError> {
        let reply: Value = match self.link.ask(&self.command(wait)) {
            Err(error) if error.code() == Some("WRONGTYPE") => return Err(self.name_the_key(error)),
            reply => reply?,
        };
        if reply == Value::Nil {
            return Ok(None);
        }
        self.advance(&reply)?;
        Ok(Some(reply))
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

    /// Finds streams that have lost what was read of them. The cursor of one that does not reach as far any
    /// more goes back to its end: what it still has was read, what comes is new.
    fn look(&mut self) -> Result<(), ConsumerError> {
        for followed in &mut self.streams {
            let was_read = followed.after > StreamId::default();
            // Of a place that comes from elsewhere, nothing was seen that could have become less. It is asked for before
            // the counts: trimmed in between, it is gone and something was removed.
            let is_strange = was_read && followed.seen == StreamInfo::default();
            let is_gone = is_strange && !holds(&mut self.link, &followed.name, followed.after)?;
            let info = match StreamInfo::ask(&mut self.link, &followed.name) {
                Err(ConsumerError::Refused(refusal)) => {
                    let key = Some(followed.name.clone());
                    return Err(ConsumerError::Refused(super::Refusal { key, ..refusal }));
                }
                info => info?,
            };
            let is_another = is_gone && info.has_all_that_was_added();
            if was_read && (is_another || info.is_less_than(&followed.seen, followed.after)) {
                followed.lost_to = followed.after;
                followed.after = followed.after.min(info.last);
                self.restarted.push(followed.name.clone());
            }
            followed.seen = info;
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// XREAD does not say which of its keys is no stream.
    fn name_the_key(&mut self, error: ConsumerError) -> ConsumerError {
        let ConsumerError::Refused(mut refusal) = error else { return error };
        let link = &mut self.link;
        let no_stream = |name: &String| {
            let kind: Result<String, _> = link.ask(redis::cmd("TYPE").arg(name));
            kind.is_ok_and(|kind| kind != "stream" && kind != "none")
        };
        refusal.key = self.streams.iter().map(|followed| followed.name.clone()).find(no_stream);
        ConsumerError::Refused(refusal)
    }
}

/// Whether an entry is in a stream.
fn holds(link: &mut Link, stream: &str, id: StreamId) -> Result<bool, ConsumerError> {
    let mut range = redis::cmd("XREVRANGE");
    range.arg(stream).arg(id.to_string()).arg(id.to_string());
    let found: Value = link.ask(&range)?;
    Ok(!records_of_range(&found)?.is_empty())
}
