//! `feedplane diff`: a file against what is there, or one version against another.

use super::{apply, changes, files, name, path_of, told};
use crate::client::{Api, Client};
use crate::output::Output;
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::PathBuf;

/// Shows what differs: files from what is there now, or one version of a document from another.
///
/// Files are checked by the control plane as `apply --dry-run` has them checked, and need the same role.
#[derive(clap::Args)]
#[command(after_help = files::FORM)]
pub(crate) struct DiffArgs {
    /// The document whose versions are compared.
    #[arg(required_unless_present = "files", conflicts_with = "files")]
    service: Option<String>,
    /// What to compare with what is there; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The earlier version.
    #[arg(long, value_name = "VERSION", requires = "service")]
    from: Option<u64>,
    /// The later version; the newest when left out.
    #[arg(long, value_name = "VERSION", requires = "service")]
    to: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

pub(crate) fn diff(args: &DiffArgs) -> Result<()> {
    match &args.service {
        Some(service) => versions(args, service),
        None => files(args),
    }
}

fn files(args: &DiffArgs) -> Result<()> {
    let wanted = files::read(&args.files)?;
    let client = Client::new(&args.api.find()?)?;
    let based = apply::based(&client, wanted)?;
    let checked = apply::send(&client, &based, true, None)?.body;
    args.output.put(&checked, |checked| {
        let one = |based: &apply::Based| {
            let service = &based.wanted.service;
            let head = format!("{} ({})", name(service), told(based.base));
            table(&head, changes::of(checked, service))
        };
        based.iter().map(one).collect()
    })
}

fn versions(args: &DiffArgs, service: &str) -> Result<()> {
    let client = Client::new(&args.api.find()?)?;
    let to = match (args.to, super::current_version(&client, service)?) {
        (Some(to), _) => to,
        (None, Some(now)) => now,
        (None, None) => bail!("{} has no version yet", name(service)),
    };
    let from = args.from.unwrap_or(to.saturating_sub(1));
    if from == 0 {
        bail!("version {to} of {} is the first; there is none before it", name(service));
    }
    let [from_text, to_text] = [from, to].map(|version| version.to_string());
    let query = [("from", from_text.as_str()), ("to", to_text.as_str())];
    let answer = client.get(&format!("{}/diff", path_of(service)), &query)?.body;
    args.output.put(&answer, |answer| {
        table(&format!("{} version {from} → {to}", name(service)), changes::of(answer, service))
    })
}

fn table(head: &str, changes: Option<&Vec<Value>>) -> String {
    match changes {
        None => format!("{head}: the answer does not say what changes\n"),
        Some(changes) if changes.is_empty() => format!("{head}: the same\n"),
        Some(changes) => format!("{head}: {} changes\n{}", changes.len(), changes::text(changes)),
    }
}
