//! Which protocol a session speaks: the one place that knows the lines there are.

use crate::line::{Line, LineStart};
use crate::ouch::OuchLine;
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

/// Starts the session's line: it connects by itself.
///
/// # Errors
/// When the section cannot be used.
pub fn start(session: &GatewaySession, start: LineStart) -> Result<Box<dyn Line>, LineStartError> {
    let venue = start.venue.clone();
    let missing = |what: &str| LineStartError {
        venue: venue.clone(),
        why: format!("this build has no line for `{what}`"),
    };
    match (&session.ouch, &session.fix) {
        (Some(section), _) => match OuchLine::start(section, start) {
            Ok(line) => Ok(Box::new(line)),
            Err(error) => Err(LineStartError { venue, why: error.to_string() }),
        },
        (None, Some(_)) => Err(missing("fix")),
        (None, None) => Err(missing("a session without a protocol")),
    }
}
