//! `feedplane-archiver`: everything on the streams into PostgreSQL or TimescaleDB, exactly once.

use anyhow::{Context, bail};
use archiver::service::Archiver;
use bus::config::ArchiverDocument;
use clap::Parser;
use std::process::ExitCode;
use tracing::info;
use vitals::{Hangup, ManagedArgs, ServiceArgs, Stop, Vitals, run_service};

/// Archives the streams of ticks and features into PostgreSQL, with TimescaleDB where it is there.
///
/// SIGTERM and SIGINT end it after everything that was read is stored; a second signal ends it at once, and
/// nothing is lost by that, nor by SIGKILL: it goes on where the archive ends. With `--managed` its document changes with
/// each version of the control plane.
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
    let document =
        ArchiverDocument::load(&args.config).with_context(|| format!("{}", args.config.display()))?;
    if args.check {
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals().context("signals")?;
    if managed {
        let hangup = Hangup::on_signal().context("SIGHUP")?;
        let vitals = Vitals::start(Some(document.health.listen))?;
        archiver::managed::run(document, &vitals, &stop, &hangup)?;
        info!("ended");
        return Ok(());
    }
    let vitals = Vitals::start(Some(document.health.listen))?;
    let archiver = Archiver::start(&document, &vitals, &stop)?;
    info!("running");
    if !archiver.join() {
        bail!("a thread has died of a defect; ending, to be started again");
    }
    info!("ended");
    Ok(())
}
