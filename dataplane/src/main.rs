//! `feedplane-dataplane`: takes exchange feeds off the wire and publishes ticks to Redis.

use anyhow::Context;
use bus::config::DataplaneDocument;
use clap::{Parser, ValueEnum};
use dataplane::process::Dataplane;
use dataplane::status;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracing::{error, info};

/// How often signals and the status interval are looked at: the delay of a reload or a stop.
const TURN: Duration = Duration::from_millis(20);

/// Takes exchange feeds off the wire (XDP and AF_XDP, or kernel sockets), arbitrates lines A and B and
/// publishes 64-byte ticks to Redis Streams.
///
/// Signals: SIGTERM and SIGINT end it after everything taken was published; SIGHUP reads the feeds document
/// again and changes feeds without losing a packet of the others; SIGUSR2 loads the XDP programs anew and
/// swaps them in.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The configuration, `dataplane.yaml`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Reads and checks the configuration and the feeds document, then ends.
    #[arg(long)]
    check: bool,
    /// How log lines look. FEEDPLANE_LOG sets the level (`info`, `debug`, `dataplane=trace` …).
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
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

fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FEEDPLANE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let document = DataplaneDocument::load(&args.config)?;
    let directory = args.config.parent().unwrap_or(Path::new("."));
    if args.check {
        bus::config::FeedsDocument::load(&directory.join(&document.feeds))?;
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2]).context("signals")?;
    let mut dataplane = Dataplane::start(document, directory)?;
    info!("running");
    serve(&mut dataplane, &mut signals, directory)?;
    info!("ending: publishing what was taken");
    let file = dataplane.document().status.as_ref().map(|status| directory.join(&status.file));
    let status = dataplane.stop()?;
    if let Some(file) = file {
        status::write(&file, &status)?;
    }
    info!("ended");
    Ok(())
}

/// Obeys signals and writes the status until the process is to end.
fn serve(dataplane: &mut Dataplane, signals: &mut Signals, directory: &Path) -> anyhow::Result<()> {
    let interval =
        dataplane.document().status.as_ref().map(|status| Duration::from_millis(status.interval_ms));
    let mut due = Instant::now();
    loop {
        for signal in signals.pending() {
            match signal {
                SIGHUP => match dataplane.reload() {
                    Ok(changed) => info!(?changed, "feeds reloaded"),
                    Err(error) => error!("feeds not reloaded, the running ones go on: {error:#}"),
                },
                SIGUSR2 => match dataplane.replace_programs() {
                    Ok(programs) => info!(programs, "XDP programs replaced"),
                    Err(error) => error!("XDP programs not replaced, the running ones go on: {error:#}"),
                },
                _ => return Ok(()),
            }
        }
        if let Some(name) = dataplane.dead_worker() {
            anyhow::bail!("worker {name} has died; ending, to be started again");
        }
        if let Some(interval) = interval
            && Instant::now() >= due
        {
            due = Instant::now() + interval;
            write_status(dataplane, directory);
        }
        std::thread::sleep(TURN);
    }
}

fn write_status(dataplane: &mut Dataplane, directory: &Path) {
    let Some(section) = &dataplane.document().status else { return };
    let file = directory.join(&section.file);
    let written = dataplane.status().and_then(|status| status::write(&file, &status));
    if let Err(error) = written {
        error!("no status: {error:#}");
    }
}
