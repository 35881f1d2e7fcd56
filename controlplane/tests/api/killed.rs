//! kill −9 in the middle of changes: of each change there is all or nothing, and who did not hear may ask again.

use crate::common::feeds;
use crate::process::Process;
use controlplane::store::{AuditQuery, Store};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Times that the process is killed.
fn rounds() -> u64 {
    if std::env::var_os("FEEDPLANE_SOAK").is_some() { 50 } else { 6 }
}

const WRITERS: usize = 3;

/// A change that a writer asked for: key, name of its one feed, the version it was to change, and the answer if it came.
#[derive(Clone, Debug)]
struct Asked {
    key: String,
    name: String,
    base: u64,
    answer: Option<(u16, Value)>,
}

fn put(process: &Process, asked: &Asked) -> Option<(u16, Value)> {
    let etag = format!("\"{}\"", asked.base);
    let precondition = if asked.base == 0 { ("if-none-match", "*") } else { ("if-match", etag.as_str()) };
    let headers = [precondition, ("idempotency-key", asked.key.as_str())];
    process.call("PUT", "/v1/config/feeds", &headers, &feeds(&[&asked.name]).to_string())
}

fn write(process: &Process, writer: usize, round: u64, over: &AtomicBool) -> Vec<Asked> {
    let mut all = Vec::new();
    for count in 0.. {
        let Some((_, now)) = process.call("GET", "/v1/config/feeds", &[], "") else { break };
        let name = format!("r{round}-w{writer}-{count}");
        let mut asked =
            Asked { key: name.clone(), name, base: now["version"].as_u64().unwrap_or(0), answer: None };
        asked.answer = put(process, &asked);
        let heard = asked.answer.is_some();
        all.push(asked);
        if !heard || over.load(Ordering::Relaxed) {
            break;
        }
    }
    all
}

#[test]
fn of_each_change_there_is_all_or_nothing_and_a_retry_makes_no_second_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut asked: Vec<Asked> = Vec::new();
    for round in 0..rounds() {
        let mut process = Process::start(folder.path(), json!({}));
        let unheard: Vec<usize> = (0..asked.len()).filter(|at| asked[*at].answer.is_none()).collect();
        for at in unheard {
            // What was not heard is asked again: the first answer, or the change now, or somebody else was faster.
            let (status, answer) = put(&process, &asked[at]).unwrap();
            assert!([200, 201, 412].contains(&status), "{status} {answer}");
            assert_eq!(put(&process, &asked[at]).unwrap(), (status, answer.clone()), "and again the same");
            asked[at].answer = Some((status, answer));
        }
        let over = Arc::new(AtomicBool::new(false));
        let made = std::thread::scope(|scope| {
            let process = &process;
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let over = Arc::clone(&over);
                    scope.spawn(move || write(process, writer, round, &over))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(random.random_range(50..400)));
            rustix::process::kill_process(
                rustix::process::Pid::from_child(&process.child),
                rustix::process::Signal::KILL,
            )
            .unwrap();
            over.store(true, Ordering::Relaxed);
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        process.kill();
        asked.extend(made);
        look(folder.path(), &asked);
    }
    let done = asked.iter().filter(|it| it.answer.as_ref().is_some_and(|(status, _)| *status < 300)).count();
    assert!(done > 0, "something was done between the kills");
}

/// Every acknowledged change is there, no version is missing or there twice, each has its audit entry, the chain is whole.
fn look(folder: &std::path::Path, asked: &[Asked]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(folder.join("store.sqlite").to_str().unwrap(), 4_096).await.unwrap();
        let chain = store.verify().await.unwrap();
        assert_eq!((chain.broken_at, chain.complete), (None, true));
        let history = store.history("feeds", None, 100_000).await.unwrap();
        let versions: Vec<u64> = history.iter().rev().map(|head| head.version).collect();
        assert_eq!(versions, (1..=history.len() as u64).collect::<Vec<_>>());
        let query = AuditQuery { limit: 100_000, action: Some("put_config".into()), ..Default::default() };
        let entries = store.audit(&query).await.unwrap();
        let mut audited: Vec<u64> = entries
            .iter()
            .filter(|entry| entry.outcome == "done")
            .map(|entry| entry.after["feeds"]["version"].as_u64().unwrap())
            .collect();
        audited.reverse();
        assert_eq!(audited, versions, "each version has its entry");
        for it in asked {
            let Some((status, answer)) = it.answer.as_ref().filter(|(status, _)| *status < 300) else {
                continue;
            };
            let version = answer["version"].as_u64().unwrap();
            let there = store.version("feeds", version).await.unwrap();
            let there = there.unwrap_or_else(|| panic!("{status} was answered and {version} is not there"));
            assert_eq!(there.document, feeds(&[&it.name]), "{it:?}");
            assert_eq!(answer["sha256"], there.head.sha256);
        }
        let mut names: Vec<Value> = Vec::new();
        for version in versions {
            names.push(
                store.version("feeds", version).await.unwrap().unwrap().document["feeds"][0]["name"].clone(),
            );
        }
        let all = names.len();
        names.sort_by_key(Value::to_string);
        names.dedup();
        assert_eq!(names.len(), all, "no change was made twice");
        store.close().await;
    });
}

#[test]
fn a_process_that_is_asked_to_end_ends_and_its_first_token_is_shown_once() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("feeds.yaml");
    std::fs::write(&seed, feeds(&["seeded"]).to_string()).unwrap();
    let mut process = Process::start(folder.path(), json!({"seed": {"feeds": seed}}));
    let file = folder.path().join("token");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (status, answer) = process.call("GET", "/v1/feeds", &[], "").unwrap();
    assert_eq!((status, &answer["items"][0]["name"]), (200, &json!("seeded")));
    let pid = rustix::process::Pid::from_child(&process.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(process.child.wait().unwrap().success());
    std::fs::write(&seed, "feeds: broken").unwrap();
    let again = Process::start(folder.path(), json!({"seed": {"feeds": seed}}));
    let (status, answer) = again.call("GET", "/v1/config/feeds", &[], "").unwrap();
    assert_eq!((status, &answer["version"]), (200, &json!(1)), "a document that has a version is not seeded");
    let head =
        "GET /v1/whoami HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n";
    for tricks in [head, "GET /v1/whoami HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n"] {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(again.address).unwrap();
        stream.write_all(tricks.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert!(first.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&first));
    }
}
