//! The service around the engine: shards by lease, ticks in, records out, state kept.
//!
//! ```text
//!  tend leases ─► lost: drop the engine        taken: load the state, or begin at the stream's beginning
//!       │
//!  publish what waits ─► Redis gone: keep it, read nothing new
//!       │
//!  other feature sets, if there are ─► engine ─► keep the state
//!       │
//!  read entries ─► ticks, gaps ─► engine ─► outbox ─► publish          (one thread: all in this order)
//!       │
//!  keep the state when it is time, with nothing waiting
//! ```
//!
//! One process is one thread of work. More shards than a core can do are divided over more processes.
//!
//! Invariants: a state is kept only when all that the engine gave out is in the stream, and a record is
//! published only under the lease. So kill −9 at any place costs the calculation since the last kept state,
//! and neither loses nor doubles a record.

mod configure;
mod figures;
mod kept;
mod outbox;
mod shard;
mod store;

use anyhow::Context;
use bus::config::{FeatureSet, FeaturesDocument};
use bus::consumer::{Batch, ConsumerError, Lease, Members, MembersConfig, Reader, WhyMissing, process_name};
use bus::names::{CALCULATED_FEATURES, RAW_MARKET_DATA, shard_stream};
use bus::{FeatureSchema, StreamId};
pub(crate) use configure::Managed;
use kept::Kept;
use shard::{Newest, Shard};
use std::time::{Duration, Instant};
use store::{RECORDS_A_WRITE, Store};
use tracing::{error, info, warn};
use vitals::{Part, Stop, Vitals};

/// Most entries that one read takes of each stream: 8 MiB of full ones.
const ENTRIES_A_READ: usize = 256;
/// Longest wait for entries: the delay of a stop and of everything else that is looked at in a turn.
const WAIT: Duration = Duration::from_millis(50);
/// How long a service that is to end tries to publish what it has read.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A running feature service.
pub(crate) struct Service {
    document: FeaturesDocument,
    schemas: Vec<FeatureSchema>,
    members: Members,
    reader: Reader,
    store: Store,
    shards: Vec<Shard>,
    /// Taken and not yet loaded.
    opening: Vec<Lease>,
    /// What we had of them until the lease was lost and taken anew.
    dormant: Vec<Shard>,
    /// Where another document comes from, if from anywhere.
    managed: Option<Managed>,
    /// A shard may have other sets than the document's.
    sets_due: bool,
    parts: Parts,
}

struct Parts {
    redis: Part,
    shards: Part,
    trouble: Option<String>,
}

impl Service {
    /// Makes the service; nothing is connected yet.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood.
    pub(crate) fn new(
        document: FeaturesDocument,
        managed: Option<Managed>,
        vitals: &Vitals,
    ) -> anyhow::Result<Service> {
        let streams = (0..document.shards).map(|shard| shard_stream(RAW_MARKET_DATA, shard, document.shards));
        let members = Members::new(MembersConfig {
            redis: document.redis.clone(),
            group: "features".into(),
            member: document.member.clone().unwrap_or_else(process_name),
            streams: streams.collect(),
            lease: Duration::from_millis(document.lease_ms),
        })
        .context("redis")?;
        let parts = Parts { redis: vitals.part("redis"), shards: vitals.part("shards"), trouble: None };
        Ok(Service {
            schemas: document.sets.iter().map(FeatureSet::schema).collect(),
            members,
            reader: Reader::new(&document.redis, ENTRIES_A_READ)?,
            store: Store::new(&document.redis, document.entries_max)?,
            shards: Vec::new(),
            opening: Vec::new(),
            dormant: Vec::new(),
            managed,
            sets_due: false,
            parts,
            document,
        })
    }

    /// Works until it is asked to end; then publishes what it has read, keeps the state and gives the leases
    /// back.
    pub(crate) fn run(mut self, stop: &Stop) {
        while !stop.is_asked() {
            match self.turn() {
                Ok(()) => self.parts.all_is_well(),
                Err(error) => self.parts.trouble(&error),
            }
            self.show();
        }
        self.end();
    }

    fn turn(&mut self) -> Result<(), ConsumerError> {
        self.configure();
        self.tend()?;
        self.open_taken()?;
        if !self.publish_all()? {
            // The lease is another's, or runs out: the next look after the leases tells.
            std::thread::sleep(WAIT);
            return Ok(());
        }
        self.change_sets_due()?;
        if self.shards.iter().any(|shard| !shard.is_kept_at_all()) {
            // The same: nothing is read before the state is kept.
            std::thread::sleep(WAIT);
            return Ok(());
        }
        let batch = self.reader.read(WAIT)?;
        if let Err(error) = self.take(&batch) {
            // What was not taken is read again.
            self.shards.iter().for_each(|shard| self.reader.follow(&shard.stream, shard.cursor));
            return Err(error);
        }
        self.publish_all()?;
        self.keep_due()
    }

    fn tend(&mut self) -> Result<(), ConsumerError> {
        let tended = self.members.tend()?;
        for stream in tended.lost {
            self.opening.retain(|lease| lease.stream != stream);
            let ours = self.shards.extract_if(.., |shard| shard.stream == stream);
            self.dormant.extend(ours);
            figures::lease(&stream, false);
            if !tended.taken.iter().any(|lease| lease.stream == stream) {
                self.dormant.retain(|shard| shard.stream != stream);
                self.reader.leave(&stream);
                info!(stream, "the lease is lost, the shard is another's");
            }
        }
        for lease in tended.taken {
            figures::lease(&lease.stream, true);
            self.opening.push(lease);
        }
        Ok(())
    }

    fn open_taken(&mut self) -> Result<(), ConsumerError> {
        while let Some(lease) = self.opening.last().cloned() {
            self.parts.shards.is_bad(format!("loading {}", lease.stream));
            self.open(&lease)?;
            self.opening.pop();
        }
        self.parts.shards.is_good();
        Ok(())
    }

    fn open(&mut self, lease: &Lease) -> Result<(), ConsumerError> {
        let features = self.features_stream(&lease.stream);
        let (kept, newest, trimmed) = self.look(&lease.stream, &features)?;
        let kept = kept.map(|bytes| Kept::parse(&bytes).map_err(|error| error.to_string()));
        let known = kept.as_ref().and_then(|kept| kept.as_ref().ok());
        let dormant = self.dormant.extract_if(.., |shard| shard.stream == lease.stream).last();
        let mut shard = match dormant {
            Some(shard) if shard.may_go_on(known, newest) => {
                info!(stream = lease.stream, cursor = %shard.cursor, "the lease is renewed, the engine goes on");
                shard
            }
            _ => self.load(lease, features, kept, newest, trimmed),
        };
        shard.token = lease.token;
        // Kept before anything is published: a record is never there without the state that led to it, and a
        // member that has this shard in memory sees by the token that it is not its any more.
        if shard.outbox.is_empty() {
            match self.keep(&mut shard) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.dormant.push(shard);
                    return Err(error);
                }
            }
        }
        self.sets_due |= shard.sets != self.document.sets;
        self.reader.follow(&shard.stream, shard.cursor);
        self.shards.push(shard);
        Ok(())
    }

    /// The kept state's bytes, the newest record, and whether the stream has lost its beginning by trimming.
    /// Also says what the values are, which a new Redis does not know.
    fn look(
        &mut self,
        stream: &str,
        features: &str,
    ) -> Result<(Option<Vec<u8>>, Newest, bool), ConsumerError> {
        self.store.publish_schemas(&self.schemas)?;
        let trimmed = self.reader.why_missing(stream, StreamId::default())? == WhyMissing::Trimmed;
        Ok((self.store.kept(stream)?, self.store.newest(features)?, trimmed))
    }

    /// A shard from its kept state, or one that begins anew when there is none or it cannot be used.
    fn load(
        &mut self,
        lease: &Lease,
        features: String,
        kept: Option<Result<Kept, String>>,
        newest: Newest,
        trimmed: bool,
    ) -> Shard {
        let Lease { stream, token } = lease.clone();
        let restored = match kept {
            None => None,
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(kept)) if !self.could_be_ours(&kept.sets) => {
                Some(Err("its feature sets are none that a document can have".to_owned()))
            }
            Some(Ok(kept)) => Some(
                Shard::restored(stream.clone(), features.clone(), token, newest, kept)
                    .map_err(|error| error.to_string()),
            ),
        };
        match restored {
            Some(Ok(shard)) => {
                info!(stream, token, cursor = %shard.cursor, newest = newest.number, "goes on at the kept state");
                return shard;
            }
            Some(Err(error)) => {
                figures::state_refused(&stream);
                warn!(
                    stream,
                    newest = newest.number,
                    "the kept state cannot be used: {error}; calculating from the stream's beginning, \
                     publishing what is newer than the newest record"
                );
            }
            None => info!(stream, token, newest = newest.number, "begins at the stream's beginning"),
        }
        Shard::anew(stream, features, token, &self.document.sets, newest, trimmed)
    }

    fn could_be_ours(&self, sets: &[FeatureSet]) -> bool {
        *sets == self.document.sets
            || FeaturesDocument { sets: sets.to_vec(), ..self.document.clone() }.validate().is_empty()
    }

    fn features_stream(&self, stream: &str) -> String {
        let shards = self.document.shards;
        let shard = (0..shards).find(|&shard| shard_stream(RAW_MARKET_DATA, shard, shards) == stream);
        shard_stream(CALCULATED_FEATURES, shard.unwrap_or(0), shards)
    }

    fn take(&mut self, batch: &Batch) -> Result<(), ConsumerError> {
        for stream in &batch.restarted {
            error!(stream, "Redis has lost what was read of the stream, in part or whole");
            figures::redis_loss(stream);
            let shards = self.shards.iter_mut().filter(|shard| shard.stream == *stream);
            shards.for_each(Shard::redis_lost_entries);
        }
        for (stream, records) in batch.streams()? {
            let Some(at) = self.shards.iter().position(|shard| shard.stream.as_bytes() == stream) else {
                continue;
            };
            for record in records {
                self.shards[at].take(record, &mut self.reader);
                if self.shards[at].outbox.len() >= RECORDS_A_WRITE {
                    self.publish(at)?;
                }
            }
        }
        self.shards.iter_mut().for_each(Shard::show_lag);
        Ok(())
    }

    /// Publishes what waits, and says whether nothing waits any more.
    fn publish_all(&mut self) -> Result<bool, ConsumerError> {
        for at in 0..self.shards.len() {
            self.publish(at)?;
        }
        Ok(self.shards.iter().all(|shard| shard.outbox.is_empty()))
    }

    fn publish(&mut self, at: usize) -> Result<(), ConsumerError> {
        let shard = &mut self.shards[at];
        while !shard.outbox.is_empty() {
            let Some(fence) = self.members.fence(&shard.stream) else { return Ok(()) };
            let records = shard.outbox.first(RECORDS_A_WRITE);
            let last = records[records.len() - 1].record().number;
            let mut counts = vec![0; shard.sets.len()];
            records.iter().for_each(|pending| counts[pending.set] += 1);
            if !self.store.publish(&fence, &shard.features, &shard.sets, records)? {
                return Ok(());
            }
            shard.outbox.are_published(last);
            for (set, count) in shard.sets.iter().zip(counts).filter(|(_, count)| *count > 0) {
                figures::records(&shard.stream, &set.name, count);
            }
        }
        Ok(())
    }

    fn keep_due(&mut self) -> Result<(), ConsumerError> {
        let every = Duration::from_millis(self.document.state.every_ms);
        let mut shards = std::mem::take(&mut self.shards);
        let due = shards.iter_mut().filter(|shard| shard.is_due(every));
        let kept = due.map(|shard| self.keep(shard)).find(Result::is_err);
        self.shards = shards;
        kept.map_or(Ok(()), |kept| kept.map(|_| ()))
    }

    /// Keeps a shard's state; `false` when the lease is another's. The outbox must be empty.
    fn keep(&mut self, shard: &mut Shard) -> Result<bool, ConsumerError> {
        let Some(fence) = self.members.fence(&shard.stream) else { return Ok(false) };
        let state = shard.state();
        let is_kept = self.store.keep(&fence, &shard.stream, &state)?;
        if is_kept {
            shard.is_kept();
            figures::state_kept(&shard.stream, state.len());
        }
        Ok(is_kept)
    }

    fn show(&self) {
        for shard in &self.shards {
            figures::state_age(&shard.stream, shard.state_age());
            figures::pending(&shard.stream, shard.outbox.len());
        }
    }

    fn end(mut self) {
        info!("ending: publishing what was read");
        let until = Instant::now() + END_WITHIN;
        self.document.state.every_ms = 0;
        loop {
            match self.publish_all().and_then(|_| self.keep_due()) {
                Ok(()) => break,
                Err(error) if Instant::now() > until => {
                    warn!("ended without publishing all: {error}; the next start calculates it again");
                    break;
                }
                Err(_) => {}
            }
        }
        match self.members.leave() {
            Ok(()) => info!("ended"),
            Err(error) => warn!("ended without giving the leases back, they run out: {error}"),
        }
    }
}

impl Parts {
    fn all_is_well(&mut self) {
        self.redis.is_good();
        if self.trouble.take().is_some() {
            info!("Redis answers again");
        }
    }

    fn trouble(&mut self, error: &ConsumerError) {
        let text = error.to_string();
        self.redis.is_bad(&text);
        if self.trouble.as_ref() != Some(&text) {
            error!("{text}; trying again");
            self.trouble = Some(text);
        }
        // A refusal comes at once and would come again at once.
        std::thread::sleep(WAIT);
    }
}
