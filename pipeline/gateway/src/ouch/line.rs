//! The line by OUCH 5.0: a [`Connection`] on which a [`Session`] talks.

use super::session::Session;
use super::settings::{Settings, SettingsError};
use crate::connection::{Connection, Place};
use crate::line::LineStart;
use bus::config::OuchSection;

/// A line to a venue by OUCH 5.0.
pub type OuchLine = Connection<Session>;

impl OuchLine {
    /// Starts the line: it connects by itself.
    ///
    /// # Errors
    /// When the section cannot be used.
    pub fn start(section: &OuchSection, start: LineStart) -> Result<OuchLine, SettingsError> {
        let settings = Settings::new(&start.venue, section, &start.reconnect)?;
        let session = Session::new(settings, &start.resume);
        let place =
            Place { venue: start.venue, address: section.address.clone(), reconnect: start.reconnect };
        Connection::begin("ouch", place, session, start.events).map_err(SettingsError::Thread)
    }
}
