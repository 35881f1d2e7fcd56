//! `feedplane-gateway`: sends the orders of `order_instructions` to venues, and says what became of them.

use bus::config::GatewayDocument;
use clap::Parser;
use gateway::lines;
use gateway::managed::Managed;
use gateway::service::Gateway;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::info;
use vitals::{ManagedArgs, ServiceArgs, Stop, Vitals, run_service};

/// Takes `order_instructions`, journals and sends them to the venue sessions whose leases it has, and publishes
/// `execution_reports` and `drop_copy`.
///
/// Signals: SIGTERM and SIGINT end it after open orders are cancelled (`cancel_on_stop`) and reports are published; a second
/// one ends it at once. With `--managed` limits and sessions change with each version of the control plane.
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
    let document = GatewayDocument::load(&args.config)?;
    if args.check {
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals()?;
    let vitals = Vitals::start(Some(document.health.listen))?;
    if !managed {
        return Gateway::new(document, Arc::new(lines::start), Some(&vitals))?.run(&stop);
    }
    let Some((document, managed)) = Managed::begin(document, &vitals, &stop)? else { return Ok(()) };
    Gateway::new(document, Arc::new(lines::start), Some(&vitals))?.managed(managed).run(&stop)
}
