//! `feedplane-features`: calculates features from the ticks in Redis and publishes them there.

mod service;

use bus::config::FeaturesDocument;
use clap::Parser;
use service::Service;
use std::process::ExitCode;
use tracing::info;
use vitals::{ServiceArgs, Stop, Vitals, run_service};

/// Follows `raw_market_data`, calculates the configured features of each instrument and publishes them to
/// `calculated_features`.
///
/// Signals: SIGTERM and SIGINT end it after everything that was read is published; a second one ends it at once.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
}

fn main() -> ExitCode {
    run_service(&Args::parse().service, run)
}

fn run(args: &ServiceArgs) -> anyhow::Result<()> {
    let document = FeaturesDocument::load(&args.config)?;
    if args.check {
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals()?;
    let vitals = Vitals::start(Some(document.health.listen))?;
    Service::new(document, &vitals)?.run(&stop);
    Ok(())
}
