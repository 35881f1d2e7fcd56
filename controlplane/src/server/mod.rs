//! The server: connections within bounds, TLS where the document says so, an orderly end.
//!
//! What a peer can hold is bounded: connections (in all, and of one address), the time of a handshake, of a request's head
//! and of a write that does not go on, the size of a head. Bodies are bounded by the gate.

mod stalled;
mod tls;

pub use tls::TlsError;

use crate::access::Peer;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use stalled::Stalled;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::{ServiceExt, service_fn};
use vitals::Stop;

/// Longest wait for a request's head, on a new connection and on one that was kept.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Longest TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Longest time in which a peer takes nothing of what is sent to it.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Largest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Pause after the system had no descriptor for a connection.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(200);
/// Time for requests under way when the process is asked to end.
const END_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked whether the process is asked to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A server that has its address.
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    connections: u32,
}

impl Server {
    /// Takes the address, and reads certificate and key.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn bind(document: &bus::config::ControlplaneDocument) -> anyhow::Result<Server> {
        let tls = document.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
        let listener = TcpListener::bind(document.listen).await.map_err(|error| {
            anyhow::anyhow!(
                "cannot listen on {}: {error}; choose another address in `listen`",
                document.listen
            )
        })?;
        Ok(Server { listener, tls, connections: document.limits.connections })
    }

    /// Where it listens, with the port that was chosen.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process is asked to end.
    pub async fn run(self, router: Router, stop: &Stop) {
        let Server { listener, tls, connections } = self;
        if let Some(tls) = &tls {
            tokio::spawn(Arc::clone(tls).follow_files());
        }
        let places = Arc::new(Semaphore::new(connections as usize));
        let addresses = Addresses { most: connections / 2, open: Arc::default() };
        let (end, ending) = watch::channel(false);
        let mut running = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = asked(stop) => break,
                accepted = accept(&listener, &places) => accepted,
            };
            while running.try_join_next().is_some() {}
            let Some((stream, peer, place)) = accepted else { continue };
            let Some(share) = addresses.take(peer.ip()) else { continue };
            let (router, tls, ending) = (router.clone(), tls.clone(), ending.clone());
            running.spawn(async move {
                let _held = (place, share);
                connection(stream, peer, tls, router, ending).await;
            });
        }
        // Nobody may be connected.
        let _ = end.send(true);
        let all = async { while running.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(END_WITHIN, all).await;
    }
}

async fn asked(stop: &Stop) {
    while !stop.is_asked() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::debug!(%error, "a connection was not accepted");
            tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await;
            None
        }
    }
}

/// Connections of each address. One address takes half of them at most, so that another is served, too. This machine's
/// own are not counted: whoever is on it can do worse.
struct Addresses {
    most: u32,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

struct Share {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Addresses {
    fn take(&self, address: IpAddr) -> Option<Option<Share>> {
        if address.is_loopback() {
            return Some(None);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Some(Share { address, open: Arc::clone(&self.open) }))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    router: Router,
    ending: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let stream = Stalled::new(stream, WRITE_WITHIN);
    match tls {
        None => serve(stream, peer, router, ending).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, peer, router, ending).await,
            Ok(Err(error)) => {
                metrics::counter!("feedplane_controlplane_refused_handshakes_total").increment(1);
                tracing::debug!(%error, %peer, "no TLS with a peer");
            }
            Err(_) => tracing::debug!(%peer, "a peer took too long for its TLS handshake"),
        },
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    mut ending: watch::Receiver<bool>,
) {
    let address = peer.ip().to_canonical();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(Peer(address));
            let response: Result<_, Infallible> = router.oneshot(request).await;
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = asked_to_end(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "a connection broke");
    }
}

/// Waits for the end of all connections.
async fn asked_to_end(ending: &mut watch::Receiver<bool>) {
    // The sender goes when all is over: then it is the end as well.
    let _ = ending.wait_for(|ending| *ending).await;
}
