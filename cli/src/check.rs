//! `feedplane feeds check FILE`: is this feeds file right, and what does it say?

use anyhow::Result;
use bus::config::{FeedLine, FeedProtocol, FeedsDocument};
use std::io::Write;
use std::path::PathBuf;

/// Validates a feeds file. On success its channels are listed; on failure every error is printed with its
/// place, and the exit code is 1.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The feeds file, YAML.
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let document = FeedsDocument::load(&args.file)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: {} feeds", args.file.display(), document.feeds.len())?;
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
