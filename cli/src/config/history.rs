//! `feedplane history`: who changed a document, when and why.

use super::path_of;
use crate::client::{Api, Client};
use crate::get;
use crate::output::Output;
use anyhow::Result;

/// Versions shown unless `--limit` says otherwise.
const SHOWN: usize = 20;

/// Shows a document's versions, newest first: who made each, when and why.
#[derive(clap::Args)]
pub(crate) struct HistoryArgs {
    /// feeds, dataplane, features, strategy, gateway or archiver.
    service: String,
    /// Most versions.
    #[arg(long, default_value_t = SHOWN)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

pub(crate) fn history(args: &HistoryArgs) -> Result<()> {
    let client = Client::new(&args.api.find()?)?;
    let path = format!("{}/history", path_of(&args.service));
    let answer = client.list(&path, &[], true, args.limit)?;
    let columns = &[("version", "version"), ("when", "time_ns"), ("by", "by"), ("reason", "reason")];
    args.output.put(&answer, |answer| get::table(answer, columns))
}
