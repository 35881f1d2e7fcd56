//! TLS and mutual TLS by rustls: certificates made here, clients with and without one.

use crate::process::{Process, call, over};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use std::net::TcpStream;
use std::sync::Arc;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(by: &Issuer) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, by).unwrap();
    (certificate, key)
}

fn client(authority: &Issuer, own: Option<&(rcgen::Certificate, KeyPair)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

fn status(process: &Process, config: Arc<ClientConfig>) -> Option<u16> {
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let stream = StreamOwned::new(connection, TcpStream::connect(process.address).unwrap());
    over(stream, &process.token, "GET", "/v1/whoami", &[], "").map(|(status, _)| status)
}

#[test]
fn tls_shows_the_certificate_and_mutual_tls_wants_one() {
    let (ours, theirs) = (authority(), authority());
    let (certificate, key) = signed(&ours);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (file("cert.pem", certificate.pem()), file("key.pem", key.serialize_pem()));
    let tls = json!({"certificate": certificate, "key": key});
    let mut process = Process::start(folder.path(), json!({"tls": tls, "listen": "0.0.0.0:0"}));
    process.address = ([127, 0, 0, 1], process.address.port()).into();
    assert_eq!(status(&process, client(&ours, None)), Some(200));
    assert_eq!(status(&process, client(&theirs, None)), None, "a client that does not know the authority");
    assert_eq!(call(process.address, &process.token, "GET", "/v1/whoami", &[], ""), None, "no plain HTTP");
    drop(process);
    let authority_file = file("ca.pem", ours.pem());
    let tls = json!({"certificate": certificate, "key": key, "client_ca": authority_file});
    let mut process = Process::start(folder.path(), json!({"tls": tls}));
    assert_eq!(status(&process, client(&ours, None)), None, "no certificate");
    assert_eq!(status(&process, client(&ours, Some(&signed(&theirs)))), None, "somebody else's");
    assert_eq!(status(&process, client(&ours, Some(&signed(&ours)))), Some(200));
    process.token = "fp_x_y".into();
    assert_eq!(status(&process, client(&ours, Some(&signed(&ours)))), Some(401), "and a token, too");
}
