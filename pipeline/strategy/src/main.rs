//! `feedplane-strategy`: runs strategies on the ticks and features in Redis and publishes their orders there.

mod service;

use anyhow::Context;
use bus::config::StrategyDocument;
use clap::Parser;
use service::{Configured, Service};
use std::process::ExitCode;
use tracing::info;
use vitals::{Hangup, ManagedArgs, ServiceArgs, Stop, Vitals, run_service};

/// Runs the configured strategies on `raw_market_data` and `calculated_features`, checks every order before it is sent,
/// and publishes those that pass to `order_instructions`.
///
/// Signals: SIGTERM and SIGINT end it after everything that was made is published, open orders stay with the gateway; a
/// second one ends it at once. SIGHUP reads the configuration again: limits and strategies change while it runs. With
/// `--managed` they change with each version of the control plane instead, and SIGHUP is refused.
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
    let document = StrategyDocument::load(&args.config)?;
    if args.check {
        service::check(&document)?;
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals()?;
    let hangup = Hangup::on_signal().context("SIGHUP")?;
    let vitals = Vitals::start(Some(document.health.listen))?;
    // Signals come to the first thread: one that waits for Redis would take them for a broken connection.
    let path = args.config.clone();
    let working = std::thread::Builder::new().name("strategy".into()).spawn(move || {
        let begun = match managed {
            true => Configured::by_versions(document, hangup, &vitals, &stop)?,
            false => Some((document, Configured::ByFile { path, hangup })),
        };
        if let Some((document, configured)) = begun {
            Service::new(document, configured, &vitals)?.run(&stop);
        }
        anyhow::Ok(())
    })?;
    working.join().map_err(|_| anyhow::anyhow!("the service panicked; see above"))?
}
