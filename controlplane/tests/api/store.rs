//! The store: only added to, chained, the same on SQLite and PostgreSQL.

use crate::common::{Plane, feeds};
use axum::http::StatusCode;
use controlplane::access::Role;
use controlplane::store::Store;
use lab::postgres::{PostgresOptions, PostgresServer};
use serde_json::json;
use sqlx::{AnyConnection, Connection, Executor};
use std::os::unix::fs::PermissionsExt;

const FIRST: [(&str, &str); 1] = [("if-none-match", "*")];

async fn some_changes(plane: &Plane) {
    let token = plane.token(Role::Operator).await;
    let one = plane.send("PUT", &token, "/v1/config/feeds", &FIRST, &feeds(&["es"])).await;
    assert_eq!(one.status, StatusCode::CREATED, "{one:?}");
    let key = [("if-match", "\"1\""), ("idempotency-key", "k")];
    for _ in 0..2 {
        let two = plane.send("PUT", &token, "/v1/config/feeds", &key, &feeds(&["es", "nq"])).await;
        assert_eq!((two.status, two.etag()), (StatusCode::OK, "\"2\""), "{two:?}");
    }
    let stale = plane.send("PUT", &token, "/v1/config/feeds", &FIRST, &feeds(&["ym"])).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let halt = plane.send("POST", &token, "/v1/halt", &[], &json!({"reason": "drill"})).await;
    assert!(halt.status.is_success(), "{halt:?}");
    let wanted = plane.app.store.trading().await.unwrap().unwrap();
    assert_eq!((wanted.state.mode.word(), wanted.state.reason.as_str()), ("halted", "drill"));
    let page = plane.get(&token, "/v1/audit?action=put_config&limit=1").await.json();
    assert_eq!(page["items"][0]["outcome"], "refused", "{page}");
    let cursor = page["next_cursor"].as_str().unwrap();
    let next =
        plane.get(&token, &format!("/v1/audit?action=put_config&limit=1&cursor={cursor}")).await.json();
    assert_eq!(
        (&next["items"][0]["outcome"], &next["items"][0]["target"]),
        (&json!("done"), &json!("feeds"))
    );
    assert_eq!(next["items"][0]["before"]["feeds"]["version"], 1, "{next}");
    assert_eq!(next["items"][0]["after"]["feeds"]["changes"][0]["path"], "feeds[nq]", "{next}");
    let none = plane.get(&token, "/v1/audit?who=nobody").await.json();
    assert_eq!(none["items"], json!([]));
}

/// The database refuses to forget, and what gets around it is seen.
async fn only_added_to(plane: &Plane, url: &str, drop_trigger: &str) {
    let whole = plane.app.store.verify().await.unwrap();
    assert_eq!((whole.broken_at, whole.complete), (None, true));
    assert_eq!(whole.verified_to, plane.audit().await.len() as u64);
    let mut connection = AnyConnection::connect(url).await.unwrap();
    for statement in [
        "UPDATE audit SET who = 'nobody' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "UPDATE versions SET document = '{}' WHERE version = 1",
        "DELETE FROM versions",
    ] {
        let error = connection.execute(statement).await.unwrap_err().to_string();
        assert!(error.contains("only added"), "{statement}: {error}");
    }
    connection.execute(drop_trigger).await.unwrap();
    connection.execute("UPDATE audit SET who = 'nobody' WHERE seq = 2").await.unwrap();
    assert_eq!(plane.app.store.verify().await.unwrap().broken_at, Some(2));
    connection.execute("DELETE FROM audit WHERE seq = 1").await.unwrap();
    assert_eq!(plane.app.store.verify().await.unwrap().broken_at, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_everything_in_a_file_that_nobody_else_reads() {
    let plane = Plane::start().await;
    some_changes(&plane).await;
    let file = plane.folder.path().join("store.sqlite");
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        let mode = plane.folder.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let url = format!("sqlite://{}", file.display());
    only_added_to(&plane, &url, "DROP TRIGGER audit_stays; DROP TRIGGER audit_is_kept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_the_same() {
    if let Some(why) = lab::postgres::unavailable() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    // On a thread that lives as long as the test.
    let options = PostgresOptions { plain: true, ..Default::default() };
    let server = PostgresServer::start_with(options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::on(folder, &server.url(), "unix:///nonexistent", json!({})).await;
    some_changes(&plane).await;
    let other = Store::open(&server.url(), 4_096).await.unwrap();
    assert_eq!(other.newest_head("feeds").await.unwrap().unwrap().version, 2, "another instance sees it");
    other.close().await;
    only_added_to(&plane, &server.url(), "DROP TRIGGER audit_stays ON audit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_on_one_file_make_one_history() {
    let plane = Plane::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = plane.folder.path().join("store.sqlite");
    let other = Plane::on(folder, file.to_str().unwrap(), "unix:///nonexistent", json!({})).await;
    let token = plane.token(Role::Operator).await;
    plane.send("PUT", &token, "/v1/config/feeds", &FIRST, &feeds(&["es"])).await;
    for round in 1..20 {
        let etag = format!("\"{round}\"");
        let headers = [("if-match", etag.as_str())];
        let (left, right) = (feeds(&[&format!("a{round}")]), feeds(&[&format!("b{round}")]));
        let (left, right) = tokio::join!(
            plane.send("PUT", &token, "/v1/config/feeds", &headers, &left),
            other.send("PUT", &token, "/v1/config/feeds", &headers, &right),
        );
        let mut statuses = [left.status.as_u16(), right.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{left:?} {right:?}");
    }
    assert_eq!(plane.app.store.verify().await.unwrap().broken_at, None);
}
