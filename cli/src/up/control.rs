//! The control plane of a run: its document, and how the other commands find it (`<run folder>/controlplane/client.yaml`).
//!
//! The documents of the other services are its seeds: they become the first versions. What must not be in a version, a
//! password, is put into a file of its own.

use super::documents::{Kind, Plan, Planned, free_ports};
use anyhow::{Context, Result};
use bus::config::{
    ControlplaneDocument, ControlplaneUp, DataplaneDocument, FeedsDocument, UP_CONTROLPLANE_PORT,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// In the run folder: where the control plane's own things are.
const FOLDER: &str = "controlplane";
/// In there: how the control plane is reached.
const CLIENT: &str = "client.yaml";
/// Largest such file, bytes.
const CLIENT_BYTES_MAX: u64 = 16 << 10;

/// How the control plane of a run is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Local {
    /// `http://127.0.0.1:8400`.
    #[serde(rename = "api")]
    pub(crate) base: String,
    /// The file that the first token was written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Local {
    /// That of the run in this folder; nothing when it has none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(crate) fn of_run(folder: &Path) -> Result<Option<Local>> {
        let path = folder.join(FOLDER).join(CLIENT);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut text = String::new();
        let named = || format!("{} cannot be used", path.display());
        file.take(CLIENT_BYTES_MAX).read_to_string(&mut text).with_context(named)?;
        serde_saphyr::from_str(&text).map(Some).with_context(named)
    }

    /// That of a document; nothing when only its log will say on which port it listens.
    pub(super) fn of_document(document: &ControlplaneDocument) -> Option<Local> {
        let mut listen = document.listen;
        if listen.port() == 0 {
            return None;
        }
        if listen.ip().is_unspecified() {
            // On all addresses, so on this one.
            listen = SocketAddr::from(([127, 0, 0, 1], listen.port()));
        }
        let scheme = if document.tls.is_some() { "https" } else { "http" };
        Some(Local { base: format!("{scheme}://{listen}"), token_file: document.first_token_file.clone() })
    }
}

/// What belongs to the control plane of a plan.
pub(super) struct Control {
    folder: PathBuf,
    /// Where it listens, when its document is written here.
    port: u16,
}

impl Control {
    /// # Errors
    /// No free port.
    pub(super) fn new(section: &ControlplaneUp, run: &Path) -> Result<Control> {
        let port = match section.port {
            None => UP_CONTROLPLANE_PORT,
            Some(0) => free_ports(1)?[0],
            Some(port) => port,
        };
        Ok(Control { folder: run.join(FOLDER), port })
    }

    /// Where the data plane is spoken to.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("dataplane.sock")
    }

    /// Where a session's password is.
    fn password_file(&self, venue: &str) -> PathBuf {
        self.folder.join("passwords").join(format!("{venue}.password"))
    }

    /// Names the files of passwords instead of the passwords, which a version of a document must not hold.
    pub(super) fn hide_passwords(&self, sessions: &mut Value) {
        for session in sessions.as_array_mut().into_iter().flatten() {
            let venue = session["venue"].as_str().unwrap_or_default().to_owned();
            let Some(ouch) = session["ouch"].as_object_mut() else { continue };
            if ouch.remove("password").is_some_and(|password| password.is_string()) {
                ouch.insert("password_file".into(), json!(self.password_file(&venue)));
            }
        }
    }

    /// What is in its document beyond what every document has, made for these services.
    pub(super) fn document(&self, services: &[Planned]) -> Value {
        let mut seed = serde_json::Map::new();
        for Planned { kind, document, .. } in services {
            seed.insert(kind.name().to_owned(), json!(document));
            if *kind == Kind::Dataplane {
                seed.insert("feeds".to_owned(), json!(self.folder.join("feeds.yaml")));
            }
        }
        let mut document = json!({
            "listen": SocketAddr::from(([127, 0, 0, 1], self.port)),
            "store": self.folder.join("versions.sqlite"),
            "first_token_file": self.folder.join("first-token"),
            "seed": seed,
        });
        if let Some(Planned { document: dataplane, written, .. }) =
            services.iter().find(|planned| planned.kind == Kind::Dataplane)
        {
            let theirs = || DataplaneDocument::load(dataplane).ok()?.control.map(|control| control.socket);
            let socket = if written.is_some() { Some(self.socket()) } else { theirs() };
            document["dataplane"] = json!(socket);
        }
        document
    }

    /// Writes what stands beside the documents of a plan: passwords, the feeds with whole paths, and how the control plane
    /// is found. Without a control plane, takes away what an earlier run has said of one.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn write(plan: &Plan, passwords: &[(String, String)]) -> Result<()> {
        let folder = plan.folder.join(FOLDER);
        let client = folder.join(CLIENT);
        let Some(control) = &plan.control else {
            return match std::fs::remove_file(&client) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {}", client.display()))
                }
                _ => Ok(()),
            };
        };
        let cannot = |path: &Path| format!("cannot write {}", path.display());
        std::fs::create_dir_all(folder.join("passwords")).with_context(|| cannot(&folder))?;
        // The store, the token and the passwords are for whoever runs this.
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).with_context(|| cannot(&folder))?;
        for (venue, password) in passwords {
            let path = control.password_file(venue);
            write_secret(&path, password).with_context(|| cannot(&path))?;
        }
        let dataplane = plan.services.iter().find(|planned| planned.kind == Kind::Dataplane);
        if let Some(feeds) = dataplane.and_then(feeds_of) {
            // A version is read elsewhere than beside the file, so its paths are whole ones.
            let path = folder.join("feeds.yaml");
            std::fs::write(&path, serde_saphyr::to_string(&feeds)?).with_context(|| cannot(&path))?;
        }
        match plan.console() {
            Some(local) => {
                std::fs::write(&client, serde_saphyr::to_string(&local)?).with_context(|| cannot(&client))
            }
            None => Ok(()),
        }
    }
}

/// The data plane's feeds, with whole paths; nothing when they cannot be read, which the check of the document says.
fn feeds_of(planned: &Planned) -> Option<FeedsDocument> {
    let dataplane = match &planned.written {
        Some(text) => DataplaneDocument::parse(text.as_bytes()).ok()?,
        None => DataplaneDocument::load(&planned.document).ok()?,
    };
    let beside = planned.document.parent().unwrap_or(Path::new(""));
    FeedsDocument::load(&beside.join(&dataplane.feeds)).ok()
}

fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One that was there keeps its mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{secret}")
}

/// The passwords that stand in a section of sessions, by venue.
pub(super) fn passwords_of(sessions: &[bus::config::GatewaySession]) -> Vec<(String, String)> {
    let password = |session: &bus::config::GatewaySession| {
        let password = session.ouch.as_ref()?.password.clone()?;
        Some((session.venue.clone(), password))
    };
    sessions.iter().filter_map(password).collect()
}
