//! `feedplane halt`, `reduce`, `resume`, `trading`: whether there is trading, by whom and why.
//!
//! Said to the control plane where there is one, which knows who may; straight to Redis where there is none. A halt takes
//! whichever of the two it reaches, and says which. A command never waits for those who follow: a halt that waits is none.
//! It never claims what it does not know to be done.

mod bus_state;
mod over_api;

pub(crate) use bus_state::connect;

use crate::client::{Api, Failure, Found, Why};
use crate::config::checked_reason;
use crate::output::{Output, age, utc};
use anyhow::{Result, bail, ensure};
use bus::TradingMode;
use bus::consumer::process_name;
use over_api::Done;
use rustix::process::getuid;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

/// Longest wait for an answer: an operator who halts must know soon that he has to halt elsewhere.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const NOTHING_DONE: &str = ", so NOTHING was done. Without Redis gateways send no new orders; to stop one now, end it (SIGTERM: it \
                            cancels what is open), or cancel at the venue";
const NOT_KNOWN: &str = ", and the control plane has not said whether it has done it. Without Redis gateways send no new orders; to \
                         stop one now, end it (SIGTERM: it cancels what is open), or cancel at the venue";
const KEPT: &str = "the control plane keeps it and WAITS for Redis, which it does not reach; without Redis gateways send no new orders";
const PAST: &str = "feedplane: so it is said to Redis itself";
/// Longest `by`, bytes, as the record has it.
const BY_BYTES_MAX: usize = 256;

/// Which Redis.
#[derive(clap::Args)]
pub(crate) struct Redis {
    /// Redis: redis://host:port/db or unix:///path/to/socket. Left out: $FEEDPLANE_REDIS, else that of `feedplane up` in
    /// this folder, as its up.yaml says or in run/.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
}

/// To whom it is said.
#[derive(clap::Args)]
pub(crate) struct Whom {
    #[command(flatten)]
    redis: Redis,
    #[command(flatten)]
    api: Api,
}

/// Stops trading: gateways cancel everything open, and refuse all but cancels.
///
/// Said to the control plane; where it is not reached or does not do it, straight to Redis, and that is told. With --redis
/// straight to Redis.
#[derive(clap::Args)]
pub(crate) struct HaltArgs {
    /// Why, for those who will read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    whom: Whom,
}

/// Lets only what lowers a position pass, and cancels.
///
/// Said to the control plane where one is configured; with --redis straight to Redis.
#[derive(clap::Args)]
pub(crate) struct ReduceArgs {
    /// Why, for those who will read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Also where trading is halted, without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    whom: Whom,
}

/// Lets everything pass that passes the checks.
///
/// Where trading is halted, or nobody has ever set a state, it asks first; without a terminal it needs `--yes`. Said to the
/// control plane where one is configured; with --redis straight to Redis.
#[derive(clap::Args)]
pub(crate) struct ResumeArgs {
    /// Why, for those who will read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    whom: Whom,
}

/// Shows the trading state: who set it, when and why.
///
/// As the control plane has it where one is configured and answers, else as it is in Redis, with the ones before.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    whom: Whom,
}

pub(crate) fn halt(args: &HaltArgs) -> Result<()> {
    checked_reason(&args.reason)?;
    let past = |so: &str| bus_state::set(TradingMode::Halted, &args.reason, true, &args.whom.redis, so);
    let found = match args.whom.control_plane() {
        Ok(None) => return past(NOTHING_DONE),
        Ok(Some(found)) => found,
        Err(failure) => {
            eprintln!("feedplane: {failure}\n{PAST}");
            return past(NOTHING_DONE);
        }
    };
    match over_api::set(TradingMode::Halted, &args.reason, true, &found) {
        Ok(Done::Said) => Ok(()),
        Ok(Done::Kept) => {
            eprintln!("feedplane: {KEPT}\n{PAST}");
            past("").map_err(|error| error.context(Failure::new(Why::NotReachable, KEPT.into())))
        }
        Err(error) => {
            eprintln!("feedplane: {error:#}\n{PAST}");
            let in_doubt = error.downcast_ref().is_some_and(Failure::is_in_doubt);
            past(if in_doubt { NOT_KNOWN } else { NOTHING_DONE })
        }
    }
}

pub(crate) fn reduce(args: &ReduceArgs) -> Result<()> {
    set(TradingMode::Reducing, &args.reason, args.yes, &args.whom)
}

pub(crate) fn resume(args: &ResumeArgs) -> Result<()> {
    set(TradingMode::Active, &args.reason, args.yes, &args.whom)
}

/// Sets a mode that may lift a halt: who may do so, the control plane knows, so nothing goes past it by itself.
fn set(mode: TradingMode, reason: &str, sure: bool, whom: &Whom) -> Result<()> {
    checked_reason(reason)?;
    match whom.control_plane()? {
        None => bus_state::set(mode, reason, sure, &whom.redis, NOTHING_DONE),
        Some(found) => match over_api::set(mode, reason, sure, &found) {
            Ok(Done::Said) => Ok(()),
            Ok(Done::Kept) => bail!(Failure::new(Why::NotReachable, KEPT.into())),
            Err(error) if error.downcast_ref().map(Failure::why) == Some(Why::NotReachable) => {
                let text = "it is not known to be done. Past the control plane it is said with --redis";
                Err(error.context(Failure::new(Why::NotReachable, text.into())))
            }
            Err(error) => Err(error),
        },
    }
}

pub(crate) fn show(args: &ShowArgs) -> Result<()> {
    if let Some(found) = args.whom.control_plane()? {
        match over_api::show(&found, args.output) {
            Err(error) if error.downcast_ref().map(Failure::why) == Some(Why::NotReachable) => {
                eprintln!("feedplane: {error:#}\nfeedplane: so this is what Redis says");
            }
            shown => return shown,
        }
    }
    bus_state::show(&args.whom.redis, args.output, "")
}

impl Whom {
    /// The control plane that is to be told; nothing where none is configured, or a Redis is named.
    fn control_plane(&self) -> Result<Option<Found>, Failure> {
        if self.redis.redis.is_some() { Ok(None) } else { self.api.configured() }
    }
}

/// Whether this mode lifts a halt.
fn lifts_a_halt(mode: TradingMode, halted: bool) -> bool {
    halted && mode != TradingMode::Halted
}

/// Asks on the terminal: the mode's own word must be typed, which a hand does not do by habit.
fn confirm(mode: TradingMode, halted: &str) -> Result<()> {
    ensure!(std::io::stdin().is_terminal(), "{halted}. To lift it without a terminal, add --yes");
    let mut out = std::io::stderr().lock();
    write!(out, "{halted}.\nType {} to go on: ", mode.word())?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    ensure!(line.trim() == mode.word(), "not confirmed; nothing was done");
    Ok(())
}

/// When, by whom, why.
fn heard(by: &str, reason: &str, time_ns: u64) -> String {
    let shown =
        |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    format!("{} by {}, {}: {}", utc(time_ns), shown(by), age(time_ns), shown(reason))
}

/// `user@host`. Who it really is, the terminal's login knows better than this; it is for people, not for courts.
fn operator() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|u| !u.is_empty()));
    let user = user.unwrap_or_else(|| format!("uid {}", getuid().as_raw()));
    let process = process_name();
    let host = process.rsplit_once('-').map_or(process.as_str(), |(host, _)| host);
    let mut by = format!("{user}@{host}");
    by.truncate(by.floor_char_boundary(BY_BYTES_MAX));
    by
}
