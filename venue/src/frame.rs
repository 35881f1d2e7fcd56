//! One UDP datagram and the frame around it: read out of captured frames, and built for sending.
//!
//! Reading never trusts a length field further than the bytes that are there. What a builder makes, the
//! parser reads back the same. Sources: RFC 791, RFC 768, RFC 1112 (multicast Ethernet addresses),
//! IEEE 802.1Q, and the LINKTYPE_LINUX_SLL and SLL2 pages of tcpdump.org.

use crate::capture::LinkType;
use std::net::{Ipv4Addr, SocketAddrV4};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
/// A customer tag inside a service tag.
const VLAN_TAGS_MAX: usize = 2;
const ETHERNET_BYTES: usize = 14;
/// One VLAN tag.
pub(crate) const VLAN_TAG_BYTES: usize = 4;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// Smallest Ethernet frame, without the check sequence that the NIC adds.
const ETHERNET_MIN_BYTES: usize = 60;

/// What a built frame has before its payload, without a VLAN tag.
pub(crate) const HEADERS_BYTES: usize = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES;

/// The largest UDP payload that IPv4 carries.
pub const MAX_PAYLOAD_BYTES: usize = 65_535 - IPV4_BYTES - UDP_BYTES;

/// A UDP datagram in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// Sender.
    pub source: SocketAddrV4,
    /// Receiver; a multicast group as a rule.
    pub destination: SocketAddrV4,
    /// The innermost VLAN id, if the frame was tagged.
    pub vlan: Option<u16>,
    /// The UDP payload.
    pub payload: &'a [u8],
    /// The checksum as it stands; 0 = the sender computed none.
    pub checksum: u16,
}

impl Datagram<'_> {
    /// Whether the UDP checksum is right, or absent. In a capture taken on the sending machine it is often
    /// wrong, because the NIC computes it later.
    pub fn checksum_is_right(&self) -> bool {
        self.checksum == 0 || udp_checksum(self.source, self.destination, self.payload) == self.checksum
    }
}

/// Why a frame gives no datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, thiserror::Error)]
pub enum FrameError {
    /// Another protocol than IPv4 and UDP (ARP, IPv6, TCP, IGMP …): nothing is wrong.
    #[error("not UDP over IPv4")]
    OtherProtocol,
    /// A link type that is not read here.
    #[error("unknown link type")]
    UnknownLink,
    /// A fragment of an IP packet.
    #[error("an IP fragment")]
    Fragment,
    /// The frame ends inside a header or before the length that the headers give.
    #[error("the frame is cut")]
    Cut,
    /// A header's length field cannot be right.
    #[error("a length field is wrong")]
    BadLength,
}

/// Finds the UDP datagram in a captured frame.
///
/// # Errors
/// The frame is of another protocol, or cut, or damaged; see [`FrameError`].
pub fn parse(link: LinkType, frame: &[u8]) -> Result<Datagram<'_>, FrameError> {
    match link {
        LinkType::Ethernet => parse_ethernet(frame),
        LinkType::LinuxCooked => tagged(frame, 14, 16),
        LinkType::LinuxCooked2 => tagged(frame, 0, 20),
        LinkType::RawIp => parse_ipv4(frame, None),
        LinkType::Other(_) => Err(FrameError::UnknownLink),
    }
}

/// Finds the UDP datagram in an Ethernet frame, under up to two VLAN tags.
///
/// # Errors
/// As [`parse`].
pub fn parse_ethernet(frame: &[u8]) -> Result<Datagram<'_>, FrameError> {
    tagged(frame, 12, ETHERNET_BYTES)
}

/// The EtherType stands at `type_at`, and what it names begins at `next_at`.
fn tagged(frame: &[u8], type_at: usize, next_at: usize) -> Result<Datagram<'_>, FrameError> {
    let mut ethertype = u16_at(frame, type_at)?;
    let mut rest = frame.get(next_at..).ok_or(FrameError::Cut)?;
    let mut vlan = None;
    for _ in 0..VLAN_TAGS_MAX {
        if !matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN) {
            break;
        }
        vlan = Some(u16_at(rest, 0)? & 0x0fff);
        ethertype = u16_at(rest, 2)?;
        rest = &rest[VLAN_TAG_BYTES..];
    }
    if ethertype == ETHERTYPE_IPV4 { parse_ipv4(rest, vlan) } else { Err(FrameError::OtherProtocol) }
}

fn parse_ipv4(packet: &[u8], vlan: Option<u16>) -> Result<Datagram<'_>, FrameError> {
    let version_and_length = *packet.first().ok_or(FrameError::Cut)?;
    if version_and_length >> 4 != 4 {
        return Err(FrameError::OtherProtocol);
    }
    let header_bytes = usize::from(version_and_length & 0x0f) * 4;
    let total_bytes = usize::from(u16_at(packet, 2)?);
    if header_bytes < IPV4_BYTES || total_bytes < header_bytes {
        return Err(FrameError::BadLength);
    }
    let header = packet.get(..header_bytes).ok_or(FrameError::Cut)?;
    if header[9] != PROTOCOL_UDP {
        return Err(FrameError::OtherProtocol);
    }
    // More fragments, or not the first.
    if u16_at(header, 6)? & 0x3fff != 0 {
        return Err(FrameError::Fragment);
    }
    let udp = packet.get(header_bytes..total_bytes).ok_or(FrameError::Cut)?;
    if udp.len() < UDP_BYTES {
        return Err(FrameError::BadLength);
    }
    let udp_bytes = usize::from(u16_at(udp, 4)?);
    if udp_bytes < UDP_BYTES || udp_bytes > udp.len() {
        return Err(FrameError::BadLength);
    }
    Ok(Datagram {
        source: SocketAddrV4::new(ipv4_at(header, 12), u16_at(udp, 0)?),
        destination: SocketAddrV4::new(ipv4_at(header, 16), u16_at(udp, 2)?),
        vlan,
        payload: &udp[UDP_BYTES..udp_bytes],
        checksum: u16_at(udp, 6)?,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, FrameError> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).ok_or(FrameError::Cut)
}

fn ipv4_at(header: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3])
}

/// What stands in the headers of a built frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Ethernet address of the sender.
    pub source_mac: [u8; 6],
    /// VLAN id (12 bits) to tag with.
    pub vlan: Option<u16>,
    /// Sender.
    pub source: SocketAddrV4,
    /// Receiver.
    pub destination: SocketAddrV4,
    /// Routers that the packet may pass, plus one.
    pub ttl: u8,
}

/// The Ethernet address of an IPv4 destination that needs no question to the network: a multicast group's
/// (RFC 1112 §6.4); for a unicast address `None`.
pub fn multicast_mac(group: Ipv4Addr) -> Option<[u8; 6]> {
    let [_, b, c, d] = group.octets();
    group.is_multicast().then_some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

/// Builds an Ethernet frame with `payload` in UDP over IPv4, all checksums computed, into `frame` (cleared
/// first). A unicast destination is put in a broadcast frame.
///
/// # Panics
/// `payload` is longer than [`MAX_PAYLOAD_BYTES`].
pub fn build(frame: &mut Vec<u8>, header: &FrameHeader, payload: &[u8]) {
    assert!(payload.len() <= MAX_PAYLOAD_BYTES, "a UDP payload of {} bytes", payload.len());
    frame.clear();
    frame.extend_from_slice(&multicast_mac(*header.destination.ip()).unwrap_or([0xff; 6]));
    frame.extend_from_slice(&header.source_mac);
    if let Some(vlan) = header.vlan {
        frame.extend_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
        frame.extend_from_slice(&(vlan & 0x0fff).to_be_bytes());
    }
    frame.extend_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
    push_ipv4(frame, header, payload.len());
    push_udp(frame, header, payload);
    if frame.len() < ETHERNET_MIN_BYTES {
        frame.resize(ETHERNET_MIN_BYTES, 0);
    }
}

fn push_ipv4(frame: &mut Vec<u8>, header: &FrameHeader, payload_bytes: usize) {
    const VERSION_4_AND_5_WORDS: u8 = 0x45;
    const DO_NOT_FRAGMENT: u16 = 0x4000;
    let total_bytes = (IPV4_BYTES + UDP_BYTES + payload_bytes) as u16;
    let mut ip = [0; IPV4_BYTES];
    ip[0] = VERSION_4_AND_5_WORDS;
    ip[2..4].copy_from_slice(&total_bytes.to_be_bytes());
    ip[6..8].copy_from_slice(&DO_NOT_FRAGMENT.to_be_bytes());
    ip[8] = header.ttl;
    ip[9] = PROTOCOL_UDP;
    ip[12..16].copy_from_slice(&header.source.ip().octets());
    ip[16..20].copy_from_slice(&header.destination.ip().octets());
    let checksum = !fold(sum_words(&ip));
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&ip);
}

fn push_udp(frame: &mut Vec<u8>, header: &FrameHeader, payload: &[u8]) {
    let udp_bytes = (UDP_BYTES + payload.len()) as u16;
    frame.extend_from_slice(&header.source.port().to_be_bytes());
    frame.extend_from_slice(&header.destination.port().to_be_bytes());
    frame.extend_from_slice(&udp_bytes.to_be_bytes());
    frame.extend_from_slice(&udp_checksum(header.source, header.destination, payload).to_be_bytes());
    frame.extend_from_slice(payload);
}

/// The UDP checksum over pseudo-header, header and payload; never 0, which would mean "none" (RFC 768).
fn udp_checksum(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> u16 {
    let udp_bytes = (UDP_BYTES + payload.len()) as u64;
    let sum = sum_words(&source.ip().octets())
        + sum_words(&destination.ip().octets())
        + u64::from(PROTOCOL_UDP)
        + udp_bytes
        + u64::from(source.port())
        + u64::from(destination.port())
        + udp_bytes
        + sum_words(payload);
    match !fold(sum) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// Sums big-endian 16-bit words; an odd last byte counts as the high one. Four bytes at a time: the fold
/// at the end brings the upper halves down (RFC 1071 §2).
fn sum_words(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(4);
    let mut sum: u64 =
        chunks.by_ref().map(|four| u64::from(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))).sum();
    for (at, &byte) in chunks.remainder().iter().enumerate() {
        sum += u64::from(byte) << if at % 2 == 0 { 8 } else { 0 };
    }
    sum
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
