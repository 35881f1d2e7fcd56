//! What the XDP tests share: a namespace with veth pairs, frames with whole checksums, and a raw sender.

#![allow(dead_code, reason = "each test file uses its part of it")]

use lab::network::Network;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub(crate) const GROUP_A: Ipv4Addr = Ipv4Addr::new(233, 54, 12, 1);
pub(crate) const GROUP_B: Ipv4Addr = Ipv4Addr::new(233, 54, 12, 2);
pub(crate) const PORT: u16 = 26400;
pub(crate) const SENDER: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

/// A packet to be put on a wire.
#[derive(Clone)]
pub(crate) struct Datagram {
    pub(crate) vlans: Vec<u16>,
    pub(crate) destination_mac: [u8; 6],
    pub(crate) source: Ipv4Addr,
    pub(crate) group: Ipv4Addr,
    pub(crate) source_port: u16,
    pub(crate) port: u16,
    pub(crate) payload: Vec<u8>,
}

impl Default for Datagram {
    fn default() -> Self {
        Self {
            vlans: vec![],
            destination_mac: [0x01, 0x00, 0x5e, 0x36, 0x0c, 0x01],
            source: SENDER,
            group: GROUP_A,
            source_port: 4000,
            port: PORT,
            payload: vec![],
        }
    }
}

impl Datagram {
    /// A payload that carries a number, 58 bytes long (100 bytes on the wire).
    pub(crate) fn numbered(number: u32) -> Self {
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend((4..58).map(|at: u32| (at.wrapping_mul(number | 1) >> 3) as u8));
        Self { payload, ..Self::default() }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut udp = self.source_port.to_be_bytes().to_vec();
        udp.extend(self.port.to_be_bytes());
        udp.extend((8 + self.payload.len() as u16).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(&self.payload);
        let mut pseudo = self.source.octets().to_vec();
        pseudo.extend(self.group.octets());
        pseudo.extend([0, 17]);
        pseudo.extend((udp.len() as u16).to_be_bytes());
        pseudo.extend(&udp);
        let checksum = match internet_checksum(&pseudo) {
            0 => 0xffff,
            sum => sum,
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());

        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp.len() as u16).to_be_bytes());
        ip.extend([0, 1, 0x40, 0, 16, 17, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.group.octets());
        let checksum = internet_checksum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());

        let mut frame = self.destination_mac.to_vec();
        frame.extend([2, 0, 0, 0, 0, 9]);
        for vlan in &self.vlans {
            frame.extend([0x81, 0x00]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend([0x08, 0x00]);
        frame.extend(ip);
        frame.extend(udp);
        frame
    }
}

fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Moves the test into a namespace of its own with one veth pair `a<n>`–`b<n>` for each entry, of so many
/// queues. `None`: no root, and the test was told so.
pub(crate) fn network(test: &str, queues_of_pairs: &[u32]) -> Option<Network> {
    if !lab::network::require_root(test) {
        return None;
    }
    let network = Network::new().expect("make a network");
    for (pair, queues) in queues_of_pairs.iter().enumerate() {
        network.veth_pair(&format!("a{pair}"), &format!("b{pair}"), *queues).expect("make a veth pair");
    }
    network.enter_current_thread().expect("enter the network");
    Some(network)
}

/// The index of an interface of this thread's namespace.
pub(crate) fn ifindex(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).expect("a name without a zero byte");
    // SAFETY: the name is a C string that lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "{name:?} exists");
    index
}

/// An AF_PACKET socket on an interface: sends frames as they are.
pub(crate) struct RawSocket(OwnedFd);

impl RawSocket {
    pub(crate) fn open(interface: &str) -> Self {
        const ETH_P_ALL: u16 = 3;
        // SAFETY: plain system calls; the address lives through the bind, the descriptor is owned here.
        unsafe {
            let fd = libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                i32::from(ETH_P_ALL.to_be()),
            );
            assert!(fd >= 0);
            let fd = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = ETH_P_ALL.to_be();
            address.sll_ifindex = ifindex(interface) as i32;
            let bytes = size_of::<libc::sockaddr_ll>() as u32;
            assert_eq!(libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), bytes), 0);
            let seconds = libc::timeval { tv_sec: 5, tv_usec: 0 };
            let bytes = size_of::<libc::timeval>() as u32;
            let seconds = std::ptr::from_ref(&seconds).cast();
            assert_eq!(
                libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, seconds, bytes),
                0
            );
            Self(fd)
        }
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        loop {
            // SAFETY: the kernel reads the frame, which lives through the call.
            let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
            if sent == frame.len() as isize {
                return;
            }
            let error = std::io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS), "{error}");
            std::thread::yield_now();
        }
    }

    /// The next frame, or `None` after 5 s.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0u8; 2048];
        // SAFETY: the kernel writes at most the buffer's length into it.
        let bytes = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        frame.truncate(usize::try_from(bytes).ok()?);
        Some(frame)
    }
}
