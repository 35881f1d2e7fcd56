//! The document of a managed process, and its change while the service runs.
//!
//! ```text
//!  a version ─► fixed fields? ─► the document  ┄┄ each shard: all published ─► engine with the new sets ─► state kept
//! ```
//!
//! Invariants: an engine changes its sets only when all that it made before is in the stream, and its state is kept with
//! the new sets before it takes another tick. So a kill at any place loses and doubles no record: a restart makes
//! what the old sets had made with the old sets. A first version that cannot be used leaves everything as it is: the
//! kept state goes on when there is one that can.

use super::{Service, figures};
use bus::config::{FeatureSet, FeaturesDocument};
use bus::consumer::{ConsumerError, process_name};
use bus::control::{Begin, Follower, FollowerConfig, Offered};
use tracing::info;
use vitals::{Hangup, Stop, Vitals};

/// Where another document comes from.
pub(crate) struct Managed {
    follower: Follower<FeaturesDocument>,
    hangup: Hangup,
    /// The version that not every shard calculates yet.
    changing: Option<Offered<FeaturesDocument>>,
}

/// What is changed in a document that only a restart can change; the first such field.
fn fixed_change(before: &FeaturesDocument, after: &FeaturesDocument) -> Option<&'static str> {
    let changed =
        [("shards", before.shards != after.shards), ("lease_ms", before.lease_ms != after.lease_ms)];
    changed.into_iter().find_map(|(field, changed)| changed.then_some(field))
}

impl Managed {
    /// What a managed process begins with; nothing when it is asked to end before there is anything.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood.
    pub(crate) fn begin(
        own: FeaturesDocument,
        vitals: &Vitals,
        stop: &Stop,
    ) -> anyhow::Result<Option<(FeaturesDocument, Managed)>> {
        let hangup = Hangup::on_signal()?;
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
        let document = match follower.begin(at_start, |_| Ok(()), |why| part.is_bad(why), || stop.is_asked())
        {
            Begin::Version(version) => {
                follower.ran(&version);
                version.document
            }
            Begin::Own => own,
            Begin::Ended => return Ok(None),
        };
        part.is_good();
        Ok(Some((document, Managed { follower, hangup, changing: None })))
    }
}

impl Service {
    /// Takes another document, if there is one, or says why not. Its sets come in when they can.
    pub(super) fn configure(&mut self) {
        let Some(managed) = &mut self.managed else { return };
        managed.hangup.refuse_when_managed();
        let Some(version) = managed.follower.take() else { return };
        if let Some(field) = fixed_change(&self.document, &version.document) {
            return managed.follower.restart_needed(&version, format!("{field}: only a start can change it"));
        }
        self.document = version.document.clone();
        self.schemas = self.document.sets.iter().map(FeatureSet::schema).collect();
        self.store.set_entries_max(self.document.entries_max);
        managed.changing = Some(version);
        self.sets_due = true;
    }

    /// Gives the document's sets to the shards whose records are all published, and keeps their states.
    pub(super) fn change_sets_due(&mut self) -> Result<(), ConsumerError> {
        if !self.sets_due {
            return Ok(());
        }
        let mut shards = std::mem::take(&mut self.shards);
        let changed: Result<bool, ConsumerError> = shards.iter_mut().try_fold(true, |all, shard| {
            if shard.sets != self.document.sets {
                if !shard.may_change_sets() {
                    return Ok(false);
                }
                // What the values are is known before there is one.
                self.store.publish_schemas(&self.schemas)?;
                info!(stream = shard.stream, cursor = %shard.cursor, "the feature sets are changed");
                shard.change_sets(&self.document.sets);
                figures::sets_changed(&shard.stream);
            }
            Ok(all && (shard.is_kept_at_all() || self.keep(shard)?))
        });
        self.shards = shards;
        if changed? {
            self.sets_due = false;
            if let Some(managed) = &mut self.managed
                && let Some(version) = managed.changing.take()
            {
                managed.follower.ran(&version);
            }
        }
        Ok(())
    }
}
