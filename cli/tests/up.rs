//! `feedplane up` as its operator meets it: the data plane and a private Redis, on loopback and kernel
//! sockets, so that no rights are needed.
#![allow(clippy::unwrap_used)]

mod support;
mod up_support;

use std::time::{Duration, Instant};
use support::{feedplane, stderr, stdout};
use up_support::{Folder, PATIENCE, Up, is_skipped, lives};

#[test]
fn what_is_sent_is_in_the_stream_and_killed_services_come_back() {
    if is_skipped("what_is_sent_is_in_the_stream_and_killed_services_come_back", &["dataplane"]) {
        return;
    }
    let folder = Folder::new();
    folder.up("");
    let mut up = Up::start(&folder);
    up.wait_ready(&["redis", "dataplane"]);
    assert!(folder.play("5000", "1s").wait().unwrap().success());
    up.wait("all of it in the stream", |_| folder.has_all());
    let entries = folder.stream().len();
    for name in ["dataplane", "redis"] {
        up.kill(name);
        up.wait_ready(&["redis", "dataplane"]);
        assert!(up.row(name).unwrap().line.contains(" 1  "), "{}", up.said());
        assert!(folder.stream().len() >= entries, "Redis keeps what it acknowledged");
    }
    let pids = up.pids();
    assert_eq!(pids.len(), 2);
    let said = up.stop();
    assert!(!pids.into_iter().any(lives), "{said}");
    for log in ["redis.log", "dataplane.log"] {
        assert!(folder.path("run/logs").join(log).metadata().unwrap().len() > 0);
    }
}

#[test]
fn nothing_outlives_it_and_what_redis_acknowledged_is_there_the_next_time() {
    if is_skipped("nothing_outlives_it", &["dataplane"]) {
        return;
    }
    let folder = Folder::new();
    folder.up("");
    let mut up = Up::start(&folder);
    up.wait_ready(&["redis", "dataplane"]);
    assert!(folder.play("5000", "1s").wait().unwrap().success());
    up.wait("all of it in the stream", |_| folder.has_all());
    let (entries, pids) = (folder.stream(), up.pids());
    up.kill_all();
    let end = Instant::now() + PATIENCE;
    while pids.iter().copied().any(lives) {
        assert!(Instant::now() < end, "{pids:?} outlive it");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut again = Up::start(&folder);
    again.wait_ready(&["redis", "dataplane"]);
    assert!(folder.stream().starts_with(&entries));
    let second = feedplane(["up".into(), "--config".into(), folder.path("up.yaml").into_os_string()]);
    assert!(stderr(&second).contains("another `feedplane up` runs in"), "{}", stderr(&second));
    again.stop();
}

#[test]
fn a_service_with_a_bad_document_shows_its_error_while_the_others_run() {
    if is_skipped("a_service_with_a_bad_document", &["dataplane"]) {
        return;
    }
    let folder = Folder::new();
    std::fs::write(folder.path("mine.yaml"), "redis: unix:///x\nset: []\n").unwrap();
    folder.up("features: {document: mine.yaml}");
    let check = || {
        feedplane(["up".into(), "--check".into(), "--config".into(), folder.path("up.yaml").into_os_string()])
    };
    let checked = check();
    assert!(!checked.status.success());
    assert!(stdout(&checked).contains("CANNOT BE USED") && stdout(&checked).contains("mine.yaml: line 2"));
    let mut up = Up::start(&folder);
    up.wait_ready(&["redis", "dataplane"]);
    up.wait("the error", |up| up.row("features").is_some_and(|row| row.line.contains("mine.yaml: line 2")));
    up.stop();
    folder.up("");
    let checked = check();
    assert!(checked.status.success(), "{}", stderr(&checked));
    std::fs::write(folder.path("up.yaml"), "dataplan: {}").unwrap();
    assert!(stderr(&check()).contains("up.yaml: line 1"), "{}", stderr(&check()));
}
