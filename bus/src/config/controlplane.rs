//! `controlplane.yaml`: where the control plane listens, what it keeps its versions in, and whom it lets in.
//!
//! What it does is in `docs/controlplane.md`.

use super::{HealthSection, Problem};
use crate::control::SERVICES;
use crate::names::SHARDS_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The configuration of one control plane. Paths are relative to where the process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlplaneDocument {
    /// Where API and console are. On loopback only, unless `tls` is there or `allow_plaintext` says so. Port 0 takes a
    /// free one and logs it.
    #[serde(default = "default_listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Versions, audit and tokens: a file (SQLite, made with mode 0600 when it is not there), or for a cluster
    /// `postgres://user@host:port/database` (the password by `PGPASSWORD` or `~/.pgpass`).
    #[serde(default = "default_store")]
    pub store: String,
    /// Redis: `redis://host:port/db` or `unix:///path/to/socket`.
    pub redis: String,
    /// Streams that the ticks are spread over, as in the data plane's document.
    #[serde(default = "one")]
    pub shards: u16,
    /// The data plane's control socket, as `control.socket` in its document. No data plane is spoken to when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataplane: Option<PathBuf>,
    /// TLS 1.2 and 1.3; plain HTTP when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSection>,
    /// Plain HTTP beyond loopback: whoever is on the network between reads tokens. For networks that encrypt themselves.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Takes the first token, when there is none yet (mode 0600; it must not be there). On standard error when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_file: Option<PathBuf>,
    /// What one caller may ask of it.
    #[serde(default)]
    pub limits: ControlplaneLimits,
    /// Files that become version 1 of documents that have none, by service. Fields of one process are passed over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seed: BTreeMap<String, PathBuf>,
    /// Where metrics and health are.
    pub health: HealthSection,
}

/// The certificate that the control plane shows, and whose it wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// PEM: the certificate, then those that lead to the root. Read again when it changes, once a minute.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: who signs clients' certificates. With it, a client without one is refused (and needs a token, too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// What one caller may ask. A page of the console takes about 10 requests when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ControlplaneLimits {
    /// Requests a second with one token, over time. As many as ten times this at once. 1 to 100000.
    pub requests_per_second: u32,
    /// Requests a second from one address, over time: all tokens, and those without. Ten times this at once. 1 to 100000.
    pub address_requests_per_second: u32,
    /// Requests a minute from one address with a token that is wrong, or none. 1 to 100000.
    pub wrong_tokens_per_minute: u32,
    /// Connections at once; more wait. 16 to 65536.
    pub connections: u32,
    /// Size of the store from which on nothing is configured any more, MiB: it keeps every version, and would fill the
    /// disk otherwise. Halt, reduce and resume go on. 16 to 1048576.
    pub store_mib: u32,
}

impl Default for ControlplaneLimits {
    fn default() -> Self {
        ControlplaneLimits {
            requests_per_second: 50,
            address_requests_per_second: 200,
            wrong_tokens_per_minute: 30,
            connections: 1_024,
            store_mib: 4_096,
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8400))
}
fn default_store() -> String {
    "controlplane.sqlite".into()
}
fn one() -> u16 {
    1
}

const RATES: RangeInclusive<u32> = 1..=100_000;
const CONNECTIONS: RangeInclusive<u32> = 16..=65_536;
const STORE_MIB: RangeInclusive<u32> = 16..=1_048_576;

impl ControlplaneDocument {
    /// Everything that is wrong with the document; nothing when it can be used.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem =
            |path: &str, message: String| problems.push(Problem { path: path.to_owned(), message });
        if !["redis://", "unix://", "redis+unix://"].iter().any(|scheme| self.redis.starts_with(scheme)) {
            problem("redis", format!("is {:?}; use redis://host:port/db or unix:///path", self.redis));
        }
        let postgres = ["postgres://", "postgresql://"].iter().any(|scheme| self.store.starts_with(scheme));
        if self.store.is_empty() || (!postgres && self.store.contains("://")) {
            // The value is not shown: it may hold a password.
            problem(
                "store",
                "is no place for versions; name a file, or postgres://user@host/database".into(),
            );
        }
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            problem("shards", format!("is {}; choose 1 to {SHARDS_MAX}", self.shards));
        }
        if !self.listen.ip().is_loopback() && self.tls.is_none() && !self.allow_plaintext {
            let message = format!(
                "is {}, which is not loopback; give `tls`, or say `allow_plaintext: true` where the network encrypts",
                self.listen
            );
            problem("listen", message);
        }
        let paths = [("dataplane", &self.dataplane), ("first_token_file", &self.first_token_file)];
        for (path, value) in paths {
            if value.as_ref().is_some_and(|value| value.as_os_str().is_empty()) {
                problem(path, "is empty; name a file or leave it out".into());
            }
        }
        let limits = &self.limits;
        let bounded = [
            ("limits.requests_per_second", limits.requests_per_second, RATES),
            ("limits.address_requests_per_second", limits.address_requests_per_second, RATES),
            ("limits.wrong_tokens_per_minute", limits.wrong_tokens_per_minute, RATES),
            ("limits.connections", limits.connections, CONNECTIONS),
            ("limits.store_mib", limits.store_mib, STORE_MIB),
        ];
        for (path, value, range) in bounded {
            if !range.contains(&value) {
                problem(path, format!("is {value}; choose {} to {}", range.start(), range.end()));
            }
        }
        for service in self.seed.keys().filter(|service| !SERVICES.contains(&service.as_str())) {
            let known = SERVICES.join(", ");
            problem(&format!("seed.{service}"), format!("is no document; there are {known}"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
redis: unix:///run/redis.sock
store: versions.sqlite
shards: 2
seed: {feeds: feeds.yaml}
health: {listen: '127.0.0.1:9107'}
";

    #[test]
    fn a_short_document_has_sane_defaults() {
        let document = ControlplaneDocument::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(document.listen.to_string(), "127.0.0.1:8400");
        assert_eq!(document.limits, ControlplaneLimits::default());
        assert!(document.tls.is_none() && !document.allow_plaintext && document.dataplane.is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        let cases = [
            ("redis: unix:", "redis: ftp:", "redis: is \"ftp:"),
            ("store: versions.sqlite", "store: 'mysql://a'", "store: is no place"),
            ("shards: 2", "shards: 0", "shards: is 0; choose 1 to 256"),
            ("shards: 2", "listen: '0.0.0.0:8400'", "listen: is 0.0.0.0:8400, which is not loopback"),
            ("shards: 2", "limits: {connections: 1}", "limits.connections: is 1"),
            ("shards: 2", "dataplane: ''", "dataplane: is empty"),
            ("{feeds:", "{venue:", "seed.venue: is no document"),
        ];
        for (from, to, expected) in cases {
            let text = WHOLE.replace(from, to);
            assert_ne!(text, WHOLE, "the case must change the document: {from}");
            let error = ControlplaneDocument::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should name {expected:?}");
        }
        let open = WHOLE.replace("shards: 2", "listen: '0.0.0.0:8400'\nallow_plaintext: true");
        assert!(ControlplaneDocument::parse(open.as_bytes()).is_ok());
        let tls = WHOLE.replace("shards: 2", "listen: '[::]:8400'\ntls: {certificate: a.pem, key: b.pem}");
        assert!(ControlplaneDocument::parse(tls.as_bytes()).is_ok());
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let error = ControlplaneDocument::parse(WHOLE.replace("shards", "shard").as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 4"), "{error}");
    }
}
