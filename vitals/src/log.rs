//! The log: to standard error, as text for a person or as JSON for a collector.

use clap::ValueEnum;
use std::io::IsTerminal;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log of the process. `FEEDPLANE_LOG` sets the level (`info`, `debug`, `archiver=trace`, …).
pub(crate) fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FEEDPLANE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
