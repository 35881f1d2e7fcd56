//! Metrics and health over HTTP, on a thread of their own: `/metrics` for Prometheus, `/healthz` (the process
//! lives), `/readyz` (every part of it does its work, or which does not and why).
//!
//! Nobody who can reach the port can harm the service: see [`crate::listener`] for the bounds.

use crate::listener::BoundedListener;
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often old samples of histograms are folded, s.
const UPKEEP: Duration = Duration::from_secs(5);
/// Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics and the health of the process. Dropping it does not end the endpoint; the process does.
#[derive(Clone)]
pub struct Vitals {
    parts: Parts,
    address: Option<SocketAddr>,
}

/// By name: what is wrong, or nothing.
type Parts = Arc<Mutex<BTreeMap<&'static str, Option<String>>>>;

/// One part of the process whose state decides whether it is ready.
#[derive(Clone)]
pub struct Part {
    parts: Parts,
    name: &'static str,
}

impl Part {
    /// It does its work.
    pub fn is_good(&self) {
        self.set(None);
    }

    /// It does not, and why.
    pub fn is_bad(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, state: Option<String>) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, state);
    }
}

impl Vitals {
    /// Installs the recorder of metrics and, with an address, opens the endpoint. Once a process. It is not
    /// ready before it has a part: register all of them before the first is good.
    ///
    /// # Errors
    /// When the address cannot be had, or the process has a recorder already.
    pub fn start(listen: Option<SocketAddr>) -> io::Result<Vitals> {
        // First what another process may have: a refused start leaves nothing behind in this one.
        let listener = listen.map(bind).transpose()?;
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(io::Error::other)?;
        let parts = Parts::default();
        let upkept = handle.clone();
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                upkept.run_upkeep();
            }
        })?;
        let address = listener.map(|listener| serve(listener, handle, Arc::clone(&parts))).transpose()?;
        if let Some(address) = address {
            tracing::info!(%address, "metrics and health: /metrics, /healthz, /readyz");
        }
        Ok(Vitals { parts, address })
    }

    /// Where the endpoint listens, with the port that was chosen.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Adds a part that is not ready yet.
    pub fn part(&self, name: &'static str) -> Part {
        let part = Part { parts: Arc::clone(&self.parts), name };
        part.is_bad("starting");
        part
    }
}

fn bind(listen: SocketAddr) -> io::Result<std::net::TcpListener> {
    std::net::TcpListener::bind(listen).map_err(|error| {
        let what_to_do = match error.kind() {
            io::ErrorKind::AddrInUse => "; another process has it, choose another port in `health.listen`",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address, see `health.listen`",
            _ => "",
        };
        io::Error::new(
            error.kind(),
            format!("cannot listen on {listen} for metrics and health: {error}{what_to_do}"),
        )
    })
}

fn serve(listener: std::net::TcpListener, handle: PrometheusHandle, parts: Parts) -> io::Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let router = Router::new()
        .route("/metrics", get(move || async move { ([(CONTENT_TYPE, METRICS_TYPE)], handle.render()) }))
        .route("/healthz", get(|| async { Json(json!({"alive": true})) }))
        .route("/readyz", get(ready))
        .with_state(parts)
        .layer(axum::middleware::map_response(last_of_its_connection));
    std::thread::Builder::new().name("vitals".into()).spawn(move || {
        let served = runtime.block_on(async {
            let listener = BoundedListener::new(tokio::net::TcpListener::from_std(listener)?);
            axum::serve(listener, router).await
        });
        if let Err(error) = served {
            tracing::error!(%error, "the endpoint of metrics and health ended");
        }
    })?;
    Ok(address)
}

/// One request a connection, so that none is cut off in the middle of an answer by its end.
async fn last_of_its_connection(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn ready(State(parts): State<Parts>) -> (StatusCode, Json<Value>) {
    let parts = parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let ready = !parts.is_empty() && parts.values().all(Option::is_none);
    let told: BTreeMap<_, _> =
        parts.into_iter().map(|(name, state)| (name, state.unwrap_or_else(|| "good".into()))).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "parts": told})))
}
