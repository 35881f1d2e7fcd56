//! The trading state as the control plane has it.

use super::{ANSWER_WITHIN, confirm, heard, lifts_a_halt};
use crate::client::{Base, Change, Client, Failure, Found};
use crate::output::Output;
use crate::status::waits;
use anyhow::{Result, bail};
use bus::TradingMode;
use serde_json::{Value, json};
use std::io::Write;

const PATH: &str = "/v1/trading";

/// What became of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It is in Redis.
    Said,
    /// The control plane keeps it, and says it as soon as it reaches Redis.
    Kept,
}

/// Shows the state.
///
/// # Errors
/// The control plane does not say.
pub(super) fn show(found: &Found, output: Output) -> Result<()> {
    let client = Client::answered_within(found, ANSWER_WITHIN)?;
    let state = client.get(PATH, &[])?.body;
    mode_of(&state)?;
    output.put(&state, |state| {
        let mut text = format!("{}: {}\n", word(state).to_uppercase(), told(state));
        if waits(state) {
            text.push_str("  it WAITS to be said to Redis, which is not there; without it gateways send no new orders\n");
        }
        text
    })
}

/// Sets a mode, and says what is then.
///
/// # Errors
/// It was not done, or is not known to be; [`Failure::is_in_doubt`] says which.
pub(super) fn set(mode: TradingMode, reason: &str, sure: bool, found: &Found) -> Result<Done> {
    let client = Client::answered_within(found, ANSWER_WITHIN)?;
    let (path, base) = match mode {
        // A halt asks nothing first.
        TradingMode::Halted => ("/v1/halt", Base::Nothing),
        TradingMode::Reducing => ("/v1/reduce", seen(&client, mode, sure)?),
        TradingMode::Active => ("/v1/resume", seen(&client, mode, sure)?),
    };
    let body = json!({"reason": reason});
    let change = Change { method: "POST", path, query: &[], body: Some(&body), base };
    let answer = match mode {
        // Redis is asked instead, which is sooner than to wait a second time.
        TradingMode::Halted => client.change_once(&change)?,
        _ => client.change(&change)?,
    };
    let state = answer.body;
    if mode_of(&state)? != mode {
        bail!(Failure::other(format!(
            "the control plane says that trading is {} now; look with `feedplane trading`",
            word(&state)
        )));
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} (control plane at {}): {}",
        mode.word().to_uppercase(),
        client.address(),
        told(&state)
    )?;
    if waits(&state) {
        return Ok(Done::Kept);
    }
    if mode == TradingMode::Halted {
        writeln!(
            out,
            "  gateways cancel everything open and refuse all but cancels; see `feedplane get orders`"
        )?;
    }
    Ok(Done::Said)
}

/// The state that a change is based on, once it is confirmed that a halt is lifted: one that somebody sets meanwhile is not.
fn seen(client: &Client, mode: TradingMode, sure: bool) -> Result<Base> {
    let answer = client.get(PATH, &[])?;
    // What cannot be read counts as halted.
    let halted = mode_of(&answer.body).map_or(true, |mode| mode == TradingMode::Halted);
    if !sure && lifts_a_halt(mode, halted) {
        confirm(mode, &format!("trading is halted: {}", told(&answer.body)))?;
    }
    match answer.etag {
        Some(etag) => Ok(Base::Tag(etag)),
        None => Err(Failure::shape(PATH, "ETag").into()),
    }
}

fn mode_of(state: &Value) -> Result<TradingMode, Failure> {
    let modes = [TradingMode::Active, TradingMode::Reducing, TradingMode::Halted];
    let mode = modes.into_iter().find(|mode| Some(mode.word()) == state["mode"].as_str());
    mode.ok_or_else(|| Failure::shape(PATH, "mode"))
}

fn word(state: &Value) -> String {
    crate::output::one_line(state["mode"].as_str().unwrap_or("unknown"))
}

fn told(state: &Value) -> String {
    let text = |field: &str| state[field].as_str().unwrap_or("-");
    match state["since_ns"].as_u64() {
        Some(since_ns) if since_ns > 0 => heard(text("by"), text("reason"), since_ns),
        _ => "nobody has ever set a state".to_owned(),
    }
}
