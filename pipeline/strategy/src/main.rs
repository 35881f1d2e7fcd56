//! `feedplane-strategy`: runs strategies on the ticks and features in Redis and publishes their orders there.

mod service;

use anyhow::Context;
use bus::config::StrategyDocument;
use clap::Parser;
use service::Service;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tracing::info;
use vitals::{ServiceArgs, Stop, Vitals, run_service};

/// Runs the configured strategies on `raw_market_data` and `calculated_features`, checks every order before it is sent,
/// and publishes those that pass to `order_instructions`.
///
/// Signals: SIGTERM and SIGINT end it after everything that was made is published, open orders stay with the gateway; a
/// second one ends it at once. SIGHUP reads the configuration again: limits and strategies change while it runs.
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
    let document = StrategyDocument::load(&args.config)?;
    if args.check {
        service::check(&document)?;
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals()?;
    let reload = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&reload)).context("SIGHUP")?;
    let vitals = Vitals::start(Some(document.health.listen))?;
    let service = Service::new(document, args.config.clone(), reload, &vitals)?;
    // Signals come to the first thread: one that waits for Redis would take them for a broken connection.
    let working = std::thread::Builder::new().name("strategy".into()).spawn(move || service.run(&stop))?;
    working.join().map_err(|_| anyhow::anyhow!("the service panicked; see above"))
}
