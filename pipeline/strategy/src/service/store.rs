//! What the service writes to Redis, each write behind the fence: as long as the lease is ours. And what it reads
//! besides following streams.
//!
//! | key | what |
//! |---|---|
//! | `order_instructions[:{i}]` | stream: instructions, some of them again |
//! | `execution_reports[:{i}]` | stream: denials, `n` = 0 |
//! | `model_scores[:{i}]` | stream: what models say |
//! | `strategy:state:<stream>` | the shard's kept books |

use bus::config::InstrumentKey;
use bus::consumer::{ConsumerError, Fence, Link, StreamInfo};
use bus::names::{FEATURE_SCHEMAS, TRADING_STATE, instruments_key, latest_features_key};
use bus::{EntryError, FeatureSchema, Fields, InstrumentRow, StreamId, records_of_range};
use redis::Value;
use std::collections::BTreeMap;
use strategy::host::Output;

/// Outputs in one write: Redis does nothing else meanwhile.
pub(super) const OUTPUTS_A_WRITE: usize = 256;
/// Entries in one page, when a stream is read whole.
const ENTRIES_A_PAGE: usize = 1_000;

/// Adds entries as long as the lease is ours: KEYS lease, instructions, reports, scores; ARGV fence, entries_max, then for each
/// entry which key, how many strings, and the strings. Gives -1 when the lease is another's.
const PUBLISH: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local at = 3
while at <= #ARGV do
  local last = at + 1 + tonumber(ARGV[at + 1])
  redis.call('XADD', KEYS[tonumber(ARGV[at])], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, at + 2, last))
  at = last + 1
end
return 1";

/// The streams of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Streams {
    pub(super) ticks: String,
    pub(super) features: String,
    pub(super) instructions: String,
    pub(super) reports: String,
    pub(super) scores: String,
}

/// The service's own connection.
pub(super) struct Store {
    link: Link,
    script: Option<String>,
}

fn state_key(stream: &str) -> String {
    format!("strategy:state:{stream}")
}

impl Store {
    pub(super) fn new(url: &str) -> Result<Store, ConsumerError> {
        Ok(Store { link: Link::new(url)?, script: None })
    }

    /// Publishes; `false` when the lease is another's. After an error it is not known whether all was.
    pub(super) fn publish(
        &mut self,
        fence: &Fence,
        streams: &Streams,
        entries_max: u64,
        outputs: &[Output],
    ) -> Result<bool, ConsumerError> {
        let script = match &self.script {
            Some(script) => script.clone(),
            None => self.load_script()?,
        };
        match self.link.ask::<i64>(&publish_command(&script, fence, streams, entries_max, outputs)) {
            // Redis was restarted, or told to forget its scripts.
            Err(ConsumerError::Refused(refusal)) if refusal.error.code() == Some("NOSCRIPT") => {
                let script = self.load_script()?;
                let publish = publish_command(&script, fence, streams, entries_max, outputs);
                Ok(self.link.ask::<i64>(&publish)? >= 0)
            }
            published => Ok(published? >= 0),
        }
    }

    fn load_script(&mut self) -> Result<String, ConsumerError> {
        let script: String = self.link.ask(redis::cmd("SCRIPT").arg("LOAD").arg(PUBLISH))?;
        self.script = Some(script.clone());
        Ok(script)
    }

    /// The state that was kept, if any.
    pub(super) fn kept(&mut self, stream: &str) -> Result<Option<Vec<u8>>, ConsumerError> {
        self.link.ask(redis::cmd("GET").arg(state_key(stream)))
    }

    /// Keeps a state; `false` when the lease is another's.
    pub(super) fn keep(&mut self, fence: &Fence, stream: &str, state: &[u8]) -> Result<bool, ConsumerError> {
        let mut keep = redis::pipe();
        keep.atomic().cmd("SET").arg(state_key(stream)).arg(state);
        self.link.transact(fence, &keep)
    }

    /// What Redis knows of a stream.
    pub(super) fn info(&mut self, stream: &str) -> Result<StreamInfo, ConsumerError> {
        StreamInfo::ask(&mut self.link, stream)
    }

    /// Every entry of a stream from its beginning on, in pages. Gives the id of the last one.
    pub(super) fn read_whole(
        &mut self,
        stream: &str,
        mut take: impl FnMut(StreamId, Result<Fields<'_>, EntryError>),
    ) -> Result<StreamId, ConsumerError> {
        let mut last = StreamId::default();
        loop {
            let mut page = redis::cmd("XRANGE");
            page.arg(stream).arg(format!("({last}")).arg("+").arg("COUNT").arg(ENTRIES_A_PAGE);
            let reply: Value = self.link.ask(&page)?;
            let records = records_of_range(&reply)?;
            if records.is_empty() {
                return Ok(last);
            }
            for record in records {
                last = record.id;
                take(record.id, record.fields);
            }
        }
    }

    /// The last entry of `trading_state`, with its place.
    pub(super) fn last_trading_state<T>(
        &mut self,
        take: impl FnOnce(Result<Fields<'_>, EntryError>) -> T,
    ) -> Result<Option<(StreamId, T)>, ConsumerError> {
        let mut last = redis::cmd("XREVRANGE");
        last.arg(TRADING_STATE).arg("+").arg("-").arg("COUNT").arg(1);
        let reply: Value = self.link.ask(&last)?;
        let record = records_of_range(&reply)?.into_iter().next();
        Ok(record.map(|record| (record.id, take(record.fields))))
    }

    /// A publisher's instruments: id and row, those that can be read; and how many cannot.
    pub(super) fn instruments(
        &mut self,
        publisher_id: u16,
    ) -> Result<(Vec<(u32, InstrumentRow)>, usize), ConsumerError> {
        // In the order of their ids, so that two restarts do the same.
        let rows: BTreeMap<String, String> =
            self.link.ask(redis::cmd("HGETALL").arg(instruments_key(publisher_id)))?;
        let count = rows.len();
        let read = |(id, row): (String, String)| Some((id.parse().ok()?, serde_json::from_str(&row).ok()?));
        let mut read: Vec<(u32, InstrumentRow)> = rows.into_iter().filter_map(read).collect();
        read.sort_by_key(|(id, _)| *id);
        let unreadable = count - read.len();
        Ok((read, unreadable))
    }

    /// What the values of features are.
    pub(super) fn schemas(&mut self) -> Result<Vec<(u64, FeatureSchema)>, ConsumerError> {
        let schemas: BTreeMap<String, String> = self.link.ask(redis::cmd("HGETALL").arg(FEATURE_SCHEMAS))?;
        let read = |(id, text): (String, String)| {
            Some((u64::from_str_radix(&id, 16).ok()?, serde_json::from_str(&text).ok()?))
        };
        Ok(schemas.into_iter().filter_map(read).collect())
    }

    /// The latest features of instruments: for each the fields of its hash.
    pub(super) fn latest_features(
        &mut self,
        keys: &[InstrumentKey],
        mut take: impl FnMut(&BTreeMap<String, Vec<u8>>),
    ) -> Result<(), ConsumerError> {
        for key in keys {
            let hash = latest_features_key(key.publisher_id, key.instrument_id);
            take(&self.link.ask(redis::cmd("HGETALL").arg(hash))?);
        }
        Ok(())
    }
}

fn publish_command(
    script: &str,
    fence: &Fence,
    streams: &Streams,
    entries_max: u64,
    outputs: &[Output],
) -> redis::Cmd {
    let mut publish = redis::cmd("EVALSHA");
    publish.arg(script).arg(4).arg(&fence.key);
    publish.arg(&streams.instructions).arg(&streams.reports).arg(&streams.scores);
    publish.arg(&fence.value).arg(entries_max);
    let mut strings = Vec::with_capacity(44);
    for output in outputs {
        strings.clear();
        let mut put = |name: &str, value: &[u8]| {
            strings.push(name.as_bytes().to_vec());
            strings.push(value.to_vec());
        };
        let key = match output {
            Output::Instruction(instruction) | Output::Again(instruction) => {
                instruction.for_each_field(&mut put);
                2
            }
            Output::Denied(report) => {
                report.for_each_field(&mut put);
                3
            }
            Output::Score(score) => {
                score.for_each_field(&mut put);
                4
            }
        };
        publish.arg(key).arg(strings.len());
        for string in &strings {
            publish.arg(string);
        }
    }
    publish
}
