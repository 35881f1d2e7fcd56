//! `feedplane-features`: calculates features from the ticks in Redis and publishes them there.

mod service;

use bus::config::FeaturesDocument;
use clap::Parser;
use service::{Managed, Service};
use std::process::ExitCode;
use tracing::info;
use vitals::{ManagedArgs, ServiceArgs, Stop, Vitals, run_service};

/// Follows `raw_market_data`, calculates the configured features of each instrument and publishes them to
/// `calculated_features`.
///
/// Signals: SIGTERM and SIGINT end it after everything that was read is published; a second one ends it at once.
/// With `--managed` its feature sets change with each version of the control plane.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    managed: ManagedArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    run_service(&args.service, |service| run(service, args.managed))
}

fn run(args: &ServiceArgs, ManagedArgs { managed }: ManagedArgs) -> anyhow::Result<()> {
    let document = FeaturesDocument::load(&args.config)?;
    if args.check {
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals()?;
    let vitals = Vitals::start(Some(document.health.listen))?;
    let (document, managed) = match managed {
        true => match Managed::begin(document, &vitals, &stop)? {
            Some((document, managed)) => (document, Some(managed)),
            None => return Ok(()),
        },
        false => (document, None),
    };
    Service::new(document, managed, &vitals)?.run(&stop);
    Ok(())
}
