//! Opening a shard: what its last owner kept, what its streams say, and whether ours may simply go on.

use super::feed::Feed;
use super::kept::Kept;
use super::shard::{Phase, Shard};
use super::store::Streams;
use super::{Service, configure, figures};
use book::{Books, Limits};
use bus::StreamId;
use bus::consumer::{ConsumerError, Lease, WhyMissing};
use bus::names::{
    CALCULATED_FEATURES, EXECUTION_REPORTS, MODEL_SCORES, ORDER_INSTRUCTIONS, RAW_MARKET_DATA, shard_stream,
};
use strategy::host::{Host, HostConfig, IdMaker, MarketState};
use tracing::{error, info, warn};

impl Service {
    pub(super) fn open_taken(&mut self) -> Result<(), ConsumerError> {
        while let Some(lease) = self.opening.last().cloned() {
            self.parts.shards.is_bad(format!("loading {}", lease.stream));
            self.open(&lease)?;
            self.opening.pop();
        }
        let catching_up = self.shards.iter().find(|shard| shard.phase != Phase::Live);
        match catching_up {
            Some(shard) => self.parts.shards.is_bad(format!("catching up with {}", shard.streams.ticks)),
            None => self.parts.shards.is_good(),
        }
        Ok(())
    }

    fn streams(&self, ticks: &str) -> (u16, Streams) {
        let shards = self.document.shards;
        let is_it = |shard: &u16| shard_stream(RAW_MARKET_DATA, *shard, shards) == ticks;
        let shard = (0..shards).find(is_it).unwrap_or(0);
        let streams = Streams {
            ticks: ticks.to_owned(),
            features: shard_stream(CALCULATED_FEATURES, shard, shards),
            instructions: shard_stream(ORDER_INSTRUCTIONS, shard, shards),
            reports: shard_stream(EXECUTION_REPORTS, shard, shards),
            scores: shard_stream(MODEL_SCORES, shard, shards),
        };
        (shard, streams)
    }

    fn open(&mut self, lease: &Lease) -> Result<(), ConsumerError> {
        let kept = self.store.kept(&lease.stream)?;
        let kept = kept.map(|bytes| Kept::parse(&bytes).map_err(|error| error.to_string()));
        let (number, streams) = self.streams(&lease.stream);
        let ids = IdMaker::new(lease.token, number);
        let dormant = self.dormant.iter().position(|shard| shard.streams.ticks == lease.stream);
        let dormant = dormant.map(|at| self.dormant.swap_remove(at));
        let owner = kept.as_ref().and_then(|kept| kept.as_ref().ok()).map_or(0, |kept| kept.token);
        let mut shard = match dormant {
            // Nobody has had it in between: Redis lost its memory, or we slept and nobody took the lease.
            Some(mut shard) if owner <= shard.token => {
                info!(stream = lease.stream, cursor = %shard.feed.cursor, "the lease is renewed, the host goes on");
                shard.host.renew(ids);
                shard
            }
            _ => self.load(lease, (number, streams), ids, kept)?,
        };
        shard.token = lease.token;
        // Kept before anything is published: a member that has this shard in memory sees by the token that it is not its
        // any more.
        let fence = self.members.fence(&lease.stream);
        if !shard.keep(&mut self.store, fence)? {
            return Ok(());
        }
        shard.trading(self.trading);
        // One that was asleep may have missed some.
        self.models.in_force().for_each(|model| shard.model(model));
        self.reader.follow(&shard.streams.reports, shard.reports_read);
        self.reader.follow(&shard.streams.features, shard.features_read);
        self.reader.follow(&shard.streams.ticks, shard.feed.cursor);
        self.shards.push(shard);
        Ok(())
    }

    /// A shard from what was kept and what the streams say.
    fn load(
        &mut self,
        lease: &Lease,
        (number, streams): (u16, Streams),
        ids: IdMaker,
        kept: Option<Result<Kept, String>>,
    ) -> Result<Shard, ConsumerError> {
        let stream = &lease.stream;
        // Before the latest values are read, so that none is missed in between.
        let features_from = self.store.info(&streams.features)?.last;
        let until = self.store.info(stream)?.last;
        let (books, market, feed) = self.books(stream, kept)?;
        let strategies = match configure::hosted(&self.document) {
            Ok(strategies) => strategies,
            // They could be built when the document was taken.
            Err(error) => {
                error!(%error, "the strategies cannot be built: none runs");
                Vec::new()
            }
        };
        let host = Host::new(HostConfig {
            risk: &self.document.risk,
            answer_within_ns: self.document.answer_within_ms * 1_000_000,
            opening: &configure::opening_of(&self.document, number),
            opening_reports: &configure::opening_reports_of(&self.document, number),
            ids,
            books,
            market,
            strategies,
        });
        let shards = self.document.shards;
        let mut shard = Shard::new(streams, (number, shards), lease.token, host, feed, until, features_from);
        let rebuilt = shard.rebuild(&mut self.store)?;
        let (instructions, reports) = (rebuilt.instructions, rebuilt.reports);
        let (open_orders, unanswered) = (shard.host.open_orders(), shard.host.unanswered());
        info!(stream, instructions, reports, open_orders, unanswered, "orders and positions are read back");
        shard.look_for_schemas(&mut self.store);
        shard.look_for_definitions(&mut self.store)?;
        Ok(shard)
    }

    /// The books as kept, or none when they were not or cannot be used; and where their ticks go on.
    fn books(
        &mut self,
        stream: &str,
        kept: Option<Result<Kept, String>>,
    ) -> Result<(Books, MarketState, Feed), ConsumerError> {
        let limits = Limits::default();
        let restored = match kept {
            None => None,
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(kept)) => Some(match Books::restore(&kept.books, limits) {
                Ok(books) => Ok((books, kept)),
                Err(error) => Err(error.to_string()),
            }),
        };
        match restored {
            Some(Ok((books, Kept { cursor, newest_ns, trimmed, channels, market, .. }))) => {
                info!(stream, %cursor, instruments = books.len(), "the books go on as kept");
                return Ok((books, market, Feed::resumed(stream, cursor, newest_ns, trimmed, &channels)));
            }
            Some(Err(error)) => {
                figures::state_refused(stream);
                warn!(stream, "the kept books cannot be used: {error}; reading from the stream's beginning");
            }
            None => info!(stream, "no books are kept, reading from the stream's beginning"),
        }
        let trimmed = self.reader.why_missing(stream, StreamId::default())? == WhyMissing::Trimmed;
        if trimmed {
            warn!(stream, "the stream's beginning is trimmed: its books are bad until they are cleared");
        }
        Ok((Books::new(limits), MarketState::default(), Feed::anew(stream, trimmed)))
    }
}
