//! The way in through kernel sockets: one for each route.

use super::{Interfaces, Link, Opened};
use crate::plan::Route;
use crate::port::Port;
use crate::receiver::AnyReceiver;
use crate::socket::{FeedSocket, SocketReceiver, SocketRequest};
use crate::worker::Command;
use bus::config::ReceiveSection;

/// Packets of 100 bytes that one socket's buffer of 16 MiB holds, about: the kernel charges some 768 bytes
/// for each. Only used to know when a backlog has been worked off.
const QUEUE_PACKETS: usize = 1 << 15;

/// Opens and closes the sockets of one worker.
#[derive(Debug)]
pub struct SocketLink {
    interface_indices: [u32; 2],
    buffer_bytes: usize,
    /// What the worker polls. A change that failed half-way is put right by another one, which must not open twice.
    open: Vec<SocketRequest>,
}

impl SocketLink {
    pub(super) fn open(receive: &ReceiveSection, interfaces: &Interfaces) -> Opened {
        let link = SocketLink {
            interface_indices: interfaces.indices,
            buffer_bytes: receive.socket_buffer_bytes as usize,
            open: Vec::new(),
        };
        Opened {
            link: Link::Socket(link),
            receiver: AnyReceiver::Socket(SocketReceiver::new()),
            queue_packets: QUEUE_PACKETS,
            fallback: None,
        }
    }

    pub(super) fn change(
        &mut self,
        opened: &[Route],
        closed: &[Route],
        port: &mut Port,
    ) -> anyhow::Result<()> {
        for route in opened {
            let request = self.request(route);
            if !self.open.contains(&request) {
                let socket = FeedSocket::open(request)?;
                port.send(Command::AddSocket(Box::new(socket)))?;
                self.open.push(request);
            }
        }
        for route in closed {
            let request = self.request(route);
            self.open.retain(|open| *open != request);
            port.send(Command::RemoveSocket(request))?;
        }
        Ok(())
    }

    fn request(&self, route: &Route) -> SocketRequest {
        SocketRequest {
            slot: route.slot,
            line: route.line,
            group: route.group,
            port: route.port,
            source: route.source,
            interface_index: self.interface_indices[route.line.index()],
            buffer_bytes: self.buffer_bytes,
        }
    }
}
