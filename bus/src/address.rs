//! A Redis address whose password is kept elsewhere.
//!
//! Documents have versions, are shown and are copied about; a password does not belong into one. So an address that
//! names a user and no password takes it from the environment, as `redis-cli` does and as PostgreSQL's clients take
//! `PGPASSWORD`.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};
use std::net::{SocketAddr, UdpSocket};

/// The variable that holds the password of the user whom an address names. It is `redis-cli`'s own.
pub const REDIS_PASSWORD_VARIABLE: &str = "REDISCLI_AUTH";

/// What a Redis address (`redis://user@host:port/db`, `unix:///path`) says, with the password from
/// [`REDIS_PASSWORD_VARIABLE`] when it names a user and has none. Without a user the variable is not looked at.
///
/// # Errors
/// When the address cannot be understood.
pub fn redis_address(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    Ok(with_password(info, || std::env::var(REDIS_PASSWORD_VARIABLE).ok()))
}

fn with_password(info: ConnectionInfo, kept: impl FnOnce() -> Option<String>) -> ConnectionInfo {
    let settings = info.redis_settings();
    if settings.username().is_none() || settings.password().is_some() {
        return info;
    }
    match kept().filter(|password| !password.is_empty()) {
        Some(password) => {
            let settings = settings.clone().set_password(password);
            info.set_redis_settings(settings)
        }
        None => info,
    }
}

/// Where others find a process that listens on every address: on the one by which it reaches Redis. The same as it is given
/// when it listens on one, when Redis is on this machine (a unix socket), or cannot be found now. Nothing is sent.
pub(crate) fn found_at(listen: SocketAddr, redis: &str) -> SocketAddr {
    let info = redis.into_connection_info();
    let Some(ConnectionAddr::Tcp(host, port)) = info.as_ref().ok().map(ConnectionInfo::addr) else {
        return listen;
    };
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let own = UdpSocket::bind((listen.ip(), 0)).and_then(|socket| {
        socket.connect((host.as_str(), *port))?;
        socket.local_addr()
    });
    own.map_or(listen, |own| SocketAddr::new(own.ip(), listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_kept_elsewhere_is_that_of_the_user_whom_the_address_names() {
        let cases = [
            ("redis://ann@example.org", Some("kept"), Some("kept")),
            ("redis://ann:own@example.org", Some("kept"), Some("own")),
            ("redis://:own@example.org", Some("kept"), Some("own")),
            ("redis+unix:///run/redis.sock?user=ann", Some("kept"), Some("kept")),
            ("redis://ann@example.org", None, None),
            ("redis://ann@example.org", Some(""), None),
            // Whoever names no user speaks to a Redis without passwords, whatever the environment says.
            ("redis://example.org", Some("kept"), None),
            ("unix:///run/redis.sock", Some("kept"), None),
        ];
        for (url, kept, expected) in cases {
            let info = with_password(url.into_connection_info().unwrap(), || kept.map(ToOwned::to_owned));
            assert_eq!(info.redis_settings().password(), expected, "{url} with {kept:?}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_found_where_it_reaches_redis_from() {
        let cases = [
            ("0.0.0.0:9102", "redis://features@127.0.0.1:6379", "127.0.0.1:9102"),
            ("0.0.0.0:9102", "unix:///run/redis.sock", "0.0.0.0:9102"),
            ("0.0.0.0:9102", "redis://nobody.invalid", "0.0.0.0:9102"),
            ("0.0.0.0:9102", "no address", "0.0.0.0:9102"),
            ("10.1.2.3:9102", "redis://127.0.0.1", "10.1.2.3:9102"),
        ];
        for (listen, redis, expected) in cases {
            assert_eq!(found_at(listen.parse().unwrap(), redis).to_string(), expected, "{listen}, {redis}");
        }
    }
}
