//! The console: a web page for people, inside the program. It has no right of its own: the page asks `/v1` with the token
//! that a person gives it, as every other client does.
//!
//! Three kinds of path: `/assets/…`, whose names carry a hash of their content and can be kept for ever; the pages of
//! `PAGES`, all of them the same document, which looks at its own address; everything else is not the console's.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// The built console: path below `dist`, and content. Empty when it was not built.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// The first part of the paths that the page itself knows (`PAGES` of `console/src/core/router.ts`).
const PAGES: [&str; 9] =
    ["overview", "channels", "market", "trading", "machine", "models", "config", "audit", "tokens"];

/// What the page may do: load what is served here, ask this server, and be in nobody's frame.
const POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Shown when the program was compiled before the console was built.
const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>feedplane console</title></head><body>
<h1>The console is not in this program</h1>
<p>It was not built when the control plane was compiled. Build it with <code>make console</code> (Node 18 or later), then
compile <code>feedplane-controlplane</code> again.</p>
<p>The API is there: <a href=\"/v1/openapi.json\">/v1/openapi.json</a>. So are the commands: <code>feedplane --help</code>.</p>
</body></html>
";

/// Changes when the page does.
static PAGE_TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = Sha256::digest(page());
    let tag: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"page\""))
});

/// Whether the console was built before this program was.
pub fn is_built() -> bool {
    file("index.html").is_some()
}

/// The console's routes. They need no token and no state.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new().route("/", get(document)).route("/assets/{*path}", get(asset));
    for page in PAGES {
        router = router
            .route(&format!("/{page}"), get(document))
            .route(&format!("/{page}/{{*rest}}"), get(document));
    }
    router
}

fn file(path: &str) -> Option<&'static [u8]> {
    let at = FILES.binary_search_by(|(name, _)| (*name).cmp(path)).ok()?;
    Some(FILES[at].1)
}

fn page() -> &'static [u8] {
    file("index.html").unwrap_or(NOT_BUILT.as_bytes())
}

async fn document(headers: HeaderMap) -> Response<Body> {
    let known = headers.get(IF_NONE_MATCH).is_some_and(|tag| tag == *PAGE_TAG);
    let (status, body) =
        if known { (StatusCode::NOT_MODIFIED, Body::empty()) } else { (StatusCode::OK, Body::from(page())) };
    let kept: [(HeaderName, HeaderValue); 2] =
        [(CACHE_CONTROL, HeaderValue::from_static("no-cache")), (ETAG, PAGE_TAG.clone())];
    (status, kept, secured("text/html; charset=utf-8"), body).into_response()
}

async fn asset(Path(path): Path<String>) -> Response<Body> {
    match file(&format!("assets/{path}")) {
        Some(content) => {
            let kept = [(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"))];
            (kept, secured(media_type(&path)), Body::from(content)).into_response()
        }
        None => (
            StatusCode::NOT_FOUND,
            [(CACHE_CONTROL, HeaderValue::from_static("no-store"))],
            secured("text/plain; charset=utf-8"),
            Body::from("no such file; the page may be older than the program: load it again\n"),
        )
            .into_response(),
    }
}

fn secured(media_type: &'static str) -> [(HeaderName, HeaderValue); 4] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use tower::ServiceExt;

    async fn ask(path: &str, tag: Option<&HeaderValue>) -> Response<Body> {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        routes::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn every_page_is_the_same_document_and_is_asked_for_again() {
        for path in ["/", "/overview", "/config", "/config/strategy", "/market/2:7"] {
            let answer = ask(path, None).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-cache", "{path}");
            assert_eq!(answer.headers()[CONTENT_SECURITY_POLICY], POLICY, "{path}");
            let again = ask(path, Some(&answer.headers()[ETAG])).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        }
    }

    #[tokio::test]
    async fn paths_that_are_not_the_consoles_are_not_found() {
        for path in [
            "/nowhere",
            "/index.html",
            "/configuration",
            "/assets/no.js",
            "/assets/../index.html",
            "/assets/%2e%2e/Cargo.toml",
        ] {
            assert_eq!(ask(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn hashed_files_are_kept_for_ever_and_have_their_types() {
        for (name, content) in FILES.iter().filter(|(name, _)| name.starts_with("assets/")) {
            let answer = ask(&format!("/{name}"), None).await;
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
            assert!(answer.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"), "{name}");
            assert_ne!(answer.headers()[CONTENT_TYPE], "application/octet-stream", "{name}");
            let body = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
            assert_eq!(body, *content, "{name}");
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_in_it() {
        let page = String::from_utf8(page().to_vec()).unwrap();
        assert!(!page.contains("<style") && !page.contains(" style="), "{page}");
        for script in page.split("<script").skip(1) {
            assert!(script.split('>').next().unwrap().contains("src=\"/assets/"), "{page}");
        }
    }

    #[test]
    fn the_pages_are_those_that_the_console_knows() {
        let router = include_str!("../console/src/core/router.ts");
        let list = router.split("export const PAGES = [").nth(1).unwrap().split(']').next().unwrap();
        let known: Vec<&str> = list.split(',').map(|word| word.trim().trim_matches('"')).collect();
        assert_eq!(known, PAGES);
    }
}
