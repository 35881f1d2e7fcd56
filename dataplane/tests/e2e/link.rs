//! The control plane's side of the socket, as the tests need it: one request after the other, no patience but the test's.

use crate::rig::Rig;
use bus::Sha256Sum;
use bus::config::FeedsDocument;
use bus::link::{Answer, Ask, Documents, Fault, LinkService, Nic, Request, SetDocument, Taken};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a data plane's document says to have a socket.
pub(crate) const SECTION: &str = "control: {socket: control.sock, state: state}\n";

pub(crate) struct Link {
    stream: BufReader<UnixStream>,
    last_id: u64,
}

impl Link {
    pub(crate) fn of(rig: &Rig) -> Link {
        Link::at(&rig.path("control.sock"))
    }

    pub(crate) fn at(path: &Path) -> Link {
        Link { stream: BufReader::new(UnixStream::connect(path).unwrap()), last_id: 0 }
    }

    /// `None`: the process is gone.
    pub(crate) fn try_ask<T: DeserializeOwned>(&mut self, ask: Ask) -> Option<Result<T, Fault>> {
        self.last_id += 1;
        let line = Request { id: self.last_id, ask }.line().unwrap();
        self.stream.get_mut().write_all(&line).ok()?;
        let mut answer = Vec::new();
        let read = self.stream.read_until(b'\n', &mut answer);
        if read.is_err() || answer.last() != Some(&b'\n') {
            return None;
        }
        let answer = Answer::<T>::parse(&answer).unwrap();
        assert_eq!(answer.id, self.last_id);
        Some(answer.outcome())
    }

    pub(crate) fn ask<T: DeserializeOwned>(&mut self, ask: Ask) -> Result<T, Fault> {
        self.try_ask(ask).expect("the data plane answers")
    }

    pub(crate) fn status(&mut self) -> Value {
        self.ask(Ask::Status).unwrap()
    }

    pub(crate) fn nic(&mut self, interface: &str) -> Nic {
        let nics: Vec<Nic> = self.ask(Ask::Nics).unwrap();
        nics.into_iter().find(|nic| nic.interface == interface).unwrap()
    }

    pub(crate) fn documents(&mut self) -> Documents {
        self.ask(Ask::GetDocuments).unwrap()
    }

    pub(crate) fn set_feeds(&mut self, version: u64, feeds: &FeedsDocument) -> Result<Taken, Fault> {
        self.ask(set(LinkService::Feeds, version, &serde_json::to_string(feeds).unwrap(), false))
    }

    /// Asks until the status satisfies `done`; how long that took.
    pub(crate) fn wait(&mut self, what: &str, done: impl Fn(&Value) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let status = self.status();
            if done(&status) {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "waited for {what}: {status:#}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

pub(crate) fn set(service: LinkService, version: u64, document: &str, dry_run: bool) -> Ask {
    Ask::SetDocument(SetDocument {
        service,
        version,
        sha256: Sha256Sum::of(document.as_bytes()),
        document: RawValue::from_string(document.to_owned()).unwrap(),
        dry_run,
    })
}
