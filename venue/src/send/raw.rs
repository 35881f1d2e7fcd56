//! Raw Ethernet frames on named interfaces, past the kernel's IP stack (AF_PACKET). Needs CAP_NET_RAW.

use super::batch::{Batch, Refused};
use super::{Outlet, SendError, build_frame};
use crate::frame::{FrameHeader, multicast_mac};
use crate::script::Dispatch;
use crate::session::Line;
use socket2::{Domain, Protocol, Socket, Type};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

/// Where raw frames go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawTarget {
    /// The interface of line A and line B; `None` = the line is not sent. Both may be the same.
    pub interfaces: [Option<String>; 2],
    /// VLAN id to tag the frames with.
    pub vlan: Option<u16>,
    /// IPv4 time to live.
    pub ttl: u8,
}

/// Sends raw frames: one socket and one batch for each line.
pub struct RawOutlet {
    lines: [Option<RawLine>; 2],
    vlan: Option<u16>,
    ttl: u8,
}

struct RawLine {
    socket: Socket,
    mac: [u8; 6],
    batch: Batch,
}

impl RawOutlet {
    /// Opens the interfaces.
    ///
    /// # Errors
    /// There is no such interface, or the right to send raw frames is missing.
    pub fn new(target: &RawTarget) -> Result<RawOutlet, SendError> {
        let [a, b] = &target.interfaces;
        let open = |name: &Option<String>| name.as_deref().map(RawLine::open).transpose();
        Ok(RawOutlet { lines: [open(a)?, open(b)?], vlan: target.vlan, ttl: target.ttl })
    }
}

impl Outlet for RawOutlet {
    fn send(&mut self, dispatch: &Dispatch<'_>) -> Result<(), SendError> {
        let destination = dispatch.address.destination;
        if multicast_mac(*destination.ip()).is_none() {
            return Err(SendError::NotMulticast(*destination.ip()));
        }
        let line = self.lines[dispatch.line.index()].as_mut().ok_or(SendError::NoLine(dispatch.line))?;
        let header = FrameHeader {
            source_mac: line.mac,
            vlan: self.vlan,
            source: dispatch.address.source,
            destination,
            ttl: self.ttl,
        };
        build_frame(line.batch.next(destination), &header, dispatch);
        if line.batch.is_full() { line.flush(dispatch.line) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SendError> {
        for (line, name) in self.lines.iter_mut().zip(Line::BOTH) {
            if let Some(line) = line {
                line.flush(name)?;
            }
        }
        Ok(())
    }
}

impl RawLine {
    fn open(interface: &str) -> Result<RawLine, SendError> {
        let setup =
            |what: &'static str| move |error| SendError::Setup { what: format!("{what} {interface}"), error };
        // Protocol 0: this socket sends and never receives.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))
            .map_err(setup("make a raw socket (CAP_NET_RAW) for"))?;
        let index = interface_index(interface)?;
        bind(&socket, index).map_err(setup("bind a raw socket to"))?;
        bypass_qdisc(&socket).map_err(setup("bypass the queueing discipline of"))?;
        let mac = hardware_address(&socket, interface).map_err(setup("read the Ethernet address of"))?;
        Ok(RawLine { socket, mac, batch: Batch::new() })
    }

    fn flush(&mut self, line: Line) -> Result<(), SendError> {
        let refused = |Refused { bytes, to, error }| SendError::Refused { line, bytes, to, error };
        self.batch.send(self.socket.as_fd(), false).map_err(refused)
    }
}

fn interface_index(interface: &str) -> Result<i32, SendError> {
    let missing = || SendError::NoInterface(interface.to_owned());
    let name = CString::new(interface).map_err(|_| missing())?;
    // SAFETY: the name is a string that ends in a zero and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(missing()) } else { Ok(index as i32) }
}

fn bind(socket: &Socket, index: i32) -> std::io::Result<()> {
    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index;
    // SAFETY: the address is a live sockaddr_ll of the length given.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    check(result)
}

/// Straight to the driver: a full queue is then reported to the sender instead of dropping silently.
fn bypass_qdisc(socket: &Socket) -> std::io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, and `on` is one that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    check(result)
}

fn hardware_address(socket: &Socket, interface: &str) -> std::io::Result<[u8; 6]> {
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The name fits: the kernel knows an interface of that name.
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the request is a live ifreq, which SIOCGIFHWADDR reads and fills.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) })?;
    // SAFETY: SIOCGIFHWADDR succeeded, so the union holds a hardware address.
    let data = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    Ok(std::array::from_fn(|at| data[at] as u8))
}

fn check(result: libc::c_int) -> std::io::Result<()> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
