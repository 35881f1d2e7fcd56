//! The plan of the house: which crate may know which, checked against the crates' own manifests.
//!
//! Tests, benches and the command line may know everything; what runs in production may know what stands
//! here. A new crate must be entered, with what it may know.

#![allow(clippy::unwrap_used)] // A test may.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crate and what it may depend on, by package name without `feedplane-`.
const MAY_KNOW: [(&str, &[&str]); 15] = [
    ("tick", &[]),
    ("wire", &[]),
    ("ebpf", &[]),
    ("vitals", &[]),
    ("feed", &["tick", "wire"]),
    ("bus", &["tick"]),
    ("book", &["tick"]),
    ("dataplane", &["bus", "ebpf", "feed", "tick", "vitals", "wire"]),
    ("features", &["book", "bus", "tick", "vitals"]),
    ("archiver", &["bus", "tick", "vitals"]),
    ("strategy", &["book", "bus", "tick", "vitals"]),
    ("gateway", &["bus", "tick", "vitals", "wire"]),
    ("backtest", &["book", "bus", "feed", "features", "strategy", "tick", "venue", "wire"]),
    // A reader of the streams and their books, which are pure: it links none of the processes.
    ("controlplane", &["book", "bus", "tick", "vitals"]),
    ("venue", &["wire"]),
];
/// Crates that may know all.
const MAY_KNOW_ALL: [&str; 5] = ["cli", "bench", "lab", "pipeline-tests", "deployment-tests"];

fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let short =
        |name: &serde_json::Value| name.as_str().unwrap().strip_prefix("feedplane-").map(str::to_owned);
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let known = dependencies
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| short(&dependency["name"]))
                .collect();
            (short(&package["name"]).expect("packages are called feedplane-…"), known)
        })
        .collect()
}

#[test]
fn every_crate_knows_only_those_that_it_may_know() {
    let manifests = manifests();
    for (name, known) in &manifests {
        if MAY_KNOW_ALL.contains(&name.as_str()) {
            continue;
        }
        let Some((_, may)) = MAY_KNOW.iter().find(|(crate_name, _)| crate_name == name) else {
            panic!("{name} is not in the plan: enter what it may know");
        };
        let beyond: Vec<_> = known.iter().filter(|known| !may.contains(&known.as_str())).collect();
        assert!(beyond.is_empty(), "{name} must not know {beyond:?}; the plan is in DESIGN and here");
    }
    for (name, _) in MAY_KNOW {
        assert!(manifests.contains_key(name), "{name} is in the plan and not in the workspace");
    }
}
