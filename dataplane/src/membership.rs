//! Multicast membership. An AF_XDP socket cannot join a group, so a kernel socket does, which is never read:
//! it is bound to no port, so no packet is queued on it. The kernel speaks IGMP for it.
//!
//! A [`Membership`] has a socket of its own. Memberships do not meet in the kernel's limit for each socket
//! (`net.ipv4.igmp_max_memberships`), and each one is left by closing its socket, a crash included.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

/// A group was not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The address is no multicast group.
    #[error("{0} is no multicast group (224.0.0.0 to 239.255.255.255)")]
    NotMulticast(Ipv4Addr),
    /// The system's limit on memberships of a socket is 0.
    #[error(
        "{group} cannot be joined: the system allows no more memberships; raise them with \
         `sysctl net.ipv4.igmp_max_memberships=20` or more (and igmp_max_msf for sources)"
    )]
    Limit {
        /// The group.
        group: Ipv4Addr,
    },
    /// The process has no descriptors left.
    #[error("{group} cannot be joined: this process may open no more files; raise the limit (`ulimit -n`)")]
    Descriptors {
        /// The group.
        group: Ipv4Addr,
    },
    /// There is no such interface, or it has no multicast.
    #[error(
        "{group} cannot be joined on interface {ifindex}: there is no such interface, or it is no multicast one"
    )]
    NoInterface {
        /// The group.
        group: Ipv4Addr,
        /// The interface.
        ifindex: u32,
    },
    /// The kernel refused for another reason.
    #[error("{group} cannot be joined on interface {ifindex}: {error}")]
    System {
        /// The group.
        group: Ipv4Addr,
        /// The interface.
        ifindex: u32,
        /// The kernel's reason.
        error: io::Error,
    },
}

/// A group that is joined on an interface, until this is dropped.
#[derive(Debug)]
pub struct Membership {
    /// Closing it leaves the group.
    _socket: Socket,
    group: Ipv4Addr,
    ifindex: u32,
    source: Option<Ipv4Addr>,
}

impl Membership {
    /// Joins `group` on an interface of the calling thread's network namespace: from any sender, or from
    /// `source` alone (IGMPv3, RFC 3376).
    ///
    /// # Errors
    /// Why not, with what to do.
    pub fn join(group: Ipv4Addr, ifindex: u32, source: Option<Ipv4Addr>) -> Result<Self, JoinError> {
        if !group.is_multicast() {
            return Err(JoinError::NotMulticast(group));
        }
        let explain = |error| explain(group, ifindex, error);
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(explain)?;
        match source {
            None => {
                let interface = socket2::InterfaceIndexOrAddress::Index(ifindex);
                socket.join_multicast_v4_n(&group, &interface)
            }
            Some(source) => join_source(&socket, group, ifindex, source),
        }
        .map_err(explain)?;
        Ok(Self { _socket: socket, group, ifindex, source })
    }

    /// The group.
    pub fn group(&self) -> Ipv4Addr {
        self.group
    }

    /// The interface.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The one sender, if it was asked for.
    pub fn source(&self) -> Option<Ipv4Addr> {
        self.source
    }
}

/// `MCAST_JOIN_SOURCE_GROUP`: unlike `IP_ADD_SOURCE_MEMBERSHIP`, which socket2 has, it names the interface
/// by index, and so works on one without an address.
pub(crate) fn join_source(
    socket: &Socket,
    group: Ipv4Addr,
    ifindex: u32,
    source: Ipv4Addr,
) -> io::Result<()> {
    let request = libc::group_source_req {
        gsr_interface: ifindex,
        gsr_group: storage(group),
        gsr_source: storage(source),
    };
    // SAFETY: the kernel reads one request, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::MCAST_JOIN_SOURCE_GROUP,
            std::ptr::from_ref(&request).cast(),
            size_of::<libc::group_source_req>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn storage(address: Ipv4Addr) -> libc::sockaddr_storage {
    let address = socket2::SockAddr::from(std::net::SocketAddrV4::new(address, 0));
    // SAFETY: socket2 keeps the address in a whole sockaddr_storage, zero past the address.
    unsafe { std::ptr::read_unaligned(address.as_ptr().cast()) }
}

fn explain(group: Ipv4Addr, ifindex: u32, error: io::Error) -> JoinError {
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => JoinError::Limit { group },
        Some(libc::EMFILE | libc::ENFILE) => JoinError::Descriptors { group },
        Some(libc::ENODEV) => JoinError::NoInterface { group, ifindex },
        _ => JoinError::System { group, ifindex, error },
    }
}
