//! The sockets of the order entry: one listener and its connections, non-blocking, in the caller's thread.
//!
//! Owns the sockets and decides nothing: who may speak and what is said is the [`Server`]'s. Reads are limited in each
//! turn, so that one client that sends without end does not keep the others waiting.
//!
//! A connection that ends in peace is closed on our side only, and what the client still sends is read and thrown away until
//! it closes, too: to close a socket with something unread resets the connection (RFC 1122, §4.2.2.13), and a client whose
//! next write fails by that may never read the last messages that were sent to it.

use super::server::{Application, ConnectionId, Server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

/// Most that is read from a client before the others have their turn, bytes: some 1,300 orders.
const TURN_BYTES: usize = 64 << 10;
/// How long a client may take to close its side of a connection that ended in peace, ns.
const LEAVE_NS: u64 = 2_000_000_000;
/// Most connections that are so: of more, the oldest are reset.
const LEAVING_MAX: usize = 64;
/// Most connections that are taken in one turn.
const TURN_CONNECTIONS: usize = 16;

struct Client {
    id: ConnectionId,
    socket: TcpStream,
    /// The kernel said that there is something to read.
    readable: bool,
}

/// A connection that ended in peace, but for the client's side.
struct Leaving {
    socket: TcpStream,
    until_ns: u64,
}

/// The listener and the connections.
pub struct Sockets {
    listener: TcpListener,
    clients: Vec<Client>,
    leaving: VecDeque<Leaving>,
    buffer: Vec<u8>,
    acceptable: bool,
}

impl Sockets {
    /// Listens on this address; port 0 takes one that is free.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn listen(address: SocketAddrV4) -> std::io::Result<Sockets> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let (clients, leaving) = (Vec::new(), VecDeque::new());
        Ok(Sockets { listener, clients, leaving, buffer: vec![0; TURN_BYTES], acceptable: true })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits until a socket is ready, a signal comes, or the time is over.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn wait(&mut self, server: &Server, timeout: Duration) -> std::io::Result<()> {
        let mut fds = Vec::with_capacity(1 + self.clients.len() + self.leaving.len());
        fds.push(PollFd::new(&self.listener, PollFlags::IN));
        for client in &self.clients {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, server.wants_input(client.id));
            wanted.set(PollFlags::OUT, !server.output(client.id).is_empty());
            fds.push(PollFd::new(&client.socket, wanted));
        }
        fds.extend(self.leaving.iter().map(|leaving| PollFd::new(&leaving.socket, PollFlags::IN)));
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        self.acceptable = !ready[0].is_empty();
        for (client, ready) in self.clients.iter_mut().zip(&ready[1..]) {
            client.readable = ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        }
        Ok(())
    }

    /// Takes who knocks, and reads what the last wait found.
    pub fn read(&mut self, server: &mut Server, now_ns: u64, app: &mut impl Application) {
        if std::mem::take(&mut self.acceptable) {
            self.accept(server, now_ns);
        }
        for client in &mut self.clients {
            if !std::mem::take(&mut client.readable) {
                continue;
            }
            match client.socket.read(&mut self.buffer) {
                Ok(0) => server.lost(client.id, app),
                Ok(bytes) => server.receive(client.id, now_ns, &self.buffer[..bytes], app),
                Err(error) if would_wait(&error) => {}
                Err(_) => server.lost(client.id, app),
            }
        }
        let buffer = &mut self.buffer;
        self.leaving.retain_mut(|leaving| {
            let has_left = match leaving.socket.read(buffer) {
                Ok(bytes) => bytes == 0,
                Err(error) => !would_wait(&error),
            };
            !has_left && now_ns < leaving.until_ns
        });
    }

    /// Sends what the clients take, and closes those connections that are over.
    pub fn write(&mut self, server: &mut Server, now_ns: u64, app: &mut impl Application) {
        for client in &mut self.clients {
            loop {
                let output = server.output(client.id);
                if output.is_empty() {
                    break;
                }
                match client.socket.write(output) {
                    Ok(bytes) => server.sent(client.id, bytes, now_ns),
                    Err(error) if would_wait(&error) => break,
                    Err(_) => {
                        server.lost(client.id, app);
                        break;
                    }
                }
            }
        }
        let over: Vec<Client> = self.clients.extract_if(.., |client| server.is_over(client.id)).collect();
        for client in over {
            let in_peace = server.ends_in_peace(client.id);
            server.lost(client.id, app);
            let how = if in_peace { Shutdown::Write } else { Shutdown::Both };
            // Refused when the other side is gone already.
            if client.socket.shutdown(how).is_ok() && in_peace {
                self.leaving.push_back(Leaving { socket: client.socket, until_ns: now_ns + LEAVE_NS });
            }
        }
        self.leaving.drain(..self.leaving.len().saturating_sub(LEAVING_MAX));
    }

    /// Whether nobody is connected, and nobody leaving.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.leaving.is_empty()
    }

    fn accept(&mut self, server: &mut Server, now_ns: u64) {
        for _ in 0..TURN_CONNECTIONS {
            // What fails here concerns that one client, or passes.
            let Ok((socket, _)) = self.listener.accept() else { return };
            let ready = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
            if ready.is_ok()
                && let Some(id) = server.open(now_ns)
            {
                self.clients.push(Client { id, socket, readable: true });
            }
        }
    }
}

fn would_wait(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
