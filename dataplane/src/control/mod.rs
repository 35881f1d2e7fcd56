//! How the control plane speaks to this process: over a socket beside it ([`Server`]), in the language of [`bus::link`].
//!
//! The process's own thread does what is asked, between its other duties: [`Control::turn`]. What it was told last is kept
//! in a folder ([`State`]), so that a start without a control plane begins with it. When the control plane is gone, nothing
//! here changes.

mod documents;
mod peer;
mod server;
mod start;
mod state;

use crate::process::Dataplane;
use bus::link::{Answer, Ask, Fault, FaultCode, Hello, Replaced, Request};
use documents::Held;
use serde::Serialize;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tracing::warn;

pub use server::{Asked, Server, ServerError};
pub use start::start;
pub use state::{Kept, Staged, State, StateError};

/// Requests that were answered: labels `do` and `outcome`.
const REQUESTS: &str = "feedplane_dataplane_control_requests_total";

/// The socket and what was said over it. Used by the process's thread.
pub struct Control {
    server: Server,
    asked: Receiver<Asked>,
    held: Held,
    hello: Hello,
}

impl Control {
    fn new(server: Server, asked: Receiver<Asked>, held: Held) -> Control {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let hello = Hello {
            program: "feedplane-dataplane".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.trim().to_owned(),
            pid: std::process::id(),
            started_ns: crate::clock::utc_now_ns(),
            health: None,
        };
        Control { server, asked, held, hello }
    }

    /// Says where metrics and health of the process are.
    pub fn tell_health(&mut self, address: Option<SocketAddr>) {
        self.hello.health = address;
    }

    /// Where it listens.
    pub fn socket(&self) -> &std::path::Path {
        self.server.path()
    }

    /// Does what is asked, for about `within`.
    pub fn turn(&mut self, dataplane: &mut Dataplane, within: Duration) {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.asked.recv_timeout(left) {
                Ok(asked) => {
                    let line = self.answer(&asked.request, dataplane);
                    asked.answer(line);
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return,
                // The server's thread is gone, which only a defect can make happen.
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(left);
                    return;
                }
            }
            if left.is_zero() {
                return;
            }
        }
    }

    /// The process's status with what is said here.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn status(&self, dataplane: &mut Dataplane) -> anyhow::Result<Value> {
        let mut status = dataplane.status()?;
        status["documents"] = self.documents_status();
        Ok(status)
    }

    /// Which versions run and wait.
    pub fn documents_status(&self) -> Value {
        self.held.status()
    }

    /// The version of the feeds that runs, when it came over the socket. The file is not read then.
    pub fn feeds_version(&self) -> Option<u64> {
        self.held.feeds_version()
    }

    fn answer(&mut self, request: &Request, dataplane: &mut Dataplane) -> Vec<u8> {
        let id = request.id;
        let what = request.ask.word();
        match &request.ask {
            Ask::Hello => told(id, what, Ok(&self.hello)),
            Ask::Status => told(id, what, self.status(dataplane).map_err(failed)),
            Ask::Nics => told(id, what, dataplane.nics().map_err(failed)),
            Ask::Clock => told(id, what, Ok(dataplane.clocks())),
            Ask::SetDocument(set) => told(id, what, self.held.set(set, dataplane)),
            Ask::GetDocuments => told(id, what, self.held.documents(dataplane)),
            Ask::Attach { interface } => told(id, what, set_attached(dataplane, interface, true)),
            Ask::Detach { interface } => told(id, what, set_attached(dataplane, interface, false)),
            Ask::ReplacePrograms => {
                let replaced = dataplane.replace_programs().map_err(failed);
                told(id, what, replaced.map(|programs| Replaced { programs: programs as u32 }))
            }
        }
    }
}

fn set_attached(dataplane: &mut Dataplane, interface: &str, attached: bool) -> Result<bus::link::Nic, Fault> {
    if !dataplane.has_interface(interface) {
        let message = format!("no worker has an interface {interface:?}; see `nics`");
        return Err(Fault::new(FaultCode::NoInterface, message));
    }
    dataplane.set_attached(interface, attached).map_or_else(
        || {
            let message = format!("{interface} is received through sockets; there is no program on it");
            Err(Fault::new(FaultCode::Unsupported, message))
        },
        |done| done.map_err(failed),
    )
}

/// An answer's line, counted.
fn told<T: Serialize>(id: u64, what: &'static str, outcome: Result<T, Fault>) -> Vec<u8> {
    let result = if outcome.is_ok() { "ok" } else { "refused" };
    metrics::counter!(REQUESTS, "do" => what, "outcome" => result).increment(1);
    if let Err(fault) = &outcome {
        warn!(request = what, code = ?fault.code, "refused: {fault}");
    }
    Answer::line(id, outcome)
}

fn failed(error: anyhow::Error) -> Fault {
    Fault::new(FaultCode::Failed, format!("{error:#}"))
}
