//! `feedplane-controlplane`: one API for the whole pipeline.

use anyhow::{Context, bail};
use bus::config::ControlplaneDocument;
use clap::Parser;
use controlplane::access::{Access, Intent, Role};
use controlplane::api;
use controlplane::app::App;
use controlplane::config::seed;
use controlplane::live::Live;
use controlplane::server::Server;
use controlplane::store::{Done, NewToken, Store};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info};
use vitals::{Part, ServiceArgs, Stop, Vitals, run_service};

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Configures the whole pipeline over one API, shows what it does, and stops trading when told to.
///
/// SIGTERM and SIGINT end it in order; a second signal ends it at once. Nothing is lost by that, nor by SIGKILL, and what
/// the processes run they go on running.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// Makes a token of the role risk with this name, prints it, and ends: when all others are lost. Whoever may write the
    /// store may do this.
    #[arg(long, value_name = "NAME")]
    new_token: Option<String>,
}

fn main() -> ExitCode {
    let Args { service, new_token } = Args::parse();
    run_service(&service, |args| run(args, new_token.as_deref()))
}

fn run(args: &ServiceArgs, new_token: Option<&str>) -> anyhow::Result<()> {
    let document =
        ControlplaneDocument::load(&args.config).with_context(|| format!("{}", args.config.display()))?;
    if args.check {
        info!("the configuration is good");
        return Ok(());
    }
    // Before anything else, so that a signal during start-up is not lost.
    let stop = Stop::on_signals().context("signals")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("threads for the API")?;
    let ended = runtime.block_on(async {
        let store = Store::open(&document.store, document.limits.store_mib).await?;
        match new_token {
            Some(name) => print_token(&make_token(&store, name).await?),
            None => serve(document, store, &stop).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(document: ControlplaneDocument, store: Store, stop: &Stop) -> anyhow::Result<()> {
    let vitals = Vitals::start(Some(document.health.listen))?;
    let (of_store, of_api) = (vitals.part("store"), vitals.part("api"));
    if document.tls.is_none() && document.allow_plaintext && !document.listen.ip().is_loopback() {
        tracing::warn!(listen = %document.listen, "plain HTTP beyond loopback: whoever is on the network reads tokens");
    }
    let server = Server::bind(&document).await?;
    let seeded = seed(&store, &document.seed).await?;
    if !seeded.is_empty() {
        info!(documents = ?seeded, "first versions from files");
    }
    first_token(&store, document.first_token_file.as_deref()).await?;
    let access = Access::new(store.clone(), &document.limits);
    let live = Live::start(&document, store.clone(), stop.clone())?;
    let app = App { document: Arc::new(document), store: store.clone(), access, live };
    let router = api::router(app)?;
    tokio::spawn(verify(store.clone()));
    tokio::spawn(watch(store.clone(), of_store));
    let address = server.address()?;
    of_api.is_good();
    info!(%address, "running");
    server.run(router, stop).await;
    store.close().await;
    info!("ended");
    Ok(())
}

/// Makes the first token when there is none, and shows it once.
async fn first_token(store: &Store, file: Option<&Path>) -> anyhow::Result<()> {
    if store.has_tokens().await? {
        return Ok(());
    }
    let Some(path) = file else {
        return print_token(&make_token(store, "first").await?);
    };
    // Before the token is: one that nobody was shown would lock everybody out.
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file =
        opened.with_context(|| format!("first_token_file {}; it must not be there", path.display()))?;
    let token = make_token(store, "first").await?;
    writeln!(file, "{}", token.text).and_then(|()| file.sync_all()).with_context(|| {
        format!("first_token_file {}; make another token with --new-token", path.display())
    })?;
    info!(file = %path.display(), "the first token");
    Ok(())
}

/// On standard error, not in the log, which may be kept.
fn print_token(token: &NewToken) -> anyhow::Result<()> {
    let shown = format!("\nA token of the role {} (shown this once): {}\n\n", token.token.role, token.text);
    std::io::stderr().write_all(shown.as_bytes()).context("standard error")
}

async fn make_token(store: &Store, name: &str) -> anyhow::Result<NewToken> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(known) {
        bail!("a token's name has 1 to 64 letters, digits, `-`, `_`, `.` or `@`");
    }
    let refused = |stopped| anyhow::anyhow!("the token cannot be made: {stopped:?}");
    let mut change = store.begin(&Intent::internal("this machine", "make_token")).await.map_err(refused)?;
    let made = change.add_token(name, Role::Risk, "this machine", None).await;
    let made = made.map_err(|problem| anyhow::anyhow!("the token cannot be made: {}", problem.detail))?;
    let after = json!({"id": made.token.id, "name": name, "role": "risk"});
    let done = Done {
        target: format!("token {}", made.token.id),
        before: Value::Null,
        after,
        answer: api::Answer::ok(Value::Null),
        kept: None,
    };
    change.commit(done).await.map_err(refused)?;
    Ok(made)
}

/// Goes through the audit's chain once.
async fn verify(store: Store) {
    match store.verify().await {
        Ok(chain) => {
            let broken = metrics::gauge!("feedplane_controlplane_audit_broken_at");
            broken.set(chain.broken_at.unwrap_or(0) as f64);
            match chain.broken_at {
                None => info!(entries = chain.verified_to, "the audit is as it was written"),
                Some(seq) => {
                    error!(seq, "the audit was changed behind the control plane's back, at this entry");
                }
            }
        }
        Err(error) => error!(%error, "the audit cannot be verified"),
    }
}

/// Whether the store answers, and how large it is.
async fn watch(store: Store, part: Part) {
    loop {
        match store.size().await {
            Ok((_, bytes)) => {
                metrics::gauge!("feedplane_controlplane_store_bytes").set(bytes as f64);
                part.is_good();
            }
            Err(error) => part.is_bad(error.to_string()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
