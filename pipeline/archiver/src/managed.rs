//! An archiver whose versions come from the control plane: another version ends the two threads in order, everything
//! that was read stored, and begins two others.
//!
//! Invariant: something archives at any time, but for the moment between the two. A first version that cannot be used
//! leaves the process to its own document: what is not archived is trimmed away and gone.

use crate::service::{Archiver, StartError};
use bus::config::ArchiverDocument;
use bus::consumer::process_name;
use bus::control::{AtStart, Follower, FollowerConfig, FollowerError, Offered};
use std::time::Duration;
use tracing::{error, info};
use vitals::{Hangup, Stop, Vitals};

/// Between two looks: the delay of a change and of a stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a managed archiver ends before it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum ManagedError {
    /// It does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its configuration cannot be followed.
    #[error(transparent)]
    Follower(#[from] FollowerError),
    /// A thread has died.
    #[error("a thread has died of a defect; ending, to be started again")]
    Died,
}

/// Runs until it is asked to end.
///
/// # Errors
/// [`ManagedError`].
pub fn run(own: ArchiverDocument, vitals: &Vitals, stop: &Stop, hangup: &Hangup) -> Result<(), ManagedError> {
    let config = FollowerConfig {
        redis: own.redis.clone(),
        member: own.member.clone().unwrap_or_else(process_name),
        health: vitals.address(),
        software: env!("CARGO_PKG_VERSION"),
    };
    let Some((follower, at_start)) = Follower::start(&own, config, || stop.is_asked())? else {
        return Ok(());
    };
    let mut next = match at_start {
        AtStart::Version(version) => Some(version),
        AtStart::Own => None,
        AtStart::Refused(reason) => {
            error!(
                reason,
                "there is a version of the configuration, and it cannot be used: archiving by the own document"
            );
            None
        }
    };
    let mut document = own;
    loop {
        let run_stop = Stop::default();
        let archiver = start(&mut document, next.take(), &follower, vitals, &run_stop)?;
        next = until_another(&document, &archiver, &follower, stop, hangup);
        run_stop.ask();
        if !archiver.join() {
            return Err(ManagedError::Died);
        }
        if next.is_none() {
            return Ok(());
        }
    }
}

/// Starts with the next version, or with what there is when that cannot be.
fn start(
    document: &mut ArchiverDocument,
    next: Option<Offered<ArchiverDocument>>,
    follower: &Follower<ArchiverDocument>,
    vitals: &Vitals,
    stop: &Stop,
) -> Result<Archiver, StartError> {
    if let Some(version) = next {
        match Archiver::start(&version.document, vitals, stop) {
            Ok(archiver) => {
                follower.ran(&version);
                *document = version.document;
                return Ok(archiver);
            }
            Err(error) => follower.refused(&version, error.to_string()),
        }
    }
    let archiver = Archiver::start(document, vitals, stop)?;
    info!("running");
    Ok(archiver)
}

/// Waits for a version that says something else; none when it is time to end.
fn until_another(
    document: &ArchiverDocument,
    archiver: &Archiver,
    follower: &Follower<ArchiverDocument>,
    stop: &Stop,
    hangup: &Hangup,
) -> Option<Offered<ArchiverDocument>> {
    while !stop.is_asked() && !archiver.is_ended() {
        hangup.refuse_when_managed();
        match follower.take() {
            Some(version) if version.document == *document => follower.ran(&version),
            Some(version) => return Some(version),
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
    None
}
