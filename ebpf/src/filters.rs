//! The entries of the filter map. The C side is `struct filter_value` in `bpf/steer.bpf.c`; the key is a feed's, with
//! port 0 for any port.

use crate::feeds::{FeedKey, RawKey};
use std::net::Ipv4Addr;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Which packets a filter takes, of those that no feed takes. The most exact one decides: of port and source, of the
/// port, of the source, of the group alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterKey {
    /// Destination; only multicast is looked up.
    pub group: Ipv4Addr,
    /// Destination UDP port; any when `None`.
    pub port: Option<u16>,
    /// Only from this sender.
    pub source: Option<Ipv4Addr>,
}

/// What becomes of a filter's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterAction {
    /// They go to the kernel, as without a filter.
    Pass,
    /// They are dropped.
    Drop,
}

/// A filter as the map holds it, for one CPU.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RawFilter {
    pub(crate) packets: u64,
    drop: u32,
    zero: u32,
}

impl From<FilterKey> for RawKey {
    fn from(key: FilterKey) -> Self {
        // No packet has port 0 as its destination's, so it means "any" in the map.
        FeedKey { destination: key.group, port: key.port.unwrap_or(0), source: key.source }.into()
    }
}

impl From<FilterAction> for RawFilter {
    fn from(action: FilterAction) -> Self {
        Self { packets: 0, drop: u32::from(action == FilterAction::Drop), zero: 0 }
    }
}

const _: () = {
    use crate::program::skeleton::types::filter_value;
    assert!(size_of::<RawFilter>() == size_of::<filter_value>());
    assert!(std::mem::offset_of!(RawFilter, packets) == std::mem::offset_of!(filter_value, packets));
    assert!(std::mem::offset_of!(RawFilter, drop) == std::mem::offset_of!(filter_value, drop));
};
