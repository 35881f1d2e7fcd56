//! What a FIX session is started with, read from its section of the document.

use bus::config::{FixSection, ReconnectSection};
use std::path::PathBuf;
use std::time::Duration;

/// A section that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The password's file.
    #[error("fix.password_file {path}: {error}; write the password into its first line")]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system says.
        error: std::io::Error,
    },
    /// The password itself, which is not shown.
    #[error("fix.password_file {0}: the first line is empty, or has a character that cannot be sent")]
    Password(PathBuf),
}

/// A session's settings.
#[derive(Clone)]
pub struct Settings {
    /// The session's name, for errors and logs.
    pub venue: String,
    /// SenderCompID (49).
    pub sender: String,
    /// TargetCompID (56).
    pub target: String,
    /// HeartBtInt (108).
    pub heartbeat: Duration,
    /// Longest wait for a connection, for the answer to a logon, and for that to a logout.
    pub logon: Duration,
    /// Username (553).
    pub user: Option<String>,
    /// Password (554).
    pub password: Option<String>,
    /// Account (1) of orders.
    pub account: Option<String>,
    /// Whether the day's first logon has ResetSeqNumFlag (141).
    pub reset_on_new_day: bool,
}

impl Settings {
    /// Reads the section, and the password from its file.
    ///
    /// # Errors
    /// When the file cannot be read, or holds nothing that can be sent.
    pub fn new(
        venue: &str,
        section: &FixSection,
        reconnect: &ReconnectSection,
    ) -> Result<Settings, SettingsError> {
        let password = match &section.password_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| SettingsError::File { path: path.clone(), error })?;
                let first = text.lines().next().unwrap_or_default();
                if first.is_empty() || first.bytes().any(|byte| byte < b' ') {
                    return Err(SettingsError::Password(path.clone()));
                }
                Some(first.to_owned())
            }
        };
        Ok(Settings {
            venue: venue.to_owned(),
            sender: section.sender_comp_id.clone(),
            target: section.target_comp_id.clone(),
            heartbeat: Duration::from_secs(u64::from(section.heartbeat_s)),
            logon: Duration::from_millis(reconnect.logon_ms),
            user: section.user.clone(),
            password,
            account: section.account.clone(),
            reset_on_new_day: section.reset_on_new_day,
        })
    }
}
