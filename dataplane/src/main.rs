//! `feedplane-dataplane`: takes exchange feeds off the wire and publishes ticks to Redis.

use anyhow::Context;
use bus::config::DataplaneDocument;
use clap::Parser;
use dataplane::control::{self, Control};
use dataplane::metrics::Metrics;
use dataplane::process::Dataplane;
use dataplane::status;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGUSR2};
use signal_hook::iterator::Signals;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};
use vitals::{Part, ServiceArgs, Stop, Vitals, run_service};

/// How often signals and the status interval are looked at: the delay of a reload or a stop.
const TURN: Duration = Duration::from_millis(20);
/// How often metrics are brought up to date when no status file asks for more.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// Takes exchange feeds off the wire (XDP and AF_XDP, or kernel sockets), arbitrates lines A and B and
/// publishes 64-byte ticks to Redis Streams.
///
/// Signals: SIGTERM and SIGINT end it after everything taken was published (a second one at once); SIGHUP reads the feeds document
/// again and changes feeds without losing a packet of the others (not when the control plane has given it a version of them);
/// SIGUSR2 loads the XDP programs anew and
/// swaps them in.
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
    let document = DataplaneDocument::load(&args.config)?;
    let directory = args.config.parent().unwrap_or(Path::new("."));
    if args.check {
        bus::config::FeedsDocument::load(&directory.join(&document.feeds))?;
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let asked =
        Asked { stop: Stop::on_signals()?, others: Signals::new([SIGHUP, SIGUSR2]).context("signals")? };
    let mut shown = Shown::new(&document, directory)?;
    let (mut dataplane, mut control) = control::start(document, directory)?;
    if let Some(control) = &mut control {
        control.tell_health(shown.address);
    }
    info!("running");
    serve(&mut dataplane, control.as_mut(), asked, &mut shown)?;
    info!("ending: publishing what was taken");
    shown.workers.is_bad("ending");
    let documents = control.as_ref().map(Control::documents_status);
    // From here on nobody is answered.
    drop(control);
    let mut status = dataplane.stop()?;
    status["documents"] = documents.into();
    shown.show(&status)?;
    info!("ended");
    Ok(())
}

/// What signals ask for.
struct Asked {
    stop: Stop,
    others: Signals,
}

/// Where the process says how it is: the status file, metrics, health.
struct Shown {
    file: Option<PathBuf>,
    /// Where metrics and health are.
    address: Option<SocketAddr>,
    /// Time between two looks; none is taken when nobody is told.
    every: Option<Duration>,
    metrics: Metrics,
    redis: Part,
    workers: Part,
}

impl Shown {
    fn new(document: &DataplaneDocument, directory: &Path) -> anyhow::Result<Shown> {
        let vitals = Vitals::start(document.health.as_ref().map(|health| health.listen))?;
        let of_file = document.status.as_ref().map(|status| Duration::from_millis(status.interval_ms));
        let of_metrics = document.health.as_ref().map(|_| METRICS_EVERY);
        Ok(Shown {
            file: document.status.as_ref().map(|status| directory.join(&status.file)),
            address: vitals.address(),
            every: of_file.into_iter().chain(of_metrics).min(),
            metrics: Metrics::new(),
            redis: vitals.part("redis"),
            workers: vitals.part("workers"),
        })
    }

    fn look(&mut self, dataplane: &mut Dataplane, control: Option<&Control>) -> anyhow::Result<()> {
        let status = match control {
            Some(control) => control.status(dataplane),
            None => dataplane.status(),
        };
        let status = status.inspect_err(|error| self.workers.is_bad(format!("{error:#}")))?;
        self.workers.is_good();
        dataplane::clock_metrics::show(&dataplane.clocks());
        self.show(&status)
    }

    fn show(&mut self, status: &Value) -> anyhow::Result<()> {
        self.metrics.show(status);
        let publisher = &status["publisher"];
        if publisher["connected"] == true {
            self.redis.is_good();
        } else {
            self.redis.is_bad(publisher["last_error"].as_str().unwrap_or("not connected yet"));
        }
        self.file.as_ref().map_or(Ok(()), |file| status::write(file, status))
    }
}

/// Obeys signals and the control plane, and says how the process is, until it is to end.
fn serve(
    dataplane: &mut Dataplane,
    mut control: Option<&mut Control>,
    mut asked: Asked,
    shown: &mut Shown,
) -> anyhow::Result<()> {
    let mut due = Instant::now();
    while !asked.stop.is_asked() {
        for signal in asked.others.pending() {
            match signal {
                SIGHUP => reload(dataplane, control.as_deref()),
                _ => match dataplane.replace_programs() {
                    Ok(programs) => info!(programs, "XDP programs replaced"),
                    Err(error) => error!("XDP programs not replaced, the running ones go on: {error:#}"),
                },
            }
        }
        if let Some(name) = dataplane.dead_worker() {
            anyhow::bail!("worker {name} has died; ending, to be started again");
        }
        if let Some(every) = shown.every
            && Instant::now() >= due
        {
            due = Instant::now() + every;
            if let Err(error) = shown.look(dataplane, control.as_deref()) {
                error!("no status: {error:#}");
            }
        }
        match &mut control {
            Some(control) => control.turn(dataplane, TURN),
            None => std::thread::sleep(TURN),
        }
    }
    Ok(())
}

/// The file has the last word only as long as the control plane has said nothing: a version is changed by another version.
fn reload(dataplane: &mut Dataplane, control: Option<&Control>) {
    if let Some(version) = control.and_then(Control::feeds_version) {
        return warn!(
            version,
            "the feeds are the control plane's; their file is not read. Change them there"
        );
    }
    match dataplane.reload() {
        Ok(changed) => info!(?changed, "feeds reloaded"),
        Err(error) => error!("feeds not reloaded, the running ones go on: {error:#}"),
    }
}
