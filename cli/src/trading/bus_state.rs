//! The trading state in Redis itself: the last entry of the stream `trading_state`, which strategies and gateways follow.

use super::{ANSWER_WITHIN, Redis, confirm, heard, lifts_a_halt, operator};
use crate::client::{Failure, Why};
use crate::client::{RUN_FOLDER, UP_DOCUMENT};
use crate::output::{Output, now_ns};
use anyhow::{Context, Result, bail, ensure};
use bus::config::UpDocument;
use bus::names::TRADING_STATE;
use bus::{StreamId, TradingMode, TradingState, records_of_range};
use redis::Connection;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Entries that the stream keeps, some 200 bytes each: years of halts. The archive has all of them.
const ENTRIES_MAX: u32 = 10_000;
/// Entries that `trading` shows.
const SHOWN: usize = 5;
/// Where in the run folder of `feedplane up` the private Redis listens, as [`UpDocument`] promises.
const REDIS_SOCKET: &str = "redis/redis.sock";

pub(super) type Told = std::result::Result<TradingState, String>;

/// Shows the state and the ones before.
///
/// # Errors
/// Redis cannot be asked.
pub(super) fn show(redis: &Redis, output: Output, so: &str) -> Result<()> {
    let mut connection = connect(redis, ANSWER_WITHIN, so)?;
    let entries = last(&mut connection, SHOWN)?;
    if !output.is_table() {
        return output.put(&as_json(&entries), |_| String::new());
    }
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

/// The newest entry as the API gives the state; a state that cannot be read counts as halted.
fn as_json(entries: &[(StreamId, Told)]) -> Value {
    match entries.first() {
        Some((_, Ok(state))) => {
            json!({"mode": state.mode.word(), "by": state.by, "reason": state.reason, "since_ns": state.time_ns})
        }
        Some((_, Err(why))) => {
            json!({"mode": TradingMode::Halted.word(), "by": null, "reason": why, "since_ns": 0})
        }
        None => json!({"mode": TradingMode::Halted.word(), "by": null, "reason": null, "since_ns": 0}),
    }
}

/// Adds an entry and says what is there then. `so` ends the error when Redis cannot be reached.
///
/// # Errors
/// It was not done, or is not known to be.
pub(super) fn set(mode: TradingMode, reason: &str, sure: bool, redis: &Redis, so: &str) -> Result<()> {
    let mut connection = connect(redis, ANSWER_WITHIN, so)?;
    let before = last(&mut connection, 1)?.into_iter().next();
    if !sure && lifts(mode, before.as_ref().map(|(_, state)| state)) {
        confirm(mode, &halted_by(before.as_ref()))?;
    }
    let state = TradingState { mode, by: operator(), reason: reason.to_owned(), time_ns: now_ns() };
    // What is confirmed is what was seen: a halt that somebody else sets meanwhile is not lifted by it.
    let seen = before.as_ref().map_or_else(StreamId::default, |(id, _)| *id);
    let written = write(&mut connection, &state, (mode != TradingMode::Halted).then_some(seen))?;
    let Some(id) = written else {
        bail!(Failure::new(
            Why::Conflict,
            "somebody else has set the state meanwhile; nothing was done. Look with `feedplane trading` and say it again"
                .into()
        ));
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

fn lifts(mode: TradingMode, before: Option<&Told>) -> bool {
    let halted = match before {
        Some(Ok(state)) => state.mode == TradingMode::Halted,
        None | Some(Err(_)) => true,
    };
    lifts_a_halt(mode, halted)
}

fn halted_by(before: Option<&(StreamId, Told)>) -> String {
    match before {
        Some((_, Ok(state))) => format!("trading is halted: {}", told(state)),
        Some((id, Err(why))) => format!("the last entry ({id}) cannot be read ({why}), and counts as halted"),
        None => "nobody has ever set a state here, which counts as halted".to_owned(),
    }
}

/// When, by whom, why.
fn told(state: &TradingState) -> String {
    heard(&state.by, &state.reason, state.time_ns)
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
    let client = bus::redis_address(&address).and_then(redis::Client::open).with_context(|| {
        format!("{address:?} is not the address of a Redis; use redis://host:port/db or unix:///path")
    })?;
    let connection = client.get_connection_with_timeout(within).and_then(|connection| {
        connection.set_read_timeout(Some(within))?;
        connection.set_write_timeout(Some(within))?;
        Ok(connection)
    });
    connection.with_context(|| {
        let text = format!("Redis at {} cannot be reached{so}", without_password(&address));
        Failure::new(Why::NotReachable, text)
    })
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
            assert_eq!(lifts(mode, before.as_ref()), expected, "{mode} after {before:?}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(without_password("redis://me:secret@host:1/0"), "redis://…@host:1/0");
        assert_eq!(without_password("unix:///run/redis.sock"), "unix:///run/redis.sock");
    }
}
