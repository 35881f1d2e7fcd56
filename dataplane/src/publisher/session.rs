//! A connection to Redis, opened and made sure of, on its own thread so that the publisher never waits.
//!
//! Opening ends the connection that this publisher had before, on the server's side: what may still lie
//! unread in it must not be carried out after the publisher has looked at what was.

use super::address::{Address, Place};
use super::error::PublisherError;
use super::resp::{self, Reply};
use bus::Positions;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for the connection and for each answer while it is made.
const PATIENCE: Duration = Duration::from_secs(2);
/// A TCP peer that acknowledges nothing for so long is gone.
const PEER_PATIENCE: Duration = Duration::from_secs(10);
/// The answer to `HGETALL` on 65,536 channels is about 6 MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn connect(address: &Address) -> io::Result<Socket> {
        match &address.place {
            Place::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path)?)),
            Place::Tcp(host, port) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, PATIENCE) {
                        Ok(stream) => return Socket::tcp(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    fn tcp(stream: TcpStream) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        let options = socket2::SockRef::from(&stream);
        options.set_tcp_user_timeout(Some(PEER_PATIENCE))?;
        let every = Duration::from_secs(2);
        options.set_tcp_keepalive(
            &socket2::TcpKeepalive::new().with_time(every).with_interval(every).with_retries(4),
        )?;
        Ok(Socket::Tcp(stream))
    }

    fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout))
            }
            Socket::Tcp(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout))
            }
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => stream.set_nonblocking(true),
            Socket::Tcp(stream) => stream.set_nonblocking(true),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.read(buffer),
            Socket::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix(stream) => stream.as_fd(),
            Socket::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Names one connection of one server process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ClientId {
    server_run: String,
    id: i64,
}

impl ClientId {
    pub(super) fn same_server(&self, other: &ClientId) -> bool {
        self.server_run == other.server_run
    }
}

/// A connection that is ready, and what Redis holds.
pub(super) struct Session {
    /// Not blocking.
    pub(super) socket: Socket,
    pub(super) client: ClientId,
    /// Positions of each shard's channels, by shard.
    pub(super) positions: Vec<Positions>,
}

impl Session {
    /// Connects, checks that everything needed is permitted and of the right kind, ends the `previous`
    /// connection, and reads the positions.
    pub(super) fn open(
        address: &Address,
        streams: &[String],
        previous: Option<&ClientId>,
    ) -> Result<Session, PublisherError> {
        let mut asker = Asker::connect(address)?;
        asker.command("CLIENT SETNAME", &[b"CLIENT", b"SETNAME", b"feedplane-publisher"])?;
        let client = asker.client_id()?;
        // Asked even when there is nothing to end, so that a missing permission shows at the start.
        let ended = match previous {
            Some(previous) if previous.same_server(&client) => previous.id,
            _ => i64::MAX,
        };
        asker.command("CLIENT KILL", &[b"CLIENT", b"KILL", b"ID", ended.to_string().as_bytes()])?;
        let mut positions = Vec::with_capacity(streams.len());
        for stream in streams {
            asker.check_type(stream, "stream")?;
            positions.push(asker.positions(stream)?);
        }
        let unready = |source| asker_unreachable(address, source);
        asker.socket.set_timeouts(None).map_err(unready)?;
        asker.socket.set_nonblocking().map_err(unready)?;
        Ok(Session { socket: asker.socket, client, positions })
    }
}

/// Reads the positions of a stream's channels, over all its shards: for each channel the furthest.
pub(super) fn read_positions(address: &Address, streams: &[String]) -> Result<Positions, PublisherError> {
    let mut asker = Asker::connect(address)?;
    let mut furthest = Positions::new();
    for stream in streams {
        merge(&mut furthest, &asker.positions(stream)?);
    }
    Ok(furthest)
}

/// Adds the positions of a shard: for each channel the furthest counts.
pub(super) fn merge(furthest: &mut Positions, shard: &Positions) {
    for (&channel, position) in shard {
        let known = furthest.entry(channel).or_insert(*position);
        if position.is_after(known) {
            *known = *position;
        }
    }
}

fn asker_unreachable(address: &Address, source: io::Error) -> PublisherError {
    PublisherError::Unreachable { address: address.to_string(), source }
}

/// Question and answer, blocking, with a bound on both.
struct Asker<'a> {
    address: &'a Address,
    socket: Socket,
    buffer: Vec<u8>,
}

impl<'a> Asker<'a> {
    fn connect(address: &'a Address) -> Result<Asker<'a>, PublisherError> {
        let open = || {
            let socket = Socket::connect(address)?;
            socket.set_timeouts(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| asker_unreachable(address, source))?;
        let mut asker = Asker { address, socket, buffer: Vec::new() };
        if let Some(password) = &address.password {
            match &address.username {
                Some(user) => asker.command("AUTH", &[b"AUTH", user.as_bytes(), password.as_bytes()])?,
                None => asker.command("AUTH", &[b"AUTH", password.as_bytes()])?,
            }
        }
        if address.db != 0 {
            asker.command("SELECT", &[b"SELECT", address.db.to_string().as_bytes()])?;
        }
        Ok(asker)
    }

    /// Sends a command whose answer does not matter unless it is a refusal.
    fn command(&mut self, name: &'static str, arguments: &[&[u8]]) -> Result<(), PublisherError> {
        self.ask(name, arguments, |_| Some(()))
    }

    fn ask<T>(
        &mut self,
        name: &'static str,
        arguments: &[&[u8]],
        take: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, PublisherError> {
        let address = self.address;
        let unreachable = |source| asker_unreachable(address, source);
        let unexpected = |reason: String| PublisherError::Unexpected { address: address.to_string(), reason };
        let mut request = Vec::new();
        resp::command(&mut request, arguments);
        self.socket.write_all(&request).map_err(unreachable)?;
        self.buffer.clear();
        let mut piece = [0u8; 16 * 1024];
        loop {
            match resp::parse(&self.buffer).map_err(|error| unexpected(error.to_string()))? {
                Some((Reply::Error(message), _)) => {
                    let message = String::from_utf8_lossy(message).into_owned();
                    return Err(PublisherError::Refused {
                        address: address.to_string(),
                        command: name,
                        message,
                    });
                }
                Some((reply, _)) => {
                    let told = reply.to_string();
                    return take(reply).ok_or_else(|| unexpected(format!("{name} answered {told}")));
                }
                None => {}
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(unexpected(format!("the answer to {name} is too long")));
            }
            match self.socket.read(&mut piece) {
                Ok(0) => return Err(unreachable(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.buffer.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(unreachable(io::Error::new(io::ErrorKind::TimedOut, "no answer")));
                }
                Err(error) => return Err(unreachable(error)),
            }
        }
    }

    fn client_id(&mut self) -> Result<ClientId, PublisherError> {
        let id = self.ask("CLIENT ID", &[b"CLIENT", b"ID"], |reply| match reply {
            Reply::Integer(id) => Some(id),
            _ => None,
        })?;
        let server_run = self.ask("INFO", &[b"INFO", b"server"], |reply| {
            let Reply::Bulk(text) = reply else { return None };
            let text = std::str::from_utf8(text).ok()?;
            text.lines().find_map(|line| line.strip_prefix("run_id:")).map(|run| run.trim().to_owned())
        })?;
        Ok(ClientId { server_run, id })
    }

    fn check_type(&mut self, key: &str, kind: &str) -> Result<(), PublisherError> {
        let found = self.ask("TYPE", &[b"TYPE", key.as_bytes()], |reply| match reply {
            Reply::Status(found) => Some(String::from_utf8_lossy(found).into_owned()),
            _ => None,
        })?;
        if found == kind || found == "none" {
            return Ok(());
        }
        let reason = format!("key {key} holds a {found}, not a {kind}; remove it or choose another database");
        Err(PublisherError::Unexpected { address: self.address.to_string(), reason })
    }

    /// Positions that this version cannot read are as if they were not there.
    fn positions(&mut self, stream: &str) -> Result<Positions, PublisherError> {
        let key = bus::names::positions_key(stream);
        self.check_type(&key, "hash")?;
        self.ask("HGETALL", &[b"HGETALL", key.as_bytes()], |reply| {
            let Reply::Array(items) = reply else { return None };
            let text = |reply: &Reply<'_>| match reply {
                Reply::Bulk(bytes) => std::str::from_utf8(bytes).ok().map(ToOwned::to_owned),
                _ => None,
            };
            let pairs = items.chunks_exact(2).filter_map(|pair| {
                let channel = text(&pair[0])?.parse().ok()?;
                Some((channel, text(&pair[1])?.parse().ok()?))
            });
            Some(pairs.collect())
        })
    }
}
