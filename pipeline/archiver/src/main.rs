//! `feedplane-archiver`: everything on the streams into PostgreSQL or TimescaleDB, exactly once.

use anyhow::{Context, bail};
use archiver::service::Archiver;
use bus::config::ArchiverDocument;
use clap::Parser;
use std::process::ExitCode;
use tracing::info;
use vitals::{ServiceArgs, Stop, Vitals, run_service};

/// Archives the streams of ticks and features into PostgreSQL, with TimescaleDB where it is there.
///
/// SIGTERM and SIGINT end it after everything that was read is stored; a second signal ends it at once, and
/// nothing is lost by that, nor by SIGKILL: it goes on where the archive ends.
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
    let document =
        ArchiverDocument::load(&args.config).with_context(|| format!("{}", args.config.display()))?;
    if args.check {
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals().context("signals")?;
    let vitals = Vitals::start(Some(document.health.listen))?;
    let archiver = Archiver::start(&document, &vitals, &stop)?;
    info!("running");
    if !archiver.join() {
        bail!("a thread has died of a defect; ending, to be started again");
    }
    info!("ended");
    Ok(())
}
