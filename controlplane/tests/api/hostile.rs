//! What nobody means: refused with a problem that says why, entered in the audit within bounds, and nothing changed.

use crate::common::{Plane, feeds, request};
use axum::body::Body;
use axum::http::StatusCode;
use controlplane::access::{BODY_BYTES_MAX, Role};
use controlplane::config::Kind;
use serde_json::{Value, json};

const FIRST: (&str, &str) = ("if-none-match", "*");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn nothing_changed(plane: &Plane) {
    for kind in Kind::ALL {
        assert!(plane.app.store.newest_head(kind.service()).await.unwrap().is_none(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_documents_are_refused_with_their_place_and_audited() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Risk).await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let many = json!({"feeds": vec![json!({"name": 1}); 20_000]}).to_string();
    let double = r#"{"feeds": [], "feeds": []}"#.to_owned();
    let cases = [
        ("feeds", String::new(), 400),
        ("feeds", "nonsense".to_owned(), 400),
        ("feeds", "{".to_owned(), 400),
        ("feeds", deep, 400),
        ("feeds", double, 400),
        ("feeds", "\u{0}".to_owned(), 400),
        ("feeds", "null".to_owned(), 422),
        ("feeds", "[]".to_owned(), 422),
        ("feeds", "7".to_owned(), 422),
        ("feeds", many, 422),
        ("feeds", json!({"feeds": [], "x": 1}).to_string(), 422),
        ("feeds", json!({"feeds": [{"name": "../../etc", "channel_id": -1}]}).to_string(), 422),
        ("features", json!({"redis": "redis://elsewhere", "sets": []}).to_string(), 422),
        ("archiver", json!({"database": "postgres://me:secret@host/db"}).to_string(), 422),
        ("dataplane", json!({"control": {"socket": "/x", "state": "/y"}, "workers": []}).to_string(), 422),
    ];
    for (service, body, expected) in &cases {
        let path = format!("/v1/config/{service}");
        let reply = plane.call(request("PUT", &token, &path, &[FIRST, JSON], Body::from(body.clone()))).await;
        assert_eq!(reply.status.as_u16(), *expected, "{body:.60}: {reply:?}");
        assert!(!reply.problem().is_empty() && !reply.text.contains("secret"), "{reply:?}");
        assert!(reply.text.len() < 100_000, "an answer is bounded");
    }
    nothing_changed(&plane).await;
    let refused: Vec<_> =
        plane.audit().await.into_iter().filter(|entry| entry.outcome == "refused").collect();
    assert_eq!(refused.len(), cases.len());
    for (entry, (service, _, status)) in refused.iter().zip(&cases) {
        let expected = ("put_config", format!("/v1/config/{service}"), *status, "risk");
        assert_eq!((entry.action.as_str(), entry.target.clone(), entry.status, entry.who.as_str()), expected);
        assert!(!entry.reason.is_empty() && entry.reason.len() <= 512);
    }
    assert_eq!(plane.app.store.verify().await.unwrap().broken_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_or_of_another_kind_is_refused() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Operator).await;
    let huge = Body::from(vec![b' '; BODY_BYTES_MAX + 1]);
    let reply = plane.call(request("PUT", &token, "/v1/config/feeds", &[FIRST, JSON], huge)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", reply.problem());
    let full = format!("{}{}", " ".repeat(BODY_BYTES_MAX - 2), "{}");
    let reply =
        plane.call(request("PUT", &token, "/v1/config/feeds", &[FIRST, JSON], Body::from(full))).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "as large as it may be, and nothing in it");
    for kind in ["text/plain", "application/xml", "multipart/form-data", "application/json2", ""] {
        let headers = [FIRST, ("content-type", kind)];
        let body = Body::from(feeds(&["es"]).to_string());
        let reply = plane.call(request("PUT", &token, "/v1/config/feeds", &headers, body)).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}: {}", reply.problem());
    }
    nothing_changed(&plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_problem_too() {
    let plane = Plane::start().await;
    let token = plane.token(Role::Risk).await;
    let cases = [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v2/config", 404),
        ("GET", "/v1/config/nothing", 404),
        ("GET", "/v1/config/feeds/versions/x", 404),
        ("GET", "/v1/config/feeds/versions/99999999999999999999999", 404),
        ("GET", "/v1/config/feeds/versions/%00", 404),
        ("GET", "/v1/feeds/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v1/feeds/%ff", 404),
        ("GET", "/v1/../../etc/passwd", 404),
        ("POST", "/v1/whoami", 405),
        ("PATCH", "/v1/config/feeds", 405),
        ("TRACE", "/v1/config", 405),
        ("GET", "/v1/config/feeds/history?limit=0", 400),
        ("GET", "/v1/config/feeds/history?limit=1001", 400),
        ("GET", "/v1/config/feeds/history?limit=x", 400),
        ("GET", "/v1/config/feeds/history?cursor=x", 404),
        ("GET", "/v1/config/feeds/history?a=b", 400),
        ("GET", "/v1/audit?since_ns=-1", 400),
        ("GET", "/v1/audit?limit=%ff", 400),
    ];
    for (method, path, expected) in cases {
        let reply = plane.call(request(method, &token, path, &[], Body::empty())).await;
        assert_eq!(reply.status.as_u16(), expected, "{method} {path}: {reply:?}");
        reply.problem();
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(reply.header("content-security-policy").contains("frame-ancestors 'none'"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_without_a_token_do_not_fill_the_audit() {
    let plane = Plane::start().await;
    for round in 0..300 {
        let path = format!("/v1/config/feeds?{round}");
        let reply = plane.send("PUT", "", &path, &[FIRST], &feeds(&["es"])).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"feedplane\"");
    }
    let entries = plane.audit().await.len();
    assert!((60..70).contains(&entries), "{entries}: the others are only counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_and_one_address_get_so_many_requests_a_second() {
    let limits =
        json!({"requests_per_second": 2, "address_requests_per_second": 4, "wrong_tokens_per_minute": 3});
    let plane = Plane::with("unix:///nonexistent", limits).await;
    let (one, other) = (plane.token(Role::Viewer).await, plane.token(Role::Viewer).await);
    let limited = async |token: &str, times: usize| {
        let mut limited = 0;
        for _ in 0..times {
            let reply = plane.get(token, "/v1/whoami").await;
            if reply.status == StatusCode::TOO_MANY_REQUESTS {
                assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1, "{}", reply.problem());
                limited += 1;
            }
        }
        limited
    };
    assert!(limited(&one, 24).await >= 3, "20 at once, then 2 a second");
    assert_eq!(limited(&other, 5).await, 0, "another token has its own");
    let wrong = "fp_000000000000_0000000000000000000000000000000000000000000000000000000000000000";
    assert!(limited(wrong, 6).await >= 2, "3 a minute");
    assert!(limited(&other, 60).await >= 20, "the address has an end, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_takes_no_configuration_and_still_takes_a_halt() {
    let plane = Plane::with("unix:///nonexistent", json!({"store_mib": 16})).await;
    let token = plane.token(Role::Operator).await;
    let mut version = 0;
    let status = loop {
        let feeds: Vec<Value> = (0..1_000_u16)
            .map(|at| {
                let mut feed = crate::common::feed(&format!("f{at}-{version}"), at);
                feed["lines"]["b"] = json!({"group": "239.1.1.2", "port": 5_000 + at, "source": "10.1.1.1"});
                feed
            })
            .collect();
        let etag = format!("\"{version}\"");
        let header = if version == 0 { FIRST } else { ("if-match", etag.as_str()) };
        let reply = plane.send("PUT", &token, "/v1/config/feeds", &[header], &json!({"feeds": feeds})).await;
        if !reply.status.is_success() {
            break reply.status;
        }
        version += 1;
        assert!(version < 1_000, "it is full some time");
    };
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE);
    let halt = plane.send("POST", &token, "/v1/halt", &[], &json!({"reason": "drill"})).await;
    assert!(halt.status.is_success(), "{halt:?}");
}
