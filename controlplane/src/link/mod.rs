//! The control plane's end of the socket to the data plane beside it. The language is [`bus::link`].
//!
//! A [`Client`] owns one connection and makes it anew when it breaks; clones share it. One request is under way at a time:
//! the data plane answers in order, and what it is asked to do it does one after the other anyhow. A request that was not
//! answered in time ends the connection, so that an answer is never taken for another request's.
//!
//! Every request may be made twice (a version that is run already, an interface that is attached already), so one that met
//! a connection that had died is made once more on a new one.

mod wire;

use bus::Sha256Sum;
use bus::link::{
    Ask, Clocks, Documents, Fault, FaultCode, Hello, LinkService, Nic, Replaced, Request, SetDocument, Taken,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use wire::{Broken, Connection};

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A connection and its first answer.
    connect: Duration,
    /// A question. The data plane answers between two changes, and one of those may be under way.
    answer: Duration,
    /// A change: a thousand feeds at a millisecond each, memberships and a slow disk besides.
    change: Duration,
}

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(5),
    change: Duration::from_secs(20),
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody listens, or it may not be opened.
    #[error("no data plane at {}: {error}; is it running, with `control: {{socket: …}}`?", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The connection was made and broke.
    #[error("the connection to the data plane broke: {0}")]
    Lost(std::io::Error),
    /// It took too long.
    #[error("the data plane did not answer `{what}` within {} s", within.as_secs())]
    Timeout {
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        within: Duration,
    },
    /// Something else speaks there, or another version.
    #[error("what answers at the socket is no data plane of this version: {0}")]
    Foreign(String),
    /// The data plane said no.
    #[error(transparent)]
    Refused(#[from] Fault),
}

impl LinkError {
    /// Whether the data plane was heard at all. If not, it may be tried again later.
    pub fn is_refusal(&self) -> bool {
        matches!(self, LinkError::Refused(_))
    }
}

/// A data plane's socket.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    last_id: u64,
}

impl Client {
    /// A client that has not connected yet: it does with the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        Client::with_patience(socket.into(), PATIENCE)
    }

    fn with_patience(path: PathBuf, patience: Patience) -> Client {
        Client { shared: Arc::new(Shared { path, patience, state: Mutex::default() }) }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Who is there.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn hello(&self) -> Result<Hello, LinkError> {
        self.ask(Ask::Hello, self.shared.patience.answer).await
    }

    /// The data plane's own status.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn status(&self) -> Result<Value, LinkError> {
        self.ask(Ask::Status, self.shared.patience.answer).await
    }

    /// The interfaces of all workers.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn nics(&self) -> Result<Vec<Nic>, LinkError> {
        self.ask(Ask::Nics, self.shared.patience.answer).await
    }

    /// How the clocks stand.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn clock(&self) -> Result<Clocks, LinkError> {
        self.ask(Ask::Clock, self.shared.patience.answer).await
    }

    /// Has a version of a document run, or only checked. `document` is the JSON text whose bytes have the checksum.
    ///
    /// # Errors
    /// [`LinkError`]; [`FaultCode::Invalid`] with the places when the document cannot be used.
    pub async fn set_document(
        &self,
        service: LinkService,
        version: u64,
        sha256: Sha256Sum,
        document: &str,
        dry_run: bool,
    ) -> Result<Taken, LinkError> {
        let document = RawValue::from_string(document.to_owned()).map_err(|error| {
            Fault::new(FaultCode::BadRequest, format!("the document is no JSON: {error}"))
        })?;
        self.ask(
            Ask::SetDocument(SetDocument { service, version, sha256, document, dry_run }),
            self.shared.patience.change,
        )
        .await
    }

    /// What the data plane runs, and what waits for its start.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn documents(&self) -> Result<Documents, LinkError> {
        self.ask(Ask::GetDocuments, self.shared.patience.answer).await
    }

    /// Puts an interface's steering program to work again; how it is then.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn attach(&self, interface: &str) -> Result<Nic, LinkError> {
        self.ask(Ask::Attach { interface: interface.to_owned() }, self.shared.patience.change).await
    }

    /// Takes an interface's steering program off; how it is then.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn detach(&self, interface: &str) -> Result<Nic, LinkError> {
        self.ask(Ask::Detach { interface: interface.to_owned() }, self.shared.patience.change).await
    }

    /// Loads all steering programs anew.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn replace_programs(&self) -> Result<Replaced, LinkError> {
        self.ask(Ask::ReplacePrograms, self.shared.patience.change).await
    }

    async fn ask<T: DeserializeOwned>(&self, ask: Ask, within: Duration) -> Result<T, LinkError> {
        let what = ask.word();
        let mut state = self.shared.state.lock().await;
        state.last_id += 1;
        let request = Request { id: state.last_id, ask };
        let line = request.line()?;
        let mut is_old = state.connection.is_some();
        loop {
            // Taken out while it is used: a request that is dropped half-way takes its connection along.
            let mut connection = match state.connection.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let answer = tokio::time::timeout(within, connection.exchange(&line, request.id)).await;
            match answer {
                Err(_) => return Err(LinkError::Timeout { what, within }),
                Ok(Ok(outcome)) => {
                    state.connection = Some(connection);
                    return Ok(outcome?);
                }
                Ok(Err(Broken::Lost(_))) if is_old => is_old = false,
                Ok(Err(broken)) => return Err(broken.into()),
            }
        }
    }

    async fn connect(&self) -> Result<Connection, LinkError> {
        let path = &self.shared.path;
        let within = self.shared.patience.connect;
        let made = tokio::time::timeout(within, async {
            let unreachable = |error| LinkError::Unreachable { path: path.clone(), error };
            let mut connection = Connection::open(path).await.map_err(unreachable)?;
            // Whatever else listens there is told apart before it is asked for anything.
            let line = Request { id: 0, ask: Ask::Hello }.line()?;
            let hello: Result<Hello, Fault> = connection.exchange(&line, 0).await?;
            let hello = hello?;
            tracing::info!(pid = hello.pid, version = hello.version, "connected to the data plane");
            Ok(connection)
        });
        made.await.unwrap_or(Err(LinkError::Timeout { what: "hello", within }))
    }
}

impl From<Broken> for LinkError {
    fn from(broken: Broken) -> LinkError {
        match broken {
            Broken::Lost(error) => LinkError::Lost(error),
            Broken::Foreign(what) => LinkError::Foreign(what),
        }
    }
}

#[cfg(test)]
mod tests;
