//! The clients of table (m): HTTP connections that read server-sent events as a browser does, all on one thread.

use anyhow::{Context, Result, bail, ensure};
use lab::network::Network;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait until every client has heard something.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they are to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What all clients have seen.
#[derive(Default)]
struct Seen {
    listening: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    /// Clients whose connection ended, or that were told that they missed something.
    lost: AtomicU64,
    stop: AtomicBool,
}

/// Clients that listen.
pub(super) struct Clients {
    seen: Arc<Seen>,
    count: usize,
    began: Instant,
    before: (u64, u64),
    thread: Option<JoinHandle<Result<()>>>,
}

impl Clients {
    /// Connects them, inside the namespace, and waits until each has heard something.
    pub(super) fn start(network: &Network, to: SocketAddr, token: &str, count: usize) -> Result<Clients> {
        let seen = Arc::new(Seen::default());
        let (network, token, counted) = (network.clone(), token.to_owned(), Arc::clone(&seen));
        let thread = std::thread::Builder::new().name("clients".to_owned()).spawn(move || {
            network.enter_current_thread()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                for _ in 0..count {
                    tokio::spawn(listen(to, token.clone(), Arc::clone(&counted)));
                }
                while !counted.stop.load(Ordering::Relaxed) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            });
            Ok(())
        })?;
        let mut clients =
            Clients { seen, count, began: Instant::now(), before: (0, 0), thread: Some(thread) };
        while clients.seen.listening.load(Ordering::Relaxed) < count as u64 {
            let heard = clients.seen.listening.load(Ordering::Relaxed);
            ensure!(clients.began.elapsed() < PATIENCE, "only {heard} of {count} clients hear events");
            std::thread::sleep(LOOK_EVERY);
        }
        clients.before = clients.counts();
        clients.began = Instant::now();
        Ok(clients)
    }

    fn counts(&self) -> (u64, u64) {
        (self.seen.events.load(Ordering::Relaxed), self.seen.bytes.load(Ordering::Relaxed))
    }

    /// Ends them, and says what they heard.
    pub(super) fn finish(mut self) -> Result<String> {
        let (seconds, (events, bytes)) = (self.began.elapsed().as_secs_f64(), self.counts());
        let lost = self.seen.lost.load(Ordering::Relaxed);
        self.end()?;
        if self.count == 0 {
            return Ok(String::new());
        }
        let each = (events - self.before.0) as f64 / seconds / self.count as f64;
        let megabytes = (bytes - self.before.1) as f64 / seconds / 1e6;
        let lost = if lost == 0 { String::new() } else { format!(", {lost} times too slow or cut off") };
        Ok(format!("; {each:.1} events a second to each client, {megabytes:.1} MB/s to all{lost}"))
    }

    fn end(&mut self) -> Result<()> {
        self.seen.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => bail!("the clients panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

async fn listen(to: SocketAddr, token: String, seen: Arc<Seen>) {
    if hear(to, &token, &seen).await.is_err() {
        seen.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads until the connection ends.
async fn hear(to: SocketAddr, token: &str, seen: &Seen) -> Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let path = "/v1/events?topics=status,orders,book,tape&instrument=1:5";
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 64 << 10];
    let mut is_first = true;
    loop {
        let got = stream.read(&mut buffer).await?;
        ensure!(got > 0, "the connection ended");
        let text = &buffer[..got];
        if is_first {
            text.starts_with(b"HTTP/1.1 200").then_some(()).context("not let in")?;
            is_first = false;
            seen.listening.fetch_add(1, Ordering::Relaxed);
        }
        seen.bytes.fetch_add(got as u64, Ordering::Relaxed);
        // Names that a piece's end cuts in two are not counted; they are few.
        let named = |name: &[u8]| text.windows(name.len()).filter(|window| *window == name).count() as u64;
        seen.events.fetch_add(named(b"event: "), Ordering::Relaxed);
        seen.lost.fetch_add(named(b"event: lagging"), Ordering::Relaxed);
    }
}
