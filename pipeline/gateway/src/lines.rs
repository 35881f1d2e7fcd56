//! Which protocol a session speaks: the one place that knows the lines there are.

use crate::fix::{self, FixLine};
use crate::line::{Line, LineStart};
use crate::ouch::{self, OuchLine};
use bus::config::GatewaySession;

/// A line that cannot be started: its section cannot be used as it is (a password file that cannot be read, say).
/// A venue that cannot be reached is none of this.
#[derive(Debug, thiserror::Error)]
#[error("{venue}: {why}")]
pub struct LineStartError {
    /// The session.
    pub venue: String,
    /// What is wrong, and what to do.
    pub why: String,
}

/// The name of the session's protocol in the drop copy and in logs.
pub fn protocol(session: &GatewaySession) -> &'static str {
    if session.ouch.is_some() { "ouch50" } else { "fix44" }
}

/// Whether the session's line could be started: its section, and the file of its password.
///
/// # Errors
/// Why not.
pub fn check(session: &GatewaySession) -> Result<(), String> {
    match (&session.ouch, &session.fix) {
        (Some(section), _) => ouch::Settings::new(&session.venue, section, &session.reconnect)
            .map(|_| ())
            .map_err(|error| error.to_string()),
        (None, Some(section)) => fix::Settings::new(&session.venue, section, &session.reconnect)
            .map(|_| ())
            .map_err(|error| error.to_string()),
        (None, None) => Err("the session has no protocol: give either `ouch` or `fix`".to_owned()),
    }
}

/// Starts the session's line: it connects by itself.
///
/// # Errors
/// When the section cannot be used.
pub fn start(session: &GatewaySession, start: LineStart) -> Result<Box<dyn Line>, LineStartError> {
    let venue = start.venue.clone();
    let started = match (&session.ouch, &session.fix) {
        (Some(section), _) => OuchLine::start(section, start).map(boxed).map_err(|error| error.to_string()),
        (None, Some(section)) => FixLine::start(section, start).map(boxed).map_err(|error| error.to_string()),
        (None, None) => Err("the session has no protocol: give either `ouch` or `fix`".to_owned()),
    };
    started.map_err(|why| LineStartError { venue, why })
}

fn boxed(line: impl Line + 'static) -> Box<dyn Line> {
    Box::new(line)
}
