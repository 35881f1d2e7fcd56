//! `feedplane apply`: documents from files, all of them or none.

use super::{changes, checked_reason, confirm, current_version, files, name, path_of, told};
use crate::client::{Answer, Api, Base, Change, Client, Failure};
use crate::output::Output;
use anyhow::Result;
use files::Wanted;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Makes documents the newest version, all of them or none.
///
/// The control plane checks them first, and what would change is shown; then it asks. Every process takes the new version
/// by itself: `feedplane get` shows whether all run it.
#[derive(clap::Args)]
#[command(after_help = files::FORM)]
pub(crate) struct ApplyArgs {
    /// What to apply; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only checks it and shows what would change.
    #[arg(long)]
    dry_run: bool,
    /// Why, for those who will read the history.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

/// A document, and the version that the change is based on.
pub(super) struct Based {
    pub(super) wanted: Wanted,
    pub(super) base: Option<u64>,
}

pub(crate) fn apply(args: &ApplyArgs) -> Result<()> {
    if let Some(reason) = &args.reason {
        checked_reason(reason)?;
    }
    let wanted = files::read(&args.files)?;
    let client = Client::new(&args.api.find()?)?;
    let based = based(&client, wanted)?;
    let checked = send(&client, &based, true, args.reason.as_deref())?.body;
    let unchanged = show(&based, &checked, args.dry_run && !args.output.is_table());
    if args.dry_run {
        return if args.output.is_table() { Ok(()) } else { args.output.put(&checked, |_| String::new()) };
    }
    if unchanged {
        eprintln!("nothing is to be changed");
        return Ok(());
    }
    let named: Vec<&str> = based.iter().map(|based| based.wanted.service.as_str()).collect();
    confirm(&format!("apply {}", named.join(", ")), args.yes)?;
    let applied = send(&client, &based, false, args.reason.as_deref())?.body;
    args.output.put(&applied, |answer| {
        based.iter().map(|based| applied_line(answer, &based.wanted.service)).collect::<String>()
    })
}

/// The versions that the changes are based on: those that the files say, else those that are there.
pub(super) fn based(client: &Client, wanted: Vec<Wanted>) -> Result<Vec<Based>, Failure> {
    let base = |wanted: Wanted| {
        let base = match wanted.version {
            Some(version) => Some(version),
            None => current_version(client, &wanted.service)?,
        };
        Ok(Based { wanted, base })
    };
    wanted.into_iter().map(base).collect()
}

/// Asks for the change: one document by `PUT`, several in one request.
pub(super) fn send(
    client: &Client,
    based: &[Based],
    dry_run: bool,
    reason: Option<&str>,
) -> Result<Answer, Failure> {
    let mut query = Vec::new();
    if dry_run {
        query.push(("dry_run", "true"));
    }
    if let [Based { wanted, base }] = based {
        query.extend(reason.map(|reason| ("reason", reason)));
        return client.change(&Change {
            method: "PUT",
            path: &path_of(&wanted.service),
            query: &query,
            body: Some(&wanted.document),
            base: base.map_or(Base::Absent, Base::Version),
        });
    }
    let documents: serde_json::Map<String, Value> = based
        .iter()
        .map(|Based { wanted, base }| {
            (wanted.service.clone(), json!({"base_version": base.unwrap_or(0), "document": wanted.document}))
        })
        .collect();
    let mut body = json!({"documents": documents});
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    client.change(&Change {
        method: "POST",
        path: "/v1/config",
        query: &query,
        body: Some(&body),
        base: Base::Nothing,
    })
}

/// Shows what would change, on standard error when standard output is for a program; whether nothing would.
fn show(based: &[Based], checked: &Value, quiet: bool) -> bool {
    let mut unchanged = true;
    for Based { wanted, base } in based {
        let service = name(&wanted.service);
        let Some(changes) = changes::of(checked, &wanted.service) else {
            // An answer without a list of changes says nothing about them: so it is not taken for none.
            unchanged = false;
            continue;
        };
        unchanged &= changes.is_empty() && base.is_some();
        if quiet {
            continue;
        }
        match changes.len() {
            0 => eprintln!("{service} ({}): the same", told(*base)),
            many => eprintln!(
                "{service} ({}): {many} changes\n{}",
                told(*base),
                changes::text(changes).trim_end()
            ),
        }
        for line in changes::rehearsal(checked, &wanted.service) {
            eprintln!("  data plane: {line}");
        }
    }
    unchanged
}

fn applied_line(answer: &Value, service: &str) -> String {
    let several = &answer["documents"][service]["version"];
    let version = if several.is_null() { &answer["version"] } else { several };
    match version.as_u64() {
        Some(version) => format!("{service}: version {version} applied\n"),
        None => format!("{service}: applied\n"),
    }
}
