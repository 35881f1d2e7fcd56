//! The document, and its change while the service runs. A document that is wrong, or that changes what cannot be
//! changed, is refused whole, and the one before it goes on.

use super::shard::now_ns;
use super::{Service, figures};
use anyhow::bail;
use bus::FeatureSchema;
use bus::config::{OpeningPosition, Problem, StrategyDocument, StrategyEntry};
use bus::names::shard_of;
use strategy::host::{HostedStrategy, Reconfigured};
use strategy::models::wanted;
use strategy::strategies;
use strategy::strategy::Strategy;
use tracing::{error, info};

/// Strategies that were built, with whether they are new, in the document's order.
type Built = Vec<Option<Box<dyn Strategy>>>;

/// The document's strategies for one host.
///
/// # Errors
/// Everything that is wrong with them, with its place.
pub(super) fn hosted(document: &StrategyDocument) -> anyhow::Result<Vec<HostedStrategy>> {
    strategies::hosted(document, None).map_err(wrong)
}

fn wrong(problems: Vec<Problem>) -> anyhow::Error {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    anyhow::anyhow!(lines.join("\n"))
}

/// The opening positions of a shard's instruments.
pub(super) fn opening_of(document: &StrategyDocument, shard: u16) -> Vec<OpeningPosition> {
    let is_its =
        |opening: &&OpeningPosition| shard_of(opening.instrument.instrument_id, document.shards) == shard;
    document.opening.iter().filter(is_its).cloned().collect()
}

/// How far each venue's reports in a shard are in the opening positions.
pub(super) fn opening_reports_of(document: &StrategyDocument, shard: u16) -> Vec<(String, u64)> {
    let its = document.opening_reports.iter().filter(|opening| opening.shard == shard);
    its.map(|opening| (opening.venue.clone(), opening.number)).collect()
}

/// What is changed in a document that only a restart can change; the first such field.
fn fixed_change(before: &StrategyDocument, after: &StrategyDocument) -> Option<&'static str> {
    let changed = [
        ("redis", before.redis != after.redis),
        ("member", before.member != after.member),
        ("shards", before.shards != after.shards),
        ("lease_ms", before.lease_ms != after.lease_ms),
        ("health", before.health != after.health),
        ("opening", before.opening != after.opening),
        ("opening_reports", before.opening_reports != after.opening_reports),
        ("risk.total.order_ids_max", before.risk.total.order_ids_max != after.risk.total.order_ids_max),
    ];
    changed.into_iter().find_map(|(field, changed)| changed.then_some(field))
}

impl Service {
    /// Reads the document again and takes it, or says why not.
    pub(super) fn reload(&mut self) {
        match self.try_reload() {
            Ok(()) => {
                figures::configuration("taken");
                info!(path = %self.path.display(), "the configuration is changed");
            }
            Err(error) => {
                figures::configuration("refused");
                error!(path = %self.path.display(), "the configuration stays as it is: {error:#}");
            }
        }
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let after = StrategyDocument::load(&self.path)?;
        if let Some(field) = fixed_change(&self.document, &after) {
            bail!("{field}: cannot be changed while it runs; change it and restart");
        }
        let schemas: Vec<_> = self.store.schemas()?.into_iter().map(|(_, schema)| schema).collect();
        let schemas = (!schemas.is_empty()).then_some(&schemas[..]);
        // All are built before any is taken. Each shard has its own.
        let mut built = Vec::with_capacity(self.shards.len());
        for _ in 0..self.shards.len().max(1) {
            built.push(self.changed(&after, schemas)?);
        }
        for (shard, strategies) in self.shards.iter_mut().zip(built) {
            let strategies = strategies.into_iter().zip(&after.strategies);
            let strategies = strategies.map(|(strategy, entry)| Reconfigured {
                name: entry.name.clone(),
                venue: entry.venue.clone(),
                instruments: entry.instruments.clone(),
                strategy,
            });
            shard.host.configure(now_ns(), &after.risk, strategies.collect());
            shard.host.set_answer_within(after.answer_within_ms * 1_000_000);
        }
        self.models.want(wanted(&after));
        for shard in &mut self.shards {
            self.models.in_force().for_each(|model| shard.model(model));
        }
        // What sleeps was made with the old one.
        self.dormant.clear();
        self.document = after;
        Ok(())
    }

    /// The strategies of another document; none where one stays as it is.
    fn changed(&self, after: &StrategyDocument, schemas: Option<&[FeatureSchema]>) -> anyhow::Result<Built> {
        let built = |(index, entry): (usize, &StrategyEntry)| {
            let stays = self.document.strategies.contains(entry);
            // Built all the same: what it names may be gone.
            let strategy = strategies::build_entry(index, entry, schemas).map_err(wrong)?;
            Ok((!stays).then_some(strategy))
        };
        after.strategies.iter().enumerate().map(built).collect()
    }
}
