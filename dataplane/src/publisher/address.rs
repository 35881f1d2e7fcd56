//! A Redis URL, taken apart by the redis crate's rules.

use super::PublisherError;
use redis::ConnectionAddr;
use std::fmt;
use std::path::PathBuf;

/// Where Redis is and who we are there.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: i64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Unix(PathBuf),
    Tcp(String, u16),
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Address, PublisherError> {
        let wrong = |reason: String| PublisherError::Url { reason };
        let info = bus::redis_address(url).map_err(|error| wrong(error.to_string()))?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err(wrong("TLS to Redis is not spoken; use a unix socket or a tunnel".to_owned())),
        };
        let settings = info.redis_settings();
        Ok(Address {
            place,
            username: settings.username().map(ToOwned::to_owned),
            password: settings.password().map(ToOwned::to_owned),
            db: settings.db(),
        })
    }
}

/// Without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "{}", path.display()),
            Place::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_url_gives_its_parts() {
        let tcp = Address::parse("redis://ann:secret@example.org:7000/3").unwrap();
        assert_eq!(tcp.place, Place::Tcp("example.org".into(), 7000));
        assert_eq!(
            (tcp.username.as_deref(), tcp.password.as_deref(), tcp.db),
            (Some("ann"), Some("secret"), 3)
        );
        assert_eq!(tcp.to_string(), "example.org:7000");
        let plain = Address::parse("redis://127.0.0.1").unwrap();
        assert_eq!(plain.place, Place::Tcp("127.0.0.1".into(), 6379));
        let unix = Address::parse("unix:///run/redis.sock?db=2&pass=secret").unwrap();
        assert_eq!(unix.place, Place::Unix("/run/redis.sock".into()));
        assert_eq!((unix.password.as_deref(), unix.db), (Some("secret"), 2));
    }

    #[test]
    fn what_is_no_redis_url_is_refused_without_repeating_a_password() {
        for url in ["", "example.org", "http://x:secret@y", "redis://x:secret@y/notanumber", "redis://"] {
            let error = Address::parse(url).err().unwrap_or_else(|| panic!("{url} was accepted"));
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!error.is_transient());
        }
    }
}
