//! How a process starts and ends: its command line, its log, its exit code.

use crate::log::{LogFormat, start_log};
use clap::Args;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

/// The command line that all services share, to be flattened into a service's own.
#[derive(Args, Debug)]
pub struct ServiceArgs {
    /// The configuration document.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Reads and checks the configuration, then ends.
    #[arg(long)]
    pub check: bool,
    /// How log lines look. FEEDPLANE_LOG sets the level (`info`, `debug`, `archiver=trace` …).
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// The command line of a service whose configuration the control plane can change while it runs, beside [`ServiceArgs`].
#[derive(Args, Clone, Copy, Debug)]
pub struct ManagedArgs {
    /// Takes the newest version of its document from Redis, at the start and whenever there is another, and says what it
    /// runs (docs/controlplane.md). Its own document says what belongs to this process alone, and everything while there
    /// is no version.
    #[arg(long)]
    pub managed: bool,
}

/// Starts the log, runs the service, logs the error that ends it.
pub fn run_service<E: Display>(
    args: &ServiceArgs,
    run: impl FnOnce(&ServiceArgs) -> Result<(), E>,
) -> ExitCode {
    start_log(args.log_format);
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
