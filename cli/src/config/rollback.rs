//! `feedplane rollback`: an old content as a new version.

use super::{changes, checked_reason, confirm, current_version, name, path_of, told};
use crate::client::{Api, Base, Change, Client};
use crate::output::Output;
use anyhow::{Result, bail, ensure};
use serde_json::json;

/// Makes what a document was in an earlier version its newest one.
///
/// It shows what that changes, and asks.
#[derive(clap::Args)]
pub(crate) struct RollbackArgs {
    /// feeds, dataplane, features, strategy, gateway or archiver.
    service: String,
    /// The version whose content is to be.
    #[arg(long, value_name = "VERSION")]
    to: u64,
    /// Why, for those who will read the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

pub(crate) fn rollback(args: &RollbackArgs) -> Result<()> {
    checked_reason(&args.reason)?;
    let client = Client::new(&args.api.find()?)?;
    let (service, path) = (name(&args.service), path_of(&args.service));
    let Some(now) = current_version(&client, &args.service)? else {
        bail!("{service} has no version yet");
    };
    ensure!(args.to != now, "{service} is at version {now}; nothing was done");
    let [from, to] = [now, args.to].map(|version| version.to_string());
    let query = [("from", from.as_str()), ("to", to.as_str())];
    let answer = client.get(&format!("{path}/diff"), &query)?.body;
    let changes = changes::of(&answer, &args.service).map_or(&[][..], Vec::as_slice);
    eprintln!(
        "{service} ({}), back to version {}:\n{}",
        told(Some(now)),
        args.to,
        changes::text(changes).trim_end()
    );
    confirm(&format!("roll {service} back to version {}", args.to), args.yes)?;
    let body = json!({"version": args.to, "reason": args.reason});
    let answer = client.change(&Change {
        method: "POST",
        path: &format!("{path}/rollback"),
        query: &[],
        body: Some(&body),
        base: Base::Version(now),
    })?;
    args.output.put(&answer.body, |answer| match answer["version"].as_u64() {
        Some(version) => format!("{service}: version {version}, with the content of version {}\n", args.to),
        None => format!("{service}: rolled back to the content of version {}\n", args.to),
    })
}
