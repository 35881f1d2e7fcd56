//! Events to many clients.

use crate::rig::{Rig, intent, until};
use controlplane::access::Role;
use controlplane::live::{Topic, Topics};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_stream::StreamExt;

/// The next event: its name and data. Comments are passed over.
async fn next(frames: &mut controlplane::live::events::Frames) -> (String, Value) {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(10), frames.next()).await;
        let frame = frame.expect("an event in time").expect("the stream goes on").unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        if text.starts_with(':') {
            continue;
        }
        let (name, data) = text.split_once('\n').unwrap();
        let data = data.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        return (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_hears_of_a_halt_a_version_and_the_audit() {
    let rig = Rig::new().await;
    let live = rig.live();
    until("a picture", || !live.sampler().picture().is_empty()).await;
    let topics = Topics::NONE.with(Topic::Trading).with(Topic::Config).with(Topic::Audit);
    let mut clients: Vec<_> =
        (0..50).map(|_| live.hub().listen(topics, Vec::new(), || async { true }).unwrap()).collect();
    live.trading().halt(&intent("ann", Role::Operator), "drill".into()).await.unwrap();
    rig.version("features", &json!({"sets": []})).await;
    for frames in &mut clients {
        let (mut halted, mut version, mut audited) = (false, false, false);
        while !(halted && version && audited) {
            let (name, data) = next(frames).await;
            assert!(data["time_ns"].as_u64().is_some(), "{name}: {data}");
            match name.as_str() {
                "trading" => halted |= data["mode"] == "halted" && data["by"] == "ann",
                "config" => version |= data["what"] == "version" && data["version"] == 1,
                "audit" => audited |= data["target"] == "trading",
                other => panic!("nobody asked for {other}"),
            }
        }
    }
    assert_eq!(live.hub().clients(), 50);
    drop(clients);
    until("their places are free", || live.hub().clients() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_comes_by_itself_and_is_the_same_for_all() {
    let rig = Rig::new().await;
    let live = rig.live();
    let topics = Topics::NONE.with(Topic::Status);
    let mut one = live.hub().listen(topics, Vec::new(), || async { true }).unwrap();
    let mut other = live.hub().listen(topics, Vec::new(), || async { true }).unwrap();
    let (name, first) = next(&mut one).await;
    assert_eq!(name, "status");
    for field in ["trading", "redis", "store", "services", "rates", "lags_ms", "latency_ns", "orders"] {
        assert!(!first[field].is_null(), "{field}: {first}");
    }
    let mut pictures = Vec::new();
    for _ in 0..3 {
        pictures.push(next(&mut other).await.1["time_ns"].as_u64().unwrap());
    }
    assert!(pictures.is_sorted());
    assert!(first["redis"]["connected"].as_bool().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_without_redis_says_so_and_how_old_it_is() {
    let mut rig = Rig::new().await;
    let live = rig.live();
    until("a picture", || !live.sampler().picture().is_empty()).await;
    rig.redis.kill().unwrap();
    until("it is told", || {
        let picture: Value = serde_json::from_slice(&live.sampler().picture()).unwrap();
        picture["redis"]["connected"] == false && picture["redis"]["age_ms"].as_u64() > Some(300)
    })
    .await;
    rig.redis.start_again().unwrap();
    until("it is back", || {
        let picture: Value = serde_json::from_slice(&live.sampler().picture()).unwrap();
        picture["redis"]["connected"] == true
    })
    .await;
}
