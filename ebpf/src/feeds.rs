//! The entries of the feed map. The C side is `struct feed_key` and `struct feed_value` in
//! `bpf/steer.bpf.c`; the layouts are compared at compile time with what the compiler put in the object.

use std::net::Ipv4Addr;
use zerocopy::byteorder::network_endian;
use zerocopy::{Immutable, IntoBytes, Unaligned};

/// Which packets belong to a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedKey {
    /// Destination address, a multicast group as a rule.
    pub destination: Ipv4Addr,
    /// Destination UDP port.
    pub port: u16,
    /// Only from this sender. A packet is looked up with its source first and without it then, so that
    /// an entry for one sender wins over the entry for any.
    pub source: Option<Ipv4Addr>,
}

/// What the program writes into the metadata of a feed's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedValue {
    /// The worker's slot for the feed.
    pub slot: u16,
    /// 0 = line A, 1 = line B.
    pub line: u8,
}

/// [`FeedKey`] as the map holds it.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawKey {
    destination: network_endian::U32,
    source: network_endian::U32,
    port: network_endian::U16,
    zero: network_endian::U16,
}

/// [`FeedValue`] as the map holds it.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RawValue {
    slot: u16,
    line: u8,
    zero: u8,
}

impl From<FeedKey> for RawKey {
    fn from(key: FeedKey) -> Self {
        // 0.0.0.0 cannot send, so it means "any" in the map.
        let source = key.source.unwrap_or(Ipv4Addr::UNSPECIFIED);
        Self {
            destination: u32::from(key.destination).into(),
            source: u32::from(source).into(),
            port: key.port.into(),
            zero: 0.into(),
        }
    }
}

impl From<FeedValue> for RawValue {
    fn from(value: FeedValue) -> Self {
        Self { slot: value.slot, line: value.line, zero: 0 }
    }
}

const _: () = {
    use crate::program::skeleton::types::{feed_key, feed_value};
    assert!(size_of::<RawKey>() == size_of::<feed_key>());
    assert!(std::mem::offset_of!(RawKey, source) == std::mem::offset_of!(feed_key, source));
    assert!(std::mem::offset_of!(RawKey, port) == std::mem::offset_of!(feed_key, port));
    assert!(size_of::<RawValue>() == size_of::<feed_value>());
    assert!(std::mem::offset_of!(RawValue, line) == std::mem::offset_of!(feed_value, line));
};
