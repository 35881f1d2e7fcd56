//! What an OUCH line needs to know, as the wire wants it.

use bus::config::{OuchSection, ReconnectSection};
use std::path::PathBuf;
use wire::soupbintcp::right_padded;

/// The most bytes that a password has on the wire.
const PASSWORD_BYTES_MAX: usize = 10;

/// A checked configuration of an OUCH line.
#[derive(Clone)]
pub struct Settings {
    /// The session's name, for errors and logs.
    pub venue: String,
    pub(super) user: [u8; 6],
    pub(super) password: [u8; PASSWORD_BYTES_MAX],
    /// The SoupBinTCP session that is asked for at first; empty for the one that runs.
    pub(super) session: String,
    pub(super) firm: Option<[u8; 4]>,
    /// Longest silence of ours, ns.
    pub(super) heartbeat_ns: u64,
    /// Longest silence of the venue, ns.
    pub(super) silence_ns: u64,
    /// Longest wait for a connection, and then for the logon, ns.
    pub(super) logon_ns: u64,
}

/// What of the section cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The password file cannot be read.
    #[error("password_file {path}: {error}; name a file that this process may read")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The line's thread cannot be started.
    #[error("no thread for the line: {0}")]
    Thread(std::io::Error),
    /// The field is missing or does not fit.
    #[error("`{0}` is missing or does not fit the wire")]
    Field(&'static str),
}

impl Settings {
    /// Reads the section, and the password from its file.
    ///
    /// # Errors
    /// When the file cannot be read or a field does not fit.
    pub fn new(
        venue: &str,
        section: &OuchSection,
        reconnect: &ReconnectSection,
    ) -> Result<Settings, SettingsError> {
        let password = match &section.password_file {
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|error| SettingsError::PasswordFile { path: path.clone(), error })?;
                text.lines().next().unwrap_or_default().trim_end().to_owned()
            }
            None => section.password.clone().unwrap_or_default(),
        };
        let session = section.session.clone().unwrap_or_default();
        if session.len() > 10 {
            return Err(SettingsError::Field("session"));
        }
        let firm = section.firm.as_deref().filter(|firm| !firm.is_empty());
        let firm = firm.map(|firm| right_padded(firm).ok_or(SettingsError::Field("firm"))).transpose()?;
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        Ok(Settings {
            venue: venue.to_owned(),
            user: right_padded(&section.user).ok_or(SettingsError::Field("user"))?,
            password: right_padded(&password)
                .filter(|_| !password.is_empty() && password.bytes().all(|byte| byte.is_ascii_graphic()))
                .ok_or(SettingsError::Field("password"))?,
            session,
            firm,
            heartbeat_ns: ns(section.heartbeat_ms),
            silence_ns: ns(section.silence_ms),
            logon_ns: ns(reconnect.logon_ms),
        })
    }
}

impl std::fmt::Debug for Settings {
    /// All but the password, which no log may hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("venue", &self.venue)
            .field("user", &self.user.escape_ascii().to_string())
            .finish_non_exhaustive()
    }
}
