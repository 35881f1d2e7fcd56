//! `feedplane up`: everything on one machine from one file, supervised.
//!
//! ```text
//!  up.yaml ─► documents ─► supervisor ─┬─ service (thread) ─ redis-server
//!                                      ├─ service ─ postgres        output ─► journal ─► logs/<name>.log
//!                                      ├─ service ─ dataplane                    └─► screen (--follow)
//!                                      ├─ service ─ features        endpoint ─► state ─► view
//!                                      ├─ service ─ strategy
//!                                      ├─ service ─ gateway
//!                                      ├─ service ─ archiver
//!                                      └─ service ─ controlplane
//! ```
//!
//! Nothing outlives it: a service ends with its thread, whatever ends that.

mod backoff;
pub(crate) mod control;
mod databases;
mod documents;
mod http;
mod journal;
mod program;
mod service;
mod supervisor;
mod trading;
mod view;

use anyhow::{Context, Result, ensure};
use bus::config::UpDocument;
use documents::Plan;
use journal::Follow;
use lab::network::Network;
pub(crate) use service::State;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub(crate) use supervisor::Supervisor;
use view::View;
pub(crate) use view::rates;
use vitals::Stop;

const TURN: Duration = Duration::from_millis(100);

/// Runs everything that its document names on this machine, until Ctrl-C or SIGTERM.
///
/// Redis and PostgreSQL are private ones unless addresses are given. A service that ends is started again;
/// one that cannot run is shown with its error while the others go on. At the end, what was taken off the
/// wire is published, read and archived before the databases end; a second Ctrl-C ends everything at once.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to run.
    #[arg(long, value_name = "FILE", default_value = "up.yaml")]
    config: PathBuf,
    /// Checks all documents, writes those that are made from it, and ends.
    #[arg(long)]
    check: bool,
    /// Shows the services' logs, each line after the service's name.
    #[arg(long)]
    follow: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let up = UpDocument::load(&args.config).with_context(|| args.config.display().to_string())?;
    let plan = Plan::new(&up, args.config.parent().unwrap_or(Path::new("")))?;
    let bad = say_documents(&plan)?;
    if args.check {
        ensure!(bad == 0, "{bad} of {} documents cannot be used", plan.services.len());
        return Ok(());
    }
    let stop = Stop::on_signals().context("signals")?;
    let follow = args.follow.then(|| Follow::start(std::io::stdout())).transpose()?;
    let mut supervisor = Supervisor::start(plan, follow)?;
    let mut view = View::new(args.follow);
    while !stop.is_asked() {
        view.show(&supervisor.states())?;
        std::thread::sleep(TURN);
    }
    writeln!(std::io::stdout(), "ending: what was taken is published, read and archived first")?;
    let mut view = View::new(args.follow);
    supervisor.stop(|supervisor| {
        // Whoever watched may be gone; the order of the end is what counts.
        let _ = view.show(&supervisor.states());
    });
    Ok(())
}

/// Writes the documents and says where each is, and what is wrong with it; how many are bad.
fn say_documents(plan: &Plan) -> Result<usize> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "run folder   {}", plan.folder.display())?;
    let mut bad = 0;
    for (kind, path, checked) in plan.write_and_check()? {
        match checked {
            Ok(()) => writeln!(out, "{:<13}{}", kind.name(), path.display())?,
            Err(error) => {
                bad += 1;
                writeln!(out, "{:<13}CANNOT BE USED: {error:#}", kind.name())?;
            }
        }
    }
    if let Some(local) = plan.console() {
        let token = local.token_file.map_or_else(
            || "the first token is in the control plane's log".to_owned(),
            |file| format!("the first token is in {}", file.display()),
        );
        writeln!(out, "{:<13}{}/  ({token})", "console", local.base)?;
    }
    Ok(bad)
}

/// Starts everything of a document in a network namespace, or in this process's own.
///
/// # Errors
/// The first document that cannot be used, and why.
pub(crate) fn start_in(network: Option<&Network>, up: &UpDocument, directory: &Path) -> Result<Supervisor> {
    let plan = Plan::new(up, directory)?;
    for (_, _, checked) in plan.write_and_check()? {
        checked?;
    }
    match network {
        // Threads and their children are where the thread is that starts them.
        Some(network) => network.run(|| Supervisor::start(plan, None)),
        None => Supervisor::start(plan, None),
    }
}
