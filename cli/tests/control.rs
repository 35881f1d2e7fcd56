//! `feedplane get`, `apply`, `diff`, `history`, `rollback`, `halt`, `resume`, `status`, `token` against a control plane.
#![allow(clippy::unwrap_used)]

mod control_support;

use bus::names::TRADING_STATE;
use bus::{TradingMode, TradingState, records_of_range};
use control_support::{Plane, command, said};
use std::process::Stdio;

/// `features` as a file that a change is made of.
fn features(every_ms: i64) -> String {
    format!(
        "service: features\ndocument:\n  sets:\n    - {{name: basic, bars: {{time_ms: 1000}}, publish: {{every_ms: {every_ms}}}, \
         features: [mid, spread]}}\n"
    )
}

#[test]
fn a_document_is_got_changed_compared_and_rolled_back() {
    let Some(plane) = Plane::start("a_document_is_got_changed_compared_and_rolled_back") else { return };
    let table = plane.run(&["get"]).done();
    assert!(table.starts_with("DOCUMENT") && table.contains("features"), "{table}");

    // What `get` writes is what `apply` takes, and nothing is to be changed by it.
    let yaml = plane.run(&["get", "config", "features", "-o", "yaml"]).done();
    plane.file("same.yaml", &yaml);
    let same = plane.run(&["apply", "-f", "same.yaml", "--yes"]);
    assert!(same.err.contains("nothing is to be changed"), "{same:?}");

    plane.file("slow.yaml", &yaml.replace("every_ms: 1000", "every_ms: 2000"));
    let tried = plane.run(&["apply", "-f", "slow.yaml", "--dry-run"]);
    assert!(tried.err.contains("publish.every_ms: 1000 → 2000"), "{tried:?}");
    let asked = plane.run(&["apply", "-f", "slow.yaml"]).failed(1);
    assert!(asked.contains("add --yes"), "{asked}");
    let versions =
        || plane.run(&["history", "features", "-o", "json"]).json()["items"].as_array().unwrap().len();
    assert_eq!(versions(), 1, "neither a dry run nor one that is not confirmed changes anything");
    let applied = plane.run(&["apply", "-f", "slow.yaml", "--yes", "--reason", "slower, says ann"]).done();
    assert_eq!(applied, "features: version 2 applied\n");

    let diff = plane.run(&["diff", "features", "--from", "1", "--to", "2"]).done();
    assert!(diff.starts_with("features version 1 → 2: 1 changes") && diff.contains("1000 → 2000"), "{diff}");
    let diff = plane.run(&["diff", "-f", "same.yaml"]).failed(4);
    assert!(diff.contains("version 2 now"), "{diff}");
    plane.file("fast.yaml", &features(500));
    let diff = plane.run(&["diff", "-f", "fast.yaml"]).done();
    assert!(diff.contains("2000 → 500"), "{diff}");

    let back = plane.run(&["rollback", "features", "--to", "1", "--reason", "too slow", "--yes"]).done();
    assert_eq!(back, "features: version 3, with the content of version 1\n");
    let history = plane.run(&["history", "features"]).done();
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[1].starts_with("3 ") && lines[1].ends_with("too slow"), "{history}");
    assert!(lines[2].starts_with("2 ") && lines[2].ends_with("slower, says ann"), "{history}");
    let history = plane.run(&["history", "features", "-o", "yaml", "--limit", "1"]).done();
    assert!(history.contains("version: 3") && !history.contains("version: 2"), "{history}");
}

#[test]
fn of_two_writers_one_is_told_that_the_other_was_first() {
    let Some(plane) = Plane::start("of_two_writers_one_is_told") else { return };
    let yaml = plane.run(&["get", "config", "features", "-o", "yaml"]).done();
    plane.file("ann.yaml", &yaml.replace("every_ms: 1000", "every_ms: 2000"));
    plane.file("bob.yaml", &yaml.replace("every_ms: 1000", "every_ms: 3000"));
    plane.run(&["apply", "-f", "ann.yaml", "--yes"]).done();
    let late = plane.run(&["apply", "-f", "bob.yaml", "--yes"]).failed(4);
    assert!(late.contains("version 2"), "{late}");
    let now = plane.run(&["get", "config", "features", "-o", "json"]).json();
    assert_eq!(now["document"]["sets"][0]["publish"]["every_ms"], 2_000);
}

#[test]
fn a_document_that_is_wrong_is_refused_with_its_places_and_several_are_all_or_none() {
    let Some(plane) = Plane::start("a_document_that_is_wrong_is_refused") else { return };
    plane.file("bad.yaml", &features(-5));
    let refused = plane.run(&["apply", "-f", "bad.yaml", "--yes"]).failed(3);
    assert!(refused.contains("sets[0].publish.every_ms"), "{refused}");

    let archiver = "---\nservice: archiver\ndocument: {shards: 1}\n";
    plane.file("two.yaml", &format!("{}{archiver}", features(-5)));
    plane.run(&["apply", "-f", "two.yaml", "--yes"]).failed(3);
    plane.run(&["get", "config", "archiver"]).failed(1);
    plane.file("two.yaml", &format!("{}{archiver}", features(4_000)));
    let applied = plane.run(&["apply", "-f", "two.yaml", "--yes"]).done();
    assert_eq!(applied, "features: version 2 applied\narchiver: version 1 applied\n");

    for (text, expected) in [
        ("service: nobody\ndocument: {}", "service: is \"nobody\""),
        ("service: features\ndocument: {}\nmore: 1", "unknown field"),
        ("", "there is no document in it"),
        ("a: [", "line 1"),
    ] {
        plane.file("odd.yaml", text);
        let refused = plane.run(&["apply", "-f", "odd.yaml", "--yes"]).failed(1);
        assert!(refused.contains(expected), "{refused}");
    }
    plane.run(&["apply", "-f", "absent.yaml"]).failed(1);
    plane.run(&["apply"]).failed(2);
    plane.run(&["get", "nonsense"]).failed(1);
    plane.run(&["history", "nonsense"]).failed(1);
}

#[test]
fn every_resource_is_shown_in_every_form() {
    let Some(plane) = Plane::start("every_resource_is_shown_in_every_form") else { return };
    let lists = [
        "config",
        "feeds",
        "filters",
        "workers",
        "features",
        "strategies",
        "sessions",
        "nics",
        "clock",
        "models",
    ];
    for resource in
        lists.into_iter().chain(["instruments", "orders", "positions", "denials", "audit", "tokens"])
    {
        for form in ["table", "json", "yaml"] {
            let shown = plane.run(&["get", resource, "-o", form]);
            // Without a data plane there is nothing to be said of its interfaces.
            let absent = matches!(resource, "nics" | "clock") && shown.code != Some(0);
            assert!(absent || shown.code == Some(0) && !shown.out.is_empty(), "{resource} {form}: {shown:?}");
        }
    }
    assert_eq!(plane.run(&["get", "features", "basic", "-o", "json"]).json()["name"], "basic");
    assert!(plane.run(&["get", "schema", "features", "-o", "json"]).json()["properties"].is_object());
    let status = plane.run(&["status"]).done();
    assert!(status.starts_with("trading     HALTED") && status.contains("redis       connected"), "{status}");
    assert!(plane.run(&["status", "-o", "json"]).json()["services"].is_array());
    let whoami = plane.run(&["whoami", "-o", "json"]).json();
    assert_eq!((whoami["name"].as_str(), whoami["role"].as_str()), (Some("first"), Some("risk")));
    let one = plane.run(&["get", "audit", "--limit", "1", "-o", "json"]).json();
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_does_what_its_role_may_until_it_is_taken_back() {
    let Some(plane) = Plane::start("a_token_does_what_its_role_may") else { return };
    let made = plane.run(&["token", "create", "bob", "--role", "viewer", "--expires", "1h"]);
    assert!(made.err.contains("shown once"), "{made:?}");
    let token = made.done().trim().to_owned();
    assert!(token.starts_with("fp_"), "{token}");
    plane.run_as(&token, &["get"]).done();
    plane.file("fast.yaml", &features(500));
    let refused = plane.run_as(&token, &["apply", "-f", "fast.yaml", "--yes"]).failed(5);
    assert!(refused.contains("feedplane whoami") && !refused.contains(&token), "{refused}");
    plane.run_as(&token, &["resume", "--reason", "x", "--yes"]).failed(5);
    // A halt that the control plane does not take from it is tried at Redis, which is not known here: nothing is claimed.
    let halted = plane.run_as(&token, &["halt", "--reason", "x"]);
    assert!(halted.out.is_empty() && halted.err.contains("so it is said to Redis itself"), "{halted:?}");
    halted.failed(1);

    let tokens = plane.run(&["token", "list", "-o", "json"]).json();
    let bob =
        tokens["items"].as_array().unwrap().iter().find(|token| token["name"] == "bob").unwrap().clone();
    plane.run(&["token", "revoke", bob["id"].as_str().unwrap()]).done();
    let refused = plane.run_as(&token, &["get"]).failed(5);
    assert!(refused.contains("--token-file"), "{refused}");
    plane.run_as("nonsense", &["whoami"]).failed(5);
    plane.run_as("two words", &["whoami"]).failed(1);
}

fn states(plane: &Plane) -> Vec<TradingState> {
    let url = plane.redis.as_ref().unwrap().url();
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let mut range = redis::cmd("XRANGE");
    let reply: redis::Value = range.arg(TRADING_STATE).arg("-").arg("+").query(&mut connection).unwrap();
    let records = records_of_range(&reply).unwrap();
    records.into_iter().map(|record| TradingState::parse(record.fields.unwrap()).unwrap()).collect()
}

#[test]
fn a_halt_goes_over_the_control_plane_and_past_it_when_it_is_gone() {
    let Some(mut plane) = Plane::start("a_halt_goes_over_the_control_plane") else { return };
    let unsure = plane.run(&["resume", "--reason", "open"]).failed(1);
    assert!(unsure.contains("add --yes"), "{unsure}");
    let resumed = plane.run(&["resume", "--reason", "open", "--yes"]).done();
    assert!(resumed.starts_with("ACTIVE (control plane at http://127.0.0.1:"), "{resumed}");
    let halted = plane.run(&["halt", "--reason", "fat finger"]).done();
    assert!(halted.starts_with("HALTED (control plane") && halted.contains("fat finger"), "{halted}");
    let said_so: Vec<_> = states(&plane).iter().map(|state| (state.mode, state.by.clone())).collect();
    use TradingMode::{Active, Halted};
    assert_eq!(said_so, [(Active, "first".to_owned()), (Halted, "first".to_owned())]);
    assert!(plane.run(&["trading"]).done().starts_with("HALTED: "));
    assert_eq!(plane.run(&["trading", "-o", "json"]).json()["mode"], "halted");
    plane.run(&["resume", "--reason", "over", "--yes"]).done();

    plane.kill();
    let url = plane.redis.as_ref().unwrap().url();
    let gone =
        |arguments: &[&str]| said(plane.command(arguments).env("FEEDPLANE_REDIS", &url).output().unwrap());
    let refused = gone(&["resume", "--reason", "x", "--yes"]).failed(6);
    assert!(refused.contains("--redis"), "{refused}");
    let shown = gone(&["trading"]);
    assert!(shown.err.contains("cannot be reached") && shown.out.starts_with("ACTIVE: "), "{shown:?}");
    let halted = gone(&["halt", "--reason", "control plane is gone"]);
    assert!(halted.err.contains("so it is said to Redis itself"), "{halted:?}");
    assert!(halted.done().starts_with("HALTED ("));
    assert_eq!(states(&plane).last().unwrap().mode, Halted);
    plane.run(&["get"]).failed(6);

    // Nobody is there any more: nothing is claimed.
    plane.redis = None;
    let halted =
        said(plane.command(&["halt", "--reason", "x"]).env("FEEDPLANE_REDIS", &url).output().unwrap());
    assert!(halted.out.is_empty() && halted.err.contains("NOTHING was done"), "{halted:?}");
    halted.failed(6);
}

#[test]
fn a_halt_that_waits_for_redis_says_that_it_waits() {
    let Some(mut plane) = Plane::start("a_halt_that_waits_for_redis") else { return };
    plane.run(&["resume", "--reason", "open", "--yes"]).done();
    let redis = plane.redis.take();
    drop(redis);
    let halted = plane.run(&["halt", "--reason", "redis is gone, too"]);
    assert!(halted.err.contains("WAITS for Redis"), "{halted:?}");
    assert_eq!(halted.code, Some(6), "{halted:?}");
    let shown = plane.run(&["trading"]).done();
    assert!(shown.starts_with("HALTED: ") && shown.contains("WAITS to be said to Redis"), "{shown}");
}

#[test]
fn top_without_a_terminal_is_a_line_a_second() {
    use std::io::{BufRead, BufReader};
    let Some(mut plane) = Plane::start("top_without_a_terminal_is_a_line_a_second") else { return };
    let mut top = plane.command(&["top"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("HALTED") && !first.contains("STALE"), "{first}");
    plane.kill();
    let stale = lines.by_ref().map(Result::unwrap).find(|line| line.contains("STALE"));
    assert!(stale.is_some(), "a picture without news says that it is old");
    // Who reads goes away, which is its good right.
    drop(lines);
    assert!(top.wait().unwrap().success());
}

#[test]
fn completions_are_there_for_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(command(folder.path(), &["completions", shell]).output().unwrap()).done();
        assert!(script.contains("rollback") && script.len() > 1_000, "{shell}");
    }
    said(command(folder.path(), &["completions", "nonsense"]).output().unwrap()).failed(2);
    let script = said(command(folder.path(), &["completions", "bash"]).output().unwrap()).done();
    let mut bash = std::process::Command::new("bash");
    let checked = bash.args(["-n", "-c", &script]).output();
    assert!(checked.is_ok_and(|checked| checked.status.success()), "bash does not take it");
}

#[test]
fn without_a_control_plane_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| said(command(folder.path(), arguments).output().unwrap());
    assert!(run(&["get"]).failed(1).contains("$FEEDPLANE_API"));
    assert!(run(&["get", "--api", "127.0.0.1:1"]).failed(1).contains("is no address"));
    assert!(run(&["get", "--api", "http://127.0.0.1:1"]).failed(6).contains("cannot be reached"));
    assert!(run(&["get", "--api", "https://127.0.0.1:1", "--ca", "none.pem"]).failed(1).contains("none.pem"));
    std::fs::write(folder.path().join("empty.pem"), "nothing").unwrap();
    let refused = run(&["get", "--api", "https://127.0.0.1:1", "--ca", "empty.pem"]).failed(1);
    assert!(refused.contains("holds no certificate"), "{refused}");
    let refused = run(&["get", "--api", "https://127.0.0.1:1", "--client-key", "empty.pem"]).failed(1);
    assert!(refused.contains("belong together"), "{refused}");
    assert!(run(&["top", "--api", "http://127.0.0.1:1"]).failed(6).contains("cannot be reached"));
}
