//! `feedplane halt`, `reduce`, `resume`, `trading` on a real Redis.
#![allow(clippy::unwrap_used)]

use bus::names::TRADING_STATE;
use bus::{TradingMode, TradingState, records_of_range};
use lab::redis_server::RedisServer;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn redis() -> Option<RedisServer> {
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
        let _ = std::io::stderr().write_all(b"\nSKIPPED: redis-server is not installed\n");
        return None;
    }
    Some(RedisServer::start().unwrap())
}

/// Runs the command in a folder, without a terminal.
fn feedplane(folder: &Path, redis: Option<&str>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for variable in ["FEEDPLANE_REDIS", "FEEDPLANE_API", "FEEDPLANE_TOKEN", "FEEDPLANE_TOKEN_FILE"] {
        command.env_remove(variable);
    }
    command.env("USER", "trader").env_remove("SUDO_USER");
    if let Some(redis) = redis {
        command.env("FEEDPLANE_REDIS", redis);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn states(redis: &RedisServer) -> Vec<TradingState> {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let range =
        redis::cmd("XRANGE").arg(TRADING_STATE).arg("-").arg("+").query::<redis::Value>(&mut connection);
    let range = range.unwrap();
    let records = records_of_range(&range).unwrap();
    records.into_iter().map(|record| TradingState::parse(record.fields.unwrap()).unwrap()).collect()
}

#[test]
fn a_halt_is_an_entry_that_says_who_and_why_and_a_resume_must_be_meant() {
    let Some(redis) = redis() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), redis.url());
    let run = |arguments: &[&str]| feedplane(folder.path(), Some(&url), arguments);

    let (code, out, _) = run(&["trading"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("HALTED: nobody has ever set a state here"), "{out}");

    let (code, _, err) = run(&["resume", "--reason", "open"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nobody has ever set a state here") && err.contains("add --yes"), "{err}");
    assert!(states(&redis).is_empty());

    let (code, out, err) = run(&["resume", "--reason", "open", "--yes"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("ACTIVE (") && out.contains("no state was ever set"), "{out}");

    let (code, out, _) = run(&["halt", "--reason", "fat finger, 5×"]);
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with("HALTED (") && out.contains("was active") && out.contains("cancel everything open"),
        "{out}"
    );

    for command in ["resume", "reduce"] {
        let (code, _, err) = run(&[command, "--reason", "over"]);
        assert_eq!(code, Some(1));
        assert!(err.contains("trading is halted") && err.contains("fat finger, 5×"), "{err}");
    }
    assert_eq!(run(&["reduce", "--reason", "over", "--yes"]).0, Some(0));
    // Reducing is no halt.
    assert_eq!(run(&["resume", "--reason", "all is well"]).0, Some(0));

    let states = states(&redis);
    let modes: Vec<_> = states.iter().map(|state| state.mode).collect();
    use TradingMode::{Active, Halted, Reducing};
    assert_eq!(modes, [Active, Halted, Reducing, Active]);
    assert!(states.iter().all(|state| state.by.starts_with("trader@") && state.by.len() > 7), "{states:?}");
    assert_eq!(states[1].reason, "fat finger, 5×");

    let (_, out, _) = run(&["trading"]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[0].starts_with("ACTIVE: ") && lines[0].ends_with(": all is well"), "{out}");
    assert!(lines[0].contains(" UTC by trader@") && lines[0].contains(" s ago"), "{out}");
    assert!(lines[2].starts_with("  before: halted ") && lines[2].ends_with("fat finger, 5×"), "{out}");
}

#[test]
fn an_entry_that_cannot_be_read_counts_as_halted() {
    let Some(redis) = redis() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), redis.url());
    let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("XADD").arg(TRADING_STATE).arg("*").arg("mode").arg("on").exec(&mut connection).unwrap();
    let (code, out, _) = feedplane(folder.path(), Some(&url), &["trading"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("HALTED: the last entry (") && out.contains("counts as halted"), "{out}");
    let (code, _, err) = feedplane(folder.path(), Some(&url), &["resume", "--reason", "x"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("cannot be read"), "{err}");
}

#[test]
fn a_key_of_another_kind_is_named_and_nothing_is_done() {
    let Some(redis) = redis() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), redis.url());
    let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("SET").arg(TRADING_STATE).arg("active").exec(&mut connection).unwrap();
    let (code, _, err) = feedplane(folder.path(), Some(&url), &["halt", "--reason", "x"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("trading_state") && err.contains("WRONGTYPE"), "{err}");
}

#[test]
fn without_a_redis_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let halt = ["halt", "--reason", "x"];
    let (code, out, err) = feedplane(folder.path(), None, &halt);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("/run/redis/redis.sock is not there") && err.contains("$FEEDPLANE_REDIS"), "{err}");

    let nobody = format!("unix://{}", folder.path().join("nobody.sock").display());
    let (code, _, err) = feedplane(folder.path(), Some(&nobody), &halt);
    assert_eq!(code, Some(6));
    assert!(err.contains("NOTHING was done") && err.contains("SIGTERM"), "{err}");

    let (code, _, err) = feedplane(folder.path(), Some("redis://me:secret@127.0.0.1:1"), &halt);
    assert_eq!(code, Some(6));
    assert!(err.contains("redis://…@127.0.0.1:1") && !err.contains("secret"), "{err}");

    std::fs::write(folder.path().join("up.yaml"), "nonsense: 1").unwrap();
    let (code, _, err) = feedplane(folder.path(), None, &halt);
    assert_eq!(code, Some(1));
    assert!(err.contains("up.yaml cannot be used; name the Redis with --redis"), "{err}");
}

#[test]
fn the_redis_of_a_run_here_is_found() {
    let Some(redis) = redis() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("run/redis")).unwrap();
    std::os::unix::fs::symlink(redis.socket(), folder.path().join("run/redis/redis.sock")).unwrap();
    let (code, _, err) = feedplane(folder.path(), None, &["halt", "--reason", "found"]);
    assert_eq!(code, Some(0), "{err}");
    // A document here says where: by its folder, or by an address.
    std::fs::rename(folder.path().join("run"), folder.path().join("night")).unwrap();
    std::fs::write(folder.path().join("up.yaml"), "folder: night\narchiver: {}\n").unwrap();
    let (code, _, err) = feedplane(folder.path(), None, &["halt", "--reason", "found"]);
    assert_eq!(code, Some(0), "{err}");
    std::fs::write(folder.path().join("up.yaml"), format!("redis: {}\narchiver: {{}}\n", redis.url()))
        .unwrap();
    let (code, _, err) = feedplane(folder.path(), None, &["halt", "--reason", "found"]);
    assert_eq!(code, Some(0), "{err}");
    // What is named goes before all.
    let (code, _, _) =
        feedplane(folder.path(), None, &["halt", "--reason", "x", "--redis", "redis://127.0.0.1:1"]);
    assert_eq!(code, Some(6));
    assert_eq!(states(&redis).len(), 3);
}

#[test]
fn a_reason_is_needed_and_kept_short() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(feedplane(folder.path(), None, &["halt"]).0, Some(2));
    let long = "x".repeat(257);
    for reason in ["", " ", &long, "two\nlines"] {
        let (code, _, err) = feedplane(folder.path(), None, &["halt", "--reason", reason]);
        assert_eq!(code, Some(1));
        assert!(err.contains("--reason"), "{err}");
    }
}
