//! A gateway whose versions come from the control plane.
//!
//! ```text
//!  a version ─► fixed fields, password files? ─► limits: at once, between two instructions
//!                                              ─► a connection is another: logged off, logged on, what is open asked about
//!                                              ─► a session is gone: its orders cancelled, its lease given back
//!                                              ─► a session is new: its lease taken, its journal opened
//! ```
//!
//! Invariants: a session of which nothing changes is not touched. With a first version that cannot be used, sessions run by the
//! own document for the sake of what is open, and send cancels alone.

use crate::lines;
use crate::session::other_account;
use bus::config::GatewayDocument;
use bus::consumer::process_name;
use bus::control::{AtStart, Follower, FollowerConfig, Offered};
use tracing::error;
use vitals::{Hangup, Stop, Vitals};

/// Where another document comes from.
pub struct Managed {
    pub(crate) follower: Follower<GatewayDocument>,
    pub(crate) hangup: Hangup,
    /// The version that not every session goes by yet.
    pub(crate) changing: Option<Offered<GatewayDocument>>,
    /// Why nothing but cancels is sent.
    pub(crate) closed: Option<String>,
}

impl Managed {
    /// What a managed gateway begins with; nothing when it is asked to end before there is anything.
    ///
    /// # Errors
    /// When the address of Redis cannot be understood.
    pub fn begin(
        own: GatewayDocument,
        vitals: &Vitals,
        stop: &Stop,
    ) -> anyhow::Result<Option<(GatewayDocument, Managed)>> {
        let hangup = Hangup::on_signal()?;
        let config = FollowerConfig {
            redis: own.redis.clone(),
            member: own.member.clone().unwrap_or_else(process_name),
            health: vitals.address(),
            software: env!("CARGO_PKG_VERSION"),
        };
        let Some((follower, at_start)) = Follower::start(&own, config, || stop.is_asked())? else {
            return Ok(None);
        };
        let (document, closed) = match at_start {
            AtStart::Own => (own, None),
            AtStart::Refused(reason) => (own, Some(reason)),
            AtStart::Version(version) => match can_be_started(&version.document) {
                Ok(()) => {
                    follower.ran(&version);
                    (version.document, None)
                }
                Err(reason) => {
                    follower.refused(&version, &reason);
                    (own, Some(reason))
                }
            },
        };
        if let Some(reason) = &closed {
            error!(
                reason,
                "there is a version of the configuration, and it cannot be used: cancels only, by the own document, until \
                 one can"
            );
        }
        Ok(Some((document, Managed { follower, hangup, changing: None, closed })))
    }
}

/// Whether the sessions' lines can be started, as far as it can be known.
///
/// # Errors
/// Which cannot, and why.
pub(crate) fn can_be_started(document: &GatewayDocument) -> Result<(), String> {
    let wrong = document.sessions.iter().enumerate().filter_map(|(at, session)| {
        let why = lines::check(session).err()?;
        Some(format!("sessions[{at}]: {why}"))
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What is changed in a document that only a start can change; the first such field.
pub(crate) fn fixed_change(before: &GatewayDocument, after: &GatewayDocument) -> Option<String> {
    let changed = [
        ("shards", before.shards != after.shards),
        ("lease_ms", before.lease_ms != after.lease_ms),
        ("entries_max", before.entries_max != after.entries_max),
        ("drop_copy_entries_max", before.drop_copy_entries_max != after.drop_copy_entries_max),
        ("day_begins", before.day_begins != after.day_begins),
    ];
    if let Some((field, _)) = changed.into_iter().find(|(_, changed)| *changed) {
        return Some(format!("{field}: only a start can change it"));
    }
    after.sessions.iter().enumerate().find_map(|(at, after)| {
        let before = before.sessions.iter().find(|before| before.venue == after.venue)?;
        let field = other_account(before, after)?;
        Some(format!(
            "sessions[{at}].{field}: the journal of the day holds the orders of another; only a start between two days can \
             change it"
        ))
    })
}
