//! The `feedplane` command: one subcommand for each thing an operator does.
//!
//! A subcommand is a module with `Args` and `run`. It prints what was asked for on standard output and what
//! the operator should know besides on standard error.

mod backtest;
mod chain;
mod check;
mod decode;
mod demo;
mod model;
mod play;
mod trading;
mod up;
mod venue;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  Done. Also when the reader of standard output went away.
  1  An error, named on standard error.
  2  The command line was not understood.";

/// Exchange feeds in, one arbitrated stream of ticks out.
#[derive(Parser)]
#[command(name = "feedplane", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Backtest(backtest::Args),
    Chain(chain::Args),
    Decode(decode::Args),
    Play(Box<play::PlayArgs>),
    Demo(demo::Args),
    Up(up::Args),
    Venue(Box<venue::Args>),
    Halt(trading::HaltArgs),
    Reduce(trading::ReduceArgs),
    Resume(trading::ResumeArgs),
    Trading(trading::ShowArgs),
    /// Work with trained models and their registry in Redis.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Work with feeds files.
    #[command(subcommand)]
    Feeds(FeedsCommand),
}

#[derive(Subcommand)]
enum FeedsCommand {
    Check(check::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Backtest(args) => backtest::run_command(&args),
        Command::Chain(args) => chain::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Play(args) => play::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Up(args) => up::run(&args),
        Command::Venue(args) => venue::run(&args),
        Command::Halt(args) => trading::halt(&args),
        Command::Reduce(args) => trading::reduce(&args),
        Command::Resume(args) => trading::resume(&args),
        Command::Trading(args) => trading::show(&args),
        Command::Model(command) => model::run(&command),
        Command::Feeds(FeedsCommand::Check(args)) => check::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("feedplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output went away, which is its good right (`feedplane … | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
