//! The trading state with which a Redis begins in which nobody has set one.

use anyhow::{Context, Result};
use bus::names::TRADING_STATE;
use bus::{TradingMode, TradingState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long Redis may take to start.
const WITHIN: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(50);

/// Adds an entry when there is none, in one step, so that a word that somebody says meanwhile stands.
const BEGIN: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV))
return 1";

/// Sets the state as soon as Redis answers, once: a Redis that loses its memory later does not get it again, because a
/// halt may have been lost with it.
pub(super) fn begin_with(mode: TradingMode, redis: String) -> Result<()> {
    let client = redis::Client::open(redis.as_str()).with_context(|| redis.clone())?;
    let begin = move || {
        let end = Instant::now() + WITHIN;
        while Instant::now() < end {
            if say(&client, mode).is_ok() {
                return;
            }
            std::thread::sleep(RETRY);
        }
    };
    std::thread::Builder::new().name("trading state".into()).spawn(begin)?;
    Ok(())
}

fn say(client: &redis::Client, mode: TradingMode) -> redis::RedisResult<()> {
    let mut connection = client.get_connection_with_timeout(RETRY * 20)?;
    let time_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let state =
        TradingState { mode, by: "feedplane up".into(), reason: "as its document says".into(), time_ns };
    let mut begin = redis::cmd("EVAL");
    begin.arg(BEGIN).arg(1).arg(TRADING_STATE);
    state.for_each_field(|name, value| {
        begin.arg(name).arg(value);
    });
    begin.query::<u64>(&mut connection).map(drop)
}
