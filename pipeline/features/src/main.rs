//! `feedplane-features`: calculates features from the ticks in Redis and publishes them there.

mod service;

use bus::config::FeaturesDocument;
use clap::Parser;
use service::Service;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::{error, info};
use vitals::{LogFormat, Stop, Vitals, start_log};

/// Follows `raw_market_data`, calculates the configured features of each instrument and publishes them to
/// `calculated_features`.
///
/// Signals: SIGTERM and SIGINT end it after everything that was read is published; a second one ends it at once.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The configuration, `features.yaml`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Reads and checks the configuration, then ends.
    #[arg(long)]
    check: bool,
    /// How log lines look. FEEDPLANE_LOG sets the level (`info`, `debug`, …).
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let args = Args::parse();
    start_log(args.log_format);
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let document = FeaturesDocument::load(&args.config)?;
    if args.check {
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals()?;
    let vitals = Vitals::start(Some(document.health.listen))?;
    if let Some(address) = vitals.address() {
        info!(%address, "metrics and health");
    }
    Service::new(document, &vitals)?.run(&stop);
    Ok(())
}
