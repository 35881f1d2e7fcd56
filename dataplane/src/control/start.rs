//! The start with what was kept: the last versions that were accepted, or the process's own files.
//!
//! A kept version that cannot be run any more (an interface that is gone, a template file that is missing) is said and
//! left out: a process that runs can be put right over the socket, one that does not start cannot.

use super::documents::{Held, Holding, read_feeds};
use super::{Control, Kept, Server, State};
use crate::process::Dataplane;
use anyhow::Context;
use bus::config::{DataplaneDocument, FeedsDocument};
use bus::control::ManagedDocument;
use bus::link::{LinkService, WaitingDocument};
use std::path::Path;
use tracing::{error, info};

/// Starts the data plane of this file, `own`, and its socket if it is to have one. Without a `control` section: the files
/// and nothing else.
///
/// # Errors
/// What cannot be had: the socket, the state folder, or the data plane with its own files.
pub fn start(own: DataplaneDocument, directory: &Path) -> anyhow::Result<(Dataplane, Option<Control>)> {
    let Some(section) = own.control.clone() else {
        return Ok((Dataplane::start(own, directory)?, None));
    };
    let state = State::open(&directory.join(&section.state))?;
    // Before anything touches a NIC: a second process on the same socket goes no further.
    let (server, asked) = Server::start(&directory.join(&section.socket))?;
    let mut choice = Choice::read(&state, &own, directory);
    let dataplane = choice.start(&own, directory)?;
    info!(socket = %server.path().display(), "the control plane is served");
    let held = choice.held(own, state, directory);
    Ok((dataplane, Some(Control::new(server, asked, held))))
}

/// What is to be run, and what was left out.
struct Choice {
    dataplane: Option<(Kept, DataplaneDocument)>,
    feeds: Option<(Kept, FeedsDocument)>,
    refused_dataplane: Option<WaitingDocument>,
    refused_feeds: Option<WaitingDocument>,
}

impl Choice {
    fn read(state: &State, own: &DataplaneDocument, directory: &Path) -> Choice {
        let kept = |service| {
            state.read(service).unwrap_or_else(|error| {
                error!(%service, "the kept version is not used: {error}");
                None
            })
        };
        let mut choice =
            Choice { dataplane: None, feeds: None, refused_dataplane: None, refused_feeds: None };
        if let Some(kept) = kept(LinkService::Dataplane) {
            match own.with_version(kept.document.get()) {
                Ok(document) => choice.dataplane = Some((kept, document)),
                Err(error) => {
                    choice.refused_dataplane =
                        Some(refused(LinkService::Dataplane, &kept, &error.to_string()));
                }
            }
        }
        if let Some(kept) = kept(LinkService::Feeds) {
            match read_feeds(&kept.document, &own.feeds, directory) {
                Ok(feeds) => choice.feeds = Some((kept, feeds)),
                Err(fault) => {
                    choice.refused_feeds = Some(refused(LinkService::Feeds, &kept, &fault.to_string()));
                }
            }
        }
        choice
    }

    /// With all that was kept, then with less of it.
    fn start(&mut self, own: &DataplaneDocument, directory: &Path) -> anyhow::Result<Dataplane> {
        loop {
            let document = self.dataplane.as_ref().map_or(own, |(_, document)| document).clone();
            let started = match &self.feeds {
                Some((_, feeds)) => Dataplane::start_with(document, feeds.clone(), directory),
                None => Dataplane::start(document, directory),
            };
            let error = match started {
                Ok(dataplane) => return Ok(dataplane),
                Err(error) => error,
            };
            let why = format!("{error:#}");
            if let Some((kept, _)) = self.dataplane.take() {
                self.refused_dataplane = Some(refused(LinkService::Dataplane, &kept, &why));
            } else if let Some((kept, _)) = self.feeds.take() {
                self.refused_feeds = Some(refused(LinkService::Feeds, &kept, &why));
            } else if self.refused_dataplane.is_some() || self.refused_feeds.is_some() {
                return Err(error)
                    .context("with the process's own files, after what was kept had been refused");
            } else {
                return Err(error);
            }
        }
    }

    fn held(self, own: DataplaneDocument, state: State, directory: &Path) -> Held {
        let feeds = Holding::new(self.feeds.map(|(kept, _)| kept), self.refused_feeds);
        let dataplane = Holding::new(self.dataplane.map(|(kept, _)| kept), self.refused_dataplane);
        Held::new(own, directory, state, feeds, dataplane)
    }
}

fn refused(service: LinkService, kept: &Kept, why: &str) -> WaitingDocument {
    error!(%service, version = kept.version, "the kept version cannot be run and is left out: {why}");
    WaitingDocument {
        version: kept.version,
        sha256: kept.sha256,
        fields: Vec::new(),
        refused: Some(why.to_owned()),
    }
}
