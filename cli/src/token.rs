//! `feedplane whoami`, `feedplane token`: who may do what.

use crate::client::{Api, Base, Change, Client, escaped};
use crate::get;
use crate::output::Output;
use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

/// Shows whose token this is: its name, its role, and until when it is good.
#[derive(clap::Args)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

/// What is to be done with tokens.
#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Makes a token, and writes it to standard output: it is shown once.
#[derive(clap::Args)]
pub(crate) struct CreateArgs {
    /// Whose it is; the audit says so.
    name: String,
    /// What it may do.
    #[arg(long, value_enum)]
    role: Role,
    /// How long it is good: 12h, 30d; a year at most, 90 days when left out.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

/// Lists the tokens, without their secrets.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    api: Api,
}

/// Takes a token back: it is refused from now on.
#[derive(clap::Args)]
pub(crate) struct RevokeArgs {
    /// Its id, as `feedplane token list` shows it.
    id: String,
    #[command(flatten)]
    api: Api,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// Reads.
    Viewer,
    /// Halts, reduces, and configures what does not decide about orders.
    Operator,
    /// All of it.
    Risk,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Risk => "risk",
        }
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let form = || "give it as a number and s, min, h or d, as in 30d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(form()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(form)?;
    if seconds == 0 { Err("a token that has expired is of no use".into()) } else { Ok(seconds) }
}

pub(crate) fn whoami(args: &WhoamiArgs) -> Result<()> {
    let client = Client::new(&args.api.find()?)?;
    let answer = client.get("/v1/whoami", &[])?.body;
    args.output.put(&answer, get::fields)
}

pub(crate) fn run(command: &TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Create(args) => create(args),
        TokenCommand::List(args) => list(args),
        TokenCommand::Revoke(args) => revoke(args),
    }
}

fn create(args: &CreateArgs) -> Result<()> {
    let client = Client::new(&args.api.find()?)?;
    let mut body = json!({"name": args.name, "role": args.role.word()});
    if let Some(expires) = args.expires {
        body["expires_in_s"] = expires.into();
    }
    let change =
        Change { method: "POST", path: "/v1/tokens", query: &[], body: Some(&body), base: Base::Nothing };
    let answer = client.change(&change)?.body;
    let Some(secret) = answer["token"].as_str().map(str::to_owned) else {
        // The first answer was lost on its way, and the second does not say it again.
        let id = crate::output::cell(&answer["id"]);
        bail!(
            "the token {id} was made, and its secret is lost: `feedplane token revoke {id}`, and make another"
        );
    };
    if args.output.is_table() {
        eprintln!(
            "a token for {}, role {}; it is shown once:",
            crate::output::one_line(&args.name),
            args.role.word()
        );
    }
    args.output.put(&answer, |_| format!("{}\n", crate::output::plain(&secret)))
}

fn list(args: &ListArgs) -> Result<()> {
    let client = Client::new(&args.api.find()?)?;
    let answer = client.list("/v1/tokens", &[], true, usize::MAX)?;
    args.output.put(&answer, |answer| get::table(answer, &[]))
}

fn revoke(args: &RevokeArgs) -> Result<()> {
    let client = Client::new(&args.api.find()?)?;
    let path = format!("/v1/tokens/{}", escaped(&args.id));
    client.change(&Change { method: "DELETE", path: &path, query: &[], body: None, base: Base::Nothing })?;
    println_out(&format!("{}: revoked", crate::output::one_line(&args.id)))
}

fn println_out(line: &str) -> Result<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let good = [("90s", 90), ("5min", 300), ("12h", 43_200), ("30d", 2_592_000)];
        for (text, expected) in good {
            assert_eq!(seconds(text), Ok(expected));
        }
        for bad in ["", "5", "d", "0d", "5w", "-1d", "99999999999999999999d", "1 d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
