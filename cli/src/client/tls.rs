//! Certificates: by which the control plane's is checked, and our own.

use super::{Failure, Why};
use std::path::{Path, PathBuf};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Largest file of certificates, bytes.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// The files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Authorities; the usual public ones when there is none.
    pub(crate) ca: Option<PathBuf>,
    /// Our certificate with its chain, and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// What the files say.
///
/// # Errors
/// A file that cannot be read, or has not what it should have.
pub(super) fn config(files: &Files) -> Result<TlsConfig, Failure> {
    let mut config = TlsConfig::builder();
    if let Some(path) = &files.ca {
        let (certificates, _) = items(path)?;
        if certificates.is_empty() {
            return Err(bad(path, "holds no certificate in PEM"));
        }
        config = config.root_certs(RootCerts::new_with_certs(&certificates));
    }
    if let Some((certificate, key)) = &files.client {
        let (chain, _) = items(certificate)?;
        let (_, found) = items(key)?;
        if chain.is_empty() {
            return Err(bad(certificate, "holds no certificate in PEM"));
        }
        let found = found.ok_or_else(|| bad(key, "holds no private key in PEM"))?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&chain, found)));
    }
    Ok(config.build())
}

fn bad(path: &Path, what: &str) -> Failure {
    Failure::new(Why::Other, format!("{} {what}", path.display()))
}

fn items(path: &Path) -> Result<(Vec<Certificate<'static>>, Option<PrivateKey<'static>>), Failure> {
    let pem = super::find::read(path, PEM_BYTES_MAX)?;
    let (mut certificates, mut key) = (Vec::new(), None);
    for item in parse_pem(pem.as_bytes()) {
        match item.map_err(|error| bad(path, &format!("cannot be read: {error}")))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            PemItem::PrivateKey(private) => key = Some(private),
            _ => {}
        }
    }
    Ok((certificates, key))
}
