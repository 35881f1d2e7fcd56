//! UDP sockets: needs no rights. Multicast stays within reach of one interface and at most one hop.

use super::batch::{Batch, Refused};
use super::{Outlet, SendError, sent_payload};
use crate::impair::Withheld;
use crate::script::Dispatch;
use crate::session::Line;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;

/// Kernel buffer for packets on their way out, bytes: a burst of some thousand.
const SEND_BUFFER_BYTES: usize = 4 << 20;

/// Sends by UDP sockets: one for each line, so each line has its own source port.
pub struct UdpOutlet {
    lines: [(Socket, Batch); 2],
}

impl UdpOutlet {
    /// Opens a socket for each line on the interfaces that have these addresses (`127.0.0.1` = loopback).
    /// Multicast leaves by that interface with this time to live, 0 (this machine) or 1 (this network).
    ///
    /// # Errors
    /// There is no such address.
    pub fn new(interfaces: [Ipv4Addr; 2], ttl: u8) -> Result<UdpOutlet, SendError> {
        let [a, b] = interfaces;
        Ok(UdpOutlet { lines: [(open(a, ttl)?, Batch::new()), (open(b, ttl)?, Batch::new())] })
    }
}

impl Outlet for UdpOutlet {
    fn send(&mut self, dispatch: &Dispatch<'_>) -> Result<(), SendError> {
        if let Some((Withheld::Corrupt, _)) = dispatch.damage {
            return Err(SendError::CannotCorrupt);
        }
        let (socket, batch) = &mut self.lines[dispatch.line.index()];
        let packet = batch.next(dispatch.address.destination);
        packet.clear();
        packet.extend_from_slice(sent_payload(dispatch));
        if batch.is_full() { flush(socket, batch, dispatch.line) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SendError> {
        for ((socket, batch), line) in self.lines.iter_mut().zip(Line::BOTH) {
            flush(socket, batch, line)?;
        }
        Ok(())
    }
}

fn open(interface: Ipv4Addr, ttl: u8) -> Result<Socket, SendError> {
    let open = || -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&SockAddr::from(SocketAddrV4::new(interface, 0)))?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_multicast_if_v4(&interface)?;
        socket.set_multicast_ttl_v4(u32::from(ttl.min(1)))?;
        socket.set_multicast_loop_v4(true)?;
        Ok(socket)
    };
    open().map_err(|error| SendError::Setup { what: format!("send by UDP from {interface}"), error })
}

fn flush(socket: &Socket, batch: &mut Batch, line: Line) -> Result<(), SendError> {
    let refused = |Refused { bytes, to, error }| SendError::Refused { line, bytes, to, error };
    batch.send(socket.as_fd(), true).map_err(refused)
}
