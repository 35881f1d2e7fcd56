//! The service around the hosts: shards by lease, inputs in, instructions and denials out.
//!
//! ```text
//!  tend leases ─► lost: drop the host     taken: books as kept, orders from their streams, catch up
//!       │
//!  publish what waits ─► Redis gone: keep it, read nothing new
//!       │
//!  one read: trading state, then for each shard reports, features, ticks
//!       │          each entry ─► host ─► publish at once, in one script that the lease fences
//!       │
//!  models that another thread has made ready ─► hosts
//!       │
//!  time goes on ─► publish     keep the books when it is time     definitions, schemas that were not known
//! ```
//!
//! One process is one thread of work. More shards than a core can do are divided over more processes.
//!
//! Invariants: nothing is published but under the lease. An instruction is made once; what may not have arrived is
//! published again with the same bytes. A host is dropped as soon as its lease may have been another's.

mod configure;
mod feed;
mod figures;
mod kept;
mod models;
mod open;
mod registry;
mod shard;
mod store;
mod trace;

use anyhow::Context;
use bus::config::StrategyDocument;
use bus::consumer::{Batch, ConsumerError, Lease, Members, MembersConfig, Reader, process_name};
use bus::names::{RAW_MARKET_DATA, TRADING_STATE, shard_stream};
use bus::{EntryError, Fields, StreamId, TradingMode, TradingState};
pub(crate) use configure::Configured;
use models::Models;
use shard::{Shard, now_ns};
use std::time::{Duration, Instant};
use store::Store;
use tracing::{error, info, warn};
use vitals::{Part, Stop, Vitals};

/// Most entries that one read takes of each stream: 8 MiB of full ones.
const ENTRIES_A_READ: usize = 256;
/// Longest wait for entries: the step of time in a quiet market, and the delay of a stop.
const WAIT: Duration = Duration::from_millis(10);
/// Pause after Redis refused, which would come again at once.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a service that is to end tries to publish what it has made.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often metrics that tell of now are set.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// Shortest time between two attempts to read orders back after a contradiction.
const READ_BACK_EVERY: Duration = Duration::from_secs(30);

/// A running strategy service.
pub(crate) struct Service {
    document: StrategyDocument,
    configured: Configured,
    members: Members,
    reader: Reader,
    store: Store,
    models: Models,
    shards: Vec<Shard>,
    /// Taken and not yet loaded.
    opening: Vec<Lease>,
    /// What we had of them until the lease was lost and taken anew.
    dormant: Vec<Shard>,
    trading: Option<TradingMode>,
    /// How far the trading state was read; none before the last entry was looked at.
    trading_read: Option<StreamId>,
    parts: Parts,
    shown: Instant,
    read_back: Option<Instant>,
}

struct Parts {
    redis: Part,
    shards: Part,
    orders: Part,
    models: Part,
    trouble: Option<String>,
}

/// What a stream's entries are.
enum Kind {
    Trading,
    Reports(usize),
    Features(usize),
    Ticks(usize),
}

impl Service {
    /// Makes the service; nothing is connected yet. `configured` tells of another document.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood, or a strategy cannot be built.
    pub(crate) fn new(
        document: StrategyDocument,
        configured: Configured,
        vitals: &Vitals,
    ) -> anyhow::Result<Service> {
        configure::hosted(&document)?;
        let streams = (0..document.shards).map(|shard| shard_stream(RAW_MARKET_DATA, shard, document.shards));
        let streams: Vec<_> = streams.collect();
        streams.iter().for_each(|stream| figures::state(stream, None, false));
        let members = Members::new(MembersConfig {
            redis: document.redis.clone(),
            group: "strategy".into(),
            member: document.member.clone().unwrap_or_else(process_name),
            streams,
            lease: Duration::from_millis(document.lease_ms),
        })
        .context("redis")?;
        let parts = Parts {
            redis: vitals.part("redis"),
            shards: vitals.part("shards"),
            orders: vitals.part("orders"),
            models: vitals.part("models"),
            trouble: None,
        };
        Ok(Service {
            members,
            reader: Reader::new(&document.redis, ENTRIES_A_READ)?,
            store: Store::new(&document.redis)?,
            models: Models::start(&document.redis, strategy::models::wanted(&document))?,
            shards: Vec::new(),
            opening: Vec::new(),
            dormant: Vec::new(),
            trading: None,
            trading_read: None,
            parts,
            shown: Instant::now(),
            read_back: None,
            document,
            configured,
        })
    }

    /// Works until it is asked to end; then publishes what it has made, keeps the books and gives the leases back.
    /// Open orders stay open: the gateway has them.
    pub(crate) fn run(mut self, stop: &Stop) {
        while !stop.is_asked() {
            match self.turn() {
                Ok(()) => self.parts.all_is_well(),
                Err(error) => self.parts.trouble(&error),
            }
            self.configure();
            self.show();
        }
        self.end();
    }

    fn turn(&mut self) -> Result<(), ConsumerError> {
        if self.trading_read.is_none() {
            self.read_trading()?;
        }
        self.tend()?;
        self.open_taken()?;
        for model in self.models.take() {
            self.shards.iter_mut().for_each(|shard| shard.model(&model));
        }
        if !self.publish_all()? {
            // The lease is another's, or runs out: the next look after the leases tells.
            std::thread::sleep(PAUSE);
            return Ok(());
        }
        let batch = self.reader.read(WAIT)?;
        let quiet = batch.is_empty();
        if let Err(error) = self.take(&batch) {
            // What was not taken is read again.
            self.follow_all();
            return Err(error);
        }
        for shard in &mut self.shards {
            shard.host.time(now_ns());
            shard.look_for_definitions(&mut self.store)?;
            shard.go_live_when_due(&mut self.store)?;
        }
        self.publish_all()?;
        self.keep_due(quiet)
    }

    fn tend(&mut self) -> Result<(), ConsumerError> {
        let tended = self.members.tend()?;
        for stream in tended.lost {
            self.opening.retain(|lease| lease.stream != stream);
            let ours: Vec<_> = self.shards.extract_if(.., |shard| shard.streams.ticks == stream).collect();
            for shard in &ours {
                self.leave(shard);
                shard.is_gone();
            }
            if tended.taken.iter().any(|lease| lease.stream == stream) {
                self.dormant.extend(ours);
            } else {
                figures::state(&stream, None, false);
                info!(stream, "the lease is lost, the shard is another's");
            }
        }
        self.opening.extend(tended.taken);
        Ok(())
    }

    fn leave(&mut self, shard: &Shard) {
        for stream in [&shard.streams.ticks, &shard.streams.features, &shard.streams.reports] {
            self.reader.leave(stream);
        }
    }

    fn take(&mut self, batch: &Batch) -> Result<(), ConsumerError> {
        for stream in &batch.restarted {
            self.redis_lost(stream);
        }
        for (stream, records) in batch.streams()? {
            let Some(kind) = self.kind(stream) else { continue };
            for record in records {
                match kind {
                    Kind::Trading => self.take_trading(record.id, record.fields),
                    Kind::Reports(at) => self.shards[at].take_report(record),
                    Kind::Features(at) => self.shards[at].take_features(record, &mut self.store),
                    Kind::Ticks(at) => self.shards[at].take_ticks(record, &mut self.reader),
                }
                let is_ours = match kind {
                    Kind::Trading => true,
                    Kind::Reports(at) | Kind::Features(at) | Kind::Ticks(at) => self.publish(at)?,
                };
                if !is_ours {
                    // The next look after the leases tells.
                    self.follow_all();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn kind(&self, stream: &[u8]) -> Option<Kind> {
        if stream == TRADING_STATE.as_bytes() {
            return Some(Kind::Trading);
        }
        self.shards.iter().enumerate().find_map(|(at, shard)| {
            let is = |name: &String| name.as_bytes() == stream;
            if is(&shard.streams.ticks) {
                Some(Kind::Ticks(at))
            } else if is(&shard.streams.features) {
                Some(Kind::Features(at))
            } else {
                is(&shard.streams.reports).then_some(Kind::Reports(at))
            }
        })
    }

    /// A shard goes on where it has come to: what was read and not taken is read again.
    fn follow_all(&mut self) {
        self.reader.follow(TRADING_STATE, self.trading_read.unwrap_or_default());
        for shard in &self.shards {
            self.reader.follow(&shard.streams.reports, shard.reports_read);
            self.reader.follow(&shard.streams.features, shard.features_read);
            self.reader.follow(&shard.streams.ticks, shard.feed.cursor);
        }
    }

    fn redis_lost(&mut self, stream: &str) {
        error!(stream, "Redis has lost what was read of the stream, in part or whole");
        figures::redis_loss(stream);
        if stream == TRADING_STATE {
            warn!("the trading state is not known any more: halted until it is said again");
            self.set_trading(None);
        }
        let shards = self.shards.iter_mut().filter(|shard| shard.streams.ticks == *stream);
        shards.for_each(|shard| shard.feed.redis_lost_entries());
    }

    /// Looks what the trading state is: the last entry holds.
    fn read_trading(&mut self) -> Result<(), ConsumerError> {
        let last = self.store.last_trading_state(trading_of)?;
        let (id, state) = last.map_or((StreamId::default(), None), |(id, state)| (id, Some(state)));
        self.trading_read = Some(id);
        match state {
            Some(state) => self.trading_is(id, state),
            None => warn!("there is no trading state: halted until one is set"),
        }
        self.reader.follow(TRADING_STATE, id);
        Ok(())
    }

    fn take_trading(&mut self, id: StreamId, fields: Result<Fields<'_>, EntryError>) {
        self.trading_read = Some(id);
        self.trading_is(id, trading_of(fields));
    }

    fn trading_is(&mut self, id: StreamId, state: Result<TradingState, String>) {
        match state {
            Ok(TradingState { mode, by, reason, .. }) => {
                info!(%mode, by, reason, "the trading state is set");
                self.set_trading(Some(mode));
            }
            Err(error) => {
                error!(%id, error, "an entry of trading_state cannot be read: halted");
                figures::refused(TRADING_STATE);
                self.set_trading(None);
            }
        }
    }

    fn set_trading(&mut self, mode: Option<TradingMode>) {
        self.trading = mode;
        self.shards.iter_mut().for_each(|shard| shard.trading(mode));
    }

    /// Publishes what waits, and says whether nothing waits any more.
    fn publish_all(&mut self) -> Result<bool, ConsumerError> {
        let mut all = true;
        for at in 0..self.shards.len() {
            all &= self.publish(at)?;
        }
        Ok(all)
    }

    fn publish(&mut self, at: usize) -> Result<bool, ConsumerError> {
        let shard = &mut self.shards[at];
        if shard.is_silent() {
            return Ok(true);
        }
        let fence = self.members.fence(&shard.streams.ticks);
        shard.publish(&mut self.store, fence, self.document.entries_max)
    }

    fn keep_due(&mut self, quiet: bool) -> Result<(), ConsumerError> {
        let every = Duration::from_millis(self.document.keep_books_ms);
        for shard in self.shards.iter_mut().filter(|shard| shard.is_due(every, quiet)) {
            let fence = self.members.fence(&shard.streams.ticks);
            shard.keep(&mut self.store, fence)?;
        }
        Ok(())
    }

    fn show(&mut self) {
        if self.shown.elapsed() < SHOW_EVERY {
            return;
        }
        self.shown = Instant::now();
        figures::trading(self.trading.unwrap_or(TradingMode::Halted));
        self.shards.iter_mut().for_each(Shard::show);
        let waits = |shard: &Shard| match (&shard.not_whole, shard.host.trouble()) {
            (Some(why), _) => Some(format!("{}: {why}", shard.streams.reports)),
            (None, Some(trouble)) => Some(format!("{}: {trouble}", shard.streams.reports)),
            (None, None) => None,
        };
        let trouble: Vec<_> = self.shards.iter().filter_map(waits).collect();
        match trouble.is_empty() {
            true => self.parts.orders.is_good(),
            false => self.parts.orders.is_bad(trouble.join("; ")),
        }
        match self.models.trouble() {
            None => self.parts.models.is_good(),
            Some(trouble) => self.parts.models.is_bad(trouble),
        }
        self.read_back_what_is_doubtful();
    }

    /// A host whose reports contradict each other, or have a hole, is made anew from the streams.
    fn read_back_what_is_doubtful(&mut self) {
        let doubtful =
            |shard: &Shard| shard.not_whole.is_none() && shard.host.trouble().is_some() && shard.is_silent();
        let Some(at) = self.shards.iter().position(doubtful) else { return };
        if self.read_back.is_some_and(|last| last.elapsed() < READ_BACK_EVERY) {
            return;
        }
        self.read_back = Some(Instant::now());
        let shard = self.shards.remove(at);
        self.leave(&shard);
        let (stream, token) = (shard.streams.ticks.clone(), shard.token);
        let trouble = shard.host.trouble().map(|trouble| trouble.to_string()).unwrap_or_default();
        error!(stream, trouble, "orders and positions are doubtful: reading them back");
        self.opening.push(Lease { stream, token });
    }

    fn end(mut self) {
        info!("ending: publishing what was made; open orders stay with the gateway");
        let until = Instant::now() + END_WITHIN;
        self.document.keep_books_ms = 0;
        loop {
            match self.publish_all().and_then(|_| self.keep_due(true)) {
                Ok(()) => break,
                Err(error) if Instant::now() > until => {
                    warn!("ended without publishing all: {error}; what nobody has answered is not sent");
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
        std::thread::sleep(PAUSE);
    }
}

fn trading_of(fields: Result<Fields<'_>, EntryError>) -> Result<TradingState, String> {
    let fields = fields.map_err(|error| error.to_string())?;
    TradingState::parse(fields).map_err(|error| error.to_string())
}

/// Whether the document's strategies can be built.
///
/// # Errors
/// What is wrong with one of them, with its place.
pub(crate) fn check(document: &StrategyDocument) -> anyhow::Result<()> {
    configure::hosted(document).map(|_| ())
}
