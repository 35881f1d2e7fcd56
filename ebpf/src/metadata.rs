//! What the steering program writes in front of a packet. The C side is `struct metadata` in
//! `bpf/steer.bpf.c`; the tests compare the two through the kernel.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// 32 bytes that end where the Ethernet frame begins, in the host's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Metadata {
    /// [`Metadata::MAGIC`]; another value means that these bytes are not ours.
    pub magic: u32,
    /// The feed's slot, from [`crate::FeedValue`].
    pub slot: u16,
    /// The feed's line, from [`crate::FeedValue`].
    pub line: u8,
    /// Bit 0: [`Metadata::HARDWARE_TIME`]. Bits 4 and 5: how many VLAN tags the frame has.
    pub flags: u8,
    /// Where the IPv4 header begins, bytes from the start of the frame.
    pub ipv4_offset: u16,
    /// Where the UDP payload begins, bytes from the start of the frame.
    pub payload_offset: u16,
    /// The UDP payload's length by its header, checked against the IPv4 length and the frame.
    pub payload_bytes: u16,
    /// Zero.
    pub reserved: u16,
    /// The NIC's receive time by its own clock, ns; 0 = none.
    pub hardware_ns: u64,
    /// `CLOCK_TAI` when the program ran, ns.
    pub tai_ns: u64,
}

impl Metadata {
    /// Length, bytes: the most that every driver with XDP metadata can do.
    pub const BYTES: usize = 32;
    /// Marks metadata of this layout; a change of the layout changes it.
    pub const MAGIC: u32 = 0xfeed_da7a;
    /// The flag of a hardware time.
    pub const HARDWARE_TIME: u8 = 1;

    /// How many VLAN tags the frame has, 0 to 2.
    pub fn vlan_tags(&self) -> u8 {
        (self.flags >> 4) & 3
    }
}

const _: () = assert!(size_of::<Metadata>() == Metadata::BYTES);
