//! The document, and its change while the service runs: by its file at SIGHUP, or by versions of the control plane. A
//! document that is wrong, or that changes what cannot be changed, is refused whole, and the one before it goes on.
//!
//! Invariant: a managed process whose first version cannot be used sends nothing. Its own document may allow what the
//! version forbids, so it takes no lease and stands still until a version can be used.

use super::shard::now_ns;
use super::{Service, figures};
use bus::FeatureSchema;
use bus::config::{OpeningPosition, Problem, StrategyDocument, StrategyEntry};
use bus::consumer::process_name;
use bus::control::{Begin, Follower, FollowerConfig};
use bus::names::shard_of;
use std::path::{Path, PathBuf};
use strategy::host::{HostedStrategy, Reconfigured};
use strategy::models::wanted;
use strategy::strategies;
use strategy::strategy::Strategy;
use tracing::{error, info};
use vitals::{Hangup, Stop, Vitals};

/// Where another document comes from.
pub(crate) enum Configured {
    /// From this file, when SIGHUP asks for it.
    ByFile {
        /// The document.
        path: PathBuf,
        /// Who asks.
        hangup: Hangup,
    },
    /// From the control plane.
    ByVersions {
        /// What it has.
        follower: Box<Follower<StrategyDocument>>,
        /// Refused.
        hangup: Hangup,
    },
}

/// Why a document is not taken.
enum NotTaken {
    /// It changes this field, which only a start can change.
    RestartNeeded(&'static str),
    /// It is wrong, or cannot be held against what there is.
    Refused(anyhow::Error),
}

impl Configured {
    /// What a managed process begins with; nothing when it is asked to end before there is anything.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood.
    pub(crate) fn by_versions(
        own: StrategyDocument,
        hangup: Hangup,
        vitals: &Vitals,
        stop: &Stop,
    ) -> anyhow::Result<Option<(StrategyDocument, Configured)>> {
        let part = vitals.part("configuration");
        let config = FollowerConfig {
            redis: own.redis.clone(),
            member: own.member.clone().unwrap_or_else(process_name),
            health: vitals.address(),
            software: env!("CARGO_PKG_VERSION"),
        };
        let Some((follower, at_start)) = Follower::start(&own, config, || stop.is_asked())? else {
            return Ok(None);
        };
        let check =
            |document: &StrategyDocument| hosted(document).map(|_| ()).map_err(|error| error.to_string());
        let document = match follower.begin(at_start, check, |why| part.is_bad(why), || stop.is_asked()) {
            Begin::Version(version) => {
                follower.ran(&version);
                version.document
            }
            Begin::Own => own,
            Begin::Ended => return Ok(None),
        };
        part.is_good();
        Ok(Some((document, Configured::ByVersions { follower: Box::new(follower), hangup })))
    }
}

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
    /// Takes another document, if there is one, or says why not.
    pub(super) fn configure(&mut self) {
        let version = match &self.configured {
            Configured::ByFile { hangup, .. } if !hangup.was_asked() => return,
            Configured::ByFile { path, .. } => {
                let path = path.clone();
                return self.reload(&path);
            }
            Configured::ByVersions { follower, hangup } => {
                hangup.refuse_when_managed();
                follower.take()
            }
        };
        let Some(version) = version else { return };
        // Which features will be calculated, the control plane knows: it gives the features' version at the same moment.
        let taken = self.change(version.document.clone(), None);
        let Configured::ByVersions { follower, .. } = &self.configured else { return };
        match taken {
            Ok(()) => {
                figures::configuration("taken");
                follower.ran(&version);
            }
            Err(NotTaken::RestartNeeded(field)) => {
                figures::configuration("refused");
                follower.restart_needed(&version, format!("{field}: only a start can change it"));
            }
            Err(NotTaken::Refused(error)) => {
                figures::configuration("refused");
                follower.refused(&version, error.to_string());
            }
        }
    }

    fn reload(&mut self, path: &Path) {
        match self.try_reload(path) {
            Ok(()) => {
                figures::configuration("taken");
                info!(path = %path.display(), "the configuration is changed");
            }
            Err(error) => {
                figures::configuration("refused");
                error!(path = %path.display(), "the configuration stays as it is: {error:#}");
            }
        }
    }

    fn try_reload(&mut self, path: &Path) -> anyhow::Result<()> {
        let after = StrategyDocument::load(path)?;
        let schemas: Vec<_> = self.store.schemas()?.into_iter().map(|(_, schema)| schema).collect();
        let schemas = (!schemas.is_empty()).then_some(&schemas[..]);
        self.change(after, schemas).map_err(|not| match not {
            NotTaken::RestartNeeded(field) => {
                anyhow::anyhow!("{field}: cannot be changed while it runs; change it and restart")
            }
            NotTaken::Refused(error) => error,
        })
    }

    /// Takes another document. Names of features are checked when the published schemas are given.
    fn change(&mut self, after: StrategyDocument, schemas: Option<&[FeatureSchema]>) -> Result<(), NotTaken> {
        if let Some(field) = fixed_change(&self.document, &after) {
            return Err(NotTaken::RestartNeeded(field));
        }
        // All are built before any is taken. Each shard has its own.
        let mut built = Vec::with_capacity(self.shards.len());
        for _ in 0..self.shards.len().max(1) {
            built.push(self.changed(&after, schemas).map_err(NotTaken::Refused)?);
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
