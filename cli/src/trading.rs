//! `feedplane halt`, `reduce`, `resume`, `trading`: whether there is trading, by whom and why.
//!
//! The state is the last entry of the stream `trading_state`; strategies and gateways follow it. A command adds an entry
//! and prints what is there then. It never waits for those who follow: a halt that waits is none.

use anyhow::{Context, Result, bail, ensure};
use bus::config::UpDocument;
use bus::consumer::process_name;
use bus::names::TRADING_STATE;
use bus::{StreamId, TradingMode, TradingState, records_of_range};
use redis::Connection;
use rustix::process::getuid;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Entries that the stream keeps, some 200 bytes each: years of halts. The archive has all of them.
const ENTRIES_MAX: u32 = 10_000;
/// Longest wait for Redis: an operator who halts must know soon that he has to halt elsewhere.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const NOTHING_DONE: &str = ", so NOTHING was done. Without Redis gateways send no new orders; to stop one now, end it (SIGTERM: it \
                            cancels what is open), or cancel at the venue";
/// Longest `by` and reason, bytes, as the record has it.
const TEXT_BYTES_MAX: usize = 256;
/// Entries that `trading` shows.
const SHOWN: usize = 5;

/// The document of `feedplane up`, its run folder when that is not named, and where in it the private Redis listens, as
/// [`UpDocument`] promises.
const UP_DOCUMENT: &str = "up.yaml";
const RUN_FOLDER: &str = "run";
const REDIS_SOCKET: &str = "redis/redis.sock";

/// Which Redis.
#[derive(clap::Args)]
pub(crate) struct Redis {
    /// Redis: redis://host:port/db or unix:///path/to/socket. Left out: $FEEDPLANE_REDIS, else that of `feedplane up` in
    /// this folder, as its up.yaml says or in run/.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
}

/// Stops trading: gateways cancel everything open, and refuse all but cancels.
#[derive(clap::Args)]
pub(crate) struct HaltArgs {
    /// Why, for those who will read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    redis: Redis,
}

/// Lets only what lowers a position pass, and cancels.
#[derive(clap::Args)]
pub(crate) struct ReduceArgs {
    /// Why, for those who will read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Also where trading is halted, without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    redis: Redis,
}

/// Lets everything pass that passes the checks.
///
/// Where trading is halted, or nobody has ever set a state, it asks first; without a terminal it needs `--yes`.
#[derive(clap::Args)]
pub(crate) struct ResumeArgs {
    /// Why, for those who will read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    redis: Redis,
}

/// Shows the trading state: who set it, when and why, and the ones before.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    redis: Redis,
}

pub(crate) fn halt(args: &HaltArgs) -> Result<()> {
    set(TradingMode::Halted, &args.reason, true, &args.redis)
}

pub(crate) fn reduce(args: &ReduceArgs) -> Result<()> {
    set(TradingMode::Reducing, &args.reason, args.yes, &args.redis)
}

pub(crate) fn resume(args: &ResumeArgs) -> Result<()> {
    set(TradingMode::Active, &args.reason, args.yes, &args.redis)
}

pub(crate) fn show(args: &ShowArgs) -> Result<()> {
    let mut connection = connect(&args.redis, ANSWER_WITHIN, NOTHING_DONE)?;
    let entries = last(&mut connection, SHOWN)?;
    let mut out = std::io::stdout().lock();
    match entries.first() {
        None => writeln!(
            out,
            "HALTED: nobody has ever set a state here; nothing is traded until `feedplane resume`"
        )?,
        Some((_, Ok(state))) => writeln!(out, "{}: {}", state.mode.word().to_uppercase(), told(state))?,
        Some((id, Err(why))) => {
            writeln!(out, "HALTED: the last entry ({id}) cannot be read ({why}), and counts as halted")?;
        }
    }
    for (id, before) in entries.iter().skip(1) {
        match before {
            Ok(state) => writeln!(out, "  before: {:<8} {}", state.mode, told(state))?,
            Err(why) => writeln!(out, "  before: unreadable entry {id}: {why}")?,
        }
    }
    Ok(())
}

fn set(mode: TradingMode, reason: &str, sure: bool, redis: &Redis) -> Result<()> {
    ensure!(!reason.trim().is_empty(), "--reason is empty; say why, it is kept");
    ensure!(
        reason.len() <= TEXT_BYTES_MAX && !reason.chars().any(char::is_control),
        "--reason has {} bytes; at most {TEXT_BYTES_MAX} are kept, on one line",
        reason.len()
    );
    let mut connection = connect(redis, ANSWER_WITHIN, NOTHING_DONE)?;
    let before = last(&mut connection, 1)?.into_iter().next();
    if !sure && lifts_a_halt(mode, before.as_ref().map(|(_, state)| state)) {
        confirm(mode, before.as_ref())?;
    }
    let state = TradingState { mode, by: operator(), reason: reason.to_owned(), time_ns: now_ns() };
    // What is confirmed is what was seen: a halt that somebody else sets meanwhile is not lifted by it.
    let seen = before.as_ref().map_or_else(StreamId::default, |(id, _)| *id);
    let written = write(&mut connection, &state, (mode != TradingMode::Halted).then_some(seen))?;
    let Some(id) = written else {
        bail!(
            "somebody else has set the state meanwhile; nothing was done. Look with `feedplane trading` and say it again"
        );
    };
    let mut out = std::io::stdout().lock();
    let was = match &before {
        None => "no state was ever set, which counts as halted".to_owned(),
        Some((_, Ok(state))) => format!("was {}, {}", state.mode, told(state)),
        Some((_, Err(why))) => format!("the entry before cannot be read: {why}"),
    };
    writeln!(out, "{} ({id}): {}", mode.word().to_uppercase(), told(&state))?;
    writeln!(out, "  {was}")?;
    if mode == TradingMode::Halted {
        writeln!(out, "  gateways cancel everything open and refuse all but cancels; see execution_reports")?;
    }
    Ok(())
}

type Told = std::result::Result<TradingState, String>;

fn lifts_a_halt(mode: TradingMode, before: Option<&Told>) -> bool {
    let halted = match before {
        Some(Ok(state)) => state.mode == TradingMode::Halted,
        None | Some(Err(_)) => true,
    };
    halted && mode != TradingMode::Halted
}

/// Asks on the terminal: the mode's own word must be typed, which a hand does not do by habit.
fn confirm(mode: TradingMode, before: Option<&(StreamId, Told)>) -> Result<()> {
    let halted = match before {
        Some((_, Ok(state))) => format!("trading is halted: {}", told(state)),
        Some((id, Err(why))) => format!("the last entry ({id}) cannot be read ({why}), and counts as halted"),
        None => "nobody has ever set a state here, which counts as halted".to_owned(),
    };
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
fn told(state: &TradingState) -> String {
    let TradingState { by, reason, time_ns, .. } = state;
    let age = now_ns().saturating_sub(*time_ns) / 1_000_000_000;
    let age = match age {
        0..=119 => format!("{age} s ago"),
        120..=7_199 => format!("{} min ago", age / 60),
        _ => format!("{} h ago", age / 3_600),
    };
    let shown =
        |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    format!("{} by {}, {age}: {}", utc(*time_ns), shown(by), shown(reason))
}

/// Seconds since the epoch as a date and time of day.
fn utc(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the leap day is the last of its year (Hinnant, "chrono-compatible low-level date
    // algorithms", civil_from_days).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
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
    by.truncate(by.floor_char_boundary(TEXT_BYTES_MAX));
    by
}

fn address(redis: &Redis) -> Result<String> {
    let given = redis.redis.clone().or_else(|| std::env::var("FEEDPLANE_REDIS").ok());
    if let Some(address) = given.filter(|address| !address.is_empty()) {
        return Ok(address);
    }
    const NAME_IT: &str = "name the Redis with --redis or $FEEDPLANE_REDIS";
    let document = Path::new(UP_DOCUMENT);
    let (address, folder) = if document.exists() {
        let up =
            UpDocument::load(document).with_context(|| format!("{UP_DOCUMENT} cannot be used; {NAME_IT}"))?;
        (up.redis, up.folder)
    } else {
        (None, PathBuf::from(RUN_FOLDER))
    };
    if let Some(address) = address {
        return Ok(address);
    }
    let socket = std::path::absolute(folder.join(REDIS_SOCKET))?;
    ensure!(socket.exists(), "{} is not there; start `feedplane up` here, or {NAME_IT}", socket.display());
    Ok(format!("unix://{}", socket.display()))
}

/// A connection whose calls are answered `within` this, or fail. `so` ends the error when there is no Redis: what follows from it.
pub(crate) fn connect(redis: &Redis, within: Duration, so: &str) -> Result<Connection> {
    let address = address(redis)?;
    let client = redis::Client::open(address.as_str()).with_context(|| {
        format!("{address:?} is not the address of a Redis; use redis://host:port/db or unix:///path")
    })?;
    let connection = client.get_connection_with_timeout(within).and_then(|connection| {
        connection.set_read_timeout(Some(within))?;
        connection.set_write_timeout(Some(within))?;
        Ok(connection)
    });
    connection.with_context(|| format!("Redis at {} cannot be reached{so}", without_password(&address)))
}

/// The address as it may be shown.
fn without_password(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => address.to_owned(),
    }
}

/// The last entries, newest first.
fn last(connection: &mut Connection, count: usize) -> Result<Vec<(StreamId, Told)>> {
    let mut range = redis::cmd("XREVRANGE");
    range.arg(TRADING_STATE).arg("+").arg("-").arg("COUNT").arg(count);
    let reply: redis::Value = range.query(connection).context("Redis refuses to show trading_state")?;
    let records = records_of_range(&reply).context("Redis's answer cannot be read")?;
    let parsed = records.into_iter().map(|record| {
        let state = record
            .fields
            .map_err(|error| error.to_string())
            .and_then(|fields| TradingState::parse(fields).map_err(|error| error.to_string()));
        (record.id, state)
    });
    Ok(parsed.collect())
}

/// Adds an entry: KEYS stream; ARGV the last entry's id that must still be the last (or empty), entries kept, fields.
const ADD: &str = "if ARGV[1] ~= '' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  if (last[1] and last[1][1] or '0-0') ~= ARGV[1] then return false end
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))";

/// Adds an entry, when `behind` is given only behind that one; nothing when it is not the last any more.
fn write(
    connection: &mut Connection,
    state: &TradingState,
    behind: Option<StreamId>,
) -> Result<Option<String>> {
    let mut add = redis::cmd("EVAL");
    add.arg(ADD).arg(1).arg(TRADING_STATE);
    add.arg(behind.map_or_else(String::new, |id| id.to_string())).arg(ENTRIES_MAX);
    state.for_each_field(|name, value| {
        add.arg(name).arg(value);
    });
    add.query(connection).context(
        "Redis has not confirmed the entry: look with `feedplane trading` whether it is there, and say it again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_577_836_799, "2019-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (u64::MAX / 1_000_000_000, "2554-07-21 23:34:33 UTC"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), expected);
        }
    }

    #[test]
    fn what_lifts_a_halt_is_asked_about() {
        use TradingMode::{Active, Halted, Reducing};
        let state = |mode| Ok(TradingState { mode, by: String::new(), reason: String::new(), time_ns: 0 });
        let cases = [
            (Active, Some(state(Halted)), true),
            (Reducing, Some(state(Halted)), true),
            (Active, None, true),
            (Active, Some(Err("unreadable".to_owned())), true),
            (Active, Some(state(Reducing)), false),
            (Reducing, Some(state(Active)), false),
            (Halted, Some(state(Halted)), false),
            (Halted, None, false),
        ];
        for (mode, before, expected) in cases {
            assert_eq!(lifts_a_halt(mode, before.as_ref()), expected, "{mode} after {before:?}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(without_password("redis://me:secret@host:1/0"), "redis://…@host:1/0");
        assert_eq!(without_password("unix:///run/redis.sock"), "unix:///run/redis.sock");
    }
}
