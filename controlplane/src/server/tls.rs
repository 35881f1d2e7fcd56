//! TLS 1.2 and 1.3 by rustls (with ring), and clients' certificates where the document names who signs them.

use bus::config::TlsSection;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {}: {source}; give a PEM file", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// They do not fit together.
    #[error("certificate, key and client_ca of `tls` cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// The signers of clients' certificates cannot be used.
    #[error("client_ca of `tls` cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Certificate and key, as the files are now.
pub(super) struct Tls {
    section: TlsSection,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(super) fn load(section: &TlsSection) -> Result<Tls, TlsError> {
        Ok(Tls { section: section.clone(), config: RwLock::new(Arc::new(config(section)?)) })
    }

    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Takes a new certificate when the files have changed; keeps the old one when the new one cannot be used.
    pub(super) async fn follow_files(self: Arc<Self>) {
        let mut seen = self.changed_at();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            match config(&self.section) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    tracing::info!("another certificate is shown from now on");
                    seen = now;
                }
                Err(error) => tracing::warn!(%error, "the new certificate is not taken; the old one goes on"),
            }
        }
    }

    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let TlsSection { certificate, key, client_ca } = &self.section;
        let files = [Some(certificate), Some(key), client_ca.as_ref()];
        files.into_iter().flatten().map(|path| path.metadata().and_then(|it| it.modified()).ok()).collect()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = |source| TlsError::File { path: path.to_owned(), source };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(refused)?.collect();
    match read.map_err(refused)? {
        none if none.is_empty() => Err(refused(pem::Error::NoItemsFound)),
        certificates => Ok(certificates),
    }
}

fn config(section: &TlsSection) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&section.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&section.key)
        .map_err(|source| TlsError::File { path: section.key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &section.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
