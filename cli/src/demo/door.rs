//! The way from this machine's loopback to the console, which is in the demo's own network.
//!
//! A connection is taken here and made anew inside; what comes goes on, both ways, until either side ends. The port is the
//! same on both sides, so that a browser's `Host` is the one that the control plane expects.

use anyhow::{Context, Result};
use lab::network::Network;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

/// Connections at a time: a browser has six.
const CONNECTIONS_MAX: usize = 64;
/// The port that is tried first: the control plane's own.
const PORT: u16 = bus::config::UP_CONTROLPLANE_PORT;

/// A port of loopback that is held until the control plane is there.
pub(super) struct Port(TcpListener);

impl Port {
    /// The control plane's own port, or any that is free.
    pub(super) fn hold() -> Result<Port> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("a port for the console")?;
        Ok(Port(listener))
    }

    pub(super) fn number(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// Lets connections through into a network, as long as this process lives.
    pub(super) fn open_into(self, network: Network) -> Result<()> {
        let to = self.0.local_addr()?;
        let open = Arc::new(AtomicUsize::new(0));
        let take = move || {
            for outside in self.0.incoming().map_while(Result::ok) {
                if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
                    // Closed at once: who comes tries again.
                    continue;
                }
                open.fetch_add(1, Ordering::Relaxed);
                let (network, open) = (network.clone(), Arc::clone(&open));
                let pass = move || {
                    // A control plane that is not there any more closes the connection, too.
                    let _ = network
                        .run(|| TcpStream::connect(to))
                        .and_then(|inside| pass_both(&outside, &inside));
                    open.fetch_sub(1, Ordering::Relaxed);
                };
                // Without a thread the connection is closed.
                let _ = Builder::new().name("console".into()).spawn(pass);
            }
        };
        Builder::new().name("console door".into()).spawn(take).context("a thread for the console")?;
        Ok(())
    }
}

fn pass_both(outside: &TcpStream, inside: &TcpStream) -> std::io::Result<()> {
    std::thread::scope(|scope| {
        let back = scope.spawn(|| pass(inside, outside));
        let there = pass(outside, inside);
        let back = back.join().unwrap_or_else(|_| Err(ErrorKind::Other.into()));
        there.and(back)
    })
}

/// Passes on what comes, piece by piece, and its end.
fn pass(mut from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    let passed = loop {
        match from.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(length) => {
                if let Err(error) = to.write_all(&piece[..length]) {
                    break Err(error);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Write);
    if passed.is_err() {
        let _ = from.shutdown(Shutdown::Both);
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::network::require_root;

    #[test]
    fn what_comes_to_the_door_is_answered_from_inside() {
        if !require_root("what_comes_to_the_door_is_answered_from_inside") {
            return;
        }
        let port = Port::hold().unwrap();
        let number = port.number().unwrap();
        let network = Network::new().unwrap();
        let inside = network.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, number))).unwrap();
        port.open_into(network).unwrap();
        let echo = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = inside.accept().unwrap();
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).unwrap();
                stream.write_all(&heard).unwrap();
            }
        });
        for word in [vec![b'x'; 1 << 20], b"short".to_vec()] {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, number)).unwrap();
            stream.write_all(&word).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer == word);
        }
        echo.join().unwrap();
    }
}
