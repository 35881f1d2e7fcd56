//! `feedplane up` with a control plane: every process runs the versions, and takes the next one.
#![allow(clippy::unwrap_used)]

mod up_support;

use serde_json::Value;
use std::process::{Command, Stdio};
use up_support::{Folder, Up, is_skipped};

/// The command in the folder of the run, where it finds the control plane and its token.
fn feedplane(folder: &Folder, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedplane"));
    command.args(arguments).current_dir(folder.path(".")).stdin(Stdio::null());
    for name in ["FEEDPLANE_REDIS", "FEEDPLANE_API", "FEEDPLANE_TOKEN", "FEEDPLANE_TOKEN_FILE"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

fn json(folder: &Folder, arguments: &[&str]) -> Value {
    serde_json::from_slice(&feedplane(folder, arguments).stdout).unwrap_or_default()
}

/// Whether these documents have this version, and it runs everywhere, in as many processes.
fn runs(folder: &Folder, services: &[&str], version: u64) -> bool {
    let documents = json(folder, &["get", "-o", "json"]);
    let items = documents["items"].as_array().cloned().unwrap_or_default();
    services.iter().all(|service| {
        items.iter().any(|item| {
            let convergence = &item["convergence"];
            item["service"] == *service
                && item["version"] == version
                && convergence["converged"] == true
                && convergence["processes"].as_array().is_some_and(|processes| !processes.is_empty())
        })
    })
}

#[test]
fn every_process_runs_the_versions_and_takes_the_next_one() {
    let name = "every_process_runs_the_versions_and_takes_the_next_one";
    if is_skipped(name, &["dataplane", "features", "controlplane"]) {
        return;
    }
    let folder = Folder::new();
    folder.up("features: {}\ncontrolplane: {port: 0}");
    let mut up = Up::start(&folder);
    up.wait_ready(&["redis", "dataplane", "features", "controlplane"]);
    assert!(up.said().contains("first-token"), "it says where the token is: {}", up.said());
    up.wait("the first versions to run", |_| runs(&folder, &["feeds", "dataplane", "features"], 1));

    let shown = feedplane(&folder, &["get", "config", "features", "-o", "yaml"]).stdout;
    let next = String::from_utf8(shown).unwrap().replace("every_ms: 1000", "every_ms: 250");
    std::fs::write(folder.path("next.yaml"), next).unwrap();
    let applied = feedplane(&folder, &["apply", "-f", "next.yaml", "--yes", "--reason", "faster"]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    up.wait("the next version to run", |_| runs(&folder, &["features"], 2));
    assert_eq!(up.row("features").unwrap().line.split_whitespace().nth(5), Some("0"), "{}", up.said());

    // A process that is started again begins with the newest version; so does everything after another start.
    up.kill("features");
    up.kill("controlplane");
    up.wait_ready(&["features", "controlplane"]);
    up.wait("the next version to run again", |_| runs(&folder, &["features"], 2));
    let pids = up.pids();
    let said = up.stop();
    assert!(!pids.into_iter().any(up_support::lives), "{said}");
    let mut again = Up::start(&folder);
    again.wait_ready(&["redis", "dataplane", "features", "controlplane"]);
    again.wait("what was changed to run", |_| runs(&folder, &["features"], 2));
    again.stop();
}

#[test]
fn a_word_in_the_folder_of_a_run_goes_over_its_control_plane() {
    let name = "a_word_in_the_folder_of_a_run_goes_over_its_control_plane";
    if is_skipped(name, &["dataplane", "features", "controlplane"]) {
        return;
    }
    let folder = Folder::new();
    folder.up("features: {}\ncontrolplane: {port: 0}\ntrading: active");
    let mut up = Up::start(&folder);
    up.wait_ready(&["redis", "dataplane", "features", "controlplane"]);
    up.wait("the state to be known", |_| json(&folder, &["trading", "-o", "json"])["mode"] == "active");
    let halted = feedplane(&folder, &["halt", "--reason", "end of the test"]);
    let said = String::from_utf8_lossy(&halted.stdout).into_owned();
    assert!(said.starts_with("HALTED (control plane at") && said.contains("by first"), "{said}");
    let checked = feedplane(&folder, &["up", "--check"]);
    assert!(String::from_utf8_lossy(&checked.stdout).contains("first-token"), "{checked:?}");
    up.stop();
}
