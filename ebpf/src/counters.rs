//! What became of every packet that the steering program saw, by reason. The order is that of `enum reason`
//! in `bpf/steer.bpf.c`; the tests drive each branch and look at its counter.

/// What became of a packet. All but [`Reason::Steered`] and [`Reason::Filtered`] went on to the kernel untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Reason {
    /// Handed to the AF_XDP socket of its queue. (The socket may still drop it: see its own statistics.)
    Steered = 0,
    /// The frame ends within its Ethernet, VLAN, IPv4 or UDP header.
    Truncated = 1,
    /// Another protocol, or more than two VLAN tags.
    NotIpv4 = 2,
    /// IPv4 by its EtherType, with another version or an impossible header length.
    BadIpv4Header = 3,
    /// A fragment, first ones included.
    Fragment = 4,
    /// IPv4 of another protocol.
    NotUdp = 5,
    /// The IPv4 length exceeds the frame, or the UDP length exceeds it or is less than its header.
    BadLength = 6,
    /// UDP of no configured feed, that no filter drops.
    NoFeed = 7,
    /// The driver leaves no room in front of the packet.
    NoMetadataRoom = 8,
    /// A feed's packet on a queue without socket.
    NoSocket = 9,
    /// UDP of no configured feed, dropped by a filter.
    Filtered = 10,
}

impl Reason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Reason; 11] = [
        Reason::Steered,
        Reason::Truncated,
        Reason::NotIpv4,
        Reason::BadIpv4Header,
        Reason::Fragment,
        Reason::NotUdp,
        Reason::BadLength,
        Reason::NoFeed,
        Reason::NoMetadataRoom,
        Reason::NoSocket,
        Reason::Filtered,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Steered => "steered",
            Reason::Truncated => "truncated",
            Reason::NotIpv4 => "not_ipv4",
            Reason::BadIpv4Header => "bad_ipv4_header",
            Reason::Fragment => "fragment",
            Reason::NotUdp => "not_udp",
            Reason::BadLength => "bad_length",
            Reason::NoFeed => "no_feed",
            Reason::NoMetadataRoom => "no_metadata_room",
            Reason::NoSocket => "no_socket",
            Reason::Filtered => "filtered",
        }
    }
}

/// Packets by reason, summed over the CPUs, since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub(crate) packets: [u64; Reason::ALL.len()],
}

impl Counters {
    /// Packets with this fate.
    pub fn get(&self, reason: Reason) -> u64 {
        self.packets[reason as usize]
    }

    /// Every packet the program saw.
    pub fn total(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// The reasons with their packets, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }
}
