//! The line by FIX 4.4: a [`Connection`] on which a [`Session`] talks.

use super::numbers::{Numbers, NumbersError};
use super::session::Session;
use super::settings::{Settings, SettingsError};
use crate::connection::{Connection, Place};
use crate::line::LineStart;
use bus::config::FixSection;

/// A line that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum FixLineError {
    /// The section.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store of numbers.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// The reader's thread.
    #[error("no thread can be started: {0}")]
    Thread(std::io::Error),
}

/// A line to a venue by FIX 4.4.
pub type FixLine = Connection<Session>;

impl FixLine {
    /// Starts the line: it connects by itself.
    ///
    /// # Errors
    /// When the section or the store of numbers cannot be used.
    pub fn start(section: &FixSection, start: LineStart) -> Result<FixLine, FixLineError> {
        let settings = Settings::new(&start.venue, section, &start.reconnect)?;
        let numbers = Numbers::open(&start.folder)?;
        let session = Session::new(settings, numbers, start.resume.next_number);
        let place =
            Place { venue: start.venue, address: section.address.clone(), reconnect: start.reconnect };
        Connection::begin("fix", place, session, start.events).map_err(FixLineError::Thread)
    }
}
