//! `feedplane feeds check FILE`: is this feeds file right, and what does it say?

use anyhow::{Context, Result};
use bus::config::{FeedLine, FeedProtocol, FeedsDocument};
use dataplane::plan::Schemas;
use std::io::Write;
use std::path::PathBuf;

/// Validates a feeds file and the template files that it names.
///
/// When all is right its channels are listed; otherwise every error is printed with its place.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The feeds file, YAML.
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let named = || args.file.display().to_string();
    let document = FeedsDocument::load(&args.file).with_context(named)?;
    let mut schemas = Schemas::default();
    for schema in document.feeds.iter().filter_map(|feed| feed.schema.as_deref()) {
        schemas.read(schema).with_context(named)?;
    }
    let mut out = std::io::stdout().lock();
    let count = document.feeds.len();
    writeln!(out, "{}: {count} feed{}", args.file.display(), if count == 1 { "" } else { "s" })?;
    for feed in &document.feeds {
        let protocol = match feed.protocol {
            FeedProtocol::Mdp3 => "mdp3",
            FeedProtocol::Itch50 => "itch50",
        };
        writeln!(
            out,
            "  {:<32}  channel {:>5}  {protocol:<6}  A {:<21}  B {}",
            feed.name,
            feed.channel_id,
            line(feed.lines.a.as_ref()),
            line(feed.lines.b.as_ref())
        )?;
    }
    Ok(())
}

fn line(line: Option<&FeedLine>) -> String {
    line.map_or_else(|| "-".to_owned(), |line| format!("{}:{}", line.group, line.port))
}
