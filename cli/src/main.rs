//! The `feedplane` command: one subcommand for each thing an operator does.
//!
//! A subcommand is a module with `Args` and `run`. It prints what was asked for on standard output and what
//! the operator should know besides on standard error.

mod backtest;
mod chain;
mod check;
mod client;
mod completions;
mod config;
mod decode;
mod demo;
mod feeds;
mod get;
mod model;
mod output;
mod play;
mod status;
mod token;
mod top;
mod trading;
mod up;
mod venue;

use clap::{CommandFactory, Parser, Subcommand};
use client::Failure;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  Done. Also when the reader of standard output went away.
  1  An error, named on standard error.
  2  The command line was not understood.
  3  The control plane refused it: what was sent is not right.
  4  Somebody else has changed it meanwhile; nothing was done.
  5  Not allowed: no token, a wrong one, or one whose role may not.
  6  Not reachable; what was asked for is not known to be done.";

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
    Get(get::Args),
    Apply(config::ApplyArgs),
    Diff(config::DiffArgs),
    History(config::HistoryArgs),
    Rollback(config::RollbackArgs),
    Status(status::Args),
    Top(top::Args),
    Whoami(token::WhoamiArgs),
    /// Work with tokens of the control plane.
    #[command(subcommand)]
    Token(token::TokenCommand),
    Check(check::Args),
    Completions(completions::Args),
    /// Work with trained models and their registry in Redis.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Work with feeds files.
    #[command(subcommand)]
    Feeds(FeedsCommand),
}

#[derive(Subcommand)]
enum FeedsCommand {
    Check(feeds::Args),
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
        Command::Get(args) => get::run(&args),
        Command::Apply(args) => config::apply(&args),
        Command::Diff(args) => config::diff(&args),
        Command::History(args) => config::history(&args),
        Command::Rollback(args) => config::rollback(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Whoami(args) => token::whoami(&args),
        Command::Token(command) => token::run(&command),
        Command::Check(args) => check::run(&args),
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
        Command::Model(command) => model::run(&command),
        Command::Feeds(FeedsCommand::Check(args)) => feeds::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("feedplane: {error:#}");
            error.downcast_ref().map_or(ExitCode::FAILURE, |failure: &Failure| failure.exit_code().into())
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
