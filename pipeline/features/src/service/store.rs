//! What the service writes to Redis, each write behind the fence: as long as the lease is ours.
//!
//! | key | what |
//! |---|---|
//! | `calculated_features[:{i}]` | stream: the records, in order of their numbers |
//! | `latest_features:<publisher>:<instrument>` | hash: of each feature set the latest record, `<set>.<field>` |
//! | `calculated_features:schemas` | hash: what the values are |
//! | `features:state:<stream>` | the shard's kept state |
//!
//! Invariant: a record is in the stream once. The script that adds records looks itself what the newest
//! number is, so a write whose answer was lost can be sent again.

use super::outbox::Pending;
use super::shard::Newest;
use bus::config::FeatureSet;
use bus::consumer::{ConsumerError, Fence, Link};
use bus::names::{FEATURE_SCHEMAS, latest_features_key};
use bus::{FeatureRecord, FeatureSchema, records_of_range};
use redis::Value;
use std::collections::HashSet;

/// Records that are added in one write. Redis does nothing else meanwhile: about a millisecond.
pub(super) const RECORDS_A_WRITE: usize = 256;
/// How far back the newest record is looked for behind entries that are none. The script has the same number.
const LOOK_BACK: usize = 64;

/// Adds records whose numbers are above the newest: KEYS lease, stream; ARGV fence, entries_max, then for each
/// record its nine fields' values, the latest values' key (empty when a later record of this write has it) and
/// the set's name. Gives the newest number before, or -1 when the lease is another's.
const PUBLISH: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local last = 0
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 64)) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then last = math.max(last, tonumber(fields[i + 1]) or 0) end
  end
  if last > 0 then break end
end
local call = redis.call
for a = 3, #ARGV, 11 do
  if tonumber(ARGV[a]) > last then
    call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'n', ARGV[a], 'p', ARGV[a + 1], 'i', ARGV[a + 2],
      't', ARGV[a + 3], 'c', ARGV[a + 4], 's', ARGV[a + 5], 'k', ARGV[a + 6], 'q', ARGV[a + 7], 'v', ARGV[a + 8])
    if ARGV[a + 9] ~= '' then
      local set = ARGV[a + 10] .. '.'
      call('HSET', ARGV[a + 9], set .. 'n', ARGV[a], set .. 'p', ARGV[a + 1], set .. 'i', ARGV[a + 2],
        set .. 't', ARGV[a + 3], set .. 'c', ARGV[a + 4], set .. 's', ARGV[a + 5], set .. 'k', ARGV[a + 6],
        set .. 'q', ARGV[a + 7], set .. 'v', ARGV[a + 8])
    end
  end
end
return last";

/// What the service writes to, and what it wrote earlier.
pub(super) struct Store {
    link: Link,
    entries_max: u64,
}

fn state_key(stream: &str) -> String {
    format!("features:state:{stream}")
}

impl Store {
    pub(super) fn new(url: &str, entries_max: u64) -> Result<Store, ConsumerError> {
        Ok(Store { link: Link::new(url)?, entries_max })
    }

    /// Another number of records is to be kept in the streams.
    pub(super) fn set_entries_max(&mut self, entries_max: u64) {
        self.entries_max = entries_max;
    }

    /// Publishes what the records' values are.
    pub(super) fn publish_schemas(&mut self, schemas: &[FeatureSchema]) -> Result<(), ConsumerError> {
        let mut set = redis::cmd("HSET");
        set.arg(FEATURE_SCHEMAS);
        for schema in schemas {
            // A schema is names and units: it can always be written.
            let text = serde_json::to_string(schema).unwrap_or_default();
            set.arg(format!("{:016x}", schema.id())).arg(text);
        }
        self.link.ask(&set)
    }

    /// The state that was kept, if any.
    pub(super) fn kept(&mut self, stream: &str) -> Result<Option<Vec<u8>>, ConsumerError> {
        self.link.ask(redis::cmd("GET").arg(state_key(stream)))
    }

    /// The newest record in a features' stream; all zero when there is none.
    pub(super) fn newest(&mut self, features: &str) -> Result<Newest, ConsumerError> {
        let mut ask = redis::cmd("XREVRANGE");
        ask.arg(features).arg("+").arg("-").arg("COUNT").arg(LOOK_BACK);
        let reply: Value = self.link.ask(&ask)?;
        let records = records_of_range(&reply)?;
        let newest = records.into_iter().find_map(|record| FeatureRecord::parse(record.fields.ok()?).ok());
        Ok(newest
            .map_or_else(Newest::default, |record| Newest { number: record.number, time_ns: record.time_ns }))
    }

    /// Publishes records of these sets; `false` when the lease is another's.
    pub(super) fn publish(
        &mut self,
        fence: &Fence,
        features: &str,
        sets: &[FeatureSet],
        records: &[Pending],
    ) -> Result<bool, ConsumerError> {
        let mut publish = redis::cmd("EVAL");
        publish.arg(PUBLISH).arg(2).arg(&fence.key).arg(features);
        publish.arg(&fence.value).arg(self.entries_max);
        for (pending, is_latest) in records.iter().zip(latest(records)) {
            let record = pending.record();
            record.for_each_field(|_, value| {
                publish.arg(value);
            });
            let key = is_latest.then(|| latest_features_key(record.publisher_id, record.instrument_id));
            publish.arg(key.unwrap_or_default()).arg(&sets[pending.set].name);
        }
        Ok(self.link.ask::<i64>(&publish)? >= 0)
    }

    /// Keeps a state; `false` when the lease is another's.
    pub(super) fn keep(&mut self, fence: &Fence, stream: &str, state: &[u8]) -> Result<bool, ConsumerError> {
        let mut keep = redis::pipe();
        keep.atomic().cmd("SET").arg(state_key(stream)).arg(state);
        self.link.transact(fence, &keep)
    }
}

/// For each record whether it is the last of its instrument and set.
fn latest(records: &[Pending]) -> Vec<bool> {
    let mut seen = HashSet::new();
    let mut latest: Vec<bool> = records
        .iter()
        .rev()
        .map(|pending| {
            let record = pending.record();
            seen.insert((record.publisher_id, record.instrument_id, pending.set))
        })
        .collect();
    latest.reverse();
    latest
}
