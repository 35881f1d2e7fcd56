//! Every route × every credential, generated from the served description: a new route cannot be forgotten, and one that
//! does not say who may call it does not come into being.

use crate::common::{Plane, request};
use axum::body::Body;
use axum::http::StatusCode;
use controlplane::access::Role;
use controlplane::config::Kind;
use serde_json::{Value, json};
use tower::ServiceExt;

/// One call that the description allows: what it is, and which role it needs (none: nobody is asked).
#[derive(Debug)]
struct Call {
    method: String,
    path: String,
    body: Option<Value>,
    role: Option<Role>,
}

fn calls(description: &Value) -> Vec<Call> {
    let mut calls = Vec::new();
    for (template, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let word = operation["x-feedplane-role"].as_str().unwrap();
            let least = (word != "none").then(|| word.parse::<Role>().unwrap());
            let by_service = operation["x-feedplane-role-by-service"].as_object();
            let has_body = operation.get("requestBody").is_some();
            for kind in Kind::ALL {
                let service = kind.service();
                let of_service = by_service.and_then(|roles| roles.get(service)).and_then(Value::as_str);
                let role = of_service.map_or(least, |word| Some(word.parse().unwrap()));
                let path = concrete(template, service);
                let body = has_body.then(|| match template.as_str() {
                    "/v1/config" => {
                        json!({"documents": {service: {"base_version": 9, "document": {}}}})
                    }
                    _ => json!({}),
                });
                calls.push(Call { method: method.to_uppercase(), path, body, role });
                if !template.contains("{service}") && by_service.is_none() {
                    break;
                }
            }
        }
    }
    calls
}

fn concrete(template: &str, service: &str) -> String {
    let filled = template.split('/').map(|step| match step {
        "{service}" => service,
        step if step.starts_with('{') && step.contains("version") || step.ends_with("_id}") => "1",
        step if step.starts_with('{') => "none-such",
        step => step,
    });
    filled.collect::<Vec<_>>().join("/")
}

async fn status(plane: &Plane, call: &Call, token: &str) -> StatusCode {
    let headers: &[_] = if call.body.is_some() { &[("content-type", "application/json")] } else { &[] };
    let body = call.body.as_ref().map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = request(&call.method, token, &call.path, headers, body);
    // The body is not read: a stream of events has no end.
    plane.router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_exactly_whom_its_description_says() {
    let plane = Plane::start().await;
    let tokens = [
        (Role::Viewer, plane.token(Role::Viewer).await),
        (Role::Operator, plane.token(Role::Operator).await),
        (Role::Risk, plane.token(Role::Risk).await),
    ];
    let expired = plane.token_until(Role::Risk, Some(1)).await;
    let revoked = plane.token(Role::Risk).await;
    let id = revoked.split('_').nth(1).unwrap();
    let gone = plane.send("DELETE", &tokens[2].1, &format!("/v1/tokens/{id}"), &[], &Value::Null).await;
    assert_eq!(gone.status, StatusCode::BAD_REQUEST, "DELETE takes no body");
    let request_of = request("DELETE", &tokens[2].1, &format!("/v1/tokens/{id}"), &[], Body::empty());
    assert_eq!(plane.call(request_of).await.status, StatusCode::OK);
    let secret = tokens[2].1.rsplit('_').next().unwrap();
    let wrong_secret = tokens[2].1.replace(secret, &"0".repeat(64));
    let unknown_id = format!("fp_{}_{secret}", "0".repeat(12));
    let wrong = [
        "",
        "fp_",
        "x",
        "fp_1_2",
        &expired,
        &revoked,
        &wrong_secret,
        &unknown_id,
        &tokens[0].1.to_uppercase(),
    ];
    let calls = calls(&plane.get(&tokens[0].1, "/v1/openapi.json").await.json());
    assert!(calls.len() > 60, "{}", calls.len());
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    for call in &calls {
        for token in &wrong {
            let status = status(&plane, call, token).await;
            match call.role {
                None => assert!(!refused.contains(&status), "{call:?} {token:?}: {status}"),
                Some(_) => assert_eq!(status, StatusCode::UNAUTHORIZED, "{call:?} with {token:?}"),
            }
        }
        for (role, token) in &tokens {
            let status = status(&plane, call, token).await;
            if call.role.is_none_or(|needed| *role >= needed) {
                assert!(!refused.contains(&status), "{call:?} as {role}: {status}");
                assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{call:?} as {role}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{call:?} as {role}");
            }
        }
    }
    for kind in Kind::ALL {
        assert!(plane.app.store.newest_head(kind.service()).await.unwrap().is_none(), "nothing was changed");
    }
    assert!(plane.app.store.trading().await.unwrap().is_none(), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_written_in_escapes_needs_the_same_role() {
    let plane = Plane::start().await;
    let operator = plane.token(Role::Operator).await;
    let escaped = ["/v1/config/strategy", "/v1/config/%73trategy", "/v1/config/%73%74rategy"];
    for path in escaped {
        let reply = plane.send("PUT", &operator, path, &[("if-none-match", "*")], &json!({})).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
    }
    for path in
        ["/v1/config/STRATEGY", "/v1/config/strategy/", "/v1//config/strategy", "/v1/config/%2e%2e/halt"]
    {
        let reply = plane.send("PUT", &operator, path, &[("if-none-match", "*")], &json!({})).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_annotated_is_what_a_document_needs() {
    let description = controlplane::api::description();
    for (path, method) in
        [("/v1/config", "post"), ("/v1/config/{service}", "put"), ("/v1/config/{service}/rollback", "post")]
    {
        let operation = &description["paths"][path][method];
        for kind in Kind::ALL {
            let said = &operation["x-feedplane-role-by-service"][kind.service()];
            let said = said.as_str().or(operation["x-feedplane-role"].as_str()).unwrap();
            assert_eq!(said, kind.role().word(), "{path} {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_token_of_the_role_risk_is_not_revoked() {
    let plane = Plane::start().await;
    let (one, other) = (plane.token(Role::Risk).await, plane.token(Role::Risk).await);
    let path = |token: &str| format!("/v1/tokens/{}", token.split('_').nth(1).unwrap());
    let delete = |by: &str, of: &str| request("DELETE", by, &path(of), &[], Body::empty());
    assert_eq!(plane.call(delete(&one, &other)).await.status, StatusCode::OK);
    assert_eq!(plane.get(&other, "/v1/whoami").await.status, StatusCode::UNAUTHORIZED);
    let reply = plane.call(delete(&one, &one)).await;
    assert_eq!(reply.status, StatusCode::CONFLICT, "{}", reply.problem());
    assert_eq!(plane.get(&one, "/v1/whoami").await.status, StatusCode::OK);
    assert_eq!(plane.call(delete(&one, &other)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_nowhere_kept() {
    let plane = Plane::start().await;
    let risk = plane.token(Role::Risk).await;
    let body = json!({"name": "console", "role": "viewer", "expires_in_s": 60});
    let key = [("idempotency-key", "a")];
    let made = plane.send("POST", &risk, "/v1/tokens", &key, &body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(plane.get(&token, "/v1/whoami").await.json()["role"], "viewer");
    let again = plane.send("POST", &risk, "/v1/tokens", &key, &body).await;
    assert_eq!((again.status, &again.json()["token"]), (StatusCode::CREATED, &Value::Null));
    assert_eq!(again.json()["id"], made.json()["id"], "the same token, not another");
    let secret = token.rsplit('_').next().unwrap().to_owned();
    let listed = plane.get(&risk, "/v1/tokens").await.text + &plane.get(&risk, "/v1/audit").await.text;
    assert!(!listed.contains(&secret));
    for entry in std::fs::read_dir(plane.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}
