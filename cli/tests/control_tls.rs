//! The command over TLS: it checks the control plane's certificate, and shows its own where one is asked for.
#![allow(clippy::unwrap_used)]

mod control_support;

use control_support::{Plane, said};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, PEM.
fn signed(by: &Issuer) -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, by).unwrap();
    [certificate.pem(), key.serialize_pem()]
}

#[test]
fn the_certificate_is_checked_and_ours_is_shown() {
    let (ours, theirs) = (authority(), authority());
    let tls = |folder: &std::path::Path| {
        let file = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        let [certificate, key] = signed(&ours);
        file("server.pem", &certificate);
        file("server.key", &key);
        let [certificate, key] = signed(&ours);
        file("client.pem", &certificate);
        file("client.key", &key);
        let [certificate, key] = signed(&theirs);
        file("other.pem", &certificate);
        file("other.key", &key);
        file("ca.pem", &ours.pem());
        file("other-ca.pem", &theirs.pem());
        let at = |name: &str| folder.join(name).display().to_string();
        format!(
            "tls: {{certificate: {}, key: {}, client_ca: {}}}\n",
            at("server.pem"),
            at("server.key"),
            at("ca.pem")
        )
    };
    let Some(plane) = Plane::start_with("the_certificate_is_checked_and_ours_is_shown", tls) else { return };
    let with = |ca: &str, client: Option<&str>| {
        let mut command = plane.command(&["whoami", "-o", "json", "--ca", ca]);
        if let Some(client) = client {
            command.arg("--client-certificate").arg(format!("{client}.pem"));
            command.env("FEEDPLANE_CLIENT_KEY", plane.path(&format!("{client}.key")));
        } else {
            command.env_remove("FEEDPLANE_CLIENT_CERTIFICATE").env_remove("FEEDPLANE_CLIENT_KEY");
        }
        said(command.output().unwrap())
    };
    assert_eq!(with("ca.pem", Some("client")).json()["role"], "risk");
    with("other-ca.pem", Some("client")).failed(6);
    for client in [None, Some("other")] {
        let refused = with("ca.pem", client);
        assert!(matches!(refused.code, Some(1 | 6)) && refused.out.is_empty(), "{refused:?}");
    }
}
