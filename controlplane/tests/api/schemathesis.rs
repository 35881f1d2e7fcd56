//! The served description against the server, by somebody else's tool: no 5xx, no answer that is not described, no request
//! accepted that the description forbids. `schemathesis` is a Python package (`scripts/requirements.in`).

use crate::process::Process;
use lab::redis_server::RedisServer;
use serde_json::json;
use std::process::Command;

/// Examples of each operation in each phase.
fn examples() -> String {
    std::env::var("FEEDPLANE_SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| "10".to_owned())
}

/// What the contract says besides the schemas: a document can be refused for what no schema can say (422), a precondition
/// may be missing (428) or not hold (412, also when something else is wrong besides), and without a data plane there are no
/// NICs and no clocks (503).
const RULES: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "428", "429", "503", "507"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "408", "409", "412", "413", "415", "422", "428", "429", "503"]

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503"]
"#;

#[test]
fn the_server_does_what_its_description_says() {
    let python = std::env::var("FEEDPLANE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let known = Command::new(&python).args(["-c", "import schemathesis"]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} has no schemathesis; run scripts/setup.sh, or set FEEDPLANE_PYTHON");
        return;
    }
    let redis = match RedisServer::start() {
        Ok(redis) => redis,
        Err(error) => {
            eprintln!("SKIPPED: {error:#}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), json!({"redis": redis.url()}));
    std::fs::write(folder.path().join("schemathesis.toml"), RULES).unwrap();
    let output = Command::new(&python)
        .current_dir(folder.path())
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{}/v1/openapi.json", process.address))
        .args(["-H", &format!("Authorization: Bearer {}", process.token)])
        // A stream of events has no end; that its head is described is looked at elsewhere.
        .args(["--exclude-path", "/v1/events"])
        .args(["--max-examples", &examples(), "--seed", "1", "--request-timeout", "20"])
        .args(["--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Test cases:") || said.contains("generated"), "it ran: {said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
