//! Documents: accepted or refused whole, one version after another, by whoever looked at the one before.

use crate::common::{Plane, dataplane, features, feed, feeds, gateway, request, risk, strategy};
use axum::body::Body;
use axum::http::StatusCode;
use bus::Sha256Sum;
use bus::config::FeaturesDocument;
use bus::names::{model_key, model_versions_key};
use controlplane::access::Role;
use lab::redis_server::RedisServer;
use serde_json::{Value, json};

const FIRST: [(&str, &str); 1] = [("if-none-match", "*")];

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_one_wins_and_the_other_is_told_the_version_that_is_there() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Operator).await;
    let first = plane.send("PUT", &token, "/v1/config/feeds", &FIRST, &feeds(&["es"])).await;
    assert_eq!((first.status, first.etag()), (StatusCode::CREATED, "\"1\""));
    for round in 1..20_u64 {
        let etag = format!("\"{round}\"");
        let headers = [("if-match", etag.as_str())];
        let names: [String; 2] = [format!("a{round}"), format!("b{round}")];
        let (left, right) = (feeds(&[&names[0]]), feeds(&[&names[1]]));
        let (left, right) = tokio::join!(
            plane.send("PUT", &token, "/v1/config/feeds", &headers, &left),
            plane.send("PUT", &token, "/v1/config/feeds", &headers, &right),
        );
        let (won, lost) = if left.status == StatusCode::OK { (left, right) } else { (right, left) };
        assert_eq!(won.status, StatusCode::OK, "{won:?}");
        assert_eq!(lost.status, StatusCode::PRECONDITION_FAILED, "{lost:?}");
        assert_eq!(lost.json()["current_version"], round + 1, "{}", lost.problem());
        let now = plane.get(&token, "/v1/config/feeds").await;
        assert_eq!(now.etag(), format!("\"{}\"", round + 1));
        assert_eq!(now.json()["sha256"], won.json()["sha256"], "what is there is the winner's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_which_version_it_changes() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Operator).await;
    let put = async |headers: &[(&str, &str)]| {
        plane.send("PUT", &token, "/v1/config/feeds", headers, &feeds(&["es"])).await.status.as_u16()
    };
    assert_eq!(put(&[]).await, 428);
    assert_eq!(put(&[("if-match", "\"1\"")]).await, 412);
    assert_eq!(put(&FIRST).await, 201);
    assert_eq!(put(&FIRST).await, 412);
    for wrong in ["x", "*", "W/\"1\"", "\"1\", \"2\"", "\"-1\"", "\"99999999999999999999\"", ""] {
        assert_eq!(put(&[("if-match", wrong)]).await, 400, "{wrong}");
    }
    assert_eq!(put(&[("if-match", "\"1\""), ("if-none-match", "*")]).await, 412, "both cannot hold");
    assert_eq!(put(&[("if-match", "\"1\""), ("if-match", "\"1\"")]).await, 400);
    assert_eq!(put(&[("if-match", "\"1\"")]).await, 200);
    assert_eq!(put(&[("if-match", "1")]).await, 200, "some clients take the quotes off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Operator).await;
    let path = "/v1/config/feeds?dry_run=true";
    let would = plane.send("PUT", &token, path, &FIRST, &feeds(&["es"])).await;
    assert_eq!(would.status, StatusCode::OK);
    assert_eq!((&would.json()["version"], &would.json()["dry_run"]), (&json!(1), &json!(true)));
    assert_eq!(plane.get(&token, "/v1/config/feeds").await.status, StatusCode::NOT_FOUND);
    let entries = plane.audit().await.len();
    plane.send("PUT", &token, "/v1/config/feeds", &FIRST, &feeds(&["es"])).await;
    let headers = [("if-match", "\"1\""), ("idempotency-key", "k")];
    let would = plane.send("PUT", &token, path, &headers, &feeds(&["nq", "es"])).await;
    assert_eq!(would.etag(), "\"1\"", "what is there is as it was");
    let changes = would.json()["changes"].clone();
    let paths: Vec<&str> =
        changes.as_array().unwrap().iter().map(|change| change["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["feeds[nq]", "feeds[es].channel_id", "feeds[es].lines.a.port"]);
    let invalid = plane.send("PUT", &token, path, &headers, &json!({"feeds": []})).await;
    assert_eq!(invalid.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(plane.get(&token, "/v1/config/feeds").await.json()["version"], 1);
    let done: Vec<_> = plane.audit().await.into_iter().skip(entries).map(|entry| entry.outcome).collect();
    assert_eq!(done, ["done", "refused"]);
    for typo in ["dryrun=true", "dry_run=yes", "dry_run=true&dry_run=false", "dry_run=TRUE"] {
        let path = format!("/v1/config/feeds?{typo}");
        let reply = plane.send("PUT", &token, &path, &[("if-match", "\"1\"")], &feeds(&["x"])).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{typo} must not change anything");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_a_new_version_with_an_old_content() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Operator).await;
    plane.send("PUT", &token, "/v1/config/feeds?reason=first", &FIRST, &feeds(&["es"])).await;
    let second = [("if-match", "\"1\""), ("feedplane-reason", "a second feed")];
    plane.send("PUT", &token, "/v1/config/feeds", &second, &feeds(&["es", "nq"])).await;
    let path = "/v1/config/feeds/rollback";
    let without = plane.send("POST", &token, path, &[("if-match", "\"2\"")], &json!({"version": 1})).await;
    assert_eq!(without.status, StatusCode::UNPROCESSABLE_ENTITY, "it says why");
    let body = json!({"version": 1, "reason": "nq is not there yet"});
    let stale = plane.send("POST", &token, path, &[("if-match", "\"1\"")], &body).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let gone = json!({"version": 7, "reason": "x"});
    assert_eq!(plane.send("POST", &token, path, &[("if-match", "\"2\"")], &gone).await.status, 404);
    let back = plane.send("POST", &token, path, &[("if-match", "\"2\"")], &body).await;
    assert_eq!((back.status, back.etag()), (StatusCode::OK, "\"3\""));
    let history = plane.get(&token, "/v1/config/feeds/history?limit=2").await.json();
    let reasons: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|it| it["reason"].clone()).collect();
    assert_eq!(reasons, ["nq is not there yet", "a second feed"]);
    let cursor = history["next_cursor"].as_str().unwrap();
    let rest = plane.get(&token, &format!("/v1/config/feeds/history?limit=2&cursor={cursor}")).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next_cursor"], Value::Null);
    let sums = [1, 2, 3].map(|version| format!("/v1/config/feeds/versions/{version}"));
    let sum = async |path: &String| plane.get(&token, path).await.json()["sha256"].clone();
    assert_eq!(sum(&sums[0]).await, sum(&sums[2]).await);
    assert_ne!(sum(&sums[0]).await, sum(&sums[1]).await);
    let diff = plane.get(&token, "/v1/config/feeds/diff?from=1&to=3").await.json();
    assert_eq!(diff, json!({"from": 1, "to": 3, "changes": []}));
    let diff = plane.get(&token, "/v1/config/feeds/diff?from=2&to=3").await.json();
    assert_eq!(diff["changes"][0]["path"], "feeds[nq]");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_request_again_get_the_first_answer() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Operator).await;
    let headers = [FIRST[0], ("idempotency-key", "one")];
    let first = plane.send("PUT", &token, "/v1/config/feeds", &headers, &feeds(&["es"])).await;
    assert_eq!(first.status, StatusCode::CREATED);
    for _ in 0..3 {
        let again = plane.send("PUT", &token, "/v1/config/feeds", &headers, &feeds(&["es"])).await;
        assert_eq!((again.status, &again.text, again.etag()), (first.status, &first.text, "\"1\""));
    }
    let other = plane.send("PUT", &token, "/v1/config/feeds", &headers, &feeds(&["nq"])).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", other.problem());
    let somebody = plane.token(Role::Operator).await;
    let theirs = plane.send("PUT", &somebody, "/v1/config/feeds", &headers, &feeds(&["es"])).await;
    assert_eq!(theirs.status, StatusCode::PRECONDITION_FAILED, "another's key is another key");
    let twice = [("if-match", "\"1\""), ("idempotency-key", "two")];
    let body = feeds(&["x"]);
    let (left, right) = tokio::join!(
        plane.send("PUT", &token, "/v1/config/feeds", &twice, &body),
        plane.send("PUT", &token, "/v1/config/feeds", &twice, &body),
    );
    assert_eq!((left.status, left.text), (right.status, right.text), "at the same time, too");
    assert_eq!(plane.get(&token, "/v1/config/feeds").await.json()["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_do_not_fit_together_are_refused_and_two_at_once_are_one_request() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Risk).await;
    let put = async |service: &str, document: &Value| {
        let path = format!("/v1/config/{service}");
        let version = plane.get(&token, &path).await.json()["version"].as_u64();
        let etag = format!("\"{}\"", version.unwrap_or(0));
        let header = if version.is_some() { ("if-match", etag.as_str()) } else { FIRST[0] };
        plane.send("PUT", &token, &path, &[header], document).await
    };
    let good = |reply: &crate::common::Reply| assert!(reply.status.is_success(), "{reply:?}");
    good(&put("features", &features()).await);
    good(&put("gateway", &gateway()).await);
    let wrong = [
        ("flow.ofi_11_1000ms > 0.0", "sim", "strategies[0].rules.rules[0].when", "ofi_11_1000ms"),
        ("other.mid > 0.0", "sim", "strategies[0].rules.rules[0].when", "\"other\" is no feature set"),
        ("features.`flow`.x > 0.0", "sim", "strategies[0].rules.rules[0].when", "computes no \"x\""),
        ("mid >", "sim", "strategies[0].rules.rules[0].when", "is no expression"),
        ("flow.mid > 0.0", "elsewhere", "strategies[0].venue", "is no session of the gateway"),
    ];
    for (when, venue, path, message) in wrong {
        let reply = put("strategy", &strategy(when, venue)).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{when}");
        let error = reply.json()["errors"][0].clone();
        assert_eq!(error["path"], path, "{reply:?}");
        assert!(error["message"].as_str().unwrap().contains(message), "{reply:?}");
    }
    good(&put("strategy", &strategy("flow.ofi_10_1000ms > 0.0", "sim")).await);
    let mut without = features();
    without["sets"][0]["features"] = json!(["mid"]);
    let reply = put("features", &without).await;
    assert_eq!(reply.json()["errors"][0]["service"], "strategy", "a strategy needs it: {reply:?}");
    let mut more = strategy("flow.mid > 0.0", "sim");
    more["entries_max"] = json!(5_000);
    assert_eq!(put("strategy", &more).await.json()["errors"][0]["path"], "entries_max");
    let mut sharded = features();
    sharded["shards"] = json!(2);
    assert_eq!(put("features", &sharded).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    good(&put("dataplane", &dataplane(&["es"])).await);
    let reply = put("feeds", &feeds(&["es", "nq"])).await;
    assert!(reply.json()["errors"][0]["message"].as_str().unwrap().contains("no worker takes"), "{reply:?}");
    good(&put("feeds", &feeds(&["es"])).await);
    let both = |feeds_base: u64, names: &[&str]| {
        json!({"reason": "a second feed", "documents": {
        "feeds": {"base_version": feeds_base, "document": feeds(names)},
        "dataplane": {"base_version": 1, "document": dataplane(names)}}})
    };
    let stale = plane.send("POST", &token, "/v1/config", &[], &both(7, &["es", "nq"])).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(plane.get(&token, "/v1/config/dataplane").await.json()["version"], 1, "none of them");
    let dry = plane.send("POST", &token, "/v1/config?dry_run=true", &[], &both(1, &["es", "nq"])).await;
    assert_eq!(dry.json()["documents"]["feeds"]["version"], 2);
    let done = plane.send("POST", &token, "/v1/config", &[], &both(1, &["es", "nq"])).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    for service in ["feeds", "dataplane"] {
        let now = plane.get(&token, &format!("/v1/config/{service}")).await.json();
        assert_eq!((&now["version"], &now["reason"]), (&json!(2), &json!("a second feed")), "{service}");
    }
    let entry = plane.audit().await.pop().unwrap();
    assert_eq!((entry.target.as_str(), entry.reason.as_str()), ("feeds, dataplane", "a second feed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_changed_by_the_next_version_of_its_document() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Risk).await;
    let made = plane.send("PUT", &token, "/v1/feeds/es", &FIRST, &feed("es", 1)).await;
    assert_eq!((made.status, made.etag()), (StatusCode::CREATED, "\"1\""));
    let second = plane.send("PUT", &token, "/v1/feeds/nq", &FIRST, &feed("nq", 2)).await;
    assert_eq!(second.etag(), "\"2\"", "absent is the part, not the document");
    assert_eq!(plane.send("PUT", &token, "/v1/feeds/nq", &FIRST, &feed("nq", 2)).await.status, 412);
    let page = plane.get(&token, "/v1/feeds?limit=1").await.json();
    assert_eq!((&page["items"][0]["name"], &page["next_cursor"]), (&json!("es"), &json!("es")));
    let page = plane.get(&token, "/v1/feeds?limit=1&cursor=es").await.json();
    assert_eq!((&page["items"][0]["name"], &page["next_cursor"]), (&json!("nq"), &Value::Null));
    let one = plane.get(&token, "/v1/feeds/nq").await;
    assert_eq!((one.etag(), &one.json()["config"]), ("\"2\"", &feed("nq", 2)));
    let other = plane.send("PUT", &token, "/v1/feeds/nq", &[("if-match", "\"2\"")], &feed("ym", 3)).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY, "its name is the path's");
    let delete =
        |etag: &'static str| request("DELETE", &token, "/v1/feeds/nq", &[("if-match", etag)], Body::empty());
    assert_eq!(plane.call(delete("\"1\"")).await.status, 412);
    assert_eq!(plane.call(delete("\"2\"")).await.etag(), "\"3\"");
    assert_eq!(plane.get(&token, "/v1/feeds/nq").await.status, 404);
    assert_eq!(plane.call(delete("\"3\"")).await.status, 404);
    plane.send("PUT", &token, "/v1/config/strategy", &FIRST, &strategy("mid > 0.0", "sim")).await;
    let mut limits = risk();
    limits["total"]["position_max"] = json!(7);
    let put = plane.send("PUT", &token, "/v1/risk-limits", &[("if-match", "\"1\"")], &limits).await;
    assert_eq!(put.json()["changes"][0]["path"], "risk.total.position_max", "{put:?}");
    assert_eq!(plane.get(&token, "/v1/risk-limits").await.json()["config"], limits);
    assert_eq!(plane.get(&token, "/v1/strategies").await.json()["items"][0]["name"], "rules");
    let archiver = plane.send("PUT", &token, "/v1/archiver", &FIRST, &json!({"shards": 1})).await;
    assert_eq!(archiver.status, StatusCode::CREATED, "{archiver:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yaml_is_as_good_as_json_and_the_same_content_is_no_new_version() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Operator).await;
    let yaml = "feeds:\n  - {name: es, channel_id: 1, publisher_id: 2, protocol: itch50, lines: {a: {group: 239.1.1.1, port: 5001}}}\n";
    let put = async |text: &str, header: (&str, &str)| {
        let headers = [("content-type", "application/yaml"), header];
        plane.call(request("PUT", &token, "/v1/config/feeds", &headers, Body::from(text.to_owned()))).await
    };
    assert_eq!(put(yaml, FIRST[0]).await.status, StatusCode::CREATED);
    let got = plane.get(&token, "/v1/config/feeds").await.json();
    assert_eq!(got["document"], feeds(&["es"]));
    let headers = [("accept", "application/yaml")];
    let shown = plane.call(request("GET", &token, "/v1/config/feeds", &headers, Body::empty())).await;
    assert_eq!(shown.header("content-type"), "application/yaml");
    let same = put(&shown.text, ("if-match", "\"1\"")).await;
    assert_eq!((same.status, &same.json()["unchanged"]), (StatusCode::OK, &json!(true)));
    assert_eq!(same.etag(), "\"1\"");
    let wrong = put("feeds:\n  - {name: es,\n", ("if-match", "\"1\"")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.problem().contains("line"), "{}", wrong.problem());
}

/// A card of version `version` of the model `es-mid`, trained on what `sets` computes.
fn card(version: u64, sets: &Value) -> Value {
    let whole = json!({"redis": "unix:///none", "health": {"listen": "127.0.0.1:0"}, "sets": sets});
    let document: FeaturesDocument = serde_json::from_value(whole).unwrap();
    let schema = document.sets[0].schema();
    json!({"name": "es-mid", "version": version, "onnx_sha256": Sha256Sum::of(b"onnx").to_string(),
        "input": {"name": "x", "set": schema.set, "schema_id": format!("{:016x}", schema.id()),
            "features": [schema.features[0].name]},
        "output": {"name": "y", "unit": "bps", "horizon_ms": 1_000},
        "trained": {"data": {}, "metrics": {}, "seed": 1, "versions": {}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_no_feature_set_would_feed_is_refused() {
    let redis = RedisServer::start().unwrap();
    let plane = Plane::with(&redis.url(), json!({})).await;
    let token = plane.token(Role::Risk).await;
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let mut register = |card: &Value| {
        let version = card["version"].as_u64().unwrap();
        let (versions, of_version) = (model_versions_key("es-mid"), model_key("es-mid", version));
        let mut both = redis::pipe();
        both.hset(versions, version, card["onnx_sha256"].as_str().unwrap()).ignore();
        both.hset(of_version, "card", card.to_string()).ignore();
        both.exec(&mut connection).unwrap();
    };
    let features = features();
    let mut others = features.clone();
    others["sets"][0]["features"] = json!(["mid", {"ofi": {"bars": 20}}]);
    let mut renamed = features.clone();
    renamed["sets"][0]["name"] = json!("other");
    register(&card(1, &features["sets"]));
    register(&card(2, &others["sets"]));
    let by_model = |version: Value| {
        let mut document = strategy("true", "sim");
        document["strategies"][0] = json!({"name": "m", "venue": "sim", "instruments": "all", "model": {
            "acting": {"name": "es-mid", "version": version}, "enter_bps": 0.5, "clip": 1, "position": 1,
            "hold_ms": 1_000, "feature_age_max_ms": 5_000}});
        document
    };
    let put = async |path: &str, document: &Value| {
        let version = plane.get(&token, path).await.json()["version"].as_u64();
        let etag = format!("\"{}\"", version.unwrap_or(0));
        let header = if version.is_some() { ("if-match", etag.as_str()) } else { FIRST[0] };
        plane.send("PUT", &token, path, &[header], document).await
    };
    let good = |reply: &crate::common::Reply| assert!(reply.status.is_success(), "{reply:?}");
    good(&put("/v1/config/features", &features).await);
    let refused = put("/v1/config/strategy", &by_model(json!(2))).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    assert_eq!(refused.json()["errors"][0]["path"], "strategies[0].model.acting");
    assert!(refused.problem().contains("trained on the set \"flow\""), "{}", refused.problem());
    good(&put("/v1/config/strategy", &by_model(json!(1))).await);
    // A part brings it in as well as the whole.
    let part = &by_model(json!(2))["strategies"][0];
    assert_eq!(put("/v1/strategies/m", part).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    // The set may not go from under it; both together may change.
    let gone = put("/v1/config/features", &renamed).await;
    assert_eq!(gone.json()["errors"][0]["service"], "strategy", "{gone:?}");
    assert!(gone.problem().contains("features has no such set"), "{}", gone.problem());
    assert_eq!(put("/v1/config/features", &others).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let both = json!({"documents": {"features": {"base_version": 1, "document": others},
        "strategy": {"base_version": 1, "document": by_model(json!(2))}}});
    good(&plane.send("POST", &token, "/v1/config", &[], &both).await);
    // `latest` is the highest that can be served, so an older one is enough; one of nowhere is waited for.
    good(&put("/v1/config/strategy", &by_model(json!("latest"))).await);
    good(&put("/v1/config/features", &features).await);
    let nowhere = put("/v1/config/features", &renamed).await;
    assert_eq!(nowhere.status, StatusCode::UNPROCESSABLE_ENTITY, "{nowhere:?}");
    good(&put("/v1/config/strategy", &by_model(json!(9))).await);
    // Without the registry it is left to the strategy process.
    drop(redis);
    good(&put("/v1/config/strategy", &by_model(json!(2))).await);
}
