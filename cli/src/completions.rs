//! `feedplane completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::Command;
use clap_complete::Shell;
use std::io::Write;

/// Writes the completions for a shell to standard output.
///
/// bash: `source <(feedplane completions bash)`; zsh: into a file `_feedplane` of $fpath; fish: into
/// ~/.config/fish/completions/feedplane.fish.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &mut Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "feedplane", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
