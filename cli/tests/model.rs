//! `feedplane model push`, `list`, `show` on a real Redis.
#![allow(clippy::unwrap_used)]

use lab::redis_server::RedisServer;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn redis() -> Option<RedisServer> {
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
        let _ = std::io::stderr().write_all(b"\nSKIPPED: redis-server is not installed\n");
        return None;
    }
    Some(RedisServer::start().unwrap())
}

fn feedplane(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
    command.args(arguments).stdin(Stdio::null()).env("FEEDPLANE_REDIS", url);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A model of the strategy's tests in a folder of its own, under another version.
fn model(folder: &Path, version: u64) -> PathBuf {
    let from =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pipeline/strategy/tests/models/fixtures/modes");
    let to = folder.join(format!("modes-{version}"));
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(from.join("model.onnx"), to.join("model.onnx")).unwrap();
    let card = std::fs::read_to_string(from.join("card.json")).unwrap();
    std::fs::write(to.join("card.json"), card.replace("\"version\": 1", &format!("\"version\": {version}")))
        .unwrap();
    to
}

#[test]
fn a_version_is_written_once_and_one_with_another_file_is_refused() {
    let Some(redis) = redis() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), redis.url());
    let run = |arguments: &[&str]| feedplane(&url, arguments);
    let (code, out, _) = run(&["model", "list"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "no model is in the registry; `feedplane model push DIR` writes one\n")
    );

    let (first, second) = (model(folder.path(), 1), model(folder.path(), 2));
    let (code, out, err) = run(&["model", "push", first.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("modes version 1: written (20 trees, SHA-256 "), "{out}");
    assert!(err.contains("no strategy will serve it as things are: input.schema_id"), "{err}");
    let (code, out, _) = run(&["model", "push", first.to_str().unwrap(), "-o", "json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &said["written"], &said["version"]), (Some(0), &false.into(), &1.into()));
    assert_eq!(run(&["model", "push", second.to_str().unwrap()]).0, Some(0));

    // Another file under a version that is there.
    let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("HSET").arg("models:modes").arg(2).arg("0".repeat(64)).exec(&mut connection).unwrap();
    let (code, _, err) = run(&["model", "push", second.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("modes version 2 is there with another file") && err.contains("the next one"),
        "{err}"
    );

    let (_, out, _) = run(&["model", "list"]);
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["modes", "1", "2"]);
    let (_, out, _) = run(&["model", "list", "--output", "json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said[0]["versions"][1]["version"], 2);
}

#[test]
fn a_version_is_shown_with_its_card_and_whether_it_can_be_served() {
    let Some(redis) = redis() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), redis.url());
    let run = |arguments: &[&str]| feedplane(&url, arguments);
    let (code, _, err) = run(&["model", "show", "modes"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no model \"modes\" is in the registry"), "{err}");
    run(&["model", "push", model(folder.path(), 3).to_str().unwrap()]);
    let (code, out, _) = run(&["model", "show", "modes"]);
    assert_eq!(code, Some(0));
    for part in
        ["modes version 3, ", "6 features of set quotes", "over 1000 ms", "CANNOT be served: input.schema_id"]
    {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    let schema = bus::FeatureSchema {
        set: "quotes".into(),
        features: ["spread", "imbalance_1", "imbalance_5", "ofi", "momentum", "volume"]
            .map(|name| bus::FeatureSpec { name: name.into(), unit: "1".into() })
            .to_vec(),
    };
    let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    let (id, json) = (format!("{:016x}", schema.id()), serde_json::to_string(&schema).unwrap());
    redis::cmd("HSET").arg("calculated_features:schemas").arg(id).arg(json).exec(&mut connection).unwrap();
    let (_, out, _) = run(&["model", "show", "modes", "3"]);
    assert!(out.contains("  can be served"), "{out}");
    let (_, out, _) = run(&["model", "show", "modes", "-o", "json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&said["card"]["name"], &said["problem"]), (&"modes".into(), &Value::Null));
    let (code, _, err) = run(&["model", "show", "modes", "4"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("has no version 4; it has 3"), "{err}");
}

#[test]
fn a_folder_that_is_no_model_is_refused_with_its_reason_and_nothing_is_written() {
    let Some(redis) = redis() else { return };
    let (folder, url) = (tempfile::tempdir().unwrap(), redis.url());
    let run = |arguments: &[&str]| feedplane(&url, arguments);
    let empty = folder.path().to_str().unwrap().to_owned();
    let (code, _, err) = run(&["model", "push", &empty]);
    assert_eq!(code, Some(1));
    assert!(err.contains("is refused") && err.contains("card.json"), "{err}");
    let corrupt = model(folder.path(), 1);
    let mut onnx = std::fs::read(corrupt.join("model.onnx")).unwrap();
    onnx[1_000] ^= 1;
    std::fs::write(corrupt.join("model.onnx"), onnx).unwrap();
    let (code, _, err) = run(&["model", "push", corrupt.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(err.contains("model.onnx has the SHA-256"), "{err}");
    let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    assert_eq!(redis::cmd("DBSIZE").query::<u64>(&mut connection).unwrap(), 0);
    let (code, _, err) = feedplane("unix:///nowhere.sock", &["model", "list"]);
    assert_eq!(code, Some(6));
    assert!(err.contains("cannot be reached"), "{err}");
}
