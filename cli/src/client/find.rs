//! Which control plane, and by which token: what is said, else what the environment says, else that of `feedplane up` in
//! this folder.

use super::tls::Files;
use super::{Failure, Why};
use crate::up::control::Local;
use bus::config::UpDocument;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file of a token, bytes.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

/// Which control plane.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct Api {
    /// Its address: https://host:port, or http://host:port. Left out: $FEEDPLANE_API, else that of `feedplane up` in this
    /// folder, as its up.yaml says or in run/.
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// A file that holds the token. Left out: $FEEDPLANE_TOKEN, the file that $FEEDPLANE_TOKEN_FILE names, else the first
    /// token of `feedplane up` in this folder.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authorities by which its certificate is checked, PEM. Left out: $FEEDPLANE_CA, else the usual public ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Our certificate, PEM, where it asks for one. Left out: $FEEDPLANE_CLIENT_CERTIFICATE.
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Its key, PEM. Left out: $FEEDPLANE_CLIENT_KEY.
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// `https://host:port`, without a slash at its end.
    pub(crate) base: String,
    pub(crate) token: Option<String>,
    pub(crate) tls: Files,
}

impl Api {
    /// The control plane that is meant.
    ///
    /// # Errors
    /// None is, or a file that cannot be read.
    pub(crate) fn find(&self) -> Result<Found, Failure> {
        self.configured()?.ok_or_else(|| {
            let text = "no control plane is named: say --api or $FEEDPLANE_API, or go to the folder of a `feedplane up` \
                        that has one (`controlplane: {}`)";
            Failure::other(text.into())
        })
    }

    /// The control plane that is meant, or nothing where none is configured.
    ///
    /// # Errors
    /// A file that cannot be read, or an address that is none.
    pub(crate) fn configured(&self) -> Result<Option<Found>, Failure> {
        let given = self.api.clone().or_else(|| variable("FEEDPLANE_API"));
        let (base, ours) = match given {
            Some(given) => {
                let base = given.trim_end_matches('/').to_owned();
                let ours = local().ok().flatten().filter(|local| local.base == base);
                (base, ours)
            }
            None => match local()? {
                Some(local) => (local.base.clone(), Some(local)),
                None => return Ok(None),
            },
        };
        if !(base.starts_with("http://") || base.starts_with("https://")) {
            let text = format!(
                "{base:?} is no address of a control plane; use https://host:port or http://host:port"
            );
            return Err(Failure::other(text));
        }
        let path =
            |given: &Option<PathBuf>, name| given.clone().or_else(|| variable(name).map(PathBuf::from));
        let certificate = path(&self.client_certificate, "FEEDPLANE_CLIENT_CERTIFICATE");
        let key = path(&self.client_key, "FEEDPLANE_CLIENT_KEY");
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(Failure::other(
                    "a client certificate and its key belong together; name both".into(),
                ));
            }
        };
        let token = self.token(ours.as_ref())?;
        if token.is_some() && !(base.starts_with("https://") || is_loopback(&base)) {
            eprintln!("feedplane: {base} is not encrypted: who listens on the way has the token");
        }
        Ok(Some(Found { base, token, tls: Files { ca: path(&self.ca, "FEEDPLANE_CA"), client } }))
    }

    fn token(&self, ours: Option<&Local>) -> Result<Option<String>, Failure> {
        if let Some(path) = &self.token_file {
            return token_of(path).map(Some);
        }
        if let Some(token) = variable("FEEDPLANE_TOKEN") {
            return checked(token.trim(), "$FEEDPLANE_TOKEN").map(Some);
        }
        if let Some(path) = variable("FEEDPLANE_TOKEN_FILE") {
            return token_of(Path::new(&path)).map(Some);
        }
        // Somebody else's run: its file is not for us, and the answer will say that there is no token.
        Ok(ours.and_then(|ours| ours.token_file.as_deref()).and_then(|path| token_of(path).ok()))
    }
}

/// The control plane of `feedplane up` in this folder.
fn local() -> Result<Option<Local>, Failure> {
    let document = Path::new(UP_DOCUMENT);
    let folder = match document.exists() {
        // One that cannot be read names no control plane; who needs it says so himself.
        true => match UpDocument::load(document) {
            Ok(up) => up.folder,
            Err(_) => return Ok(None),
        },
        false => PathBuf::from(RUN_FOLDER),
    };
    Local::of_run(&folder).map_err(|error| Failure::other(format!("{error:#}; say --api")))
}

/// The document of `feedplane up`, and its run folder when that is not named.
pub(crate) const UP_DOCUMENT: &str = "up.yaml";
pub(crate) const RUN_FOLDER: &str = "run";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_loopback(base: &str) -> bool {
    let authority = base.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A file's text, as far as it may go.
pub(super) fn read(path: &Path, most: u64) -> Result<String, Failure> {
    let cannot = |error| Failure::new(Why::Other, format!("cannot read {}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(most + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > most {
        return Err(Failure::other(format!("{} is larger than {most} bytes", path.display())));
    }
    Ok(text)
}

fn token_of(path: &Path) -> Result<String, Failure> {
    checked(read(path, TOKEN_BYTES_MAX)?.trim(), &path.display().to_string())
}

/// A token is one word. What it is, is not said.
fn checked(token: &str, place: &str) -> Result<String, Failure> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::other(format!("{place} holds no token: it is one word, as fp_<id>_<secret>")));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_its_spellings() {
        for base in ["http://127.0.0.1:8400", "http://localhost", "http://[::1]:1", "http://127.8.0.1:8400/x"]
        {
            assert!(is_loopback(base), "{base}");
        }
        for base in ["http://10.0.0.1:8400", "http://localhost.evil:1", "http://127.0.0.1.evil:1", "http://"]
        {
            assert!(!is_loopback(base), "{base}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(checked("fp_a_b", "x").ok().as_deref(), Some("fp_a_b"));
        for bad in ["", "two words", "line\nline", "ü"] {
            assert!(checked(bad, "x").is_err(), "{bad:?}");
        }
    }
}
